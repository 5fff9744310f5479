import { describe, expect, it } from "@effect/vitest"
import { OpenAi } from "@perdure/providers"
import { Duration, Effect, Exit, Fiber, Layer, Redacted, Stream } from "effect"
import type net from "node:net"
import { inspect } from "node:util"
import { LlmProvider } from "perdure"
import { failureOf, key } from "./support/client.ts"
import { chunked, clients, rawServer, reply } from "./support/rawServer.ts"
import { brief, collect, delta, finish, sse } from "./support/stream.ts"

const prompt = "a prompt that nobody else should ever read"
const head = chunked("200 OK").replace("\r\n\r\n", "\r\ncontent-type: text/event-stream\r\nx-request-id: req_1\r\n\r\n")
const chunk = (text: string | Buffer) => {
  const bytes = Buffer.from(text)
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")])
}
const last = "0\r\n\r\n"
const text = (content: string) => sse(delta({ content }))
const done = sse(finish("stop"), "[DONE]")
const MB = 1024 * 1024

/** Writes the chunks of a body, the first of them with the head. */
const send = (socket: net.Socket, ...texts: ReadonlyArray<string>) => {
  socket.write(head)
  for (const text of texts) socket.write(chunk(text))
}

const closes = (server: { readonly closed: Effect.Effect<void> }) =>
  Effect.timeoutFail(server.closed, { duration: "2 seconds", onTimeout: () => "the connection is still open" })

