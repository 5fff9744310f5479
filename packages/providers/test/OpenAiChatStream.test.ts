import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { json } from "./support/client.ts"
import { delta, eventStream, finish, sse, streamed } from "./support/stream.ts"

const text = (content: string) => delta({ content })
const call = (index: number | undefined, fields: Record<string, unknown>, id?: string) =>
  delta({ tool_calls: [{ ...(index === undefined ? {} : { index }), ...(id === undefined ? {} : { id }), ...fields }] })
const args = (index: number | undefined, given: unknown, id?: string) =>
  call(index, { function: { arguments: given } }, id)
const named = (index: number | undefined, id: string, name: string, given: unknown = "") =>
  call(index, { type: "function", function: { name, arguments: given } }, id)
const usage = { prompt_tokens: 3, completion_tokens: 5 }
const stop = "finish stop m-2026"

describe("what the frames of a stream amount to", () => {
  it.effect.each<readonly [string, string, ReadonlyArray<string>]>([
    [
      "text, with the usage in a last frame of its own",
      sse(delta({ role: "assistant", content: "" }), text("he"), text("llo"), finish("stop"), {
        model: "m-2026",
        choices: [],
        usage
      }, "[DONE]"),
      ["text he", "text llo", "usage 3 5", stop]
    ],
    ["a server without [DONE]", sse(text("hi"), finish("stop")), ["text hi", stop]],
    ["a finish reason beside the last text", sse(delta({ content: "hi" }, "length"), "[DONE]"), [
      "text hi",
      "finish length m-2026"
    ]],
    ["usage in every frame", sse({ ...text("a"), usage }, { ...finish("stop"), usage }), [
      "text a",
      "usage 3 5",
      "usage 3 5",
      stop
    ]],
    ["usage where Groq keeps it", sse(text("a"), { ...finish("stop"), x_groq: { usage } }), [
      "text a",
      "usage 3 5",
      stop
    ]],
    [
      "comments, empty frames and Azure's first one",
      `: OPENROUTER PROCESSING\n\n${
        sse({ choices: [], prompt_filter_results: [] }, "", {}, text("a"), finish("stop"))
      }: bye\n\n`,
      ["text a", stop]
    ],
    ["lines that end with a carriage return", sse(text("a"), finish("stop"), "[DONE]").replaceAll("\n", "\r\n"), [
      "text a",
      stop
    ]],
    [
      "reasoning under either name",
      sse(delta({ reasoning_content: "h" }), delta({ reasoning: "m", content: null }), text("a"), finish("stop")),
      ["reasoning h", "reasoning m", "text a", stop]
    ],
    [
      "reasoning among the content, as Mistral sends it",
      sse(
        delta({ content: [{ type: "thinking", thinking: [{ type: "text", text: "hm" }] }] }),
        delta({ content: [{ type: "text", text: "a" }] }),
        finish("stop")
      ),
      ["reasoning hm", "text a", stop]
    ],
    [
      "a tool call in pieces, its id in the first only",
      sse(named(0, "c1", "look"), args(0, "{\"at\""), args(0, ":1}"), finish("tool_calls"), "[DONE]"),
      ["call c1 look", "arguments c1 {\"at\"", "arguments c1 :1}", "end c1", "finish toolCalls m-2026"]
    ],
    ["a tool call whole, and a finish that does not tell", sse(named(0, "c1", "look", "{}"), finish("stop")), [
      "call c1 look",
      "arguments c1 {}",
      "end c1",
      "finish toolCalls m-2026"
    ]],
    ["arguments as an object", sse(named(0, "c1", "look", { at: 1 }), finish("tool_calls")), [
      "call c1 look",
      "arguments c1 {\"at\":1}",
      "end c1",
      "finish toolCalls m-2026"
    ]],
    [
      "two tool calls in turns",
      sse(named(0, "a", "look"), named(1, "b", "go"), args(1, "2"), args(0, "1"), finish("tool_calls")),
      [
        "call a look",
        "call b go",
        "arguments b 2",
        "arguments a 1",
        "end a",
        "end b",
        "finish toolCalls m-2026"
      ]
    ],
    [
      "two tool calls in one frame, both said to be the first",
      sse(
        delta({
          tool_calls: [
            { index: 0, id: "a", function: { name: "look", arguments: "1" } },
            { index: 0, id: "b", function: { name: "go", arguments: "2" } }
          ]
        }),
        finish("tool_calls")
      ),
      [
        "call a look",
        "arguments a 1",
        "call b go",
        "arguments b 2",
        "end a",
        "end b",
        "finish toolCalls m-2026"
      ]
    ],
    [
      "tool calls without an index",
      sse(
        named(undefined, "a", "look"),
        args(undefined, "1"),
        named(undefined, "b", "go"),
        args(undefined, "2", "b"),
        args(undefined, "3", "a"),
        finish("tool_calls")
      ),
      [
        "call a look",
        "arguments a 1",
        "call b go",
        "arguments b 2",
        "arguments a 3",
        "end a",
        "end b",
        "finish toolCalls m-2026"
      ]
    ],
    [
      "the name after the id, and arguments before it",
      sse(call(0, {}, "x"), args(0, "1", "x"), named(0, "x", "look"), finish("tool_calls")),
      [
        "call x look",
        "arguments x 1",
        "end x",
        "finish toolCalls m-2026"
      ]
    ],
    [
      "no ids at all, and the name repeated",
      sse(
        call(0, { function: { name: "look", arguments: "1" } }),
        call(0, { function: { name: "look", arguments: "2" } }),
        call(1, { function: { name: "go", arguments: "3" } }),
        finish("tool_calls")
      ),
      [
        "call call_0 look",
        "arguments call_0 1",
        "arguments call_0 2",
        "call call_1 go",
        "arguments call_1 3",
        "end call_0",
        "end call_1",
        "finish toolCalls m-2026"
      ]
    ],
    ["one id for two calls", sse(named(0, "a", "look", "1"), named(1, "a", "go", "2"), finish("tool_calls")), [
      "call a look",
      "arguments a 1",
      "call a_1 go",
      "arguments a_1 2",
      "end a",
      "end a_1",
      "finish toolCalls m-2026"
    ]],
    [
      "answers that were not asked for",
      sse({ choices: [{ index: 1, delta: { content: "b" } }, { index: 0, delta: { content: "a" } }] }, finish("stop"), {
        choices: [{ index: 1, delta: {}, finish_reason: "length" }]
      }),
      ["text a", stop]
    ],
    ["no model name", sse({ choices: [{ delta: { content: "a" }, finish_reason: "stop" }] }), [
      "text a",
      "finish stop undefined"
    ]]
  ])("%s", ([_, body, told]) =>
    Effect.gen(function*() {
      const found = yield* streamed(body)
      expect(found.error).toBeUndefined()
      expect(found.told).toEqual(told)
    }))
})

