/** Those who wait for a permit of one key, in the order they came. */
import * as Effect from "effect/Effect"
import { type Cost, project, type Projection, type State, type Unit, units } from "./quota.ts"

/** Why a waiter is sent away. */
export type Verdict = Pick<Projection, "at" | "short" | "never">

export class Waiter {
  readonly cost: Cost
  /** The time, in milliseconds, by which it must have its permit; at that time it is too late. */
  readonly latest: number
  next: Waiter | undefined = undefined
  previous: Waiter | undefined = undefined
  waits = false
  verdict: Verdict | undefined = undefined
  private resume: (() => void) | undefined = undefined
  private poked = false

  constructor(cost: Cost, latest: number) {
    this.cost = cost
    this.latest = latest
  }

  /** Waits for the next {@link wake}, or not at all when it has come already. */
  readonly parked: Effect.Effect<void> = Effect.async((resume) => {
    if (this.poked) {
      this.poked = false
      return resume(Effect.void)
    }
    this.resume = () => resume(Effect.void)
    return Effect.sync(() => {
      this.resume = undefined
    })
  })

  wake(): void {
    const { resume } = this
    this.resume = undefined
    if (resume === undefined) this.poked = true
    else resume()
  }
}

/** One key's queue, and what of it is under way. Mutable, since every change is one synchronous step. */
export class Line {
  readonly key: string
  head: Waiter | undefined = undefined
  private tail: Waiter | undefined = undefined
  size = 0
  /** No waiter has to be sent away before this time. */
  earliest = Infinity
  /** What is left when all who wait have gone; absent when something has changed since. */
  private projection: Projection | undefined = undefined
  readonly underWay: { [U in Unit]: number } = { requests: 0, tokens: 0, inputTokens: 0, outputTokens: 0 }

  constructor(key: string) {
    this.key = key
  }

  count(cost: Cost, sign: 1 | -1): void {
    for (const unit of units) this.underWay[unit] += sign * cost[unit]
  }

  /** When someone who came now would have a permit. */
  foresee(state: State, cost: Cost, now: number): Projection {
    return project(this.projection ?? this.review(state, now), cost, now)
  }

  push(waiter: Waiter, projection: Projection): void {
    waiter.waits = true
    waiter.previous = this.tail
    if (this.tail === undefined) this.head = waiter
    else this.tail.next = waiter
    this.tail = waiter
    this.size++
    this.earliest = Math.min(this.earliest, waiter.latest)
    this.projection = projection
  }

  /** Takes a waiter out, whoever's turn it is, and gives its place on. */
  remove(waiter: Waiter): void {
    if (!waiter.waits) return
    waiter.waits = false
    this.size--
    const { next, previous } = waiter
    if (next === undefined) this.tail = previous
    else next.previous = previous
    if (previous !== undefined) previous.next = next
    else {
      this.head = next
      next?.wake()
    }
    if (this.head === undefined) this.forget()
  }

  /** Somebody gives up: those behind come sooner than was foreseen. */
  leave(waiter: Waiter): void {
    if (!waiter.waits) return
    this.remove(waiter)
    this.forget()
  }

  /** What was foreseen no longer holds. */
  forget(): void {
    this.projection = undefined
    if (this.head === undefined) this.earliest = Infinity
  }

  /** Foresees everybody's turn anew, and sends away those for whom it comes too late. */
  review(state: State, now: number): Projection {
    let all: Projection = { state, at: now, short: "", never: undefined }
    this.earliest = Infinity
    for (let waiter = this.head; waiter !== undefined; waiter = waiter.next) {
      const its = project(all, waiter.cost, now)
      if (its.never !== undefined || its.at >= waiter.latest) {
        waiter.verdict = its
        this.remove(waiter)
        waiter.wake()
      } else {
        all = its
        this.earliest = Math.min(this.earliest, waiter.latest)
      }
    }
    // What others take is not told here, but with somebody in line they take nothing.
    this.projection = this.head === undefined ? undefined : all
    return all
  }
}
