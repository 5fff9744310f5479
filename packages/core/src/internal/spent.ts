/**
 * What a retry has given up on, where the failure does not say so itself: a schedule cannot change the failure that it is
 * asked about, and one that is no `LlmError` has no place for it. Then the fiber knows it, for as long as that failure is on
 * its way out.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import * as LlmError from "../LlmError.ts"
import type { AnyFiber } from "./gate.ts"
import { claimed, type Local, localOf } from "./local.ts"

/** The failure that a retry on a fiber has given up on last. */
export interface GivenUp {
  readonly failure: unknown
  /** Whether it was made for the attempt that it ended, and can have ended no other. */
  readonly fresh: boolean
  /** What the fiber was given where that was decided. */
  readonly context: Context.Context<never>
}

/** An attempt begins. What was given up on before is no part of it, be it the same value. */
export const forget = (local: Local): void => {
  local.givenUp = undefined
}

/** Remembers a failure that goes on as it is; `before` is the one before it. Within a span Effect fails with a proxy of it. */
export const remember = (fiber: AnyFiber, before: unknown, failed: unknown): void => {
  const failure = Cause.originalError(failed)
  const fresh = before === undefined
    ? LlmError.is(failure) && failure.receipt !== undefined
    : Predicate.isObject(failure) && Cause.originalError(before) !== failure
  claimed(fiber).givenUp = { failure, fresh, context: contextOf(fiber) }
}

/** Gives up on a failure: it is marked where it can be, and else remembered. */
export const giveUp = <E>(fiber: AnyFiber, before: unknown, failure: E): E => {
  if (LlmError.is(failure)) return LlmError.update(failure, { spent: true })
  remember(fiber, before, failure)
  return failure
}

const isOf = (givenUp: GivenUp, failure: unknown): boolean => givenUp.failure === Cause.originalError(failure)

/**
 * Whether a retry within the attempt that has ended with a failure gave up on it. Who knows when that attempt began has
 * had the fiber forget what was before. A schedule does not know it of its first attempt; there a value that may have
 * failed before counts only where it is certain that it did within this attempt.
 */
export const isGivenUp = (fiber: AnyFiber, failure: unknown, begun: "known" | "unknown"): boolean => {
  const { givenUp } = localOf(fiber)
  return givenUp !== undefined && isOf(givenUp, failure) &&
    (begun === "known" || givenUp.fresh || isFirstAttempt(givenUp.context, contextOf(fiber)))
}

const contextOf = (fiber: AnyFiber) => fiber.currentContext as Context.Context<never>

const { key } = Schedule.CurrentIterationMetadata

/** What `Effect.retry` adds to the context of a first attempt. */
const first = Context.get(Context.empty(), Schedule.CurrentIterationMetadata)

/**
 * Whether a context is within the first attempt of an `Effect.retry` in another one: it has all that the other one has,
 * and what says which attempt it is. In an attempt of a third retry the two look alike, so that is not certain.
 */
const isFirstAttempt = (inner: Context.Context<never>, outer: Context.Context<never>): boolean => {
  if (outer.unsafeMap.has(key) || inner.unsafeMap.get(key) !== first) return false
  for (const [name, service] of outer.unsafeMap) if (inner.unsafeMap.get(name) !== service) return false
  return true
}

/** A failure at a border where it is made anew: what the fiber knows of it is then said by it. */
export const marked = <E>({ givenUp }: Local, failure: E): E =>
  givenUp !== undefined && isOf(givenUp, failure) && LlmError.is(failure)
    ? LlmError.update(failure, { spent: true })
    : failure

/** The same for an end. */
export const markedExit = <A, E>(local: Local, exit: Exit.Exit<A, E>): Exit.Exit<A, E> =>
  local.givenUp === undefined ? exit : Exit.mapError(exit, (failure) => marked(local, failure))
