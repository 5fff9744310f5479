/** What comes late, from before a circuit opened and closed again, changes nothing of what comes after it. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, TestClock } from "effect"
import { CircuitBreaker } from "perdure"
import { down, ok, phaseOf } from "./support/breaker.ts"

const settled = Effect.repeatN(Effect.yieldNow(), 5)

/** The phase after a story that ends with two failures, which are too few by themselves. */
const story = (tripPolicy: CircuitBreaker.TripPolicy, late: boolean) =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ tripPolicy, openDuration: "10 seconds" })
    const end = yield* Deferred.make<string>()
    const fiber = yield* Effect.zipLeft(Effect.fork(breaker(Deferred.await(end))), settled)
    yield* Effect.replicateEffect(Effect.exit(breaker(down)), 5)
    assert.strictEqual(yield* phaseOf(breaker), "open")
    yield* TestClock.adjust("10 seconds")
    yield* breaker(ok)
    assert.strictEqual(yield* phaseOf(breaker), "closed")
    yield* Effect.replicateEffect(Effect.exit(breaker(down)), 3)
    if (late) {
      yield* Deferred.succeed(end, "ok")
      yield* Fiber.join(fiber)
    }
    yield* Effect.replicateEffect(breaker(ok), 3)
    yield* Effect.replicateEffect(Effect.exit(breaker(down)), 2)
    return yield* phaseOf(breaker)
  })

describe("B2: an answer to a call from before the circuit opened", () => {
  const rules = {
    consecutive: CircuitBreaker.consecutive(5),
    countWindow: CircuitBreaker.countWindow({ size: 20, rate: 0.7, minimum: 5 })
  }
  for (const [name, rule] of Object.entries(rules)) {
    it.effect(`does not keep the answers after it from being counted: ${name}`, () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* story(rule, false), "closed")
        assert.strictEqual(yield* story(rule, true), "closed")
      }))
  }
})
