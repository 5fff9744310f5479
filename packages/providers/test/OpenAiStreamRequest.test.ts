import { HttpClient } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { OpenAi } from "@perdure/providers"
import { Duration, Effect, Fiber, Layer, Option, Stream, TestClock } from "effect"
import { LlmProvider, LlmRequest } from "perdure"
import { bodyOf, completion, failureOf, json, recording } from "./support/client.ts"
import { delta, eventStream, finish, sse, streamed } from "./support/stream.ts"

const text = (content: string) => delta({ content })
const usage = { prompt_tokens: 3, completion_tokens: 5 }
const stop = "finish stop m-2026"

describe("what is asked for", () => {
  const done = sse(text("a"), finish("stop"), "[DONE]")

  it.effect("a stream, with its usage", () =>
    Effect.gen(function*() {
      const { body, request } = yield* streamed(done)
      expect(body).toMatchObject({ stream: true, stream_options: { include_usage: true } })
      expect(request?.headers).toMatchObject({ accept: "text/event-stream" })
    }))

  it.effect("a stream without its usage", () =>
    Effect.gen(function*() {
      const { body } = yield* streamed(done, { streamUsage: false })
      expect(body).toMatchObject({ stream: true })
      expect(body).not.toHaveProperty("stream_options")
    }))

  it.effect.each([[{ stream: false }, "stream"], [{ stream: null }, "stream"], [{ n: 2 }, "n"]] as const)(
    "not with extras of %o, which would change what comes",
    ([extras, field]) =>
      Effect.gen(function*() {
        const { error, request } = yield* streamed(done, {}, {
          messages: [LlmRequest.user("hello")],
          extras: { openai: extras }
        })
        expect(error).toMatchObject({ _tag: "InvalidRequest", param: `extras.openai.${field}` })
        expect(request).toBeUndefined()
      })
  )

  it.effect("an answer that a server did not stream comes as parts", () =>
    Effect.gen(function*() {
      const { told } = yield* streamed(() =>
        json(completion({ usage }), { headers: { "content-type": "application/json; charset=utf-8" } })
      )
      expect(told).toEqual(["text hi", "usage 3 5", stop])
    }))

  it.effect("an answer that a server did not stream, and said it did", () =>
    Effect.gen(function*() {
      const whole = yield* streamed(`${JSON.stringify(completion({ usage }))}\n`)
      expect(whole.told).toEqual(["text hi", "usage 3 5", stop])
      const again = yield* streamed(sse(text("h"), text("i"), completion()))
      expect(again.told).toEqual(["text h", "text i", stop])
    }))

  it.effect("the receipt comes with the last part", () =>
    Effect.gen(function*() {
      const { parts } = yield* streamed(done)
      expect(parts.at(-1)).toMatchObject({
        _tag: "Finish",
        receipt: { served: { provider: "openai", model: "m-2026" }, attempts: [{ outcome: { _tag: "Answered" } }] }
      })
    }))

  it.effect("a complete answer may be streamed underneath", () =>
    Effect.gen(function*() {
      const client = recording(() => eventStream(sse(text("he"), text("llo"), finish("stop"), "[DONE]")))
      const response = yield* LlmProvider.generate("hello", { via: "stream" }).pipe(
        Effect.provide(OpenAi.layer({ model: "m", apiKey: "none" }).pipe(Layer.provide(client.layer)))
      )
      expect(response).toMatchObject({ text: "hello", model: "m-2026", provider: "openai" })
      expect(bodyOf(client.requests[0])).toMatchObject({ stream: true })
    }))
})

describe("T1: how long the head of a reply may take", () => {
  const silent = Layer.succeed(HttpClient.HttpClient, HttpClient.make(() => Effect.never))

  it.effect.each<readonly [string, Partial<OpenAi.Options>, number, boolean]>([
    ["10 minutes", {}, 600_000, false],
    ["10 minutes in a stream", { timeouts: { firstOutput: "1 hour" } }, 600_000, true],
    ["as long as is said", { timeouts: { headers: "3 seconds" } }, 3000, false],
    ["as long as is said in a stream", { timeouts: { headers: "3 seconds" } }, 3000, true]
  ])("%s", ([_, options, limit, streams]) =>
    Effect.gen(function*() {
      const asked = streams
        ? Stream.runDrain(LlmProvider.stream("hello"))
        : Effect.asVoid(LlmProvider.generate("hello"))
      const fiber = yield* asked.pipe(
        Effect.provide(OpenAi.layer({ model: "m", apiKey: "none", ...options }).pipe(Layer.provide(silent))),
        Effect.fork
      )
      yield* TestClock.adjust(limit - 1)
      expect(yield* Fiber.poll(fiber)).toEqual(Option.none())
      yield* TestClock.adjust(1)
      const error = failureOf(yield* Fiber.await(fiber))
      expect(error).toMatchObject({ _tag: "TimedOut", phase: "headers", limit: Duration.millis(limit) })
    }))
})
