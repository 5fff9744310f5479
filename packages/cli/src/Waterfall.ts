/**
 * A receipt as the rows of a waterfall, in the order in which things happened: attempts, waits, refusals on this side and
 * switches to another target.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as Receipt from "perdure/Receipt"
import * as Durations from "./Durations.ts"
import * as Words from "./Words.ts"

/**
 * What happened. `start` and `millis` are in milliseconds, `start` from the start of the call; what has no `millis` is a
 * moment.
 *
 * @since 0.1.0
 * @category models
 */
export type Row =
  | {
    readonly _tag: "Attempt"
    /** Which of the call's attempts it is, from 1 on. */
    readonly number: number
    readonly attempt: Receipt.Attempt
    readonly start: number
    readonly millis: number
  }
  | { readonly _tag: "Wait"; readonly why: string; readonly start: number; readonly millis: number }
  | { readonly _tag: "Refused"; readonly refused: Receipt.Refused; readonly start: number }
  | { readonly _tag: "Switched"; readonly switched: Receipt.Switch; readonly start: number }

/**
 * Rows that were left out.
 *
 * @since 0.1.0
 * @category models
 */
export interface Skipped {
  readonly _tag: "Skipped"
  readonly attempts: number
  readonly refusals: number
}

/** With more steps than this, those in the middle are left out. */
const mostSteps = 12
const shownAtEachEnd = 5

/**
 * Less than this between two attempts, in milliseconds, is the machine's own time and not a wait.
 *
 * @since 0.1.0
 * @category constants
 */
export const shortestWait = 10

type Moment = Extract<Row, { readonly _tag: "Refused" | "Switched" }>

/** An attempt with what led to it; the last may have none. */
interface Step {
  readonly moments: ReadonlyArray<Moment>
  readonly rows: ReadonlyArray<Row>
}

const reason = (
  before: Receipt.Attempt | undefined,
  attempt: Receipt.Attempt,
  moments: ReadonlyArray<Moment>
): string => {
  const refused = moments.findLast((moment) => moment._tag === "Refused")
  if (refused !== undefined) return Words.failure(refused.refused.because)
  if (before === undefined) return "queued"
  if (Words.target(before.target) !== Words.target(attempt.target)) return "moving on"
  return before.outcome._tag === "Failed" && before.outcome.retryAfter !== undefined
    ? `asked ${Durations.short(before.outcome.retryAfter)}`
    : "backoff"
}

const momentsOf = ({ refusals = [], switches = [] }: Receipt.Receipt): ReadonlyArray<Moment> =>
  [
    ...refusals.map((refused): Moment => ({ _tag: "Refused", refused, start: Duration.toMillis(refused.at) })),
    ...switches.map((switched): Moment => ({ _tag: "Switched", switched, start: Duration.toMillis(switched.at) }))
  ].toSorted((a, b) => a.start - b.start)

const same = (a: Receipt.Target, b: Receipt.Target): boolean => a.provider === b.provider && a.model === b.model

const startOf = ({ start }: Receipt.Attempt): number => Duration.toMillis(start)

/**
 * How many attempts come before. A switch comes before the first attempt that it led to, also where it was told only when
 * that one answered; what took no time at all comes before the switch away from it.
 */
const attemptsBefore = (attempts: ReadonlyArray<Receipt.Attempt>, moment: Moment): number => {
  const started = attempts.filter((attempt) => startOf(attempt) < moment.start).length
  if (moment._tag === "Refused") return started
  const { from, to } = moment.switched
  const before = attempts[started - 1]
  if (before !== undefined && same(before.target, to) && !same(to, from)) {
    return attempts.slice(0, started).findLastIndex(({ target }) => !same(target, to)) + 1
  }
  const next = attempts[started]
  const atOnce = next !== undefined && startOf(next) === moment.start && same(next.target, from)
  return atOnce ? started + 1 : started
}

/** A switch is drawn where its attempt begins, and nothing after what it comes before. */
const at = (moment: Moment, next: Receipt.Attempt | undefined): Moment =>
  next === undefined ? moment : { ...moment, start: Math.min(moment.start, startOf(next)) }

const steps = (receipt: Receipt.Receipt): ReadonlyArray<Step> => {
  const moments = momentsOf(receipt).map((moment) => ({ moment, before: attemptsBefore(receipt.attempts, moment) }))
  const leadingTo = (index: number) =>
    moments.flatMap(({ before, moment }) => before === index ? [at(moment, receipt.attempts[index])] : [])
  const made = receipt.attempts.map((attempt, index): Step => {
    const own = leadingTo(index)
    const start = Duration.toMillis(attempt.start)
    const wait = Duration.toMillis(attempt.wait)
    return {
      moments: own,
      rows: [
        ...own,
        ...wait < shortestWait ? [] : [
          {
            _tag: "Wait",
            why: reason(receipt.attempts[index - 1], attempt, own),
            start: start - wait,
            millis: wait
          } as const
        ],
        { _tag: "Attempt", number: index + 1, attempt, start, millis: Duration.toMillis(attempt.duration) }
      ]
    }
  })
  return [...made, ...leadingTo(receipt.attempts.length).map((moment): Step => ({ moments: [moment], rows: [moment] }))]
}

const skipped = (all: ReadonlyArray<Step>): Skipped => ({
  _tag: "Skipped",
  attempts: all.filter(({ rows }) => rows.some(({ _tag }) => _tag === "Attempt")).length,
  refusals: all.flatMap(({ moments }) => moments).filter(({ _tag }) => _tag === "Refused").length
})

/**
 * The rows of a call; of a long one, those at both ends.
 *
 * @since 0.1.0
 * @category constructors
 */
export const rows = (receipt: Receipt.Receipt): ReadonlyArray<Row | Skipped> => {
  const all = steps(receipt)
  const shown = (some: ReadonlyArray<Step>) => some.flatMap(({ rows }) => rows)
  return all.length <= mostSteps ? shown(all) : [
    ...shown(all.slice(0, shownAtEachEnd)),
    skipped(all.slice(shownAtEachEnd, -shownAtEachEnd)),
    ...shown(all.slice(-shownAtEachEnd))
  ]
}

/**
 * How long the picture is, in milliseconds: as long as the call, and never nothing.
 *
 * @since 0.1.0
 * @category reading
 */
export const total = (receipt: Receipt.Receipt): number => Math.max(1, Duration.toMillis(receipt.duration))

/**
 * What was left out, in words: `3 more attempts`.
 *
 * @since 0.1.0
 * @category reading
 */
export const leftOut = ({ attempts, refusals }: Skipped): string =>
  [
    ...attempts === 0 ? [] : [Words.count(attempts, "more attempt")],
    ...refusals === 0 ? [] : [Words.count(refusals, attempts === 0 ? "more refusal" : "refusal")]
  ].join(", ")
