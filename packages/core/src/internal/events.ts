/** What is told of calls. */
import type * as Duration from "effect/Duration"
import type { Phase } from "../CircuitBreaker.ts"
import type { Blame } from "../Disposition.ts"
import type { Cost, Outcome, Receipt, Target } from "../Receipt.ts"
import type { Usage } from "../Usage.ts"

/** What every event has. */
interface Timed {
  /** The `Clock`'s time in milliseconds. */
  readonly at: number
  /**
   * The number of the track that the call is in, where there is one: by `Call.track`, or by a policy that was applied by
   * hand. It is no other track's and no call's.
   */
  readonly track?: number | undefined
}

interface Common extends Timed {
  /**
   * The number of the call that it belongs to, which no other call of the process has. What a policy that was applied by
   * hand does between calls has the number of its track.
   */
  readonly call: number
}

/**
 * A use of a provider begins.
 *
 * @since 0.1.0
 * @category events
 */
export interface Started extends Common {
  readonly _tag: "Started"
  /** Undefined where it is not known before somebody is asked; then the target of the first attempt is. */
  readonly requested: Target | undefined
}

/**
 * A request is sent to a target. `attempt` counts from 1 in each call.
 *
 * @since 0.1.0
 * @category events
 */
export interface AttemptStarted extends Common {
  readonly _tag: "AttemptStarted"
  readonly attempt: number
  readonly target: Target
  /** The label of the key, where a pool chose one. */
  readonly key?: string | undefined
  /** Whether it is a try beside another. */
  readonly hedge: boolean
}

/**
 * An attempt at a stream has given its first output.
 *
 * @since 0.1.0
 * @category events
 */
export interface FirstOutput extends Common {
  readonly _tag: "FirstOutput"
  readonly attempt: number
  readonly target: Target
  /** Since the start of the attempt. */
  readonly after: Duration.Duration
}

/**
 * An attempt has ended, a stream with its last part.
 *
 * @since 0.1.0
 * @category events
 */
export interface AttemptEnded extends Common {
  readonly _tag: "AttemptEnded"
  readonly attempt: number
  readonly target: Target
  readonly outcome: Outcome
  readonly duration: Duration.Duration
  /** The tokens used, as far as the provider said. */
  readonly usage: Usage | undefined
  /** What they cost, where the price is known. */
  readonly cost: Cost | undefined
  /** The label of the key, where a pool chose one. */
  readonly key?: string | undefined
  /** Whether it was a try beside another. */
  readonly hedge: boolean
}

/**
 * What an attempt has answered is not given on, since another beside it was sooner.
 *
 * @since 0.1.0
 * @category events
 */
export interface Discarded extends Common {
  readonly _tag: "Discarded"
  readonly attempt: number
  readonly target: Target
}

/**
 * The call waits before it asks again, because of the failure named: a retry policy does, or a stream that was cut and is
 * to start again at the target that asked for the wait.
 *
 * @since 0.1.0
 * @category events
 */
export interface Waiting extends Common {
  readonly _tag: "Waiting"
  /** Who was asked last. */
  readonly target: Target
  readonly wait: Duration.Duration
  readonly because: string
}

/**
 * The call is in line for a permit of a policy: the target has as many calls as a bulkhead lets in, or a quota has none left.
 *
 * @since 0.1.0
 * @category events
 */
export interface Queued extends Common {
  readonly _tag: "Queued"
  readonly target: Target
  readonly policy: "quota" | "bulkhead"
  /** Which line: the key, that of a quota after the quota's name. */
  readonly name: string
}

/**
 * The call is no longer in line: it has its permit, the policy refuses it after all, or it was interrupted.
 *
 * @since 0.1.0
 * @category events
 */
export interface Dequeued extends Common {
  readonly _tag: "Dequeued"
  readonly target: Target
  readonly policy: "quota" | "bulkhead"
  readonly name: string
  readonly outcome: "granted" | "refused" | "interrupted"
  readonly waited: Duration.Duration
}

