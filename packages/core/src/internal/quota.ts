/**
 * Limits of requests and tokens in a time, as pure steps over plain data.
 *
 * Each limit is a bucket with continuous refill, kept as the Generic Cell Rate Algorithm does it (ITU-T I.371): not what
 * is left but what is owed, and since when. A unit owes `period`, every millisecond repays `amount`, so all of it is whole
 * numbers, and no rounding adds up however long it runs.
 */
import { typicalOutput } from "./tokens.ts"

export const units = ["requests", "tokens", "inputTokens", "outputTokens"] as const

/** What is counted. Tokens are input and output together. */
export type Unit = (typeof units)[number]

export type Cost = { readonly [U in Unit]: number }

/** `amount` come back every `period` milliseconds, in lowest terms; at most `capacity` are there at once. */
export interface Rate {
  readonly name: string
  readonly unit: Unit
  readonly amount: number
  readonly period: number
  readonly capacity: number
  /** The time as it was given, in milliseconds. */
  readonly span: number
}

export interface Bucket extends Rate {
  /** Whether the provider told of it. */
  readonly learned: boolean
  /** In units times `period`, at the time `at`; frozen until then. */
  readonly debt: number
  readonly at: number
  /** The last permit given before this bucket was there: that one and those before it owe it nothing. */
  readonly born: number
}

export interface State {
  /** Of the settings that the buckets were made for. */
  readonly version: string
  readonly buckets: ReadonlyArray<Bucket>
  readonly blockedUntil: number
  /** How many permits were given. */
  readonly serial: number
  readonly meanInput: number
  /** Below zero until an answer has told. */
  readonly meanOutput: number
}

export interface Settings {
  readonly version: string
  readonly limits: ReadonlyArray<Rate>
  /** The name of the limit of each unit with the shortest time, which is the one that headers tell of. */
  readonly primary: { readonly [U in Unit]?: Rate | undefined }
  readonly learn: "never" | "lower" | "both"
}

/** What is known of a request before it is sent; by hand, nothing is. */
export interface Ask {
  readonly input: number | undefined
  readonly output: number | undefined
}

/** The weight of the newest answer in the learned means: 1/8, as for round trips in RFC 6298. */
const weight = 1 / 8

/** Debts stay below it, so that sums of them are exact. */
const exact = 2 ** 50

export const blockName = "the provider's Retry-After"

export const words = {
  requests: "requests",
  tokens: "tokens",
  inputTokens: "input tokens",
  outputTokens: "output tokens"
} as const satisfies Record<Unit, string>

const gcd = (a: number, b: number): number => b === 0 ? a : gcd(b, a % b)

/**
 * A limit in lowest terms. Where its numbers are too large to be exact, it becomes a little slower, never faster; nothing
 * where even that is not possible.
 */
export const rate = (name: string, unit: Unit, total: number, span: number, capacity: number): Rate | undefined => {
  const divisor = gcd(total, span)
  const period = Math.min(span / divisor, Math.floor(exact / capacity))
  const amount = Number(BigInt(total) * BigInt(period) / BigInt(span))
  return amount === 0 ? undefined : { name, unit, amount, period, capacity, span }
}

export const settings = (limits: ReadonlyArray<Rate>, learn: Settings["learn"]): Settings => {
  const primary: { [U in Unit]?: Rate } = {}
  for (const limit of limits) {
    const shortest = primary[limit.unit]
    if (shortest === undefined || limit.span < shortest.span) primary[limit.unit] = limit
  }
  return { version: JSON.stringify([learn, limits]), limits, primary, learn }
}

const debtAt = (bucket: Bucket, now: number): number =>
  now <= bucket.at ? bucket.debt : Math.max(0, bucket.debt - bucket.amount * (now - bucket.at))

/** What is there; below zero where more was used than was estimated. */
export const left = (bucket: Bucket, now: number): number => bucket.capacity - debtAt(bucket, now) / bucket.period

