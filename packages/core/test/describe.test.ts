/** What a provider is made of, in words; and whom a call is meant for when that is left to chance. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Random } from "effect"
import { Bulkhead, Fallback, Hedge, KeyPool, LlmProvider, LlmRequest, Policy, Retry } from "perdure"
import { answer, anthropic, scripted } from "./support/provider.ts"

const one = scripted([answer("hi")]).layer
const other = scripted([answer("hi", anthropic)], anthropic).layer

const described = (layer: Layer.Layer<LlmProvider.LlmProvider>) =>
  Effect.provide(Effect.map(LlmProvider.LlmProvider, LlmProvider.describe), layer)

const retry = Policy.retry(Retry.constant("1 second").pipe(Retry.attempts(2)))

describe("LlmProvider.describe", () => {
  it.effect("names a target by itself", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* described(one), "openai/gpt-4o")
    }))

  it.effect("has the policies around a target, the one that was added last first", () =>
    Effect.gen(function*() {
      const guarded = one.pipe(LlmProvider.withPolicy(Policy.timeout("20 seconds")), LlmProvider.withPolicy(retry))
      assert.deepStrictEqual((yield* described(guarded)).split("\n"), [
        `retry    ${retry.steps[0]?.settings}`,
        "timeout  20s",
        "openai/gpt-4o"
      ])
    }))

  it.effect("tells the options that a policy has now, not those that it was composed with", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ limit: 1 })
      const guarded = LlmProvider.withPolicy(one, Policy.compose(Policy.timeout("20 seconds"), bulkhead))
      yield* bulkhead.reconfigure({ limit: 7, queue: 0 })
      assert.include(yield* described(guarded), "bulkhead  7 at once, queue 0")
    }))

  it.effect("has a branch for each target of a fallback and of a hedge, with the policies of each", () =>
    Effect.gen(function*() {
      const chain = LlmProvider.orElse(LlmProvider.withPolicy(one, Policy.timeout("20 seconds")), other, {
        contentRefusal: "moveOn",
        lastResort: "soonest"
      })
      const hedge = Hedge.layers([one, other], { after: "1 second" })
      const both = LlmProvider.withPolicy(Fallback.layer([chain, hedge], { order: "fastest" }), retry)
      assert.deepStrictEqual((yield* described(both)).split("\n"), [
        `retry     ${retry.steps[0]?.settings}`,
        "fallback  fastest, unhealthy after 5 for 30s",
        "├─ fallback  given, unhealthy after 5 for 30s, content refusals move on, last resort soonest",
        "│  ├─ timeout  20s",
        "│  │  openai/gpt-4o",
        "│  └─ anthropic/claude",
        "└─ hedge  after 1s, at most 2 tries",
        "   ├─ openai/gpt-4o",
        "   └─ anthropic/claude"
      ])
    }))

  it.effect("has a branch for each key of a pool, under its label, and the options that it has now", () =>
    Effect.gen(function*() {
      const service = yield* Effect.provide(LlmProvider.LlmProvider, one)
      const pool = KeyPool.make([{ label: "a", service }, { label: "b", service }])
      yield* pool.reconfigure({ order: "fastest", benchedFor: "1 minute" })
      assert.deepStrictEqual(LlmProvider.describe(pool).split("\n"), [
        "key pool  fastest, benched for 1m",
        "├─ a:",
        "│  openai/gpt-4o",
        "└─ b:",
        "   openai/gpt-4o"
      ])
    }))

  it.effect("takes a service that was written by hand for a target", () =>
    Effect.gen(function*() {
      const service = yield* Effect.provide(LlmProvider.LlmProvider, LlmProvider.withPolicy(one, retry))
      assert.strictEqual(LlmProvider.describe({ ...service }), "openai/gpt-4o")
    }))
})

describe("a chain, a hedge and a pool", () => {
  it.effect("O1: leave a call meant for whom their first asks first, where that is not known before", () =>
    Effect.gen(function*() {
      const [a, b] = [scripted([answer("a")]).service, scripted([answer("b", anthropic)], anthropic).service]
      const chance = Fallback.make([a, b], { order: "weighted", weights: [0, 1] })
      const { targets: _, ...byHand } = { ...b }
      const all = [
        Fallback.make([chance, a]),
        Hedge.services([chance, a]),
        KeyPool.make([{ label: "one", service: chance }]),
        Fallback.make([byHand]),
        KeyPool.make([{ label: "one", service: byHand }])
      ]
      for (const service of all) {
        const { receipt: { fallback, requested } } = yield* service.generate(LlmRequest.make("hi"))
        assert.deepStrictEqual([requested.provider, fallback], ["anthropic", false])
      }
    }))
})

describe("a policy around a chain in an order of chance", () => {
  it.effect("O1: leaves a call meant for whom it asks first: that is no fallback", () =>
    Effect.gen(function*() {
      const chain = Fallback.layer([one, other], { order: "weighted", weights: [1, 1] })
      const call = Effect.provide(LlmProvider.generate("hi"), LlmProvider.withPolicy(chain, retry))
      const receipts = yield* Effect.replicateEffect(Effect.map(call, ({ receipt }) => receipt), 20)
      assert.strictEqual(new Set(receipts.map(({ requested }) => requested.provider)).size, 2)
      for (const { fallback, requested, served } of receipts) {
        assert.isFalse(fallback)
        assert.strictEqual(served?.provider, requested.provider)
      }
    }).pipe(Effect.withRandom(Random.make("both"))))
})
