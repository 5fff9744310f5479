import { LLMock } from "@copilotkit/aimock"
import { describe, expect, it } from "@effect/vitest"
import { Anthropic } from "@perdure/providers"
import { Chunk, Duration, Effect, Exit, Fiber, Layer, Redacted, Stream } from "effect"
import { LlmProvider, LlmRequest, Policy, Retry, StreamPart } from "perdure"
import { events, key, sse, textBlock } from "./support/anthropic.ts"
import { failureOf } from "./support/client.ts"
import { chunked, clients, rawServer } from "./support/rawServer.ts"

const mock = Effect.acquireRelease(
  Effect.tryPromise(async () => {
    const server = new LLMock({ host: "127.0.0.1", port: 0 })
    return { server, url: await server.start() }
  }),
  ({ server }) => Effect.promise(() => server.stop())
)

for (const [name, client] of clients.filter(([name]) => name !== "node:http")) {
  const anthropic = (baseUrl: string) =>
    Anthropic.layer({ model: "m", apiKey: Redacted.make(key), baseUrl }).pipe(Layer.provide(client))
  const generate = (url: string, input: LlmRequest.Input = "hi") =>
    LlmProvider.generate(input).pipe(Effect.provide(anthropic(url)))
  const stream = (url: string) =>
    LlmProvider.stream("hi").pipe(
      Stream.runCollect,
      Effect.provide(anthropic(url)),
      Effect.map((parts) => StreamPart.toResponse(Chunk.toReadonlyArray(parts), { provider: "anthropic", model: "m" }))
    )
  const tools = [{ name: "look", parameters: { type: "object" } }]
  const usage = { input_tokens: 11, output_tokens: 3 }

  describe(`against a maintained mock of the API, over ${name}`, () => {
    for (const [how, ask] of [["whole", generate], ["streamed", stream]] as const) {
      it.scopedLive(`an answer, ${how}, cut short by the limit on tokens`, () =>
        Effect.gen(function*() {
          const { server, url } = yield* mock
          server.on({ model: "m" }, { content: "hello there", reasoning: "hm", finishReason: "length", usage })
          expect(yield* ask(url)).toMatchObject({
            text: "hello there",
            content: [{ _tag: "Reasoning", text: "hm" }, { _tag: "Text" }],
            finishReason: "length",
            usage: { outputTokens: 3 }
          })
          expect(server.getLastRequest()).toMatchObject({
            path: "/v1/messages",
            headers: { "anthropic-version": "2023-06-01" },
            body: { model: "m", max_tokens: 4096, messages: [{ role: "user", content: "hi" }] }
          })
        }))

      it.scopedLive(`the tools that the model wants called, ${how}`, () =>
        Effect.gen(function*() {
          const { server, url } = yield* mock
          server.on({ model: "m" }, {
            content: "I will look",
            toolCalls: [{ name: "look", arguments: "{\"at\":[1,\"x\"]}" }, { name: "wait", arguments: "{}" }]
          })
          const response = yield* ask(url)
          expect(response.finishReason).toBe("toolCalls")
          expect(response.text).toBe("I will look")
          expect(response.toolCalls).toMatchObject([
            { name: "look", arguments: "{\"at\":[1,\"x\"]}" },
            { name: "wait", arguments: "{}" }
          ])
        }))

      it.scopedLive.each(
        [
          [400, "invalid_request_error", "InvalidRequest"],
          [401, "authentication_error", "Unauthenticated"],
          [402, "billing_error", "QuotaExhausted"],
          [429, "rate_limit_error", "RateLimited"],
          [500, "api_error", "ProviderUnavailable"],
          [504, "timeout_error", "TimedOut"],
          [529, "overloaded_error", "Overloaded"]
        ] as const
      )(`a %i %s, ${how}, is %s`, ([status, type, tag]) =>
        Effect.gen(function*() {
          const { server, url } = yield* mock
          server.on({ model: "m" }, {
            error: { message: "no", type },
            status,
            ...(status === 429 ? { retryAfter: 2 } : {})
          })
          const error = failureOf(yield* Effect.exit(ask(url)))
          expect(error).toMatchObject({ _tag: tag, status, code: type, detail: "no" })
          expect(error.retryAfter).toEqual(status === 429 ? Duration.seconds(2) : undefined)
          expect(error.receipt?.attempts).toHaveLength(1)
        }))
    }

    it.scopedLive("a conversation with tools is understood", () =>
      Effect.gen(function*() {
        const { server, url } = yield* mock
        server.on({ model: "m" }, { content: "found" })
        const call = { _tag: "ToolCall", id: "toolu_1", name: "look", arguments: "{\"at\":1}" } as const
        yield* generate(url, {
          messages: [
            LlmRequest.system("be brief"),
            LlmRequest.user("look"),
            LlmRequest.assistant([call]),
            LlmRequest.toolResult(call, "nothing")
          ],
          tools
        })
        expect(server.getLastRequest()?.body).toMatchObject({
          messages: [
            { role: "system", content: "be brief" },
            { role: "user", content: "look" },
            { role: "assistant", tool_calls: [{ id: "toolu_1", function: { name: "look", arguments: "{\"at\":1}" } }] },
            { role: "tool", tool_call_id: "toolu_1", content: "nothing" }
          ]
        })
      }))

    it.scopedLive("a stream that fails before its first output is retried", () =>
      Effect.gen(function*() {
        const { server, url } = yield* mock
        server.on({ model: "m", sequenceIndex: 0 }, { error: { message: "x", type: "overloaded_error" }, status: 529 })
        server.on({ model: "m", sequenceIndex: 1 }, { content: "hello" })
        const retry = Policy.retry(Retry.exponential("1 millis").pipe(Retry.attempts(2)))
        const parts = yield* LlmProvider.stream("hi").pipe(
          Stream.runCollect,
          Effect.provide(anthropic(url).pipe(LlmProvider.withPolicy(retry)))
        )
        expect(Chunk.toReadonlyArray(parts).at(-1)).toMatchObject({ _tag: "Finish", finishReason: "stop" })
        expect(server.getRequests()).toHaveLength(2)
      }))
  })

  describe(`against a bare socket, over ${name}`, () => {
    const head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
    const begun = sse(...events(textBlock(0, "hi")).slice(0, -2))

    it.scopedLive("S1: a connection reset in the middle of a stream has cut it", () =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) => {
          socket.write(head + chunk(begun))
          setTimeout(() => socket.resetAndDestroy(), 30)
        })
        expect(failureOf(yield* Effect.exit(stream(server.url)))).toMatchObject({
          _tag: "StreamInterrupted",
          partial: "hi",
          status: 200
        })
      }))

    it.scopedLive("a stream cut into single bytes is put together again", () =>
      Effect.gen(function*() {
        const bytes = Buffer.from(sse(...events(textBlock(0, "h\u00e9", "\u{1f600}"))))
        const server = yield* rawServer((socket) => {
          socket.write(head)
          for (const byte of bytes) {
            socket.write(Buffer.concat([Buffer.from("1\r\n"), Buffer.of(byte), Buffer.from("\r\n")]))
          }
          socket.write("0\r\n\r\n")
        })
        expect((yield* stream(server.url)).text).toBe("h\u00e9\u{1f600}")
      }))

    it.scopedLive.each<readonly [string, string]>([
      ["before the headers", ""],
      ["in a stream", head + chunk(begun)],
      ["in the body of an error", `${chunked("529 Busy")}5\r\n{"typ\r\n`]
    ])("E2: interrupting %s closes the connection", ([_, beginning]) =>
      Effect.gen(function*() {
        const server = yield* rawServer((socket) => socket.write(beginning))
        const fiber = yield* Effect.fork(stream(server.url))
        yield* server.asked
        yield* Effect.sleep(50)
        expect(Exit.isInterrupted(yield* Fiber.interrupt(fiber))).toBe(true)
        yield* Effect.timeoutFail(server.closed, {
          duration: "2 seconds",
          onTimeout: () => "the connection is still open"
        })
      }))
  })
}
