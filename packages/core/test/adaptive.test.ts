import { assert, describe, expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Adaptive from "../src/internal/adaptive.ts"
import { simulate, type World } from "./support/capacity.ts"

const settings = (changes: Partial<Adaptive.Settings> = {}): Adaptive.Settings => ({
  algorithm: "gradient",
  min: 1,
  max: 200,
  tolerance: changes.algorithm === "aimd" ? 2 : 1.25,
  backoff: 0.9,
  ...changes
})

const algorithms = ["gradient", "aimd"] as const

/** Any number that a clock or a provider might come up with. */
const wild = fc.oneof(
  fc.double(),
  fc.integer({ min: -5, max: 1_000_000 }),
  fc.constantFrom(Number.NaN, Infinity, -Infinity, 0, Number.MAX_VALUE, Number.MIN_VALUE)
)
const event = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      _tag: fc.constant("Answered" as const),
      startedAt: fc.oneof(fc.nat(2000), fc.constant(2000)),
      inFlight: fc.nat(40),
      sample: fc.oneof(
        fc.tuple(wild, wild).map(([millis, tokens]) => Adaptive.answered(millis, tokens)),
        fc.tuple(wild, wild).map(([millis, tokens]) => Adaptive.firstOutput(millis, tokens)),
        fc.constant(undefined)
      )
    })
  },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Overloaded" as const), startedAt: fc.nat(2000) }) }
)
const any = fc.record({
  algorithm: fc.constantFrom(...algorithms),
  min: fc.integer({ min: 1, max: 20 }),
  over: fc.nat(200),
  tolerance: fc.double({ min: 1, max: 1e9, noNaN: true }),
  backoff: fc.double({ min: 0, max: 1, minExcluded: true, maxExcluded: true, noNaN: true })
}).map(({ over, ...rest }): Adaptive.Settings => ({ ...rest, max: rest.min + over }))

describe("the adaptive limit", () => {
  it("is a number from min to max, whatever the clock and the provider say", () => {
    fc.assert(
      fc.property(
        any,
        fc.constantFrom("min", "max"),
        fc.array(event, { maxLength: 120, size: "max" }),
        (all, from, events) => {
          let state = Adaptive.initial(from === "min" ? all.min : all.max, 0)
          events.forEach((event, now) => {
            state = Adaptive.step(all, state, event, now)
            assert.isTrue(state.limit >= all.min && state.limit <= all.max, String(state.limit))
            for (const usual of state.typical) assert.isTrue(usual === undefined || Number.isFinite(usual))
          })
        }
      ),
      { numRuns: 10_000 }
    )
  })

  it("stays plain data, and a state is not changed by what comes after it", () => {
    fc.assert(
      fc.property(any, fc.array(event, { minLength: 20, maxLength: 60, size: "max" }), (all, events) => {
        const states = events.reduce<ReadonlyArray<Adaptive.State>>(
          (states, event, now) => [...states, Adaptive.step(all, states.at(-1) as Adaptive.State, event, now)],
          [Adaptive.initial(all.min, 0)]
        )
        const copies = states.map((state) => JSON.stringify(state))
        events.forEach((event, now) => Adaptive.step(all, states[now] as Adaptive.State, event, now))
        assert.deepStrictEqual(states.map((state) => JSON.stringify(state)), copies)
      }),
      { numRuns: 2000 }
    )
  })

  for (const algorithm of algorithms) {
    const rules = settings({ algorithm })
    const answers = (state: Adaptive.State, count: number, inFlight: number, millis: number, now: number) => {
      for (let i = 0; i < count; i++) {
        const sample = Adaptive.answered(millis, 100)
        state = Adaptive.step(rules, state, { _tag: "Answered", startedAt: now, inFlight, sample }, now)
      }
      return state
    }

    it(`${algorithm}: grows at the end of a round in which half of it was used, and not in one less used`, () => {
      const state = Adaptive.initial(20, 0)
      assert.strictEqual(answers(state, 9, 10, 1000, 1).limit, 20)
      expect(answers(state, 10, 10, 1000, 1).limit).toBeGreaterThan(20)
      assert.strictEqual(answers(state, 100, 9, 1000, 1).limit, 20)
    })

    it(`${algorithm}: shrinks at once by an overload, and once for all calls that were under way together`, () => {
      const overloaded = (state: Adaptive.State, startedAt: number, now: number) =>
        Adaptive.step(rules, state, { _tag: "Overloaded", startedAt }, now)
      const once = overloaded(Adaptive.initial(100, 0), 5, 10)
      assert.strictEqual(once.limit, 90)
      assert.strictEqual(overloaded(overloaded(once, 5, 11), 10, 12).limit, 90)
      assert.strictEqual(overloaded(once, 11, 12).limit, 81)
    })

    it(`${algorithm}: shrinks when a round is slower than tolerated, even when little of it is used`, () => {
      const usual = answers(Adaptive.initial(20, 0), 10, 5, 1000, 1)
      assert.strictEqual(usual.limit, 20)
      expect(answers(usual, 10, 5, 3000, 2).limit).toBeLessThan(20)
    })

    it(`${algorithm}: does not count calls begun before the last change`, () => {
      const grown = answers(Adaptive.initial(20, 0), 20, 20, 1000, 5)
      expect(grown.limit).toBeGreaterThan(20)
      assert.strictEqual(answers(grown, 500, 20, 1000, 4).limit, grown.limit)
    })

    it(`${algorithm}: at its minimum takes slowness for the target's own pace, and grows again`, () => {
      const low = settings({ algorithm, min: 4 })
      let state = Adaptive.initial(4, 0)
      for (let now = 1; now < 600; now++) {
        const millis = now < 100 ? 1000 : 5000
        const inFlight = Math.floor(state.limit)
        const event = { _tag: "Answered", startedAt: now, inFlight, sample: Adaptive.answered(millis, 100) } as const
        // In the first part it is not used, so that it stays at its minimum.
        state = Adaptive.step(low, state, now < 100 ? { ...event, inFlight: 1 } : event, now)
      }
      expect(state.limit).toBeGreaterThan(10)
    })

    it(`${algorithm}: takes neither long answers nor short ones for overload`, () => {
      // Four seconds to begin, 20 ms a token: of a short answer, a token takes five times as long as of a long one.
      const sample = (tokens: number) => Adaptive.answered(4000 + 20 * tokens, tokens)
      let state = Adaptive.initial(20, 0)
      let least = 20
      for (let now = 1; now < 5000; now++) {
        const tokens = [50, 200, 1000, 8000, 5][Math.floor(now / 500) % 5] ?? 0
        state = Adaptive.step(
          rules,
          state,
          { _tag: "Answered", startedAt: now, inFlight: 30, sample: sample(tokens) },
          now
        )
        expect(state.limit).toBeGreaterThanOrEqual(least)
        least = state.limit
      }
    })
  }

  it("compares first outputs with first outputs after prompts of like length", () => {
    assert.notStrictEqual(Adaptive.firstOutput(500, 10)?.length, Adaptive.answered(500, 10)?.length)
    assert.notStrictEqual(Adaptive.firstOutput(500, 10)?.length, Adaptive.firstOutput(500, 100_000)?.length)
    assert.deepStrictEqual(Adaptive.firstOutput(500, undefined), Adaptive.firstOutput(500, 0))
  })

  it("has no sample where the tokens are not known, or are no number", () => {
    for (const tokens of [undefined, Number.NaN, -1, Infinity]) assert.isUndefined(Adaptive.answered(1000, tokens))
    assert.isUndefined(Adaptive.answered(Number.NaN, 5))
    assert.isUndefined(Adaptive.firstOutput(Infinity, 5))
  })
})

