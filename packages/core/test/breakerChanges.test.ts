/** A circuit whose options change on the way, and which may be passed as a last resort. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Breaker from "../src/internal/breaker.ts"
import { Model, pause, result, rule, settings } from "./support/circuit.ts"
import { same } from "./support/same.ts"

const runs = { numRuns: 10_000 }

type Event =
  | { readonly _tag: "Ask"; readonly lastResort: boolean }
  | { readonly _tag: "Wait"; readonly millis: number }
  | { readonly _tag: "End"; readonly which: number; readonly result: Breaker.Result; readonly openFor: number }
  | { readonly _tag: "Options"; readonly settings: Breaker.Settings }
  | { readonly _tag: "Isolate" | "Reset" }

/** Rules that trip soon, so that all phases are come to; some of them look at the same as those before. */
const quick = fc.record({
  rules: fc.array(
    fc.oneof(
      fc.record({ _tag: fc.constant("Consecutive" as const), failures: fc.integer({ min: 1, max: 3 }) }),
      fc.record({
        _tag: fc.constant("CountWindow" as const),
        size: fc.constantFrom(3, 5),
        rate: fc.constantFrom(0.2, 0.5, 1),
        minimum: fc.integer({ min: 1, max: 3 })
      }),
      rule
    ),
    { minLength: 1, maxLength: 3 }
  ),
  probes: fc.integer({ min: 1, max: 5 }),
  lease: fc.constantFrom(5, 50, 1_000_000),
  enforced: fc.constant(true)
})
const any = fc.oneof(quick, settings)

const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ _tag: fc.constant("Ask" as const), lastResort: fc.boolean() }) },
  {
    weight: 8,
    arbitrary: fc.record({ _tag: fc.constant("End" as const), which: fc.nat(30), result, openFor: fc.nat(60) })
  },
  { weight: 4, arbitrary: pause.map((millis) => ({ _tag: "Wait" as const, millis })) },
  { weight: 3, arbitrary: any.map((settings) => ({ _tag: "Options" as const, settings })) },
  { weight: 1, arbitrary: fc.constantFrom({ _tag: "Isolate" as const }, { _tag: "Reset" as const }) }
)
const story = fc.tuple(any, fc.array(event, { maxLength: 60, size: "max" }))

/** Plays a story beside the model. */
const play = (first: Breaker.Settings, events: ReadonlyArray<Event>) => {
  const model = new Model(first)
  let settings = first
  const under: Array<{ readonly id: number; readonly generation: number }> = []
  let state: Breaker.State = Breaker.initial
  let now = 1000
  let id = 0
  for (const event of events) {
    switch (event._tag) {
      case "Wait":
        now += event.millis
        break
      case "Options":
        settings = event.settings
        model.settings = event.settings
        break
      case "Ask": {
        const [answer, after] = Breaker.ask(settings, state, now, event.lastResort)
        state = after
        const said = answer._tag === "Admitted"
          ? "in"
          : answer.retryAfter === undefined
          ? answer.state
          : `${answer.state} ${answer.retryAfter}`
        same(said, model.ask(++id, now, event.lastResort))
        if (answer._tag !== "Admitted") break
        under.push({ id, generation: answer.generation })
        if (after._tag === "HalfOpen" && after.out + after.succeeded > settings.probes) assert.fail("too many probes")
        break
      }
      case "End": {
        const [call] = under.splice(event.which % Math.max(1, under.length), 1)
        if (call === undefined) break
        const after = Breaker.settle(settings, state, call.generation, event.result, now, event.openFor)
        assert(after !== undefined)
        state = after
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
    const probes = state._tag === "HalfOpen" ? `, ${state.out} out, ${state.succeeded} succeeded` : ""
    const itsProbes = model.phase === "halfOpen" ? `, ${model.known.size} out, ${model.succeeded} succeeded` : ""
    same(
      `${state._tag} ${Breaker.openingsOf(state)}${probes}`.toLowerCase(),
      `${model.phase} ${model.openings}${itsProbes}`.toLowerCase()
    )
    // Every state can be written down.
    if (event._tag === "Options") state = JSON.parse(JSON.stringify(state)) as Breaker.State
  }
  return { state, settings, under, now }
}

describe("a circuit whose options change", () => {
  it("B1 B3: does what the model does, over any sequence of calls, ends, waits, last resorts and new options", () => {
    fc.assert(
      fc.property(story, ([first, events]) => {
        assert.isAtLeast(play(first, events).state.generation, 0)
      }),
      runs
    )
  })

  it("B3 F3: never sticks, and a last resort passes an open circuit and no other that is shut", () => {
    fc.assert(
      fc.property(story, any, ([first, events], last) => {
        const { now, settings, state, under } = play(first, events.filter(({ _tag }) => _tag !== "Isolate"))
        const [plain] = Breaker.ask(settings, state, now)
        const [answer, asked] = Breaker.ask(settings, state, now, true)
        if (state._tag === "Open") {
          assert.strictEqual(answer._tag, "Admitted")
          assert(asked._tag === "HalfOpen" && asked.out === 1 && asked.openings === state.openings)
        } else same(JSON.stringify(answer), JSON.stringify(plain))
        // When all have ended and time has passed, as many answers as there are probes close it.
        let after = state
        for (const { generation } of under) {
          after = Breaker.settle(settings, after, generation, Breaker.neither, now, 60) ?? after
        }
        let later = now + 60
        for (let i = 0; i < last.probes; i++) {
          const [answer, asked] = Breaker.ask(last, after, later)
          assert(answer._tag === "Admitted")
          const call = { failed: false, took: 0 }
          after = Breaker.settle(last, asked, answer.generation, { _tag: "Ended", call }, later++, 60) ?? asked
        }
        same(after._tag, "Closed")
      }),
      runs
    )
  })
})
