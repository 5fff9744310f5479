import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { cost } from "../src/internal/cost.ts"
import { withoutVersion } from "../src/internal/modelNames.ts"
import * as Spend from "../src/internal/spend.ts"
import { Memory } from "../src/internal/spendMemory.ts"

const runs = { numRuns: 10_000 }

const limit = (span: Spend.Span, amount: number): Spend.Limit => ({ window: String(span), span, amount })

const event = fc.oneof(
  fc.record({ _tag: fc.constant("call" as const), estimate: fc.integer({ min: 0, max: 60 }) }),
  fc.record({ _tag: fc.constant("end" as const), which: fc.nat(), actual: fc.option(fc.integer({ min: 0, max: 90 })) }),
  fc.record({ _tag: fc.constant("wait" as const), millis: fc.integer({ min: 0, max: 700 }) })
)

describe("what is spent", () => {
  it("in every window, is what its calls have cost and may yet cost: over the limit by no more than estimates were short", () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), fc.integer({ min: 0, max: 200 }), (events, amount) => {
        const settings = Spend.settings([limit(500, amount), limit("total", 4 * amount)])
        let state: Spend.State | undefined
        let now = 0
        const calls: Array<{ permit: Spend.Permit; at: number; cost: number; over: boolean }> = []
        for (const event of events) {
          if (event._tag === "wait") now += event.millis
          if (event._tag === "call") {
            const [taken, after] = Spend.take(settings, state, event.estimate, now)
            state = JSON.parse(JSON.stringify(after)) as Spend.State
            const sum = (since: number) =>
              calls.filter(({ at }) => at >= since).reduce((all, { cost }) => all + cost, 0)
            const fits = event.estimate === 0 ||
              (sum(Math.floor(now / 500) * 500) + event.estimate <= amount && sum(0) + event.estimate <= 4 * amount)
            assert.strictEqual(taken._tag, fits ? "Granted" : "Refused")
            if (taken._tag === "Granted") {
              calls.push({ permit: taken.permit, at: now, cost: event.estimate, over: false })
            } else if (taken.at !== undefined) {
              assert.isAbove(taken.at, now)
              assert.strictEqual(taken.at % 500, 0)
            }
          }
          if (event._tag === "end") {
            const open = calls.filter(({ over }) => !over)
            const call = open[event.which % Math.max(1, open.length)]
            if (call === undefined) continue
            call.over = true
            if (event.actual === null) continue
            state = Spend.settle(settings, state, call.permit, event.actual, now)
            call.cost = event.actual
          }
        }
        const [window, total] = Spend.fit(settings, state, now).buckets
        const mine = calls.filter(({ at }) => at >= Math.floor(now / 500) * 500)
        const all = (of: typeof calls) => of.reduce((sum, { cost }) => sum + cost, 0)
        assert.strictEqual(window?.spent, all(mine))
        assert.strictEqual(total?.spent, all(calls))
        const short = (of: typeof calls) =>
          of.reduce((sum, { cost, permit }) => sum + Math.max(0, cost - permit.estimate), 0)
        assert.isAtMost(window?.spent ?? 0, amount + short(mine))
        assert.isAtMost(total?.spent ?? 0, 4 * amount + short(calls))
      }),
      runs
    )
  })

  it("a month is the calendar's, in UTC, and other windows end on the clock", () => {
    const at = Date.UTC(2024, 1, 29, 23, 59, 59, 999)
    assert.deepStrictEqual(Spend.windowOf("month", at), { since: Date.UTC(2024, 1, 1), end: Date.UTC(2024, 2, 1) })
    assert.deepStrictEqual(Spend.windowOf("month", at + 1), { since: Date.UTC(2024, 2, 1), end: Date.UTC(2024, 3, 1) })
    assert.deepStrictEqual(Spend.windowOf(86_400_000, at), { since: Date.UTC(2024, 1, 29), end: at + 1 })
  })

  it("new settings keep what is spent of windows that stay, and calls under way owe nothing to new ones", () => {
    const before = Spend.settings([limit(1000, 10)])
    const after = Spend.settings([limit(1000, 20), limit("total", 20)])
    const [taken, state] = Spend.take(before, undefined, 7, 10)
    assert(taken._tag === "Granted")
    const next = Spend.fit(after, state, 20)
    assert.deepStrictEqual(next.buckets.map(({ spent }) => spent), [7, 0])
    assert.deepStrictEqual(Spend.settle(after, next, taken.permit, 9, 30).buckets.map(({ spent }) => spent), [9, 0])
  })

  it("a store forgets keys whose windows are over, and no others", () => {
    const memory = new Memory()
    const settings = Spend.settings([limit(1000, 10)])
    for (let i = 0; i < 1000; i++) memory.step(`${i}`, (state) => Spend.take(settings, state, 1, 0))
    memory.step("new", (state) => Spend.take(settings, state, 1, 999))
    assert.strictEqual(memory.size, 1001)
    for (let i = 0; i < 1002; i++) memory.step(`later ${i}`, (state) => Spend.take(settings, state, 1, 1000))
    assert.strictEqual(memory.size, 1002)
  })
})