describe("against a server with a knee in its capacity", () => {
  const knee = 40
  const minutes = (n: number) => n * 60_000
  const world: World = {
    knee: () => knee,
    tokens: (chance) => 50 + Math.floor(chance * 950),
    demand: 300,
    sheds: Infinity,
    noise: 0.15
  }

  for (const algorithm of algorithms) {
    const run = (changes: Partial<World>, seed: number, until = minutes(60)) =>
      simulate(settings({ algorithm }), { ...world, ...changes }, seed, until)

    it(`${algorithm}: comes near the knee from below and stays there`, () => {
      for (const seed of [1, 2, 3]) {
        const { limits } = run({}, seed)
        const settled = limits.filter(({ at }) => at > minutes(40)).map(({ limit }) => limit)
        expect(Math.min(...settled)).toBeGreaterThanOrEqual(knee)
        expect(Math.max(...settled)).toBeLessThanOrEqual(knee * 2.1)
      }
    })

    it(`${algorithm}: is not led astray when calls differ much in pace`, () => {
      const { limits } = run({ noise: 0.6 }, 1, minutes(240))
      const settled = limits.filter(({ at }) => at > minutes(40)).map(({ limit }) => limit)
      expect(Math.min(...settled)).toBeGreaterThanOrEqual(knee * 0.7)
      expect(Math.max(...settled)).toBeLessThanOrEqual(knee * 2.1)
    })

    it(`${algorithm}: follows the capacity down, and up again when it returns`, () => {
      for (const seed of [1, 2, 3]) {
        const { at } = run({ knee: (now) => now > minutes(40) && now < minutes(80) ? 10 : knee }, seed, minutes(140))
        expect(at(minutes(79))).toBeLessThan(at(minutes(39)) * 0.6)
        expect(at(minutes(139))).toBeGreaterThan(knee * 0.7)
      }
    })

    it(`${algorithm}: answers ten times as long, at the same pace, do not shrink it`, () => {
      for (const seed of [1, 2, 3]) {
        const long = (chance: number, now: number) => (50 + Math.floor(chance * 950)) * (now > minutes(40) ? 10 : 1)
        const { limits } = run({ tokens: long }, seed, minutes(120))
        const least = (from: number, to: number) =>
          Math.min(...limits.filter(({ at }) => at >= minutes(from) && at < minutes(to)).map(({ limit }) => limit))
        expect(least(40, 120)).toBeGreaterThanOrEqual(least(30, 40) * 0.8)
      }
    })

    it(`${algorithm}: falls quickly to what a server takes that refuses the rest`, () => {
      const { at } = run({ sheds: 30, knee: () => 1000, demand: 100 }, 1, minutes(10))
      expect(at(minutes(9))).toBeLessThanOrEqual(40)
      expect(at(minutes(9))).toBeGreaterThanOrEqual(20)
    })
  }
})
