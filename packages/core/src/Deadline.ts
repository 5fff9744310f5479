/**
 * The time that a whole call has, with everything in it: all attempts, waits and fallbacks.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Call from "./internal/call.ts"
import { track } from "./internal/calling.ts"
import { nowOf } from "./internal/clock.ts"
import * as Internal from "./internal/deadline.ts"
import { type AnyFiber, type Gate, type Passing, stay } from "./internal/gate.ts"
import { Limit } from "./internal/limit.ts"
import type { Local } from "./internal/local.ts"
import * as Pipeline from "./internal/pipeline.ts"
import { unknown } from "./internal/receipt.ts"
import { refuse } from "./internal/refuse.ts"
import * as LlmError from "./LlmError.ts"
import * as Options from "./Options.ts"
import type { Policy, Subject } from "./Policy.ts"

/**
 * Gives what it is put around a time. When it is up, all inside is interrupted, and `DeadlineExceeded` follows when that
 * has let go; it says whether a request was under way (`sent`).
 *
 * Policies inside know the time: a retry starts no wait that would end at it or past it, a quota refuses at once what
 * could not be admitted in time, a bulkhead at the deadline, a fallback may pass over a target that is usually too slow. Of deadlines inside
 * one another the nearest counts. Around a stream it is the time to the first output; with `whenCut: "buffer"`, and so
 * with `via: "stream"`, that is the whole answer.
 *
 * `Policy.timeout` limits one attempt, and another may follow it; after a deadline nothing does.
 *
 * @example
 * ```ts
 * import { Deadline, Policy, Retry } from "perdure"
 *
 * const patient = Policy.compose(Deadline.make("60 seconds"), Policy.retry(Retry.standard))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (limit: Duration.DurationInput): Policy<unknown, LlmError.DeadlineExceeded> => {
  const checked = Options.duration("Deadline.make(limit)", limit)
  return Pipeline.policy(
    [{ name: "deadline", settings: Duration.format(checked) }],
    [Pipeline.gate(track), Pipeline.gate(gate(checked))]
  )
}

/**
 * The time that is left to the current fiber, if it has a deadline; never less than zero.
 *
 * @since 0.1.0
 * @category reading
 */
export const remaining: Effect.Effect<Option.Option<Duration.Duration>> = Effect.withFiberRuntime((fiber) => {
  const deadline = Internal.deadlineOf(fiber)
  return Effect.succeed(
    deadline === undefined ? Option.none() : Option.some(Duration.millis(Math.max(0, deadline.at - nowOf(fiber))))
  )
})

/** The time of what is behind the gate; policies there see it as their deadline. */
class Given extends Limit implements Internal.Deadline {
  readonly at: number
  readonly limit: Duration.Duration
  isOver = false
  private readonly local: Local
  private readonly around: Internal.Deadline | undefined
  private readonly subject: Subject | undefined
  private readonly call: Call.Call | undefined
  /** How many attempts there were before. */
  private readonly first: number

  constructor({ fiber, local, subject }: Passing, at: number, limit: Duration.Duration) {
    super(fiber)
    this.at = at
    this.limit = limit
    this.local = local
    this.around = local.deadline
    this.subject = subject
    this.call = Call.liveIn(local)
    this.first = this.call?.count ?? 0
    local.deadline = this
  }

  protected override over(): void {
    this.local.deadline = this.around
    this.isOver = true
  }

  protected expire() {
    const attempts = this.call?.since(this.first, this.fiber) ?? []
    const underWay = attempts.filter(({ outcome }) => outcome === undefined)
    const unrecorded = this.call?.unrecordedOf(this.fiber) ?? []
    const failure = exceeded(this.fiber, this.subject, this.limit, underWay.length + unrecorded.length > 0)
    for (const attempt of underWay) attempt.cut ??= failure
    return failure
  }
}

const gate = (limit: Duration.Duration): Gate => {
  const millis = Duration.toMillis(limit)
  return (passing) => {
    const { fiber, local, now, subject } = passing
    const outer = Internal.liveIn(local)
    const nearer = outer !== undefined && outer.at <= now + millis ? outer : undefined
    if (nearer === undefined) return new Given(passing, now + millis, limit).begin(passing, millis)
    if (nearer.at <= now) return refuse(fiber, exceeded(fiber, subject, nearer.limit, false))
    // One around this is up earlier, and its own timer sees to that.
    return nearer.fiber === fiber ? stay : new Given(passing, nearer.at, nearer.limit).begin(passing, nearer.at - now)
  }
}

const exceeded = (fiber: AnyFiber, subject: Subject | undefined, limit: Duration.Duration, sent: boolean) => {
  const { model, provider } = Call.live(fiber)?.target ?? subject?.target ?? unknown
  return LlmError.refusal(LlmError.DeadlineExceeded, { provider, model, reason: "passed", limit, sent })
}