const owing = (bucket: Bucket, debt: number, at: number): Bucket => ({
  name: bucket.name,
  unit: bucket.unit,
  amount: bucket.amount,
  period: bucket.period,
  capacity: bucket.capacity,
  span: bucket.span,
  learned: bucket.learned,
  debt: Math.min(Math.max(0, debt), exact),
  at,
  born: bucket.born
})

const bucketOf = (limit: Rate, learned: boolean, missing: number, now: number, born: number): Bucket => ({
  ...limit,
  learned,
  debt: Math.min(Math.max(0, Math.ceil(missing * limit.period)), exact),
  at: now,
  born
})

/** The state for these settings: limits that stay keep what is owed, in units; new ones are full. */
export const fit = (settings: Settings, state: State | undefined, now: number): State => {
  if (state?.version === settings.version) return state
  const learned = settings.learn === "never" ? [] : state?.buckets.filter((bucket) => bucket.learned) ?? []
  const serial = state?.serial ?? 0
  const own = settings.limits.flatMap((limit) => {
    if (isReplaced(settings, limit, learned)) return []
    const old = state?.buckets.find(({ learned, name, unit }) => !learned && name === limit.name && unit === limit.unit)
    if (old === undefined) return [bucketOf(limit, false, 0, now, serial)]
    const at = Math.max(old.at, now)
    return [bucketOf(limit, false, debtAt(old, now) / old.period, at, old.born)]
  })
  return {
    version: settings.version,
    buckets: [...own, ...learned],
    blockedUntil: state?.blockedUntil ?? 0,
    serial,
    meanInput: state?.meanInput ?? 0,
    meanOutput: state?.meanOutput ?? -1
  }
}

const isReplaced = (settings: Settings, limit: Rate, learned: ReadonlyArray<Bucket>): boolean =>
  settings.learn === "both" && settings.primary[limit.unit] === limit &&
  learned.some(({ unit }) => unit === limit.unit)

export const costOf = (ask: Ask, state: State): Cost => {
  const inputTokens = ask.input ?? Math.ceil(state.meanInput)
  const outputTokens = ask.output ??
    (state.meanOutput >= 0 ? Math.ceil(state.meanOutput) : ask.input === undefined ? 0 : typicalOutput)
  return { requests: 1, tokens: inputTokens + outputTokens, inputTokens, outputTokens }
}

/** An estimate may be wrong, so what was only learned holds nobody up for more than a full bucket. */
const needOf = (bucket: Bucket, cost: Cost): number =>
  bucket.learned ? Math.min(cost[bucket.unit], bucket.capacity) : cost[bucket.unit]

/** When there is room for all of it, and which limit is the last to have it; `never` where a limit is too small. */
interface Ready {
  readonly at: number
  readonly short: string | undefined
  readonly never: Bucket | undefined
}

const ready = (state: State, cost: Cost, now: number): Ready => {
  let at = now
  let short: string | undefined
  if (state.blockedUntil > now) {
    at = state.blockedUntil
    short = blockName
  }
  for (const bucket of state.buckets) {
    const need = needOf(bucket, cost)
    if (need === 0) continue
    if (need > bucket.capacity) return { at: Infinity, short: bucket.name, never: bucket }
    const over = debtAt(bucket, now) + (need - bucket.capacity) * bucket.period
    if (over <= 0) continue
    const then = Math.max(now, bucket.at) + Math.ceil(over / bucket.amount)
    if (then <= at) continue
    at = then
    short = bucket.name
  }
  return { at, short, never: undefined }
}

const charge = (state: State, cost: Cost, now: number): State => ({
  version: state.version,
  buckets: state.buckets.map((bucket) => {
    const need = needOf(bucket, cost)
    return need === 0
      ? bucket
      : owing(bucket, debtAt(bucket, now) + need * bucket.period, Math.max(bucket.at, now))
  }),
  blockedUntil: state.blockedUntil,
  serial: state.serial + 1,
  meanInput: state.meanInput,
  meanOutput: state.meanOutput
})

