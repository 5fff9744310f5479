import { assert, describe, expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Quota from "../src/internal/quota.ts"
import { observe } from "../src/internal/quotaLearning.ts"
import { cost, limitOf, Model, none, settingsOf, specs } from "./support/quotaModel.ts"

const runs = { numRuns: 10_000 }

type Event =
  | { readonly _tag: "Take"; readonly input: number; readonly output: number }
  | { readonly _tag: "Settle"; readonly which: number; readonly input: number; readonly output: number }
  | { readonly _tag: "GiveBack"; readonly which: number }
  | { readonly _tag: "Pass"; readonly millis: number }

const size = fc.oneof(fc.nat(20), fc.nat(4000))
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ _tag: fc.constant("Take" as const), input: size, output: size }) },
  {
    weight: 2,
    arbitrary: fc.record({ _tag: fc.constant("Settle" as const), which: fc.nat(20), input: size, output: size })
  },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("GiveBack" as const), which: fc.nat(20) }) },
  {
    weight: 3,
    arbitrary: fc.record({ _tag: fc.constant("Pass" as const), millis: fc.oneof(fc.nat(50), fc.nat(100_000)) })
  }
)
const events = fc.array(event, { maxLength: 40 })

describe("a quota's state", () => {
  it("Q1: gives and refuses what a token bucket does, and names the very millisecond of the next permit", () => {
    fc.assert(
      fc.property(specs, events, (all, story) => {
        const settings = settingsOf(all)
        const models = all.map(({ amount, burst, span, unit }) => new Model(unit, amount, span, burst))
        let state: Quota.State | undefined
        let now = 0
        const held: Array<Quota.Permit> = []
        for (const one of story) {
          if (one._tag === "Pass") now += one.millis
          else if (one._tag === "Take") {
            const its = cost(one.input, one.output)
            const [taken, after] = Quota.take(settings, state, its, now, false)
            if (taken._tag === "Granted") {
              assert.isTrue(models.every((model) => model.has(its, now)))
              for (const model of models) model.take(its, now)
              held.push(taken)
            } else if (taken._tag === "Wait") {
              assert.isTrue(models.every((model) => model.has(its, taken.at)))
              assert.isFalse(models.every((model) => model.has(its, taken.at - 1)))
              if (state !== undefined) assert.strictEqual(after, state)
            } else {
              assert.isTrue(all.some(({ burst, unit }) => its[unit] > burst))
            }
            state = after
          } else if (held.length > 0 && state !== undefined) {
            const [permit] = held.splice(one.which % held.length, 1)
            if (permit === undefined) continue
            const used = one._tag === "GiveBack"
              ? { requests: 0, input: 0, output: 0 }
              : { requests: 1, input: one.input, output: one.output }
            state = Quota.settle(state, permit, used, now)
            const real = used.requests === 0 ? none : cost(used.input, used.output)
            for (const model of models) model.giveBack(permit.cost[model.unit] - real[model.unit], now)
          }
        }
      }),
      runs
    )
  })

  it("Q1: lets through at most the burst and the refill, in any window", () => {
    fc.assert(
      fc.property(specs, events, (all, story) => {
        const settings = settingsOf(all)
        let state: Quota.State | undefined
        let now = 0
        const taken: Array<{ readonly at: number; readonly cost: Quota.Cost }> = []
        for (const one of story) {
          if (one._tag === "Pass") now += one.millis
          if (one._tag !== "Take") continue
          const [result, after] = Quota.take(settings, state, cost(one.input, one.output), now, false)
          state = after
          if (result._tag === "Granted") taken.push({ at: now, cost: result.cost })
        }
        for (const { amount, burst, span, unit } of all) {
          for (let i = 0; i < taken.length; i++) {
            let sum = 0
            for (const { at, cost } of taken.slice(i)) {
              sum += cost[unit]
              const since = at - (taken[i]?.at ?? 0)
              assert.isAtMost(sum * span, burst * span + amount * since)
            }
          }
        }
      }),
      runs
    )
  })

  it("Q1: leaks no permit: what was all given back is all there, whatever came in between", () => {
    fc.assert(
      fc.property(specs, events, (all, story) => {
        const settings = settingsOf(all)
        let state = Quota.fit(settings, undefined, 0)
        let now = 0
        let held: Array<Quota.Permit> = []
        for (const one of story) {
          if (one._tag === "Pass") now += one.millis
          else if (one._tag === "Take") {
            const [taken, after] = Quota.take(settings, state, cost(one.input, one.output), now, false)
            state = after
            if (taken._tag === "Granted") held.push(taken)
          } else if (held.length > 0) {
            const [permit] = held.splice(one.which % held.length, 1)
            if (permit !== undefined) state = Quota.settle(state, permit, { requests: 0, input: 0, output: 0 }, now)
          }
          for (const bucket of state.buckets) {
            assert.isAtLeast(Quota.left(bucket, now), 0)
            assert.isAtMost(Quota.left(bucket, now), bucket.capacity)
          }
        }
        for (const permit of held.toReversed()) {
          state = Quota.settle(state, permit, { requests: 0, input: 0, output: 0 }, now)
        }
        held = []
        for (const bucket of state.buckets) assert.strictEqual(Quota.left(bucket, now), bucket.capacity)
      }),
      runs
    )
  })

  it("Q2: whatever a provider tells, no more goes through than was configured, and nobody waits for ever", () => {
    const count = fc.option(fc.nat(6000), { nil: undefined })
    const told = fc.record({
      limit: count,
      remaining: count,
      reset: fc.option(fc.double({ min: 0, max: 1e6, noNaN: true }), { nil: undefined })
    })
    const step = fc.record({
      pass: fc.nat(20_000),
      told: fc.option(told, { nil: undefined }),
      unit: fc.constantFrom(...Quota.units),
      tokens: fc.nat(3000),
      settled: fc.boolean(),
      underWay: fc.nat(1000),
      age: fc.nat(5000)
    })
    fc.assert(
      fc.property(specs, fc.array(step, { maxLength: 30 }), (all, story) => {
        const settings = settingsOf(all, "lower")
        const configured = settingsOf(all)
        let state = Quota.fit(settings, undefined, 0)
        let alone: Quota.State | undefined
        let now = 0
        for (const { age, pass, settled, told, tokens, underWay, unit } of story) {
          now += pass
          const its = cost(tokens, tokens)
          const [taken, after] = Quota.take(settings, state, its, now, false)
          state = after
          if (taken._tag === "Granted") {
            const [same, its] = Quota.take(configured, alone, taken.cost, now, false)
            assert.strictEqual(same._tag, "Granted")
            alone = its
            if (settled) {
              const used = { requests: 1, input: tokens, output: 0 }
              state = Quota.settle(state, taken, used, now)
              if (same._tag === "Granted") alone = Quota.settle(alone, same, used, now)
            }
          } else if (taken._tag === "Wait") {
            assert.isTrue(Number.isSafeInteger(taken.at) && taken.at > now)
            assert.strictEqual(Quota.take(settings, state, its, taken.at, false)[0]._tag, "Granted")
          }
          if (told !== undefined) {
            state = observe(settings, state, { [unit]: told }, { ...none, [unit]: underWay }, age, now)
          }
          for (const { amount, debt, period } of state.buckets) {
            assert.isTrue(Number.isSafeInteger(debt) && Number.isSafeInteger(amount) && Number.isSafeInteger(period))
          }
        }
      }),
      runs
    )
  })

  it("is plain data that survives JSON", () => {
    fc.assert(
      fc.property(specs, events, (all, story) => {
        const settings = settingsOf(all, "lower")
        let state = Quota.fit(settings, undefined, 0)
        for (const one of story) {
          if (one._tag === "Take") state = Quota.take(settings, state, cost(one.input, one.output), 5, false)[1]
        }
        state = observe(settings, state, { tokens: { limit: 9, remaining: 3, reset: 50 } }, none, 0, 7)
        assert.deepStrictEqual(JSON.parse(JSON.stringify(state)), state)
      }),
      { numRuns: 1000 }
    )
  })

  it("Q1: a limit whose numbers are too large to be exact becomes slower by less than a millionth, never faster", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e12 }), fc.integer({ min: 1, max: 86_400_000 }), (amount, span) => {
        const { amount: a, period: p } = limitOf("tokens", amount, span)
        const real = BigInt(a) * BigInt(span)
        const asked = BigInt(amount) * BigInt(p)
        assert.isTrue(real <= asked)
        assert.isTrue(p * amount <= 2 ** 51)
        assert.isTrue((asked - real) * 1_000_000n <= asked, `${amount} in ${span}: ${a} in ${p}`)
      }),
      runs
    )
  })
})

