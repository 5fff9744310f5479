import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import * as fc from "effect/FastCheck"
import { Disposition, LlmError } from "perdure"
import * as Hedge from "../src/internal/hedge.ts"
import { plain } from "./support/errors.ts"
import { openAi } from "./support/provider.ts"

describe("F6: a race, whatever happens in it", () => {
  it("never has more tries than allowed, never starts one after a refusal, and ends when none is left", () => {
    const event = fc.oneof(
      fc.constant("Waited" as const),
      fc.constant("Refused" as const),
      fc.record({ pick: fc.nat(), verdict: fc.constantFrom("another" as const, "wait" as const, "end" as const) })
    )
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.array(event, { maxLength: 40 }), (most, events) => {
        let race = Hedge.race(most)
        let refused = false
        let last: Hedge.Next = "wait"
        for (const event of events) {
          if (last === "fail") break
          // The budget is asked only for a try that is about to start.
          if (event === "Refused" && last !== "start") continue
          const running = [...race.running]
          const [next, after] = event === "Waited"
            ? Hedge.step(race, { _tag: "Waited" })
            : event === "Refused"
            ? Hedge.step(race, { _tag: "Refused" })
            : Hedge.step(race, {
              _tag: "Failed",
              try: running[event.pick % running.length] ?? 0,
              verdict: event.verdict
            })
          if (event === "Refused") refused = true
          assert.isTrue(!(refused && next === "start"))
          assert.isAtMost(after.started, most)
          assert.isTrue([...after.running].every((number) => number < after.started))
          if (next === "wait") assert.isAbove(after.running.size, 0)
          if (typeof event === "object" && event.verdict === "end") assert.strictEqual(next, "fail")
          race = after
          last = next
        }
      }),
      { numRuns: 10_000 }
    )
  })
})

describe("a percentile of latencies", () => {
  const of = (values: ReadonlyArray<number>) => values.reduce(Hedge.observe, Hedge.noSamples)

  it("is a sample that so many percent are not above, of the last 128", () => {
    const percent = fc.double({ min: 0, max: 100, minExcluded: true, noNaN: true })
    fc.assert(
      fc.property(fc.array(fc.nat(5000), { minLength: 1, maxLength: 300, size: "max" }), percent, (values, percent) => {
        const kept = values.slice(-Hedge.kept)
        const found = Hedge.percentile(of(values), percent, 1) ?? Number.NaN
        assert.include(kept, found)
        assert.isAtLeast(kept.filter((one) => one <= found).length, kept.length * percent / 100 - 1e-9)
        assert.isBelow(kept.filter((one) => one < found).length, kept.length * percent / 100 + 1e-9)
      }),
      { numRuns: 5000 }
    )
  })

  it("needs so many samples", () => {
    assert.isUndefined(Hedge.percentile(of([1, 2, 3]), 95, 4))
    assert.strictEqual(Hedge.percentile(of([1, 2, 3]), 95, 3), 3)
    assert.isUndefined(Hedge.percentile(Hedge.noSamples, 50, 0))
  })
})

describe("the latencies of keys", () => {
  it("are kept of the 1000 keys that were given one last, of each kind", () => {
    const latencies = new Hedge.Latencies()
    const keys = Array.from({ length: Hedge.mostKeys }, (_, i) => String(i))
    for (const key of [...keys, "0"]) {
      latencies.observe(key, "generate", 1)
      latencies.observe(key, "open", 2)
    }
    latencies.observe("another", "generate", 3)
    const of = (kind: Hedge.Kind) => [...keys, "another"].filter((key) => latencies.of(key, kind) !== Hedge.noSamples)
    assert.deepStrictEqual(of("generate"), [...keys.filter((key) => key !== "1"), "another"])
    assert.deepStrictEqual(of("open"), keys)
    assert.deepStrictEqual(latencies.of("0", "generate").values, [1, 1])
    assert.deepStrictEqual(latencies.of("0", "open").values, [2, 2])
  })
})

describe("F6: what a failure means for a race", () => {
  const verdicts = (failure: LlmError.LlmError) =>
    [false, true].map((elsewhere) => Hedge.verdictOf(Disposition.classify, failure, elsewhere))
  const timedOut = new LlmError.TimedOut({ ...openAi, phase: "attempt", limit: Duration.seconds(1) })

  it("another try at once where it is worth it, and not at a target that has asked to be left alone", () => {
    // At the same target, elsewhere.
    assert.deepStrictEqual(verdicts(new LlmError.ProviderUnavailable(openAi)), ["another", "another"])
    assert.deepStrictEqual(verdicts(timedOut), ["another", "another"])
    assert.deepStrictEqual(verdicts(new LlmError.RateLimited(openAi)), ["wait", "another"])
    assert.deepStrictEqual(verdicts(new LlmError.Overloaded(openAi)), ["wait", "another"])
    assert.deepStrictEqual(verdicts(plain.ProviderUnavailable), ["wait", "another"])
    assert.deepStrictEqual(verdicts(plain.Unauthenticated), ["wait", "another"])
    assert.deepStrictEqual(verdicts(LlmError.update(timedOut, { spent: true })), ["wait", "another"])
    assert.deepStrictEqual(verdicts(plain.ContextLengthExceeded), ["wait", "wait"])
    assert.deepStrictEqual(verdicts(plain.InvalidRequest), ["end", "end"])
    assert.deepStrictEqual(verdicts(LlmError.update(timedOut, { idempotent: false })), ["end", "end"])
  })
})
