import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Ref, Schedule, TestClock } from "effect"
import { CircuitBreaker, CircuitStore } from "perdure"
import { down, halfOpen, ok, phaseOf, slowCircuits, touchy, watching } from "./support/breaker.ts"
import { InterruptAt } from "./support/interruptAt.ts"
import { failureOf } from "./support/provider.ts"

const stores = { "in memory": CircuitStore.layerMemory, "that takes its time": slowCircuits }

for (const [what, store] of Object.entries(stores)) {
  describe(`with a store ${what}`, () => {
    it.effect("B3: of thousands of fibers at once, exactly as many as asked are probes", () =>
      Effect.gen(function*() {
        const breaker = yield* halfOpen({ probes: 7 })
        const asked = yield* Ref.make(0)
        const end = yield* Deferred.make<void>()
        const probe = Effect.zipRight(Ref.update(asked, (n) => n + 1), Deferred.await(end))
        const all = yield* Effect.fork(
          Effect.forEach(Array.from({ length: 5000 }), () => Effect.exit(breaker(probe)), { concurrency: "unbounded" })
        )
        yield* Effect.repeatN(Effect.yieldNow(), 50)
        assert.strictEqual(yield* Ref.get(asked), 7)
        yield* Deferred.succeed(end, undefined)
        const exits = yield* Fiber.join(all)
        assert.strictEqual(exits.filter(Exit.isSuccess).length, 7)
        assert.isTrue(exits.filter(Exit.isFailure).every((exit) => failureOf(exit).state === "halfOpen"))
        assert.strictEqual(yield* phaseOf(breaker), "closed")
      }).pipe(Effect.provide(store)))

    it.effect("B2: of thousands of failures at once, one opens it", () =>
      Effect.scoped(Effect.gen(function*() {
        const breaker = yield* touchy({ tripPolicy: CircuitBreaker.consecutive(100) })
        const seen = yield* watching(breaker)
        yield* Effect.forEach(
          Array.from({ length: 3000 }),
          () => Effect.exit(breaker(Effect.zipRight(Effect.yieldNow(), down))),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual((yield* seen).map(({ to }) => to), ["open"])
        assert.strictEqual((yield* breaker.state("default")).openings, 1)
      })).pipe(Effect.provide(store)))

    it.effect("E2: an interruption at any step of a probe leaks no permit", () =>
      Effect.gen(function*() {
        // Open for no time at all: the next call is a probe.
        const breaker = yield* touchy({ openDuration: Schedule.forever })
        const ends = new Set<string>()
        for (const body of [ok, down, Effect.repeatN(Effect.yieldNow(), 3)]) {
          let reached = true
          for (let step = 1; reached; step++) {
            yield* breaker.reset("default")
            yield* Effect.exit(breaker(down))
            const interrupting = new InterruptAt(step)
            const fiber = yield* Effect.fork(interrupting.on(breaker(body)))
            const exit = yield* Fiber.await(fiber)
            reached = interrupting.reached
            const { phase, probing } = yield* breaker.state("default")
            ends.add(`${Exit.isInterrupted(exit) ? "interrupted" : "ended"} ${phase}`)
            assert.strictEqual(probing, 0, `step ${step}`)
          }
        }
        assert.includeMembers([...ends], ["interrupted halfOpen", "ended closed", "ended halfOpen"])
      }).pipe(Effect.provide(store)))

    it.effect("E2: a probe interrupted by the thousand leaves the circuit to the next", () =>
      Effect.gen(function*() {
        const breaker = yield* halfOpen({ probes: 3 })
        const fibers = yield* Effect.forEach(Array.from({ length: 2000 }), () => Effect.fork(breaker(Effect.never)))
        yield* Effect.repeatN(Effect.yieldNow(), 20)
        yield* Fiber.interruptAll(fibers)
        assert.deepStrictEqual(yield* breaker.state("default"), { phase: "halfOpen", openings: 1, probing: 0 })
      }).pipe(Effect.provide(store)))
  })
}

describe("the store", () => {
  it.effect("breakers of the same name share their circuits, others do not", () =>
    Effect.gen(function*() {
      const first = yield* touchy()
      const second = yield* touchy()
      const other = yield* touchy({ name: "other" })
      yield* Effect.exit(first(down))
      assert.strictEqual(yield* phaseOf(second), "open")
      assert.strictEqual(yield* phaseOf(other), "closed")
    }).pipe(Effect.provide(CircuitStore.layerMemory)))

  it.effect("without one, two breakers know nothing of each other", () =>
    Effect.gen(function*() {
      const first = yield* touchy()
      const second = yield* touchy()
      yield* Effect.exit(first(down))
      assert.strictEqual(yield* phaseOf(second), "closed")
    }))

  it.effect("B5: another breaker goes on with the schedule from the number of openings", () =>
    Effect.gen(function*() {
      const make = touchy({ openDuration: Schedule.exponential("10 seconds") })
      const first = yield* make
      for (const wait of [10, 20]) {
        yield* Effect.exit(first(down))
        yield* TestClock.adjust(Duration.seconds(wait))
      }
      const second = yield* make
      yield* Effect.exit(second(down))
      assert.deepStrictEqual((yield* second.state("default")).retryAfter, Duration.seconds(40))
    }).pipe(Effect.provide(CircuitStore.layerMemory)))
})

describe("B5: a schedule and a store", () => {
  it.effect("a circuit that another breaker has closed begins the schedule anew", () =>
    Effect.gen(function*() {
      const make = touchy({ openDuration: Schedule.exponential("10 seconds") })
      const [first, second] = yield* Effect.all([make, make])
      for (const wait of [10, 20]) {
        yield* Effect.exit(first(down))
        yield* TestClock.adjust(Duration.seconds(wait))
      }
      yield* second(ok)
      yield* Effect.exit(first(down))
      assert.deepStrictEqual((yield* first.state("default")).retryAfter, Duration.seconds(10))
    }).pipe(Effect.provide(CircuitStore.layerMemory)))

  it.effect("another schedule takes over at the number of openings", () =>
    Effect.gen(function*() {
      const breaker = yield* halfOpen({ openDuration: Schedule.spaced("10 seconds") })
      yield* breaker.reconfigure({
        tripPolicy: CircuitBreaker.consecutive(1),
        openDuration: Schedule.exponential("1 second", 3)
      })
      yield* Effect.exit(breaker(down))
      assert.deepStrictEqual((yield* breaker.state("default")).retryAfter, Duration.seconds(3))
    }))

  it.effect("each opening is a new step, also the first after a close", () =>
    Effect.gen(function*() {
      const seen: Array<number> = []
      const openDuration = Schedule.spaced("10 seconds").pipe(
        Schedule.tapInput((n: number) => Effect.sync(() => seen.push(n)))
      )
      const breaker = yield* halfOpen({ openDuration })
      yield* breaker(ok)
      yield* Effect.exit(breaker(down))
      yield* breaker.isolate("default")
      yield* breaker.reset("default")
      yield* Effect.exit(breaker(down))
      assert.deepStrictEqual(seen, [1, 1, 1])
    }))
})
