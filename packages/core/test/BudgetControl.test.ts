import { assert, describe, expect, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Schedule, TestClock } from "effect"
import { Budget, BudgetStore, InvalidOption, LlmError, LlmProvider, Policy, Retry } from "perdure"
import { answer, anthropic, openAi, scripted, unavailable } from "./support/provider.ts"

const repeats = (n: number) => Policy.retry(Retry.fromSchedule(Schedule.recurs(n)))

const bare = { ratio: 0, perSecond: 0 }
const purse = (capacity: number, options: Budget.Options = {}) =>
  Budget.make({ target: { capacity, ...bare }, process: "none", ...options })

/** One repeat, in a call that is not served and so earns nothing. */
const repeat = (budget: Budget.Service, target?: { provider: string; model: string }) =>
  Effect.flip(budget(Effect.flip(Budget.withdraw("retry", target))))

/** How many of so many repeats are granted. */
const grants = (budget: Budget.Service, wanted: number, target = openAi) =>
  Effect.map(Effect.replicateEffect(repeat(budget, target), wanted), (all) => all.filter((granted) => granted).length)

/** A store that takes its time, as one that several processes share does, and keeps what it has as text. */
const layerSlow = Layer.sync(BudgetStore.BudgetStore, () => {
  const buckets = new Map<string, string>()
  return {
    modify: (key, change) =>
      Effect.yieldNow().pipe(
        Effect.zipRight(Effect.sync(() => {
          const before = buckets.get(key)
          const [result, after] = change(before === undefined ? undefined : JSON.parse(before) as BudgetStore.State)
          buckets.set(key, JSON.stringify(after))
          return result
        })),
        Effect.zipLeft(Effect.yieldNow())
      )
  }
})

describe("buckets", () => {
  it.effect("each target has one, and they share that of the process", () =>
    Effect.gen(function*() {
      const budget = yield* Budget.make({ target: { capacity: 3, ...bare }, process: { capacity: 5, ...bare } })
      assert.strictEqual(yield* grants(budget, 10), 3)
      assert.strictEqual(yield* grants(budget, 10, anthropic), 2)
      assert.deepStrictEqual(yield* budget.balance("openai/gpt-4o"), { target: 0, process: 0 })
      // What the process refused was given back to the target.
      assert.deepStrictEqual(yield* budget.balance("anthropic/claude"), { target: 1, process: 0 })
    }))

  it.effect("a spent target leaves those of others alone", () =>
    Effect.gen(function*() {
      const budget = yield* purse(2)
      const dead = scripted([unavailable()])
      const theirs = new LlmError.ProviderUnavailable(anthropic)
      const other = scripted([theirs, theirs, answer("hi", anthropic)], anthropic)
      const use = (layer: Layer.Layer<LlmProvider.LlmProvider>) =>
        LlmProvider.generate("hello").pipe(
          Effect.provide(layer.pipe(LlmProvider.withPolicy(Policy.compose(budget, repeats(9)))))
        )
      yield* Effect.exit(use(dead.layer))
      yield* Effect.exit(use(dead.layer))
      assert.strictEqual(dead.calls.length, 4)
      yield* use(other.layer)
      assert.strictEqual(other.calls.length, 3)
    }))

  it.effect("by hand all share one, unless the failure or `key` says otherwise", () =>
    Effect.gen(function*() {
      const budget = yield* purse(2)
      assert.isTrue(yield* repeat(budget))
      assert.strictEqual((yield* budget.balance("default")).target, 1)
      const keyed = yield* purse(2, { key: (target) => target?.provider ?? "nobody" })
      yield* grants(keyed, 1)
      yield* keyed(Budget.withdraw("hedge"))
      assert.strictEqual((yield* keyed.balance("openai")).target, 1)
      assert.strictEqual((yield* keyed.balance("nobody")).target, 1)
    }))

  it.effect("there may be none, which grants everything", () =>
    Effect.gen(function*() {
      const budget = yield* Budget.make({ target: "none", process: "none" })
      assert.strictEqual(yield* grants(budget, 1000), 1000)
      assert.deepStrictEqual(yield* budget.balance("default"), { target: undefined, process: undefined })
    }))

  it.effect("without a budget around it a repeat is granted", () =>
    Effect.gen(function*() {
      assert.isTrue(yield* Budget.withdraw("retry", openAi))
    }))
})

