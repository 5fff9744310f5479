import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Either, Exit, Fiber, Layer, Stream, TestClock } from "effect"
import { InvalidOption, LlmError, LlmProvider, LlmResponse, ModelPrices, Policy, SpendLimit, SpendStore } from "perdure"
import { plain } from "./support/errors.ts"
import { anthropic, failureOf, openAi } from "./support/provider.ts"
import { answered, subject } from "./support/quota.ts"

/** A token costs a millionth, in and out: `subject(n)` with `m` of output costs `n + m` millionths. */
const table: ModelPrices.Table = { models: { openai: { "gpt-4o": { input: 1, output: 1 } } } }
const prices = ModelPrices.layer(table)
const make = (options: SpendLimit.Options) => Effect.provide(SpendLimit.make(options), prices)
const millionths = (n: number) => n / 1e6
const spent = (limit: SpendLimit.Service, key?: string) =>
  Effect.map(limit.status(key), ({ limits }) => Math.round((limits[0]?.spent ?? Number.NaN) * 1e6))
const ask = subject(50, 50)
const used = (input: number, output: number) => Effect.succeed(answered({ inputTokens: input, outputTokens: output }))

describe("SpendLimit", () => {
  it.effect("Q1: charges the estimate before, and the real cost after", () =>
    Effect.gen(function*() {
      const limit = yield* make({ total: millionths(200) })
      const seen = yield* limit(Effect.zipRight(spent(limit), used(10, 5)), ask)
      assert.strictEqual(seen.usage.totalTokens, 15)
      assert.strictEqual(yield* spent(limit), 15)
      const during = yield* limit(spent(limit), ask)
      assert.strictEqual(during, 115)
    }))

  it.effect("refuses what might go over it, up to the millisecond in which the window ends", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(12_345)
      const limit = yield* make({ perMinute: millionths(150) })
      yield* limit(used(50, 50), ask)
      const refusal = failureOf(yield* Effect.exit(limit(used(1, 1), ask)))
      assert.deepInclude({ ...refusal }, {
        _tag: "SpendLimitExceeded",
        ...openAi,
        limit: 0.00015,
        used: 0.0001,
        estimate: 0.0001,
        currency: "USD",
        window: "minute",
        retryAfter: Duration.millis(47_655)
      })
      yield* TestClock.adjust(47_654)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(limit(used(1, 1), ask))))
      yield* TestClock.adjust(1)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(limit(used(1, 1), ask))))
    }))

  it.effect("takes exactly what is left, and names no time for what never fits", () =>
    Effect.gen(function*() {
      const limit = yield* make({ perDay: millionths(100) })
      assert.isTrue(Exit.isFailure(yield* Effect.exit(limit(used(1, 1), subject(51, 50)))))
      const never = failureOf(yield* Effect.exit(limit(used(1, 1), subject(51, 50))))
      assert.deepInclude({ ...never }, { shouldRetry: false })
      assert.isUndefined(never.retryAfter)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(limit(used(50, 50), ask))))
    }))

  it.effect("gives back what a refusal did not use, and keeps what may have been used", () =>
    Effect.gen(function*() {
      const limit = yield* make({ total: 1 })
      yield* Effect.exit(
        limit(Effect.fail(plain.RateLimited).pipe(Effect.mapError(() => new LlmError.RateLimited(openAi))), ask)
      )
      assert.strictEqual(yield* spent(limit), 0)
      yield* Effect.exit(
        limit(Effect.fail(new LlmError.TimedOut({ ...openAi, phase: "idle", limit: Duration.seconds(1) })), ask)
      )
      assert.strictEqual(yield* spent(limit), 100)
      const usage = new LlmResponse.Usage({ inputTokens: 7, outputTokens: 1 })
      yield* Effect.exit(
        limit(Effect.fail(new LlmError.StreamInterrupted({ ...openAi, usage, partial: "x".repeat(40) })), ask)
      )
      assert.strictEqual(yield* spent(limit), 117)
      yield* Effect.exit(limit(Effect.die("oh"), ask))
      assert.strictEqual(yield* spent(limit), 217)
      yield* limit(Effect.succeed(answered()), ask)
      assert.strictEqual(yield* spent(limit), 317)
    }))

  it.effect("E2: an interrupted call stays as estimated", () =>
    Effect.gen(function*() {
      const limit = yield* make({ total: 1 })
      const fiber = yield* Effect.fork(limit(Effect.never, ask))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(yield* spent(limit), 100)
    }))

  it.effect("lets five thousand fibers through up to the limit and no further", () =>
    Effect.gen(function*() {
      const limit = yield* make({ perHour: millionths(100 * 1234) })
      const gate = yield* Deferred.make<void>()
      const fibers = yield* Effect.forEach(
        Array.from({ length: 5000 }),
        () => Effect.fork(limit(Effect.zipRight(Deferred.await(gate), used(50, 50)), ask))
      )
      yield* Effect.yieldNow()
      yield* Deferred.succeed(gate, undefined)
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      assert.strictEqual(exits.filter(Exit.isSuccess).length, 1234)
      assert.strictEqual(yield* spent(limit), 123_400)
    }))

  it.effect("a model without a price is refused, or let through and counted once its answer names one that has", () =>
    Effect.gen(function*() {
      const strange: Policy.Subject = { ...ask, target: { provider: "openai", model: "new" } }
      const strict = yield* make({ total: 1 })
      const refusal = failureOf(yield* Effect.exit(strict(used(1, 1), strange)))
      assert.deepInclude({ ...refusal }, { model: "new", shouldRetry: false, detail: "its price is not known" })
      const open = yield* make({ total: 1, unpriced: "allow" })
      yield* open(Effect.succeed("text"), strange)
      assert.strictEqual(yield* spent(open), 0)
      yield* open(used(3, 4), strange)
      assert.strictEqual(yield* spent(open), 7)
    }))

  it.effect("keeps accounts and targets apart, by key", () =>
    Effect.gen(function*() {
      const limit = yield* make({ total: millionths(100) })
      yield* limit(used(50, 50), ask).pipe(SpendLimit.chargedTo("ann"))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(limit(used(1, 1), ask).pipe(SpendLimit.chargedTo("ann")))))
      yield* limit(used(1, 1), ask).pipe(SpendLimit.chargedTo("bob"))
      assert.deepStrictEqual([yield* spent(limit, "ann"), yield* spent(limit, "bob"), yield* spent(limit)], [100, 2, 0])
      const apart = yield* make({ total: 1, key: SpendLimit.perTarget })
      yield* apart(used(1, 1), ask)
      assert.strictEqual(yield* spent(apart, "openai/gpt-4o"), 2)
    }))

  it.effect("by hand, lets through while something is left and counts what the answer says", () =>
    Effect.gen(function*() {
      const limit = yield* make({ total: millionths(10) })
      yield* used(9, 3).pipe(limit)
      assert.strictEqual(yield* spent(limit), 12)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(used(1, 1).pipe(limit))))
    }))

  it.effect("limits that share a store by name share what is spent, and reconfiguring keeps it", () =>
    Effect.gen(function*() {
      const both = Effect.all([SpendLimit.make({ total: 1 }), SpendLimit.make({ total: 1 })])
      const [one, two] = yield* both.pipe(Effect.provide(Layer.merge(prices, SpendStore.layerMemory)))
      yield* one(used(50, 50), ask)
      assert.strictEqual(yield* spent(two), 100)
      yield* two.reconfigure({ total: millionths(100) })
      assert.isTrue(Exit.isFailure(yield* Effect.exit(two(used(1, 1), ask))))
      assert.strictEqual(yield* spent(two), 100)
    }))

  it.effect("around a provider, settles an answer, and gives back what was never sent", () =>
    Effect.gen(function*() {
      const limit = yield* make({ total: 1 })
      const layer = LlmProvider.layer({ ...openAi, generate: () => used(3, 4) }).pipe(LlmProvider.withPolicy(limit))
      yield* LlmProvider.generate("hi").pipe(Effect.provide(layer))
      assert.strictEqual(yield* spent(limit), 7)
      // This one does not stream: a refusal that used nothing.
      yield* Effect.exit(Stream.runDrain(LlmProvider.stream("hi")).pipe(Effect.provide(layer)))
      assert.strictEqual(yield* spent(limit), 7)
    }))

  it("E1: refuses options out of range", () => {
    for (
      const bad of [{}, { total: -1 }, { total: Number.NaN }, { perDay: 1e7 }, {
        perDay: 1,
        limits: [{ amount: 1, per: "1 day" as const }]
      }, { limits: [{ amount: 1, per: 0 }] }]
    ) assert.throws(() => SpendLimit.make(bad), InvalidOption)
    assert.doesNotThrow(() => SpendLimit.make({ total: 0 }))
  })

  it.effect("says what it is, and what can happen", () =>
    Effect.gen(function*() {
      const limit = yield* make({ perDay: 5, total: 100 })
      assert.strictEqual(Policy.describe(limit), "spend limit 5 USD per day, 100 USD in total")
      expectTypeOf(limit(Effect.succeed(1))).toEqualTypeOf<Effect.Effect<number, LlmError.SpendLimitExceeded>>()
      expectTypeOf(SpendLimit.make({ total: 1 })).toEqualTypeOf<
        Effect.Effect<SpendLimit.Service, never, ModelPrices.ModelPrices>
      >()
    }))
})

