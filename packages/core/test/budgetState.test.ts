import { assert, describe, expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { advance, type Bucket, drain, initial, level, put, type State, take, unit } from "../src/internal/budget.ts"

const tokens = (value: number) => Math.round(value * unit)

const bucket = (changes: Partial<Bucket> = {}): Bucket => {
  const capacity = changes.capacity ?? tokens(10)
  return { capacity, deposit: 0, perMilli: 0, reserve: capacity, ttl: 0, blockedAt: 0, drains: false, ...changes }
}

const amount = fc.oneof(fc.nat(tokens(3)), fc.constantFrom(0, 1, tokens(1), tokens(14), tokens(1_000_000)))

const anyBucket = fc.record({
  capacity: fc.oneof(fc.integer({ min: 1, max: tokens(40) }), fc.constantFrom(1, tokens(1), tokens(1_000_000))),
  perMilli: fc.oneof(fc.nat(20_000), fc.constantFrom(0, 1, 1e9)),
  ttl: fc.constantFrom(0, 0, 10, 10.5, 1000, 10_000),
  share: fc.double({ min: 0, max: 0.99, noNaN: true }),
  drains: fc.boolean()
}).map(({ share, ...rest }): Bucket =>
  bucket({
    ...rest,
    reserve: rest.ttl === 0 ? rest.capacity : Math.min(rest.capacity, Math.round(rest.perMilli * rest.ttl)),
    blockedAt: Math.min(Math.floor(rest.capacity * share), rest.capacity - 1)
  })
)

const event = fc.oneof(
  { weight: 5, arbitrary: fc.record({ _tag: fc.constant("Take" as const), amount }) },
  { weight: 2, arbitrary: fc.record({ _tag: fc.constant("Drain" as const), amount }) },
  { weight: 5, arbitrary: fc.record({ _tag: fc.constant("Put" as const), amount }) },
  // A clock may stand still, go back, and jump.
  {
    weight: 4,
    arbitrary: fc.record({
      _tag: fc.constant("Pass" as const),
      millis: fc.oneof(fc.nat(1500), fc.double({ min: -20, max: 20, noNaN: true }), fc.constantFrom(-5000, 1e12))
    })
  },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Settings" as const), settings: anyBucket }) }
)

describe("R9: a bucket, whatever happens to it", () => {
  it("is never below zero, never above its capacity, and counts in whole units", () => {
    fc.assert(
      fc.property(anyBucket, fc.array(event, { maxLength: 30, size: "max" }), (first, events) => {
        let settings = first
        let now = 1e12
        let state = initial(settings, now)
        const check = () => {
          const now = level(state)
          assert.isTrue(Number.isSafeInteger(now) && now >= 0 && now <= settings.capacity, String(now))
          assert.isTrue(state.tokens >= 0 && state.earned.every((one) => one >= 0), JSON.stringify(state))
          assert.isAtMost(state.earned.length, 10)
        }
        check()
        for (const event of events) {
          if (event._tag === "Pass") now += event.millis
          if (event._tag === "Settings") settings = event.settings
          state = event._tag === "Take"
            ? take(settings, state, event.amount, now)[1]
            : event._tag === "Drain"
            ? drain(settings, state, event.amount, now)[1]
            : event._tag === "Put"
            ? put(settings, state, event.amount, now)
            : advance(settings, state, now)
          check()
        }
        assert.deepStrictEqual(JSON.parse(JSON.stringify(state)), state)
      }),
      { numRuns: 10_000 }
    )
  })

  it("never gives more than it began with, was given, and has earned by the time that passed", () => {
    fc.assert(
      fc.property(anyBucket, fc.array(event, { maxLength: 30, size: "max" }), (settings, events) => {
        const start = 1_000_000
        let now = start
        let latest = start
        let state = initial(settings, now)
        let given = level(state)
        let taken = 0
        for (const event of events) {
          if (event._tag === "Pass") now += Math.min(event.millis, 1e6)
          if (event._tag === "Put") {
            state = put(settings, state, event.amount, now)
            given += event.amount
          }
          if (event._tag === "Take") {
            const [granted, after] = take(settings, state, event.amount, now)
            state = after
            if (granted) taken += event.amount
          }
          if (event._tag === "Drain") {
            const there = level(advance(settings, state, now))
            const [all, after] = drain(settings, state, event.amount, now)
            assert.strictEqual(all, there >= event.amount)
            assert.strictEqual(level(after), Math.max(0, there - event.amount))
            state = after
            taken += Math.min(there, event.amount)
          }
          latest = Math.max(latest, Math.floor(now))
          assert.isAtMost(taken, given + (latest - start) * settings.perMilli)
        }
      }),
      { numRuns: 10_000 }
    )
  })

  it("without expiry and floor it is a number between two bounds, to the unit", () => {
    const steps = fc.array(fc.record({ put: fc.boolean(), amount }), { maxLength: 50, size: "max" })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: tokens(40) }), fc.boolean(), steps, (capacity, drains, events) => {
        const settings = bucket({ capacity, drains })
        let state = initial(settings, 0)
        let model = BigInt(capacity)
        for (const { amount, put: puts } of events) {
          const wanted = BigInt(amount)
          if (puts) {
            state = put(settings, state, amount, 0)
            model = model + wanted > BigInt(capacity) ? BigInt(capacity) : model + wanted
          } else {
            const [granted, after] = take(settings, state, amount, 0)
            state = after
            assert.strictEqual(granted, amount === 0 || model >= wanted)
            model = granted ? model - wanted : drains ? 0n : model
          }
          assert.strictEqual(BigInt(level(state)), model)
        }
      }),
      { numRuns: 10_000 }
    )
  })

  it("does not drift: a million deposits of a tenth pay for exactly 100,000 repeats", () => {
    const settings = bucket({ capacity: tokens(1) })
    let state: State = { at: 0, tokens: 0, earned: [] }
    let granted = 0
    for (let i = 1; i <= 1_000_000; i++) {
      state = put(settings, state, tokens(0.1), i)
      const [ok, after] = take(settings, state, tokens(1), i)
      state = after
      if (ok) granted++
    }
    assert.strictEqual(granted, 100_000)
    assert.strictEqual(level(state), 0)
  })

  it("fills by time to the millisecond, however often it is looked at", () => {
    // 0.02 a second: one token in 50 seconds.
    const settings = bucket({ perMilli: 20 })
    const empty: State = { at: 0, tokens: 0, earned: [] }
    assert.isFalse(take(settings, empty, tokens(1), 49_999)[0])
    assert.isTrue(take(settings, empty, tokens(1), 50_000)[0])
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 50_000, noNaN: true }), { maxLength: 50 }), (looks) => {
        const looked = looks.toSorted((a, b) => a - b).reduce((state, now) => advance(settings, state, now), empty)
        expect(level(advance(settings, looked, 50_000))).toBe(tokens(1))
      }),
      { numRuns: 2000 }
    )
  })
})

