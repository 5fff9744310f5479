import { LLMock } from "@copilotkit/aimock"
import { describe, expect, it } from "@effect/vitest"
import { Google } from "@perdure/providers"
import { Duration, Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { inspect } from "node:util"
import { LlmProvider, LlmRequest } from "perdure"
import { failureOf } from "./support/client.ts"
import { answer, key } from "./support/google.ts"
import { chunked, clients, rawServer, reply } from "./support/rawServer.ts"

const prompt = "a prompt that nobody else should ever read"
const tools = [{ name: "look", parameters: { type: "object", properties: { at: { type: "number" } } } }]
const usage = { promptTokenCount: 11, candidatesTokenCount: 3, totalTokenCount: 14 }

const mockServer = Effect.acquireRelease(
  Effect.promise(async () => {
    const mock = new LLMock({ host: "127.0.0.1", port: 0 })
    mock.on({ model: "gemini-2.5-pro" }, { content: "hello from the mock", reasoning: "let me see", usage })
    mock.on({ model: "tools" }, {
      toolCalls: [{ name: "look", arguments: "{\"at\":1}", id: "c1" }, { name: "look", arguments: "" }]
    })
    mock.on({ model: "length" }, { content: "cut", finishReason: "length" })
    mock.on({ model: "filtered" }, { content: "x", finishReason: "content_filter" })
    mock.on({ model: "limited" }, {
      error: { message: "slow", type: "RESOURCE_EXHAUSTED" },
      status: 429,
      retryAfter: 2
    })
    mock.on({ model: "down" }, { error: { message: "busy", type: "UNAVAILABLE" }, status: 503 })
    mock.on({ model: "dropped" }, { content: "x" }, { chaos: { disconnectRate: 1 } })
    mock.on({ model: "garbled" }, { content: "x" }, { chaos: { malformedRate: 1 } })
    mock.on({ model: "cut" }, { content: "a long answer that is cut off" }, {
      chunkSize: 2,
      latency: 20,
      truncateAfterChunks: 3
    })
    return { mock, url: `${await mock.start()}/v1beta` }
  }),
  ({ mock }) => Effect.promise(() => mock.stop())
)

const event = (event: unknown) => {
  const data = `data: ${JSON.stringify(event)}\r\n\r\n`
  return `${Buffer.byteLength(data).toString(16)}\r\n${data}\r\n`
}
const piece = (text: string) => event({ candidates: [{ index: 0, content: { parts: [{ text }] } }] })
const end = "0\r\n\r\n"

for (const [name, client] of clients) {
  const llm = (baseUrl: string, options: Partial<Google.Options> = {}) =>
    Google.layer({ model: "m", apiKey: Redacted.make(key), baseUrl, ...options }).pipe(Layer.provide(client))

  const ask = (baseUrl: string, model: string) =>
    LlmProvider.generate({ messages: [LlmRequest.user(prompt)], tools }).pipe(Effect.provide(llm(baseUrl, { model })))

  const stream = (baseUrl: string, options: Partial<Google.Options> = {}) =>
    Stream.runCollect(LlmProvider.stream({ messages: [LlmRequest.user(prompt)], tools })).pipe(
      Effect.map((parts) => Array.from(parts)),
      Effect.provide(llm(baseUrl, options))
    )

  /** The failure of a call, which must be one and tell no secret. */
  const failing = <A>(call: Effect.Effect<A, unknown>) =>
    Effect.map(Effect.exit(call), (exit) => {
      const error = failureOf(exit)
      for (const told of [inspect(error, { depth: 20, showHidden: true }), JSON.stringify(error), String(exit)]) {
        expect(told).not.toContain(key)
        expect(told).not.toContain(prompt)
      }
      return error
    })

  describe(`a mock of the API over ${name}`, () => {
    it.scopedLive("answers", () =>
      Effect.gen(function*() {
        const { mock, url } = yield* mockServer
        expect(yield* ask(url, "gemini-2.5-pro")).toMatchObject({
          text: "hello from the mock",
          finishReason: "stop",
          usage: { inputTokens: 11, outputTokens: 3 }
        })
        expect(mock.getLastRequest()).toMatchObject({
          path: expect.stringMatching(/^\/v1beta\/models\/gemini-2.5-pro:generateContent$/),
          body: { messages: [{ role: "user", content: prompt }] }
        })
        const called = yield* ask(url, "tools")
        expect(called.toolCalls).toEqual([
          { _tag: "ToolCall", id: "c1", name: "look", arguments: "{\"at\":1}" },
          { _tag: "ToolCall", id: expect.any(String), name: "look", arguments: "{}" }
        ])
        expect(called.finishReason).toBe("toolCalls")
        expect((yield* ask(url, "length")).finishReason).toBe("length")
      }))

    it.scopedLive("streams", () =>
      Effect.gen(function*() {
        const { mock, url } = yield* mockServer
        const parts = yield* stream(url, { model: "gemini-2.5-pro" })
        expect(parts.map((part) => part._tag === "TextDelta" ? part.text : "").join("")).toBe("hello from the mock")
        expect(parts.map((part) => part._tag === "ReasoningDelta" ? part.text : "").join("")).toBe("let me see")
        expect(parts.slice(-2)).toMatchObject([
          { _tag: "Usage", usage: { inputTokens: 11, outputTokens: 3 } },
          { _tag: "Finish", finishReason: "stop" }
        ])
        expect(mock.getLastRequest()?.path).toBe("/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse")
        const called = yield* stream(url, { model: "tools" })
        expect(called.filter(({ _tag }) => _tag === "ToolCallDelta")).toMatchObject([
          { id: "c1", arguments: "{\"at\":1}" },
          { arguments: "{}" }
        ])
        expect(called.at(-1)).toMatchObject({ _tag: "Finish", finishReason: "toolCalls" })
      }))

    it.scopedLive("fails", () =>
      Effect.gen(function*() {
        const { url } = yield* mockServer
        const calls: ReadonlyArray<(model: string) => Effect.Effect<unknown, unknown>> = [
          (model) => ask(url, model),
          (model) => stream(url, { model })
        ]
        for (const call of calls) {
          expect(yield* failing(call("limited"))).toMatchObject({
            _tag: "RateLimited",
            status: 429,
            retryAfter: Duration.seconds(2)
          })
          expect(yield* failing(call("down"))).toMatchObject({ _tag: "Overloaded", status: 503, detail: "busy" })
          expect(yield* failing(call("unknown"))).toMatchObject({ _tag: "ModelNotFound", status: 404 })
          expect(yield* failing(call("filtered"))).toMatchObject({ _tag: "ContentFiltered", stage: "output" })
          expect(yield* failing(call("dropped"))).toMatchObject({ _tag: "ConnectionFailed", sent: true })
          expect(yield* failing(call("garbled"))).toMatchObject({ _tag: "MalformedResponse" })
        }
        expect(yield* failing(stream(url, { model: "cut" }))).toMatchObject({ _tag: "StreamInterrupted" })
      }))
  })

  describe(`a bare socket over ${name}`, () => {
    it.scopedLive("the key is in its header and not in the address", () =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) => socket.write(reply("200 OK", JSON.stringify(answer()))))
        expect((yield* ask(server.url, "m")).text).toBe("hi")
        expect(server.requests[0]).toMatch(/^POST \/v1\/models\/m:generateContent HTTP\/1.1\r\n/)
        expect(server.requests[0]).toMatch(new RegExp(`\r\nx-goog-api-key: ${key}\r\n`, "i"))
        expect(server.requests[0]?.split(key)).toHaveLength(2)
      }))

    it.scopedLive("S1: a stream that breaks after its first output, and one that ends without a finish reason", () =>
      Effect.gen(function*() {
        const ends: ReadonlyArray<Parameters<typeof rawServer>[0]> = [
          (socket) =>
            socket.write(chunked("200 OK") + piece("one"), () => setTimeout(() => socket.resetAndDestroy(), 50)),
          (socket) => socket.write(chunked("200 OK") + piece("one") + end)
        ]
        for (const behave of ends) {
          const server = yield* rawServer(behave)
          expect(yield* failing(stream(server.url))).toMatchObject({
            _tag: "StreamInterrupted",
            partial: "one",
            handedOut: true
          })
        }
      }))

    it.scopedLive("T2: a stream that goes quiet times out and lets go of its socket", () =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) => socket.write(chunked("200 OK") + piece("one")))
        expect(yield* failing(stream(server.url, { timeouts: { idle: "50 millis" } }))).toMatchObject({
          _tag: "TimedOut",
          phase: "idle",
          partial: "one"
        })
        yield* server.closed
      }))

    it.scopedLive("E2: interrupting closes the socket", () =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) => socket.write(chunked("200 OK") + piece("one")))
        const fiber = yield* Effect.fork(stream(server.url))
        yield* server.asked
        yield* Fiber.interrupt(fiber)
        yield* server.closed
      }))
  })
}
