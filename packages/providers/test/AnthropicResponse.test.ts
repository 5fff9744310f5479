import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { LlmRequest } from "perdure"
import { ask, message, said } from "./support/anthropic.ts"
import { failureOf, json } from "./support/client.ts"

const answer = (fields: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
  Effect.flatMap(ask("hello", {}, () => json(message(fields), { headers })), ({ exit }) => exit)

const failing = (body: string | Record<string, unknown>, headers: Record<string, string> = {}) =>
  Effect.map(
    ask("hello", {}, () => new Response(typeof body === "string" ? body : JSON.stringify(body), { headers })),
    ({ exit }) => failureOf(exit)
  )

describe("an answer", () => {
  it.effect("text, model, id and usage, and nothing left over", () =>
    Effect.gen(function*() {
      const response = yield* answer()
      expect(response).toMatchObject({
        id: "msg_1",
        provider: "anthropic",
        model: "claude-2026",
        content: [{ _tag: "Text", text: "hi" }],
        finishReason: "stop",
        usage: { inputTokens: 10, outputTokens: 2 }
      })
      expect(response.extras).toEqual({})
      expect(response.usage).not.toHaveProperty("cachedInputTokens")
    }))

  it.effect("every kind of block, in order", () =>
    Effect.gen(function*() {
      const response = yield* answer({
        content: [
          { type: "thinking", thinking: "hm", signature: "c2ln" },
          { type: "thinking", thinking: "", signature: "b25seQ==" },
          { type: "redacted_thinking", data: "ZGF0YQ==" },
          { type: "text", text: "I will " },
          { type: "tool_use", id: "toolu_1", name: "look", input: { at: [1, "x"] } },
          { type: "text", text: "" },
          { type: "tool_use", id: "toolu_2", name: "wait", input: null },
          { type: "text", text: "look" }
        ],
        stop_reason: "tool_use"
      })
      expect(response.content).toEqual([
        { _tag: "Reasoning", text: "hm", signature: "c2ln", provider: "anthropic" },
        { _tag: "Reasoning", text: "", signature: "b25seQ==", provider: "anthropic" },
        { _tag: "Reasoning", text: "", signature: "redacted_thinking:ZGF0YQ==", provider: "anthropic" },
        { _tag: "Text", text: "I will " },
        { _tag: "ToolCall", id: "toolu_1", name: "look", arguments: "{\"at\":[1,\"x\"]}" },
        { _tag: "ToolCall", id: "toolu_2", name: "wait", arguments: "{}" },
        { _tag: "Text", text: "look" }
      ])
      expect(response.finishReason).toBe("toolCalls")
      expect(response.text).toBe("I will look")
    }))

  it.effect("can be sent back as it came", () =>
    Effect.gen(function*() {
      const content = [
        { type: "thinking", thinking: "hm", signature: "c2ln" },
        { type: "redacted_thinking", data: "ZGF0YQ==" },
        { type: "text", text: "b" },
        { type: "tool_use", id: "toolu_1", name: "look", input: { at: 1 } }
      ]
      const response = yield* answer({ content, stop_reason: "tool_use" })
      const [first, ...rest] = response.content
      if (first === undefined) throw new Error("expected content")
      const { body } = yield* ask({ messages: [LlmRequest.user("a"), LlmRequest.assistant([first, ...rest])] })
      expect(body).toMatchObject({ messages: [{}, { role: "assistant", content }] })
    }))

  it.effect.each(
    [
      ["end_turn", "stop"],
      ["stop_sequence", "stop"],
      ["max_tokens", "length"],
      ["model_context_window_exceeded", "length"],
      ["tool_use", "toolCalls"],
      ["pause_turn", "other"],
      ["something_new", "other"]
    ] as const
  )("the stop reason %s is %s", ([stop_reason, finishReason]) =>
    Effect.gen(function*() {
      const response = yield* answer({ stop_reason })
      expect(response.finishReason).toBe(finishReason)
      expect(response.extras).toEqual(finishReason === "other" ? { stop_reason } : {})
    }))

  const usages: ReadonlyArray<readonly [string, unknown, Record<string, unknown>]> = [
    [
      "what was read from a cache and written into one is input too",
      { input_tokens: 5, cache_creation_input_tokens: 20, cache_read_input_tokens: 100, output_tokens: 2 },
      { inputTokens: 125, cacheWriteTokens: 20, cachedInputTokens: 100, outputTokens: 2 }
    ],
    [
      "counts that are null are unknown",
      { input_tokens: 5, cache_creation_input_tokens: null, cache_read_input_tokens: null, output_tokens: 2 },
      { inputTokens: 5, outputTokens: 2 }
    ],
    [
      "the reasoning in the output",
      { input_tokens: 5, output_tokens: 85, output_tokens_details: { thinking_tokens: 57 } },
      { inputTokens: 5, outputTokens: 85, reasoningTokens: 57 }
    ],
    ["counts that make no sense", { input_tokens: -1, output_tokens: 1.5 }, {}],
    ["none", undefined, {}]
  ]
  it.effect.each(usages)("usage: %s", ([_, usage, counts]) =>
    Effect.gen(function*() {
      expect({ ...(yield* answer({ usage })).usage }).toEqual(counts)
    }))

  it.effect("fields without a place here survive, where they stood", () =>
    Effect.gen(function*() {
      const response = yield* answer({
        content: [{ type: "text", text: "hi", citations: [{ cited_text: "c" }] }],
        stop_reason: "stop_sequence",
        stop_sequence: "END",
        container: { id: "c1" },
        usage: { input_tokens: 1, output_tokens: 1, service_tier: "standard", cache_creation: { ephemeral_5m: 1 } }
      })
      expect(response.extras).toEqual({
        content: [{ citations: [{ cited_text: "c" }] }],
        stop_sequence: "END",
        container: { id: "c1" },
        usage: { service_tier: "standard", cache_creation: { ephemeral_5m: 1 } }
      })
    }))

  it.effect("blocks of another kind are kept among the whole content", () =>
    Effect.gen(function*() {
      const content = [
        { type: "server_tool_use", id: "srvtoolu_1", name: "web_search", input: { query: "q" } },
        { type: "web_search_tool_result", tool_use_id: "srvtoolu_1", content: [] },
        { type: "text", text: "hi" }
      ]
      const response = yield* answer({ content })
      expect(response.content).toEqual([{ _tag: "Text", text: "hi" }])
      expect(response.extras).toEqual({ content })
    }))

  it.effect("the rate limits in its headers", () =>
    Effect.gen(function*() {
      const response = yield* answer({}, {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "1970-01-01T00:00:30Z",
        "anthropic-ratelimit-output-tokens-remaining": "8000"
      })
      expect(response.rateLimits).toMatchObject({
        requests: { limit: 50, remaining: 49, reset: Duration.seconds(30) },
        outputTokens: { remaining: 8000 }
      })
    }))
})

describe("a 200 that is no answer", () => {
  it.effect("a model that declines", () =>
    Effect.gen(function*() {
      const error = yield* failing(message({
        content: [],
        stop_reason: "refusal",
        stop_details: { type: "refusal", category: "cyber", explanation: "not this" }
      }))
      expect(error).toMatchObject({
        _tag: "ContentFiltered",
        stage: "refusal",
        code: "cyber",
        detail: "not this",
        usage: { inputTokens: 10, outputTokens: 2 }
      })
    }))

  it.effect("S2: an error inside, with the id of the request", () =>
    Effect.gen(function*() {
      const error = yield* failing(said("overloaded_error", "Overloaded"))
      expect(error).toMatchObject({ _tag: "Overloaded", status: 200, requestId: "req_body", detail: "Overloaded" })
    }))

  it.effect.each<readonly [string, string, string]>([
    ["nothing", "", "the body is empty"],
    ["half of an answer", JSON.stringify(message()).slice(0, 40), "the body is not JSON (text/plain"],
    ["a page", "<html><body>Welcome</body></html>", "): Welcome"],
    ["no object", "[1]", "at the whole"],
    ["no content", JSON.stringify(message({ content: undefined })), "at content"],
    ["a block that is not as documented", JSON.stringify(message({ content: [{ type: "text" }] })), "at content.0"],
    ["no stop reason", JSON.stringify(message({ stop_reason: null })), "no stop reason"]
  ])("%s", ([_, body, detail]) =>
    Effect.gen(function*() {
      const error = yield* failing(body, { "request-id": "req_1", "content-type": "text/plain" })
      expect(error).toMatchObject({ _tag: "MalformedResponse", status: 200, requestId: "req_1" })
      expect(error.detail).toContain(detail)
    }))

  it.effect("arguments nested beyond what can be written down", () =>
    Effect.gen(function*() {
      const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`
      const body = JSON.stringify(message({ content: [{ type: "tool_use", id: "1", name: "x", input: "DEEP" }] }))
      expect(yield* failing(body.replace("\"DEEP\"", deep))).toMatchObject({ _tag: "MalformedResponse" })
    }))

  it.effect("bytes that are not UTF-8", () =>
    Effect.gen(function*() {
      const { exit } = yield* ask("hello", {}, () => new Response(new Uint8Array([0xff, 0xfe])))
      expect(failureOf(exit)).toMatchObject({ _tag: "MalformedResponse", detail: "the body is not UTF-8" })
    }))
})
