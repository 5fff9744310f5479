/** The time limits of a stream: until its first output, and between outputs. */
import * as Chunk from "effect/Chunk"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { TimedOut, type TimeoutPhase } from "../LlmError.ts"
import type { Result, Source } from "../LlmProvider.ts"
import type { Target } from "../Receipt.ts"
import { isOutput } from "../StreamPart.ts"
import type { Pull } from "./opened.ts"
import { after } from "./timer.ts"

export interface Limits {
  readonly firstOutput?: Duration.Duration | undefined
  readonly idle?: Duration.Duration | undefined
}

/**
 * Asks a source for its next parts and fails when output is too long in coming. Only the time in which the reader waits
 * counts, so a slow reader is nobody's fault; and only output feeds the timers, not pings and usage.
 *
 * A reader who stops waiting and comes back waits for what was asked for already, so nothing is lost in between. One
 * timer serves the whole stream: it is started anew only where it would come too late.
 */
export const patient = (
  source: Source,
  limits: Limits,
  target: Target
): Effect.Effect<Pull, never, Scope.Scope> =>
  Effect.flatMap(Effect.clock, (clock) => {
    const waiting = new Waiting(source, limits, target, clock)
    const pull = Effect.suspend(() => waiting.ask())
    return Effect.as(Effect.addFinalizer(() => Effect.sync(() => waiting.stop())), pull)
  })

class Waiting {
  private readonly source: Source
  private readonly target: Target
  private readonly limits: Limits
  private readonly clock: Clock.Clock
  private phase: TimeoutPhase = "firstOutput"
  private limit: Duration.Duration | undefined
  /** What the reader has waited since the last output, up to `since`. */
  private waited = 0
  /** Since when the reader has been waiting, if it is. */
  private since: number | undefined
  private resume: ((effect: Result) => void) | undefined
  /** Whether the source has been asked and has not yet answered. */
  private asked = false
  /** What it answered while nobody waited. */
  private ready: Result | undefined
  private cancel: (() => void) | undefined
  /** When the timer looks. */
  private alarm = Infinity
  private over = false

  constructor(source: Source, limits: Limits, target: Target, clock: Clock.Clock) {
    this.source = source
    this.limits = limits
    this.target = target
    this.clock = clock
    this.limit = limits.firstOutput
  }

  ask(): Pull {
    if (this.over && this.ready === undefined) return closed
    if (this.ready === undefined && !this.asked) {
      this.asked = true
      this.since = this.now()
      this.source.next(this.answered)
    }
    const { ready } = this
    if (ready !== undefined) {
      this.ready = undefined
      this.since = undefined
      return ready
    }
    return this.wait
  }

  private readonly wait: Pull = Effect.async((resume) => {
    // The runtime may have let others run since the source was asked.
    const { ready } = this
    if (ready !== undefined) {
      this.ready = undefined
      return resume(ready)
    }
    if (this.over) return resume(closed)
    this.since = this.now()
    this.resume = resume
    this.arm()
    return Effect.sync(() => {
      this.pause()
      this.resume = undefined
    })
  })

  private readonly answered = (result: Result): void => {
    this.asked = false
    this.pause()
    if (Exit.isSuccess(result) && Chunk.some(result.value, isOutput)) {
      this.phase = "idle"
      this.limit = this.limits.idle
      this.waited = 0
    }
    const { resume } = this
    if (resume === undefined) this.ready = result
    else {
      this.resume = undefined
      resume(result)
    }
  }

  private now(): number {
    return this.clock.unsafeCurrentTimeMillis()
  }

  private pause(): void {
    if (this.since !== undefined) this.waited += this.now() - this.since
    this.since = undefined
  }

  private due(): number {
    return this.limit === undefined || this.since === undefined
      ? Infinity
      : this.since + Duration.toMillis(this.limit) - this.waited
  }

  private arm(): void {
    const due = this.due()
    if (due >= this.alarm) return
    this.cancel?.()
    this.alarm = due
    this.cancel = after(this.clock, due - this.now(), () => {
      this.alarm = Infinity
      this.cancel = undefined
      const { limit, phase, resume, target } = this
      if (resume === undefined || limit === undefined) return
      if (this.due() > this.now()) return this.arm()
      this.resume = undefined
      this.pause()
      resume(Exit.fail(Option.some(new TimedOut({ ...target, phase, limit }))))
    })
  }

  /** The stream is over. Who still waits, on another fiber, would do so for ever. */
  stop(): void {
    this.cancel?.()
    this.cancel = undefined
    this.alarm = Infinity
    this.limit = undefined
    this.over = true
    const { resume } = this
    this.resume = undefined
    resume?.(closed)
  }
}

/** What a reader is told after the scope of the stream has closed: that it was left. */
const closed: Result = Exit.interrupt(FiberId.none)