describe("what a usage costs", () => {
  const price = { input: 2.5, cachedInput: 1.25, cacheWrite: 3, output: 10, reasoning: 20 }

  it("is each part at its own price, and all input and output at theirs where they have none", () => {
    const usage = {
      inputTokens: 1000,
      cachedInputTokens: 400,
      cacheWriteTokens: 100,
      outputTokens: 50,
      reasoningTokens: 20
    }
    assert.strictEqual(cost(usage, price), (500 * 2.5 + 400 * 1.25 + 100 * 3 + 30 * 10 + 20 * 20) * 1000)
    assert.strictEqual(cost(usage, { input: 2.5, output: 10 }), (1000 * 2.5 + 50 * 10) * 1000)
  })

  it("is not known without a price or without a count, and then not zero", () => {
    assert.isUndefined(cost({ inputTokens: 1, outputTokens: 1 }, undefined))
    assert.isUndefined(cost({ inputTokens: 1 }, price))
    assert.isUndefined(cost({ outputTokens: 1 }, price))
    assert.isUndefined(cost(undefined, price))
    assert.strictEqual(cost({ inputTokens: 0, outputTokens: 0 }, price), 0)
  })

  it("is that of the highest tier it is above, at its border not yet", () => {
    const tiered = { ...price, tiers: [{ above: 500, input: 9, output: 9 }, { above: 100, input: 5, output: 5 }] }
    const of = (inputTokens: number) => cost({ inputTokens, outputTokens: 0 }, tiered)
    assert.deepStrictEqual([of(100), of(101), of(500), of(501)], [250_000, 505_000, 2_500_000, 4_509_000])
  })

  it("counts parts that are more than the whole beside it", () => {
    assert.strictEqual(cost({ inputTokens: 10, cachedInputTokens: 100, outputTokens: 0 }, price), 150_000)
  })

  it("is a whole number that never shrinks with the output, whatever the price", () => {
    const rate = fc.double({ min: 0, max: 1e6, noNaN: true })
    fc.assert(
      fc.property(rate, rate, fc.nat(), fc.nat(), fc.nat(1e6), (input, output, inputTokens, outputTokens, more) => {
        const less = cost({ inputTokens, outputTokens }, { input, output }) ?? -1
        assert.isTrue(Number.isSafeInteger(less) && less >= 0)
        assert.isAtLeast(cost({ inputTokens, outputTokens: outputTokens + more }, { input, output }) ?? -1, less)
      }),
      runs
    )
  })
})

describe("a model's name", () => {
  for (
    const [model, name] of [
      ["gpt-4o-2024-08-06", "gpt-4o"],
      ["claude-sonnet-4-20250514", "claude-sonnet-4"],
      ["claude-sonnet-4@20250514", "claude-sonnet-4"],
      ["anthropic.claude-3-5-sonnet-20241022-v2:0", "anthropic.claude-3-5-sonnet"],
      ["gemini-2.0-flash-001", "gemini-2.0-flash"],
      ["mistral-large-latest", "mistral-large"],
      ["gpt-4-0613", "gpt-4"]
    ] as const
  ) it(`${model} is also listed as ${name}`, () => assert.include(withoutVersion(model), name))

  for (const model of ["gpt-4o-mini", "claude-opus-4-1", "gpt-4o-audio-preview", "o3", "", "-", "llama-3.1-405b"]) {
    it(`${model === "" ? "none" : model} has no version to leave out`, () =>
      assert.deepStrictEqual(withoutVersion(model), []))
  }
})