describe("the floor", () => {
  it.effect("pays for one repeat every 50 seconds when nothing is served, and not a millisecond before", () =>
    Effect.gen(function*() {
      const budget = yield* Budget.make({ process: "none" })
      assert.strictEqual(yield* grants(budget, 100), 35)
      yield* TestClock.adjust("49999 millis")
      assert.strictEqual(yield* grants(budget, 1), 0)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* grants(budget, 2), 1)
    }))

  it.effect("of the process is one every 10 seconds, for all targets together", () =>
    Effect.gen(function*() {
      const budget = yield* Budget.make({ target: "none" })
      assert.strictEqual(yield* grants(budget, 200), 100)
      yield* TestClock.adjust("9999 millis")
      assert.strictEqual(yield* grants(budget, 1), 0)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* grants(budget, 1)) + (yield* grants(budget, 1, anthropic)), 1)
    }))

  it.effect("and what is served add up", () =>
    Effect.gen(function*() {
      const budget = yield* Budget.make({ process: "none", key: () => "one" })
      yield* grants(budget, 100)
      yield* TestClock.adjust("50 seconds")
      yield* Effect.repeatN(budget(Effect.void), 9)
      assert.strictEqual(yield* grants(budget, 100), 2)
    }))
})

describe("budgets inside one another", () => {
  it.effect("are both asked, and what one gave for nothing is given back", () =>
    Effect.gen(function*() {
      const outer = yield* purse(1)
      const inner = yield* purse(5)
      const both = outer(inner(Effect.replicateEffect(Budget.withdraw("retry", openAi), 3)))
      assert.deepStrictEqual(yield* both, [true, false, false])
      assert.strictEqual((yield* inner.balance("openai/gpt-4o")).target, 4)
      assert.strictEqual((yield* outer.balance("openai/gpt-4o")).target, 0)
    }))

  it.effect("are asked once where they are the same", () =>
    Effect.gen(function*() {
      const budget = yield* purse(5)
      yield* budget(budget(Budget.withdraw("retry", openAi)))
      assert.strictEqual((yield* budget.balance("openai/gpt-4o")).target, 4)
    }))

  it.effect("hold for fibers forked inside them, and for nothing after them", () =>
    Effect.gen(function*() {
      const budget = yield* purse(1)
      const forked = yield* budget(Effect.fork(Effect.replicateEffect(Budget.withdraw("retry", openAi), 2)))
      assert.deepStrictEqual(yield* Fiber.join(forked), [true, false])
      assert.isTrue(yield* Budget.withdraw("retry", openAi))
    }))
})

describe("reconfigure", () => {
  it.effect("keeps what the buckets hold, as far as it fits, and is seen in the description", () =>
    Effect.gen(function*() {
      const budget = yield* purse(10)
      yield* grants(budget, 4)
      yield* budget.reconfigure({ target: { capacity: 20, ...bare }, process: "none" })
      assert.strictEqual((yield* budget.balance("openai/gpt-4o")).target, 6)
      assert.strictEqual(Policy.describe(budget), "budget 20 tokens a target and 0 for each call")
      yield* budget.reconfigure({ target: { capacity: 2, ...bare }, process: "none" })
      assert.strictEqual((yield* budget.balance("openai/gpt-4o")).target, 2)
      assert.strictEqual(yield* grants(budget, 9), 2)
      expect(() => budget.reconfigure({ target: { capacity: 0 } })).toThrow(InvalidOption)
    }))
})

const stores = { "in memory": BudgetStore.layerMemory, "that takes its time": layerSlow }

for (const [what, store] of Object.entries(stores)) {
  describe(`with a store ${what}`, () => {
    it.effect("R9: of thousands of fibers at once, exactly as many repeat as there are tokens", () =>
      Effect.gen(function*() {
        const budget = yield* purse(50)
        let asked = 0
        const gate = yield* Deferred.make<void>()
        const failing = Effect.zipRight(
          Deferred.await(gate),
          Effect.suspend(() => {
            asked++
            return Effect.fail(unavailable())
          })
        )
        const call = Effect.exit(failing.pipe(Policy.compose(budget, repeats(3))))
        const all = yield* Effect.fork(Effect.all(Array.from({ length: 5000 }, () => call), {
          concurrency: "unbounded"
        }))
        yield* Effect.repeatN(Effect.yieldNow(), 10)
        yield* Deferred.succeed(gate, undefined)
        assert.isTrue((yield* Fiber.join(all)).every(Exit.isFailure))
        assert.strictEqual(asked, 5050)
        assert.strictEqual((yield* budget.balance("openai/gpt-4o")).target, 0)
      }).pipe(Effect.provide(store)))

    it.effect("budgets of one name share their buckets, those of another do not", () =>
      Effect.gen(function*() {
        const one = yield* purse(3)
        const same = yield* purse(3)
        const other = yield* purse(3, { name: "batch" })
        yield* grants(one, 2)
        assert.strictEqual(yield* grants(same, 5), 1)
        assert.strictEqual(yield* grants(other, 5), 3)
      }).pipe(Effect.provide(store)))

    it.effect("E2: an interruption at any moment takes a token or none, and loses no other", () =>
      Effect.gen(function*() {
        for (let yields = 0; yields < 30; yields++) {
          const budget = yield* purse(5, { name: `n${yields}` })
          const fiber = yield* Effect.fork(budget(Budget.withdraw("retry", openAi)))
          yield* Effect.repeatN(Effect.yieldNow(), yields)
          yield* Fiber.interrupt(fiber)
          assert.include([4, 5], (yield* budget.balance("openai/gpt-4o")).target)
          assert.isTrue(yield* Budget.withdraw("retry", openAi))
        }
      }).pipe(Effect.provide(store)))
  })
}

