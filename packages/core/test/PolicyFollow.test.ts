/** Every policy with options follows a reference to them: the new ones hold, and what it knows stays. */
import { assert, describe, it } from "@effect/vitest"
import { type Context, Duration, Effect, Layer, type Scope, SubscriptionRef, TestClock } from "effect"
import {
  Budget,
  Bulkhead,
  CircuitBreaker,
  Fallback,
  KeyPool,
  LlmError,
  type LlmProvider,
  LlmRequest,
  ModelPrices,
  Policy,
  Quota,
  SpendLimit
} from "perdure"
import { down } from "./support/breaker.ts"
import { answer, anthropic, openAi, scripted, unavailable } from "./support/provider.ts"
import { settle } from "./support/work.ts"

const ask = LlmRequest.make("hello")

interface Row<Options, I, S extends Policy.Reconfigurable<Options>> {
  readonly tag: Context.Tag<I, S>
  /** The layer is built with the first options. */
  readonly layer: (options: Options) => Layer.Layer<I>
  readonly options: readonly [Options, Options]
  /** Options that it refuses. */
  readonly bad: Options
  /** Brings it into a state. */
  readonly use: (policy: S) => Effect.Effect<unknown, unknown, Scope.Scope>
  /** What is seen of the options and of the state. */
  readonly see: (policy: S) => Effect.Effect<unknown, unknown, Scope.Scope>
  readonly seen: readonly [unknown, unknown]
}

const follows = <Options, I, S extends Policy.Reconfigurable<Options>>(name: string, row: Row<Options, I, S>) =>
  it.scoped(name, () =>
    Effect.gen(function*() {
      const { bad, layer, options: [first, second], see, seen, tag, use } = row
      const policy = yield* Effect.provide(tag, yield* Layer.build(layer(first)))
      const options = yield* SubscriptionRef.make<Options>(first)
      yield* Policy.follow(policy, options)
      yield* settle
      yield* use(policy)
      assert.deepStrictEqual(yield* see(policy), seen[0])
      yield* SubscriptionRef.set(options, bad)
      yield* settle
      yield* SubscriptionRef.set(options, second)
      yield* settle
      assert.deepStrictEqual(yield* see(policy), seen[1])
    }))

const stuckIn = (bulkhead: Bulkhead.Service) =>
  Effect.zipRight(Effect.forkScoped(Effect.exit(bulkhead(Effect.never))), settle)

const limits = (bulkhead: Bulkhead.Service) =>
  Effect.map(bulkhead.state("default"), ({ inFlight, limit }) => [limit, inFlight])

const twice = (service: LlmProvider.Service) =>
  Effect.map(Effect.replicateEffect(service.generate(ask), 2), (all) => all.map(({ text }) => text))

