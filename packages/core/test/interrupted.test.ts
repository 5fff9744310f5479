/** Calls that are interrupted at any moment, under the policies that let through so many of them. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import {
  Budget,
  BudgetStore,
  Bulkhead,
  CircuitBreaker,
  type LlmError,
  type LlmProvider,
  ModelPrices,
  Policy,
  Quota,
  QuotaStore,
  Retry,
  SpendLimit,
  SpendStore
} from "perdure"
import { slowCircuits } from "./support/breaker.ts"
import { atEveryMoment, call, estimate, request, type Scene, under } from "./support/everyMoment.ts"
import { openAi, unavailable } from "./support/provider.ts"
import { type Outcome, usage, type World } from "./support/world.ts"

const key = "openai/gpt-4o"
const used = usage.inputTokens + usage.outputTokens
const quick = Retry.constant("1 second").pipe(Retry.attempts(3))

type Modify<S> = <A>(key: string, f: (state: S | undefined) => readonly [A, S]) => Effect.Effect<A>

/** A store's way to change a state, with a turn of the runtime before it and after it, as one behind a network has. */
const slowly = <S>(modify: Modify<S>): Modify<S> => (key, f) =>
  Effect.zipRight(Effect.yieldNow(), Effect.zipLeft(modify(key, f), Effect.yieldNow()))

/** Somebody else's call, which takes a tenth of a second. */
const another = (policy: Policy.Policy<unknown, LlmError.LlmError>) =>
  policy(Effect.sleep("100 millis"), { target: openAi, request, kind: "generate" })

/** One call alone. */
const alone = (service: LlmProvider.Service, _: Policy.Policy<unknown, LlmError.LlmError>): Scene => ({ service })

/** One that comes when another is under way, and is the last. */
const behind = (service: LlmProvider.Service, policy: Policy.Policy<unknown, LlmError.LlmError>): Scene => ({
  service,
  before: [another(policy)]
})

/** One that comes when another is under way, and has a third behind it. */
const between = (service: LlmProvider.Service, policy: Policy.Policy<unknown, LlmError.LlmError>): Scene => ({
  ...behind(service, policy),
  after: [another(policy)]
})

const callers = { "by itself": alone, "in line": between } as const

