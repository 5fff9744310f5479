/**
 * The policies that a call should have, in the order in which they work together, with defaults to begin with. Use it as
 * `Policy.standard`; around several providers, as {@link layer}.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as JSONSchema from "effect/JSONSchema"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as Budget from "./Budget.ts"
import type * as Bulkhead from "./Bulkhead.ts"
import * as CircuitBreaker from "./CircuitBreaker.ts"
import * as Fallback from "./Fallback.ts"
import { build } from "./internal/standard.ts"
import type * as LlmError from "./LlmError.ts"
import * as LlmProvider from "./LlmProvider.ts"
import * as Policy from "./Policy.ts"
import type * as Quota from "./Quota.ts"
import * as Retry from "./Retry.ts"
import { Jitter } from "./RetrySpec.ts"

/**
 * What {@link make} takes: for each policy its options, or `false` to leave it out.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The time for the whole call, with all attempts, waits and fallbacks.
   * @default 5 minutes
   */
  readonly deadline?: Duration.DurationInput | false | undefined
  /**
   * How many repeats there may be for all calls together.
   * @default Budget.defaults
   */
  readonly budget?: Budget.Options | false | undefined
  /**
   * When and how often a target is asked again.
   * @default Retry.standard
   */
  readonly retry?: Retry.Retry<LlmError.LlmError> | false | undefined
  /**
   * When a target is not asked at all for a while.
   * @default CircuitBreaker.defaults
   */
  readonly breaker?: CircuitBreaker.Options | false | undefined
  /**
   * How many requests and tokens a target may be sent in a time.
   * @default false, as no limits are known; `{}` obeys those that the provider tells of
   */
  readonly quota?: Quota.Options | false | undefined
  /**
   * How many requests a target may be sent at once: a limit, or `{ adaptive: {} }` to have it found.
   * @default Bulkhead.defaults
   */
  readonly bulkhead?: FixedBulkhead | AdaptiveBulkhead | false | undefined
  /**
   * The time for one attempt; of a stream, to its first output.
   * @default 0.4 of the deadline, so that a target that hangs leaves time for others, and at most 2 minutes
   */
  readonly attempt?: Duration.DurationInput | false | undefined
}

/**
 * A bulkhead whose limit is set.
 *
 * @since 0.1.0
 * @category models
 */
export interface FixedBulkhead extends Bulkhead.Options {
  readonly adaptive?: undefined
}

/**
 * A bulkhead that finds its limit; its queue is one of its own options.
 *
 * @since 0.1.0
 * @category models
 */
export interface AdaptiveBulkhead extends Readonly<Partial<Record<keyof Bulkhead.Options, undefined>>> {
  readonly adaptive: Bulkhead.AdaptiveOptions
}

export {
  /**
   * The times of {@link Options}. All are chosen: an answer of a model that reasons takes a minute and more, and the ten
   * minutes that the providers' own SDKs wait are longer than people do. An attempt has at most `attemptShare` of the
   * deadline, so that there is time for a second one, elsewhere or here, and some to spare for the waits between them.
   *
   * @since 0.1.0
   * @category constants
   */
  defaults
} from "./internal/standard.ts"

/**
 * What the policies of these options add to the failures of what they guard: the refusals of those that are there, or
 * may be. Only what is known to be `false` adds none, and a quota that is known not to be given.
 *
 * @since 0.1.0
 * @category models
 */
export type Refusals<O extends Options> = O extends unknown ?
    | Unless<O, "deadline", false, LlmError.DeadlineExceeded>
    | Unless<O, "breaker", false, LlmError.CircuitOpen>
    | ("quota" extends keyof O ? Unless<O, "quota", false | undefined, LlmError.QuotaExceeded> : never)
    | Unless<O, "bulkhead", false, LlmError.BulkheadFull>
    | Unless<O, "attempt", false, LlmError.TimedOut>
  : never

/** `E`, but where the option can be nothing but `Off`; of `any` nothing is known. */
type Unless<O, K extends string, Off, E> = K extends keyof O
  ? [O[K]] extends [Off] ? [unknown] extends [O[K]] ? E : never : E
  : E

/**
 * Options without a field that no policy has. A `fallback` is let through where it may be absent, as in the options of a
 * spec.
 *
 * @since 0.1.0
 * @category models
 */
