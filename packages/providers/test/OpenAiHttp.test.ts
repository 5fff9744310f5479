import { LLMock } from "@copilotkit/aimock"
import { FetchHttpClient } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { OpenAi } from "@perdure/providers"
import { Duration, Effect, Layer, Redacted } from "effect"
import { LlmProvider, LlmRequest, Policy, Retry, StreamPart } from "perdure"
import { failureOf, key } from "./support/client.ts"
import { brief, collect } from "./support/stream.ts"

const mock = Effect.acquireRelease(
  Effect.tryPromise(async () => {
    const server = new LLMock({ host: "127.0.0.1", port: 0 })
    return { server, url: `${await server.start()}/v1` }
  }),
  ({ server }) => Effect.promise(() => server.stop())
)

const openAi = (baseUrl: string, model: string, options: Partial<OpenAi.Options> = {}) =>
  OpenAi.layer({ model, apiKey: Redacted.make(key), baseUrl, ...options }).pipe(Layer.provide(FetchHttpClient.layer))

describe("against a maintained mock of the API", () => {
  it.scopedLive("an answer with usage, cut short by the limit on tokens", () =>
    Effect.gen(function*() {
      const { server, url } = yield* mock
      server.on({ model: "m" }, {
        content: "hello",
        finishReason: "length",
        usage: { prompt_tokens: 11, completion_tokens: 3, total_tokens: 14 },
        id: "chatcmpl-x"
      })
      const response = yield* LlmProvider.generate({ messages: [LlmRequest.user("hi")], maxOutputTokens: 3 }).pipe(
        Effect.provide(openAi(url, "m"))
      )
      expect(response).toMatchObject({
        id: "chatcmpl-x",
        text: "hello",
        finishReason: "length",
        usage: { inputTokens: 11, outputTokens: 3 }
      })
      expect(server.getLastRequest()?.body).toMatchObject({
        model: "m",
        messages: [{ role: "user", content: "hi" }],
        max_tokens: 3
      })
    }))

  it.scopedLive("the tools that the model wants called", () =>
    Effect.gen(function*() {
      const { server, url } = yield* mock
      server.on({ model: "m" }, { toolCalls: [{ name: "look", arguments: "{\"at\":1}" }] })
      const response = yield* LlmProvider.generate({
        messages: [LlmRequest.user("hi")],
        tools: [{ name: "look", parameters: { type: "object" } }]
      }).pipe(Effect.provide(openAi(url, "m")))
      expect(response.finishReason).toBe("toolCalls")
      expect(response.toolCalls).toMatchObject([{ name: "look", arguments: "{\"at\":1}" }])
    }))

  it.scopedLive("a 429 is waited for as long as it asks, and the receipt tells", () =>
    Effect.gen(function*() {
      const { server, url } = yield* mock
      server.on({ model: "m", sequenceIndex: 0 }, {
        error: { message: "Rate limit reached", type: "requests", code: "rate_limit_exceeded" },
        status: 429,
        retryAfter: 0.05
      })
      server.on({ model: "m", sequenceIndex: 1 }, { error: { message: "x", type: "server_error" }, status: 500 })
      server.on({ model: "m", sequenceIndex: 2 }, { content: "hello" })
      const retry = Retry.exponential("1 millis").pipe(Retry.honoringRetryAfter(), Retry.attempts(3))
      const response = yield* LlmProvider.generate("hi").pipe(
        Effect.provide(openAi(url, "m").pipe(LlmProvider.withPolicy(Policy.retry(retry))))
      )
      expect(response.text).toBe("hello")
      const { attempts } = response.receipt
      expect(attempts.map(({ outcome }) => "status" in outcome ? outcome.status : outcome._tag)).toEqual([
        429,
        500,
        "Answered"
      ])
      expect(Duration.toMillis(attempts[1]?.wait ?? Duration.zero)).toBeGreaterThanOrEqual(50)
      expect(server.getRequests()).toHaveLength(3)
    }))

  it.scopedLive.each(
    [
      [429, "rate_limit_exceeded", "RateLimited"],
      [500, "server_error", "ProviderUnavailable"],
      [401, "invalid_api_key", "Unauthenticated"],
      [503, "server_error", "Overloaded"]
    ] as const
  )("a %i %s is %s", ([status, code, tag]) =>
    Effect.gen(function*() {
      const { server, url } = yield* mock
      server.on({ model: "m" }, {
        error: { message: "no", type: "t", code },
        status,
        ...(status === 429 ? { retryAfter: 2 } : {})
      })
      const error = failureOf(yield* Effect.exit(LlmProvider.generate("hi").pipe(Effect.provide(openAi(url, "m")))))
      expect(error).toMatchObject({ _tag: tag, status, code, detail: "no", requestId: expect.any(String) })
      expect(error.retryAfter).toEqual(status === 429 ? Duration.seconds(2) : undefined)
      expect(error.receipt?.attempts).toHaveLength(1)
    }))

  it.scopedLive("a model that the server does not have", () =>
    Effect.gen(function*() {
      const { url } = yield* mock
      const error = failureOf(yield* Effect.exit(LlmProvider.generate("hi").pipe(Effect.provide(openAi(url, "m")))))
      expect(error).toMatchObject({ _tag: "ModelNotFound", status: 404, code: "no_fixture_match" })
    }))

  it.scopedLive("a stream of text, with its usage", () =>
    Effect.gen(function*() {
      const { server, url } = yield* mock
      server.on({ model: "m" }, {
        content: "hello there",
        usage: { prompt_tokens: 11, completion_tokens: 3, total_tokens: 14 }
      }, { chunkSize: 4 })
      const { parts } = yield* collect(LlmProvider.stream("hi")).pipe(Effect.provide(openAi(url, "m")))
      expect(parts.map(brief)).toEqual(["text hell", "text o th", "text ere", "usage 11 3", "finish stop m"])
      expect(server.getLastRequest()?.body).toMatchObject({ stream: true, stream_options: { include_usage: true } })
    }))

  it.scopedLive("a stream of two tool calls", () =>
    Effect.gen(function*() {
      const { server, url } = yield* mock
      server.on({ model: "m" }, {
        toolCalls: [{ id: "a", name: "look", arguments: "{\"at\":1}" }, { id: "b", name: "go", arguments: "{}" }]
      }, { chunkSize: 4 })
      const { exit, parts } = yield* collect(LlmProvider.stream("hi")).pipe(Effect.provide(openAi(url, "m")))
      expect(exit._tag).toBe("Success")
      expect(StreamPart.toResponse(parts, { provider: "openai", model: "m" })).toMatchObject({
        finishReason: "toolCalls",
        toolCalls: [{ id: "a", name: "look", arguments: "{\"at\":1}" }, { id: "b", name: "go", arguments: "{}" }]
      })
    }))

  it.scopedLive("a stream that fails before its first output is retried", () =>
    Effect.gen(function*() {
      const { server, url } = yield* mock
      server.on({ model: "m", sequenceIndex: 0 }, { error: { message: "x", type: "server_error" }, status: 500 })
      server.on({ model: "m", sequenceIndex: 1 }, { content: "hello" })
      const Llm = openAi(url, "m").pipe(
        LlmProvider.withPolicy(Policy.retry(Retry.exponential("1 millis").pipe(Retry.attempts(2))))
      )
      const { parts } = yield* collect(LlmProvider.stream("hi")).pipe(Effect.provide(Llm))
      expect(parts.map(brief)).toEqual(["text hello", expect.stringContaining("usage"), "finish stop m"])
    }))

  it.scopedLive("S1: a stream whose connection breaks", () =>
    Effect.gen(function*() {
      const { server, url } = yield* mock
      server.on({ model: "m" }, { content: "hello there, how are you" }, {
        chunkSize: 2,
        latency: 60,
        disconnectAfterMs: 400
      })
      const { exit } = yield* collect(LlmProvider.stream("hi")).pipe(Effect.provide(openAi(url, "m")))
      const error = failureOf(exit)
      expect(error).toMatchObject({ _tag: "StreamInterrupted", handedOut: true })
      expect("hello there, how are you").toContain("partial" in error ? error.partial : undefined)
    }))

  it.scopedLive("the Responses API, whole and streamed", () =>
    Effect.gen(function*() {
      const { server, url } = yield* mock
      server.on({ model: "m" }, { content: "hello there" }, { chunkSize: 4 })
      server.on({ model: "tools" }, { toolCalls: [{ id: "a", name: "look", arguments: "{\"at\":1}" }] })
      const whole = yield* LlmProvider.generate("hi").pipe(Effect.provide(openAi(url, "m", { api: "responses" })))
      expect(whole).toMatchObject({ text: "hello there", finishReason: "stop" })
      const text = yield* collect(LlmProvider.stream("hi")).pipe(Effect.provide(openAi(url, "m", { api: "responses" })))
      expect(text.parts.slice(0, 3).map(brief)).toEqual(["text hell", "text o th", "text ere"])
      const tools = yield* collect(LlmProvider.stream("hi")).pipe(
        Effect.provide(openAi(url, "tools", { api: "responses" }))
      )
      expect(StreamPart.toResponse(tools.parts, { provider: "openai", model: "m" })).toMatchObject({
        finishReason: "toolCalls",
        toolCalls: [{ id: "a", name: "look", arguments: "{\"at\":1}" }]
      })
    }))

  it.scopedLive("what a 429 says of the limits", () =>
    Effect.gen(function*() {
      const { server, url } = yield* mock
      server.on({ model: "m" }, { error: { message: "no", code: "rate_limit_exceeded" }, status: 429, retryAfter: 2 })
      const { exit } = yield* collect(LlmProvider.stream("hi")).pipe(Effect.provide(openAi(url, "m")))
      expect(failureOf(exit)).toMatchObject({
        _tag: "RateLimited",
        rateLimits: { requests: { limit: 60, remaining: 0, reset: Duration.seconds(1) } }
      })
    }))
})
