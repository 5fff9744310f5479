import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Exit } from "effect"
import type { LlmResponse } from "perdure"
import { ask, completion, failureOf, json } from "./support/client.ts"

/** The answer, or the failure, that a 200 with this body is. */
const reading = (body: unknown, init: ResponseInit = {}) =>
  Effect.map(
    ask("hello", {}, () =>
      body instanceof Uint8Array || typeof body === "string" ? new Response(body, init) : json(body, init)),
    ({ exit }) =>
      exit
  )

const answer = (body: unknown): Effect.Effect<LlmResponse.LlmResponse> =>
  Effect.map(reading(body), (exit) => {
    if (Exit.isFailure(exit)) throw new Error(`expected an answer: ${exit.cause}`)
    return exit.value
  })

const failing = (body: unknown, init?: ResponseInit) => Effect.map(reading(body, init), failureOf)

/** A completion with this message. */
const message = (fields: Record<string, unknown>, finish_reason: unknown = "stop") =>
  completion({ choices: [{ index: 0, finish_reason, message: { role: "assistant", content: null, ...fields } }] })

const call = { id: "c1", type: "function", function: { name: "look", arguments: "{\"at\":1}" } }
const calling = { _tag: "ToolCall", id: "c1", name: "look", arguments: "{\"at\":1}" }

