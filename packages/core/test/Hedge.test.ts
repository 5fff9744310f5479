import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, TestClock } from "effect"
import { Budget, Hedge, LlmProvider, LlmRequest, Policy } from "perdure"
import { answer, anthropic, failureOf, run, scripted, unavailable } from "./support/provider.ts"

const ask = LlmRequest.make("hello")

describe("F6: Hedge", () => {
  it.effect("starts the second try at the delay and not a millisecond before, and interrupts the loser", () =>
    Effect.gen(function*() {
      let left = 0
      const stuck = Effect.onInterrupt(Effect.never, () => Effect.sync(() => left++))
      const provider = scripted([stuck, answer("second")])
      const layer = provider.layer.pipe(LlmProvider.withPolicy(Hedge.make({ after: "2 seconds" })))
      const fiber = yield* Effect.fork(LlmProvider.generate("hello").pipe(Effect.provide(layer)))
      yield* TestClock.adjust("1999 millis")
      assert.strictEqual(provider.calls.length, 1)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).text, "second")
      assert.strictEqual(left, 1)
    }))

  it.effect("starts the next target at once when the first fails, and holds all failures in order", () =>
    Effect.gen(function*() {
      const first = scripted([unavailable()])
      const second = scripted([unavailable()], anthropic)
      const { elapsed, exit } = yield* run(Hedge.services([first.service, second.service]).generate(ask))
      assert.strictEqual(elapsed, 0)
      assert.strictEqual(failureOf(exit)._tag, "AllTargetsFailed")
      assert.strictEqual(second.calls.length, 1)
    }))

  it.effect("interrupting it interrupts all tries and waits for them", () =>
    Effect.gen(function*() {
      let left = 0
      const stuck = Effect.onInterrupt(Effect.never, () => Effect.sync(() => left++))
      const fiber = yield* Effect.fork(Hedge.make({ after: "1 second", most: 3 })(stuck))
      yield* TestClock.adjust("5 seconds")
      const exit = yield* Fiber.interrupt(fiber)
      assert(Exit.isInterrupted(exit))
      assert.strictEqual(left, 3)
    }))

  it.effect("R9: does not hedge without budget", () =>
    Effect.gen(function*() {
      const budget = yield* Budget.make({ target: { capacity: 1, perSecond: 0, ratio: 0 }, costs: { hedge: 1 } })
      let started = 0
      const failing = Effect.suspend(() => Effect.fail(++started))
      yield* Effect.exit(failing.pipe(Policy.compose(budget, Hedge.make({ most: 3 }))))
      assert.strictEqual(started, 2)
    }))
})