describe("ModelPrices", () => {
  it("finds the exact name, then the one without a version, then the longest that ends in a star", () => {
    const price = (input: number) => ({ input, output: 0 })
    const found = ModelPrices.make({
      models: {
        openai: { "gpt-4o": price(1), "gpt-4o-2024-05-13": price(2), "gpt-*": price(3), "gpt-4o-*": price(4) }
      }
    })
    const of = (model: string) => found.find({ provider: "openai", model })?.input
    assert.deepStrictEqual(
      ["gpt-4o", "gpt-4o-2024-05-13", "gpt-4o-2024-08-06", "gpt-4o-mini", "gpt-5", "o3", "__proto__"].map(of),
      [1, 2, 1, 4, 3, undefined, undefined]
    )
    assert.isUndefined(found.find({ ...anthropic, model: "gpt-4o" }))
  })

  it.effect("from JSON, names everything that is wrong and quotes nothing", () =>
    Effect.gen(function*() {
      const of = (json: unknown) => Effect.map(Effect.either(ModelPrices.fromJson(json)), Either.flip)
      const wrong = yield* Effect.flatten(of(`{"models":{"openai":{"gpt-4o":{"input":"2","ouput":3}}}}`))
      assert.sameMembers(wrong.problems.map(({ path }) => path), [
        "models.openai.gpt-4o.input",
        "models.openai.gpt-4o.output",
        "models.openai.gpt-4o.ouput"
      ])
      assert.include(wrong.message, "models.openai.gpt-4o.input must be a number from 0 to")
      assert.include((yield* Effect.flatten(of("sk-secret"))).message, "the table must be JSON")
      const good = yield* ModelPrices.fromJson(JSON.stringify({ currency: "EUR", ...table }))
      assert.strictEqual(good.currency, "EUR")
      assert.throws(() => ModelPrices.make({ models: { openai: { x: { input: -1, output: 1 } } } }), InvalidOption)
    }))

  it("tells a cost in words, exactly", () => {
    const usage = new LlmResponse.Usage({ inputTokens: 1, outputTokens: 0 })
    const cost = ModelPrices.cost(ModelPrices.make(table), openAi, usage, "gpt-4o-2024-08-06")
    assert.deepStrictEqual([cost?.nanos, String(cost)], [1000, "0.000001 USD"])
    assert.isUndefined(ModelPrices.cost(ModelPrices.make(table), anthropic, usage))
  })
})