/**
 * Why a retry policy does not repeat a failure.
 *
 * - `notRetryable`: no other try would make it better, or none is safe.
 * - `spent`: a retry within has given up on it already.
 * - `attempts`: there were as many as the policy makes.
 * - `elapsed`: the next one would come too late, by the policy or by the deadline.
 * - `retryAfter`: the provider asks for a longer wait than the policy or the time left allow.
 * - `schedule`: the schedule that the policy was made from has ended.
 * - `elsewhere`: another target of a fallback is to be asked first.
 * - `budget`: a `Budget` around it does not pay for another try.
 *
 * @since 0.1.0
 * @category models
 */
export type GiveUp =
  | "notRetryable"
  | "spent"
  | "attempts"
  | "elapsed"
  | "retryAfter"
  | "schedule"
  | "elsewhere"
  | "budget"

/**
 * A retry policy lets a failure through.
 *
 * @since 0.1.0
 * @category events
 */
export interface GaveUp extends Common {
  readonly _tag: "GaveUp"
  /** Who was asked last. */
  readonly target: Target
  /** The `_tag` of the failure. */
  readonly because: string
  readonly reason: GiveUp
}

/**
 * A `Budget` does not pay for a retry, a hedge or a fallback, so there is none.
 *
 * @since 0.1.0
 * @category events
 */
export interface BudgetExhausted extends Common {
  readonly _tag: "BudgetExhausted"
  readonly kind: "retry" | "hedge" | "fallback"
  /** Who would have been asked. */
  readonly target: Target
}

/**
 * A key pool leaves out a key for a while, because of the failure named. Where a quota is used up there is one for each key
 * that draws from it.
 *
 * @since 0.1.0
 * @category events
 */
export interface KeyBenched extends Common {
  readonly _tag: "KeyBenched"
  readonly target: Target
  /** The label of the key. */
  readonly key: string
  readonly because: string
  readonly benchedFor: Duration.Duration
}

/**
 * A policy on this side let nothing through to a target, and why.
 *
 * @since 0.1.0
 * @category events
 */
export interface Refused extends Common {
  readonly _tag: "Refused"
  readonly target: Target
  readonly because: string
  readonly retryAfter: Duration.Duration | undefined
}

/**
 * A fallback moves from one target to another, because of the failure named.
 *
 * @since 0.1.0
 * @category events
 */
export interface FellBack extends Common {
  readonly _tag: "FellBack"
  readonly from: Target
  readonly to: Target
  readonly because: string
}

/**
 * A circuit breaker has changed the phase of a circuit. With an attempt that opens a circuit it comes after the end of that
 * attempt; with a probe, before its start.
 *
 * @since 0.1.0
 * @category events
 */
export interface CircuitChanged extends Timed {
  readonly _tag: "CircuitChanged"
  /**
   * The number of the call in which it changed. Undefined where it changed outside of any: by hand, or by an effect that
   * asks no provider.
   */
  readonly call: number | undefined
  /** The `name` of the breaker. */
  readonly breaker: string
  /** The name of the circuit, for example `openai/gpt-4o`. */
  readonly circuit: string
  readonly from: Phase
  readonly to: Phase
  /** How long it stays open, when it has opened. */
  readonly openFor?: Duration.Duration | undefined
}

/**
 * A use of a provider has ended. The receipt comes with it, also when it was interrupted.
 *
 * @since 0.1.0
 * @category events
 */
export interface Ended extends Common {
  readonly _tag: "Ended"
  readonly outcome: "Answered" | "Failed" | "Interrupted"
  /** The `_tag` of the failure it ended with, where it did: `Defect` for a defect, `_OTHER` for one that is not ours. */
  readonly error: string | undefined
  /** Whom that failure counts against, by `Disposition.classify`. */
  readonly blame: Blame | undefined
  /** Its HTTP status, where there was one. */
  readonly status: number | undefined
  readonly receipt: Receipt
}

/**
 * One thing that happened.
 *
 * @since 0.1.0
 * @category events
 */
export type Event =
  | Started
  | AttemptStarted
  | FirstOutput
  | AttemptEnded
  | Discarded
  | Waiting
  | Queued
  | Dequeued
  | GaveUp
  | Refused
  | FellBack
  | CircuitChanged
  | KeyBenched
  | BudgetExhausted
  | Ended
