/**
 * What is spent of limits, as pure steps over plain data, in whole billionths of a currency's unit.
 *
 * A call is charged its estimate when it begins, so that calls side by side see each other, and the difference to its real
 * cost when it ends. It counts in the window it began in: once that is over, its end changes nothing.
 */
import * as DateTime from "effect/DateTime"

/** How long a window is: milliseconds, a month of the calendar, or for good. */
export type Span = number | "month" | "total"

export interface Limit {
  /** Its name: `day`, `total`. */
  readonly window: string
  readonly span: Span
  readonly amount: number
}

export interface Settings {
  readonly version: string
  readonly limits: ReadonlyArray<Limit>
}

export interface Bucket {
  readonly window: string
  readonly span: Span
  /** From when on it counts: with its name, what tells it from all others. */
  readonly since: number
  /** At this time it is over; never where it is absent. */
  readonly end: number | undefined
  readonly spent: number
}

export interface State {
  /** Of the settings that the buckets were made for. */
  readonly version: string
  /** When it was last changed. */
  readonly at: number
  /** At this time it says nothing any more; never where it is absent. */
  readonly until: number | undefined
  /** In the order of the limits. */
  readonly buckets: ReadonlyArray<Bucket>
}

/** What a call was charged, and where. */
export interface Permit {
  readonly estimate: number
  readonly charged: ReadonlyArray<Pick<Bucket, "window" | "since">>
}

export type Taken =
  | { readonly _tag: "Granted"; readonly permit: Permit }
  /** `at` is when the window ends that would let it through, if that helps. */
  | {
    readonly _tag: "Refused"
    readonly limit: Limit
    readonly spent: number
    readonly at: number | undefined
  }

export const settings = (limits: ReadonlyArray<Limit>): Settings => ({ version: JSON.stringify(limits), limits })

/** Windows are those of the clock, in UTC, so that all who share a limit mean the same ones. */
export const windowOf = (span: Span, now: number): { readonly since: number; readonly end: number | undefined } => {
  if (span === "total") return { since: 0, end: undefined }
  if (span === "month") {
    const month = DateTime.startOf(DateTime.unsafeMake(now), "month")
    return { since: DateTime.toEpochMillis(month), end: DateTime.toEpochMillis(DateTime.add(month, { months: 1 })) }
  }
  const since = Math.floor(now / span) * span
  return { since, end: since + span }
}

const isOver = ({ end }: Bucket, now: number): boolean => end !== undefined && now >= end

const stateOf = (version: string, buckets: ReadonlyArray<Bucket>, at: number): State => {
  let until: number | undefined = 0
  for (const { end } of buckets) until = until === undefined || end === undefined ? undefined : Math.max(until, end)
  return { version, at, until, buckets }
}

/** The state for these settings at this time: windows that are over begin anew, limits that stay keep what is spent. */
export const fit = (settings: Settings, state: State | undefined, now: number): State => {
  if (state?.version === settings.version && !state.buckets.some((bucket) => isOver(bucket, now))) return state
  const buckets = settings.limits.map(({ span, window }): Bucket => {
    const old = state?.buckets.find((bucket) => bucket.window === window && bucket.span === span)
    if (old !== undefined && !isOver(old, now)) return old
    const { end, since } = windowOf(span, now)
    // A limit that comes while calls are under way is owed nothing by them.
    return { window, span, since: old === undefined && state !== undefined ? now : since, end, spent: 0 }
  })
  return stateOf(settings.version, buckets, Math.max(state?.at ?? 0, now))
}

const adding = (bucket: Bucket, nanos: number): Bucket => ({
  window: bucket.window,
  span: bucket.span,
  since: bucket.since,
  end: bucket.end,
  spent: Math.min(Math.max(0, bucket.spent + nanos), Number.MAX_SAFE_INTEGER)
})

/**
 * Charges an estimate to all limits, or to none. What is not known is let through while something is left; what is known
 * to cost nothing always is.
 */
export const take = (
  settings: Settings,
  before: State | undefined,
  estimate: number | undefined,
  now: number
): readonly [Taken, State] => {
  const state = fit(settings, before, now)
  const charge = estimate ?? 0
  if (estimate !== 0) {
    const refused = shortest(settings, state, estimate)
    if (refused !== undefined) return [refused, state]
  }
  const permit: Permit = { estimate: charge, charged: state.buckets }
  if (charge === 0) return [{ _tag: "Granted", permit }, state]
  const at = Math.max(state.at, now)
  const buckets = state.buckets.map((bucket) => adding(bucket, charge))
  return [{ _tag: "Granted", permit }, { version: state.version, at, until: state.until, buckets }]
}

/** Of the limits that have no room, the one that is last to have it. */
const shortest = (
  settings: Settings,
  state: State,
  estimate: number | undefined
): Extract<Taken, { readonly _tag: "Refused" }> | undefined => {
  let refused: Extract<Taken, { readonly _tag: "Refused" }> | undefined
  for (const [index, limit] of settings.limits.entries()) {
    const { end, spent = 0 } = state.buckets[index] ?? {}
    if (estimate === undefined ? spent < limit.amount : spent + estimate <= limit.amount) continue
    const at = (estimate ?? 1) > limit.amount ? undefined : end
    if (refused === undefined || (refused.at !== undefined && (at === undefined || at > refused.at))) {
      refused = { _tag: "Refused", limit, spent, at }
    }
  }
  return refused
}

/** Puts what a call has cost in the place of its estimate, wherever that still counts. */
export const settle = (
  settings: Settings,
  before: State | undefined,
  { charged, estimate }: Permit,
  actual: number,
  now: number
): State => {
  const state = fit(settings, before, now)
  const more = actual - estimate
  if (more === 0) return state
  const buckets = state.buckets.map((bucket) =>
    charged.some(({ since, window }) => since === bucket.since && window === bucket.window)
      ? adding(bucket, more)
      : bucket
  )
  return { version: state.version, at: Math.max(state.at, now), until: state.until, buckets }
}
