/** One thing to do later, on the `Clock`, without a fiber where the clock is the live one. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"

/** Something to be done later, once for each time that it is set. */
export abstract class Alarm {
  /** Its place among those that wait equally long, while it waits; see {@link Timers}. */
  line: Line | undefined = undefined
  due = 0
  before: Alarm | undefined = undefined
  next: Alarm | undefined = undefined
  private sleeper: Fiber.RuntimeFiber<void> | undefined = undefined

  abstract ring(): void

  /** Rings once so many milliseconds have passed, unless it is cancelled before. */
  set(clock: Clock.Clock, millis: number): void {
    if (clock === live && millis <= maxMillis) return timers.set(this, Math.max(0, millis))
    const sleeper = Effect.runFork(clock.sleep(Duration.millis(Math.max(0, millis))))
    this.sleeper = sleeper
    sleeper.addObserver((exit) => {
      if (this.sleeper !== sleeper || Exit.isFailure(exit)) return
      this.sleeper = undefined
      this.ring()
    })
  }

  cancel(): void {
    if (this.line !== undefined) return this.line.timers.remove(this)
    this.sleeper?.unsafeInterruptAsFork(FiberId.none)
    this.sleeper = undefined
  }
}

class Task extends Alarm {
  readonly ring: () => void

  constructor(task: () => void) {
    super()
    this.ring = task
  }
}

/** Does something once so many milliseconds have passed, unless it is cancelled before. */
export const after = (clock: Clock.Clock, millis: number, task: () => void): () => void => {
  const alarm = new Task(task)
  alarm.set(clock, millis)
  return () => alarm.cancel()
}

const live = Context.get(DefaultServices.liveServices, Clock.Clock)

/** The longest that a timer of JavaScript's takes. */
const maxMillis = 2 ** 31 - 1

/** A timer of the system's. Where the system counts what keeps the process alive, it can be told not to count this one. */
export interface Handle {
  readonly ref?: () => unknown
  readonly unref?: () => unknown
}

/** Of how many lengths a line may stay without anybody in it: some lengths are used once and never again. */
const idle = 100

/** For how many milliseconds an empty line may keep the process alive. */
const lull = 5

/** Those who wait equally long, so that the first to come is the first to be due. */
interface Line {
  readonly timers: Timers
  readonly millis: number
  first: Alarm | undefined
  last: Alarm | undefined
  handle: Handle
  /** Whether its timer keeps the process alive. */
  counts: boolean
}

/**
 * Timers that cost little when they are cancelled, as almost all time limits are: those of one length stand in a line, and
 * a timer of the system's runs only for the first. When a line is empty its timer is left to run out, without keeping the
 * process alive. The hashed timing wheels of Varghese and Lauck (1987), with a slot for each length in use.
 */
export class Timers {
  private readonly lines = new Map<number, Line>()
  private tidying = false
  private readonly now: () => number
  private readonly start: (task: () => void, millis: number) => Handle
  private readonly stop: (handle: Handle) => void

  /** @param now a clock that is never set back, or some would wait for an hour to come again */
  constructor(
    now: () => number,
    start: (task: () => void, millis: number) => Handle,
    stop: (handle: Handle) => void
  ) {
    this.now = now
    this.start = start
    this.stop = stop
  }

  /** How many lines there are. */
  get size(): number {
    return this.lines.size
  }

  set(alarm: Alarm, millis: number): void {
    alarm.due = this.now() + millis
    const line = this.lines.get(millis)
    if (line === undefined) {
      const fresh: Line = { timers: this, millis, first: alarm, last: alarm, handle: {}, counts: true }
      alarm.line = fresh
      this.lines.set(millis, fresh)
      fresh.handle = this.start(() => this.ring(fresh), millis)
      return
    }
    alarm.line = line
    alarm.before = line.last
    if (line.last === undefined) {
      line.first = alarm
      if (!line.counts) line.handle.ref?.()
      line.counts = true
    } else line.last.next = alarm
    line.last = alarm
  }

  private ring(line: Line): void {
    let error: unknown
    let failed = false
    for (let alarm = line.first; alarm !== undefined && alarm.due <= this.now(); alarm = line.first) {
      this.remove(alarm)
      try {
        alarm.ring()
      } catch (thrown) {
        failed = true
        error = thrown
      }
    }
    if (line.first === undefined) this.forget(line)
    else {
      line.handle = this.start(() => this.ring(line), Math.max(1, line.first.due - this.now()))
      line.counts = true
    }
    if (failed) throw error
  }

  /** Takes one out of its line, if it is in one. */
  remove(alarm: Alarm): void {
    const { before, line, next } = alarm
    if (line === undefined) return
    if (before === undefined) line.first = next
    else before.next = next
    if (next === undefined) line.last = before
    else next.before = before
    alarm.line = undefined
    alarm.before = undefined
    alarm.next = undefined
    if (line.first !== undefined) return
    if (this.lines.size <= idle) return this.tidySoon()
    this.forget(line)
    this.stop(line.handle)
  }

  /** Lets the process end although the timers of empty lines run on. Not at once: it costs more than all else here. */
  private tidySoon(): void {
    if (this.tidying) return
    this.tidying = true
    this.start(() => {
      this.tidying = false
      for (const line of this.lines.values()) {
        if (line.first !== undefined || !line.counts) continue
        line.handle.unref?.()
        line.counts = false
      }
    }, lull)
  }

  private forget(line: Line): void {
    if (this.lines.get(line.millis) === line) this.lines.delete(line.millis)
  }
}

const timers = new Timers(
  () => Number(live.unsafeCurrentTimeNanos()) / 1e6,
  // @effect-diagnostics-next-line globalTimers:off
  (task, millis) => globalThis.setTimeout(task, millis) as unknown as Handle,
  (handle) => globalThis.clearTimeout(handle as unknown as ReturnType<typeof setTimeout>)
)
