import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Health from "../src/internal/health.ts"

const events = ["answered", "failed", "failedForGood", "nothing"] as const

type Step =
  | { readonly _tag: "wait"; readonly millis: number }
  /** One is asked, whatever its standing. */
  | { readonly _tag: "ask" }
  /** One of those under way ends. */
  | { readonly _tag: "end"; readonly which: number; readonly event: Health.Event; readonly atLeast: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ _tag: fc.constant("wait" as const), millis: fc.integer({ min: 0, max: 60 }) }) },
  { weight: 3, arbitrary: fc.record({ _tag: fc.constant("ask" as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      _tag: fc.constant("end" as const),
      which: fc.nat(1000),
      event: fc.constantFrom(...events),
      atLeast: fc.constantFrom(0, 0, 0, 10, 70)
    })
  }
)
const benchedFor = 30
const story = fc.tuple(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 60, size: "max" }))
const runs = { numRuns: 10_000 }

interface Call {
  readonly ticket: Health.Ticket
}

/** A model that keeps the calls whose end still says something, where the machine keeps a number. */
class Model {
  readonly after: number
  /** The failures in a row. */
  row = 0
  bench: number | undefined
  valid = new Set<Call>()

  constructor(after: number) {
    this.after = after
  }

  standing(now: number): Health.Standing {
    if (this.bench === undefined) return "in"
    return now < this.bench ? "out" : "due"
  }

  /** Whether the call is a probe. */
  ask(call: Call, now: number): boolean {
    const probe = this.standing(now) === "due"
    if (probe) {
      this.valid.clear()
      this.bench = now + benchedFor
    }
    this.valid.add(call)
    return probe
  }

  end(call: Call, event: Health.Event, now: number, atLeast: number): void {
    if (!this.valid.has(call)) return
    if (event === "answered") {
      this.row = 0
      if (this.bench !== undefined) this.valid.clear()
      this.bench = undefined
    } else if (event === "nothing") {
      if (call.ticket.probe && this.bench !== undefined && this.bench > now) this.bench = now
    } else {
      this.row += 1
      if (event === "failedForGood" || this.row >= this.after || this.bench !== undefined) {
        this.valid.clear()
        this.bench = now + Math.max(benchedFor, atLeast)
      }
    }
  }
}

interface World {
  readonly health: Health.Health
  readonly model: Model
  readonly now: number
  readonly underWay: ReadonlyArray<Call>
}

/** Plays a story, and looks at the world after each step; whether it was right after all of them. */
const play = (
  [after, steps]: readonly [number, ReadonlyArray<Step>],
  see: (world: World) => boolean = () => true
): World & { readonly right: boolean } => {
  const settings: Health.Settings = { after, benchedFor }
  const model = new Model(after)
  const underWay: Array<Call> = []
  let health = Health.healthy
  let now = 1_000
  let right = true
  for (const step of steps) {
    if (step._tag === "wait") now += step.millis
    else if (step._tag === "ask") {
      const [ticket, asked] = Health.ask(settings, health, now)
      health = asked
      const call: Call = { ticket }
      right &&= model.ask(call, now) === ticket.probe
      underWay.push(call)
    } else {
      const [call] = underWay.splice(step.which % Math.max(1, underWay.length), 1)
      if (call === undefined) continue
      health = Health.settle(settings, health, call.ticket, step.event, now, step.atLeast)
      model.end(call, step.event, now, step.atLeast)
    }
    right &&= see({ health, model, now, underWay })
  }
  return { health, model, now, underWay, right }
}

describe("the health of one that is asked", { timeout: 20_000 }, () => {
  it("is what a simple model says, whatever happens in whatever order", () => {
    fc.assert(
      fc.property(story, (story) => {
        const { right } = play(
          story,
          ({ health, model, now }) =>
            Health.standing(health, now) === model.standing(now) && health.until === model.bench &&
            health.failures === Math.min(model.row, model.after)
        )
        assert.isTrue(right)
      }),
      runs
    )
  })

  it("lets one probe through at a time, and the next one when that has ended or has taken too long", () => {
    fc.assert(
      fc.property(story, (story) => {
        let last: { readonly call: Call; readonly at: number } | undefined
        const seen = new Set<Call>()
        const { right } = play(story, ({ now, underWay }) => {
          if (last !== undefined && !underWay.includes(last.call)) last = undefined
          const probe = underWay.find((call) => !seen.has(call) && call.ticket.probe)
          for (const call of underWay) seen.add(call)
          if (probe === undefined) return true
          const since = last === undefined ? Infinity : now - last.at
          last = { call: probe, at: now }
          return since >= benchedFor
        })
        assert.isTrue(right)
      }),
      runs
    )
  })

  it("never sticks: it is due at the latest when its bench has passed, and one answer brings it back", () => {
    fc.assert(
      fc.property(story, (story) => {
        const [after] = story
        const settings: Health.Settings = { after, benchedFor }
        const { health, now } = play(story)
        // 70 is the longest that a provider says.
        const later = now + 70
        assert.notStrictEqual(Health.standing(health, later), "out")
        const [ticket, asked] = Health.ask(settings, health, later)
        const well = Health.settle(settings, asked, ticket, "answered", later)
        assert.strictEqual(Health.standing(well, later), "in")
        assert.strictEqual(well.failures, 0)
      }),
      runs
    )
  })

  it("counts between zero and its limit, and is benched at the limit", () => {
    fc.assert(
      fc.property(story, (story) => {
        const { right } = play(
          story,
          ({ health: { failures, until }, model: { after } }) =>
            failures >= 0 && failures <= after && (failures < after || until !== undefined)
        )
        assert.isTrue(right)
      }),
      runs
    )
  })

  it("is the same after it was written down and read again", () => {
    fc.assert(fc.property(story, (story) => {
      const { health } = play(story)
      assert.deepStrictEqual({ until: undefined, ...JSON.parse(JSON.stringify(health)) }, health)
    }))
  })
})

