/** The standard policies, put together. Their types are those of the composition, so that a refusal cannot be forgotten. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Budget from "../Budget.ts"
import * as Bulkhead from "../Bulkhead.ts"
import * as CircuitBreaker from "../CircuitBreaker.ts"
import * as Deadline from "../Deadline.ts"
import * as Check from "../Options.ts"
import * as Policy from "../Policy.ts"
import * as Quota from "../Quota.ts"
import * as Retry from "../Retry.ts"
import type { Options } from "../Standard.ts"
import * as Pipeline from "./pipeline.ts"

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

const none = Effect.succeed(undefined)

/** The policies without a state. */
const stateless = (options: Options) => {
  const time = options.deadline ?? defaults.deadline
  // What is no duration is refused here, before a part of it is taken.
  const deadline = time === false ? undefined : Deadline.make(time)
  const limit = options.attempt ?? (time === false ? defaults.attempt : attemptWithin(time))
  return {
    deadline,
    retry: options.retry === false ? undefined : Policy.retry(options.retry ?? Retry.standard),
    attempt: limit === false ? undefined : Policy.timeout(limit)
  }
}

const quotaOf = ({ quota }: Options) => quota === false || quota === undefined ? undefined : quota

const bulkheadOf = ({ bulkhead = {} }: Options) =>
  bulkhead === false || bulkhead.adaptive === undefined
    ? { adaptive: undefined, fixed: bulkhead }
    : { adaptive: bulkhead.adaptive, fixed: false as const }

/** A bulkhead, and how it takes what options say of it. */
const makeBulkhead = (options: Options) => {
  const { adaptive, fixed } = bulkheadOf(options)
  if (adaptive !== undefined) {
    return Effect.map(Bulkhead.adaptive(adaptive), (made) => ({
      made,
      change: (options: Options) => {
        const own = options.bulkhead === undefined ? {} : bulkheadOf(options).adaptive
        return own === undefined ? refuseOtherKind(options) : made.reconfigure(own)
      }
    }))
  }
  return fixed === false ? none : Effect.map(Bulkhead.make(fixed), (made) => ({
    made,
    change: (options: Options) => {
      const { fixed } = bulkheadOf(options)
      return fixed === false ? refuseOtherKind(options) : made.reconfigure(fixed)
    }
  }))
}

/** Of the two kinds of a bulkhead, neither knows what the other one does. */
const refuseOtherKind = ({ bulkhead }: Options): never =>
  Check.refuse("reconfigure({ bulkhead })", bulkhead, "of the kind that the policy was made with, or false")

/**
 * What guards the whole call, and what guards one target of it. Options out of their range are refused at once; the state
 * is made by the effect.
 */
export const build = (options: Options) => {
  const first = stateless(options)
  const quota = quotaOf(options)
  return Effect.map(
    Effect.all({
      budget: options.budget === false ? none : Budget.make(options.budget),
      breaker: options.breaker === false ? none : CircuitBreaker.make(options.breaker),
      quota: quota === undefined ? none : Quota.make(quota),
      bulkhead: makeBulkhead(options)
    }),
    ({ breaker, budget, bulkhead, quota }) => {
      const places = {
        deadline: placed(first.deadline),
        budget: placed(budget),
        retry: placed(first.retry),
        breaker: placed(breaker),
        quota: placed(quota),
        bulkhead: placed(bulkhead?.made),
        attempt: placed(first.attempt)
      }

      /** Puts other options in the place of those at work: all of them or, where one is refused, none. */
      const reconfigure = (options: Options): Effect.Effect<void> => {
        for (const name of Object.keys(places) as ReadonlyArray<keyof Options>) {
          if (places[name] === undefined && options[name] !== undefined && options[name] !== false) {
            Check.refuse(`reconfigure({ ${name} })`, options[name], "false, as it was when the policy was made")
          }
        }
        const next = stateless(options)
        const own = quotaOf(options)
        const changes = [
          breaker === undefined || options.breaker === false ? Effect.void : breaker.reconfigure(options.breaker ?? {}),
          budget === undefined || options.budget === false ? Effect.void : budget.reconfigure(options.budget ?? {}),
          quota === undefined || own === undefined ? Effect.void : quota.reconfigure(own),
          bulkhead === undefined || options.bulkhead === false ? Effect.void : bulkhead.change(options)
        ]
        return Effect.uninterruptible(Effect.zipRight(
          Effect.all(changes, { discard: true }),
          Effect.sync(() => {
            replace(places.deadline, next.deadline)
            replace(places.retry, next.retry)
            replace(places.attempt, next.attempt)
            replace(places.budget, options.budget === false ? undefined : budget)
            replace(places.breaker, options.breaker === false ? undefined : breaker)
            replace(places.quota, own === undefined ? undefined : quota)
            replace(places.bulkhead, options.bulkhead === false ? undefined : bulkhead?.made)
          })
        ))
      }

      return {
        call: around(places.deadline?.policy, places.budget?.policy),
        target: around(
          places.retry?.policy,
          around(
            places.breaker?.policy,
            around(places.quota?.policy, around(places.bulkhead?.policy, places.attempt?.policy))
          )
        ),
        parts: { breaker, budget, bulkhead: bulkhead?.made, quota },
        reconfigure
      }
    }
  )
}

const placed = <In, Out>(policy: Policy.Policy<In, Out> | undefined): Pipeline.Replaceable<In, Out> | undefined =>
  policy === undefined ? undefined : Pipeline.replaceable(policy)

const replace = <In, Out>(place: Pipeline.Replaceable<In, Out> | undefined, by: Policy.Policy<In, Out> | undefined) =>
  place?.replace(by ?? Pipeline.nothing)
