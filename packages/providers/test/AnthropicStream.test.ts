import { describe, expect, it } from "@effect/vitest"
import { Anthropic } from "@perdure/providers"
import { Chunk, Effect, Either, Exit, Layer, Redacted, Stream } from "effect"
import { LlmProvider, StreamPart } from "perdure"
import * as Events from "../src/internal/anthropic/events.ts"
import {
  events,
  key,
  message,
  said,
  sse,
  textBlock,
  thinkingBlock,
  toolBlock,
  type WireEvent
} from "./support/anthropic.ts"
import { bodyOf, failureOf, recording } from "./support/client.ts"

const context = {
  status: 200,
  headers: { "request-id": "req_1" },
  model: "m",
  provider: "anthropic",
  now: 0,
  secrets: ["a secret that is long enough"]
}

interface Frame {
  readonly event?: string | undefined
  readonly data: string
}

const frame = (event: WireEvent): Frame => ({ event: event.type, data: JSON.stringify(event) })

/** What the frames come to: the parts, and the failure that follows them. */
const read = (frames: ReadonlyArray<Frame>) => {
  const reader = Events.make(context)
  const parts: Array<StreamPart.StreamPart> = []
  for (const { data, event } of frames) {
    const decoded = reader.event({ event, data, cut: false })
    if (Either.isLeft(decoded)) return { parts, error: decoded.left }
    parts.push(...decoded.right)
    if (decoded.right.some(({ _tag }) => _tag === "Finish")) return { parts, error: undefined }
  }
  const end = reader.end()
  return { parts, error: Either.isLeft(end) ? end.left : undefined }
}

const told = (parts: ReadonlyArray<StreamPart.StreamPart>) =>
  parts.flatMap((part): ReadonlyArray<unknown> => {
    switch (part._tag) {
      case "TextDelta":
        return [part.text]
      case "ReasoningDelta":
        return [part.signature === undefined ? { thought: part.text } : { signature: part.signature }]
      case "ToolCallStart":
        return [{ start: part.id, name: part.name }]
      case "ToolCallDelta":
        return [{ more: part.id, arguments: part.arguments }]
      case "ToolCallEnd":
        return [{ end: part.id }]
      case "Usage":
      case "Finish":
      case "Restarted":
        return []
    }
  })

const delta = (delta: Record<string, unknown>, index = 0) => ({ type: "content_block_delta", index, delta })

