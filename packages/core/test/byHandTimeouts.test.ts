/** Services that are written by hand, whose attempts are on record only when they end: what is known of them before. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, TestClock } from "effect"
import { Deadline, type LlmError, LlmProvider, LlmRequest, Policy, Retry } from "perdure"

/** Asks one that never answers, and gives how that ended and how often it was asked. */
const outcome = (policy: Policy.Policy<LlmError.LlmError, LlmError.LlmError>, idempotent: boolean) =>
  Effect.gen(function*() {
    let asked = 0
    const never = Effect.suspend(() => {
      asked++
      return Effect.never
    })
    const service: LlmProvider.Service = { generate: () => never, open: () => never }
    const layer = LlmProvider.withPolicy(Layer.succeed(LlmProvider.LlmProvider, service), policy)
    const request = LlmRequest.make({ messages: [LlmRequest.user("pay")], idempotent })
    const call = Effect.provide(LlmProvider.generate(request), layer)
    const fiber = yield* Effect.fork(Effect.flip(call))
    yield* TestClock.adjust("5 minutes")
    return { asked, failure: yield* Fiber.join(fiber) }
  })

const patient = Policy.compose(
  Policy.retry(Retry.constant("1 second").pipe(Retry.attempts(3))),
  Policy.timeout("10 seconds")
)

describe("R7: a service written by hand", () => {
  it.effect("that is asked for what must not run twice is not asked again after a timeout", () =>
    Effect.gen(function*() {
      const { asked, failure } = yield* outcome(patient, false)
      assert.strictEqual(asked, 1)
      assert(failure._tag === "TimedOut")
      assert.isFalse(failure.idempotent)
    }))

  it.effect("that is asked for what may run twice is asked again after a timeout", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* outcome(patient, true)).asked, 3)
    }))

  it.effect("is known to have been asked when a deadline passes", () =>
    Effect.gen(function*() {
      const { failure } = yield* outcome(Deadline.make("10 seconds"), false)
      assert(failure._tag === "DeadlineExceeded")
      assert.isTrue(failure.sent)
    }))
})
