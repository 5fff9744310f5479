import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Backoff from "../src/internal/backoff.ts"

const runs = { numRuns: 5000 }

const base = fc.double({ min: 1e-6, max: 1e7, noNaN: true })
const factor = fc.double({ min: 1, max: 1e6, noNaN: true })
const retryNumber = fc.integer({ min: 1, max: 1_000_000 })
const cap = fc.oneof(fc.double({ min: 1e-6, max: 1e9, noNaN: true }), fc.constant(Backoff.longest))
const jitter = fc.constantFrom<Backoff.Jitter>("none", "full", "equal", "decorrelated")
/** Chance in [0, 1), with its ends well represented. */
const u = fc.oneof(
  fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  fc.constantFrom(0, Number.EPSILON, 0.5, 1 - Number.EPSILON / 2)
)
/** A range as a policy comes by it. */
const range = fc.record({ base, factor, n: retryNumber, cap, jitter, previous: fc.nat(Backoff.longest) }).map((
  all
) => ({
  ...all,
  range: Backoff.spread(
    all.jitter,
    Backoff.exponential(all.base, all.factor, all.n, all.cap),
    all.base,
    all.previous,
    all.cap
  )
}))
const left = fc.oneof(
  fc.integer({ min: -1000, max: 1e9 }),
  fc.double({ min: 0, max: 1e6, noNaN: true }),
  fc.constant(Infinity)
)
const hint = fc.oneof(fc.nat(1e8), fc.double({ min: 0, max: 1e8, noNaN: true }))

const millisOf = (wait: Backoff.Wait): number => wait._tag === "Wait" ? wait.millis : Number.NaN

describe("exponential", () => {
  const table = [
    { args: [2000, 2, 1, 30_000], delay: 2000 },
    { args: [2000, 2, 2, 30_000], delay: 4000 },
    { args: [2000, 2, 4, 30_000], delay: 16_000 },
    { args: [2000, 2, 5, 30_000], delay: 30_000 },
    { args: [500, 1, 1000, 30_000], delay: 500 },
    { args: [100, 1.5, 3, 30_000], delay: 225 },
    { args: [60_000, 2, 1, 30_000], delay: 30_000 },
    { args: [2000, 2, 1100, Infinity], delay: Backoff.longest }
  ] as const
  for (const { args: [base, factor, n, cap], delay } of table) {
    it(`retry ${n} from ${base} ms, factor ${factor}, cap ${cap} ms, waits ${delay} ms`, () => {
      assert.strictEqual(Backoff.exponential(base, factor, n, cap), delay)
    })
  }

  it("R2: stays at the cap where the power overflows, at retry 1,100 and beyond", () => {
    assert.strictEqual(2 ** 1099, Infinity)
    fc.assert(
      fc.property(base, fc.double({ min: 2, max: 1e6, noNaN: true }), fc.integer({ min: 1100 }), cap, (b, f, n, c) => {
        assert.strictEqual(Backoff.exponential(b, f, n, c), c)
      }),
      runs
    )
  })

  it("R2: is never above the cap, never negative and always a number", () => {
    fc.assert(
      fc.property(base, factor, retryNumber, cap, (b, f, n, c) => {
        const delay = Backoff.exponential(b, f, n, c)
        assert.isTrue(delay > 0 && delay <= c)
      }),
      runs
    )
  })

  it("never shrinks from one retry to the next", () => {
    fc.assert(
      fc.property(base, factor, fc.integer({ min: 1, max: 2000 }), cap, (b, f, n, c) => {
        assert.isAtMost(Backoff.exponential(b, f, n, c), Backoff.exponential(b, f, n + 1, c))
      }),
      runs
    )
  })
})