for (const way of ["answer", "stream"] as const) {
  /** Plays a scene, and sees to it that the call was interrupted at some moments and too late for that at others. */
  const play = (scene: (world: World) => Effect.Effect<Scene>) => {
    const { ends, moments } = atEveryMoment(scene, way)
    assert.deepStrictEqual(ends, ["answered", "interrupted"])
    assert.isAbove(moments, 100)
  }

  describe(`E2: ${way === "answer" ? "a call" : "a stream"} that is interrupted at any moment`, () => {
    for (const [where, callersOf] of Object.entries(callers)) {
      it(`under a bulkhead, ${where}, keeps no permit and no place`, () => {
        play((world) =>
          Effect.gen(function*() {
            const bulkhead = yield* Bulkhead.make({ limit: 1, queue: 2, maxWait: "1 minute" })
            const service = under(world.provider(["answer"]), bulkhead)
            const rest = () =>
              assert.deepStrictEqual(world.run(bulkhead.state(key)), { inFlight: 0, waiting: 0, limit: 1 })
            return { ...callersOf(service, bulkhead), rest }
          })
        )
      })

      it(`under a bulkhead that learns, ${where}, keeps no permit and no place, and teaches nothing`, () => {
        play((world) =>
          Effect.gen(function*() {
            const bulkhead = yield* Bulkhead.adaptive({ initial: 1, min: 1, queue: 2, maxWait: "1 minute" })
            const service = under(world.provider(["answer"]), bulkhead)
            const rest = () =>
              assert.deepStrictEqual(world.run(bulkhead.state(key)), { inFlight: 0, waiting: 0, limit: 1 })
            return { ...callersOf(service, bulkhead), rest }
          })
        )
      })
    }

    // How a stream ends is the same wherever the state is.
    const stores = way === "answer" ? { "in memory": false, "in a store that takes its time": true } : {
      "in memory": false
    }

    for (const [where, isSlow] of Object.entries(stores)) {
      it(`under a quota, ${where}, has taken what it was estimated to need, what it has used, or nothing`, () => {
        play((world) =>
          Effect.gen(function*() {
            const store = yield* QuotaStore.memory
            const quota = yield* Effect.provideService(
              Quota.make({ perDay: { requests: 10, tokens: 10_000 } }),
              QuotaStore.QuotaStore,
              isSlow ? { get: store.get, modify: slowly(store.modify) } : store
            )
            const service = under(world.provider(["answer"]), quota)
            const rest = (end: string) => {
              const { limits, underWay, waiting } = world.run(quota.status(key))
              assert.deepStrictEqual([underWay, waiting], [0, 0])
              const [requests = 0, tokens = 0] = limits.map(({ available, capacity }) => capacity - available)
              if (end === "answered") return assert.deepStrictEqual([requests, tokens], [1, used])
              if (requests === 0) return assert.deepStrictEqual([tokens, world.asked], [0, 0])
              assert.include([estimate, ...world.asked > 0 ? [used] : []], tokens)
            }
            return { service, rest }
          })
        )
      })

      it.each([
        ["to those behind it", between],
        ["with nobody behind it", behind]
      ])(`under a quota, ${where}, leaves the line %s`, (_, callersOf) => {
        play((world) =>
          Effect.gen(function*() {
            const store = yield* QuotaStore.memory
            const quota = yield* Effect.provideService(
              Quota.make({ limits: [{ unit: "requests", amount: 1, per: "1 second", name: "one" }] }),
              QuotaStore.QuotaStore,
              isSlow ? { get: store.get, modify: slowly(store.modify) } : store
            )
            const service = under(world.provider(["answer"]), quota)
            const rest = () => {
              const { underWay, waiting } = world.run(quota.status(key))
              assert.deepStrictEqual([underWay, waiting], [0, 0])
            }
            return { ...callersOf(service, quota), rest }
          })
        )
      })

      it(`under a spend limit, ${where}, has spent what it was estimated to cost, what it has cost, or nothing`, () => {
        play((world) =>
          Effect.gen(function*() {
            const store = yield* SpendStore.memory
            const limit = yield* SpendLimit.make({ total: 1 }).pipe(
              Effect.provideService(
                SpendStore.SpendStore,
                isSlow ? { get: store.get, modify: slowly(store.modify) } : store
              ),
              Effect.provide(ModelPrices.layer({ models: { openai: { "gpt-4o": { input: 1, output: 1 } } } }))
            )
            const service = under(world.provider(["answer"]), limit)
            const rest = (end: string) => {
              const { limits: [total] } = world.run(limit.status())
              const spent = Math.round((total?.spent ?? Number.NaN) * 1e6)
              if (end === "answered") return assert.strictEqual(spent, used)
              assert.include(world.asked > 0 ? [estimate, used] : [0, estimate], spent)
            }
            return { service, rest }
          })
        )
      })

      it(`under a budget, ${where}, has paid for one repeat or for none`, () => {
        play((world) =>
          Effect.gen(function*() {
            const store = yield* BudgetStore.memory
            const budget = yield* Effect.provideService(
              Budget.make({ target: { capacity: 10, ratio: 0, perSecond: 0 }, process: "none" }),
              BudgetStore.BudgetStore,
              isSlow ? { modify: slowly(store.modify) } : store
            )
            const service = under(
              world.provider([unavailable(), "answer"]),
              Policy.compose(budget, Policy.retry(quick))
            )
            const rest = () => {
              const { target } = world.run(budget.balance(key))
              assert.include(world.asked === 0 ? [10] : world.asked > 1 ? [9] : [9, 10], target)
            }
            return { service, rest }
          })
        )
      })

      const circuits: Record<string, readonly [CircuitBreaker.Options, readonly [Outcome, ...Array<Outcome>]]> = {
        "a closed circuit": [{}, ["answer"]],
        "a closed circuit that times calls": [
          { tripPolicy: CircuitBreaker.slowCalls({ longerThan: "1 hour", rate: 1, minimum: 1 }) },
          ["answer"]
        ],
        "a circuit as its only probe": [{ tripPolicy: CircuitBreaker.consecutive(1), probes: 1 }, [
          unavailable(),
          "answer"
        ]],
        "a circuit as one of two probes": [{ tripPolicy: CircuitBreaker.consecutive(1), probes: 2 }, [
          unavailable(),
          "answer"
        ]]
      }
      for (const [what, [options, outcomes]] of Object.entries(circuits)) {
        if (way === "stream" && (what.includes(" times ") || what.includes(" two "))) continue
        it(`under ${what}, ${where}, keeps no probe and opens nothing`, () => {
          play((world) =>
            Effect.gen(function*() {
              const breaker = yield* CircuitBreaker.make({ openDuration: "1 second", ...options }).pipe(
                isSlow ? Effect.provide(slowCircuits) : (self) => self
              )
              const service = under(world.provider(outcomes), breaker)
              if (outcomes.length > 1) {
                yield* Effect.exit(call(service, way))
                yield* Effect.sleep("1 second")
              }
              const rest = (end: string) => {
                const { phase, probing } = world.run(breaker.state(key))
                assert.strictEqual(probing, 0)
                if (outcomes.length === 1) return assert.strictEqual(phase, "closed")
                if (options.probes === 2) return assert.strictEqual(phase, "halfOpen")
                assert.include(end === "answered" ? ["closed"] : ["closed", "halfOpen"], phase)
              }
              return { service, rest }
            })
          )
        })
      }
    }
  })
}
