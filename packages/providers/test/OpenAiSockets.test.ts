import { FetchHttpClient } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { OpenAi } from "@perdure/providers"
import { Duration, Effect, Exit, Fiber, Layer, Redacted } from "effect"
import { inspect } from "node:util"
import { LlmProvider } from "perdure"
import { completion, failureOf, key } from "./support/client.ts"
import { chunked, clients, flood, rawServer, reply } from "./support/rawServer.ts"

const prompt = "a prompt that nobody else should ever read"
const hi = JSON.stringify(completion())
const MB = 1024 * 1024

for (const [name, client] of clients) {
  const ask = (baseUrl: string, options: Partial<OpenAi.Options> = {}) =>
    LlmProvider.generate(prompt).pipe(
      Effect.provide(
        OpenAi.layer({ model: "m", apiKey: Redacted.make(key), baseUrl, ...options }).pipe(Layer.provide(client))
      )
    )

  /** The failure of a call, which must be one and tell no secret. */
  const failing = (baseUrl: string) =>
    Effect.map(Effect.exit(ask(baseUrl)), (exit) => {
      const error = failureOf(exit)
      for (const told of [inspect(error, { depth: 20, showHidden: true }), JSON.stringify(error), String(exit)]) {
        expect(told).not.toContain(key)
        expect(told).not.toContain(prompt)
      }
      return error
    })

  describe(`over ${name}`, () => {
    it.scopedLive("an answer", () =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) => socket.write(reply("200 OK", hi)))
        expect((yield* ask(server.url)).text).toBe("hi")
        expect(server.requests[0]).toMatch(/^POST \/v1\/chat\/completions HTTP\/1.1\r\n/)
        expect(server.requests[0]).toContain(prompt)
      }))

    it.scopedLive("a finished call leaves its connection to the next", () =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) => socket.write(reply("200 OK", hi)))
        const service = yield* OpenAi.make({ model: "m", apiKey: "none", baseUrl: server.url })
        const generate = LlmProvider.generate("hello").pipe(Effect.provideService(LlmProvider.LlmProvider, service))
        yield* generate
        yield* Effect.sleep(20)
        yield* generate
        expect(server.requests).toHaveLength(2)
        expect(server.connections()).toBe(name === "node:http" ? 2 : 1)
      }).pipe(Effect.provide(client)))

    it.scopedLive("O3, R7: a refused connection was not sent", () =>
      Effect.gen(function*() {
        const { url } = yield* Effect.scoped(rawServer(() => {}))
        const error = yield* failing(url)
        expect(error).toMatchObject({ _tag: "ConnectionFailed", sent: false })
        expect(error.detail).toContain("ECONNREFUSED")
      }))

    it.scopedLive("O3, R7: a name that does not exist was not sent", () =>
      Effect.gen(function*() {
        expect(yield* failing("http://no-such-host.invalid/v1")).toMatchObject({
          _tag: "ConnectionFailed",
          sent: false
        })
      }))

    it.scopedLive("O3, R7: a handshake that fails was not sent", () =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) => socket.end(reply("400 Bad Request", "")), "first bytes")
        const error = yield* failing(server.url.replace("http:", "https:"))
        expect(error).toMatchObject({ _tag: "ConnectionFailed", sent: false })
      }))

    it.scopedLive.each<readonly [string, Parameters<typeof rawServer>[0]]>([
      ["a reset before the headers", (socket) => socket.resetAndDestroy()],
      ["a connection closed before the headers", (socket) => socket.end()],
      ["garbage for headers", (socket) => socket.end("lol this is not http\r\n\r\n")]
    ])("O3, R7: %s may have been sent", ([_, behave]) =>
      Effect.gen(function*() {
        const server = yield* rawServer(behave)
        const error = yield* failing(server.url)
        expect(error).toMatchObject({ _tag: "ConnectionFailed", sent: true })
        expect(error).not.toHaveProperty("status")
      }))

    it.scopedLive.each<readonly [string, Parameters<typeof rawServer>[0]]>([
      [
        "that is shorter than it said",
        (socket) => socket.end(reply("200 OK", hi.slice(9), { "content-length": "999" }))
      ],
      ["that ends without its last chunk", (socket) => socket.end(`${chunked("200 OK")}5\r\n{"id"\r\n`)],
      ["that is reset", (socket) => {
        socket.write(`${chunked("200 OK")}5\r\n{"id"\r\n`)
        setTimeout(() => socket.resetAndDestroy(), 30)
      }]
    ])("O3: the body of an answer %s is a lost connection", ([_, behave]) =>
      Effect.gen(function*() {
        const server = yield* rawServer(behave)
        expect(yield* failing(server.url)).toMatchObject({ _tag: "ConnectionFailed", sent: true, status: 200 })
      }))

    it.scopedLive("an error whose body is cut off is the error its status says", () =>
      Effect.gen(function*() {
        const body = `{"error":{"code":"insufficient_quota","message":"you asked: ${prompt}`
        const server = yield* rawServer((socket) =>
          socket.end(reply("429 Too Many", body, { "content-length": "999", "x-request-id": "req_1" }))
        )
        const error = yield* failing(server.url)
        expect(error).toMatchObject({ _tag: "QuotaExhausted", status: 429, requestId: "req_1" })
        expect(error.detail).toContain("you asked: <redacted>")
      }))

    it.scopedLive("a page of a proxy", () =>
      Effect.gen(function*() {
        const page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
        const server = yield* rawServer((socket) => socket.write(reply("502 Bad Gateway", page)))
        expect(yield* failing(server.url)).toMatchObject({
          _tag: "ProviderUnavailable",
          status: 502,
          detail: "502 Bad Gateway nginx"
        })
      }))

    it.scopedLive.each(["302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])(
      "O3: a %s is not followed, so neither key nor prompt goes elsewhere",
      (status) =>
        Effect.gen(function*() {
          const other = yield* rawServer((socket) => socket.end(reply("200 OK", hi)))
          const server = yield* rawServer((socket) => socket.write(reply(status, "", { location: other.url })))
          const error = yield* failing(server.url)
          expect(error).toMatchObject({ _tag: "ModelNotFound", status: Number(status.slice(0, 3)) })
          expect(error.detail).toContain(`redirects to ${other.url}`)
          expect(other.connections()).toBe(0)
        })
    )

    it.scopedLive("an answer said to be 100 MB is not read, and its connection closed", () =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) =>
          socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${100 * MB}\r\n\r\n{`)
        )
        expect(yield* failing(server.url)).toMatchObject({
          _tag: "MalformedResponse",
          detail: "the body is larger than 67108864 bytes"
        })
        yield* server.closed
      }))

    it.scopedLive("an answer of 100 MB is read to the limit, and its connection closed", () =>
      Effect.gen(function*() {
        let written = { bytes: 0 }
        const server = yield* rawServer((socket) => {
          socket.write(chunked("200 OK"))
          written = flood(socket, 100 * MB)
        })
        expect(yield* failing(server.url)).toMatchObject({ _tag: "MalformedResponse", status: 200 })
        yield* server.closed
        expect(written.bytes).toBeLessThan(90 * MB)
      }), 20_000)

    it.scopedLive("of an error no more is read than is worth reading", () =>
      Effect.gen(function*() {
        let written = { bytes: 0 }
        const server = yield* rawServer((socket) => {
          socket.write(chunked("503 Busy"))
          written = flood(socket, 100 * MB)
        })
        expect(yield* failing(server.url)).toMatchObject({ _tag: "Overloaded", status: 503 })
        yield* server.closed
        expect(written.bytes).toBeLessThan(20 * MB)
      }))

    it.scopedLive.each<readonly [string, string, Record<string, unknown>]>([
      ["an answer", "200 OK", { _tag: "TimedOut", phase: "idle", limit: Duration.millis(100) }],
      ["an error", "503 Busy", { _tag: "Overloaded" }]
    ])(
      "T1, T2: %s whose body stalls is given up, and its connection closed",
      ([_, status, fields]) =>
        Effect.gen(function*() {
          const server = yield* rawServer((socket) => socket.write(`${chunked(status)}5\r\n{"id"\r\n`))
          const exit = yield* Effect.exit(ask(server.url, { timeouts: { idle: "100 millis" } }))
          expect(failureOf(exit)).toMatchObject({ ...fields, status: Number(status.slice(0, 3)) })
          yield* server.closed
        })
    )

    it.scopedLive.each<readonly [string, string]>([
      ["before the headers", ""],
      ["in the body", `${chunked("200 OK")}5\r\n{"id"\r\n`],
      ["in the body of an error", `${chunked("500 Oh")}5\r\n{"id"\r\n`]
    ])("E2: interrupting %s closes the connection", ([_, beginning]) =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) => socket.write(beginning))
        const fiber = yield* Effect.fork(ask(server.url))
        yield* server.asked
        yield* Effect.sleep(50)
        const exit = yield* Fiber.interrupt(fiber)
        expect(Exit.isInterrupted(exit)).toBe(true)
        yield* Effect.timeoutFail(server.closed, {
          duration: "2 seconds",
          onTimeout: () => "the connection is still open"
        })
      }))
  })
}

describe("what fetch is told", () => {
  const seen = (options: RequestInit, where: "call" | "layer") => {
    const calls: Array<RequestInit | undefined> = []
    const fetch: typeof globalThis.fetch = (_url, init) => {
      calls.push(init)
      return Promise.resolve(new Response(hi))
    }
    const init = Layer.succeed(FetchHttpClient.RequestInit, options)
    const Llm = OpenAi.layer({ model: "m", apiKey: "none" }).pipe(
      Layer.provide(FetchHttpClient.layer.pipe(Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetch))))
    )
    return LlmProvider.generate("hello").pipe(
      Effect.provide(where === "layer" ? Layer.provide(Llm, init) : Layer.merge(Llm, init)),
      Effect.map(() => calls)
    )
  }

  it.effect.each(["layer", "call"] as const)(
    "options of one's own around the %s are kept, but for redirects",
    (where) =>
      Effect.gen(function*() {
        const [init] = yield* seen({ credentials: "include", redirect: "follow" }, where)
        expect(init).toMatchObject({ credentials: "include", redirect: "manual" })
      })
  )
})

describe("other ways that a client may fail", () => {
  const error = (code: string) => Object.assign(new Error("x"), { code })

  const failing = (fetch: typeof globalThis.fetch) => {
    const client = FetchHttpClient.layer.pipe(Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetch)))
    return LlmProvider.generate(prompt).pipe(
      Effect.provide(OpenAi.layer({ model: "m", apiKey: "none" }).pipe(Layer.provide(client))),
      Effect.exit,
      Effect.map(failureOf)
    )
  }

  it.effect.each(
    [
      ["UND_ERR_HEADERS_TIMEOUT", { _tag: "TimedOut", phase: "headers" }],
      ["UND_ERR_CONNECT_TIMEOUT", { _tag: "ConnectionFailed", sent: false }],
      ["ECONNREFUSED", { _tag: "ConnectionFailed", sent: false }],
      ["EAI_AGAIN", { _tag: "ConnectionFailed", sent: false }],
      ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", { _tag: "ConnectionFailed", sent: false }],
      ["EPIPE", { _tag: "ConnectionFailed", sent: true }]
    ] as const
  )("before the headers: %s", ([code, fields]) =>
    Effect.gen(function*() {
      const found = yield* failing(() => Promise.reject(new TypeError("fetch failed", { cause: error(code) })))
      expect(found).toMatchObject({ ...fields, detail: `${code} x` })
    }))

  it.effect.each(
    [
      ["UND_ERR_BODY_TIMEOUT", { _tag: "TimedOut", phase: "idle", status: 200 }],
      ["ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC", { _tag: "ConnectionFailed", sent: true, status: 200 }]
    ] as const
  )("in the body: %s", ([code, fields]) =>
    Effect.gen(function*() {
      const body = new ReadableStream({
        pull: (controller) => controller.error(new TypeError("terminated", { cause: error(code) }))
      })
      expect(yield* failing(() => Promise.resolve(new Response(body)))).toMatchObject(fields)
    }))

  it.effect("a time limit of the program's own on fetch", () =>
    Effect.gen(function*() {
      const found = yield* failing(() => Promise.reject(new DOMException("too slow", "TimeoutError")))
      expect(found).toMatchObject({ _tag: "TimedOut", phase: "headers", detail: "too slow" })
    }))
})