/** A permit, or when it would be there. */
export type Taken =
  | { readonly _tag: "Granted"; readonly cost: Cost; readonly serial: number }
  | { readonly _tag: "Wait"; readonly cost: Cost; readonly at: number; readonly short: string; readonly state: State }
  | { readonly _tag: "Never"; readonly cost: Cost; readonly bucket: Bucket }

/** Takes from all limits, or from none. Nothing is taken when others wait already. */
export const take = (
  settings: Settings,
  before: State | undefined,
  ask: Ask | Cost,
  now: number,
  othersWait: boolean
): readonly [Taken, State] => {
  const state = fit(settings, before, now)
  const cost = "requests" in ask ? ask : costOf(ask, state)
  const { at, never, short = "" } = ready(state, cost, now)
  if (never !== undefined) return [{ _tag: "Never", cost, bucket: never }, state]
  if (othersWait || at > now) return [{ _tag: "Wait", cost, at, short, state }, state]
  const after = charge(state, cost, now)
  return [{ _tag: "Granted", cost, serial: after.serial }, after]
}

/** What is left when everybody in a queue has had a permit, and when that is. */
export interface Projection {
  readonly state: State
  readonly at: number
  /** The limit that the last of them waits for. */
  readonly short: string
  readonly never: Bucket | undefined
}

/** Puts one more at the end of a queue. */
export const project = ({ at, short, state }: Projection, cost: Cost, now: number): Projection => {
  const next = ready(state, cost, Math.max(at, now))
  return next.never === undefined
    ? { state: charge(state, cost, next.at), at: next.at, short: next.short ?? short, never: undefined }
    : { state, at, short: next.never.name, never: next.never }
}

/** The permit of one request under way. */
export interface Permit {
  readonly cost: Cost
  readonly serial: number
}

const add = (mean: number, known: boolean, value: number | undefined): number =>
  value === undefined ? mean : known ? mean + (value - mean) * weight : value

/**
 * Puts what was used in the place of what was estimated; what is not known is kept. It goes to those limits that the
 * permit was taken from.
 */
export const settle = (
  state: State,
  { cost, serial }: Permit,
  used: { readonly requests: number; readonly input: number | undefined; readonly output: number | undefined },
  now: number
): State => {
  const inputTokens = used.input ?? cost.inputTokens
  const outputTokens = used.output ?? cost.outputTokens
  const real = { requests: used.requests, tokens: inputTokens + outputTokens, inputTokens, outputTokens }
  const told = state.meanOutput >= 0
  const counts = used.requests > 0
  return {
    ...state,
    buckets: state.buckets.map((bucket) => {
      const more = needOf(bucket, real) - needOf(bucket, cost)
      return more === 0 || serial <= bucket.born
        ? bucket
        : owing(bucket, debtAt(bucket, now) + more * bucket.period, Math.max(bucket.at, now))
    }),
    meanInput: counts ? add(state.meanInput, told, used.input) : state.meanInput,
    meanOutput: counts ? add(state.meanOutput, told, used.output) : state.meanOutput
  }
}

/**
 * Nobody is let through before a time, and then one after the other: where the provider has just refused, there is room
 * for what it refused and no more, in the limits that it counts a minute's worth by.
 */
export const block = (settings: Settings, state: State, cost: Cost, until: number): State => ({
  ...state,
  blockedUntil: Math.max(state.blockedUntil, until),
  buckets: state.buckets.map((bucket) => {
    const need = needOf(bucket, cost)
    if (need === 0 || !(bucket.learned || settings.primary[bucket.unit]?.name === bucket.name)) return bucket
    const debt = Math.max(debtAt(bucket, until), (bucket.capacity - need) * bucket.period)
    return owing(bucket, debt, Math.max(bucket.at, until))
  })
})
