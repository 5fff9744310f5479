/** A receipt, put together from what is on record of a call. */
import * as Duration from "effect/Duration"
import type { Mutable } from "effect/Types"
import * as Receipt from "../Receipt.ts"
import type { Usage } from "../Usage.ts"
import { instance } from "./copy.ts"

/** What is on record of one attempt; times in milliseconds on the `Clock`. */
export interface Entry {
  readonly target: Receipt.Target
  readonly start: number
  /** Undefined while it runs, as is its outcome. */
  readonly end: number | undefined
  readonly outcome: Receipt.Outcome | undefined
  /** The label of the key, where a pool chose one. */
  readonly key: string | undefined
  readonly hedge: boolean
  /** When its stream gave its first output. */
  readonly firstOutput: number | undefined
  readonly usage: Usage | undefined
  readonly cost: Receipt.Cost | undefined
  /** Whether another one beside it was the one whose answer was given on. */
  readonly lost: boolean
}

/** What is on record of a call. */
export interface Story {
  /** Undefined where it is that of the first attempt. */
  readonly requested: Receipt.Target | undefined
  readonly startedAt: number
  readonly attempts: ReadonlyArray<Entry>
  readonly switches: ReadonlyArray<Receipt.Switch> | undefined
  readonly refusals: ReadonlyArray<Receipt.Refused> | undefined
}

/** How a call ended. */
export interface Ending {
  readonly outcome: Receipt.Outcome["_tag"]
  /** The class of the failure. */
  readonly error: string | undefined
}

export const unknown: Receipt.Target = { provider: "unknown", model: "unknown" }

export const interrupted: Receipt.Outcome = { _tag: "Interrupted" }

/** Whether an attempt has an answer, and no other one's was given on. */
export const isAnswer = ({ lost, outcome }: Pick<Entry, "lost" | "outcome">): boolean =>
  outcome?._tag === "Answered" && !lost

/** In the order in which they began: some are put on record late. */
const inOrder = (entries: ReadonlyArray<Entry>): ReadonlyArray<Entry> =>
  entries.some(({ start }, i) => start < (entries[i - 1]?.start ?? start))
    ? entries.toSorted((one, other) => one.start - other.start)
    : entries

/** The receipt of a call that has ended, where what still runs counts as interrupted; without an end, what is over of it. */
export const receiptOf = (story: Story, now: number, ending: Ending | undefined): Receipt.Receipt => {
  const { refusals, startedAt, switches } = story
  const requested = story.requested ?? story.attempts[0]?.target ?? unknown
  let served: Receipt.Target | undefined
  let idleSince = startedAt
  let fallback = switches !== undefined
  const all = ending === undefined ? story.attempts.filter(({ end }) => end !== undefined) : story.attempts
  const attempts = inOrder(all).map((one) => {
    const { cost, end = now, firstOutput, hedge, key, outcome = interrupted, start, target, usage } = one
    const fields: Partial<Mutable<Receipt.Attempt>> = {
      target,
      start: Duration.millis(start - startedAt),
      // Derived, so that it is true for every way of waiting: a policy's backoff, a plain schedule, a queue.
      wait: Duration.millis(Math.max(0, start - idleSince)),
      duration: Duration.millis(end - start),
      outcome
    }
    if (key !== undefined) fields.key = key
    if (hedge) fields.hedge = true
    if (firstOutput !== undefined) fields.firstOutput = Duration.millis(firstOutput - start)
    if (usage !== undefined) fields.usage = usage
    if (cost !== undefined) fields.cost = cost
    idleSince = Math.max(idleSince, end)
    if (outcome._tag === "Answered") {
      if (one.lost) fields.discarded = true
      else if (ending?.outcome === "Answered") served = { provider: target.provider, model: outcome.model }
    }
    fallback ||= target.provider !== requested.provider || target.model !== requested.model
    return instance(Receipt.Attempt, fields)
  })
  return instance(Receipt.Receipt, {
    requested,
    ...(served === undefined ? {} : { served }),
    ...(ending === undefined ? {} : { outcome: ending.outcome }),
    ...(ending?.error === undefined ? {} : { error: ending.error }),
    fallback,
    attempts,
    startedAt,
    duration: Duration.millis(now - startedAt),
    ...(switches === undefined ? {} : { switches: [...switches] }),
    ...(refusals === undefined ? {} : { refusals: [...refusals] })
  })
}
