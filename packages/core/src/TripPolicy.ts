/**
 * When a circuit breaker opens. `CircuitBreaker` has them all.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import { dual } from "effect/Function"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import type { Rule } from "./internal/meter.ts"
import * as Options from "./Options.ts"

/**
 * @since 0.1.0
 * @category symbols
 */
export const TripPolicyTypeId: unique symbol = Symbol.for("perdure/TripPolicy")

/**
 * @since 0.1.0
 * @category symbols
 */
export type TripPolicyTypeId = typeof TripPolicyTypeId

/**
 * When a circuit opens: by one rule, or by any of several ({@link or}). A threshold is reached at its number, not above
 * it, and only a call that counts by the rule opens the circuit.
 *
 * @since 0.1.0
 * @category models
 */
export interface TripPolicy extends Pipeable {
  readonly [TripPolicyTypeId]: readonly [Rule, ...Array<Rule>]
}

const make = (rules: readonly [Rule, ...Array<Rule>]): TripPolicy => ({
  [TripPolicyTypeId]: rules,
  pipe() {
    // eslint-disable-next-line prefer-rest-params
    return pipeArguments(this, arguments)
  }
})

/**
 * Opens at the `n`-th failure in a row: a whole number of at least 1. A success begins the count anew, however long ago
 * the last failure was.
 *
 * @since 0.1.0
 * @category trip policies
 */
export const consecutive = (n: number): TripPolicy =>
  make([{ _tag: "Consecutive", failures: Options.integer("CircuitBreaker.consecutive(n)", n, 1) }])

/** The most calls that a count window remembers, one bit each: it is copied where a call changes it. */
const largest = 10_000

/**
 * @since 0.1.0
 * @category models
 */
export interface CountWindowOptions {
  /** How many of the last calls are looked at, from 1 to 10,000. */
  readonly size: number
  /** The share of failures among them that opens the circuit: above 0, at most 1. */
  readonly rate: number
  /**
   * From how many calls on, up to `size`.
   * @default size
   */
  readonly minimum?: number | undefined
}

/**
 * Opens when a share of the last calls has failed. What it has seen does not age: with little traffic, use
 * {@link timeWindow}.
 *
 * @since 0.1.0
 * @category trip policies
 */
export const countWindow = (options: CountWindowOptions): TripPolicy => {
  const size = Options.integer("CircuitBreaker.countWindow({ size })", options.size, 1, largest)
  return make([{
    _tag: "CountWindow",
    size,
    rate: share("CircuitBreaker.countWindow({ rate })", options.rate),
    minimum: options.minimum === undefined
      ? size
      : Options.integer("CircuitBreaker.countWindow({ minimum })", options.minimum, 1, size)
  }])
}

/**
 * @since 0.1.0
 * @category models
 */
export interface TimeWindowOptions {
  /** How far back it looks. */
  readonly duration: Duration.DurationInput
  /** The share of failures in that time that opens the circuit: above 0, at most 1. */
  readonly rate: number
  /** From how many calls in that time on: at least 1. Fewer say too little. */
  readonly minimum: number
}

/**
 * Opens when a share of the calls in the last while has failed. Time is counted in ten slices: a call is forgotten after
 * at least nine tenths of the duration and before all of it has passed, so an idle gap of it empties the window. Its
 * memory does not grow with the traffic.
 *
 * @since 0.1.0
 * @category trip policies
 */
export const timeWindow = (options: TimeWindowOptions): TripPolicy =>
  make([{
    _tag: "TimeWindow",
    duration: Duration.toMillis(Options.duration("CircuitBreaker.timeWindow({ duration })", options.duration)),
    rate: share("CircuitBreaker.timeWindow({ rate })", options.rate),
    minimum: Options.integer("CircuitBreaker.timeWindow({ minimum })", options.minimum, 1)
  }])

/**
 * How far back {@link slowCalls} looks: 5 minutes, since by its nature it has few calls to look at.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultSlowWindow: Duration.Duration = Duration.minutes(5)

/**
 * @since 0.1.0
 * @category models
 */
export interface SlowCallsOptions {
  /** A call that took longer than this, not exactly this, is slow. */
  readonly longerThan: Duration.DurationInput
  /** The share of slow calls that opens the circuit: above 0, at most 1. */
  readonly rate: number
  /** From how many calls on: at least 1. */
  readonly minimum: number
  /**
   * How far back it looks, in slices as {@link timeWindow} does.
   * @default 5 minutes
   */
  readonly duration?: Duration.DurationInput | undefined
}

/**
 * Opens when a share of the calls was slow, answered or failed. A complete answer takes until it is there; a stream until
 * its first output, and is counted when it ends. Time spent waiting inside the breaker before the first request, such
 * as in a quota, is not counted where the breaker stands around a provider.
 *
 * A probe that is slow opens the circuit again.
 *
 * @since 0.1.0
 * @category trip policies
 */
export const slowCalls = (options: SlowCallsOptions): TripPolicy =>
  make([{
    _tag: "SlowCalls",
    longerThan: Duration.toMillis(Options.duration("CircuitBreaker.slowCalls({ longerThan })", options.longerThan)),
    duration: Duration.toMillis(
      Options.duration("CircuitBreaker.slowCalls({ duration })", options.duration ?? defaultSlowWindow)
    ),
    rate: share("CircuitBreaker.slowCalls({ rate })", options.rate),
    minimum: Options.integer("CircuitBreaker.slowCalls({ minimum })", options.minimum, 1)
  }])

/**
 * Opens when either policy would.
 *
 * @since 0.1.0
 * @category combinators
 */
export const or: {
  (that: TripPolicy): (self: TripPolicy) => TripPolicy
  (self: TripPolicy, that: TripPolicy): TripPolicy
} = dual(2, (self: TripPolicy, that: TripPolicy): TripPolicy => {
  const [first, ...others] = self[TripPolicyTypeId]
  return make([first, ...others, ...that[TripPolicyTypeId]])
})

const share = (option: string, rate: number): number => {
  Options.check(option, rate, rate > 0 && rate <= 1, "a number above 0 and at most 1")
  return rate
}

const percent = (rate: number): string => `${Number((rate * 100).toFixed(2))}%`

const sentence = (rule: Rule): string => {
  switch (rule._tag) {
    case "Consecutive":
      return `${rule.failures} in a row`
    case "CountWindow":
      return `${percent(rule.rate)} of ${rule.size} calls`
    case "TimeWindow":
      return `${percent(rule.rate)} in ${format(rule.duration)} of at least ${rule.minimum} calls`
    case "SlowCalls":
      return `${percent(rule.rate)} slower than ${format(rule.longerThan)} in ${
        format(rule.duration)
      } of at least ${rule.minimum} calls`
  }
}

const format = (millis: number): string => Duration.format(Duration.millis(millis))

/**
 * A trip policy in one line: `5 in a row or 50% in 30s of at least 10 calls`.
 *
 * @since 0.1.0
 * @category reading
 */
export const describeTripPolicy = (self: TripPolicy): string => self[TripPolicyTypeId].map(sentence).join(" or ")