describe("an answer", () => {
  it.effect("tells what the headers say of the rate limits", () =>
    Effect.gen(function*() {
      const headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s"
      }
      expect(yield* reading(completion(), { headers })).toMatchObject({
        value: { text: "hi", rateLimits: { requests: { limit: 60, remaining: 59, reset: Duration.seconds(1) } } }
      })
    }))

  it.effect("has text, model, id, finish reason and usage", () =>
    Effect.gen(function*() {
      const response = yield* answer(completion({
        usage: {
          prompt_tokens: 10,
          completion_tokens: 5,
          total_tokens: 15,
          prompt_tokens_details: { cached_tokens: 4 },
          completion_tokens_details: { reasoning_tokens: 2 }
        }
      }))
      expect(response).toMatchObject({
        id: "chatcmpl-1",
        provider: "openai",
        model: "m-2026",
        content: [{ _tag: "Text", text: "hi" }],
        finishReason: "stop",
        usage: { inputTokens: 10, outputTokens: 5, cachedInputTokens: 4, reasoningTokens: 2 },
        extras: {}
      })
      expect(response.receipt.served).toEqual({ provider: "openai", model: "m-2026" })
    }))

  it.effect("may lack everything but a choice with a finish reason", () =>
    Effect.gen(function*() {
      const response = yield* answer({ choices: [{ finish_reason: "stop", message: {} }] })
      expect(response).toMatchObject({ provider: "openai", model: "m", content: [], finishReason: "stop", extras: {} })
      expect(response.usage).toEqual({})
      expect(response).not.toHaveProperty("id")
    }))

  it.effect("may have null wherever something may be missing", () =>
    Effect.gen(function*() {
      const nothing = { content: null, refusal: null, reasoning: null, reasoning_content: null, tool_calls: null }
      const response = yield* answer({ ...message(nothing), id: null, model: null, usage: null })
      expect(response).toMatchObject({ model: "m", content: [], extras: {} })
    }))

  it.effect.each([
    ["stop", "stop"],
    ["length", "length"],
    ["model_length", "length"],
    ["tool_calls", "toolCalls"],
    ["function_call", "toolCalls"],
    ["eos", "other"]
  ])("finish reason %s is %s", ([wire, reason]) =>
    Effect.gen(function*() {
      expect((yield* answer(message({ content: "x" }, wire))).finishReason).toBe(reason)
    }))

  it.effect("tool calls come after the text, and a forced one counts although the model says stop", () =>
    Effect.gen(function*() {
      const response = yield* answer(message({ content: "let me look", tool_calls: [call] }))
      expect(response.content).toEqual([{ _tag: "Text", text: "let me look" }, calling])
      expect(response.finishReason).toBe("toolCalls")
    }))

  it.effect("tool calls of careless servers: arguments as an object, no arguments, no id", () =>
    Effect.gen(function*() {
      const response = yield* answer(message({
        tool_calls: [
          { id: "", function: { name: "a", arguments: { at: 1 } } },
          { function: { name: "b" } },
          { id: "c3", function: { name: "c", arguments: "not json" } }
        ]
      }, "tool_calls"))
      expect(response.toolCalls).toEqual([
        { _tag: "ToolCall", id: "call_0", name: "a", arguments: "{\"at\":1}" },
        { _tag: "ToolCall", id: "call_1", name: "b", arguments: "" },
        { _tag: "ToolCall", id: "c3", name: "c", arguments: "not json" }
      ])
    }))

  it.effect.each<readonly [string, Record<string, string>]>([
    ["reasoning_content", { reasoning_content: "hm" }],
    ["reasoning", { reasoning: "hm" }],
    ["both", { reasoning_content: "hm", reasoning: "hm" }]
  ])("reasoning under the name of %s is a part", ([_, fields]) =>
    Effect.gen(function*() {
      const response = yield* answer(message({ content: "hi", ...fields }))
      expect(response.content).toEqual([{ _tag: "Reasoning", text: "hm" }, { _tag: "Text", text: "hi" }])
    }))

  it.effect("Mistral's reasoning among the content is a part", () =>
    Effect.gen(function*() {
      const thinking = { type: "thinking", thinking: [{ type: "text", text: "h" }, { type: "text", text: "m" }] }
      const response = yield* answer(message({ content: [thinking, { type: "text", text: "hi" }] }))
      expect(response.content).toEqual([{ _tag: "Reasoning", text: "hm" }, { _tag: "Text", text: "hi" }])
    }))

  it.effect("DeepSeek's own field for cached tokens", () =>
    Effect.gen(function*() {
      const response = yield* answer(completion({ usage: { prompt_tokens: 9, prompt_cache_hit_tokens: 8 } }))
      expect(response.usage).toEqual({ inputTokens: 9, cachedInputTokens: 8 })
    }))

  it.effect("is not lost to usage that makes no sense", () =>
    Effect.gen(function*() {
      const usages = ["x", [], { prompt_tokens: -1, completion_tokens: 1.5 }, { prompt_tokens: "7" }]
      for (const usage of usages) expect((yield* answer(completion({ usage }))).usage).toEqual({})
    }))

  it.effect("keeps what it does not understand, nested as it came", () =>
    Effect.gen(function*() {
      const response = yield* answer({
        ...completion(),
        object: "chat.completion",
        system_fingerprint: null,
        choices: [{
          index: 0,
          finish_reason: "stop",
          logprobs: { content: [] },
          message: {
            role: "assistant",
            content: "hi",
            annotations: [1],
            tool_calls: [call, { ...call, extra_content: { google: 1 } }]
          }
        }],
        usage: { prompt_tokens: 1, cost: 0.1, prompt_tokens_details: { cached_tokens: 0, audio_tokens: 2 } }
      })
      expect(response.extras).toEqual({
        object: "chat.completion",
        system_fingerprint: null,
        choices: [{
          logprobs: { content: [] },
          message: { annotations: [1], tool_calls: [{}, { extra_content: { google: 1 } }] }
        }],
        usage: { cost: 0.1, prompt_tokens_details: { audio_tokens: 2 } }
      })
    }))

  it.effect("keeps calls of other tools than functions whole", () =>
    Effect.gen(function*() {
      const custom = { id: "c2", type: "custom", custom: { name: "shell", input: "ls" } }
      const response = yield* answer(message({ tool_calls: [call, custom] }))
      expect(response.toolCalls).toEqual([calling])
      expect(response.extras).toEqual({ choices: [{ message: { tool_calls: [call, custom] } }] })
    }))

  it.effect("keeps the other choices when several were asked for", () =>
    Effect.gen(function*() {
      const choices = ["a", "b"].map((content, index) => ({ index, finish_reason: "stop", message: { content } }))
      const response = yield* answer(completion({ choices }))
      expect(response.text).toBe("a")
      expect(response.extras).toEqual({ choices })
    }))

  it.effect("a refusal beside text is kept beside the text", () =>
    Effect.gen(function*() {
      const response = yield* answer(message({ content: "well", refusal: "no more" }))
      expect(response.text).toBe("well")
      expect(response.extras).toEqual({ choices: [{ message: { refusal: "no more" } }] })
    }))

  it.effect("a field named __proto__ is a field", () =>
    Effect.gen(function*() {
      const response = yield* answer(
        "{\"__proto__\":{\"polluted\":1},\"choices\":[{\"finish_reason\":\"stop\",\"message\":{}}]}"
      )
      expect(response.finishReason).toBe("stop")
      expect(Object.getPrototypeOf({})).not.toHaveProperty("polluted")
    }))

  it.effect("JSON 10,000 deep in a field that is not understood does no harm", () =>
    Effect.gen(function*() {
      const deep = `${"[".repeat(10_000)}${"]".repeat(10_000)}`
      const response = yield* answer(
        `{"choices":[{"finish_reason":"stop","message":{"content":"hi","x":${deep}}}],"y":${deep}}`
      )
      expect(response.text).toBe("hi")
      expect(Object.keys(response.extras)).toEqual(["choices", "y"])
    }))
})

