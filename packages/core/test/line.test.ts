/** The line of those who wait for a quota, beside a plain list of them. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { Line, Waiter } from "../src/internal/line.ts"
import * as Quota from "../src/internal/quota.ts"
import { same, sameList } from "./support/same.ts"

/** A waiter that keeps count of how often it was woken. */
class Caller extends Waiter {
  readonly id: number
  woken = 0
  constructor(id: number, cost: Quota.Cost, latest: number) {
    super(cost, latest)
    this.id = id
  }
  override wake(): void {
    this.woken++
    super.wake()
  }
}

const cost = (tokens: number): Quota.Cost => ({ requests: 1, tokens, inputTokens: tokens, outputTokens: 0 })

const settingsOf = (requests: number, tokens: number): Quota.Settings => {
  const limits = [
    Quota.rate("requests", "requests", requests, 100, requests),
    Quota.rate("tokens", "tokens", tokens, 100, tokens)
  ]
  return Quota.settings(limits.filter((limit) => limit !== undefined), "never")
}

type Step =
  | { readonly _tag: "come"; readonly tokens: number; readonly patience: number }
  /** The first in line asks for its permit. */
  | { readonly _tag: "turn" }
  /** One of those who ever came gives up, wherever it is by now. */
  | { readonly _tag: "leave"; readonly which: number }
  /** One of those with a permit ends, and gives back what it did not use. */
  | { readonly _tag: "end"; readonly which: number; readonly used: number }
  | { readonly _tag: "wait"; readonly millis: number }
  | { readonly _tag: "block"; readonly millis: number }
  | { readonly _tag: "options"; readonly settings: Quota.Settings }

const settings = fc.record({ requests: fc.integer({ min: 1, max: 4 }), tokens: fc.integer({ min: 5, max: 20 }) }).map(
  ({ requests, tokens }) => settingsOf(requests, tokens)
)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      _tag: fc.constant("come" as const),
      tokens: fc.nat(12),
      patience: fc.constantFrom(1, 40, 150, 400, Infinity)
    })
  },
  { weight: 5, arbitrary: fc.record({ _tag: fc.constant("turn" as const) }) },
  { weight: 3, arbitrary: fc.record({ _tag: fc.constant("leave" as const), which: fc.nat(1000) }) },
  {
    weight: 2,
    arbitrary: fc.record({ _tag: fc.constant("end" as const), which: fc.nat(1000), used: fc.nat(15) })
  },
  { weight: 4, arbitrary: fc.record({ _tag: fc.constant("wait" as const), millis: fc.constantFrom(1, 10, 50, 200) }) },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("block" as const), millis: fc.constantFrom(10, 200) }) },
  { weight: 1, arbitrary: settings.map((settings) => ({ _tag: "options" as const, settings })) }
)
const story = fc.tuple(settings, fc.array(step, { maxLength: 50, size: "max" }))
const runs = { numRuns: 10_000 }

/** Who would have its turn when, and for whom that would be too late, asked of everybody anew. */
const turns = (line: ReadonlyArray<Caller>, state: Quota.State, now: number) => {
  let last: Quota.Projection = { state, at: now, short: "", never: undefined }
  const kept: Array<Caller> = []
  const sent: Array<Caller> = []
  for (const caller of line) {
    const its = Quota.project(last, caller.cost, now)
    if (its.never !== undefined || its.at >= caller.latest) sent.push(caller)
    else {
      kept.push(caller)
      last = its
    }
  }
  return { kept, sent, last }
}