describe("a stream", () => {
  const facts: ReadonlyArray<readonly [string, ReadonlyArray<WireEvent>, ReadonlyArray<unknown>]> = [
    ["text", textBlock(0, "Hel", "", "lo"), ["Hel", "lo"]],
    ["reasoning before text, ended by its signature", [...thinkingBlock(0, "h", "m"), ...textBlock(1, "hi")], [
      { thought: "h" },
      { thought: "m" },
      { signature: "c2ln" },
      "hi"
    ]],
    ["reasoning kept from the reader", [
      { type: "content_block_start", index: 0, content_block: { type: "redacted_thinking", data: "ZGF0YQ==" } },
      { type: "content_block_stop", index: 0 },
      ...textBlock(1, "hi")
    ], [{ signature: "redacted_thinking:ZGF0YQ==" }, "hi"]],
    ["two tools", [...toolBlock(0, "look", "{\"at\"", ":1}"), ...toolBlock(1, "wait", "{}")], [
      { start: "toolu_0", name: "look" },
      { more: "toolu_0", arguments: "{\"at\"" },
      { more: "toolu_0", arguments: ":1}" },
      { end: "toolu_0" },
      { start: "toolu_1", name: "wait" },
      { more: "toolu_1", arguments: "{}" },
      { end: "toolu_1" }
    ]],
    ["a tool without arguments", toolBlock(0, "wait", ""), [
      { start: "toolu_0", name: "wait" },
      { more: "toolu_0", arguments: "{}" },
      { end: "toolu_0" }
    ]],
    ["a tool whose arguments come with its beginning, and whose end does not come", [
      {
        type: "content_block_start",
        index: 0,
        content_block: { type: "tool_use", id: "t", name: "x", input: { a: 1 } }
      }
    ], [{ start: "t", name: "x" }, { more: "t", arguments: "{\"a\":1}" }, { end: "t" }]],
    ["text that comes with the beginning of its block", [
      { type: "content_block_start", index: 0, content_block: { type: "text", text: "hi" } }
    ], ["hi"]],
    ["pings anywhere, and tools of the provider's own", [
      { type: "ping" },
      {
        type: "content_block_start",
        index: 0,
        content_block: { type: "server_tool_use", id: "s", name: "w", input: {} }
      },
      delta({ type: "input_json_delta", partial_json: "{}" }),
      { type: "content_block_stop", index: 0 },
      { type: "ping" },
      ...textBlock(1, "hi")
    ], ["hi"]],
    ["kinds of events and of deltas that are not known", [
      { type: "something_new", delta: { number: 1 } },
      delta({ type: "citations_delta", citation: { cited_text: "c" } }),
      delta({ type: "something_new", text: "" }),
      ...textBlock(1, "hi")
    ], ["hi"]]
  ]
  it.each(facts)("%s", (_, middle, expected) => {
    const { error, parts } = read(events(middle).map(frame))
    expect(error).toBe(undefined)
    expect(told(parts)).toEqual(expected)
    expect(parts.at(-1)).toMatchObject({ _tag: "Finish", finishReason: "stop", model: "claude-2026" })
  })

  it.each(
    [
      ["end_turn", "stop"],
      ["stop_sequence", "stop"],
      ["max_tokens", "length"],
      ["model_context_window_exceeded", "length"],
      ["tool_use", "toolCalls"],
      ["pause_turn", "other"],
      [null, "other"]
    ] as const
  )("the stop reason %s is %s", (stop_reason, finishReason) => {
    expect(read(events(textBlock(0, "hi"), { stop_reason }).map(frame)).parts.at(-1)).toMatchObject({ finishReason })
  })

  it("usage is counted from the beginning on, and the last of it counts", () => {
    const { parts } = read([
      {
        type: "message_start",
        message: message({ usage: { input_tokens: 5, cache_read_input_tokens: 100, output_tokens: 1 } })
      },
      { type: "message_delta", delta: {}, usage: { output_tokens: 4, cache_read_input_tokens: null } },
      { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 7, input_tokens: 6 } },
      { type: "message_stop" }
    ].map(frame))
    expect(parts.flatMap((part) => part._tag === "Usage" ? [{ ...part.usage }] : [])).toEqual([
      { inputTokens: 105, outputTokens: 1, cachedInputTokens: 100 },
      { inputTokens: 105, outputTokens: 4, cachedInputTokens: 100 },
      { inputTokens: 106, outputTokens: 7, cachedInputTokens: 100 }
    ])
  })

  it("what comes before the first output is not output", () => {
    const { parts } = read(
      [...events([]).slice(0, 1), { type: "ping" }, ...thinkingBlock(0)].map(frame)
    )
    expect(parts.some(StreamPart.isOutput)).toBe(false)
  })

  it("a ping may hold anything", () => {
    const { error, parts } = read([{ event: "ping", data: "" }, ...events(textBlock(0, "hi")).map(frame)])
    expect(error).toBe(undefined)
    expect(told(parts)).toEqual(["hi"])
  })

  it("events without names are known by their type", () => {
    const { parts } = read(events(textBlock(0, "hi")).map((event) => ({ data: JSON.stringify(event) })))
    expect(told(parts)).toEqual(["hi"])
    expect(parts.at(-1)).toMatchObject({ _tag: "Finish" })
  })

  it("events without a type are known by their names", () => {
    const { parts } = read(
      events(textBlock(0, "hi")).map(({ type, ...rest }) => ({ event: type, data: JSON.stringify(rest) }))
    )
    expect(told(parts)).toEqual(["hi"])
    expect(parts.at(-1)).toMatchObject({ _tag: "Finish" })
  })
})

