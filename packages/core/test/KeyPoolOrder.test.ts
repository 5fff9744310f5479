import { assert, describe, expect, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Random, Stream, TestClock } from "effect"
import { Fallback, KeyPool, LlmError, LlmProvider, LlmRequest } from "perdure"
import { finish, held, read, settled, streaming, text } from "./support/pool.ts"
import { answer, anthropic, openAi, scripted } from "./support/provider.ts"

const ask = LlmRequest.make("hello")
const refused = new LlmError.Unauthenticated(openAi)
const labels = ["a", "b", "c"] as const

/** A pool of keys that answer with their labels. */
const answering = (options?: KeyPool.Options, weights: ReadonlyArray<number | undefined> = []) => {
  const [a, b, c] = labels.map((label, i) => ({
    label,
    weight: weights[i],
    service: scripted([answer(label)]).service
  }))
  return KeyPool.make([a!, b!, c!], options)
}

/** Who answers each of so many calls, one after the other. */
const answerers = (pool: LlmProvider.Service, calls: number) =>
  Effect.map(Effect.replicateEffect(pool.generate(ask), calls), (all) => all.map((one) => one.text))

const count = (all: ReadonlyArray<string>) => labels.map((label) => all.filter((one) => one === label).length)

describe("F5: which key is asked", () => {
  it.effect("each in turn, unless told otherwise", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* answerers(answering(), 7), ["a", "b", "c", "a", "b", "c", "a"])
    }))

  it.effect("of 3,000 calls at once each key has a third", () =>
    Effect.gen(function*() {
      const pool = answering()
      const all = yield* Effect.forEach(Array.from({ length: 3000 }), () => pool.generate(ask), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(count(all.map((one) => one.text)), [1000, 1000, 1000])
    }))

  it.effect("at random by weight, and one of weight 0 only when the others may not be asked", () =>
    Effect.gen(function*() {
      const all = yield* answerers(answering({ order: "weighted" }, [3, 1, 0]), 4000)
      const [a = 0, b = 0, c] = count(all)
      assert.strictEqual(c, 0)
      // Four standard deviations of a share of a quarter.
      assert.approximately(b / (a + b), 0.25, 4 * Math.sqrt(0.25 * 0.75 / 4000))
      const spare = KeyPool.make([
        { label: "one", service: scripted([refused]).service },
        { label: "spare", weight: 0, service: scripted([answer("spare")]).service }
      ], { order: "weighted" })
      assert.deepStrictEqual(yield* answerers(spare, 2), ["spare", "spare"])
    }).pipe(Effect.withRandom(Random.make("a seed"))))

  it.effect("weights mean nothing to the other orders", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* answerers(answering({}, [0, 5, 1]), 4), ["a", "b", "c", "a"])
    }))

  it.effect("the one with the fewest requests under way, and of equals each in turn", () =>
    Effect.gen(function*() {
      const keys = labels.map((label) => ({ label, ...held() }))
      const [a, b, c] = keys
      const pool = KeyPool.make([a!, b!, c!], { order: "leastInFlight" })
      const underWay = () => keys.map(({ inFlight }) => inFlight())
      const begin = Effect.zipRight(Effect.fork(pool.generate(ask)), settled)
      yield* Effect.replicateEffect(begin, 7)
      assert.sameMembers(underWay(), [2, 2, 3])
      yield* b!.end()
      yield* b!.end()
      const before = b!.inFlight()
      yield* begin
      assert.strictEqual(b!.inFlight(), before + 1)
      yield* begin
      assert.isAtMost(Math.max(...underWay()) - Math.min(...underWay()), 1)
    }))
})