describe("a quota's state, by hand", () => {
  const minute = Quota.settings([limitOf("requests", 60, 60_000, 2), limitOf("tokens", 600, 60_000)], "lower")

  it("Q1: takes nothing from one limit when another has no room", () => {
    const [first, state] = Quota.take(minute, undefined, cost(300, 200), 0, false)
    assert.strictEqual(first._tag, "Granted")
    const [second, after] = Quota.take(minute, state, cost(100, 50), 0, false)
    expect(second).toMatchObject({ _tag: "Wait", at: 5000, short: "tokens per 60000" })
    assert.strictEqual(after, state)
    assert.strictEqual(Quota.take(minute, after, cost(50, 50), 0, false)[0]._tag, "Granted")
  })

  it("Q1: what was used above the estimate is owed, and the next waits for it", () => {
    const [first, state] = Quota.take(minute, undefined, cost(300, 300), 0, false)
    assert(first._tag === "Granted")
    const after = Quota.settle(state, first, { requests: 1, input: 300, output: 900 }, 0)
    expect(Quota.take(minute, after, cost(1, 0), 0, false)[0]).toMatchObject({ _tag: "Wait", at: 60_100 })
  })

  it("Q1: has no drift: a permit every third of a second for a day, to the millisecond", () => {
    const three = Quota.settings([limitOf("requests", 3, 1000, 2)], "never")
    let state: Quota.State | undefined
    let now = 0
    for (let i = 1; i <= 259_200; i++) {
      const [taken, after] = Quota.take(three, state, cost(0, 0), now, false)
      if (taken._tag !== "Granted") assert.fail(`${i} at ${now}`)
      state = after
      const [next] = Quota.take(three, state, cost(0, 0), now, false)
      now = next._tag === "Wait" ? next.at : now
      assert.strictEqual(now, Math.ceil((i - 1) * 1000 / 3))
    }
  })

  it("Q2: a higher limit of the provider is adopted only where both directions are asked for", () => {
    const told = { requests: { limit: 100, remaining: 100, reset: 0 } }
    for (const [learn, room] of [["lower", 2], ["never", 2], ["both", 100]] as const) {
      const settings = Quota.settings([limitOf("requests", 2, 60_000)], learn)
      let state = observe(settings, Quota.fit(settings, undefined, 0), told, none, 0, 0)
      let granted = 0
      for (;;) {
        const [taken, after] = Quota.take(settings, state, cost(0, 0), 0, false)
        if (taken._tag !== "Granted") break
        state = after
        granted++
      }
      assert.strictEqual(granted, room, learn)
    }
  })

  it("Q2: what is under way may be in the provider's count or not: our own count decides between the two", () => {
    const settings = Quota.settings([], "lower")
    const left = (state: Quota.State) => state.buckets.map((bucket) => Quota.left(bucket, 0))
    const told = (remaining: number) => ({ requests: { limit: 10, remaining, reset: 60_000 } })
    let state = observe(settings, Quota.fit(settings, undefined, 0), told(8), none, 0, 0)
    assert.deepStrictEqual(left(state), [8])
    for (let i = 0; i < 3; i++) state = Quota.take(settings, state, cost(0, 0), 0, false)[1]
    assert.deepStrictEqual(left(state), [5])
    assert.deepStrictEqual(left(observe(settings, state, told(7), { ...none, requests: 2 }, 0, 0)), [5])
    assert.deepStrictEqual(left(observe(settings, state, told(4), { ...none, requests: 2 }, 0, 0)), [4])
    // Somebody gave back what we thought was used: with nothing under way the provider's word is all there is.
    assert.deepStrictEqual(left(observe(settings, state, told(9), none, 0, 0)), [9])
  })

  it("Q2: without a limit the settings' own capacity is meant, and used up with no limit known is a wait until the reset", () => {
    const told = { requests: { limit: undefined, remaining: 0, reset: 7000 } }
    const one = (settings: Quota.Settings) =>
      Quota.take(
        settings,
        observe(settings, Quota.fit(settings, undefined, 0), told, none, 0, 0),
        cost(0, 0),
        0,
        false
      )[0]
    expect(one(Quota.settings([limitOf("requests", 7, 60_000)], "lower"))).toMatchObject({ _tag: "Wait", at: 1000 })
    expect(one(Quota.settings([], "lower"))).toMatchObject({ _tag: "Wait", at: 7000, short: Quota.blockName })
  })

  it("keeps what is used, in units, of a limit that keeps its name and changes its numbers", () => {
    const before = Quota.settings([limitOf("requests", 10, 60_000, 10, "requests")], "lower")
    const after = Quota.settings([limitOf("requests", 7, 1000, 7, "requests")], "lower")
    let state: Quota.State | undefined
    for (let i = 0; i < 6; i++) state = Quota.take(before, state, cost(0, 0), 0, false)[1]
    const [bucket] = Quota.fit(after, state, 0).buckets
    assert.strictEqual(bucket === undefined ? undefined : Quota.left(bucket, 0), 1)
  })

  it("a permit gives nothing back to a limit that came after it", () => {
    const before = Quota.settings([limitOf("requests", 10, 60_000)], "never")
    const after = Quota.settings([limitOf("requests", 10, 60_000), limitOf("tokens", 100, 60_000)], "never")
    const [first, one] = Quota.take(before, undefined, cost(50, 0), 0, false)
    const [second, two] = Quota.take(after, one, cost(50, 0), 0, false)
    assert(first._tag === "Granted" && second._tag === "Granted")
    const state = Quota.settle(two, first, { requests: 0, input: 0, output: 0 }, 0)
    assert.deepStrictEqual(state.buckets.map((bucket) => Quota.left(bucket, 0)), [9, 50])
  })
})
