/** Chance that can be had again: the same name gives the same numbers, whatever else runs meanwhile. */

/** A source of numbers in [0, 1). */
export type Chance = () => number

/** FNV-1a. */
const hash = (name: string): number => {
  let h = 0x811c9dc5
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193)
  return h >>> 0
}

/** The chance that goes by a name (mulberry32). */
export const make = (name: string): Chance => {
  let state = hash(name)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** A whole number in [min, max]. */
export const integer = (chance: Chance, min: number, max: number): number =>
  min + Math.floor(chance() * (max - min + 1))

/** One of a list, by weight. */
export const weighted = <A>(chance: Chance, list: ReadonlyArray<readonly [A, number]>): A => {
  let at = chance() * list.reduce((sum, [_, weight]) => sum + weight, 0)
  for (const [value, weight] of list) {
    at -= weight
    if (at < 0) return value
  }
  throw new Error("nothing to choose from")
}
