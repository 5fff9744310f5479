/**
 * The time that a whole call has, with everything in it: all attempts, waits and fallbacks.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Call from "./internal/call.ts"
import { deadlineOf } from "./internal/deadline.ts"
import { type AnyFiber, type Gate, stay } from "./internal/gate.ts"
import { limit as limitOf } from "./internal/limit.ts"
import * as Pipeline from "./internal/pipeline.ts"
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
    [Pipeline.gate(Call.track), Pipeline.gate(gate(checked))]
  )
}

/**
 * The time that is left to the current fiber, if it has a deadline; never less than zero.
 *
 * @since 0.1.0
 * @category reading
 */
export const remaining: Effect.Effect<Option.Option<Duration.Duration>> = Effect.withFiberRuntime((fiber) => {
  const deadline = deadlineOf(fiber)
  return Effect.succeed(
    deadline === undefined ? Option.none() : Option.some(Duration.millis(Math.max(0, deadline.at - Call.nowOf(fiber))))
  )
})

const gate = (limit: Duration.Duration): Gate => {
  const millis = Duration.toMillis(limit)
  return (passing) => {
    const { fiber, local, subject } = passing
    const before = local.deadline
    const outer = deadlineOf(fiber)
    const now = Call.nowOf(fiber)
    const nearer = outer !== undefined && outer.at <= now + millis ? outer : undefined
    if (nearer !== undefined) {
      if (nearer.at <= now) return refuse(fiber, exceeded(fiber, subject, nearer.limit, false))
      // One around this is up earlier, and its own timer sees to that.
      if (nearer.fiber === fiber) return stay
    }
    const time = nearer === undefined ? millis : nearer.at - now
    const given = nearer?.limit ?? limit
    const call = Call.live(fiber)
    const first = call?.attempts.length ?? 0
    const leave = limitOf(fiber, time, () => {
      const underWay = call?.since(first, fiber).filter(({ outcome }) => outcome === undefined) ?? []
      const failure = exceeded(fiber, subject, given, underWay.length > 0)
      for (const attempt of underWay) attempt.cut ??= failure
      return failure
    })
    const deadline = { at: now + time, limit: given, fiber, over: false }
    local.deadline = deadline
    const restored = (exit: Exit.Exit<any, any>) => {
      local.deadline = before
      deadline.over = true
      return leave(exit, passing)
    }
    return leave.apart === undefined ? restored : Object.assign(restored, { apart: leave.apart })
  }
}

const exceeded = (fiber: AnyFiber, subject: Subject | undefined, limit: Duration.Duration, sent: boolean) => {
  const { model, provider } = Call.live(fiber)?.target ?? subject?.target ?? { provider: "unknown", model: "unknown" }
  return LlmError.refusal(LlmError.DeadlineExceeded, { provider, model, reason: "passed", limit, sent })
}