/** Plays a story as a quota does, with a list of those in line beside it. */
const play = (first: Quota.Settings, steps: ReadonlyArray<Step>) => {
  const line = new Line("all")
  const all: Array<Caller> = []
  let model: ReadonlyArray<Caller> = []
  let held: Array<Quota.Permit> = []
  let current = first
  let state = Quota.fit(current, undefined, 0)
  let now = 0
  const served: Array<number> = []

  const give = (permit: Quota.Permit) => {
    line.count(permit.cost, 1)
    held.push(permit)
  }
  /** What the line has become: the same as the list, in both directions, and as many. */
  const look = (what: string) => {
    const ids = model.map(({ id }) => id)
    const forth: Array<number> = []
    const back: Array<number> = []
    let end: Waiter | undefined
    for (let one = line.head; one !== undefined; one = one.next) {
      forth.push((one as Caller).id)
      end = one
    }
    for (let one = end; one !== undefined; one = one.previous) back.unshift((one as Caller).id)
    sameList(forth, ids, what)
    sameList(back, ids, what)
    same(line.size, ids.length, what)
    const soonest = Math.min(...model.map(({ latest }) => latest))
    if (line.earliest > soonest) assert.fail(`${what}: one has to go at ${soonest}, and nobody looks before then`)
    for (const unit of Quota.units) {
      same(line.underWay[unit], held.reduce((sum, { cost }) => sum + cost[unit], 0), what)
    }
  }
  /** Takes some out of the list, and sees to it that whoever is the first then has been told. */
  const out = (gone: ReadonlyArray<Caller>, take: () => void, what: string) => {
    const before = model[0]
    const woken = new Map(all.map((caller) => [caller, caller.woken]))
    model = model.filter((caller) => !gone.includes(caller))
    take()
    const [after] = model
    if (after !== before && after !== undefined && after.woken === woken.get(after)) {
      assert.fail(`${what}: the first in line does not know it`)
    }
    for (const caller of gone) same(caller.waits, false, what)
  }
  const review = (what: string) => {
    const { kept, last, sent } = turns(model, state, now)
    let all: Quota.Projection | undefined
    out(sent, () => {
      all = line.review(state, now)
    }, what)
    same(model.length, kept.length, what)
    same(all?.at ?? now, last.at, what)
    for (const caller of sent) if (caller.verdict === undefined || caller.woken === 0) assert.fail("told nothing")
    for (const caller of model) if (caller.verdict !== undefined) assert.fail("told to go, and still there")
  }

  for (const step of steps) {
    switch (step._tag) {
      case "come": {
        const [taken, after] = Quota.take(current, state, cost(step.tokens), now, line.head !== undefined)
        state = after
        if (taken._tag === "Granted") {
          if (model.length > 0) assert.fail("overtook those in line")
          give(taken)
        }
        if (taken._tag !== "Wait") break
        const caller = new Caller(all.length, taken.cost, now + step.patience)
        const turn = line.foresee(taken.state, taken.cost, now)
        // Looking ahead may have sent others away, who are told why.
        for (const { verdict, waits } of model) if (!waits && verdict === undefined) assert.fail("sent away in silence")
        model = model.filter(({ waits }) => waits)
        if (turn.never !== undefined || turn.at >= caller.latest) break
        all.push(caller)
        line.push(caller, turn)
        model = [...model, caller]
        break
      }
      case "turn": {
        const [caller] = model
        if (caller === undefined) break
        same((line.head as Caller).id, caller.id)
        const [taken, after] = Quota.take(current, state, caller.cost, now, false)
        state = after
        if (taken._tag === "Granted") {
          out([caller], () => line.remove(caller), "a turn")
          served.push(caller.id)
          give(taken)
        } else if (taken._tag === "Never" || taken.at >= caller.latest) {
          out([caller], () => line.leave(caller), "a turn too late")
        } else if (now >= line.earliest) review("a look at the line")
        break
      }
      case "leave": {
        const caller = all[step.which % Math.max(1, all.length)]
        if (caller === undefined || !caller.waits) {
          if (caller !== undefined) line.leave(caller)
          break
        }
        out([caller], () => line.leave(caller), "leaving")
        // Those behind come sooner than was foreseen.
        const { last, sent } = turns(model, state, now)
        if (sent.length === 0) same(line.foresee(state, cost(1), now).at, Quota.project(last, cost(1), now).at)
        break
      }
      case "end": {
        const [permit] = held.splice(step.which % Math.max(1, held.length), 1)
        if (permit === undefined) break
        line.count(permit.cost, -1)
        state = Quota.settle(state, permit, { requests: 1, input: step.used, output: 0 }, now)
        line.forget()
        line.head?.wake()
        break
      }
      case "wait":
        now += step.millis
        break
      case "block":
        state = Quota.block(current, state, cost(1), now + step.millis)
        line.forget()
        review("a block")
        break
      case "options":
        current = step.settings
        state = Quota.fit(current, state, now)
        line.forget()
        review("new options")
    }
    look(step._tag)
  }
  return { line, model, served, all, state, now }
}

describe("the line of a quota", () => {
  it("Q2: is a list, whatever happens in whatever order: in both directions, and whoever is first knows it", () => {
    fc.assert(
      fc.property(story, ([first, steps]) => {
        const { line, model } = play(first, steps)
        assert.strictEqual(line.size, model.length)
      }),
      runs
    )
  })

  it("Q2: serves in the order in which they came, and is empty when all have been served or have left", () => {
    fc.assert(
      fc.property(story, ([first, steps]) => {
        const { all, line, served } = play(first, steps)
        sameList(served, served.toSorted((a, b) => a - b))
        for (const caller of all) line.leave(caller)
        assert.deepStrictEqual([line.size, line.head, line.earliest], [0, undefined, Infinity])
      }),
      runs
    )
  })

  it("R4: keeps nobody who is looked at past its time, and promises a newcomer what everybody asked anew leaves it", () => {
    fc.assert(
      fc.property(story, fc.nat(12), ([first, steps], tokens) => {
        const { line, model, now, state } = play(first, steps)
        line.forget()
        const { kept, last } = turns(model, state, now)
        const turn = line.foresee(state, cost(tokens), now)
        same(turn.at, Quota.project(last, cost(tokens), now).at)
        assert.strictEqual(line.size, kept.length)
        for (const { latest } of kept) if (latest <= now) assert.fail("waits past its time")
        line.review(state, now)
        same(line.size, kept.length)
      }),
      runs
    )
  })
})
