/**
 * What many receipts have to say together. Pure.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as Receipt from "perdure/Receipt"
import * as Waterfall from "./Waterfall.ts"
import * as Words from "./Words.ts"

/**
 * How calls ended, each in one way.
 *
 * @since 0.1.0
 * @category models
 */
export interface Endings {
  /** By the target that was asked for. */
  readonly direct: number
  /** After another target was tried. */
  readonly fallback: number
  readonly failed: number
  /** By the caller's own doing. */
  readonly interrupted: number
}

/**
 * @since 0.1.0
 * @category models
 */
export type Ending = keyof Endings

/**
 * Numbers in order: how many, and those that a share of them does not exceed. All in milliseconds; absent when there are
 * none.
 *
 * @since 0.1.0
 * @category models
 */
export interface Spread {
  readonly count: number
  readonly p50: number
  readonly p90: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}

/**
 * The calls that began in a while, `to` not included; in milliseconds since the epoch.
 *
 * @since 0.1.0
 * @category models
 */
export interface Bucket {
  readonly from: number
  readonly to: number
  readonly calls: number
  readonly endings: Endings
  readonly attempts: number
  /** In milliseconds. */
  readonly waited: number
  /** Of the answered calls. */
  readonly latency: Spread | undefined
}

/**
 * Billionths of a currency's unit, by the currency.
 *
 * @since 0.1.0
 * @category models
 */
export type Money = ReadonlyMap<string, number>

/**
 * What became of the attempts at one target.
 *
 * @since 0.1.0
 * @category models
 */
