import { describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Exit, Fiber, Option, TestClock } from "effect"
import * as Timer from "../src/internal/timer.ts"

const limit = Duration.seconds(3)

const within = <A, E>(effect: Effect.Effect<A, E>) => Timer.within(effect, (own) => own, limit, () => "late" as const)

const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length

describe("a limit on an effect", () => {
  it.effect("T1: passes at its very millisecond and not before", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(within(Effect.never))
      yield* TestClock.adjust("2999 millis")
      expect(yield* Fiber.poll(fiber)).toEqual(Option.none())
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.await(fiber)).toEqual(Exit.fail("late"))
    }))

  it.effect("T2: interrupts the effect, and waits until that has let go", () =>
    Effect.gen(function*() {
      const letGo = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(within(Effect.onInterrupt(Effect.never, () => Deferred.await(letGo))))
      yield* TestClock.adjust(limit)
      expect(yield* Fiber.poll(fiber)).toEqual(Option.none())
      yield* Deferred.succeed(letGo, undefined)
      expect(yield* Fiber.await(fiber)).toEqual(Exit.fail("late"))
    }))

  it.effect.each<readonly [string, Effect.Effect<string, string>]>([
    ["a value", Effect.succeed("a")],
    ["a failure", Effect.fail("b")],
    ["a defect", Effect.die("c")],
    ["an interruption", Effect.interrupt]
  ])("lets %s through", ([_, effect]) =>
    Effect.gen(function*() {
      const alone = yield* Effect.exit(effect)
      const limited = yield* Effect.exit(within(effect))
      expect(limited._tag).toBe(alone._tag)
      if (!Exit.isInterrupted(alone)) expect(limited).toEqual(alone)
      else expect(Exit.isInterrupted(limited)).toBe(true)
    }))

  it.effect("E2: interrupting it interrupts the effect", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      let interrupted = 0
      const effect = Effect.onInterrupt(
        Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never),
        () => Effect.sync(() => interrupted++)
      )
      const fiber = yield* Effect.fork(within(effect))
      yield* Deferred.await(begun)
      expect(Exit.isInterrupted(yield* Fiber.interrupt(fiber))).toBe(true)
      expect(interrupted).toBe(1)
    }))

  it.effect("E2: passing spares the other fibers of whoever waits", () =>
    Effect.gen(function*() {
      const own = yield* Effect.gen(function*() {
        const child = yield* Effect.fork(Effect.never)
        yield* Effect.exit(within(Effect.never))
        return yield* Fiber.poll(child)
      }).pipe(Effect.fork)
      yield* TestClock.adjust(limit)
      expect(yield* Fiber.join(own)).toEqual(Option.none())
    }))

  it.effect("the effect finds what it is given, beside what is there", () => {
    const A = Context.GenericTag<"A", string>("A")
    const B = Context.GenericTag<"B", string>("B")
    return Effect.gen(function*() {
      const seen = yield* Timer.within(
        Effect.all([A, B]),
        (own) => Context.add(own, B, "b") as Context.Context<"A" | "B">,
        limit,
        () => "late"
      ).pipe(Effect.provideService(A, "a"))
      expect(seen).toEqual(["a", "b"])
    })
  })

  it.live("E2: a thousand that are done leave no timer behind", () =>
    Effect.gen(function*() {
      const before = timers()
      yield* Effect.all(Array.from({ length: 1000 }, () => within(Effect.yieldNow())), { concurrency: "unbounded" })
      const fibers = yield* Effect.all(Array.from({ length: 1000 }, () => Effect.fork(within(Effect.never))))
      yield* Effect.yieldNow()
      yield* Fiber.interruptAll(fibers)
      expect(timers()).toBe(before)
    }))
})

describe("a task for later", () => {
  it.effect("is done at its millisecond, unless it is taken back", () =>
    Effect.gen(function*() {
      const clock = yield* Effect.clock
      const done: Array<string> = []
      Timer.after(clock, limit, () => done.push("a"))
      const cancel = Timer.after(clock, limit, () => done.push("b"))
      yield* TestClock.adjust("2999 millis")
      yield* Effect.yieldNow()
      expect(done).toEqual([])
      cancel()
      yield* TestClock.adjust("1 millis")
      yield* Effect.yieldNow()
      expect(done).toEqual(["a"])
    }))

  it.live("is done on the live clock too, unless it is taken back", () =>
    Effect.gen(function*() {
      const clock = yield* Effect.clock
      const done: Array<string> = []
      const cancel = Timer.after(clock, Duration.millis(1), () => done.push("b"))
      cancel()
      yield* Effect.async<void>((resume) => {
        Timer.after(clock, Duration.millis(2), () => resume(Effect.void))
      })
      expect(done).toEqual([])
    }))

  it.live("that is farther away than timers reach is not done at once", () =>
    Effect.gen(function*() {
      const clock = yield* Effect.clock
      let done = false
      const cancel = Timer.after(clock, Duration.days(30), () => {
        done = true
      })
      yield* Effect.sleep(5)
      expect(done).toBe(false)
      cancel()
    }))
})
