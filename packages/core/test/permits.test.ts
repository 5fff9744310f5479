import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { Permits, Place } from "../src/internal/bulkhead.ts"
import { same, sameList } from "./support/same.ts"

class Caller extends Place {
  readonly id: number
  constructor(id: number) {
    super()
    this.id = id
  }
}

type Step =
  | { readonly _tag: "come" }
  /** One of those inside leaves. */
  | { readonly _tag: "leave"; readonly which: number }
  /** One of those who ever came leaves the line, wherever it is by now. */
  | { readonly _tag: "withdraw"; readonly which: number }
  | { readonly _tag: "resize"; readonly limit: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ _tag: fc.constant("come" as const) }) },
  { weight: 3, arbitrary: fc.record({ _tag: fc.constant("leave" as const), which: fc.nat(1000) }) },
  { weight: 3, arbitrary: fc.record({ _tag: fc.constant("withdraw" as const), which: fc.nat(1000) }) },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("resize" as const), limit: fc.integer({ min: 1, max: 6 }) }) }
)

/** The permits with a model beside them: two plain lists of numbers. */
const play = (
  limit: number,
  queue: number,
  steps: ReadonlyArray<Step>,
  check: (both: ReturnType<typeof start>) => void
) => {
  const both = start(limit, queue)
  for (const step of steps) {
    both.take(step)
    check(both)
  }
  return both
}

const start = (first: number, queue: number) => {
  const permits = new Permits<Caller>(first)
  const callers: Array<Caller> = []
  const model = { limit: first, inside: [] as Array<number>, line: [] as Array<number> }
  const admit = (): ReadonlyArray<number> => {
    const admitted = model.line.splice(0, Math.max(0, model.limit - model.inside.length))
    model.inside.push(...admitted)
    return admitted
  }
  /** Who was told to go in, by the permits and by the model. */
  const told: { permits: Array<number>; model: Array<number> } = { permits: [], model: [] }
  const tell = (next: Caller | undefined) => {
    if (next !== undefined) told.permits.push(next.id)
    return next !== undefined
  }
  const take = (step: Step): void => {
    switch (step._tag) {
      case "come": {
        const caller = new Caller(callers.length)
        callers.push(caller)
        const free = model.inside.length < model.limit
        if (free) model.inside.push(caller.id)
        else if (model.line.length < queue) model.line.push(caller.id)
        same(permits.enter(), free)
        if (!free && permits.waiting < queue) permits.join(caller)
        break
      }
      case "leave": {
        if (model.inside.length === 0) break
        model.inside.splice(step.which % model.inside.length, 1)
        told.model.push(...admit())
        tell(permits.leave())
        break
      }
      case "withdraw": {
        const caller = callers[step.which % Math.max(1, callers.length)]
        if (caller === undefined) break
        const at = model.line.indexOf(caller.id)
        if (at >= 0) model.line.splice(at, 1)
        same(permits.withdraw(caller), at >= 0)
        break
      }
      case "resize": {
        model.limit = step.limit
        permits.limit = step.limit
        told.model.push(...admit())
        while (tell(permits.admit()));
      }
    }
  }
  return { permits, model, told, callers, take }
}

const runs = { numRuns: 10_000 }
const story = fc.tuple(fc.integer({ min: 1, max: 6 }), fc.nat(6), fc.array(step, { maxLength: 60, size: "max" }))

describe("the permits of a bulkhead", () => {
  it("does what a simple model does, whatever happens in whatever order", () => {
    fc.assert(
      fc.property(story, ([limit, queue, steps]) => {
        const { permits } = play(limit, queue, steps, ({ permits, model, told }) => {
          same(permits.inFlight, model.inside.length)
          same(permits.waiting, model.line.length)
          sameList(told.permits, told.model)
        })
        assert.isAtLeast(Math.min(permits.inFlight, permits.waiting), 0)
      }),
      runs
    )
  })

  it("never has more inside than its limit, but for those who were there before it was lowered", () => {
    fc.assert(
      fc.property(story, ([limit, queue, steps]) => {
        let before = 0
        let right = true
        play(limit, queue, steps, ({ permits: { inFlight, limit, waiting } }) => {
          right &&= inFlight >= 0 && inFlight <= Math.max(limit, before) && waiting >= 0 && waiting <= queue
          before = inFlight
        })
        assert.isTrue(right)
      }),
      runs
    )
  })

  it("keeps nobody waiting while there is a permit", () => {
    fc.assert(
      fc.property(story, ([limit, queue, steps]) => {
        let right = true
        play(limit, queue, steps, ({ permits: { inFlight, limit, waiting } }) => {
          right &&= waiting === 0 || inFlight >= limit
        })
        assert.isTrue(right)
      }),
      runs
    )
  })

  it("lets in whoever came first, and is empty when all have left", () => {
    fc.assert(
      fc.property(story, ([limit, queue, steps]) => {
        const { permits, told } = play(limit, queue, steps, () => undefined)
        assert.deepStrictEqual(told.permits, told.permits.toSorted((a, b) => a - b))
        while (permits.inFlight > 0) permits.leave()
        assert.strictEqual(permits.waiting, 0)
        assert.isTrue(permits.enter())
      }),
      runs
    )
  })

  it("touches no more of a line of 20,000 than of one of 20 when one leaves it, from wherever", () => {
    /** The most that any step has read and written of who stands in line, while half of them leave and the others go in. */
    const touched = (length: number) => {
      let touches = 0
      let most = 0
      const permits = new Permits<Caller>(1)
      permits.enter()
      const line = Array.from({ length }, (_, id) => counted(new Caller(id), () => touches++))
      const step = (take: () => unknown) => {
        touches = 0
        take()
        most = Math.max(most, touches)
      }
      for (const caller of line) step(() => permits.join(caller))
      for (let i = length - 1; i >= 0; i -= 2) step(() => permits.withdraw(line[i] as Caller))
      assert.strictEqual(permits.waiting, length / 2)
      while (permits.waiting > 0) step(() => permits.leave())
      return most
    }
    assert.strictEqual(touched(20_000), touched(20))
    assert.isAtMost(touched(20), 20)
  })
})

/** A place of which each look at it, and each change of it, is counted. */
const counted = (caller: Caller, count: () => void): Caller =>
  new Proxy(caller, {
    get: (target, key) => {
      count()
      return Reflect.get(target, key)
    },
    set: (target, key, value) => {
      count()
      return Reflect.set(target, key, value)
    }
  })
