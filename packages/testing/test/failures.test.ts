import { describe, expect, it } from "@effect/vitest"
import * as Testing from "@perdure/testing"
import { Duration, Effect, Option } from "effect"
import { LlmError, LlmProvider, LlmResponse } from "perdure"

const { ScriptedProvider } = Testing

const playedBy = (step: Testing.Script.Step) =>
  LlmProvider.generate("Hello?").pipe(
    Effect.flip,
    Effect.provide(ScriptedProvider.layer([step], { provider: "openai", model: "gpt-4o" }))
  )

/** Every class of failure, by the function that plays it and the status it comes with. */
const all = {
  RateLimited: [Testing.rateLimited(), 429],
  QuotaExhausted: [Testing.quotaExhausted(), 429],
  Overloaded: [Testing.overloaded(), 503],
  ProviderUnavailable: [Testing.unavailable(), 500],
  ConnectionFailed: [Testing.connectionFailed(), undefined],
  TimedOut: [Testing.timedOut(), undefined],
  StreamInterrupted: [Testing.streamInterrupted(), undefined],
  MalformedResponse: [Testing.malformed(), 200],
  InvalidRequest: [Testing.invalidRequest(), 400],
  ContextLengthExceeded: [Testing.contextLengthExceeded(), 400],
  ContentFiltered: [Testing.contentFiltered(), 400],
  Unauthenticated: [Testing.unauthenticated(), 401],
  PermissionDenied: [Testing.permissionDenied(), 403],
  ModelNotFound: [Testing.modelNotFound(), 404],
  RequestTooLarge: [Testing.requestTooLarge(), 413]
} as const satisfies Record<LlmError.ProviderError["_tag"], readonly [Testing.Script.Fail, number | undefined]>

describe("a scripted failure", () => {
  it.effect.each(Object.entries(all))(
    "%s comes from the provider that plays it",
    ([tag, [step, status]]) =>
      Effect.gen(function*() {
        const failure = yield* playedBy(step)
        expect(failure).toMatchObject({ _tag: tag, provider: "openai", model: "gpt-4o", detail: "" })
        expect(failure.status).toBe(status)
        expect(failure.receipt?.attempts.length).toBe(1)
      })
  )

  it.effect.each([
    Testing.quotaExhausted,
    Testing.overloaded,
    Testing.unavailable,
    Testing.connectionFailed,
    Testing.timedOut,
    Testing.streamInterrupted,
    Testing.malformed,
    Testing.invalidRequest,
    Testing.contextLengthExceeded,
    Testing.contentFiltered,
    Testing.unauthenticated,
    Testing.permissionDenied,
    Testing.modelNotFound,
    Testing.requestTooLarge
  ])("%o takes what every failure can be given", (failing) =>
    Effect.gen(function*() {
      const given = { status: 418, code: "teapot", requestId: "req_1", shouldRetry: false, detail: "short and stout" }
      const failure = yield* playedBy(failing({ ...given, retryAfter: "90 seconds" }))
      expect(failure).toMatchObject(given)
      expect(Option.map(Option.fromNullable(failure.retryAfter), Duration.toMillis)).toEqual(Option.some(90_000))
    }))

  it.effect("RateLimited takes them after its wait", () =>
    Effect.gen(function*() {
      expect(yield* playedBy(Testing.rateLimited("1 second", { code: "slow_down", detail: "ramp up slowly" })))
        .toMatchObject({ status: 429, code: "slow_down", detail: "ramp up slowly", retryAfter: Duration.seconds(1) })
    }))

  it.effect("can be without the status it usually has", () =>
    Effect.map(playedBy(Testing.overloaded({ status: undefined })), ({ status }) => expect(status).toBeUndefined()))

  it.effect("takes what only its class has", () =>
    Effect.gen(function*() {
      const usage = new LlmResponse.Usage({ inputTokens: 1 })
      expect(yield* playedBy(Testing.connectionFailed())).toMatchObject({ sent: false })
      expect(yield* playedBy(Testing.connectionFailed({ sent: true }))).toMatchObject({ sent: true })
      expect(yield* playedBy(Testing.timedOut())).toMatchObject({ phase: "headers", limit: undefined })
      expect(yield* playedBy(Testing.timedOut({ phase: "idle", limit: "3 seconds" })))
        .toMatchObject({ phase: "idle", limit: Duration.seconds(3) })
      expect(yield* playedBy(Testing.streamInterrupted({ partial: "Hel", usage, handedOut: true })))
        .toMatchObject({ partial: "Hel", usage, handedOut: true })
      expect(yield* playedBy(Testing.invalidRequest({ param: "top_p" }))).toMatchObject({ param: "top_p" })
      expect(yield* playedBy(Testing.contextLengthExceeded({ limit: 8_192, requested: 9_000 })))
        .toMatchObject({ code: "context_length_exceeded", limit: 8_192, requested: 9_000 })
      expect(yield* playedBy(Testing.contentFiltered())).toMatchObject({ stage: "prompt" })
      expect(yield* playedBy(Testing.contentFiltered({ stage: "refusal" }))).toMatchObject({ stage: "refusal" })
      expect(yield* playedBy(Testing.quotaExhausted())).toMatchObject({ code: "insufficient_quota" })
    }))

  it.effect("can be any failure, played as it is", () =>
    Effect.gen(function*() {
      const error = new LlmError.Overloaded({ provider: "anthropic", model: "claude", status: 529 })
      expect(yield* playedBy(Testing.fail(error))).toMatchObject({
        provider: "anthropic",
        model: "claude",
        status: 529
      })
    }))

  it.effect("O3: shows no key and no more than 2 KiB of what the provider said", () =>
    Effect.gen(function*() {
      const { detail } = yield* playedBy(
        Testing.unauthenticated({ detail: `Bearer abcdefgh12345678 ${"long ".repeat(1_000)}` })
      )
      expect(detail).not.toContain("abcdefgh")
      expect(new TextEncoder().encode(detail).length).toBeLessThanOrEqual(2_048)
    }))

  it("E1: refuses details that no failure can have", () => {
    expect(() => Testing.timedOut({ limit: -1 })).toThrowError(/timedOut\(\{ limit \}\) was given -1/)
    expect(() => Testing.contextLengthExceeded({ limit: 1.5 })).toThrowError(/contextLengthExceeded\(details\)/)
    expect(() => Testing.overloaded({ retryAfter: NaN })).toThrowError(/overloaded\(retryAfter\) was given NaN/)
  })
})
