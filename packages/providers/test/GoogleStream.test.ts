import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Exit } from "effect"
import { LlmRequest, StreamPart } from "perdure"
import { events } from "../src/internal/google/stream.ts"
import { failureOf, json } from "./support/client.ts"
import { answer, ask, askStream, sse } from "./support/google.ts"

const context = { status: 200, headers: {}, model: "m", provider: "google", now: 0, secrets: [] }

/** The parts of these events and of the end after them, and the failure that cut them off. */
const read = (...data: ReadonlyArray<unknown>) => {
  const reader = events(context)
  const parts: Array<StreamPart.StreamPart> = []
  for (const one of data) {
    const text = typeof one === "string" ? one : JSON.stringify(one)
    const decoded = reader.event({ event: undefined, data: text, cut: false })
    if (Either.isLeft(decoded)) return { parts, failure: decoded.left }
    parts.push(...decoded.right)
  }
  const end = reader.end()
  return Either.isLeft(end) ? { parts, failure: end.left } : { parts: [...parts, ...end.right], failure: undefined }
}

const piece = (...parts: ReadonlyArray<unknown>) => ({
  candidates: [{ index: 0, content: { role: "model", parts } }],
  modelVersion: "m-2026",
  responseId: "r-1"
})
const last = (finishReason: string, ...parts: ReadonlyArray<unknown>) => ({
  candidates: [{ index: 0, finishReason, content: { role: "model", parts } }]
})
const usage = (candidatesTokenCount: number) => ({ usageMetadata: { promptTokenCount: 3, candidatesTokenCount } })
const text = (text: string) => ({ _tag: "TextDelta", text })
const signed = (text: string, signature: string) => ({ _tag: "ReasoningDelta", text, signature, provider: "google" })
const used = (outputTokens: number) => ({ _tag: "Usage", usage: { inputTokens: 3, outputTokens } })
const finish = (finishReason: string, model = "m-2026") => ({ _tag: "Finish", finishReason, model })
const tool = (id: string, args: string) => [
  { _tag: "ToolCallStart", id, name: "look" },
  { _tag: "ToolCallDelta", id, arguments: args },
  { _tag: "ToolCallEnd", id }
]
const call = (fields: Record<string, unknown> = {}) => ({ functionCall: { name: "look", ...fields } })

const streams: ReadonlyArray<readonly [string, ReadonlyArray<unknown>, ReadonlyArray<unknown>]> = [
  [
    "text, with usage that counts up",
    [{ ...piece({ text: "a" }), ...usage(1) }, { ...piece({ text: "b" }), ...usage(2) }, {
      ...last("STOP"),
      ...usage(4)
    }],
    [text("a"), used(1), text("b"), used(2), used(4), finish("stop")]
  ],
  [
    "all in one event",
    [{ ...answer(), ...usage(1) }],
    [text("hi"), used(1), finish("stop")]
  ],
  [
    "thoughts with their signatures",
    [
      piece({ text: "hm", thought: true, thoughtSignature: "s" }),
      last("STOP", { text: "a" }, { text: "", thoughtSignature: "t" })
    ],
    [signed("hm", "s"), text("a"), signed("", "t"), finish("stop")]
  ],
  [
    "tool calls, whole as they come, told apart across events",
    [piece(call({ args: { at: 1 } }), call({ id: "x" })), piece(call()), last("STOP", call())],
    [
      ...tool("call_r-1_0", "{\"at\":1}"),
      ...tool("x", "{}"),
      ...tool("call_r-1_2", "{}"),
      ...tool("call_r-1_3", "{}"),
      finish("toolCalls")
    ]
  ],
  ["the finish before the usage", [last("MAX_TOKENS", { text: "a" }), usage(9)], [
    text("a"),
    used(9),
    finish("length", "m")
  ]],
  ["a closing mark of other dialects", [last("STOP", { text: "a" }), "[DONE]"], [text("a"), finish("stop", "m")]],
  [
    "other candidates are left out",
    [
      { candidates: [{ index: 1, finishReason: "STOP", content: { parts: [{ text: "x" }] } }] },
      last("STOP", { text: "a" })
    ],
    [text("a"), finish("stop", "m")]
  ],
  ["done, with nothing", [last("STOP")], [finish("stop", "m")]],
  ["another reason, after text", [piece({ text: "a" }), last("OTHER")], [text("a"), finish("other")]]
]

