/** What a quota makes of the rate limits that a provider tells of. */
import { type Bucket, type Cost, left, rate, type Settings, type State, type Unit, units, words } from "./quota.ts"

/** One limit as a provider tells of it; `reset` in milliseconds. */
export interface Told {
  readonly limit: number | undefined
  readonly remaining: number | undefined
  readonly reset: number | undefined
}

/** The time of a limit that neither the provider nor the settings name: nearly all of them are per minute. */
const usualSpan = 60_000

export const learnedName = (unit: Unit): string => `the provider's ${words[unit]}`

/**
 * A bucket that has what the provider says is left, and is full again when it says. What is under way may or may not be in
 * the provider's count, so of what we counted ourselves the lower number holds, down to `remaining` less all of that.
 */
const learn = (
  settings: Settings,
  state: State,
  unit: Unit,
  told: Told,
  underWay: number,
  age: number,
  now: number
): Bucket | undefined => {
  const old = state.buckets.find((bucket) => bucket.learned && bucket.unit === unit)
  const primary = settings.primary[unit]
  const capacity = told.limit ?? old?.capacity ?? primary?.capacity ?? 0
  if (capacity === 0) return undefined
  const span = primary?.span ?? usualSpan
  const remaining = Math.min(told.remaining ?? capacity, capacity)
  const missing = capacity - remaining
  const reset = Math.ceil(told.reset ?? 0)
  const name = learnedName(unit)
  const limit = missing > 0 && reset > 0
    ? rate(name, unit, missing, reset, capacity)
    : rate(name, unit, capacity, span, capacity)
  if (limit === undefined) return undefined
  const room = Math.min(capacity, remaining + limit.amount * age / limit.period)
  const ours = old === undefined ? room : left(old, now)
  const known = told.remaining === undefined
    ? Math.min(capacity, ours)
    : Math.min(room, Math.max(ours, room - underWay))
  return {
    ...limit,
    learned: true,
    debt: Math.max(0, Math.ceil((capacity - known) * limit.period)),
    at: Math.max(now, old?.at ?? now),
    born: old?.born ?? state.serial
  }
}

/** Adopts what a provider told `age` milliseconds ago. `underWay` is what was taken and not settled. */
export const observe = (
  settings: Settings,
  state: State,
  told: { readonly [U in Unit]?: Told | undefined },
  underWay: Cost,
  age: number,
  now: number
): State => {
  if (settings.learn === "never") return state
  let { blockedUntil, buckets } = state
  for (const unit of units) {
    const one = told[unit]
    if (one === undefined) continue
    const bucket = learn(settings, state, unit, one, underWay[unit], age, now)
    if (bucket !== undefined) {
      const replaced = settings.learn === "both" ? settings.primary[unit]?.name : undefined
      buckets = [
        ...buckets.filter((other) => other.unit !== unit || !(other.learned || other.name === replaced)),
        bucket
      ]
    } else if (one.remaining === 0 && one.reset !== undefined) {
      blockedUntil = Math.max(blockedUntil, now - age + Math.ceil(one.reset))
    }
  }
  return { ...state, blockedUntil, buckets }
}
