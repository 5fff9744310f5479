/** The state of a quota that is blocked, and whose limits change, on the way. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Quota from "../src/internal/quota.ts"
import { cost, Model, none, settingsOf, type Spec, specs } from "./support/quotaModel.ts"
import { same } from "./support/same.ts"

type Event =
  | { readonly _tag: "Take"; readonly input: number; readonly output: number }
  /** A call ends, by its usage or by none; and the provider may say when to come again. */
  | {
    readonly _tag: "End"
    readonly which: number
    readonly used: { readonly input: number; readonly output: number } | undefined
    readonly block: number | undefined
  }
  | { readonly _tag: "Pass"; readonly millis: number }
  | { readonly _tag: "Options"; readonly specs: ReadonlyArray<Spec> }

const size = fc.oneof(fc.nat(20), fc.nat(4000))
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ _tag: fc.constant("Take" as const), input: size, output: size }) },
  {
    weight: 4,
    arbitrary: fc.record({
      _tag: fc.constant("End" as const),
      which: fc.nat(20),
      used: fc.option(fc.record({ input: size, output: size }), { nil: undefined }),
      block: fc.option(fc.oneof(fc.nat(50), fc.nat(100_000)), { nil: undefined })
    })
  },
  {
    weight: 3,
    arbitrary: fc.record({ _tag: fc.constant("Pass" as const), millis: fc.oneof(fc.nat(50), fc.nat(100_000)) })
  },
  { weight: 1, arbitrary: specs.map((specs) => ({ _tag: "Options" as const, specs })) }
)
const events = fc.array(event, { maxLength: 40, size: "max" })

interface Limit {
  readonly spec: Spec
  readonly model: Model
  /** The number of the last permit that owes it nothing. */
  readonly born: number
}

const modelOf = ({ amount, burst, span, unit }: Spec) => new Model(unit, amount, span, burst)

/** Plays a story with a bucket of large numbers beside each limit. */
const play = (first: ReadonlyArray<Spec>, story: ReadonlyArray<Event>) => {
  let settings = settingsOf(first)
  let limits = first.map((spec): Limit => ({ spec, model: modelOf(spec), born: 0 }))
  let state = Quota.fit(settings, undefined, 0)
  let now = 0
  let blockedUntil = 0
  let given = 0
  const held: Array<Quota.Permit> = []

  /** Whether a call would be let through at a time. */
  const lets = (its: Quota.Cost, at: number) => at >= blockedUntil && limits.every(({ model }) => model.has(its, at))

  /** What is owed stays owed, in units; a limit that is new is full. */
  const changed = (all: ReadonlyArray<Spec>) => {
    settings = settingsOf(all)
    const before = state
    state = Quota.fit(settings, state, now)
    same(state.buckets.length, all.length)
    limits = all.map((spec, i): Limit => {
      const old = limits[i]
      const bucket = state.buckets[i]
      assert(bucket !== undefined)
      if (old === undefined || old.spec.unit !== spec.unit) {
        same(Quota.left(bucket, now), spec.burst)
        same(bucket.born, given)
        return { spec, model: modelOf(spec).owing(0n, now), born: given }
      }
      same(bucket.born, old.born)
      const at = Math.max(before.buckets[i]?.at ?? 0, now)
      if (before.version === settings.version) return old
      const span = BigInt(old.spec.span)
      const off = BigInt(bucket.debt) * span - old.model.owed(at) * BigInt(bucket.period)
      if (off <= -span || off > span) assert.fail(`what is owed is off by ${off} of ${span}`)
      const debt = BigInt(bucket.debt) * BigInt(spec.span / bucket.period)
      return { spec, model: modelOf(spec).owing(debt, at), born: old.born }
    })
  }

  for (const one of story) {
    switch (one._tag) {
      case "Pass":
        now += one.millis
        break
      case "Options":
        changed(one.specs)
        break
      case "Take": {
        const its = cost(one.input, one.output)
        const [taken, after] = Quota.take(settings, state, its, now, false)
        state = after
        if (taken._tag === "Never") {
          if (limits.every(({ spec }) => its[spec.unit] <= spec.burst)) assert.fail("it would fit")
          break
        }
        const at = taken._tag === "Granted" ? now : taken.at
        if (!lets(its, at)) assert.fail(`let through at ${at}, which is too soon`)
        if (taken._tag === "Wait" && (at <= now || lets(its, at - 1))) assert.fail(`kept until ${at} for nothing`)
        if (taken._tag !== "Granted") break
        same(taken.serial, ++given)
        for (const { model } of limits) model.take(its, now)
        held.push(taken)
        break
      }
      case "End": {
        const [permit] = held.splice(one.which % Math.max(1, held.length), 1)
        if (permit === undefined) break
        const used = one.used === undefined ? { requests: 0, input: 0, output: 0 } : { requests: 1, ...one.used }
        const real = one.used === undefined ? none : cost(one.used.input, one.used.output)
        state = Quota.settle(state, permit, used, now)
        for (const { born, model } of limits) {
          if (permit.serial > born) model.giveBack(permit.cost[model.unit] - real[model.unit], now)
        }
        if (one.block === undefined) break
        const until = now + one.block
        state = Quota.block(settings, state, permit.cost, until)
        blockedUntil = Math.max(blockedUntil, until)
        for (const [i, { model }] of limits.entries()) {
          const isPrimary = settings.primary[model.unit]?.name === `limit ${i}`
          if (isPrimary && permit.cost[model.unit] > 0) model.block(permit.cost[model.unit], until)
        }
      }
    }
    for (const bucket of state.buckets) {
      if (!Number.isSafeInteger(bucket.debt) || bucket.debt < 0) assert.fail(`a debt of ${bucket.debt}`)
    }
  }
  return { lets, settings, state, now, blockedUntil, held, limits }
}

const runs = { numRuns: 10_000 }

describe("a quota's state that is blocked, and whose limits change", () => {
  it("Q1 Q2: gives and refuses what token buckets do, to the millisecond, and keeps what is owed", () => {
    fc.assert(
      fc.property(specs, events, (first, story) => {
        const { now, state } = play(first, story)
        assert.isTrue(state.buckets.every((bucket) => Quota.left(bucket, now) <= bucket.capacity))
      }),
      runs
    )
  })

  it("Q2: lets nobody through before the time that the provider has named, and then not all at once", () => {
    fc.assert(
      fc.property(specs, events, fc.integer({ min: 1, max: 100_000 }), (first, story, millis) => {
        const { held, now, settings, state } = play(first, story)
        const [permit] = held
        if (permit === undefined) return
        const its = permit.cost
        const blocked = Quota.block(settings, state, its, now + millis)
        const [taken] = Quota.take(settings, blocked, its, now, false)
        if (taken._tag === "Never") return
        assert(taken._tag === "Wait")
        assert.isAtLeast(taken.at, now + millis)
        // Where it is counted, there is room for the one that was refused and for no other beside it.
        const [next, after] = Quota.take(settings, blocked, its, taken.at, false)
        assert.strictEqual(next._tag, "Granted")
        const primary = settings.primary.requests
        if (primary === undefined || primary.amount / primary.period * (taken.at - now - millis) >= 1) return
        assert.strictEqual(Quota.take(settings, after, { ...none, requests: 1 }, taken.at, false)[0]._tag, "Wait")
      }),
      runs
    )
  })
})
