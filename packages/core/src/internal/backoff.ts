/** The arithmetic of waiting, without effects: every number is in milliseconds. */

import * as Duration from "effect/Duration"

/** The longest wait a timer can hold (2³¹ − 1 ms, about 24.8 days); also where an uncapped backoff stops growing. */
export const longest = 2_147_483_647

/** How long a provider may ask to wait, unless a policy says otherwise. */
export const defaultMaxRetryAfter = Duration.seconds(60)

export type Jitter = "none" | "full" | "equal" | "decorrelated"

/** A range that a wait is drawn from: `floor + u × width`, `u` in [0, 1). */
export interface Range {
  readonly floor: number
  readonly width: number
}

/** The backoff before retry `n` (1 for the first), capped and not jittered. Grows past any number without harm. */
export const exponential = (base: number, factor: number, n: number, cap: number): number =>
  Math.min(base * Math.pow(factor, n - 1), cap, longest)

/**
 * Spreads a capped delay. The cap comes first and jitter only goes down from it, so it is a hard ceiling and there is
 * still spread at the ceiling. `full` and `equal` are as in "Exponential Backoff And Jitter" (AWS Architecture Blog,
 * 2015); so is `decorrelated`, which grows from the wait before it instead of from the number of failures. A wait before
 * it that was shorter than this base, as after a failure of another class, counts as the base, or no spread would be left.
 */
export const spread = (jitter: Jitter, delay: number, base: number, previous: number, cap: number): Range => {
  switch (jitter) {
    case "none":
      return { floor: delay, width: 0 }
    case "full":
      return { floor: 0, width: delay }
    case "equal":
      return { floor: delay / 2, width: delay / 2 }
    case "decorrelated": {
      const ceiling = Math.min(cap, longest)
      const floor = Math.min(base, ceiling)
      return { floor, width: Math.min(ceiling, Math.max(floor, previous) * 3) - floor }
    }
  }
}

/** What to do with a range, a hint from the provider, and the time that is left. */
export type Wait =
  | { readonly _tag: "Wait"; readonly millis: number }
  | { readonly _tag: "TooLong"; readonly because: "elapsed" | "retryAfter" }

/**
 * Draws the wait. A hint is a floor and the jitter goes upwards from it, so clients that were told the same time do not
 * all return at it; the spread shrinks where the full one would not fit into the time left. A wait that would end when
 * the time is up, or later, is not started.
 *
 * @param left the milliseconds until the time is up; infinite when there is no limit
 */
export const draw = (
  range: Range,
  u: number,
  hint: number | undefined,
  maxHint: number,
  left: number
): Wait => {
  if (hint === undefined) {
    const millis = Math.floor(range.floor + u * range.width)
    return millis < left ? { _tag: "Wait", millis } : { _tag: "TooLong", because: "elapsed" }
  }
  if (hint > maxHint) return { _tag: "TooLong", because: "retryAfter" }
  const floor = Math.max(Math.ceil(hint), Math.floor(range.floor))
  if (!(floor < left)) return { _tag: "TooLong", because: "elapsed" }
  return { _tag: "Wait", millis: floor + Math.floor(u * Math.min(range.width, left - floor)) }
}
