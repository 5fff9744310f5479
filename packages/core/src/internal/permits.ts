/** Permits by the key: taken at once where there is one, waited for in line where there is room. */
import * as Effect from "effect/Effect"
import * as LlmError from "../LlmError.ts"
import type { Subject } from "../Policy.ts"
import { Permits, Place } from "./bulkhead.ts"
import { clockOf } from "./clock.ts"
import { deadlineOf } from "./deadline.ts"
import type { AnyFiber, Restore } from "./gate.ts"
import { inLine } from "./queueing.ts"
import { unknown } from "./receipt.ts"
import { refuse } from "./refuse.ts"
import { after } from "./timer.ts"

type Answer = Effect.Effect<void, LlmError.BulkheadFull>

class Waiter extends Place {
  /** What it was told before it listened. */
  answer: Answer | undefined = undefined
  resume: ((answer: Answer) => void) | undefined = undefined
  cancelTimer: (() => void) | undefined = undefined

  tell(answer: Answer): void {
    this.cancelTimer?.()
    this.answer = answer
    this.resume?.(answer)
  }
}

/** The permits of one key: none, until it is given a limit. */
export class Slot {
  readonly permits = new Permits<Waiter>(0)

  /** Gives a permit back, to the first in line if anybody waits. */
  leave(): void {
    this.permits.leave()?.tell(Effect.void)
  }

  /** Lets in whoever has room after a change of the limit; nobody has to go. */
  resize(limit: number): void {
    this.permits.limit = limit
    for (let next = this.permits.admit(); next !== undefined; next = this.permits.admit()) next.tell(Effect.void)
  }
}

/** What holds for whoever finds no permit. */
export interface Waiting {
  /** How many may wait. */
  readonly queue: number
  /** How long, in milliseconds. */
  readonly maxWait: number
}

/**
 * Waits for a permit. An interruption may come at any step, even when the permit has been granted and its new holder has
 * not run yet; so whoever does not get to use it passes it on here, outside of what can be interrupted.
 */
export const wait = (
  fiber: AnyFiber,
  key: string,
  slot: Slot,
  { maxWait, queue }: Waiting,
  subject: Subject | undefined,
  restore: Restore
): Effect.Effect<void, LlmError.BulkheadFull> => {
  const { permits } = slot
  const clock = clockOf(fiber)
  const now = clock.unsafeCurrentTimeMillis()
  const until = Math.min(now + maxWait, deadlineOf(fiber)?.at ?? Infinity)
  const full = () => {
    const { model, provider } = subject?.target ?? unknown
    return refuse(fiber, LlmError.refusal(LlmError.BulkheadFull, { provider, model, limit: permits.limit, queue }))
  }
  if (permits.waiting >= queue || until <= now) return full()
  const waiter = new Waiter()
  permits.join(waiter)
  const told = Effect.async<void, LlmError.BulkheadFull>((resume) => {
    if (waiter.answer !== undefined) return resume(waiter.answer)
    waiter.resume = resume
    if (until === Infinity) return
    waiter.cancelTimer = after(clock, until - clock.unsafeCurrentTimeMillis(), () => {
      if (permits.withdraw(waiter)) waiter.tell(Effect.suspend(full))
    })
  })
  const waited = Effect.matchCauseEffect(restore(told), {
    onSuccess: () => Effect.void,
    onFailure: (cause) => {
      waiter.cancelTimer?.()
      if (!permits.withdraw(waiter) && waiter.place === "granted") slot.leave()
      return Effect.failCause(cause)
    }
  })
  return inLine(fiber, { policy: "bulkhead", name: key, subject }, waited)
}

/** How many keys are remembered before those are forgotten that nobody holds a permit of or waits for. */
const most = 1000

/** The slots of all keys. */
export class Slots<S extends Slot> {
  private readonly slots = new Map<string, S>()
  private room = most

  get size(): number {
    return this.slots.size
  }

  find(key: string): S | undefined {
    return this.slots.get(key)
  }

  add(key: string, slot: S): S {
    if (this.slots.size >= this.room) this.forget()
    this.slots.set(key, slot)
    return slot
  }

  values(): Iterable<S> {
    return this.slots.values()
  }

  private forget(): void {
    for (const [key, { permits }] of this.slots) {
      if (permits.inFlight === 0 && permits.waiting === 0) this.slots.delete(key)
    }
    this.room = Math.max(most, 2 * this.slots.size)
  }
}
