import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Breaker from "../src/internal/breaker.ts"
import * as Meter from "../src/internal/meter.ts"
import { call, Log, Model, pause, result, rule, settings } from "./support/circuit.ts"

const runs = { numRuns: 10_000 }

describe("the meters", () => {
  it("B1: count as a log of all calls would", () => {
    fc.assert(
      fc.property(rule, fc.array(fc.tuple(call, pause), { maxLength: 150 }), fc.nat(10_000), (rule, calls, start) => {
        const log = new Log(rule)
        let meter = Meter.fresh(rule)
        let now = start
        for (const [call, wait] of calls) {
          now += wait
          meter = Meter.record(rule, meter, call, now)
          const tripped = Meter.isBad(rule, call) && Meter.isReached(rule, meter)
          assert.strictEqual(tripped, log.see(call, now))
        }
      }),
      runs
    )
  })

  it("B2: an idle gap as long as the window empties it, and nine tenths of it forget nothing", () => {
    const window = (rate: number, minimum: number): Meter.Rule => ({
      _tag: "TimeWindow",
      duration: 1000,
      rate,
      minimum
    })
    fc.assert(
      fc.property(fc.nat(100_000), fc.integer({ min: 1, max: 20 }), (start, count) => {
        const rule = window(1, count + 1)
        const failure = { failed: true, took: 0 }
        let meter = Meter.fresh(rule)
        for (let i = 0; i < count; i++) meter = Meter.record(rule, meter, failure, start)
        assert.isFalse(Meter.isReached(rule, Meter.record(rule, meter, failure, start + 1000)))
        assert.isTrue(Meter.isReached(rule, Meter.record(rule, meter, failure, start + 900)))
      }),
      runs
    )
  })

  it("B1: take no more memory for a million calls than for one", () => {
    const size = (meter: Meter.Meter) => JSON.stringify(meter).length
    for (
      const rule of [
        { _tag: "TimeWindow", duration: 1000, rate: 1, minimum: 1 },
        { _tag: "CountWindow", size: 100, rate: 1, minimum: 1 }
      ] as const
    ) {
      let meter = Meter.fresh(rule)
      for (let i = 0; i < 1_000_000; i++) meter = Meter.record(rule, meter, { failed: i % 3 === 0, took: 0 }, i)
      assert.isBelow(size(meter), size(Meter.fresh(rule)) + 120)
    }
  })

  it("forget a future that a clock set back has never had", () => {
    const rule: Meter.Rule = { _tag: "TimeWindow", duration: 1000, rate: 1, minimum: 2 }
    const failure = { failed: true, took: 0 }
    const future = Meter.record(rule, Meter.fresh(rule), failure, 1e9)
    const back = Meter.record(rule, future, failure, 5000)
    assert.isFalse(Meter.isReached(rule, back))
    assert.isTrue(Meter.isReached(rule, Meter.record(rule, back, failure, 5001)))
    assert.isTrue(Meter.isReached(rule, Meter.record(rule, future, failure, 1e9 - 50)))
  })

  it("keep what they have seen where only thresholds change", () => {
    const window = { _tag: "TimeWindow", duration: 1000, rate: 1, minimum: 5 } as const
    const seen = Meter.record(window, Meter.fresh(window), { failed: true, took: 0 }, 0)
    assert.strictEqual(
      Meter.meterOf({ ...window, minimum: 2 }, [Meter.fresh({ _tag: "Consecutive", failures: 1 }), seen], 0),
      seen
    )
    assert.notStrictEqual(Meter.meterOf({ ...window, duration: 999 }, [seen], 0), seen)
    const slow = { ...window, _tag: "SlowCalls", longerThan: 10 } as const
    assert.deepStrictEqual(Meter.meterOf(slow, [seen], 0), Meter.fresh(slow))
    const slower = Meter.record(slow, Meter.fresh(slow), { failed: false, took: 11 }, 0)
    assert.strictEqual(Meter.meterOf({ ...slow, rate: 0.1 }, [slower], 0), slower)
    assert.notStrictEqual(Meter.meterOf({ ...slow, longerThan: 12 }, [slower], 0), slower)
  })
})

type Event =
  | { readonly _tag: "Ask" | "Isolate" | "Reset" }
  | { readonly _tag: "Wait"; readonly millis: number }
  | { readonly _tag: "End"; readonly which: number; readonly result: Breaker.Result; readonly openFor: number }

const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 8, arbitrary: fc.constant({ _tag: "Ask" as const }) },
  {
    weight: 8,
    arbitrary: fc.record({ _tag: fc.constant("End" as const), which: fc.nat(30), result, openFor: fc.nat(60) })
  },
  { weight: 5, arbitrary: pause.map((millis) => ({ _tag: "Wait" as const, millis })) },
  { weight: 1, arbitrary: fc.constantFrom({ _tag: "Isolate" as const }, { _tag: "Reset" as const }) }
)
const settle = (
  settings: Breaker.Settings,
  state: Breaker.State,
  generation: number,
  result: Breaker.Result,
  now: number,
  openFor: number
): Breaker.State => {
  const after = Breaker.settle(settings, state, generation, result, now, openFor)
  assert(after !== undefined)
  return after
}

