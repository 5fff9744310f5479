/** The standard policies, put together. Their types are those of the composition, so that a refusal cannot be forgotten. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Budget from "../Budget.ts"
import * as Bulkhead from "../Bulkhead.ts"
import * as CircuitBreaker from "../CircuitBreaker.ts"
import * as Deadline from "../Deadline.ts"
import * as Policy from "../Policy.ts"
import * as Quota from "../Quota.ts"
import * as Retry from "../Retry.ts"
import type { Options } from "../Standard.ts"

export const defaults = {
  deadline: Duration.minutes(5),
  attempt: Duration.minutes(2),
  attemptShare: 0.4
} as const

/** In whole milliseconds, and at least one. */
const attemptWithin = (deadline: Duration.DurationInput): Duration.Duration =>
  Duration.min(
    defaults.attempt,
    Duration.millis(Math.max(1, Math.round(Duration.toMillis(deadline) * defaults.attemptShare)))
  )

const around = <In, Out, In2, Out2 extends In>(
  outer: Policy.Policy<In, Out> | undefined,
  inner: Policy.Policy<In2, Out2> | undefined
): Policy.Policy<In & In2, Out | Out2> =>
  outer === undefined
    ? inner ?? Policy.identity
    : inner === undefined
    ? outer
    : Policy.compose(outer, inner)

const bulkheadOf = (options: Exclude<Options["bulkhead"], false> = {}) =>
  options.adaptive === undefined ? Bulkhead.make(options) : Bulkhead.adaptive(options.adaptive)

const none = Effect.succeed(undefined)

/**
 * What guards the whole call, and what guards one target of it. Options out of their range are refused at once; the state
 * is made by the effect.
 */
export const build = (options: Options) => {
  const time = options.deadline ?? defaults.deadline
  const deadline = time === false ? undefined : Deadline.make(time)
  const retry = options.retry === false ? undefined : Policy.retry(options.retry ?? Retry.standard)
  const limit = options.attempt ?? (time === false ? defaults.attempt : attemptWithin(time))
  const attempt = limit === false ? undefined : Policy.timeout(limit)
  return Effect.map(
    Effect.all({
      budget: options.budget === false ? none : Budget.make(options.budget),
      breaker: options.breaker === false ? none : CircuitBreaker.make(options.breaker),
      quota: options.quota === false || options.quota === undefined ? none : Quota.make(options.quota),
      bulkhead: options.bulkhead === false ? none : bulkheadOf(options.bulkhead)
    }),
    ({ breaker, budget, bulkhead, quota }) => ({
      call: around(deadline, budget),
      target: around(retry, around(breaker, around(quota, around(bulkhead, attempt))))
    })
  )
}
