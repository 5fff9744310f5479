/** A world in which nothing happens by itself: turns and time are in the hand of the test, so no test of it waits. */
import { Chunk, type Clock, Duration, Effect, Exit, type Fiber, Logger, LogLevel, Option, Scheduler } from "effect"
import { type Call, LlmError, LlmProvider, LlmResponse, StreamPart } from "perdure"
import { type Local, localOf } from "../../src/internal/local.ts"
import { observers } from "../../src/internal/observers.ts"
import { InterruptAt } from "./interruptAt.ts"
import { openAi } from "./provider.ts"
import { answered } from "./quota.ts"

/** What happens at the moment that the world was made for: its call is interrupted, or its time is up. */
export type What = "interrupted" | "late"

/**
 * What a request comes to, a tenth of a second after it was made: an answer, a failure, nothing for ever, or, of a stream,
 * a first part and no more.
 */
export type Outcome = "answer" | "nothing" | "cut" | LlmError.LlmError

/** So much is used by each answer. */
export const usage = { inputTokens: 90, outputTokens: 10 }

const answer = answered(usage)

const first = Chunk.of<StreamPart.StreamPart>({ _tag: "TextDelta", text: "hi" })
const rest = Chunk.make<readonly [StreamPart.StreamPart, StreamPart.StreamPart]>(
  { _tag: "Usage", usage: new LlmResponse.Usage(usage) },
  StreamPart.Finish.make({ finishReason: "stop" })
)

interface Sleeper {
  readonly due: number
  readonly wake: () => void
}

class Moment extends InterruptAt {
  private readonly late: (() => void) | undefined
  constructor(step: number, turns: Scheduler.Scheduler, late: (() => void) | undefined) {
    super(step, turns)
    this.late = late
  }
  protected override strike(victim: Fiber.RuntimeFiber<unknown, unknown>): void {
    if (this.late === undefined) super.strike(victim)
    else this.late()
  }
}

export class World {
  readonly moment: InterruptAt
  readonly events: Array<Call.Event> = []
  /** Whoever waits for a time. */
  readonly sleepers = new Set<Sleeper>()
  /** How many requests are under way, at each provider. */
  readonly open: Array<number> = []
  /** How many requests were made. */
  asked = 0
  private mended = false
  private now = 0
  private readonly tasks: Array<() => void> = []
  private readonly clock: Clock.Clock

  constructor(step: number, what: What = "interrupted") {
    const turns = Scheduler.make((task) => this.tasks.push(task))
    this.moment = new Moment(step, turns, what === "late" ? () => this.wait(3_600_000) : undefined)
    const now = () => this.now
    this.clock = Object.assign(Object.create(Effect.runSync(Effect.clock)), {
      unsafeCurrentTimeMillis: now,
      unsafeCurrentTimeNanos: () => BigInt(this.now) * 1_000_000n,
      currentTimeMillis: Effect.sync(now),
      currentTimeNanos: Effect.sync(() => BigInt(this.now) * 1_000_000n),
      // Also who sleeps on a fiber of its own has its turn here.
      sleep: (duration: Duration.Duration) => Effect.withScheduler(this.sleep(Duration.toMillis(duration)), this.moment)
    })
  }

  /** Does something after so long; gives what prevents that. */
  private later(millis: number, task: () => void): () => void {
    const sleeper = {
      due: this.now + millis,
      wake: () => {
        this.sleepers.delete(sleeper)
        task()
      }
    }
    this.sleepers.add(sleeper)
    return () => this.sleepers.delete(sleeper)
  }