/** Plays events, and gives what was said to each call and where it all ended. Every state goes through JSON. */
const play = (settings: Breaker.Settings, events: ReadonlyArray<Event>) => {
  const model = new Model(settings)
  const under: Array<{ readonly id: number; readonly generation: number }> = []
  let state: Breaker.State = Breaker.initial
  let now = 1000
  let id = 0
  for (const event of events) {
    switch (event._tag) {
      case "Wait":
        now += event.millis
        break
      case "Ask": {
        const [answer, after] = Breaker.ask(settings, state, now)
        state = after
        const said = answer._tag === "Admitted"
          ? "in"
          : answer.retryAfter === undefined
          ? answer.state
          : `${answer.state} ${answer.retryAfter}`
        assert.strictEqual(said, model.ask(++id, now))
        if (answer._tag === "Admitted") under.push({ id, generation: answer.generation })
        break
      }
      case "End": {
        const [call] = under.splice(event.which % Math.max(1, under.length), 1)
        if (call === undefined) break
        state = settle(settings, state, call.generation, event.result, now, event.openFor)
        model.end(call.id, event.result, now, event.openFor)
        break
      }
      case "Isolate":
        state = Breaker.isolate(state)
        model.isolate()
        break
      case "Reset":
        state = Breaker.reset(state)
        model.reset()
    }
    assert.strictEqual(state._tag.toLowerCase(), model.phase.toLowerCase())
    assert.strictEqual(Breaker.openingsOf(state), model.openings)
    if (state._tag === "HalfOpen") {
      assert.isAtLeast(state.out, 0)
      assert.isAtMost(state.out + state.succeeded, settings.probes)
      assert.strictEqual(state.out, model.known.size)
    }
    state = JSON.parse(JSON.stringify(state)) as Breaker.State
  }
  return { state, under, now }
}

describe("the circuit", () => {
  it("B1 B2 B3: does what the model does, over any sequence of calls, ends, waits and hands on the switch", () => {
    fc.assert(
      fc.property(settings, fc.array(event, { maxLength: 120 }), (settings, events) => {
        const { state } = play(settings, events)
        assert.isAtLeast(state.generation, 0)
      }),
      runs
    )
  })

  it("B3: never sticks: whatever has happened, once all calls have ended and time has passed a probe gets through", () => {
    fc.assert(
      fc.property(settings, fc.array(event, { maxLength: 80 }), (settings, events) => {
        const { now, state, under } = play(settings, events.filter(({ _tag }) => _tag !== "Isolate"))
        let after = state
        for (const { generation } of under) {
          after = settle(settings, after, generation, Breaker.neither, now, 60)
        }
        let closing = now + 60
        for (let i = 0; i < settings.probes; i++) {
          const [answer, next] = Breaker.ask(settings, after, closing)
          assert(answer._tag === "Admitted")
          after = settle(
            settings,
            next,
            answer.generation,
            { _tag: "Ended", call: { failed: false, took: 0 } },
            closing++,
            60
          )
        }
        assert.strictEqual(after._tag, "Closed")
      }),
      runs
    )
  })

  it("B2: a result of an older generation changes nothing, to the reference", () => {
    fc.assert(
      fc.property(settings, fc.array(event, { maxLength: 60 }), result, fc.nat(), (settings, events, result, ago) => {
        const { now, state } = play(settings, events)
        assert.strictEqual(settle(settings, state, state.generation - 1 - ago, result, now, 10), state)
      }),
      runs
    )
  })

  it("B6: one that rejects nothing changes its phases all the same, and gives its permits to the same calls", () => {
    fc.assert(
      fc.property(settings, fc.array(event, { maxLength: 80 }), (settings, events) => {
        let real: Breaker.State = Breaker.initial
        let shown: Breaker.State = Breaker.initial
        let now = 0
        const under: Array<number> = []
        for (const event of events) {
          if (event._tag === "Wait") now += event.millis
          if (event._tag === "Isolate") [real, shown] = [Breaker.isolate(real), Breaker.isolate(shown)]
          if (event._tag === "Reset") [real, shown] = [Breaker.reset(real), Breaker.reset(shown)]
          if (event._tag === "Ask") {
            const [answer, after] = Breaker.ask(settings, real, now)
            const [never, next] = Breaker.ask({ ...settings, enforced: false }, shown, now)
            assert(never._tag === "Admitted")
            if (answer._tag === "Admitted") assert.strictEqual(never.generation, answer.generation)
            under.push(never.generation)
            real = after
            shown = next
          }
          if (event._tag === "End") {
            const [generation] = under.splice(event.which % Math.max(1, under.length), 1)
            if (generation === undefined) continue
            // A call that would not have been let through has no result.
            if (generation >= 0) real = settle(settings, real, generation, event.result, now, event.openFor)
            shown = settle(settings, shown, generation, event.result, now, event.openFor)
          }
          assert.deepStrictEqual(shown, real)
        }
      }),
      runs
    )
  })

  it("B3: asked for fewer probes than have succeeded, it closes; it does not stick", () => {
    const settings = { rules: [{ _tag: "Consecutive", failures: 1 }], probes: 3, lease: 1000, enforced: true } as const
    const half: Breaker.State = { _tag: "HalfOpen", generation: 2, openings: 1, out: 0, succeeded: 2, at: 0 }
    const [answer, after] = Breaker.ask({ ...settings, probes: 2 }, half, 1)
    assert.strictEqual(answer._tag, "Admitted")
    assert.deepStrictEqual(after, { _tag: "Closed", generation: 3, meters: [] })
  })

  it("a clock set back does not keep it open for as long as the clock was set back", () => {
    const settings = { rules: [{ _tag: "Consecutive", failures: 1 }], probes: 1, lease: 1000, enforced: true } as const
    const open: Breaker.State = { _tag: "Open", generation: 1, openings: 1, at: 1_000_000, until: 1_000_030 }
    const [answer, after] = Breaker.ask(settings, open, 500)
    assert.deepStrictEqual(answer, { _tag: "Rejected", state: "open", retryAfter: 30 })
    assert.strictEqual(Breaker.ask(settings, after, 529)[0]._tag, "Rejected")
    assert.strictEqual(Breaker.ask(settings, after, 530)[0]._tag, "Admitted")
  })
})