export interface TargetStatistics {
  readonly target: string
  readonly attempts: number
  readonly answered: number
  readonly failed: number
  readonly interrupted: number
  /** Of the attempts that answered. */
  readonly latency: Spread | undefined
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cost: Money
  /** The attempts that used tokens, but whose cost is not known. */
  readonly unpriced: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Count {
  readonly name: string
  readonly count: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Statistics {
  readonly calls: number
  readonly endings: Endings
  /** The start of the first call and of the last. */
  readonly from: number
  readonly to: number
  readonly attempts: number
  /** How many calls had 0, 1, 2, 3, 4, and 5 or more attempts. */
  readonly attemptCounts: readonly [number, number, number, number, number, number]
  /** All time in calls, and the part of it in which they waited for another attempt. In milliseconds. */
  readonly time: number
  readonly waited: number
  /** Of the answered calls. */
  readonly latency: Spread | undefined
  /** Of the answered streams. */
  readonly firstOutput: Spread | undefined
  /** Of the waits before attempts. */
  readonly waits: Spread | undefined
  readonly buckets: ReadonlyArray<Bucket>
  /** The busiest first. */
  readonly targets: ReadonlyArray<TargetStatistics>
  readonly cost: Money
  readonly unpriced: number
  /** The failures of attempts, the commonest first. */
  readonly failures: ReadonlyArray<Count>
  /** The refusals of policies, the commonest first. */
  readonly refusals: ReadonlyArray<Count>
  /** Those that failed and those that took longest, at most {@link mostWorst}. */
  readonly worst: ReadonlyArray<Receipt.Receipt>
}

/**
 * How many of the worst calls are kept.
 *
 * @since 0.1.0
 * @category constants
 */
export const mostWorst = 20

/**
 * How many buckets there may be.
 *
 * @since 0.1.0
 * @category constants
 */
export const mostBuckets = 60

/**
 * How a call ended. Where its receipt does not say so, as older ones do not, one without an answer was interrupted when its
 * last attempt was, or when it neither asked nor refused.
 *
 * @since 0.1.0
 * @category reading
 */
export const endingOf = ({ attempts, fallback, outcome, refusals, served }: Receipt.Receipt): Ending => {
  if (outcome === "Failed") return "failed"
  if (outcome === "Interrupted") return "interrupted"
  if (outcome === "Answered" || served !== undefined) return fallback ? "fallback" : "direct"
  const last = attempts.at(-1)
  if (last !== undefined) return last.outcome._tag === "Interrupted" ? "interrupted" : "failed"
  return refusals === undefined ? "interrupted" : "failed"
}

/**
 * The smallest of sorted numbers that at least this share of them does not exceed (the nearest rank): always one of them.
 *
 * @since 0.1.0
 * @category reading
 */
export const percentile = (sorted: readonly [number, ...Array<number>], share: number): number =>
  sorted[Math.max(0, Math.min(sorted.length, Math.ceil(sorted.length * share)) - 1)] ?? sorted[0]

/**
 * @since 0.1.0
 * @category constructors
 */
export const spread = (numbers: ReadonlyArray<number>): Spread | undefined => {
  const [first, ...rest] = numbers.toSorted((a, b) => a - b)
  if (first === undefined) return undefined
  const sorted: readonly [number, ...Array<number>] = [first, ...rest]
  const at = (share: number) => percentile(sorted, share)
  return { count: numbers.length, p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99), max: at(1) }
}

const isAnswered = (receipt: Receipt.Receipt): boolean => {
  const ending = endingOf(receipt)
  return ending === "direct" || ending === "fallback"
}

const durationOf = (receipt: Receipt.Receipt): number => Duration.toMillis(receipt.duration)

const waitedOf = (receipt: Receipt.Receipt): number => Duration.toMillis(receipt.waited)

const endingsOf = (receipts: ReadonlyArray<Receipt.Receipt>): Endings => {
  const endings = { direct: 0, fallback: 0, failed: 0, interrupted: 0 }
  for (const receipt of receipts) endings[endingOf(receipt)]++
  return endings
}

const total = <A>(all: ReadonlyArray<A>, of: (one: A) => number): number => all.reduce((sum, one) => sum + of(one), 0)

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

/** What a bucket may be long, so that its borders are easy to say. */
const lengths = [
  ...[1, 5, 10, 30].map((n) => n * second),
  ...[1, 5, 10, 30].map((n) => n * minute),
  ...[1, 3, 6, 12].map((n) => n * hour),
  ...[1, 7, 28].map((n) => n * day)
]

/** The shortest length with which all fits into the buckets, both ends being cut at multiples of it. */
const lengthFor = (from: number, to: number): number => {
  const needed = (length: number) => Math.floor(to / length) - Math.floor(from / length) + 1
  const length = lengths.find((length) => needed(length) <= mostBuckets)
  return length ?? Math.ceil((to - from) / (mostBuckets - 1) / day) * day
}

const bucketsOf = (receipts: ReadonlyArray<Receipt.Receipt>, from: number, to: number): ReadonlyArray<Bucket> => {
  const length = lengthFor(from, to)
  const first = Math.floor(from / length)
  const parts = Array.from({ length: Math.floor(to / length) - first + 1 }, (): Array<Receipt.Receipt> => [])
  for (const receipt of receipts) parts[Math.floor(receipt.startedAt / length) - first]?.push(receipt)
  return parts.map((part, index) => ({
    from: (first + index) * length,
    to: (first + index + 1) * length,
    calls: part.length,
    endings: endingsOf(part),
    attempts: total(part, ({ attempts }) => attempts.length),
    waited: total(part, waitedOf),
    latency: spread(part.filter(isAnswered).map(durationOf))
  }))
}

const moneyOf = (attempts: ReadonlyArray<Receipt.Attempt>): Money => {
  const money = new Map<string, number>()
  for (const { cost } of attempts) {
    if (cost !== undefined) money.set(cost.currency, (money.get(cost.currency) ?? 0) + cost.nanos)
  }
  return money
}

const isUnpriced = ({ cost, usage }: Receipt.Attempt): boolean =>
  cost === undefined && (usage?.inputTokens !== undefined || usage?.outputTokens !== undefined)

const targetStatistics = (target: string, attempts: ReadonlyArray<Receipt.Attempt>): TargetStatistics => {
  const ended = (tag: Receipt.Outcome["_tag"]) => attempts.filter(({ outcome }) => outcome._tag === tag)
  const answered = ended("Answered")
  return {
    target,
    attempts: attempts.length,
    answered: answered.length,
    failed: ended("Failed").length,
    interrupted: ended("Interrupted").length,
    latency: spread(answered.map(({ duration }) => Duration.toMillis(duration))),
    inputTokens: total(attempts, ({ usage }) => usage?.inputTokens ?? 0),
    outputTokens: total(attempts, ({ usage }) => usage?.outputTokens ?? 0),
    cost: moneyOf(attempts),
    unpriced: attempts.filter(isUnpriced).length
  }
}

const grouped = <A>(all: ReadonlyArray<A>, by: (one: A) => string): ReadonlyArray<readonly [string, Array<A>]> => {
  const groups = new Map<string, Array<A>>()
  for (const one of all) {
    const name = by(one)
    const group = groups.get(name)
    if (group === undefined) groups.set(name, [one])
    else group.push(one)
  }
  return [...groups].toSorted(([a, x], [b, y]) => y.length - x.length || (a < b ? -1 : 1))
}

const counts = (names: ReadonlyArray<string>): ReadonlyArray<Count> =>
  grouped(names, (name) => name).map(([name, all]) => ({ name, count: all.length }))

/** Half failures and half slow answers, the longest first; where there are few of one kind, more of the other. */
const worstOf = (receipts: ReadonlyArray<Receipt.Receipt>): ReadonlyArray<Receipt.Receipt> => {
  const longest = (all: ReadonlyArray<Receipt.Receipt>) => all.toSorted((a, b) => durationOf(b) - durationOf(a))
  const failed = longest(receipts.filter((receipt) => endingOf(receipt) === "failed"))
  const answered = longest(receipts.filter(isAnswered))
  const half = mostWorst / 2
  return [
    ...failed.slice(0, Math.max(half, mostWorst - answered.length)),
    ...answered.slice(0, Math.max(half, mostWorst - failed.length))
  ]
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (receipts: readonly [Receipt.Receipt, ...Array<Receipt.Receipt>]): Statistics => {
  const attempts = receipts.flatMap((receipt) => receipt.attempts)
  const [from, to] = receipts.reduce(
    ([from, to], { startedAt }) => [Math.min(from, startedAt), Math.max(to, startedAt)],
    [Infinity, -Infinity]
  )
  const attemptCounts: [number, number, number, number, number, number] = [0, 0, 0, 0, 0, 0]
  for (const { attempts } of receipts) attemptCounts[Math.min(5, attempts.length) as 0]++
  return {
    calls: receipts.length,
    endings: endingsOf(receipts),
    from,
    to,
    attempts: attempts.length,
    attemptCounts,
    time: total(receipts, durationOf),
    waited: total(receipts, waitedOf),
    latency: spread(receipts.filter(isAnswered).map(durationOf)),
    firstOutput: spread(
      receipts.flatMap(({ firstOutput }) => firstOutput === undefined ? [] : [Duration.toMillis(firstOutput)])
    ),
    waits: spread(attempts.map(({ wait }) => Duration.toMillis(wait)).filter((wait) => wait >= Waterfall.shortestWait)),
    buckets: bucketsOf(receipts, from, to),
    targets: grouped(attempts, ({ target }) => Words.target(target)).map(([target, all]) =>
      targetStatistics(target, all)
    ),
    cost: moneyOf(attempts),
    unpriced: attempts.filter(isUnpriced).length,
    failures: counts(attempts.flatMap(({ outcome }) => outcome._tag === "Failed" ? [outcome.error] : [])),
    refusals: counts(receipts.flatMap(({ refusals = [] }) => refusals.map(({ because }) => because))),
    worst: worstOf(receipts)
  }
}
