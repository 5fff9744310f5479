import { assert, describe, it } from "@effect/vitest"
import { Duration, FastCheck as fc } from "effect"
import { ModelPrices, Receipt, Usage } from "perdure"
import * as Chart from "../src/Chart.ts"
import * as Statistics from "../src/Statistics.ts"
import { answered, failed, receipt, story } from "./receipts.ts"

const millis = fc.integer({ min: 0, max: 100_000 })
const outcome = fc.oneof(
  fc.constant(answered),
  fc.constantFrom("Overloaded", "RateLimited", "toString").map((error) => failed(error, 503)),
  fc.constant<Receipt.Outcome>({ _tag: "Interrupted" })
)
const told = fc.array(
  fc.record({
    provider: fc.constantFrom("openai", "backup", "__proto__"),
    wait: millis,
    took: millis,
    outcome
  }),
  { maxLength: 7 }
)
const startedAt = fc.oneof(
  fc.integer({ min: 0, max: 60_000 }),
  fc.integer({ min: -8.64e15, max: 8.64e15 }),
  fc.integer({ min: 1.7e12, max: 1.8e12 })
)
const one = fc.record({ told, startedAt }).map(({ startedAt, told }) =>
  new Receipt.Receipt({ ...receipt(told), startedAt })
)
const many = fc.tuple(one, fc.array(one, { maxLength: 60 })).map((
  [first, rest]
): readonly [Receipt.Receipt, ...Array<Receipt.Receipt>] => [first, ...rest])

const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((total, n) => total + n, 0)
const runs = { numRuns: 2000 }

describe("Statistics.percentile", () => {
  const numbers = fc.array(fc.integer(), { minLength: 1, maxLength: 200 })
    .map((all) => all.toSorted((a, b) => a - b) as [number, ...Array<number>])
  const share = fc.double({ min: 0, max: 1, noNaN: true })

  it("is one of the numbers, and the smallest that so large a share does not exceed", () => {
    fc.assert(
      fc.property(numbers, share, (sorted, share) => {
        const value = Statistics.percentile(sorted, share)
        const within = (limit: number) => sorted.filter((n) => n <= limit).length / sorted.length
        assert.include(sorted, value)
        assert.isAtLeast(within(value), share)
        if (value > sorted[0]) assert.isBelow(within(value - 1), share)
      }),
      runs
    )
  })
  it("never falls as the share rises, from the least to the most", () => {
    fc.assert(
      fc.property(numbers, share, share, (sorted, a, b) => {
        assert.isAtMost(
          Statistics.percentile(sorted, Math.min(a, b)),
          Statistics.percentile(sorted, Math.max(a, b))
        )
        assert.strictEqual(Statistics.percentile(sorted, 0), sorted[0])
        assert.strictEqual(Statistics.percentile(sorted, 1), sorted.at(-1))
      }),
      runs
    )
  })
  it("of 1 to 100 is the number itself", () => {
    const hundred = Array.from({ length: 100 }, (_, i) => i + 1)
    assert.deepStrictEqual(Statistics.spread(hundred), { count: 100, p50: 50, p90: 90, p95: 95, p99: 99, max: 100 })
    assert.isUndefined(Statistics.spread([]))
  })
})