for (const [name, client] of clients) {
  const open = (baseUrl: string, options: Partial<OpenAi.Options> = {}) =>
    LlmProvider.stream(prompt).pipe(
      Stream.provideLayer(
        OpenAi.layer({ model: "m", apiKey: Redacted.make(key), baseUrl, ...options }).pipe(Layer.provide(client))
      )
    )

  const read = (baseUrl: string, options?: Partial<OpenAi.Options>) =>
    Effect.map(collect(open(baseUrl, options)), ({ exit, parts }) => {
      const error = Exit.isFailure(exit) ? failureOf(exit) : undefined
      for (
        const told of [inspect(error, { depth: 20, showHidden: true }), inspect(exit, { depth: 20 }), String(exit)]
      ) {
        expect(told).not.toContain(key)
        expect(told).not.toContain(prompt)
      }
      return { told: parts.map(brief), error }
    })

  describe(`streams over ${name}`, () => {
    it.scopedLive("a stream", () =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) => {
          send(socket, text("he"), text("llo"), done)
          socket.write(last)
        })
        expect((yield* read(server.url)).told).toEqual(["text he", "text llo", "finish stop m-2026"])
      }))

    it.scopedLive("a finished stream leaves its connection to the next", () =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) =>
          socket.write(Buffer.concat([head, chunk(text("a")), chunk(done), last].map((part) => Buffer.from(part))))
        )
        const service = yield* OpenAi.make({ model: "m", apiKey: "none", baseUrl: server.url })
        const streaming = Stream.runDrain(LlmProvider.stream("hello")).pipe(
          Effect.provideService(LlmProvider.LlmProvider, service)
        )
        yield* streaming
        yield* Effect.sleep(50)
        yield* streaming
        expect(server.requests).toHaveLength(2)
        expect(server.connections()).toBe(name === "node:http" ? 2 : 1)
      }).pipe(Effect.provide(client)))

    it.scopedLive("a stream byte by byte, its characters cut in pieces", () =>
      Effect.gen(function*() {
        const words = "žluťoučký kůň 🐴 漢字"
        const server = yield* rawServer((socket) => {
          socket.setNoDelay(true)
          socket.write(head)
          const bytes = Buffer.from(text(words) + done)
          let at = 0
          const next = () => {
            if (at === bytes.length) socket.write(last)
            else {
              socket.write(chunk(bytes.subarray(at, ++at)))
              setImmediate(next)
            }
          }
          next()
        })
        expect((yield* read(server.url)).told).toEqual([`text ${words}`, "finish stop m-2026"])
      }))

    it.scopedLive.each<readonly [string, (socket: net.Socket) => void]>([
      ["closed without its last chunk", (socket) => socket.end()],
      ["reset", (socket) => socket.resetAndDestroy()],
      ["ended as if all were well", (socket) => socket.end(last)],
      ["ended in the middle of a frame", (socket) => socket.end(`${chunk("data: {\"choi")}${last}`)]
    ])("S1: a stream %s was cut, and says what had come", ([_, end]) =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) => {
          send(socket, text("he"))
          setTimeout(() => end(socket), 30)
        })
        const { error, told } = yield* read(server.url)
        expect(told).toEqual(["text he"])
        expect(error).toMatchObject({
          _tag: "StreamInterrupted",
          status: 200,
          requestId: "req_1",
          partial: "he",
          handedOut: true
        })
      }))

    it.scopedLive("a connection that breaks after the finish reason has cut nothing", () =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) => {
          send(socket, text("hi"), sse(finish("stop")))
          setTimeout(() => socket.resetAndDestroy(), 30)
        })
        const { error, told } = yield* read(server.url)
        expect(error).toBeUndefined()
        expect(told).toEqual(["text hi", "finish stop m-2026"])
      }))

    it.scopedLive("S2: an error inside the stream", () =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) =>
          send(socket, text("he"), sse({ error: { code: "rate_limit_exceeded", message: `${key}: ${prompt}` } }))
        )
        const { error, told } = yield* read(server.url)
        expect(told).toEqual(["text he"])
        expect(error).toMatchObject({ _tag: "RateLimited", partial: "he" })
        yield* closes(server)
      }))

    it.scopedLive.each<readonly [string, ReadonlyArray<string>, Record<string, unknown>]>([
      ["headers", [], { _tag: "TimedOut", phase: "headers", handedOut: false }],
      ["firstOutput", [head, sse(delta({ role: "assistant" }))], { _tag: "TimedOut", phase: "firstOutput" }],
      ["idle", [head, text("he")], { _tag: "TimedOut", phase: "idle", partial: "he", handedOut: true }]
    ])(
      "T1, T2: a stall passes the limit %s, and its connection is closed",
      ([limit, sent, fields]) =>
        Effect.gen(function*() {
          let pings: NodeJS.Timeout | undefined
          const server = yield* rawServer((socket) => {
            const [first, ...rest] = sent
            if (first === undefined) return
            socket.write(first)
            for (const text of rest) socket.write(chunk(text))
            // What keeps the connection alive is no output.
            pings = setInterval(() => socket.write(chunk(": ping\n\n")), 20)
            socket.on("close", () => clearInterval(pings))
          })
          const { error } = yield* read(server.url, { timeouts: { [limit]: "150 millis" } })
          expect(error).toMatchObject({ ...fields, limit: Duration.millis(150) })
          yield* closes(server)
        })
    )

    it.scopedLive(
      "a line without an end is read to the limit, and its connection closed",
      () =>
        Effect.gen(function*() {
          let written = 0
          const server = yield* rawServer((socket) => {
            socket.write(head)
            const piece = chunk("x".repeat(256 * 1024))
            socket.write(chunk("data: "))
            const more = () => {
              while (!socket.destroyed && written < 100 * MB) {
                written += 256 * 1024
                if (!socket.write(piece)) return
              }
            }
            socket.on("drain", more)
            more()
          })
          const { error } = yield* read(server.url)
          expect(error).toMatchObject({ _tag: "MalformedResponse" })
          expect(error?.detail).toContain("without an event")
          yield* closes(server)
          expect(written).toBeLessThan(50 * MB)
        }),
      20_000
    )

    it.scopedLive.each<readonly [string, ReadonlyArray<string>]>([
      ["before the headers", []],
      ["before the first output", [head]],
      ["between outputs", [head, chunk(text("he")).toString()]]
    ])("E2: interrupting a stream %s closes its connection", ([_, sent]) =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) => {
          for (const text of sent) socket.write(text)
        })
        const fiber = yield* Effect.fork(Stream.runDrain(open(server.url)))
        yield* server.asked
        yield* Effect.sleep(50)
        const exit = yield* Fiber.interrupt(fiber)
        expect(Exit.isInterrupted(exit)).toBe(true)
        yield* closes(server)
      }))

    it.scopedLive("E2: not reading to the end closes the connection", () =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) => send(socket, text("a"), text("b"), text("c")))
        const parts = yield* Stream.runCollect(Stream.take(open(server.url), 1))
        expect(Array.from(parts, brief)).toEqual(["text a"])
        yield* closes(server)
      }))

    it.scopedLive("a reader that is slow slows down the server", () =>
      Effect.gen(function*() {
        let written = 0
        const server = yield* rawServer((socket) => {
          socket.write(head)
          const piece = chunk(text("x".repeat(64 * 1024)))
          const more = () => {
            while (!socket.destroyed && written < 200 * MB) {
              written += piece.length
              if (!socket.write(piece)) return
            }
          }
          socket.on("drain", more)
          more()
        })
        yield* Effect.scoped(Effect.gen(function*() {
          const pull = yield* Stream.toPull(open(server.url))
          yield* pull
          // Until the server has come to a stand.
          yield* Effect.suspend(() => {
            const before = written
            return Effect.map(Effect.sleep(200), () => written === before)
          }).pipe(Effect.repeat({ until: (stands) => stands }))
          expect(written).toBeLessThan(20 * MB)
        }))
        yield* closes(server)
      }), 20_000)

    it.scopedLive.each(["304 Not Modified", "307 Temporary Redirect"])(
      "O3: a %s is not followed",
      (status) =>
        Effect.gen(function*() {
          const other = yield* rawServer((socket) => send(socket, text("a"), done))
          const server = yield* rawServer((socket) => {
            const answer = reply(status, "", { location: other.url })
            socket.write(status.startsWith("304") ? answer.replace("content-length: 0\r\n", "") : answer)
          })
          const { error, told } = yield* read(server.url)
          expect(told).toEqual([])
          expect(error).toMatchObject({ _tag: "ModelNotFound", status: Number(status.slice(0, 3)) })
          expect(other.connections()).toBe(0)
        })
    )
  })
}