it.effect("without a store each budget has a memory of its own", () =>
  Effect.gen(function*() {
    yield* grants(yield* purse(1), 1)
    assert.strictEqual(yield* grants(yield* purse(1), 2), 1)
  }))

describe("presets", () => {
  it("say what they are", () => {
    const describeOf = (options?: Budget.Options) => Policy.describe(Effect.runSync(Budget.make(options)))
    expect(describeOf()).toBe(
      "budget 35 tokens a target and 0.1 for each call, 100 tokens a process and 0.1 for each call"
    )
    expect(describeOf(Budget.finagle)).toBe("budget 1000000 tokens a target and 0.2 for each call")
    expect(describeOf(Budget.grpc)).toBe("budget 10 tokens a target and 0.1 for each call")
    expect(describeOf(Budget.aws)).toBe("budget 500 tokens a target and 1 for each call")
  })

  it.effect("gRPC's drains by what it refuses, and gives again above half", () =>
    Effect.gen(function*() {
      const budget = yield* Budget.make({ ...Budget.grpc, key: () => "one" })
      // Five are granted and five refused, each of which takes one token.
      assert.strictEqual(yield* grants(budget, 10), 5)
      assert.strictEqual((yield* budget.balance("one")).target, 0)
      yield* Effect.repeatN(budget(Effect.void), 49)
      assert.strictEqual((yield* budget.balance("one")).target, 5)
      assert.strictEqual(yield* grants(budget, 1), 0)
      yield* Effect.repeatN(budget(Effect.void), 10)
      assert.strictEqual(yield* grants(budget, 1), 1)
    }))

  it.effect("AWS's pays for 35 retries", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* grants(yield* Budget.make(Budget.aws), 99), 35)
    }))
})

describe("E1: options", () => {
  const bad: Record<string, Budget.Options> = {
    "Budget.make({ target: { capacity } }) was given 0; allowed: more than 0": { target: { capacity: 0 } },
    "Budget.make({ target: { capacity } }) was given NaN; allowed: a finite number of at least 0": {
      target: { capacity: Number.NaN }
    },
    "Budget.make({ process: { capacity } }) was given 1000001; allowed: a number from 0 to 1000000": {
      process: { capacity: 1_000_001 }
    },
    "Budget.make({ target: { ratio } }) was given -0.1; allowed: a finite number of at least 0": {
      target: { ratio: -0.1 }
    },
    "Budget.make({ target: { perSecond } }) was given 0.0001; allowed: 0, or at least 0.001": {
      target: { perSecond: 0.0001 }
    },
    "Budget.make({ target: { ttl } }) was given 0; allowed: a finite duration longer than zero": { target: { ttl: 0 } },
    "Budget.make({ target: { ttl } }) was given 9; allowed: a duration of at least 10 milliseconds": {
      target: { ttl: 9 }
    },
    "Budget.make({ target: { blockedAt } }) was given 35; allowed: less than the capacity, 35": {
      target: { blockedAt: 35 }
    },
    "Budget.make({ target: { deposits } }) was given \"some\"; allowed: \"served\", \"all\"": {
      target: { deposits: "some" as "all" }
    },
    "Budget.make({ costs: { hedge } }) was given -1; allowed: a finite number of at least 0": { costs: { hedge: -1 } },
    "Budget.make({ costs: { retry: { rateLimit } } }) was given Infinity; allowed: a finite number of at least 0": {
      costs: { retry: { otherwise: 1, rateLimit: Infinity } }
    },
    "Budget.make({ name }) was given \"\"; allowed: a non-empty string": { name: "" }
  }
  for (const [message, options] of Object.entries(bad)) {
    it(`refused: ${message}`, () => {
      expect(() => Budget.make(options)).toThrow(InvalidOption)
      expect(() => Budget.make(options)).toThrow(message)
    })
  }

  it("the borders are allowed", () => {
    const ttl = Duration.millis(10)
    expect(() => Budget.make({ target: { capacity: 0.000001, ratio: 0, perSecond: 0.001, ttl } })).not.toThrow()
    expect(() => Budget.make({ process: { capacity: 1_000_000, perSecond: 1_000_000 } })).not.toThrow()
  })
})

it.effect("a budget that is reconfigured keeps its name, and so its buckets", () =>
  Effect.gen(function*() {
    const bucket = { capacity: 10, ratio: 0, perSecond: 0 }
    const budget = yield* Budget.make({ name: "eu", target: bucket, process: "none" })
    yield* budget(Budget.withdraw("retry"))
    const before = yield* budget.balance("default")
    assert.strictEqual(before.target, 9)
    yield* budget.reconfigure({ target: bucket, process: "none" })
    assert.deepStrictEqual(yield* budget.balance("default"), before)
  }))