describe("S1, S2: streams that fail", () => {
  it.effect.each<readonly [string, string, Record<string, unknown>, ReadonlyArray<string>]>([
    ["a top-level error", sse(text("a"), { error: { message: "no", code: "server_is_overloaded" } }), {
      _tag: "Overloaded",
      status: 200,
      partial: "a",
      handedOut: true
    }, ["text a"]],
    ["an error before all else", sse({ error: { message: "slow down", type: "rate_limit_error" } }), {
      _tag: "RateLimited",
      handedOut: false
    }, []],
    [
      "OpenRouter's finish reason",
      sse(text("a"), { error: { code: 502, message: "gone" }, ...finish("error") }),
      { _tag: "ProviderUnavailable", detail: "gone" },
      ["text a"]
    ],
    [
      "OpenRouter's frame with empty choices",
      sse(text("a"), { error: { code: 503, message: "busy" }, choices: [] }),
      { _tag: "Overloaded", detail: "busy" },
      ["text a"]
    ],
    ["an error after the finish reason", sse(text("a"), finish("stop"), { error: { code: 500, message: "x" } }), {
      _tag: "ProviderUnavailable"
    }, ["text a"]],
    ["an event of type error", `event: error\ndata: {"status":429,"text":"x"}\n\n`, { _tag: "RateLimited" }, []],
    [
      "an error without the form of an event",
      `${sse(text("a"))}{"error":{"message":"x","code":"insufficient_quota"}}\n`,
      {
        _tag: "QuotaExhausted"
      },
      ["text a"]
    ],
    ["vLLM's error", sse({ object: "error", message: "boom", type: "BadRequestError", code: 400 }), {
      _tag: "InvalidRequest"
    }, []],
    [
      "a content filter, with the usage that follows",
      sse(text("a"), finish("content_filter"), { choices: [], usage }, "[DONE]"),
      { _tag: "ContentFiltered", stage: "output", partial: "a", usage: { inputTokens: 3, outputTokens: 5 } },
      ["text a", "usage 3 5"]
    ],
    ["a refusal in pieces", sse(delta({ refusal: "I can" }), delta({ refusal: "not." }), finish("stop"), "[DONE]"), {
      _tag: "ContentFiltered",
      stage: "refusal",
      detail: "I cannot."
    }, []],
    ["a model that gave up", sse(text("a"), finish("insufficient_system_resource")), { _tag: "Overloaded" }, [
      "text a"
    ]],
    ["an end without a finish reason", sse({ ...text("a"), usage }), {
      _tag: "StreamInterrupted",
      partial: "a",
      usage: { inputTokens: 3, outputTokens: 5 }
    }, ["text a", "usage 3 5"]],
    ["[DONE] without a finish reason", sse(text("a"), "[DONE]"), { _tag: "StreamInterrupted", partial: "a" }, [
      "text a"
    ]],
    [
      "nothing but the preamble",
      sse(delta({ role: "assistant" })),
      { _tag: "StreamInterrupted", handedOut: false },
      []
    ],
    ["nothing at all", "", { _tag: "StreamInterrupted", handedOut: false }, []],
    ["a frame cut in the middle", sse(text("a")) + `data: {"choices":[{"delta":{"content":"b`, {
      _tag: "StreamInterrupted",
      partial: "a"
    }, ["text a"]],
    ["a frame that is no JSON", sse(text("a"), "oh no", text("b"), finish("stop")), {
      _tag: "MalformedResponse",
      partial: "a"
    }, ["text a"]],
    ["a frame that is no object", sse(text("a"), "7", finish("stop")), { _tag: "MalformedResponse" }, ["text a"]],
    ["content of another shape", sse(text("a"), delta({ content: { text: "b" } }), finish("stop")), {
      _tag: "MalformedResponse",
      detail: expect.stringMatching(/^an event has another shape than documented at choices\.0\.delta\.content\b/)
    }, ["text a"]],
    ["a line that is of no format", `${sse(text("a"))}garbage\n${sse(finish("stop"))}`, { _tag: "MalformedResponse" }, [
      "text a"
    ]],
    ["a NUL in the text", sse(text("a"), "{\"choices\":[{\"delta\":{\"content\":\"\u0000\"}}]}", finish("stop")), {
      _tag: "MalformedResponse"
    }, ["text a"]],
    [
      "arguments that are nested too deeply",
      sse(
        text("a"),
        `{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"look","arguments":${
          "[".repeat(100_000)
        }${"]".repeat(100_000)}}}]}}]}`
      ),
      { _tag: "MalformedResponse", detail: "an event is nested too deeply" },
      ["text a"]
    ],
    ["a tool call without a name", sse(args(0, "{}", "x"), finish("tool_calls")), {
      _tag: "MalformedResponse",
      detail: "a tool call has no name"
    }, []]
  ])("%s", ([_, body, fields, told]) =>
    Effect.gen(function*() {
      const found = yield* streamed(body)
      expect({ ...found.error, _tag: found.error?._tag }).toMatchObject(fields)
      expect(found.told).toEqual(told)
    }))

  it.effect("bytes that are not UTF-8", () =>
    Effect.gen(function*() {
      const bytes = [new TextEncoder().encode(sse(text("a"))), new Uint8Array([0x64, 0xff, 0xfe, 10, 10])]
      const body = new ReadableStream({
        pull: (controller) => {
          const next = bytes.shift()
          if (next === undefined) controller.close()
          else controller.enqueue(next)
        }
      })
      const found = yield* streamed(() => eventStream(body))
      expect(found.error).toMatchObject({ _tag: "MalformedResponse", detail: "the text is not UTF-8", partial: "a" })
    }))

  it.effect("an error as JSON where a stream was asked for", () =>
    Effect.gen(function*() {
      const found = yield* streamed(() =>
        json({ error: { code: "rate_limit_exceeded" } }, { status: 429, headers: { "retry-after": "7" } })
      )
      expect(found.error).toMatchObject({ _tag: "RateLimited", status: 429, retryAfter: Duration.seconds(7) })
    }))

  it.effect("the request's id and the rate limits of the reply are told by errors in the stream", () =>
    Effect.gen(function*() {
      const found = yield* streamed(() =>
        eventStream(sse({ error: { code: "rate_limit_exceeded" } }), {
          "x-request-id": "req_1",
          "x-ratelimit-remaining-tokens": "0",
          "x-ratelimit-reset-tokens": "6m0s"
        })
      )
      expect(found.error).toMatchObject({
        _tag: "RateLimited",
        requestId: "req_1",
        retryAfter: Duration.minutes(6),
        rateLimits: { tokens: { remaining: 0, reset: Duration.minutes(6) } }
      })
    }))
})
