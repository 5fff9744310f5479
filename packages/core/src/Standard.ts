/**
 * The policies that a call should have, in the order in which they work together, with defaults to begin with. Use it as
 * `Policy.standard`; around several providers, as {@link layer}. As data, they are a `Spec`: from JSON by `decode`, from
 * the environment by {@link fromConfig} and {@link layerConfig}.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as ParseResult from "effect/ParseResult"
import type * as SubscriptionRef from "effect/SubscriptionRef"
import type * as Budget from "./Budget.ts"
import type * as Bulkhead from "./Bulkhead.ts"
import type * as CircuitBreaker from "./CircuitBreaker.ts"
import * as Fallback from "./Fallback.ts"
import { type Refusal, refusalBy } from "./internal/spec.ts"
import { build } from "./internal/standard.ts"
import { nameOf, variables } from "./internal/variables.ts"
import type * as LlmError from "./LlmError.ts"
import * as LlmProvider from "./LlmProvider.ts"
import * as Policy from "./Policy.ts"
import type * as Quota from "./Quota.ts"
import type * as Retry from "./Retry.ts"
import { decode, fromSpec, Spec } from "./StandardSpec.ts"

export * from "./StandardSpec.ts"

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
 * The standard policy: a policy, those of its parts that can be asked for what they know, and a way to change it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service<O extends Options = Options> extends Policy.Policy<LlmError.LlmError, Refusals<O>> {
  readonly budget: Part<O, "budget", Budget.Service>
  readonly breaker: Part<O, "breaker", CircuitBreaker.Service>
  readonly quota: Part<O, "quota", Quota.Service, false | undefined>
  readonly bulkhead: Part<O, "bulkhead", Bulkhead.Service>
  /**
   * Replaces all options, with defaults for those not given; bad ones throw `InvalidOption` and change nothing. What the
   * policies know is kept. A call under way keeps the deadline that it has, and its next attempt meets the new options.
   *
   * `false` takes a policy out until other options bring it back. One that was left out when the policy was made stays out,
   * since its refusal is not in the type, and a bulkhead stays of the kind that it was.
   */
  readonly reconfigure: (options: Reconfigured<O>) => Effect.Effect<void>
}

/**
 * A part of the standard policy: undefined where it was left out, or where its options are not known to be given.
 *
 * @since 0.1.0
 * @category models
 */
export type Part<O, K extends keyof Options, S, Off = false> = K extends keyof O
  ? [unknown] extends [O[K]] ? S | undefined
  : [O[K]] extends [Off] ? undefined :
  [Extract<O[K], Off>] extends [never] ? S
  : S | undefined
  : undefined extends Off ? undefined
  : S

/**
 * The options that a standard policy can be given later: those of what was left out can only be `false`.
 *
 * @since 0.1.0
 * @category models
 */