describe("a bucket whose deposits expire", () => {
  const settings = bucket({ capacity: tokens(1000), perMilli: 10_000, reserve: tokens(100), ttl: 10_000 })

  it("keeps a deposit for nine tenths of its time at least, and not for longer than it", () => {
    fc.assert(
      fc.property(fc.nat(50_000), fc.nat(10_000), fc.integer({ min: 1, max: tokens(5) }), (at, later, amount) => {
        const bare = { ...settings, perMilli: 0, reserve: 0 }
        const state = put(bare, initial(bare, at), amount, at)
        const left = level(advance(bare, state, at + later))
        if (later < 9000) assert.strictEqual(left, amount)
        if (later >= 10_000) assert.strictEqual(left, 0)
        assert.include([0, amount], left)
      }),
      { numRuns: 10_000 }
    )
  })

  it("begins with what comes by time while a deposit lives, and time fills no more than that", () => {
    const state = initial(settings, 0)
    assert.strictEqual(level(state), tokens(100))
    assert.strictEqual(level(advance(settings, state, 1e9)), tokens(100))
    const earned = put(settings, state, tokens(7), 1e9)
    assert.strictEqual(level(advance(settings, earned, 1e9 + 8999)), tokens(107))
    assert.strictEqual(level(advance(settings, earned, 1e9 + 10_000)), tokens(100))
  })

  it("spends the oldest deposits first", () => {
    const bare = { ...settings, perMilli: 0, reserve: 0 }
    const old = put(bare, initial(bare, 0), tokens(1), 0)
    const [, spent] = take(bare, put(bare, old, tokens(1), 5000), tokens(1), 5000)
    // The old one would have expired by now; the young one is still there.
    assert.strictEqual(level(advance(bare, spent, 12_000)), tokens(1))
    assert.strictEqual(level(advance(bare, spent, 15_000)), 0)
  })
})

describe("the border at which nothing is given", () => {
  it("is the blocking level itself, and a refused repeat drains only where it is said to", () => {
    const grpc = bucket({ blockedAt: tokens(5) })
    const at = (value: number): State => ({ at: 0, tokens: tokens(value), earned: [] })
    assert.isTrue(take(grpc, at(5.1), tokens(1), 0)[0])
    assert.deepStrictEqual(take(grpc, at(5), tokens(1), 0), [false, at(5)])
    assert.deepStrictEqual(take({ ...grpc, drains: true }, at(5), tokens(1), 0), [false, at(4)])
    assert.deepStrictEqual(take({ ...grpc, drains: true }, at(0.4), tokens(1), 0), [false, at(0)])
  })

  it("what costs nothing is granted by an empty bucket", () => {
    const empty: State = { at: 0, tokens: 0, earned: [] }
    assert.isTrue(take(bucket({ blockedAt: tokens(5) }), empty, 0, 0)[0])
    assert.isFalse(take(bucket(), empty, 1, 0)[0])
  })
})
