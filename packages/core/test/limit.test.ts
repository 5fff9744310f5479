/** What a time limit does to the fiber that it runs in. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, FiberRef, TestClock } from "effect"
import { Policy } from "perdure"
import { World } from "./support/world.ts"

const second = Policy.timeout("1 second")

/** How an effect ended, by name. */
const how = (exit: Exit.Exit<unknown, { readonly _tag: string }>): string =>
  Exit.match(exit, {
    onSuccess: String,
    onFailure: (cause) => {
      const failure = Cause.failureOption(cause)
      if (failure._tag === "Some") return failure.value._tag
      return Cause.isInterrupted(cause) ? "Interrupted" : "Died"
    }
  })

const after = <A>(wait: `${number} millis`, value: A) => Effect.as(Effect.sleep(wait), value)

/** Runs an effect on a fiber of its own while the clock is moved on. */
const run = <A, E>(self: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fork(Effect.exit(self))
    yield* TestClock.adjust("1 minute")
    return yield* Fiber.join(fiber)
  })

describe("a limit in the caller's own fiber", () => {
  it.effect("T1: leaves nothing of its interruption behind: what follows is not interrupted", () =>
    Effect.gen(function*() {
      const exit = yield* run(Effect.gen(function*() {
        yield* Effect.exit(second(Effect.never))
        yield* Effect.sleep("1 second")
        assert.isTrue(Cause.isEmpty(yield* FiberRef.get(FiberRef.interruptedCause)))
        return "went on"
      }))
      assert.strictEqual(how(exit), "went on")
    }))

  it.effect("is interrupted itself by the caller, also in the millisecond in which it is up", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(second(Effect.onInterrupt(Effect.never, () => Effect.sleep("10 millis"))))
      yield* TestClock.adjust("1 second")
      const interrupting = yield* Effect.fork(Fiber.interrupt(fiber))
      yield* TestClock.adjust("10 millis")
      assert.strictEqual(how(yield* Fiber.join(interrupting)), "Interrupted")
    }))

  it.effect("of two, one in the other, the outer one ends what the inner one would have repeated", () =>
    Effect.gen(function*() {
      let runs = 0
      const inner = second(Effect.zipRight(Effect.sync(() => runs++), Effect.never))
      const outer = Policy.timeout("2500 millis")(Effect.retry(inner, { times: 9 }))
      const exit = yield* run(outer)
      assert.strictEqual(how(exit), "TimedOut")
      assert.strictEqual(runs, 3)
    }))

  it.effect("of two that are up in the same millisecond, both end and the outer one's failure is told", () =>
    Effect.gen(function*() {
      const exit = yield* run(Policy.timeout("1 second")(Effect.catchAll(second(Effect.never), () => Effect.never)))
      assert.strictEqual(how(exit), "TimedOut")
    }))

  it.effect("waits for what cannot be interrupted, and then says that the time was up", () =>
    Effect.gen(function*() {
      const exit = yield* run(second(Effect.uninterruptible(after("3000 millis", "late"))))
      assert.strictEqual(how(exit), "TimedOut")
      const after1 = yield* run(
        Effect.zipRight(
          Effect.exit(second(Effect.uninterruptible(after("3000 millis", 1)))),
          after("5 millis", "went on")
        )
      )
      assert.strictEqual(how(after1), "went on")
    }))

  it.effect("in a region that cannot be interrupted ends when what it limits does", () =>
    Effect.gen(function*() {
      const exit = yield* run(Effect.uninterruptible(Effect.exit(second(after("3000 millis", "late")))))
      assert.strictEqual(how(Exit.flatten(exit)), "TimedOut")
    }))

  it.effect("E2: fibers that the caller had forked before live on, those forked inside do not", () =>
    Effect.gen(function*() {
      const ends: Array<string> = []
      const child = (name: string) => Effect.onExit(Effect.never, () => Effect.sync(() => ends.push(name)))
      const fiber = yield* Effect.fork(Effect.gen(function*() {
        const before = yield* Effect.fork(child("before"))
        yield* Effect.yieldNow()
        yield* Effect.exit(second(Effect.zipRight(Effect.fork(child("inside")), Effect.never)))
        const told = [...ends]
        yield* Fiber.interrupt(before)
        return told
      }))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), ["inside"])
    }))

  it.effect("keeps what the effect changed in the fiber's references", () =>
    Effect.gen(function*() {
      const ref = FiberRef.unsafeMake(0)
      yield* second(FiberRef.set(ref, 1))
      assert.strictEqual(yield* FiberRef.get(ref), 1)
    }))

  it.effect("a defect stays a defect, a failure a failure, and being interrupted from inside stays that", () =>
    Effect.gen(function*() {
      assert.strictEqual(how(yield* Effect.exit(second(Effect.die("boom")))), "Died")
      assert.strictEqual(how(yield* Effect.exit(second(Effect.fail({ _tag: "Own" })))), "Own")
      assert.strictEqual(how(yield* Effect.exit(second(Effect.interrupt))), "Interrupted")
    }))
})