describe("the parts of a stream", () => {
  it.each(streams)("%s", (_, data, parts) => {
    const { failure, parts: found } = read(...data)
    expect(failure).toBeUndefined()
    expect(found).toMatchObject(parts)
    expect(found).toHaveLength(parts.length)
  })

  it.effect("the signature of a call goes back with the call", () =>
    Effect.gen(function*() {
      const signature = { thoughtSignature: "s" }
      const { parts } = read(
        piece({ text: "let ", thought: true }),
        piece({ text: "me", thought: true }),
        last("STOP", { ...call({ id: "x" }), ...signature }, call({ id: "y" }))
      )
      const [first, ...rest] = StreamPart.toResponse(parts, { provider: "google", model: "m" }).content
      const content = LlmRequest.assistant(first === undefined ? "" : [first, ...rest])
      const { body } = yield* ask({ messages: [LlmRequest.user("hi"), content] }, { model: "gemini-3-pro" })
      expect(body).toMatchObject({
        contents: [{}, {
          parts: [
            { text: "let me", thought: true },
            { functionCall: { id: "x" }, ...signature },
            { functionCall: { id: "y" } }
          ]
        }]
      })
    }))

  it("S1: no finish without a finish reason", () => {
    expect(read(piece({ text: "a" }), usage(1)).parts.map(({ _tag }) => _tag)).toEqual(["TextDelta", "Usage"])
    expect(read().parts).toEqual([])
  })
})

const failures: ReadonlyArray<readonly [string, unknown, Record<string, unknown>]> = [
  ["an error", { error: { code: 503, status: "UNAVAILABLE", message: "busy" } }, {
    _tag: "Overloaded",
    status: 503,
    detail: "busy"
  }],
  ["an error in a list", [{ error: { code: 429, status: "RESOURCE_EXHAUSTED", message: "m" } }], {
    _tag: "RateLimited"
  }],
  ["a blocked prompt", { promptFeedback: { blockReason: "OTHER" } }, { _tag: "ContentFiltered", stage: "prompt" }],
  ["a filtered answer", { ...last("SAFETY"), ...usage(2) }, {
    _tag: "ContentFiltered",
    stage: "output",
    usage: { inputTokens: 3, outputTokens: 2 }
  }],
  ["an unspeakable tool call", last("MALFORMED_FUNCTION_CALL"), { _tag: "MalformedResponse" }],
  ["no JSON", "{\"candidates\":[", { _tag: "MalformedResponse", detail: "an event is not JSON" }],
  ["another shape", { candidates: [{ content: { parts: "x" } }] }, { _tag: "MalformedResponse" }]
]

describe("S2: what ends a stream in the middle", () => {
  it.each(failures)("%s", (_, event, fields) => {
    const { failure, parts } = read(piece({ text: "a" }), event)
    expect(parts).toMatchObject([text("a")])
    expect(failure).toMatchObject(fields)
  })

  it("nothing but another reason", () => {
    expect(read(last("OTHER")).failure).toMatchObject({ _tag: "MalformedResponse" })
  })
})

describe("a stream read through the service", () => {
  const tags = (exit: Exit.Exit<ReadonlyArray<StreamPart.StreamPart>, unknown>) =>
    Exit.isSuccess(exit) ? exit.value.map(({ _tag }) => _tag) : failureOf(exit)

  it.effect("ends with a finish that names the model", () =>
    Effect.gen(function*() {
      const { exit } = yield* askStream("hi", {}, () => sse(piece({ text: "a" }), last("STOP")))
      expect(Exit.isSuccess(exit) && exit.value).toMatchObject([text("a"), finish("stop")])
    }))

  it.effect("S1: cut, with what had come", () =>
    Effect.gen(function*() {
      const { exit } = yield* askStream("hi", {}, () => sse({ ...piece({ text: "a" }), ...usage(1) }))
      expect(tags(exit)).toMatchObject({
        _tag: "StreamInterrupted",
        partial: "a",
        handedOut: true,
        usage: { inputTokens: 3, outputTokens: 1 }
      })
    }))

  it.effect("S2: an error before the first output is as its status would be", () =>
    Effect.gen(function*() {
      const error = { error: { code: 429, status: "RESOURCE_EXHAUSTED", message: "m" } }
      const { exit } = yield* askStream("hi", {}, () => sse(usage(0), error))
      expect(tags(exit)).toMatchObject({ _tag: "RateLimited", handedOut: false })
    }))

  it.effect("S2: an error that is a line of JSON and no event", () =>
    Effect.gen(function*() {
      const body = `data: ${
        JSON.stringify(piece({ text: "a" }))
      }\n\n{"error":{"code":500,"status":"INTERNAL","message":"m"}}\n`
      const { exit } = yield* askStream("hi", {}, () => new Response(body))
      expect(tags(exit)).toMatchObject({ _tag: "ProviderUnavailable", partial: "a", handedOut: true })
    }))

  it.effect("an error with a status", () =>
    Effect.gen(function*() {
      const error = { error: { code: 503, status: "UNAVAILABLE", message: "m" } }
      const { exit } = yield* askStream("hi", {}, () => json(error, { status: 503 }))
      expect(tags(exit)).toMatchObject({ _tag: "Overloaded", status: 503 })
    }))

  it.effect("an answer of a server that does not stream", () =>
    Effect.gen(function*() {
      const headers = { "content-type": "application/json; charset=UTF-8" }
      const { exit } = yield* askStream("hi", {}, () => json(answer(), { headers }))
      expect(tags(exit)).toEqual(["TextDelta", "Usage", "Finish"])
    }))
})