describe("F5: the fastest key first", () => {
  const slow = (millis: number) => scripted([Effect.delay(Effect.succeed(answer("hi")), millis)])

  const during = <A, E>(millis: number, self: Effect.Effect<A, E>) =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(self)
      yield* TestClock.adjust(millis)
      return yield* Fiber.join(fiber)
    })

  it.effect("finds out about each with one call at a time, asks the fastest, and forgets after a minute", () =>
    Effect.gen(function*() {
      const keys = [slow(300), slow(100)]
      const [a, b] = keys.map(({ service }, i) => ({ label: `${i}`, service }))
      const pool = KeyPool.make([a!, b!], { order: "fastest" })
      const asked = () => keys.map(({ calls }) => calls.length)
      const atOnce = (calls: number) =>
        Effect.all(Effect.replicate(pool.generate(ask), calls), { concurrency: "unbounded" })
      yield* during(300, atOnce(2))
      assert.deepStrictEqual(asked(), [1, 1])
      yield* during(100, atOnce(20))
      assert.deepStrictEqual(asked(), [1, 21])
      // The first was answered at 300 ms.
      yield* TestClock.adjust(59_899)
      const begin = Effect.zipRight(Effect.fork(pool.generate(ask)), settled)
      yield* begin
      assert.deepStrictEqual(asked(), [1, 22])
      yield* TestClock.adjust(1)
      yield* Effect.replicateEffect(begin, 2)
      assert.deepStrictEqual(asked(), [2, 23])
    }))

  it.effect("a key that is refused is not fast, and streams are as fast as their first output", () =>
    Effect.gen(function*() {
      const bad = scripted([refused])
      const good = slow(300)
      const pool = KeyPool.make([{ label: "bad", service: bad.service }, { label: "good", service: good.service }], {
        order: "fastest",
        benchedFor: "1 millis"
      })
      yield* Effect.replicateEffect(during(300, pool.generate(ask)), 2)
      expect(yield* pool.state).toMatchObject([{ health: "due" }, { answer: Duration.millis(300) }])
      assert.isUndefined((yield* pool.state)[0]?.answer)
      const [first, second] = [streaming([[text("a"), finish]]), streaming([[text("b"), finish]])]
      const streams = KeyPool.make([{ label: "a", service: first.service }, { label: "b", service: second.service }], {
        order: "fastest"
      })
      assert.deepStrictEqual([yield* read(streams), yield* read(streams), yield* read(streams)], ["a", "b", "a"])
    }))
})

describe("E2: what is under way", () => {
  it.effect("is counted down again however it ends: 2,000 calls that answer, fail, break or are interrupted", () =>
    Effect.gen(function*() {
      const keys = labels.map((label) => ({ label, ...held() }))
      const [a, b, c] = keys
      const pool = KeyPool.make([a!, b!, c!], { order: "leastInFlight" })
      const fibers = yield* Effect.forEach(
        Array.from({ length: 2001 }, (_, i) => i),
        () => Effect.fork(Effect.exit(pool.generate(ask)))
      )
      yield* settled
      assert.deepStrictEqual(keys.map(({ inFlight }) => inFlight()), [667, 667, 667])
      // Those that wait longest answer, fail or break; the others are interrupted.
      const ways = [Exit.succeed(answer("hi")), Exit.fail(new LlmError.ProviderUnavailable(openAi)), Exit.die("bug")]
      for (const key of keys) for (const way of ways) yield* key.end(way)
      yield* Fiber.interruptAll(fibers)
      assert.deepStrictEqual(keys.map(({ inFlight }) => inFlight()), [0, 0, 0])
      for (const expected of [[1, 1, 1], [2, 2, 2]]) {
        yield* Effect.replicateEffect(Effect.zipRight(Effect.fork(pool.generate(ask)), settled), 3)
        assert.deepStrictEqual(keys.map(({ inFlight }) => inFlight()), expected)
      }
    }))

  it.effect("when it is interrupted asks no other key and says nothing about its own", () =>
    Effect.gen(function*() {
      const key = scripted([Effect.never, answer("hi")])
      const spare = scripted([answer("spare")])
      const pool = KeyPool.make([{ label: "one", service: key.service }, { label: "two", service: spare.service }])
      const fiber = yield* Effect.fork(pool.generate(ask))
      yield* TestClock.adjust("1 second")
      const exit = yield* Fiber.interrupt(fiber)
      assert(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause))
      assert.strictEqual(spare.calls.length, 0)
      assert.deepStrictEqual(yield* answerers(pool, 2), ["spare", "hi"])
    }))

  it.effect("a key that was being tried out is tried out by the next call, when the first is interrupted", () =>
    Effect.gen(function*() {
      const key = scripted([refused, Effect.never, answer("back")])
      const pool = KeyPool.make([{ label: "one", service: key.service }])
      yield* Effect.flip(pool.generate(ask))
      yield* TestClock.adjust("30 seconds")
      const fiber = yield* Effect.fork(pool.generate(ask))
      yield* settled
      assert.strictEqual((yield* Effect.flip(pool.generate(ask)))._tag, "NoHealthyKey")
      yield* Fiber.interrupt(fiber)
      assert.strictEqual((yield* pool.generate(ask)).text, "back")
    }))
})

