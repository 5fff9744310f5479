/** What a retry policy decides about a failure, for both ways of running it: as a schedule and by the library. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as Predicate from "effect/Predicate"
import * as Random from "effect/Random"
import type * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import type { GiveUp } from "../Call.ts"
import * as Disposition from "../Disposition.ts"
import * as LlmError from "../LlmError.ts"
import type { Exponential, RetrySpec } from "../RetrySpec.ts"
import * as Backoff from "./backoff.ts"
import * as Budget from "./budget.ts"
import * as Call from "./call.ts"
import { deadlineOf } from "./deadline.ts"
import * as Eager from "./eager.ts"
import { Again, type AnyFiber, type Gate, type Leave } from "./gate.ts"
import { claimed, localOf } from "./local.ts"
import * as Spent from "./spent.ts"

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
  /** The failure before; undefined until there was one. */
  readonly last: unknown
}

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
  /** When the time of the whole call is up. */
  readonly deadline: number
  /** Chance, in [0, 1). */
  readonly u: number
  /** Whether another target of a fallback would take over after a failure. */
  readonly elsewhere: (failure: LlmError.LlmError) => boolean
  /** What the `Retry.fromSchedule` schedule says, in milliseconds; 0 when there is none. */
  readonly delay: number
  /** Whether a retry further in has given up on the failure and could not mark it. */
  readonly spent: boolean
}

