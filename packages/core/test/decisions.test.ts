/** What a hedge decides and what an adaptive limit learns, beside models that keep everything. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Adaptive from "../src/internal/adaptive.ts"
import * as Hedge from "../src/internal/hedge.ts"
import { same } from "./support/same.ts"

const runs = { numRuns: 10_000 }

describe("F6: a race", () => {
  /** Every try that there ever was, and whether it still runs; none is added once the race is shut. */
  class Model {
    readonly tries: Array<"runs" | "over"> = ["runs"]
    private shut = false
    private readonly most: number
    constructor(most: number) {
      this.most = most
    }
    get running(): ReadonlyArray<number> {
      return this.tries.flatMap((one, number) => one === "runs" ? [number] : [])
    }
    private rest(): Hedge.Next {
      return this.running.length > 0 ? "wait" : "fail"
    }
    private start(): Hedge.Next {
      if (this.shut || this.tries.length >= this.most) return this.rest()
      this.tries.push("runs")
      return "start"
    }
    take(event: Hedge.Event): Hedge.Next {
      if (event._tag === "Waited") return this.start()
      if (event._tag === "Refused") {
        this.tries.pop()
        this.shut = true
        return this.rest()
      }
      this.tries[event.try] = "over"
      if (event.verdict === "another") return this.start()
      if (event.verdict === "wait") return this.rest()
      this.shut = true
      return "fail"
    }
  }

  const step = fc.oneof(
    { weight: 3, arbitrary: fc.constant("waited" as const) },
    { weight: 2, arbitrary: fc.constant("refused" as const) },
    {
      weight: 4,
      arbitrary: fc.record({
        which: fc.nat(1000),
        verdict: fc.constantFrom<Hedge.Verdict>("another", "another", "wait", "end")
      })
    }
  )

  it("does what the model does, whatever passes, fails or is refused in whatever order", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.array(step, { maxLength: 30, size: "max" }),
        (most, steps) => {
          const model = new Model(most)
          let race = Hedge.race(most)
          let last: Hedge.Next = "start"
          for (const step of steps) {
            // A race that is over hears of nothing more, and only a try that is about to start is refused.
            if (last === "fail") break
            if (step === "refused" && (last !== "start" || race.started === 1)) continue
            const running = [...race.running]
            const event: Hedge.Event = step === "waited"
              ? { _tag: "Waited" }
              : step === "refused"
              ? { _tag: "Refused" }
              : { _tag: "Failed", try: running[step.which % running.length] ?? 0, verdict: step.verdict }
            const [next, after] = Hedge.step(race, event)
            same(next, model.take(event))
            same([...after.running].toSorted((a, b) => a - b).join(), model.running.join())
            same(after.started, model.tries.length)
            race = after
            last = next
          }
          assert.isAtMost(race.started, most)
        }
      ),
      runs
    )
  })
})

describe("an adaptive limit", () => {
  type Ended = { readonly at: number; readonly inFlight: number; readonly log: number | undefined }

  /** All calls since the last change of the limit; answers of one length alone. */
  class Model {
    limit: number
    private since = 0
    private lowered = -1
    private calls: Array<Ended> = []
    /** How long an answer usually takes, as a logarithm. */
    usual: number | undefined
    private readonly settings: Adaptive.Settings
    constructor(settings: Adaptive.Settings) {
      this.settings = settings
      this.limit = settings.min
    }
    private move(to: number, now: number): void {
      const limit = Math.max(this.settings.min, Math.min(this.settings.max, to))
      if (limit < this.limit) this.lowered = now
      if (Math.floor(limit) !== Math.floor(this.limit)) this.since = now
      this.limit = limit
      this.calls = []
    }
    overloaded(startedAt: number, now: number): void {
      if (startedAt > this.lowered) this.move(this.limit * this.settings.backoff, now)
    }
    answered(call: Ended, now: number): void {
      if (call.at < this.since) return
      this.calls.push(call)
      const peak = Math.max(0, ...this.calls.map(({ inFlight }) => inFlight))
      // A round is as many calls as were under way together.
      if (this.calls.length < Math.min(100, Math.max(10, peak))) return
      const { algorithm, backoff, min, tolerance } = this.settings
      const logs = this.calls.flatMap(({ log }) => log ?? [])
      const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length
      let slower = 0
      if (logs.length > 0) {
        if (this.usual === undefined) this.usual = mean
        else {
          slower = mean - this.usual
          if (slower < 0 || peak <= min) this.usual += slower / 2
        }
      }
      const isUsed = peak * 2 >= Math.floor(this.limit)
      const isSlow = slower > Math.log(tolerance)
      if (algorithm === "aimd") return this.move(isSlow ? this.limit * backoff : this.limit + (isUsed ? 1 : 0), now)
      const times = isSlow ? Math.max(0.5, tolerance / Math.exp(slower)) : 1
      this.move(this.limit * times + (isUsed ? Math.sqrt(this.limit) : 0), now)
    }
  }

  const settings = fc.record({
    algorithm: fc.constantFrom<Adaptive.Settings["algorithm"]>("aimd", "gradient"),
    min: fc.integer({ min: 1, max: 8 }),
    over: fc.nat(60),
    tolerance: fc.constantFrom(1.1, 1.25, 2),
    backoff: fc.constantFrom(0.5, 0.9)
  }).map(({ over, ...rest }): Adaptive.Settings => ({ ...rest, max: rest.min + over }))

  const step = fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({
        _tag: fc.constant("answers" as const),
        count: fc.constantFrom(1, 9, 10, 30),
        ago: fc.nat(4),
        inFlight: fc.nat(40),
        // Quarters, so that their sums are exact.
        log: fc.option(fc.integer({ min: -4, max: 12 }).map((quarters) => quarters / 4), { nil: undefined })
      })
    },
    { weight: 2, arbitrary: fc.record({ _tag: fc.constant("overloaded" as const), ago: fc.nat(4) }) }
  )

  const near = (ours: number | undefined, models: number | undefined): boolean =>
    ours === undefined || models === undefined
      ? ours === models
      : Math.abs(ours - models) <= 1e-6 * Math.abs(models) + 1e-9

  it("is what the model says, whoever answers, late or soon, or has too much to do", () => {
    fc.assert(
      fc.property(settings, fc.array(step, { maxLength: 25, size: "max" }), (settings, steps) => {
        const model = new Model(settings)
        let state = Adaptive.initial(settings.min, 0)
        let right = true
        let now = 1
        for (const step of steps) {
          now += 2
          const startedAt = Math.max(1, now - step.ago)
          if (step._tag === "overloaded") {
            state = Adaptive.step(settings, state, { _tag: "Overloaded", startedAt }, now)
            model.overloaded(startedAt, now)
          } else {
            const { count, inFlight, log } = step
            for (let i = 0; i < count; i++) {
              const sample = log === undefined ? undefined : { length: 3, log }
              state = Adaptive.step(settings, state, { _tag: "Answered", startedAt, inFlight, sample }, now)
              model.answered({ at: startedAt, inFlight, log }, now)
              right &&= near(state.limit, model.limit)
            }
          }
          right &&= near(state.limit, model.limit) && near(state.typical[3], model.usual)
        }
        assert.isTrue(right)
      }),
      runs
    )
  })
})
