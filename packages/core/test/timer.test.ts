/** Timers that stand in line, over a system that is moved by hand. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { Timers } from "../src/internal/timer.ts"

/** A system's timers, and how many of them keep the process alive. */
const system = () => {
  let now = 0
  const running = new Set<{ readonly due: number; readonly task: () => void; counts: boolean }>()
  const timers = new Timers(() => now, (task, millis) => {
    const timer = { due: now + millis, task, counts: true }
    running.add(timer)
    return { ref: () => (timer.counts = true), unref: () => (timer.counts = false) }
  })
  return {
    timers,
    started: () => running.size,
    alive: () => [...running].filter(({ counts }) => counts).length,
    advance: (millis: number) => {
      const end = now + millis
      for (;;) {
        const next = [...running].filter(({ due }) => due <= end).toSorted((a, b) => a.due - b.due)[0]
        if (next === undefined) break
        running.delete(next)
        now = next.due
        next.task()
      }
      now = end
    }
  }
}

describe("timers in line", () => {
  it("each rings once, at its millisecond and not before", () => {
    const { advance, timers } = system()
    const rung: Array<string> = []
    timers.after(10, () => rung.push("a"))
    advance(4)
    timers.after(10, () => rung.push("b"))
    advance(5)
    assert.deepStrictEqual(rung, [])
    advance(1)
    assert.deepStrictEqual(rung, ["a"])
    advance(3)
    assert.deepStrictEqual(rung, ["a"])
    advance(1)
    assert.deepStrictEqual(rung, ["a", "b"])
    advance(100)
    assert.deepStrictEqual(rung, ["a", "b"])
  })

  it("one that is cancelled does not ring, and does not keep the process alive", () => {
    const { advance, alive, started, timers } = system()
    let rung = 0
    const cancel = timers.after(10, () => rung++)
    assert.strictEqual(alive(), 1)
    cancel()
    cancel()
    assert.strictEqual(alive(), 0)
    timers.after(10, () => rung++)
    assert.deepStrictEqual([alive(), started()], [1, 1])
    advance(20)
    assert.deepStrictEqual([rung, timers.size, started()], [1, 0, 0])
  })

  it("thousands of one length need one timer of the system's", () => {
    const { advance, started, timers } = system()
    let rung = 0
    const cancels = Array.from({ length: 5000 }, () => timers.after(1000, () => rung++))
    assert.strictEqual(started(), 1)
    cancels.forEach((cancel, i) => {
      if (i % 2 === 0) cancel()
    })
    advance(1000)
    assert.strictEqual(rung, 2500)
  })

  it("what throws does not keep the others from ringing", () => {
    const { advance, timers } = system()
    let rung = 0
    timers.after(1, () => {
      throw new Error("boom")
    })
    timers.after(1, () => rung++)
    assert.throws(() => advance(1), "boom")
    assert.strictEqual(rung, 1)
  })

  it("a task may set the next timer and cancel others", () => {
    const { advance, timers } = system()
    const rung: Array<string> = []
    timers.after(5, () => {
      rung.push("a")
      cancel()
      timers.after(5, () => rung.push("c"))
    })
    const cancel = timers.after(5, () => rung.push("b"))
    advance(9)
    assert.deepStrictEqual(rung, ["a"])
    advance(1)
    assert.deepStrictEqual(rung, ["a", "c"])
  })

  it("rings in time although the clock is set back meanwhile, and so do those that come after", () => {
    let back = 0
    let now = 0
    const running: Array<{ readonly due: number; readonly task: () => void }> = []
    const timers = new Timers(() => now - back, (task, millis) => {
      running.push({ due: now + millis, task })
      return {}
    }, () => now)
    const rung: Array<number> = []
    for (const at of [0, 20, 40, 60]) {
      now = at
      if (at === 40) back = 3_600_000
      timers.after(100, () => rung.push(now))
    }
    for (now = 61; now < 300; now++) {
      for (const timer of running.filter(({ due }) => due <= now)) {
        running.splice(running.indexOf(timer), 1)
        timer.task()
      }
    }
    assert.deepStrictEqual(rung, [100, 120, 140, 160])
  })

  it("any of them, set and cancelled in any order, ring as a plain list of times would", () => {
    const step = fc.oneof(
      fc.record({ set: fc.integer({ min: 0, max: 5 }) }),
      fc.record({ cancel: fc.nat(20) }),
      fc.record({ advance: fc.integer({ min: 0, max: 4 }) })
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { advance, alive, timers } = system()
        let now = 0
        const rung: Array<number> = []
        const model: Array<{ readonly due: number; cancelled: boolean }> = []
        const cancels: Array<() => void> = []
        for (const step of steps) {
          if ("set" in step) {
            const id = model.length
            model.push({ due: now + step.set, cancelled: false })
            cancels.push(timers.after(step.set, () => rung.push(id)))
          } else if ("cancel" in step) {
            cancels[step.cancel]?.()
            const entry = model[step.cancel]
            if (entry !== undefined && !rung.includes(step.cancel)) entry.cancelled = true
          } else {
            advance(step.advance)
            now += step.advance
            const due = model.flatMap((entry, id) => !entry.cancelled && entry.due <= now ? [id] : [])
            assert.sameMembers(rung, due)
          }
        }
        const waiting = model.filter((entry, id) => !entry.cancelled && !rung.includes(id)).length
        assert.isTrue(waiting > 0 ? alive() > 0 : alive() === 0)
      }),
      { numRuns: 3000 }
    )
  })
})
