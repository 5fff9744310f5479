import { describe, expect, it } from "@effect/vitest"
import {
  answer,
  contextLengthExceeded,
  invalidRequest,
  never,
  overloaded,
  quotaExhausted,
  rateLimited,
  ScriptedProvider,
  TestTime,
  times
} from "@perdure/testing"
import { Duration, Effect, Exit } from "effect"
import { LlmProvider, Policy, Retry } from "perdure"

const ask = LlmProvider.generate("Hello?")
const first = { provider: "first", model: "large" }
const second = { provider: "second", model: "small" }
const article = Policy.retry(Retry.article)

describe("scripted providers under policies", () => {
  it.effect("R3: the retry waits at least as long as the script asks", () =>
    Effect.gen(function*() {
      const { elapsed, exit } = yield* TestTime.run(ask)
      expect(Exit.isSuccess(exit) && exit.value.text).toBe("hi")
      expect(elapsed).toBeGreaterThanOrEqual(10_000)
      expect(elapsed).toBeLessThanOrEqual(12_000)
      const calls = yield* ScriptedProvider.calls
      expect(calls.map(({ at }) => at)).toEqual([0, elapsed])
    }).pipe(
      Effect.provide(
        ScriptedProvider.layer([rateLimited("10 seconds"), answer("hi")]).pipe(LlmProvider.withPolicy(article))
      )
    ))

  it.effect("a chain of two, each with the retries of the article, has one receipt", () =>
    Effect.gen(function*() {
      const backup = yield* ScriptedProvider.make([overloaded(), answer("from the second")], second)
      const Llm = ScriptedProvider.layer([times(4, overloaded({ detail: "busy" }))], first).pipe(
        LlmProvider.withPolicy(article),
        LlmProvider.orElse(backup.layer.pipe(LlmProvider.withPolicy(article)))
      )
      const { elapsed, exit } = yield* TestTime.run(ask.pipe(Effect.provide(Llm)))
      const response = Exit.isSuccess(exit) ? exit.value : undefined
      expect(response?.text).toBe("from the second")
      expect(response?.receipt).toMatchObject({ requested: first, served: second, fallback: true })
      expect(response?.receipt.attempts.map(({ outcome, target }) => `${target.provider} ${outcome._tag}`)).toEqual([
        "first Failed",
        "first Failed",
        "first Failed",
        "first Failed",
        "second Failed",
        "second Answered"
      ])
      expect(Duration.toMillis(response?.receipt.duration ?? 0)).toBe(elapsed)
      expect(Duration.toMillis(response?.receipt.waited ?? 0)).toBe(elapsed)
      expect(elapsed).toBeLessThanOrEqual(2_000 + 4_000 + 8_000 + 2_000)
      expect(yield* backup.calls).toMatchObject([{ step: "overloaded" }, { step: "answer" }])
    }).pipe(Effect.scoped))

  it.effect("of two scripts in a chain, the tag shows the first", () =>
    Effect.gen(function*() {
      yield* ask
      expect(yield* ScriptedProvider.calls).toMatchObject([{ step: "quotaExhausted" }])
    }).pipe(
      Effect.provide(
        ScriptedProvider.layer([quotaExhausted()], first).pipe(
          LlmProvider.orElse(ScriptedProvider.layer([answer("hi")], second))
        )
      )
    ))

  it.effect("F1: a bad request stops the chain, and the second script is not asked", () =>
    Effect.gen(function*() {
      expect((yield* Effect.flip(ask))._tag).toBe("InvalidRequest")
    }).pipe(
      Effect.provide(
        ScriptedProvider.layer([invalidRequest()], first).pipe(
          LlmProvider.withPolicy(article),
          LlmProvider.orElse(ScriptedProvider.layer([], second))
        )
      )
    ))

  it.effect.each([
    { window: 8_000, text: undefined },
    { window: 200_000, text: "it fits" }
  ])(
    "F1: a context that is too long moves on only to a larger window: $window",
    ({ text, window }) =>
      Effect.gen(function*() {
        const chain = ScriptedProvider.layer([contextLengthExceeded()], { ...first, contextWindow: 128_000 }).pipe(
          LlmProvider.orElse(
            ScriptedProvider.layer([answer("it fits")], { ...second, contextWindow: window, unused: "allow" })
          )
        )
        const exit = yield* Effect.exit(Effect.provide(ask, chain))
        expect(Exit.isSuccess(exit) ? exit.value.text : undefined).toBe(text)
      })
  )

  it.effect("T2: a timeout interrupts the call that hangs", () =>
    Effect.gen(function*() {
      const { elapsed, exit } = yield* TestTime.run(ask)
      expect(elapsed).toBe(5_000)
      expect(Exit.isFailure(exit) && String(exit.cause)).toContain("timed out after 5s, phase attempt")
      expect(yield* ScriptedProvider.calls).toMatchObject([{ step: "never", outcome: { _tag: "Interrupted" } }])
    }).pipe(
      Effect.provide(ScriptedProvider.layer([never]).pipe(LlmProvider.withPolicy(Policy.timeout("5 seconds"))))
    ))
})
