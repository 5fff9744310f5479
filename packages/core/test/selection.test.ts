import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Selection from "../src/internal/selection.ts"

const runs = { numRuns: 10_000 }
const fact: fc.Arbitrary<Selection.Facts> = fc.record({
  weight: fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 100, noNaN: true })),
  inFlight: fc.nat(4),
  usual: fc.option(fc.nat(2000), { nil: undefined })
})
const facts = fc.array(fact, { minLength: 1, maxLength: 12, size: "max" })
const chance = fc.oneof(
  fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  fc.constantFrom(0, 1 - Number.EPSILON / 2)
)

const isPermutation = (order: ReadonlyArray<number>, count: number): boolean =>
  order.length === count && new Set(order).size === count &&
  order.every((i) => Number.isInteger(i) && i >= 0 && i < count)

/** Whether of all neighbours the first comes before the second. */
const inOrder = (order: ReadonlyArray<number>, isBefore: (a: number, b: number) => boolean): boolean =>
  order.every((b, i) => i === 0 || isBefore(order[i - 1] ?? NaN, b))

const weights = (...all: ReadonlyArray<number>) => all.map((weight) => ({ weight, inFlight: 0, usual: undefined }))

describe("every order", () => {
  it("asks each one once, whatever is known of them", () => {
    fc.assert(
      fc.property(facts, chance, fc.nat(20), (facts, u, start) => {
        const at = start % facts.length
        const orders = [
          Selection.rotated(facts.length, at),
          Selection.byWeight(facts, u),
          Selection.byInFlight(facts, at),
          Selection.byLatency(facts)
        ]
        assert.isTrue(orders.every((order) => isPermutation(order, facts.length)))
      }),
      runs
    )
  })
})

describe("in turn", () => {
  it("each is the first as often as any other", () => {
    assert.deepStrictEqual([0, 1, 2].map((start) => Selection.rotated(3, start)), [[0, 1, 2], [1, 2, 0], [2, 0, 1]])
  })
})

describe("by weight", () => {
  it("those without weight come after all others, in the order given", () => {
    fc.assert(
      fc.property(facts, chance, (facts, u) => {
        const order = Selection.byWeight(facts, u)
        const none = facts.flatMap(({ weight }, i) => weight === 0 ? [i] : [])
        assert.deepStrictEqual(order.slice(facts.length - none.length), none)
      }),
      runs
    )
  })

  it("each is the first of as many numbers as its weight is of all weights", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 6 }), (all) => {
        const total = all.reduce((sum, weight) => sum + weight, 0)
        fc.pre(total > 0)
        const firsts = all.map(() => 0)
        // The middle of each share of the smallest size: there are as many as the weights add up to.
        for (let i = 0; i < total; i++) {
          const [first = -1] = Selection.byWeight(weights(...all), (i + 0.5) / total)
          firsts[first] = (firsts[first] ?? 0) + 1
        }
        assert.deepStrictEqual(firsts, all)
      }),
      runs
    )
  })

  it("who comes second is drawn from the rest by its weights, though one number serves for all draws", () => {
    const pairs = new Map<string, number>()
    const count = 60_000
    for (let i = 0; i < count; i++) {
      const pair = Selection.byWeight(weights(3, 2, 1), (i + 0.5) / count).slice(0, 2).join(" ")
      pairs.set(pair, (pairs.get(pair) ?? 0) + 1)
    }
    const expected = {
      "0 1": 3 / 6 * 2 / 3,
      "0 2": 3 / 6 / 3,
      "1 0": 2 / 6 * 3 / 4,
      "1 2": 2 / 6 / 4,
      "2 0": 1 / 6 * 3 / 5,
      "2 1": 1 / 6 * 2 / 5
    }
    for (const [pair, share] of Object.entries(expected)) {
      assert.approximately((pairs.get(pair) ?? 0) / count, share, 1e-3, pair)
    }
  })

  it("the borders of chance are the first and the last with a weight", () => {
    assert.deepStrictEqual(Selection.byWeight(weights(0, 1, 1), 0), [1, 2, 0])
    assert.deepStrictEqual(Selection.byWeight(weights(1, 1, 0), 1 - Number.EPSILON / 2), [1, 0, 2])
  })
})

describe("by requests under way", () => {
  it("the least busy is first, and of equals the first from the one whose turn it is", () => {
    fc.assert(
      fc.property(facts, fc.nat(20), (facts, n) => {
        const start = n % facts.length
        const order = Selection.byInFlight(facts, start)
        const turn = (i: number) => (i - start + facts.length) % facts.length
        const busy = (i: number) => facts[i]?.inFlight ?? 0
        assert.isTrue(inOrder(order, (a, b) => busy(a) < busy(b) || (busy(a) === busy(b) && turn(a) < turn(b))))
      }),
      runs
    )
  })
})

describe("by latency", () => {
  it("those that nobody knows and nobody asks are first, then the fastest, and last those being found out", () => {
    fc.assert(
      fc.property(facts, (facts) => {
        const rank = (i: number) => {
          const { inFlight = 0, usual } = facts[i] ?? {}
          return usual ?? (inFlight === 0 ? -1 : Infinity)
        }
        const order = Selection.byLatency(facts)
        assert.isTrue(inOrder(order, (a, b) => rank(a) < rank(b) || (rank(a) === rank(b) && a < b)))
      }),
      runs
    )
  })
})
