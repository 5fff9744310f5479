/** What a stream from a real provider means for the limit that it is made under. */
import { assert, describe, it } from "@effect/vitest"
import { OpenAi } from "@perdure/providers"
import { Deferred, Effect, Exit, Fiber, Layer, Redacted, Stream } from "effect"
import type net from "node:net"
import { LlmProvider, ModelPrices, SpendLimit } from "perdure"
import { failureOf, key } from "./support/client.ts"
import { chunked, clients, rawServer } from "./support/rawServer.ts"
import { delta, finish, sse } from "./support/stream.ts"

/** A token that is read costs a millionth, one that is written two. */
const prices = ModelPrices.layer({ models: { openai: { m: { input: 1, output: 2 } } } })

/** Every call reserves 2,000 millionths, and there is room for one of them. */
const limited = SpendLimit.make({
  total: 0.003,
  estimate: () => ({ inputTokens: 1000, outputTokens: 500 })
}).pipe(Effect.provide(prices))

const reserved = 2000

const spent = (limit: SpendLimit.Service) =>
  Effect.map(limit.status(), ({ limits }) => Math.round((limits[0]?.spent ?? Number.NaN) * 1e6))

const head = chunked("200 OK").replace("\r\n\r\n", "\r\ncontent-type: text/event-stream\r\n\r\n")
const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
const last = "0\r\n\r\n"
const text = (content: string, fields?: Record<string, unknown>) => sse(delta({ content }, null, fields))
const usage = (prompt_tokens: number, completion_tokens: number) => ({ usage: { prompt_tokens, completion_tokens } })
const whole = chunk(sse(finish("stop"), { choices: [], ...usage(100, 25) }, "[DONE]")) + last

/** A server that says something at once, and the rest when it is told to. */
const server = (rest: (socket: net.Socket) => void, first = text("hel")) =>
  Effect.gen(function*() {
    let go = () => {}
    const server = yield* rawServer((socket) => {
      socket.write(head + chunk(first))
      go = () => rest(socket)
    })
    return { ...server, go: Effect.sync(() => go()) }
  })

for (const [name, client] of clients) {
  const streaming = (url: string, limit: SpendLimit.Service) =>
    LlmProvider.stream("hello").pipe(
      Stream.provideLayer(
        OpenAi.layer({ model: "m", apiKey: Redacted.make(key), baseUrl: url }).pipe(
          Layer.provide(client),
          LlmProvider.withPolicy(limit)
        )
      )
    )

  /** Reads on a fiber of its own; `begun` when the first part is there. */
  const reading = <E>(stream: Stream.Stream<unknown, E>) =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const read = Stream.runForEach(stream, () => Deferred.succeed(begun, undefined))
      const fiber = yield* Effect.fork(read)
      yield* Deferred.await(begun)
      return fiber
    })

  describe(`spend limits of streams over ${name}`, () => {
    it.scopedLive("Q1: what was reserved is held until the stream has ended, then what it really cost", () =>
      Effect.gen(function*() {
        const limit = yield* limited
        const { go, requests, url } = yield* server((socket) => socket.write(whole))
        const fiber = yield* reading(streaming(url, limit))
        assert.strictEqual(yield* spent(limit), reserved)
        const beside = failureOf(yield* Effect.exit(Stream.runDrain(streaming(url, limit))))
        assert.strictEqual(beside._tag, "SpendLimitExceeded")
        assert.strictEqual(requests.length, 1)
        yield* go
        yield* Fiber.join(fiber)
        assert.strictEqual(yield* spent(limit), 150)
        const after = yield* reading(streaming(url, limit))
        assert.strictEqual(yield* spent(limit), 150 + reserved)
        yield* go
        yield* Fiber.join(after)
        assert.strictEqual(yield* spent(limit), 300)
      }))

    it.scopedLive("what a reader leaves half way stays as reserved: nobody says what it cost", () =>
      Effect.gen(function*() {
        const limit = yield* limited
        const { closed, url } = yield* server(() => {})
        yield* Stream.runDrain(Stream.take(streaming(url, limit), 1))
        yield* closed
        assert.strictEqual(yield* spent(limit), reserved)
      }))

    it.scopedLive("and so when the reader is interrupted", () =>
      Effect.gen(function*() {
        const limit = yield* limited
        const { closed, url } = yield* server(() => {})
        const fiber = yield* reading(streaming(url, limit))
        yield* Fiber.interrupt(fiber)
        yield* closed
        assert.strictEqual(yield* spent(limit), reserved)
      }))

    it.scopedLive("S1: a stream that is cut stays as reserved, where its usage was still to come", () =>
      Effect.gen(function*() {
        const limit = yield* limited
        const { go, url } = yield* server((socket) => socket.resetAndDestroy())
        const fiber = yield* reading(streaming(url, limit))
        yield* go
        const failure = failureOf(yield* Fiber.await(fiber))
        assert.strictEqual(failure._tag, "StreamInterrupted")
        assert.strictEqual(yield* spent(limit), reserved)
      }))

    it.scopedLive("S1: a stream that is cut costs what it told as it went, or the text where that is more", () =>
      Effect.gen(function*() {
        const limit = yield* limited
        // 40 characters, about 10 tokens: more than the 3 that it had counted.
        const first = text("x".repeat(40), usage(100, 3))
        const { go, url } = yield* server((socket) => socket.end(last), first)
        const fiber = yield* reading(streaming(url, limit))
        assert.strictEqual(yield* spent(limit), reserved)
        yield* go
        assert.strictEqual(failureOf(yield* Fiber.await(fiber))._tag, "StreamInterrupted")
        assert.strictEqual(yield* spent(limit), 120)
      }))

    it.scopedLive("a failure before the first output that used nothing gives everything back", () =>
      Effect.gen(function*() {
        const limit = yield* limited
        const { url } = yield* rawServer((socket) =>
          socket.write("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\n{}")
        )
        const exit = yield* Effect.exit(Stream.runDrain(streaming(url, limit)))
        assert.isTrue(Exit.isFailure(exit))
        assert.strictEqual(yield* spent(limit), 0)
      }))
  })
}