export type Reconfigured<O> = {
  readonly [K in keyof Options]?: K extends keyof O ?
    [O[K]] extends [K extends "quota" ? false | undefined : false]
      ? [unknown] extends [O[K]] ? Options[K] | undefined : false | undefined
    : Options[K] | undefined
    : K extends "quota" ? false | undefined
    : Options[K] | undefined
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
): Effect.Effect<Service<O>> =>
  Effect.map(build(options ?? {}), ({ call, parts, reconfigure, target }) => {
    const all: Policy.Policy<LlmError.LlmError, Refusals<Options>> = Policy.compose(call, target)
    // The compiler has composed those that there may be; what is known to be left out is not in it.
    const service: object = Object.assign(all, parts, { reconfigure })
    return service as Service<O>
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
  return Layer.unwrapEffect(Effect.map(made, (standard) => Layer.map(around(providers, standard, options), alone)))
}

const around = <const L extends readonly [ProviderLayer, ...Array<ProviderLayer>]>(
  [first, ...others]: L,
  { call, target }: Built,
  { fallback }: LayerOptions
): Layer.Layer<
  LlmProvider.LlmProvider | Fallback.Fallback,
  Layer.Layer.Error<L[number]>,
  Layer.Layer.Context<L[number]>
> => {
  const guarded = LlmProvider.withPolicy(target)
  return Fallback.layer([guarded(first), ...others.map((one) => guarded(one))], fallback).pipe(
    LlmProvider.withPolicy(call)
  )
}

type Built = Effect.Effect.Success<ReturnType<typeof build>>

/** The provider without its fallback, which is nobody else's to change. */
const alone = Context.pick(LlmProvider.LlmProvider)

/**
 * {@link layer} with the options of a reference, now and whenever they change. What the policies and the fallback know is
 * kept, and calls under way go on; see {@link Service.reconfigure}. Later options out of their range are logged and change
 * nothing; the first ones throw as the layer is built.
 *
 * @example
 * ```ts
 * import { Effect, Layer, SubscriptionRef } from "effect"
 * import { type LlmProvider, Standard } from "perdure"
 *
 * declare const openAi: Layer.Layer<LlmProvider.LlmProvider>
 *
 * const Llm = Layer.unwrapEffect(
 *   Effect.map(
 *     SubscriptionRef.make<Standard.LayerOptions>({ deadline: "1 minute" }),
 *     (options) => Standard.layerFollowing([openAi], options)
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFollowing = <const L extends readonly [ProviderLayer, ...Array<ProviderLayer>]>(
  providers: L,
  reference: SubscriptionRef.SubscriptionRef<LayerOptions>
): Layer.Layer<LlmProvider.LlmProvider, Layer.Layer.Error<L[number]>, Layer.Layer.Context<L[number]>> =>
  Layer.unwrapEffect(
    Effect.flatMap(
      reference,
      (first) =>
        Effect.map(build(first), (standard) =>
          Layer.flatMap(around(providers, standard, first), (context) => {
            const chain = Context.get(context, Fallback.Fallback)
            const reconfigure = (options: LayerOptions) => {
              // Both are checked before either is changed.
              const changes = [chain.reconfigure(options.fallback ?? {}), standard.reconfigure(options)]
              return Effect.all(changes, { discard: true })
            }
            return Layer.scopedContext(Effect.as(Policy.follow({ reconfigure }, reference), alone(context)))
          }))
    )
  )

/**
 * A layer of a provider.
 *
 * @since 0.1.0
 * @category models
 */
export type ProviderLayer = Layer.Layer<LlmProvider.LlmProvider, any, any>

// ---------------------------------------------------------------------------------------------------------------------
// From the configuration
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The spec as an Effect `Config`. Each field of {@link Spec} is a variable, by its name in capitals below a name of the
 * caller's and the names of what it is in: `DEADLINE`, `RETRY_MAX_RETRY_AFTER`, `BREAKER_COUNT_WINDOW_SIZE`.
 *
 * - `RETRY=off` leaves a policy out, whatever else is said of it; `QUOTA=on` and `BULKHEAD_ADAPTIVE=on` say nothing more than
 *   that it is there, as `{}` does in JSON.
 * - `BUDGET` is the name of a preset, or `BUDGET_TARGET_CAPACITY` and so on are those of a budget of one's own.
 * - The lists, `QUOTA_LIMITS` and `FALLBACK_WEIGHTS`, are JSON.
 *
 * A value out of its range is a `ConfigError` with the name of its variable. A variable of a name that does not exist is
 * not seen, as a `ConfigProvider` can only be asked for names.
 *
 * @default name "PERDURE"
 * @since 0.1.0
 * @category config
 */
export const config = (name = "PERDURE"): Config.Config<Spec> =>
  variables(Spec.ast).pipe(
    Config.nested(name),
    Config.mapOrFail((given) => Either.mapLeft(decode(given), (error) => invalid(firstOf(error))))
  )

/** Of a union, the issue that goes deepest is the one of the member that was meant. */
const firstOf = (error: ParseResult.ParseError): Refusal => {
  const [first] = ParseResult.ArrayFormatter.formatErrorSync(error).toSorted((a, b) => b.path.length - a.path.length)
  return {
    path: (first?.path ?? []).map((key) => typeof key === "number" ? key : String(key)),
    message: first?.message ?? "is not understood"
  }
}

/** A list is one variable. */
const invalid = ({ message, path }: Refusal): ConfigError.ConfigError => {
  const list = path.findIndex((key) => typeof key === "number")
  return ConfigError.InvalidData(
    path.slice(0, list < 0 ? path.length : list).map((key) => nameOf(String(key))),
    message
  )
}

/**
 * The policy that the configuration describes; see {@link config} for the names. It does not read those of `FALLBACK`.
 *
 * @default name "PERDURE"
 * @since 0.1.0
 * @category config
 */
export const fromConfig = (
  name?: string
): Effect.Effect<Service, ConfigError.ConfigError> => Effect.flatMap(config(name), (spec) => make(fromSpec(spec)))

/**
 * {@link layer} with the options that the configuration describes; see {@link config} for the names.
 *
 * @default name "PERDURE"
 * @since 0.1.0
 * @category config
 */
export const layerConfig = <const L extends readonly [ProviderLayer, ...Array<ProviderLayer>]>(
  providers: L,
  name = "PERDURE"
): Layer.Layer<
  LlmProvider.LlmProvider,
  Layer.Layer.Error<L[number]> | ConfigError.ConfigError,
  Layer.Layer.Context<L[number]>
> =>
  Layer.unwrapEffect(Effect.flatMap(config(name), (spec) =>
    Effect.try({
      try: () => layer(providers, fromSpec(spec)),
      catch: (thrown) => ConfigError.prefixed(invalid(refusalBy(spec, thrown)), [name])
    })))
