import { assert, describe, expect, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Random, Ref, TestClock } from "effect"
import { Quota, QuotaStore } from "perdure"
import { withDeadline } from "./support/deadline.ts"
import { openAi, rateLimited } from "./support/provider.ts"
import { answered, now, subject } from "./support/quota.ts"

const key = "openai/gpt-4o"

/** Runs forks one after the other, each up to where it waits. */
const inTurn = <A, E>(effects: ReadonlyArray<Effect.Effect<A, E>>) =>
  Effect.forEach(effects, (effect) => Effect.zipLeft(Effect.fork(effect), Effect.repeatN(Effect.yieldNow(), 9)))

/** A store whose every step takes its turn of the runtime, as one behind a network does. */
const slowStore = Effect.map(QuotaStore.memory, (store): QuotaStore.QuotaStore["Type"] => ({
  get: store.get,
  modify: (key, f) => Effect.zipRight(Effect.yieldNow(), Effect.zipLeft(store.modify(key, f), Effect.yieldNow()))
}))

const stores = [
  ["in memory", QuotaStore.memory],
  ["in a store that takes its time", slowStore]
] as const

describe("the queue of a quota", () => {
  for (const [where, store] of stores) {
    const make = (options: Quota.Options) =>
      Effect.flatMap(store, (store) => Effect.provideService(Quota.make(options), QuotaStore.QuotaStore, store))

    it.effect(`Q2: is first in, first out, and a small request does not overtake a large one, ${where}`, () =>
      Effect.gen(function*() {
        const quota = yield* make({ perMinute: { tokens: 600 } })
        yield* quota(Effect.void, subject(500, 1))
        const order: Array<string> = []
        const take = (name: string, tokens: number) =>
          quota(Effect.sync(() => order.push(name)), subject(tokens - 1, 1))
        yield* inTurn([take("large", 399), take("small", 1), take("middle", 100), take("last", 1)])
        assert.strictEqual((yield* quota.status(key)).waiting, 4)
        yield* TestClock.adjust("29999 millis")
        assert.deepStrictEqual(order, [])
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(order, ["large"])
        yield* TestClock.adjust("100 millis")
        assert.deepStrictEqual(order, ["large", "small"])
        yield* TestClock.adjust("9999 millis")
        assert.deepStrictEqual(order, ["large", "small"])
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(order, ["large", "small", "middle", "last"])
        assert.strictEqual((yield* quota.status(key)).waiting, 0)
      }))

    it.effect(
      `E2: of 2,000 calls interrupted anywhere, none leaks a permit and none gets stuck, ${where}`,
      () =>
        Effect.gen(function*() {
          const quota = yield* make({
            perMinute: { requests: 6000 },
            limits: [
              { unit: "tokens", amount: 1, per: "10 millis", burst: 2000, name: "tokens" }
            ],
            queue: 3000,
            maxWait: "1 hour"
          })
          const ran = yield* Ref.make(0)
          const fibers = yield* Effect.forEach(Array.from({ length: 2000 }, (_, i) => i), (i) =>
            Effect.fork(
              quota(
                Ref.update(ran, (n) => n + 1).pipe(
                  Effect.zipRight(i % 3 === 0 ? Effect.never : i % 3 === 1 ? Effect.void : Effect.yieldNow()),
                  Effect.zipRight(Effect.fail(rateLimited()))
                ),
                subject(i % 7, 1)
              )
            ))
          for (let round = 0; round < 40; round++) {
            for (let i = 0; i < 40; i++) {
              const fiber = fibers[yield* Random.nextIntBetween(0, fibers.length)]
              if (fiber !== undefined) yield* Fiber.interruptFork(fiber)
              if (i % 7 === 0) yield* Effect.yieldNow()
            }
            yield* TestClock.adjust("1 second")
          }
          assert.isAbove(yield* Ref.get(ran), 400)
          yield* Fiber.interruptAll(fibers)
          const after = yield* quota.status(key)
          assert.strictEqual(after.waiting, 0)
          assert.strictEqual(after.underWay, 0)
          yield* TestClock.adjust("1 minute")
          assert.deepStrictEqual((yield* quota.status(key)).limits.map(({ available }) => available), [6000, 2000])
          yield* quota(Effect.void, subject(1999, 1))
        }),
      60_000
    )
  }

  it.effect(
    "Q2: 5,000 waiters go in the order they came, at the rate of the limit, and no one waits in vain",
    () =>
      Effect.gen(function*() {
        const quota = yield* Quota.make({
          limits: [{ unit: "requests", amount: 100_000, per: "1 second", burst: 500 }],
          queue: 4500,
          maxWait: "1 minute"
        })
        const order: Array<number> = []
        const fibers = yield* Effect.forEach(
          Array.from({ length: 5001 }, (_, i) => i),
          (i) => Effect.fork(Effect.exit(quota(Effect.sync(() => order.push(i)))))
        )
        yield* TestClock.adjust("0 millis")
        assert.strictEqual(order.length, 500)
        assert.strictEqual((yield* quota.status()).waiting, 4500)
        const last = yield* Fiber.join(fibers[5000] ?? Effect.runFork(Effect.die("none")))
        assert(Exit.isFailure(last) && last.cause._tag === "Fail")
        expect(last.cause.error).toMatchObject({ quota: "requests per second", retryAfter: Duration.millis(46) })
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(order.length, 600)
        yield* TestClock.adjust("43 millis")
        assert.strictEqual(order.length, 4900)
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(order, Array.from({ length: 5000 }, (_, i) => i))
      }),
    60_000
  )

  it.effect("E2: an interrupted waiter leaves at once and those behind it move up", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { tokens: 60 } })
      yield* quota(Effect.void, subject(59, 1))
      const order: Array<number> = []
      const fibers = yield* inTurn(
        [30, 20, 10].map((tokens) => quota(Effect.sync(() => order.push(tokens)), subject(tokens - 1, 1)))
      )
      yield* TestClock.adjust("5 seconds")
      const [first, second, third] = fibers
      if (first === undefined || second === undefined || third === undefined) return assert.fail()
      yield* Fiber.interrupt(second)
      yield* Fiber.interrupt(first)
      assert.strictEqual((yield* quota.status(key)).waiting, 1)
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(order, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(order, [10])
      assert.strictEqual(yield* now(third), "done")
    }))

  it.effect("Q1: what a call gives back goes to the first in line at once", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { tokens: 1000 } })
      const gate = yield* Deferred.make<void>()
      yield* Effect.fork(
        quota(Effect.as(Deferred.await(gate), answered({ inputTokens: 10, outputTokens: 0 })), subject(500, 500))
      )
      yield* Effect.yieldNow()
      const waits = yield* inTurn([subject(500, 400), subject(50, 40)].map((its) => quota(Effect.never, its)))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* quota.status(key)).waiting, 2)
      yield* Deferred.succeed(gate, undefined)
      yield* TestClock.adjust("0 millis")
      assert.strictEqual((yield* quota.status(key)).waiting, 0)
      assert.deepStrictEqual((yield* quota.status(key)).limits.map(({ available }) => available), [10])
      yield* Fiber.interruptAll(waits)
    }))

  it.effect("waits for those before it are part of the wait that is promised, and a queue that is full refuses", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({
        perMinute: { requests: 60 },
        limits: [
          { unit: "requests", amount: 1, per: "10 seconds", name: "slow" }
        ],
        maxWait: "25 seconds",
        queue: 2
      })
      yield* quota(Effect.void)
      const waits = yield* inTurn([quota(Effect.void), quota(Effect.void)])
      expect(yield* Effect.flip(quota(Effect.void))).toMatchObject({ quota: "slow", retryAfter: Duration.seconds(30) })
      yield* TestClock.adjust("10 seconds")
      expect(
        yield* Effect.flip(withDeadline(30_000, Duration.seconds(30))(quota(Effect.void)))
      ).toMatchObject({ quota: "slow", retryAfter: Duration.seconds(20) })
      const last = yield* Effect.fork(quota(Effect.void))
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(yield* Effect.forEach([...waits, last], now), ["done", "done", "done"])
    }))

  it.effect("R4: nobody in the line waits past its time, even where the line has become slower than was foreseen", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { tokens: 600 }, maxWait: "40 seconds" })
      const gate = yield* Deferred.make<void>()
      yield* Effect.fork(
        quota(Effect.as(Deferred.await(gate), answered({ inputTokens: 300, outputTokens: 600 })), subject(300, 300))
      )
      yield* Effect.yieldNow()
      const [first, second] = yield* inTurn([
        quota(Effect.void, subject(99, 1)),
        withDeadline(25_000, Duration.seconds(25))(quota(Effect.void, subject(99, 1)))
      ])
      if (first === undefined || second === undefined) return assert.fail()
      yield* TestClock.adjust("5 seconds")
      yield* Deferred.succeed(gate, undefined)
      yield* TestClock.adjust("19999 millis")
      assert.strictEqual(yield* now(first), "waits")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* now(second), "failed")
      assert.strictEqual(yield* now(first), "waits")
      const refused = yield* Effect.flip(Fiber.join(second))
      expect(refused).toMatchObject({ ...openAi, quota: "tokens per minute", retryAfter: Duration.seconds(25) })
      yield* TestClock.adjust("15 seconds")
      assert.strictEqual(yield* now(first), "done")
    }))

  it.effect("has one timer for each key, however many wait", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { requests: 1 }, maxWait: "1 day" })
      yield* quota(Effect.void)
      const fibers = yield* inTurn(Array.from({ length: 50 }, () => quota(Effect.void)))
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* TestClock.sleeps()).length, 1)
      yield* Fiber.interruptAll(fibers)
    }))
})