export type Known<O> = {
  readonly [K in keyof O as Exclude<K, keyof Options>]: K extends "fallback" ? undefined extends O[K] ? O[K] : never
    : never
}

/**
 * All of them as one policy, the outermost first: deadline, budget, retry, breaker, quota, bulkhead, attempt timeout. What
 * they know of different targets is kept apart, so one value guards many.
 *
 * The breaker is inside the retry, so that it sees every attempt; the quota is inside the breaker, so that a rejected call
 * takes no permit; the timeout is innermost, so that the time in a queue does not count as the provider's.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Policy } from "perdure"
 *
 * const careful = Effect.map(Policy.standard({ deadline: "1 minute" }), (standard) => standard(Effect.succeed(1)))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <const O extends Options & Known<O> = {}>(
  options?: O
): Effect.Effect<Policy.Policy<LlmError.LlmError, Refusals<O>>> =>
  Effect.map(build(options ?? {}), ({ call, target }) => {
    const all: Policy.Policy<LlmError.LlmError, Refusals<Options>> = Policy.compose(call, target)
    // The compiler has composed those that there may be; what is known to be left out is not in it.
    return all as Policy.Policy<LlmError.LlmError, Refusals<O>>
  })

/**
 * What {@link layer} takes.
 *
 * @since 0.1.0
 * @category models
 */
export interface LayerOptions extends Options {
  /**
   * Which failures move on, and in which order the targets are asked.
   * @default {}
   */
  readonly fallback?: Fallback.Options | undefined
}

/**
 * Several providers behind one, with all policies in their places: the deadline and the budget around the whole call,
 * inside them the fallback over the targets, and around each target its retry, breaker, quota, bulkhead and attempt
 * timeout.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { LlmProvider, Standard } from "perdure"
 *
 * const withBackup = (primary: Layer.Layer<LlmProvider.LlmProvider>, backup: Layer.Layer<LlmProvider.LlmProvider>) =>
 *   Standard.layer([primary, backup], { deadline: "1 minute" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <const L extends readonly [ProviderLayer, ...Array<ProviderLayer>]>(
  providers: L,
  options: LayerOptions = {}
): Layer.Layer<LlmProvider.LlmProvider, Layer.Layer.Error<L[number]>, Layer.Layer.Context<L[number]>> => {
  const made = build(options)
  // The chain is made with the layer; what it would refuse is refused now.
  Fallback.layer(providers, options.fallback)
  return Layer.unwrapEffect(Effect.map(made, ({ call, target }) => {
    const [first, ...others] = providers
    const guarded = LlmProvider.withPolicy(target)
    return Fallback.layer([guarded(first), ...others.map((one) => guarded(one))], options.fallback).pipe(
      LlmProvider.withPolicy(call)
    )
  }))
}

/**
 * A layer of a provider.
 *
 * @since 0.1.0
 * @category models
 */
export type ProviderLayer = Layer.Layer<LlmProvider.LlmProvider, any, any>

// ---------------------------------------------------------------------------------------------------------------------
// As data
// ---------------------------------------------------------------------------------------------------------------------

/** A duration as people write it: `30 seconds`, `500 millis`, or a number of milliseconds. */
const Time = Schema.transformOrFail(
  Schema.Union(Schema.String, Schema.Number).annotations({ jsonSchema: { type: ["string", "number"] } }),
  Schema.DurationFromSelf,
  {
    strict: true,
    decode: (input, _, ast) => {
      const text = String(input).trim()
      const decoded = /^\d+(\.\d+)?$/.test(text)
        ? Option.some(Duration.millis(Number(text)))
        : Duration.decodeUnknown(text)
      return Option.isSome(decoded) && Duration.isFinite(decoded.value) && Duration.toMillis(decoded.value) > 0
        ? ParseResult.succeed(decoded.value)
        : ParseResult.fail(
          new ParseResult.Type(ast, input, "expected a duration longer than zero, such as `30 seconds`")
        )
    },
    encode: (duration) => ParseResult.succeed(`${Duration.toMillis(duration)} millis`)
  }
).annotations({ identifier: "Time", description: "A duration, for example `30 seconds`" })