describe("a 200 that is no answer", () => {
  it.effect("S2: an error in it is the error it names", () =>
    Effect.gen(function*() {
      const error = yield* failing({ error: { code: 429, message: "slow down" } }, { headers: { "retry-after": "3" } })
      expect(error).toMatchObject({ _tag: "RateLimited", status: 429, detail: "slow down" })
      expect(error.retryAfter).toBeDefined()
    }))

  it.effect("S2: a finish reason of error is the error of its choice", () =>
    Effect.gen(function*() {
      const choices = [{ finish_reason: "error", error: { code: 502, message: "gone" }, message: { content: "par" } }]
      expect(yield* failing(completion({ choices }))).toMatchObject({ _tag: "ProviderUnavailable", status: 502 })
    }))

  it.effect("an answer stopped by a filter", () =>
    Effect.gen(function*() {
      const error = yield* failing(message({ content: "par" }, "content_filter"), { headers: { "x-request-id": "r" } })
      expect(error).toMatchObject({ _tag: "ContentFiltered", stage: "output", status: 200, requestId: "r", detail: "" })
    }))

  it.effect("a refusal in place of content", () =>
    Effect.gen(function*() {
      const error = yield* failing(message({ refusal: "I cannot help with that." }))
      expect(error).toMatchObject({ _tag: "ContentFiltered", stage: "refusal", detail: "I cannot help with that." })
    }))

  it.effect("DeepSeek's answer that ran out of resources", () =>
    Effect.gen(function*() {
      expect(yield* failing(message({ content: "par" }, "insufficient_system_resource"))).toMatchObject({
        _tag: "Overloaded"
      })
    }))

  it.effect.each<readonly [string, unknown, string]>([
    ["no choices", {}, "the body has another shape than documented at choices"],
    ["an empty list of choices", { choices: [] }, "at choices"],
    ["choices that are null", { choices: null }, "at choices"],
    ["a choice without a message", { choices: [{ finish_reason: "stop" }] }, "at choices.0.message"],
    ["no finish reason", completion({ choices: [{ message: { content: "hi" } }] }), "the answer has no finish reason"],
    ["a finish reason that is null", message({ content: "hi" }, null), "the answer has no finish reason"],
    ["a finish reason that is empty", message({ content: "hi" }, ""), "the answer has no finish reason"],
    ["content of the wrong type", message({ content: 7 }), "at choices.0.message.content"],
    ["a tool call without a name", message({ tool_calls: [{ function: {} }] }), "tool_calls.0.function"],
    ["a number", "7", "the body has another shape than documented at the whole"],
    ["null", "null", "at the whole"],
    ["a list", "[]", "at the whole"],
    ["nothing", "", "the body is empty"],
    ["blanks", " \n ", "the body is empty"],
    ["plain text", "hello world", "the body is not JSON (text/plain;charset=UTF-8, 11 characters)"],
    ["half of an answer", JSON.stringify(completion()).slice(0, -9), "the body is not JSON"],
    ["an event stream", "data: {}\n\ndata: [DONE]\n\n", "the body is not JSON"],
    ["a NUL in a text", JSON.stringify(completion()).replace("hi", "h\0i"), "the body is not JSON"],
    ["nothing but NULs", "\0\0\0", "the body is not JSON"],
    ["bytes that are not UTF-8", new Uint8Array([0x7b, 0xff, 0xfe, 0x7d]), "the body is not UTF-8"],
    ["a page of a proxy", "<html><title>Log in</title><body>to the network</body></html>", "Log in to the network"],
    [
      "tool arguments nested without end",
      `{"choices":[{"finish_reason":"stop","message":{"tool_calls":[{"function":{"name":"f","arguments":${
        "[".repeat(10_000)
      }${"]".repeat(10_000)}}}]}}]}`,
      "the arguments of a tool call are nested too deeply"
    ]
  ])("%s", ([_, body, words]) =>
    Effect.gen(function*() {
      const error = yield* failing(body)
      expect(error).toMatchObject({ _tag: "MalformedResponse", status: 200, detail: expect.stringContaining(words) })
    }))

  it.effect("O3: what cannot be read is not quoted, since it may be an answer", () =>
    Effect.gen(function*() {
      const secret = "the answer is 42"
      for (
        const body of [
          secret,
          message({ content: { secret } }),
          JSON.stringify(message({ content: secret })).slice(0, -3)
        ]
      ) {
        expect(JSON.stringify(yield* failing(body))).not.toContain(secret)
      }
    }))

  it.effect("a 204", () =>
    Effect.gen(function*() {
      const { exit } = yield* ask("hello", {}, () => new Response(null, { status: 204 }))
      expect(failureOf(exit)).toMatchObject({ _tag: "MalformedResponse", status: 204, detail: "the body is empty" })
    }))
})