describe("a pool of keys for streams", () => {
  it.effect("asks the next key when one is refused before the first output", () =>
    Effect.gen(function*() {
      const first = streaming([[refused]])
      const second = streaming([[text("Hel"), text("lo"), finish]])
      const pool = KeyPool.make([{ label: "one", service: first.service }, { label: "two", service: second.service }])
      assert.strictEqual(yield* read(pool), "Hello")
      assert.strictEqual(yield* read(pool), "Hello")
      assert.deepStrictEqual([first.calls.length, second.calls.length], [1, 2])
    }))

  it.effect("a limit that comes in the middle of a stream leaves the domain out all the same", () =>
    Effect.gen(function*() {
      const limited = new LlmError.QuotaExhausted(openAi)
      const first = streaming([[text("Hel"), limited], [text("hi"), finish]])
      const second = streaming([[text("other"), finish]])
      const pool = KeyPool.make([
        { label: "one", domain: "org", service: first.service },
        { label: "two", domain: "org", service: second.service }
      ])
      assert.strictEqual((yield* Effect.flip(read(pool)))._tag, "QuotaExhausted")
      assert.strictEqual((yield* Effect.flip(read(pool)))._tag, "NoHealthyKey")
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* read(pool), "hi")
    }))

  it.effect("a stream is under way until its last part, its failure, or until its reader leaves", () =>
    Effect.gen(function*() {
      const first = streaming([[text("a"), "stall"]])
      const second = streaming([[text("b"), finish]])
      const pool = KeyPool.make([{ label: "one", service: first.service }, { label: "two", service: second.service }], {
        order: "leastInFlight"
      })
      const fiber = yield* Effect.fork(read(pool))
      yield* settled
      // While it goes on, the other key has fewer.
      for (let i = 0; i < 3; i++) assert.strictEqual(yield* read(pool), "b")
      yield* Fiber.interrupt(fiber)
      const before = first.calls.length
      const fibers = yield* Effect.replicateEffect(Effect.zipLeft(Effect.fork(read(pool)), settled), 2)
      assert.strictEqual(first.calls.length, before + 1)
      yield* Fiber.interruptAll(fibers)
    }))
})

describe("O1, O3: the receipt of a call with a pool", () => {
  it.effect("names the label of the key of each attempt", () =>
    Effect.gen(function*() {
      const pool = KeyPool.make([
        { label: "one", service: scripted([refused]).service },
        { label: "two", service: scripted([answer("hi")]).service }
      ])
      const { receipt } = yield* pool.generate(ask)
      expect(receipt.attempts.map(({ key, outcome }) => [key, outcome._tag])).toEqual([["one", "Failed"], [
        "two",
        "Answered"
      ]])
      assert.isFalse(receipt.fallback)
      assert.deepStrictEqual(receipt.requested, openAi)
    }))

  it.effect("names it also of a stream, and of nothing that comes after the pool", () =>
    Effect.gen(function*() {
      const first = streaming([[refused]])
      const second = streaming([[text("hi"), finish]], anthropic)
      const chain = Fallback.make([KeyPool.make([{ label: "one", service: first.service }]), second.service])
      const last = yield* Stream.runLast(LlmProvider.stream("hello")).pipe(
        Effect.provideService(LlmProvider.LlmProvider, chain)
      )
      assert(last._tag === "Some" && last.value._tag === "Finish")
      assert.deepStrictEqual(last.value.receipt.attempts.map(({ key }) => key), ["one", undefined])
    }))
})