/** Everything a policy decides. */
const decide = (spec: RetrySpec, parts: Parts, state: State, failure: unknown, facts: Facts): Decision => {
  const { deadline, delay, elsewhere, now, spent, u } = facts
  let pace: Disposition.Pace | undefined
  let hint: Duration.Duration | undefined
  if (LlmError.is(failure)) {
    const disposition = parts.classify(failure)
    if (!Disposition.mayRepeat(disposition)) return giveUp("notRetryable")
    if (spent) return giveUp("spent")
    if (disposition.next === "elsewhereFirst" && elsewhere(failure)) return giveUp("elsewhere")
    pace = disposition.pace
    hint = disposition.wait
  } else {
    if (spec.repeats === "llmErrors") return giveUp("notRetryable")
    if (spent) return giveUp("spent")
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
  const end = spec.within === undefined ? deadline : Math.min(deadline, startedAt + Duration.toMillis(spec.within))
  const asked = spec.maxRetryAfter === undefined || hint === undefined ? undefined : Duration.toMillis(hint)
  const wait = Backoff.draw(range, u, asked, millisOr(spec.maxRetryAfter, Infinity), end - now)
  if (wait._tag === "TooLong") return giveUp(wait.because)
  return {
    _tag: "Again",
    wait: wait.millis,
    state: { failures, previous: wait.millis, startedAt, schedule: state.schedule, last: failure }
  }
}

const exponentialDelay = (backoff: Exponential, own: Duration.Duration | undefined, n: number, cap: number) => {
  const base = Duration.toMillis(own ?? backoff.base)
  return { base, raw: Backoff.exponential(base, backoff.factor, n, cap) }
}

/** The decision of a schedule, which cannot mark a failure that it gives up on: the fiber remembers it. */
export const next = (
  spec: RetrySpec,
  parts: Parts,
  state: State,
  failure: unknown,
  now: number
): Effect.Effect<Decision> =>
  Effect.withFiberRuntime((fiber) => {
    const spent = Spent.isGivenUp(fiber, failure, state.failures === 0 ? "unknown" : "known")
    return Effect.map(nextOn({ fiber, spec, parts, spent }, state, failure, now), (decision) => {
      if (decision._tag === "Again") Spent.forget(claimed(fiber))
      else if (spent || !unspent.has(decision.because)) Spent.remember(fiber, state.last, failure)
      return decision
    })
  })

/** A policy at work on a fiber. */
interface Working extends Pick<Facts, "spent"> {
  readonly fiber: AnyFiber
  readonly spec: RetrySpec
  readonly parts: Parts
}

/** Draws the chance that a decision needs, asks the caller's schedule where there is one, decides, and pays. */
const nextOn = (working: Working, state: State, failure: unknown, now: number): Effect.Effect<Decision> => {
  const { fiber, parts } = working
  const deciding = decideOn(working, state, failure, now)
  return localOf(fiber).budget === undefined
    ? deciding
    : Eager.flatMap(deciding, (decision) => paid(fiber, parts, failure, decision))
}

/** What is decided where a budget has to pay for it. It is asked before the wait, so that nobody waits for nothing. */
const paid = (fiber: AnyFiber, parts: Parts, failure: unknown, decision: Decision): Effect.Effect<Decision> => {
  if (decision._tag === "GiveUp") return Exit.succeed(decision)
  const error = LlmError.is(failure) ? failure : undefined
  const asked = error?._tag === "AllTargetsFailed" ? error.last : error
  const target = asked && { provider: asked.provider, model: asked.model }
  return Effect.map(
    Budget.withdraw(fiber, "retry", target, error && parts.classify(error).pace),
    (granted) => granted ? decision : giveUp("budget")
  )
}

const nobody = () => false

const decideOn = (
  { fiber, parts, spec, spent }: Working,
  state: State,
  failure: unknown,
  now: number
): Effect.Effect<Decision> => {
  const { elsewhere = nobody } = localOf(fiber)
  const end = deadlineOf(fiber)?.at ?? Infinity
  const facts = { now, elsewhere, deadline: end, u: 0, delay: 0, spent }
  const { schedule } = parts
  if (schedule === undefined) {
    return spec.jitter === "none"
      ? Exit.succeed(decide(spec, parts, state, failure, facts))
      : Effect.map(Random.next, (u) => decide(spec, parts, state, failure, { ...facts, u }))
  }
  const chance = spec.jitter === "none" ? Effect.succeed(0) : Random.next
  return Effect.zipWith(chance, schedule.step(now, failure as never, state.schedule), (u, [inner, _, decision]) => {
    if (ScheduleDecision.isDone(decision)) return giveUp("schedule")
    const delay = Math.max(0, ScheduleIntervals.start(decision.intervals) - now)
    return decide(spec, parts, { ...state, schedule: inner }, failure, { ...facts, u, delay })
  })
}

export const initial = (parts: Parts, startedAt?: number): State => ({
  failures: 0,
  previous: 0,
  startedAt,
  schedule: parts.schedule?.initial,
  last: undefined
})

const isInterrupted = (fiber: AnyFiber): boolean => !Cause.isEmpty(fiber.getFiberRef(FiberRef.interruptedCause))

/** Reasons to give up that say nothing against another try: it was never for this policy to repeat. */
const unspent: ReadonlySet<GiveUp> = new Set(["notRetryable", "elsewhere"])

/**
 * Runs what is behind it until that succeeds or the policy gives up. Costs next to nothing until there is a failure. The
 * gate of a track stands before it, by which the fiber forgets what was given up on before.
 */
export const gate = (spec: RetrySpec, parts: Parts): Gate => {
  /** Leaves an attempt, for good or to make another one. */
  const leave = (state: State): Leave => (exit, { fiber, local, now, restore }) => {
    if (Exit.isSuccess(exit)) return exit
    const failed = Cause.failureOrCause(exit.cause)
    if (Either.isRight(failed)) return exit
    const failure = failed.left
    const spent = Spent.isGivenUp(fiber, failure, "known")
    const deciding = nextOn({ fiber, spec, parts, spent }, state, failure, now)
    // A schedule of the caller's may take its time.
    return Eager.flatMap(parts.schedule === undefined ? deciding : restore(deciding), (decision) => {
      const because = Predicate.hasProperty(failure, "_tag") ? String(failure._tag) : "failure"
      if (decision._tag === "GiveUp") {
        Call.liveIn(local)?.gaveUp(because, decision.because, now)
        return Effect.fail(spent || !unspent.has(decision.because) ? Spent.giveUp(fiber, state.last, failure) : failure)
      }
      Spent.forget(local)
      const again = new Again(leave(decision.state))
      // Where a gate refuses each attempt, this is the only place to be interrupted at.
      if (decision.wait === 0) {
        return isInterrupted(fiber)
          ? Effect.as(restore(Effect.void), again)
          : Exit.succeed(again)
      }
      const wait = Duration.millis(decision.wait)
      Call.liveIn(local)?.waits(wait, because, now)
      return Effect.as(restore(Effect.sleep(wait)), again)
    })
  }
  const first = leave(initial(parts))
  return spec.within === undefined ? () => first : ({ now }) => leave(initial(parts, now))
}
