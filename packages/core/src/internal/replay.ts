/** A receipt from the events of a call: what the recorder wrote down, read off what it told. */
import * as Duration from "effect/Duration"
import type { Mutable } from "effect/Types"
import type { Ended, Event } from "../Call.ts"
import type * as Receipt from "../Receipt.ts"
import { type Entry, receiptOf } from "./receipt.ts"

/** The story of a call, as far as it was told. */
class Replay {
  readonly requested: Receipt.Target | undefined
  readonly startedAt: number
  private now: number
  private ended: Ended | undefined
  private readonly attempts = new Map<number, Mutable<Entry>>()
  private switches: Array<Receipt.Switch> | undefined
  private refusals: Array<Receipt.Refused> | undefined

  constructor(at: number, requested: Receipt.Target | undefined) {
    this.startedAt = at
    this.now = at
    this.requested = requested
  }

  hear(event: Event): void {
    this.now = Math.max(this.now, event.at)
    const at = Duration.millis(event.at - this.startedAt)
    switch (event._tag) {
      case "AttemptStarted": {
        const { attempt, hedge, key, target } = event
        this.attempts.set(attempt, {
          target,
          start: event.at,
          end: undefined,
          outcome: undefined,
          key,
          hedge,
          firstOutput: undefined,
          usage: undefined,
          cost: undefined,
          lost: false
        })
        return
      }
      case "FirstOutput":
        return this.change(event.attempt, { firstOutput: event.at })
      case "AttemptEnded": {
        const { attempt, cost, duration, outcome, usage } = event
        // Requests that an SDK made by itself are told late, and then it is known when the first of them began.
        const start = event.at - Duration.toMillis(duration)
        return this.change(attempt, { start, end: event.at, outcome, usage, cost })
      }
      case "Discarded":
        return this.change(event.attempt, { lost: true })
      case "FellBack": {
        const { because, from, to } = event
        this.switches = [...this.switches ?? [], { at, from, to, because }]
        return
      }
      case "Refused": {
        const { because, retryAfter, target } = event
        const refused = retryAfter === undefined ? { at, target, because } : { at, target, because, retryAfter }
        this.refusals = [...this.refusals ?? [], refused]
        return
      }
      case "Ended":
        this.ended = event
        return
      case "Started":
      case "Waiting":
      case "GaveUp":
      case "CircuitChanged":
      case "KeyBenched":
      case "BudgetExhausted":
    }
  }

  /** What came after the end is another's: a fiber may outlive its call. */
  get over(): boolean {
    return this.ended !== undefined
  }

  get receipt(): Receipt.Receipt {
    const { attempts, ended, now, refusals, requested, startedAt, switches } = this
    const story = { requested, startedAt, attempts: [...attempts.values()], switches, refusals }
    return receiptOf(story, ended?.at ?? now, ended)
  }

  private change(attempt: number, changes: Partial<Entry>): void {
    const attempted = this.attempts.get(attempt)
    if (attempted !== undefined) Object.assign(attempted, changes)
  }
}

/** The receipt of the first call that begins among the events. */
export const replay = (events: Iterable<Event>): Receipt.Receipt | undefined => {
  let call: number | undefined
  let story: Replay | undefined
  for (const event of events) {
    if (story === undefined) {
      if (event._tag !== "Started") continue
      call = event.call
      story = new Replay(event.at, event.requested)
    }
    if (event.call === call) story.hear(event)
    if (story.over) break
  }
  return story?.receipt
}