it("E2: of 5,000 that race against the clock none is lost and none is told wrongly", () => {
  const world = new World(Infinity)
  const times = Array.from({ length: 5000 }, (_, i) => ({ limit: 1 + i % 3, work: 1 + i % 4 }))
  const fibers = times.map(({ limit, work }) =>
    world.start(Effect.exit(Policy.timeout(limit)(Effect.as(Effect.sleep(work), "done"))))
  )
  world.settle()
  for (let now = 1; now <= 4; now++) {
    world.advance(1)
    fibers.forEach((fiber, i) => {
      const { limit, work } = times[i]!
      const exit = fiber.unsafePoll()
      const end = exit === null ? "runs" : how(Exit.flatten(exit))
      // In one and the same millisecond either may come first.
      const expected = now < Math.min(limit, work)
        ? ["runs"]
        : [...work <= limit ? ["done"] : [], ...limit <= work ? ["TimedOut"] : []]
      if (!expected.includes(end)) assert.fail(`${end} at ${now}, limit ${limit}, work ${work}`)
    })
  }
  assert.strictEqual(world.sleepers.size, 0)
})

it.live("takes its time from the system where the clock does", () =>
  Effect.gen(function*() {
    assert.strictEqual(how(yield* Effect.exit(Policy.timeout("1 millis")(Effect.never))), "TimedOut")
    assert.strictEqual(how(yield* Effect.exit(Policy.timeout("1 hour")(after("1 millis", "done")))), "done")
  }))

it.effect("whatever the limits, the work and the moment of leaving, all end as they should", () =>
  Effect.gen(function*() {
    for (const inner of [1, 2, 3]) {
      for (const outer of [1, 2, 3]) {
        for (const work of [1, 2, 3]) {
          for (const leaves of [undefined, 0, 1, 2, 3]) {
            const limited = Policy.timeout(inner)(after(`${work} millis`, "done"))
            const fiber = yield* Effect.fork(
              Policy.timeout(outer)(Effect.catchTag(limited, "TimedOut", () => Effect.succeed("inner")))
            )
            yield* TestClock.adjust(leaves ?? 10)
            if (leaves !== undefined) yield* Fiber.interruptFork(fiber)
            yield* TestClock.adjust(10)
            const end = how(yield* Fiber.await(fiber))
            const soonest = Math.min(inner, outer, work)
            const possible = [
              ...(work === soonest ? ["done"] : []),
              ...(inner === soonest ? ["inner"] : []),
              ...(outer === soonest ? ["TimedOut"] : [])
            ]
            // In one and the same millisecond either may come first.
            const expected = leaves === undefined || leaves > soonest
              ? possible
              : leaves < soonest
              ? ["Interrupted"]
              : [...possible, "Interrupted"]
            assert.include(expected, end, `inner ${inner}, outer ${outer}, work ${work}, leaves ${leaves}`)
          }
        }
      }
    }
  }))
