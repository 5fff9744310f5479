// The misuses below are there to be rejected; the Effect diagnostics would reject them a second time.
// @effect-diagnostics missingEffectError:off
// @effect-diagnostics floatingEffect:off
import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import { Effect } from "effect"
import { type LlmError, LlmProvider, Policy, Retry } from "perdure"
import { answer, scripted } from "./support/provider.ts"

describe("the types of policies", () => {
  class Mine {
    readonly _tag = "Mine"
  }
  const mine: Effect.Effect<number, Mine> = Effect.fail(new Mine())

  it("a policy adds its own refusals to the error channel and nothing else", () => {
    expectTypeOf(mine.pipe(Policy.timeout("1 second"))).toEqualTypeOf<Effect.Effect<number, Mine | LlmError.TimedOut>>()
    expectTypeOf(mine.pipe(Policy.retry(Retry.exponential("1 second")))).toEqualTypeOf<Effect.Effect<number, Mine>>()
    expectTypeOf(Policy.compose(Policy.retry(Retry.standard), Policy.timeout("1 second"))).toEqualTypeOf<
      Policy.Policy<LlmError.LlmError, LlmError.TimedOut>
    >()
  })

  it("both forms of compose take an inner policy that adds no failure", () => {
    const limit = Policy.timeout("1 minute")
    const composed = limit.pipe(Policy.compose(Policy.retry(Retry.standard)))
    expectTypeOf(composed).toEqualTypeOf(Policy.compose(limit, Policy.retry(Retry.standard)))
  })

  it("misuses do not compile", () => {
    const misuses = () => {
      // @ts-expect-error a policy for LlmErrors does not fit an effect that fails otherwise
      mine.pipe(Policy.retry(Retry.standard))
      // @ts-expect-error nor does a retry
      Retry.retry(mine, Retry.article)
      // @ts-expect-error nor does it as a plain schedule
      Effect.retry(mine, Retry.article)
      // @ts-expect-error the outer policy must know the failures that the inner one adds
      Policy.compose(Policy.retry(Retry.constant("1 second") as Retry.Retry<Mine>), Policy.timeout("1 second"))
      // @ts-expect-error a layer takes only policies whose failures are LlmErrors
      scripted([answer("hi")]).layer.pipe(LlmProvider.withPolicy(Policy.make<unknown, Mine>([], (self) => self)))
      // @ts-expect-error a policy is not a retry
      Retry.attempts(3)(Policy.identity)
      // @ts-expect-error a number of attempts is a number
      Retry.attempts("3")
      // @ts-expect-error a jitter is one of four words
      Retry.jittered("some")
    }
    expect(misuses).toBeTypeOf("function")
  })
})