describe("Policy.follow", () => {
  follows<CircuitBreaker.Options, CircuitBreaker.CircuitBreaker, CircuitBreaker.Service>("a circuit breaker", {
    tag: CircuitBreaker.CircuitBreaker,
    layer: CircuitBreaker.layer,
    options: [{ tripPolicy: CircuitBreaker.consecutive(1) }, {
      tripPolicy: CircuitBreaker.consecutive(1),
      openDuration: "5 minutes"
    }],
    bad: { probes: 0 },
    use: (breaker) => Effect.exit(breaker(down)),
    see: (breaker) =>
      Effect.gen(function*() {
        const { phase, retryAfter } = yield* breaker.state("default")
        yield* TestClock.adjust(retryAfter ?? 0)
        yield* Effect.exit(breaker(down))
        return [phase, (yield* breaker.state("default")).retryAfter]
      }),
    seen: [["open", Duration.seconds(30)], ["open", Duration.minutes(5)]]
  })

  follows<Quota.Options, Quota.Quota, Quota.Service>("a quota", {
    tag: Quota.Quota,
    layer: Quota.layer,
    options: [{ perMinute: { requests: 10 } }, { perMinute: { requests: 20 } }],
    bad: { queue: -1 },
    use: (quota) => Effect.replicateEffect(quota(Effect.void), 4),
    see: (quota) => Effect.map(quota.status(), ({ limits: [limit] }) => [limit?.capacity, limit?.available]),
    seen: [[10, 6], [20, 16]]
  })

  follows<Budget.Options, Budget.Budget, Budget.Service>("a budget", {
    tag: Budget.Budget,
    layer: Budget.layer,
    options: [{ target: { capacity: 10, ratio: 0, perSecond: 0 } }, {
      target: { capacity: 10, ratio: 0, perSecond: 0 },
      costs: { retry: 5 }
    }],
    bad: { target: { capacity: -1 } },
    use: (budget) => Effect.flip(budget(Effect.flip(Budget.withdraw("retry")))),
    see: (budget) =>
      Effect.gen(function*() {
        const before = (yield* budget.balance("default")).target
        yield* Effect.flip(budget(Effect.flip(Budget.withdraw("retry"))))
        return [before, (yield* budget.balance("default")).target]
      }),
    seen: [[9, 8], [8, 3]]
  })

  follows<Bulkhead.Options, Bulkhead.Bulkhead, Bulkhead.Fixed>("a bulkhead with a fixed limit", {
    tag: Bulkhead.Bulkhead,
    layer: Bulkhead.layer,
    options: [{ limit: 3 }, { limit: 5 }],
    bad: { limit: 0 },
    use: stuckIn,
    see: limits,
    seen: [[3, 1], [5, 1]]
  })

  follows<Bulkhead.AdaptiveOptions, Bulkhead.AdaptiveBulkhead, Bulkhead.Adaptive>("a bulkhead that finds its limit", {
    tag: Bulkhead.AdaptiveBulkhead,
    layer: Bulkhead.layerAdaptive,
    options: [{ initial: 8 }, { max: 4 }],
    bad: { max: 0 },
    use: stuckIn,
    see: limits,
    seen: [[8, 1], [4, 1]]
  })

  follows("a spend limit", {
    tag: SpendLimit.SpendLimit,
    layer: (options: SpendLimit.Options) =>
      Layer.provide(
        SpendLimit.layer(options),
        ModelPrices.layer({ models: { openai: { "gpt-4o": { input: 1, output: 1 } } } })
      ),
    options: [{ total: 1 }, { total: 2 }],
    bad: { total: -1 },
    use: (limit) => {
      const request = LlmRequest.make({ messages: [LlmRequest.user("x".repeat(200))], maxOutputTokens: 50 })
      const subject: Policy.Subject = { target: openAi, request, kind: "generate" }
      return Effect.exit(limit(Effect.fail(new LlmError.TimedOut({ ...openAi, phase: "idle" })), subject))
    },
    see: (limit) =>
      Effect.map(limit.status(), ({ limits: [one] }) => [one?.limit, Math.round((one?.spent ?? Number.NaN) * 1e4)]),
    seen: [[1, 1], [2, 1]]
  })

  follows("a key pool", {
    tag: KeyPool.KeyPool,
    layer: (options: KeyPool.Options) =>
      KeyPool.layer([
        { label: "a", layer: scripted([answer("a")]).layer },
        { label: "b", weight: 0, layer: scripted([answer("b")]).layer },
        { label: "bad", layer: scripted([new LlmError.Unauthenticated(openAi)]).layer }
      ], options),
    options: [{ order: "weighted" }, {}],
    bad: { benchedFor: -1 },
    // Until the third key has been asked, by chance.
    use: (pool) => Effect.replicateEffect(pool.generate(ask), 100),
    see: (pool) => Effect.all([twice(pool), Effect.map(pool.state, (keys) => keys.map(({ health }) => health))]),
    seen: [[["a", "a"], ["healthy", "healthy", "unhealthy"]], [["a", "b"], ["healthy", "healthy", "unhealthy"]]]
  })

  follows("a fallback", {
    tag: Fallback.Fallback,
    layer: (options: Fallback.Options) =>
      Fallback.layer([
        scripted([answer("first")]).layer,
        scripted([answer("second", anthropic)], anthropic).layer,
        scripted([unavailable()], { ...openAi, model: "down" }).layer
      ], options),
    options: [{ order: "weighted", weights: [0, 1, 0] }, { unhealthyAfter: 2 }],
    bad: { weights: [1, 1] },
    use: (chain) => twice(chain),
    see: (chain) =>
      Effect.all([twice(chain), Effect.map(chain.state, (all) => all.map(({ answer }) => answer !== undefined))]),
    seen: [[["second", "second"], [false, true, false]], [["first", "first"], [true, true, false]]]
  })
})
