/** In which order those that could answer are asked, as plain functions, and what is told to those that are asked. */
import * as Arr from "effect/Array"
import * as Order from "effect/Order"

/** What an order is made from. */
export interface Facts {
  readonly weight: number
  /** How many requests are under way there. */
  readonly inFlight: number
  /** How long it usually takes to answer, in milliseconds, where that is known. */
  readonly usual: number | undefined
}

const indexes = (count: number): Array<number> => Array.from({ length: count }, (_, i) => i)

/** Each one's turn, beginning with the one at `start`. */
export const rotated = (count: number, start: number): Array<number> => indexes(count).map((i) => (i + start) % count)

/**
 * A random order in which each next one is drawn with a chance in proportion to its weight, from one number in [0, 1).
 * Where the number falls within the share of the one drawn is again even in [0, 1), so that it serves for the next draw.
 * Those without weight come last, in the order given.
 */
export const byWeight = (facts: ReadonlyArray<Facts>, u: number): ReadonlyArray<number> => {
  const left = indexes(facts.length).filter((i) => weightOf(facts, i) > 0)
  const drawn: Array<number> = []
  let chance = u
  while (left.length > 0) {
    const total = left.reduce((sum, i) => sum + weightOf(facts, i), 0)
    let point = chance * total
    // The last one takes what rounding leaves over.
    let at = left.findIndex((i) => {
      const weight = weightOf(facts, i)
      if (point < weight) return true
      point -= weight
      return false
    })
    if (at < 0) at = left.length - 1
    const [one = 0] = left.splice(at, 1)
    chance = Math.min(Math.max(point / weightOf(facts, one), 0), 1 - Number.EPSILON)
    drawn.push(one)
  }
  return [...drawn, ...indexes(facts.length).filter((i) => weightOf(facts, i) <= 0)]
}

const weightOf = (facts: ReadonlyArray<Facts>, i: number): number => facts[i]?.weight ?? 0

const sortedBy = (
  facts: ReadonlyArray<Facts>,
  start: number,
  value: (facts: Facts) => number
): ReadonlyArray<number> => {
  const values = facts.map(value)
  return Arr.sortWith(rotated(facts.length, start), (i) => values[i] ?? 0, Order.number)
}

/** The least busy first; of equals, the first one from `start` on. */
export const byInFlight = (facts: ReadonlyArray<Facts>, start = 0): ReadonlyArray<number> =>
  sortedBy(facts, start, ({ inFlight }) => inFlight)

/**
 * The fastest first. One of which nothing is known comes before all others, so that something becomes known, but only
 * while nobody is finding out; from then on it is the last.
 */
export const byLatency = (facts: ReadonlyArray<Facts>): ReadonlyArray<number> =>
  sortedBy(facts, 0, ({ inFlight, usual }) => usual ?? (inFlight === 0 ? -1 : Infinity))
