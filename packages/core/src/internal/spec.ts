/** From a spec of the standard policies to their options, and back from a refused option to its place in the spec. */
import * as Duration from "effect/Duration"
import { pipe } from "effect/Function"
import * as Record from "effect/Record"
import * as Budget from "../Budget.ts"
import * as CircuitBreaker from "../CircuitBreaker.ts"
import { InvalidOption } from "../InvalidOption.ts"
import type { LlmError } from "../LlmError.ts"
import type * as Quota from "../Quota.ts"
import * as Retry from "../Retry.ts"
import type { LayerOptions } from "../Standard.ts"
import type { Spec } from "../StandardSpec.ts"
import { build } from "./standard.ts"

type Fields<K extends keyof Spec> = Extract<Spec[K], object>

const unlessOff = <A, B>(given: A | "off" | undefined, options: (given: A) => B): B | false | undefined =>
  given === undefined ? undefined : given === "off" ? false : options(given)

export const optionsOf = (spec: Spec): LayerOptions => ({
  deadline: unlessOff(spec.deadline, (time) => time),
  attempt: unlessOff(spec.attempt, (time) => time),
  retry: unlessOff(spec.retry, retryOf),
  breaker: unlessOff(spec.breaker, breakerOf),
  quota: unlessOff(spec.quota, quotaOf),
  bulkhead: unlessOff(spec.bulkhead, ({ adaptive, ...fixed }) => adaptive === undefined ? fixed : { adaptive }),
  budget: unlessOff(spec.budget, budgetOf),
  fallback: spec.fallback
})

const budgetOf = (given: Exclude<Spec["budget"], "off" | undefined>): Budget.Options => {
  switch (given) {
    case "default":
      return {}
    case "finagle":
      return Budget.finagle
    case "grpc":
      return Budget.grpc
    case "aws":
      return Budget.aws
    default:
      return given
  }
}

type Standard = Retry.Retry<LlmError>

const given = <A>(value: A | undefined, change: (value: A) => (self: Standard) => Standard) => (self: Standard) =>
  value === undefined ? self : change(value)(self)

/** The standard retry with what is said otherwise. */
const retryOf = (own: Fields<"retry">): Standard =>
  pipe(
    Retry.standard,
    withBackoff(own),
    given(own.bases, Retry.bases),
    given(own.attempts, Retry.attempts),
    given(own.cap, Retry.capped),
    given(own.jitter, Retry.jittered),
    given(own.within, Retry.within),
    given(own.maxRetryAfter, (max) => max === "ignore" ? Retry.ignoringRetryAfter : Retry.honoringRetryAfter({ max }))
  )

/** With a longer base, the bases of classes of failure grow as much: they are there to be longer than it. */
const withBackoff = ({ base, factor }: Fields<"retry">) => (self: Standard): Standard => {
  const { backoff } = self.spec
  const bases: { readonly [pace: string]: Duration.Duration | undefined } = { ...self.spec.bases }
  if ((base === undefined && factor === undefined) || backoff._tag !== "Exponential") return self
  const start = base ?? backoff.base
  const grown = (own: Duration.Duration) =>
    Duration.max(
      own,
      Duration.millis(Duration.toMillis(own) * Duration.toMillis(start) / Duration.toMillis(backoff.base))
    )
  return pipe(
    Retry.withBackoff(self, start, factor ?? backoff.factor),
    Retry.bases(Record.map(bases, (own) => own === undefined ? undefined : grown(own)))
  )
}

const breakerOf = (own: Fields<"breaker">): CircuitBreaker.Options => {
  const { countWindow, failures, metricsOnly, name, openFor, probeLease, probes, slowCalls, timeWindow } = own
  const [first, ...others] = [
    failures === undefined ? [] : [CircuitBreaker.consecutive(failures)],
    countWindow === undefined ? [] : [CircuitBreaker.countWindow(countWindow)],
    timeWindow === undefined ? [] : [CircuitBreaker.timeWindow(timeWindow)],
    slowCalls === undefined ? [] : [CircuitBreaker.slowCalls(slowCalls)]
  ].flat()
  return {
    tripPolicy: first === undefined ? undefined : others.reduce((one, other) => CircuitBreaker.or(one, other), first),
    openDuration: openFor,
    probes,
    probeLease,
    metricsOnly,
    name
  }
}

const quotaOf = (own: Fields<"quota">): Quota.Options => ({
  perMinute: {
    requests: own.requestsPerMinute,
    tokens: own.tokensPerMinute,
    inputTokens: own.inputTokensPerMinute,
    outputTokens: own.outputTokensPerMinute
  },
  perDay: {
    requests: own.requestsPerDay,
    tokens: own.tokensPerDay,
    inputTokens: own.inputTokensPerDay,
    outputTokens: own.outputTokensPerDay
  },
  limits: own.limits,
  learn: own.learn,
  countCached: own.countCached,
  maxWait: own.maxWait,
  queue: own.queue,
  name: own.name
})

// ---------------------------------------------------------------------------------------------------------------------
// What is refused
// ---------------------------------------------------------------------------------------------------------------------

export interface Refusal {
  readonly path: ReadonlyArray<string | number>
  readonly message: string
}

/** Which fields of a spec a module's options are under. */
const homes: { readonly [module: string]: keyof Spec } = {
  Budget: "budget",
  Bulkhead: "bulkhead",
  CircuitBreaker: "breaker",
  Deadline: "deadline",
  Fallback: "fallback",
  Policy: "attempt",
  Quota: "quota",
  Retry: "retry"
}

/** The place of a refused option, as far as the spec has it: of `Bulkhead.adaptive({ max })`, that of the field `max`. */
const placeOf = (spec: Spec, option: string): ReadonlyArray<string | number> => {
  const [module = "", ...names]: ReadonlyArray<string> = option.match(/\w+/g) ?? []
  const path: Array<string | number> = []
  let value: unknown = spec
  for (const name of [homes[module] ?? module, ...names.filter((name) => name !== "make")]) {
    if (typeof value !== "object" || value === null || Duration.isDuration(value) || !(name in value)) break
    path.push(Array.isArray(value) ? Number(name) : name)
    value = value[name as keyof typeof value]
  }
  return path
}

/** What a spec is refused for by an exception that was thrown while its policies were built. */
export const refusalBy = (spec: Spec, thrown: unknown): Refusal => {
  if (!(thrown instanceof InvalidOption)) throw thrown
  return {
    path: placeOf(spec, thrown.option),
    message: `${thrown.value} is out of range; allowed: ${thrown.allowed}`
  }
}

/** Why no policies can be built from a spec whose fields are each in their range, if so. */
export const refusalOf = (spec: Spec): Refusal | undefined => {
  const { bulkhead } = spec
  if (typeof bulkhead === "object" && bulkhead.adaptive !== undefined) {
    const other = (["limit", "queue", "maxWait"] as const).find((name) => bulkhead[name] !== undefined)
    if (other !== undefined) {
      return { path: ["bulkhead", other], message: "expected nothing beside `adaptive`, which has options of its own" }
    }
  }
  try {
    void build(optionsOf(spec))
    return undefined
  } catch (thrown) {
    return refusalBy(spec, thrown)
  }
}
