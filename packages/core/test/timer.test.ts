/** Timers that stand in line, over a system that is moved by hand. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { Alarm, Timers } from "../src/internal/timer.ts"

/** A system's timers, and how many of them keep the process alive. */
const system = () => {
  let now = 0
  const running = new Set<{ readonly due: number; readonly task: () => void; counts: boolean }>()
  const timers = new Timers(() => now, (task, millis) => {
    const timer = { due: now + millis, task, counts: true }
    running.add(timer)
    return { timer, ref: () => (timer.counts = true), unref: () => (timer.counts = false) }
  }, (handle) => running.delete(Reflect.get(handle, "timer")))
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

class Task extends Alarm {
  readonly ring: () => void

  constructor(task: () => void) {
    super()
    this.ring = task
  }
}

/** Rings after so many milliseconds; gives what cancels it. */
const after = (timers: Timers, millis: number, task: () => void) => {
  const alarm = new Task(task)
  timers.set(alarm, millis)
  return () => alarm.cancel()
}

describe("timers in line", () => {
  it("each rings once, at its millisecond and not before", () => {
    const { advance, timers } = system()
    const rung: Array<string> = []
    after(timers, 10, () => rung.push("a"))
    advance(4)
    after(timers, 10, () => rung.push("b"))
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
    const cancel = after(timers, 10, () => rung++)
    assert.strictEqual(alive(), 1)
    cancel()
    cancel()
    advance(5)
    assert.strictEqual(alive(), 0)
    after(timers, 10, () => rung++)
    assert.deepStrictEqual([alive(), started()], [1, 1])
    advance(20)
    assert.deepStrictEqual([rung, timers.size, started()], [1, 0, 0])
  })

  it("thousands of one length need one timer of the system's", () => {
    const { advance, started, timers } = system()
    let rung = 0
    const cancels = Array.from({ length: 5000 }, () => after(timers, 1000, () => rung++))
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
    after(timers, 1, () => {
      throw new Error("boom")
    })
    after(timers, 1, () => rung++)
    assert.throws(() => advance(1), "boom")
    assert.strictEqual(rung, 1)
  })

  it("a task may set the next timer and cancel others", () => {
    const { advance, timers } = system()
    const rung: Array<string> = []
    after(timers, 5, () => {
      rung.push("a")
      cancel()
      after(timers, 5, () => rung.push("c"))
    })
    const cancel = after(timers, 5, () => rung.push("b"))
    advance(9)
    assert.deepStrictEqual(rung, ["a"])
    advance(1)
    assert.deepStrictEqual(rung, ["a", "c"])
  })

  it("of lengths that are used once, no more than a hundred timers of the system's run on", () => {
    const { advance, started, timers } = system()
    for (let millis = 101; millis <= 1000; millis++) after(timers, millis, () => {})()
    advance(5)
    assert.deepStrictEqual([timers.size, started()], [100, 100])
  })

  it("with many lengths in use, one that sets itself anew while it rings is not lost", () => {
    const { advance, timers } = system()
    for (let millis = 1000; millis < 1200; millis++) after(timers, millis, () => {})
    const rung: Array<number> = []
    const again = (n: number) => {
      rung.push(n)
      if (n < 3) after(timers, 5, () => again(n + 1))
    }
    after(timers, 5, () => again(1))
    advance(15)
    assert.deepStrictEqual(rung, [1, 2, 3])
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
            cancels.push(after(timers, step.set, () => rung.push(id)))
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
        if (waiting > 0) return assert.isAbove(alive(), 0)
        advance(5)
        assert.strictEqual(alive(), 0)
      }),
      { numRuns: 3000 }
    )
  })
})