describe("Statistics.make", () => {
  it("counts every call once: by its ending, by its time and by its attempts", () => {
    fc.assert(
      fc.property(many, (receipts) => {
        const made = Statistics.make(receipts)
        const endings = (all: Statistics.Endings) => sum([all.direct, all.fallback, all.failed, all.interrupted])
        assert.strictEqual(made.calls, receipts.length)
        assert.strictEqual(endings(made.endings), receipts.length)
        assert.strictEqual(sum(made.attemptCounts), receipts.length)
        assert.strictEqual(sum(made.buckets.map(({ calls }) => calls)), receipts.length)
        for (const bucket of made.buckets) assert.strictEqual(endings(bucket.endings), bucket.calls)
      }),
      runs
    )
  })
  it("has totals that its parts add up to", () => {
    fc.assert(
      fc.property(many, (receipts) => {
        const made = Statistics.make(receipts)
        const attempts = receipts.flatMap((receipt) => receipt.attempts)
        assert.strictEqual(made.attempts, attempts.length)
        assert.strictEqual(sum(made.targets.map(({ attempts }) => attempts)), attempts.length)
        assert.strictEqual(sum(made.buckets.map(({ attempts }) => attempts)), attempts.length)
        assert.strictEqual(sum(made.buckets.map(({ waited }) => waited)), made.waited)
        assert.isAtMost(made.waited, made.time)
        for (const { answered, attempts, failed, interrupted } of made.targets) {
          assert.strictEqual(answered + failed + interrupted, attempts)
        }
        const failures = attempts.filter(({ outcome }) => outcome._tag === "Failed").length
        assert.strictEqual(sum(made.failures.map(({ count }) => count)), failures)
      }),
      runs
    )
  })
  it("has at most 60 buckets, whatever the time between the first call and the last, and they cover it", () => {
    fc.assert(
      fc.property(many, (receipts) => {
        const { buckets, from, to } = Statistics.make(receipts)
        assert.isAtMost(buckets.length, Statistics.mostBuckets)
        assert.isAtMost(buckets[0]?.from ?? NaN, from)
        assert.isAbove(buckets.at(-1)?.to ?? NaN, to)
        for (const [index, bucket] of buckets.slice(1).entries()) assert.strictEqual(bucket.from, buckets[index]?.to)
      }),
      runs
    )
  })
  it("keeps the worst 20: failures and the longest answers, and none that was interrupted", () => {
    fc.assert(
      fc.property(many, (receipts) => {
        const { endings, worst } = Statistics.make(receipts)
        assert.strictEqual(worst.length, Math.min(20, receipts.length - endings.interrupted))
        assert.strictEqual(new Set(worst).size, worst.length)
        const longest = receipts.filter(({ served }) => served !== undefined).map(({ duration }) =>
          Duration.toMillis(duration)
        )
        const kept = worst.filter(({ served }) => served !== undefined).map(({ duration }) =>
          Duration.toMillis(duration)
        )
        assert.deepStrictEqual(kept, longest.toSorted((a, b) => b - a).slice(0, kept.length))
      }),
      runs
    )
  })
  it("says how a call ended", () => {
    const refused = { at: Duration.zero, target: { provider: "openai", model: "gpt-4o" }, because: "CircuitOpen" }
    const ending = (told: Parameters<typeof receipt>[0]) => Statistics.endingOf(receipt(told))
    assert.strictEqual(Statistics.endingOf(story), "fallback")
    assert.strictEqual(ending([{ took: 1, outcome: answered }]), "direct")
    assert.strictEqual(ending([{ took: 1, outcome: failed("Overloaded") }]), "failed")
    assert.strictEqual(ending([{ took: 1, outcome: { _tag: "Interrupted" } }]), "interrupted")
    assert.strictEqual(ending([]), "interrupted")
    assert.strictEqual(Statistics.endingOf(new Receipt.Receipt({ ...receipt([]), refusals: [refused] })), "failed")
  })
  it("believes a receipt that says how its call ended", () => {
    const ending = (told: Parameters<typeof receipt>[0], outcome: Receipt.Receipt["outcome"]) =>
      Statistics.endingOf(new Receipt.Receipt({ ...receipt(told), outcome }))
    // In a backoff, before anything was asked, and around an answer.
    assert.strictEqual(ending([{ took: 1, outcome: failed("Overloaded") }], "Interrupted"), "interrupted")
    assert.strictEqual(ending([], "Failed"), "failed")
    assert.strictEqual(ending([{ took: 1, outcome: answered }], "Failed"), "failed")
    assert.strictEqual(Statistics.endingOf(new Receipt.Receipt({ ...receipt([]), outcome: "Answered" })), "direct")
    const late = new Receipt.Receipt({ ...receipt([{ took: 1, outcome: answered }]), outcome: "Failed" })
    assert.strictEqual(Statistics.make([late]).latency, undefined)
  })
  it("adds up what is spent by currency, and counts the attempts without a price", () => {
    const spent = (usage: Usage.Usage | undefined, cost?: readonly [number, string]) => ({
      ...story.attempts[0]!,
      usage,
      cost: cost === undefined ? undefined : new ModelPrices.Cost({ nanos: cost[0], currency: cost[1] })
    })
    const tokens = new Usage.Usage({ inputTokens: 10, outputTokens: 5 })
    const attempts = [
      spent(tokens, [100, "USD"]),
      spent(tokens, [23, "USD"]),
      spent(tokens, [7, "EUR"]),
      spent(tokens),
      spent(undefined)
    ].map((attempt) => new Receipt.Attempt(attempt))
    const made = Statistics.make([new Receipt.Receipt({ ...story, attempts })])
    assert.deepStrictEqual([...made.cost], [["USD", 123], ["EUR", 7]])
    assert.strictEqual(made.unpriced, 1)
    assert.deepStrictEqual([made.targets[0]?.inputTokens, made.targets[0]?.outputTokens], [40, 20])
  })
})

describe("Chart.roundUp", () => {
  it("is not less than the number, and not much more", () => {
    fc.assert(
      fc.property(fc.double({ min: 1, max: 1e15, noNaN: true }), (value) => {
        const rounded = Chart.roundUp(value)
        assert.isAtLeast(rounded, value)
        assert.isBelow(rounded, 1.61 * value)
      }),
      runs
    )
  })
})