  private sleep(millis: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      let cancel = () => {}
      const sleeping = Effect.async<void>((resume) => {
        cancel = this.later(millis, () => resume(Effect.void))
      })
      return Effect.ensuring(sleeping, Effect.sync(() => cancel()))
    })
  }

  /** Time passes, and lets everybody run whose time has come. */
  advance(millis: number): void {
    this.wait(millis)
    this.settle()
  }

  /** Time passes; nobody has had a turn yet. */
  private wait(millis: number): void {
    this.now += millis
    for (const sleeper of [...this.sleepers].toSorted((a, b) => a.due - b.due)) {
      if (sleeper.due <= this.now) sleeper.wake()
    }
  }

  start<A, E>(self: Effect.Effect<A, E>): Fiber.RuntimeFiber<A, E> {
    const observed = Effect.locally(self, observers, [(event: Call.Event) => this.events.push(event)])
    const silent = Logger.withMinimumLogLevel(Effect.withClock(observed, this.clock), LogLevel.None)
    return Effect.runFork(silent, { scheduler: this.moment })
  }

  /** Lets everybody run who can. */
  settle(): void {
    for (let at = 0; at < this.tasks.length; at++) this.tasks[at]!()
    this.tasks.length = 0
  }

  /** Lets happen what happens until a fiber has ended, and moves the time on only when nobody can do anything before. */
  end<A, E>(fiber: Fiber.RuntimeFiber<A, E>): Exit.Exit<A, E> {
    for (let turns = 0; turns < 1000; turns++) {
      this.settle()
      const exit = fiber.unsafePoll()
      if (exit !== null) return exit
      // A moment in which all are waiting is one, too.
      if (this.moment.pass()) continue
      const [next] = [...this.sleepers].toSorted((a, b) => a.due - b.due)
      if (next === undefined) throw new Error("it waits for what never comes")
      this.now = Math.max(this.now, next.due)
      next.wake()
    }
    throw new Error("it never ends")
  }

  run<A, E>(self: Effect.Effect<A, E>): A {
    return Exit.getOrElse(this.end(this.start(self)), (cause) => {
      throw new Error(String(cause))
    })
  }

  /** From now on every request is answered. */
  mend(): void {
    this.mended = true
  }

  /** A provider whose requests come to these ends, one after the other; the last one is repeated. */
  provider(
    outcomes: readonly [Outcome, ...Array<Outcome>],
    { limits, target = openAi }: {
      readonly target?: LlmProvider.TargetInfo
      readonly limits?: LlmProvider.StreamLimits
    } = {}
  ): LlmProvider.Service {
    const at = this.open.push(0) - 1
    const count = (by: number) => this.open[at] = (this.open[at] ?? 0) + by
    let calls = 0
    const begin = (): Outcome => {
      count(1)
      this.asked++
      return this.mended ? "answer" : outcomes[Math.min(calls++, outcomes.length - 1)] ?? "answer"
    }
    const end = () => Effect.sync(() => count(-1))
    const come = (outcome: Outcome) =>
      Effect.zipRight(
        Effect.sleep("100 millis"),
        LlmError.is(outcome) ? Effect.fail(outcome) : outcome === "nothing" ? Effect.never : Effect.succeed(answer)
      )
    return LlmProvider.make({
      ...target,
      limits,
      generate: () => Effect.acquireUseRelease(Effect.sync(begin), come, end),
      source: () =>
        Effect.map(
          Effect.acquireRelease(Effect.sync(() => this.source(begin())), ({ close }) => Effect.zipRight(close, end())),
          ({ source }) => source
        )
    })
  }

  /** The first part comes after a tenth of a second, the others at once. */
  private source(outcome: Outcome): { readonly source: LlmProvider.Source; readonly close: Effect.Effect<void> } {
    let cancel = () => {}
    let isFirst = true
    const next = (done: (result: LlmProvider.Result) => void) => {
      if (!isFirst) return done(outcome === "cut" ? Exit.fail(Option.none()) : Exit.succeed(rest))
      isFirst = false
      if (outcome === "nothing") return
      cancel = this.later(100, () => done(LlmError.is(outcome) ? Exit.fail(Option.some(outcome)) : Exit.succeed(first)))
    }
    return { source: { next }, close: Effect.sync(() => cancel()) }
  }
}

/** What a fiber works for, as far as anything is set. */
export const setOn = (fiber: Fiber.RuntimeFiber<unknown, unknown>): ReadonlyArray<keyof Local> => {
  const { owner: _, ...local } = localOf(fiber)
  return (Object.keys(local) as Array<keyof typeof local>).filter((key) =>
    local[key] !== undefined && local[key] !== false
  )
}
