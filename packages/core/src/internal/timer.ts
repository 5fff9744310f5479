/** One thing to do later, on the `Clock`, without a fiber where the clock is the live one. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import { globalValue } from "effect/GlobalValue"

/** Does something once so many milliseconds have passed, unless it is cancelled before. */
export const after = (clock: Clock.Clock, millis: number, task: () => void): () => void => {
  if (clock === live && millis <= maxMillis) return timers.after(Math.max(0, millis), task)
  let cancelled = false
  const sleeper = Effect.runFork(clock.sleep(Duration.millis(Math.max(0, millis))))
  sleeper.addObserver((exit) => {
    if (Exit.isSuccess(exit) && !cancelled) task()
  })
  return () => {
    cancelled = true
    sleeper.unsafeInterruptAsFork(FiberId.none)
  }
}

const live = Context.get(DefaultServices.liveServices, Clock.Clock)

/** The longest that a timer of JavaScript's takes. */
const maxMillis = 2 ** 31 - 1

/** A timer of the system's. Where the system counts what keeps the process alive, it can be told not to count this one. */
export interface Handle {
  readonly ref?: () => unknown
  readonly unref?: () => unknown
}

interface Entry {
  readonly due: number
  /** The same on the clock that only runs. */
  readonly runsOut: number
  readonly task: () => void
  before: Entry | undefined
  next: Entry | undefined
  waiting: boolean
}

/** Those who wait equally long, so that the first to come is the first to be due. */
interface Line {
  readonly millis: number
  first: Entry | undefined
  last: Entry | undefined
  handle: Handle
}

/**
 * Timers that cost little when they are cancelled, as almost all time limits are: those of one length stand in a line, and
 * a timer of the system's runs only for the first. When a line is empty its timer is left to run out, without keeping the
 * process alive. The hashed timing wheels of Varghese and Lauck (1987), with a slot for each length in use.
 */
export class Timers {
  private readonly lines = new Map<number, Line>()
  private readonly now: () => number
  private readonly runs: () => number
  private readonly start: (task: () => void, millis: number) => Handle

  /**
   * @param now the time of day, which may be set back
   * @param runs a clock that is never set; what is due on either is due, so that nobody waits for an hour to come again
   */
  constructor(now: () => number, start: (task: () => void, millis: number) => Handle, runs: () => number = now) {
    this.now = now
    this.start = start
    this.runs = runs
  }

  /** How many lines there are. */
  get size(): number {
    return this.lines.size
  }

  after(millis: number, task: () => void): () => void {
    const entry: Entry = {
      due: this.now() + millis,
      runsOut: this.runs() + millis,
      task,
      before: undefined,
      next: undefined,
      waiting: true
    }
    const line = this.lines.get(millis)
    if (line === undefined) {
      const fresh: Line = { millis, first: entry, last: entry, handle: {} }
      this.lines.set(millis, fresh)
      fresh.handle = this.start(() => this.ring(fresh), millis)
      return () => remove(fresh, entry)
    }
    entry.before = line.last
    if (line.last === undefined) {
      line.first = entry
      line.handle.ref?.()
    } else line.last.next = entry
    line.last = entry
    return () => remove(line, entry)
  }

  private ring(line: Line): void {
    let error: unknown
    let failed = false
    for (let entry = line.first; entry !== undefined && this.left(entry) <= 0; entry = line.first) {
      remove(line, entry)
      try {
        entry.task()
      } catch (thrown) {
        failed = true
        error = thrown
      }
    }
    if (line.first === undefined) this.lines.delete(line.millis)
    else line.handle = this.start(() => this.ring(line), Math.max(1, this.left(line.first)))
    if (failed) throw error
  }

  private left({ due, runsOut }: Entry): number {
    return Math.min(due - this.now(), runsOut - this.runs())
  }
}

const remove = (line: Line, entry: Entry): void => {
  if (!entry.waiting) return
  entry.waiting = false
  if (entry.before === undefined) line.first = entry.next
  else entry.before.next = entry.next
  if (entry.next === undefined) line.last = entry.before
  else entry.next.before = entry.before
  if (line.first === undefined) line.handle.unref?.()
}

const timers = globalValue(
  Symbol.for("perdure/timer/timers"),
  () =>
    new Timers(
      () => live.unsafeCurrentTimeMillis(),
      // @effect-diagnostics-next-line globalTimers:off
      (task, millis) => globalThis.setTimeout(task, millis) as unknown as Handle,
      () => Number(live.unsafeCurrentTimeNanos()) / 1e6
    )
)
