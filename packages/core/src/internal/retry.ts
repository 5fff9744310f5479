/** What a retry policy decides about a failure, for both ways of running it: as a schedule and by the library. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Random from "effect/Random"
import type * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import * as Disposition from "../Disposition.ts"
import * as LlmError from "../LlmError.ts"
import type { Exponential, RetrySpec } from "../RetrySpec.ts"
import * as Backoff from "./backoff.ts"
import * as Call from "./call.ts"

/** The parts of a policy that are functions, so that no spec can hold them. */
export interface Parts {
  readonly classify: Disposition.Classifier
  readonly schedule: Schedule.Schedule<unknown, never> | undefined
}

export interface State {
  /** How many calls have failed. */
  readonly failures: number
  /** The wait before the last call, which decorrelated jitter grows from. */
  readonly previous: number
  /** When the time began to count; unknown to a plain schedule until the first failure. */
  readonly startedAt: number | undefined
  /** The state of a `Retry.fromSchedule` schedule. */
  readonly schedule: unknown
}

/** Why a failure is not repeated. */
export type GiveUp = "notRetryable" | "attempts" | "elapsed" | "retryAfter" | "schedule" | "elsewhere"

export type Decision =
  | { readonly _tag: "GiveUp"; readonly because: GiveUp }
  | { readonly _tag: "Again"; readonly wait: number; readonly state: State }

const giveUp = (because: GiveUp): Decision => ({ _tag: "GiveUp", because })

/** The `retryAfter` of a failure of any class, so that errors of the caller's own can carry one. */
const hintOf = (failure: unknown): Duration.Duration | undefined =>
  Predicate.hasProperty(failure, "retryAfter") && Duration.isDuration(failure.retryAfter)
    ? failure.retryAfter
    : undefined

export const millisOr = (duration: Duration.Duration | undefined, otherwise: number): number =>
  duration === undefined ? otherwise : Duration.toMillis(duration)

/** What a decision depends on besides the policy and the failure. */
interface Facts {
  readonly now: number
  /** Chance, in [0, 1). */
  readonly u: number
  /** Whether another target of a fallback would take over after a failure. */
  readonly elsewhere: (failure: LlmError.LlmError) => boolean
  /** What the `Retry.fromSchedule` schedule says, in milliseconds; 0 when there is none. */
  readonly delay: number
}

/** Everything a policy decides. */
const decide = (spec: RetrySpec, parts: Parts, state: State, failure: unknown, facts: Facts): Decision => {
  const { delay, elsewhere, now, u } = facts
  let pace: Disposition.Pace | undefined
  let hint: Duration.Duration | undefined
  if (LlmError.is(failure)) {
    const disposition = parts.classify(failure)
    if (!Disposition.mayRepeat(disposition)) return giveUp("notRetryable")
    if (disposition.next === "elsewhereFirst" && elsewhere(failure)) return giveUp("elsewhere")
    pace = disposition.pace
    hint = disposition.wait
  } else {
    if (spec.repeats === "llmErrors") return giveUp("notRetryable")
    hint = hintOf(failure)
  }
  const failures = state.failures + 1
  if (spec.attempts !== undefined && failures >= spec.attempts) return giveUp("attempts")

  const cap = millisOr(spec.cap, Backoff.longest)
  const { base, raw } = spec.backoff._tag === "Exponential"
    ? exponentialDelay(spec.backoff, pace === undefined ? undefined : spec.bases[pace], failures, cap)
    : { base: Math.min(delay, cap), raw: Math.min(delay, cap) }
  const range = Backoff.spread(spec.jitter, raw, base, state.previous === 0 ? base : state.previous, cap)

  const startedAt = state.startedAt ?? now
  const left = spec.within === undefined ? Infinity : startedAt + Duration.toMillis(spec.within) - now
  const asked = spec.maxRetryAfter === undefined || hint === undefined ? undefined : Duration.toMillis(hint)
  const wait = Backoff.draw(range, u, asked, millisOr(spec.maxRetryAfter, Infinity), left)
  if (wait._tag === "TooLong") return giveUp(wait.because)
  return {
    _tag: "Again",
    wait: wait.millis,
    state: { failures, previous: wait.millis, startedAt, schedule: state.schedule }
  }
}

const exponentialDelay = (backoff: Exponential, own: Duration.Duration | undefined, n: number, cap: number) => {
  const base = Duration.toMillis(own ?? backoff.base)
  return { base, raw: Backoff.exponential(base, backoff.factor, n, cap) }
}

/** Draws the chance that a decision needs, asks the caller's schedule where there is one, and decides. */
export const next = (
  spec: RetrySpec,
  parts: Parts,
  state: State,
  failure: unknown,
  now: number
): Effect.Effect<Decision> =>
  Effect.withFiberRuntime((fiber) => {
    const elsewhere = fiber.getFiberRef(Call.elsewhere)
    const chance = spec.jitter === "none" ? Effect.succeed(0) : Random.next
    const { schedule } = parts
    if (schedule === undefined) {
      return Effect.map(chance, (u) => decide(spec, parts, state, failure, { now, u, elsewhere, delay: 0 }))
    }
    return Effect.zipWith(chance, schedule.step(now, failure as never, state.schedule), (u, [inner, _, decision]) => {
      if (ScheduleDecision.isDone(decision)) return giveUp("schedule")
      const delay = Math.max(0, ScheduleIntervals.start(decision.intervals) - now)
      return decide(spec, parts, { ...state, schedule: inner }, failure, { now, u, elsewhere, delay })
    })
  })

export const initial = (parts: Parts, startedAt?: number): State => ({
  failures: 0,
  previous: 0,
  startedAt,
  schedule: parts.schedule?.initial
})