const Count = Schema.Union(Schema.Int, Schema.NumberFromString.pipe(Schema.int())).pipe(
  Schema.positive(),
  Schema.annotations({ identifier: "Count", jsonSchema: { type: "integer", minimum: 1 } })
)

const Size = Schema.Union(Schema.Int, Schema.NumberFromString.pipe(Schema.int())).pipe(
  Schema.nonNegative(),
  Schema.annotations({ identifier: "Size", jsonSchema: { type: "integer", minimum: 0 } })
)

const Factor = Schema.Union(Schema.Number, Schema.NumberFromString).pipe(
  Schema.finite(),
  Schema.greaterThanOrEqualTo(1),
  Schema.annotations({ identifier: "Factor", jsonSchema: { type: "number", minimum: 1 } })
)

/** What leaves a policy out. */
const Off = Schema.Literal("off")

const fields = <F extends Schema.Struct.Fields>(all: F) => Schema.Union(Off, Schema.Struct(all))

/**
 * The options that can be written down, as JSON or in the environment: durations as text, `"off"` for a policy that is to
 * be left out. What is absent has the default of {@link Options}.
 *
 * @since 0.1.0
 * @category models
 */
export const Spec = Schema.Struct({
  deadline: Schema.optional(Schema.Union(Off, Time)),
  attempt: Schema.optional(Schema.Union(Off, Time)),
  retry: Schema.optional(fields({
    attempts: Schema.optional(Count),
    base: Schema.optional(Time),
    factor: Schema.optional(Factor),
    cap: Schema.optional(Time),
    within: Schema.optional(Time),
    jitter: Schema.optional(Jitter),
    maxRetryAfter: Schema.optional(Time)
  })),
  breaker: Schema.optional(fields({
    failures: Schema.optional(Count),
    openFor: Schema.optional(Time),
    probes: Schema.optional(Count)
  })),
  bulkhead: Schema.optional(fields({
    limit: Schema.optional(Count),
    queue: Schema.optional(Size),
    maxWait: Schema.optional(Time)
  })),
  quota: Schema.optional(fields({
    requestsPerMinute: Schema.optional(Count),
    tokensPerMinute: Schema.optional(Count),
    requestsPerDay: Schema.optional(Count),
    tokensPerDay: Schema.optional(Count)
  })),
  budget: Schema.optional(Schema.Literal("default", "finagle", "grpc", "aws", "off"))
}).annotations({ identifier: "StandardPolicy" })

/**
 * @since 0.1.0
 * @category models
 */
export type Spec = typeof Spec.Type

/**
 * The JSON Schema of {@link Spec}, for editors and for those who check their configuration elsewhere.
 *
 * @since 0.1.0
 * @category reading
 */
export const jsonSchema: JSONSchema.JsonSchema7Root = JSONSchema.make(Spec)

/**
 * The options that a spec describes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromSpec = (spec: Spec): Options => {
  const { attempt, breaker, budget, bulkhead, deadline, quota, retry } = spec
  return {
    ...(deadline === undefined ? {} : { deadline: off(deadline) }),
    ...(attempt === undefined ? {} : { attempt: off(attempt) }),
    ...(retry === undefined ? {} : { retry: retry === "off" ? false : retryOf(retry) }),
    ...(breaker === undefined ? {} : { breaker: breaker === "off" ? false : breakerOf(breaker) }),
    ...(bulkhead === undefined ? {} : { bulkhead: off(bulkhead) }),
    ...(quota === undefined ? {} : { quota: quota === "off" ? false : quotaOf(quota) }),
    ...(budget === undefined ? {} : { budget: budgets()[budget] })
  }
}

type Fields<K extends keyof Spec> = Exclude<Spec[K], "off" | undefined>

const off = <A>(value: A | "off"): A | false => value === "off" ? false : value

// A function, since `Budget` needs `Policy` and `Policy` needs this module: it may not be there yet when this one is.
const budgets = () =>
  ({ default: {}, finagle: Budget.finagle, grpc: Budget.grpc, aws: Budget.aws, off: false }) as const

/** The standard retry with what is said otherwise. */
const retryOf = (own: Fields<"retry">): Retry.Retry<LlmError.LlmError> => {
  const { attempts, base, cap, factor, jitter, maxRetryAfter, within } = own
  const { spec } = Retry.standard
  const start = base === undefined && factor === undefined
    ? Retry.standard
    : Retry.withBackoff(
      Retry.standard,
      base ?? (spec.backoff._tag === "Exponential" ? spec.backoff.base : "500 millis"),
      factor
    )
  const steps: ReadonlyArray<((self: Retry.Retry<LlmError.LlmError>) => Retry.Retry<LlmError.LlmError>) | undefined> = [
    attempts === undefined ? undefined : Retry.attempts(attempts),
    cap === undefined ? undefined : Retry.capped(cap),
    jitter === undefined ? undefined : Retry.jittered(jitter),
    within === undefined ? undefined : Retry.within(within),
    maxRetryAfter === undefined ? undefined : Retry.honoringRetryAfter({ max: maxRetryAfter })
  ]
  return steps.reduce<Retry.Retry<LlmError.LlmError>>((self, step) => step === undefined ? self : step(self), start)
}