describe("spread", () => {
  it("full is anything below the delay, equal its upper half, none the delay itself", () => {
    assert.deepStrictEqual(Backoff.spread("full", 8000, 500, 0, 8000), { floor: 0, width: 8000 })
    assert.deepStrictEqual(Backoff.spread("equal", 8000, 500, 0, 8000), { floor: 4000, width: 4000 })
    assert.deepStrictEqual(Backoff.spread("none", 8000, 500, 0, 8000), { floor: 8000, width: 0 })
  })

  it("decorrelated reaches from the base to three times the wait before, or to the cap", () => {
    assert.deepStrictEqual(Backoff.spread("decorrelated", 0, 500, 500, 8000), { floor: 500, width: 1000 })
    assert.deepStrictEqual(Backoff.spread("decorrelated", 0, 500, 2000, 8000), { floor: 500, width: 5500 })
    assert.deepStrictEqual(Backoff.spread("decorrelated", 0, 500, 7000, 8000), { floor: 500, width: 7500 })
    // After a failure of a class with a shorter base there is still spread.
    assert.deepStrictEqual(Backoff.spread("decorrelated", 0, 500, 10, 8000), { floor: 500, width: 1000 })
    assert.deepStrictEqual(Backoff.spread("decorrelated", 0, 9000, 9000, 8000), { floor: 8000, width: 0 })
  })

  it("R2: its upper end is never above the cap and its lower end never below zero", () => {
    fc.assert(
      fc.property(range, ({ cap, range }) => {
        assert.isAtLeast(range.floor, 0)
        assert.isAtLeast(range.width, 0)
        assert.isAtMost(range.floor + range.width, cap * (1 + Number.EPSILON))
      }),
      runs
    )
  })

  it("R2: jitter survives at the cap: the spread there is half of it or more", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("full" as const, "equal" as const),
        fc.integer({ min: 1000, max: 1e9 }),
        (kind, cap) => {
          const { width } = Backoff.spread(kind, Backoff.exponential(2000, 2, 1100, cap), 2000, cap, cap)
          assert.isAtLeast(width, cap / 2)
        }
      ),
      runs
    )
  })

  it("R2: decorrelated jitter does not run away in a thousand retries, and does not collapse", () => {
    fc.assert(
      fc.property(fc.array(u, { minLength: 1000, maxLength: 1000 }), (chances) => {
        let previous = 500
        for (const chance of chances) {
          const spread = Backoff.spread("decorrelated", 500, 500, previous, 8000)
          const millis = millisOf(Backoff.draw(spread, chance, undefined, Infinity, Infinity))
          assert.isTrue(millis >= 500 && millis <= 8000)
          assert.isTrue(millis <= Math.max(500, previous * 3))
          assert.isTrue(spread.width > 0)
          previous = millis
        }
      }),
      { numRuns: 50 }
    )
  })
})

describe("draw without a hint", () => {
  it("R2: waits a whole number of milliseconds, never above the cap", () => {
    fc.assert(
      fc.property(range, u, ({ cap, range }, u) => {
        const millis = millisOf(Backoff.draw(range, u, undefined, Infinity, Infinity))
        assert.isTrue(Number.isSafeInteger(millis) && millis >= 0 && millis <= cap, String(millis))
      }),
      runs
    )
  })

  it("R4: starts no wait that would end when the time is up or later", () => {
    fc.assert(
      fc.property(range, u, left, ({ range }, u, left) => {
        const wait = Backoff.draw(range, u, undefined, Infinity, left)
        const free = millisOf(Backoff.draw(range, u, undefined, Infinity, Infinity))
        assert.deepStrictEqual(
          wait,
          free < left ? { _tag: "Wait", millis: free } : { _tag: "TooLong", because: "elapsed" }
        )
      }),
      runs
    )
  })

  for (
    const [left, expected] of [[2001, "Wait"], [2000, "TooLong"], [1999, "TooLong"], [0, "TooLong"], [
      -1,
      "TooLong"
    ]] as const
  ) {
    it(`R4: a wait of 2000 ms with ${left} ms left is ${expected === "Wait" ? "started" : "not started"}`, () => {
      assert.strictEqual(Backoff.draw({ floor: 2000, width: 0 }, 0, undefined, Infinity, left)._tag, expected)
    })
  }

  it("R4: not even a wait of zero is started when no time is left", () => {
    assert.strictEqual(Backoff.draw({ floor: 0, width: 0 }, 0, undefined, Infinity, 0)._tag, "TooLong")
    assert.strictEqual(Backoff.draw({ floor: 0, width: 0 }, 0, undefined, Infinity, 1)._tag, "Wait")
  })
})

