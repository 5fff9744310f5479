/** Gates that fail in ways they should not, and loops that pass gates again and again. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Option, Schedule, TestClock } from "effect"
import { Bulkhead, CircuitBreaker, Deadline, Policy, Retry } from "perdure"

const boom = new Error("boom")

const throws = () => {
  throw boom
}

const dies = (exit: Exit.Exit<unknown, unknown>) =>
  assert.deepStrictEqual(Exit.isFailure(exit) ? Cause.dieOption(exit.cause) : Option.none(), Option.some(boom))

const broken = Bulkhead.make({ key: throws })

describe("a gate that throws", () => {
  it.effect("E2: as it is entered is a defect, and those before it are left", () =>
    Effect.gen(function*() {
      const outer = yield* Bulkhead.make({ limit: 1 })
      dies(yield* Effect.exit(Policy.compose(outer, yield* broken)(Effect.succeed(1))))
      assert.strictEqual(yield* outer.inFlight, 0)
    }))

  it.effect("E2: as it is left is a defect, and those around it are left", () =>
    Effect.gen(function*() {
      const outer = yield* Bulkhead.make({ limit: 1 })
      const inner = yield* CircuitBreaker.make({ counts: throws })
      dies(yield* Effect.exit(Policy.compose(outer, inner)(Effect.fail("own"))))
      assert.strictEqual(yield* outer.inFlight, 0)
    }))

  it.effect("E2: leaves no deadline and no timer behind", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(Effect.gen(function*() {
        dies(yield* Effect.exit(Policy.compose(Deadline.make("1 second"), yield* broken)(Effect.void)))
        assert.isTrue(Option.isNone(yield* Deadline.remaining))
        yield* Effect.sleep("5 seconds")
        return "went on"
      }))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), "went on")
    }))
})

describe("a retry", () => {
  it.effect.each(
    [
      ["by a schedule", Retry.fromSchedule(Schedule.forever)],
      ["by the library", Retry.constant("1 nanos")]
    ] as const
  )(
    "R5: that never waits, %s, can be interrupted, also where a gate refuses every attempt",
    ([, retry]) =>
      Effect.gen(function*() {
        const always = Policy.retry(retry)
        const full = yield* Bulkhead.make({ limit: 1, queue: 0 })
        const blocking = yield* Effect.fork(full(Effect.never))
        yield* Effect.yieldNow()
        const attempts: ReadonlyArray<Effect.Effect<void, unknown>> = [
          always(full(Effect.void)),
          always(Effect.fail("own")),
          Policy.compose(always, full)(Effect.void)
        ]
        for (const attempt of attempts) {
          const fiber = yield* Effect.fork(attempt)
          yield* Effect.yieldNow()
          const interrupting = yield* Effect.fork(Fiber.interrupt(fiber))
          for (let i = 0; i < 50; i++) yield* Effect.yieldNow()
          const end = yield* Fiber.poll(interrupting)
          if (Option.isNone(end)) yield* Fiber.interrupt(blocking)
          assert.isTrue(Option.isSome(end))
        }
        yield* Fiber.interrupt(blocking)
      })
  )

  it.effect("R5: can be interrupted while a schedule of the caller's takes its time", () =>
    Effect.gen(function*() {
      let calls = 0
      const slow = Policy.retry(
        Retry.fromSchedule(Schedule.tapOutput(Schedule.forever, () => Effect.sleep("1 minute")))
      )
      const fiber = yield* Effect.fork(slow(Effect.suspend(() => Effect.fail(++calls))))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interruptFork(fiber)
      yield* TestClock.adjust("1 millis")
      const end = yield* Fiber.poll(fiber)
      yield* TestClock.adjust("2 minutes")
      assert.isTrue(Option.isSome(end))
      assert.strictEqual(calls, 1)
    }))

  it.effect.each(
    [
      ["by a schedule", Retry.fromSchedule(Schedule.recurs(100_000))],
      ["by the library", Retry.constant("1 nanos").pipe(Retry.attempts(100_001))]
    ] as const
  )("R1: repeats a hundred thousand times on the same stack, %s", ([, retry]) =>
    Effect.gen(function*() {
      let calls = 0
      yield* Effect.exit(Policy.retry(retry)(Effect.suspend(() => Effect.fail(++calls))))
      assert.strictEqual(calls, 100_001)
    }))
})