const breakerOf = ({ failures, openFor, probes }: Fields<"breaker">): CircuitBreaker.Options => ({
  tripPolicy: failures === undefined ? undefined : CircuitBreaker.consecutive(failures),
  openDuration: openFor,
  probes
})

const quotaOf = (own: Fields<"quota">): Quota.Options => ({
  perMinute: { requests: own.requestsPerMinute, tokens: own.tokensPerMinute },
  perDay: { requests: own.requestsPerDay, tokens: own.tokensPerDay }
})

/**
 * The spec as an Effect `Config`: `DEADLINE`, `ATTEMPT`, `RETRY_ATTEMPTS`, `BREAKER_OPEN_FOR`, `QUOTA_TOKENS_PER_MINUTE`
 * and so on, each field of {@link Spec} in capitals, below a name of the caller's. A whole policy is left out with
 * `RETRY=off`.
 *
 * @since 0.1.0
 * @category config
 */
export const config = (name = "PERDURE"): Config.Config<Spec> => {
  const one = (key: string) => Config.option(Config.string(key))
  const group = (key: string, keys: ReadonlyArray<string>) =>
    Config.all([
      one(key),
      Config.nested(
        Config.all(keys.map((field) => Config.map(one(upper(field)), (value) => [field, value] as const))),
        key
      )
    ]).pipe(
      Config.map(([whole, all]) =>
        Option.getOrElse(whole, () => {
          const given = all.flatMap(([field, value]) => Option.isSome(value) ? [[field, value.value] as const] : [])
          return given.length === 0 ? undefined : Object.fromEntries(given)
        })
      )
    )
  return Config.all({
    deadline: Config.map(one("DEADLINE"), Option.getOrUndefined),
    attempt: Config.map(one("ATTEMPT"), Option.getOrUndefined),
    retry: group("RETRY", ["attempts", "base", "factor", "cap", "within", "jitter", "maxRetryAfter"]),
    breaker: group("BREAKER", ["failures", "openFor", "probes"]),
    bulkhead: group("BULKHEAD", ["limit", "queue", "maxWait"]),
    quota: group("QUOTA", ["requestsPerMinute", "tokensPerMinute", "requestsPerDay", "tokensPerDay"]),
    budget: Config.map(one("BUDGET"), Option.getOrUndefined)
  }).pipe(
    Config.nested(name),
    Config.mapOrFail((raw) =>
      Either.mapLeft(
        decode(Object.fromEntries(Object.entries(raw).filter(([, value]) => value !== undefined))),
        (error) => {
          // Of a union, the issue that goes deepest is the one of the member that was meant.
          const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error).toSorted((a, b) =>
            b.path.length - a.path.length
          )
          const path = (issue?.path ?? []).map((key) => upper(String(key)))
          return ConfigError.InvalidData(path, issue?.message ?? "is not understood")
        }
      )
    )
  )
}

const decode = Schema.decodeUnknownEither(Spec)

const upper = (field: string): string => field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()

/**
 * The policy that the configuration describes; see {@link config} for the names.
 *
 * @since 0.1.0
 * @category config
 */
export const fromConfig = (
  name?: string
): Effect.Effect<
  Policy.Policy<LlmError.LlmError, Refusals<Options>>,
  ConfigError.ConfigError
> => Effect.flatMap(config(name), (spec) => make(fromSpec(spec)))