describe("draw with a hint", () => {
  const maxHint = 60_000
  const full = { floor: 0, width: 2000 }

  it("R3: never shortens it, never passes the spread above it, and is whole", () => {
    fc.assert(
      fc.property(range, u, hint, ({ range }, u, hint) => {
        const millis = millisOf(Backoff.draw(range, u, hint, Infinity, Infinity))
        const least = Math.max(Math.ceil(hint), Math.floor(range.floor))
        assert.isTrue(Number.isSafeInteger(millis) && millis >= hint && millis >= least, String(millis))
        assert.isTrue(millis === least || millis - least < range.width, String(millis))
      }),
      runs
    )
  })

  it("R3: never ends at the time left or past it, and shortens only the spread to keep to it", () => {
    fc.assert(
      fc.property(range, u, hint, left, ({ range }, u, hint, left) => {
        const wait = Backoff.draw(range, u, hint, Infinity, left)
        const least = Math.max(Math.ceil(hint), Math.floor(range.floor))
        if (wait._tag === "TooLong") {
          assert.strictEqual(wait.because, "elapsed")
          assert.isAtLeast(least, left)
        } else {
          assert.isTrue(wait.millis >= hint && wait.millis < left, `${wait.millis} of ${left}`)
        }
      }),
      runs
    )
  })

  it("R3: is refused when it is longer than the longest allowed, whatever time is left", () => {
    fc.assert(
      fc.property(range, u, hint, fc.nat(1e8), left, ({ range }, u, hint, most, left) => {
        const wait = Backoff.draw(range, u, hint, most, left)
        assert.strictEqual(wait._tag === "TooLong" && wait.because === "retryAfter", hint > most)
      }),
      runs
    )
  })

  const table = [
    { name: "a hint at the longest allowed is kept", hint: 60_000, left: Infinity, u: 0, wait: 60_000 },
    { name: "a hint one past the longest allowed is not", hint: 60_001, left: Infinity, u: 0, wait: "retryAfter" },
    { name: "a hint that ends one before the time is up is kept", hint: 4999, left: 5000, u: 0.999, wait: 4999 },
    { name: "a hint that ends when the time is up is not", hint: 5000, left: 5000, u: 0, wait: "elapsed" },
    { name: "the jitter goes upwards from the hint", hint: 5000, left: Infinity, u: 0.5, wait: 6000 },
    { name: "the spread shrinks to the time left", hint: 5000, left: 6000, u: 0.5, wait: 5500 },
    { name: "a fraction of a millisecond is rounded up", hint: 4999.2, left: Infinity, u: 0, wait: 5000 },
    { name: "a hint of zero leaves the backoff", hint: 0, left: Infinity, u: 0.5, wait: 1000 }
  ] as const
  for (const { hint, left, name, u, wait } of table) {
    it(`R3: ${name}`, () => {
      assert.deepStrictEqual(
        Backoff.draw(full, u, hint, maxHint, left),
        typeof wait === "number" ? { _tag: "Wait", millis: wait } : { _tag: "TooLong", because: wait }
      )
    })
  }

  it("R3: a backoff longer than the hint is waited in full", () => {
    assert.deepStrictEqual(Backoff.draw({ floor: 8000, width: 0 }, 0, 1000, maxHint, Infinity), {
      _tag: "Wait",
      millis: 8000
    })
  })

  it("R3: callers told the same time spread over the whole jitter", () => {
    const waits = Array.from(
      { length: 1000 },
      (_, i) => millisOf(Backoff.draw(full, i / 1000, 5000, maxHint, Infinity))
    )
    assert.strictEqual(Math.min(...waits), 5000)
    assert.isAtLeast(Math.max(...waits), 6900)
    assert.strictEqual(new Set(waits).size, 1000)
  })
})