describe("S2: a stream that fails", () => {
  const begun = [...events([]).slice(0, 1), ...textBlock(0, "hi")].map(frame)
  const facts: ReadonlyArray<readonly [string, Frame, Record<string, unknown>]> = [
    ["an overload", frame({ ...said("overloaded_error", "Overloaded"), type: "error" }), {
      _tag: "Overloaded",
      status: 200,
      requestId: "req_1",
      code: "overloaded_error",
      detail: "Overloaded"
    }],
    ["a rate limit", frame(said("rate_limit_error")), { _tag: "RateLimited" }],
    ["billing", frame(said("rate_limit_error", "x", { details: { error_code: "contract_spend_limit_reached" } })), {
      _tag: "QuotaExhausted"
    }],
    ["a failure of the server", frame(said("api_error", "Internal server error")), { _tag: "ProviderUnavailable" }],
    ["an error without a name for the event", { data: JSON.stringify(said("overloaded_error")) }, {
      _tag: "Overloaded"
    }],
    ["an error of a gateway's making", { data: "{\"error\":{\"message\":\"x\",\"type\":\"overloaded_error\"}}" }, {
      _tag: "Overloaded"
    }],
    ["an error in plain text", { event: "error", data: "upstream went away" }, {
      _tag: "ProviderUnavailable",
      detail: "upstream went away"
    }],
    ["an error that quotes a secret", frame(said("api_error", "at a secret that is long enough")), {
      _tag: "ProviderUnavailable",
      detail: "at <redacted>"
    }],
    [
      "a refusal",
      frame({ type: "message_delta", delta: { stop_reason: "refusal" }, usage: { output_tokens: 3 } }),
      {
        _tag: "ContentFiltered",
        stage: "refusal",
        usage: { inputTokens: 10, outputTokens: 3 }
      }
    ],
    ["an event that is not JSON", { event: "content_block_delta", data: "{\"type\":" }, { _tag: "MalformedResponse" }],
    ["an event that is no object", { event: "message_stop", data: "[]" }, { _tag: "MalformedResponse" }],
    ["an event of another shape", frame(delta({ type: "text_delta", text: 1 })), { _tag: "MalformedResponse" }],
    [
      "a tool call without a name",
      frame({
        type: "content_block_start",
        index: 1,
        content_block: { type: "tool_use", id: "t" }
      }),
      { _tag: "MalformedResponse" }
    ],
    ["text in a delta that is not known", frame(delta({ type: "new_delta", text: "lost" })), {
      _tag: "MalformedResponse"
    }],
    ["text in an event that is not known", frame({ type: "new_event", delta: { text: "lost" } }), {
      _tag: "MalformedResponse"
    }]
  ]
  it.each(facts)("%s", (_, bad, expected) => {
    const { error, parts } = read([...begun, bad, ...events([]).slice(-1).map(frame)])
    expect(told(parts)).toEqual(["hi"])
    expect(error).toMatchObject({ provider: "anthropic", model: "m", requestId: "req_1", ...expected })
  })

  it("S1: without message_stop the stream is cut, whatever the model had said", () => {
    const { error } = read(events(textBlock(0, "hi")).slice(0, -1).map(frame))
    expect(error).toMatchObject({
      _tag: "StreamInterrupted",
      requestId: "req_1",
      detail: "the stream ended without message_stop"
    })
  })
})

describe("a stream through the provider", () => {
  const streamed = (body: string, headers: Record<string, string> = { "content-type": "text/event-stream" }) => {
    const client = recording(() => new Response(body, { headers }))
    return LlmProvider.stream("hello").pipe(
      Stream.runCollect,
      Effect.provide(
        Anthropic.layer({ model: "m", apiKey: Redacted.make(key) }).pipe(Layer.provide(client.layer))
      ),
      Effect.exit,
      Effect.map((exit) => ({ exit, request: client.requests[0] }))
    )
  }

  it.effect("asks for one, and ends with the receipt", () =>
    Effect.gen(function*() {
      const { exit, request } = yield* streamed(`: hello\n\n${sse(...events(textBlock(0, "h", "i")))}`)
      expect(bodyOf(request)).toMatchObject({ stream: true })
      expect(request?.headers["accept"]).toBe("text/event-stream")
      const parts = Chunk.toReadonlyArray(yield* exit)
      expect(StreamPart.toResponse(parts, { provider: "anthropic", model: "m" })).toMatchObject({
        text: "hi",
        model: "claude-2026",
        finishReason: "stop",
        usage: { inputTokens: 10, outputTokens: 7 },
        receipt: { served: { provider: "anthropic", model: "claude-2026" } }
      })
    }))

  it.effect("S1: a cut after output tells what had come, and what it cost", () =>
    Effect.gen(function*() {
      const { exit } = yield* streamed(`${sse(...events(textBlock(0, "hi")).slice(0, -2))}event: message_st`)
      expect(failureOf(exit)).toMatchObject({
        _tag: "StreamInterrupted",
        partial: "hi",
        handedOut: true,
        usage: { inputTokens: 10 }
      })
    }))

  it.effect("S1: a cut in the middle of an event is a cut", () =>
    Effect.gen(function*() {
      const { exit } = yield* streamed(sse(...events(textBlock(0, "hi"))).slice(0, -20))
      expect(failureOf(exit)).toMatchObject({ _tag: "StreamInterrupted", partial: "hi" })
    }))

  it.effect("S2: an error before the first output is one that may be retried", () =>
    Effect.gen(function*() {
      const { exit } = yield* streamed(sse(...events([]).slice(0, 1), { type: "ping" }, said("overloaded_error")))
      expect(failureOf(exit)).toMatchObject({ _tag: "Overloaded", handedOut: false })
    }))

  it.effect("a server that answers whole is read all the same", () =>
    Effect.gen(function*() {
      const { exit } = yield* streamed(JSON.stringify(message()), { "content-type": "application/json" })
      expect(Exit.isSuccess(exit) && told(Chunk.toReadonlyArray(exit.value))).toEqual(["hi"])
    }))
})