describe("the health of one that is asked, to the millisecond", () => {
  const settings: Health.Settings = { after: 1, benchedFor }
  const benched = (atLeast = 0) => {
    const [ticket, asked] = Health.ask(settings, Health.healthy, 0)
    return Health.settle(settings, asked, ticket, "failed", 0, atLeast)
  }

  it("is out until the end of the bench, and due at it", () => {
    assert.strictEqual(Health.standing(benched(), 29), "out")
    assert.strictEqual(Health.standing(benched(), 30), "due")
    assert.strictEqual(Health.standing(benched(100), 99), "out")
    assert.strictEqual(Health.standing(benched(100), 100), "due")
  })

  it("a probe that says nothing is given back at once; one that hangs, after as long as the bench", () => {
    const [ticket, probed] = Health.ask(settings, benched(), 30)
    assert.isTrue(ticket.probe)
    assert.strictEqual(Health.standing(probed, 59), "out")
    assert.strictEqual(Health.standing(probed, 60), "due")
    assert.strictEqual(Health.standing(Health.settle(settings, probed, ticket, "nothing", 31), 31), "due")
  })

  it("a call that began before the bench changes nothing after it", () => {
    const [early, first] = Health.ask(settings, Health.healthy, 0)
    const [other, second] = Health.ask(settings, first, 0)
    const out = Health.settle(settings, second, other, "failed", 0)
    assert.strictEqual(Health.settle(settings, out, early, "answered", 5), out)
    assert.strictEqual(Health.settle(settings, out, early, "failed", 5), out)
  })
})

/** What was seen: how long a call took, whether with an answer, and how long after the one before it ended. */
const seen = fc.record({
  took: fc.integer({ min: 0, max: 90_000 }),
  answered: fc.boolean(),
  later: fc.oneof(fc.integer({ min: 0, max: 20_000 }), fc.constantFrom(59_999, 60_000))
})

describe("how long it usually takes", { timeout: 20_000 }, () => {
  it("lies between the fastest and the slowest that counted, and is forgotten a minute after the last", () => {
    fc.assert(
      fc.property(fc.array(seen, { maxLength: 40, size: "max" }), (all) => {
        let usual: Health.Usual | undefined
        let now = 0
        let counted: Array<number> = []
        let last = 0
        const right = all.every(({ answered, later, took }) => {
          now += later
          if (now - last >= Health.forgetAfter) counted = []
          const before = Health.usualOf(usual, now)
          const known = counted.length > 0
          if (answered || (before !== undefined && took > before)) {
            counted.push(took)
            last = now
          }
          usual = Health.learned(usual, took, answered, now)
          const after = Health.usualOf(usual, now) ?? NaN
          const between = after >= Math.min(...counted) - 1e-6 && after <= Math.max(...counted) + 1e-6
          return (before !== undefined) === known && between === counted.length > 0
        })
        assert.isTrue(right)
      }),
      runs
    )
  })

  it("moves by an eighth of the way to each answer, and comes near a pace that stays", () => {
    const first = Health.learned(undefined, 800, true, 0)
    assert.strictEqual(Health.learned(first, 1600, true, 10)?.millis, 900)
    let usual = first
    for (let i = 0; i < 40; i++) usual = Health.learned(usual, 100, true, i)
    assert.approximately(usual?.millis ?? 0, 100, 5)
  })

  it("to fail fast is not to be fast, to fail slowly is to be slow", () => {
    assert.isUndefined(Health.learned(undefined, 5, false, 0))
    const known = Health.learned(undefined, 800, true, 0)
    assert.strictEqual(Health.learned(known, 5, false, 1), known)
    assert.strictEqual(Health.learned(known, 800, false, 1), known)
    assert.strictEqual(Health.learned(known, 1600, false, 1)?.millis, 900)
  })

  it("is known 59,999 ms after the last answer and not 60,000 after", () => {
    const known = Health.learned(undefined, 800, true, 5)
    assert.strictEqual(Health.usualOf(known, 60_004), 800)
    assert.isUndefined(Health.usualOf(known, 60_005))
  })
})
