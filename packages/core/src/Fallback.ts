/**
 * Asks one target after another until one answers.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Disposition from "./Disposition.ts"
import { Chain as Running, type Settings } from "./internal/chain.ts"
import { nowOf } from "./internal/clock.ts"
import { collect } from "./internal/collect.ts"
import * as Health from "./internal/health.ts"
import { Members } from "./internal/members.ts"
import { fromRaw, isGuess, planOf, targetsOf } from "./internal/provider.ts"
import type { LlmError, TargetError } from "./LlmError.ts"
import { LlmProvider, type Service, type TargetInfo } from "./LlmProvider.ts"
import * as Check from "./Options.ts"
import type { Service as Memory } from "./PolicyMemory.ts"
import type { Target } from "./Receipt.ts"

/**
 * Decides whether a failure at one target is a reason to ask another.
 *
 * @since 0.1.0
 * @category models
 */
export type MovesOn = (failure: LlmError, step: { readonly from: TargetInfo; readonly to: TargetInfo }) => boolean

/**
 * In which order the healthy targets are asked.
 *
 * - `given`: as they are given.
 * - `weighted`: at random, each one's chance to be the next in proportion to its weight.
 * - `leastInFlight`: the one with the fewest requests under way first.
 * - `fastest`: the one that usually answers soonest first, by a moving average of its answers of the last minute (of a
 *   stream, of its first output). One of which nothing is known is asked before the others, by one call at a time.
 *
 * @since 0.1.0
 * @category models
 */
export type Order = "given" | "weighted" | "leastInFlight" | "fastest"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Which failures move on, and to which targets.
   * @default movesOn(classify)
   */
  readonly movesOn?: MovesOn | undefined
  /**
   * What failures say about the target.
   * @default Disposition.classify
   */
  readonly classify?: Disposition.Classifier | undefined
  /**
   * Whether content that one target refuses is asked of the next: `"moveOn"`; or ends the call: `"stop"`.
   * @default "stop"
   */
  readonly contentRefusal?: "stop" | "moveOn" | undefined
  /**
   * The order of the healthy targets.
   * @default "given"
   */
  readonly order?: Order | undefined
  /**
   * The weights of the targets, one each, for the order `"weighted"`; who has none is asked after all others.
   * @default 1 for each
   */
  readonly weights?: ReadonlyArray<number> | undefined
  /**
   * After how many failures in a row a target is put last; a call whose retries are spent is one. A target that cannot
   * answer for now (a bad key, a missing model) is put last at once.
   * @default 5
   */
  readonly unhealthyAfter?: number | undefined
  /**
   * How long a failing target is put last. After that one call asks it in its old place; when that is answered, so do all.
   * @default 30 seconds
   */
  readonly unhealthyFor?: Duration.DurationInput | undefined
  /**
   * What happens when the circuit breaker of every target is open: `"soonest"` asks the one that reopens first once all
   * the same, `"none"` fails, with the time until then in `retryAfter`. A circuit that is isolated by hand is not asked.
   * @default "none"
   */
  readonly lastResort?: "soonest" | "none" | undefined
  /**
   * Whose targets these are, in a `PolicyMemory`: chains of the same name share what they know of each provider and model,
   * several of the same in one chain by their places.
   * @default "default"
   */
  readonly name?: string | undefined
  /**
   * The `PolicyMemory` to keep in what it knows of its targets: their health, how long they take, and what is under way.
   * @default for a layer the one that it finds, else none: a memory of its own
   */
  readonly memory?: Memory | undefined
}

/**
 * What a chain knows of a target.
 *
 * @since 0.1.0
 * @category models
 */
export interface TargetStatus {
  readonly target: Target
  /** Whether it is asked in its place, is `due` to be asked there by one call, or is put last. */
  readonly health: "healthy" | "due" | "unhealthy"
  /** The time until it is asked in its old place; only while `unhealthy`. */
  readonly retryAfter?: Duration.Duration | undefined
  /** How many requests are under way; a stream is until it ends. */
  readonly inFlight: number
  /** How long a complete answer usually takes, where one came in the last minute. */
  readonly answer?: Duration.Duration | undefined
  /** How long the first output of a stream usually takes, where one came in the last minute. */
  readonly firstOutput?: Duration.Duration | undefined
}

/**
 * A chain of targets: a provider, and what can be asked of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Chain extends Service {
  /** What is known of the targets, in the order given. Those of a chain in it under the same options are among them. */
  readonly state: Effect.Effect<ReadonlyArray<TargetStatus>>
  /**
   * Replaces all options but the name and the memory, with defaults for those not given. What is known of the targets is
   * kept. Calls under way go on by the options that they began with.
   */
  readonly reconfigure: (options: Options) => Effect.Effect<void>
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Fallback extends Context.Tag("perdure/Fallback")<Fallback, Chain>() {}

/**
 * The defaults of {@link Options} that are numbers: those of Envoy's outlier detection, five failures in a row and 30 s.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaults = { unhealthyAfter: 5, unhealthyFor: Duration.seconds(30) } as const

/**
 * The rule by a classifier: a failure moves on when the same target could be asked again but its retries are spent, and
 * when only another target can help (quota, key, permission, missing model). A context that is too long moves on only to
 * a target that is known to have a larger window. A bad request and refused content stop, since every target would refuse
 * them; override the classifier to ask others all the same. A request that is not idempotent stops once the provider may
 * have acted on it.
 *
 * @since 0.1.0
 * @category predicates
 */
export const movesOn = (classify: Disposition.Classifier): MovesOn => (failure, { from, to }) => {
  switch (classify(failure).next) {
    case "here":
    case "elsewhereFirst":
    case "elsewhereOnly":
      return true
    case "largerContextOnly":
      return hasLargerWindow(lastOf(failure), from, to)
    case "stop":
      return false
  }
}

const hasLargerWindow = (failure: TargetError, from: TargetInfo, to: TargetInfo): boolean => {
  const { limit, requested } = failure._tag === "ContextLengthExceeded" ? failure : {}
  const tooSmall = limit ?? from.contextWindow
  const window = to.contextWindow
  return window !== undefined && tooSmall !== undefined && window > tooSmall && window >= (requested ?? 0)
}

const lastOf = (failure: LlmError): TargetError => failure._tag === "AllTargetsFailed" ? failure.last : failure

/** The default rule, but for refused content. */
const evenRefused = movesOn(Disposition.override({ ContentFiltered: { next: "elsewhereOnly" } }))

const rules = new WeakMap<Disposition.Classifier, MovesOn>()

/** The rule by a classifier, the same one each time, so that chains under it are seen to be under one rule. */
const ruleOf = (classify: Disposition.Classifier): MovesOn => {
  const rule = rules.get(classify) ?? movesOn(classify)
  rules.set(classify, rule)
  return rule
}

const check = (options: Options, count: number): Settings => {
  const option = (name: string) => `Fallback.make({ ${name} })`
  const { classify = Disposition.classify, movesOn: rule = ruleOf(classify), weights } = options
  const { contentRefusal = "stop", lastResort = "none", order = "given" } = options
  Check.literal(option("contentRefusal"), contentRefusal, ["stop", "moveOn"])
  if (weights !== undefined) {
    Check.check(option("weights"), weights, weights.length === count, `one weight for each of the ${count} targets`)
    for (const weight of weights) Check.number(option("weights"), weight, 0)
    Check.check(option("weights"), weights, weights.some((weight) => weight > 0), "at least one weight above 0")
  }
  const unhealthyFor = Check.duration(option("unhealthyFor"), options.unhealthyFor ?? defaults.unhealthyFor)
  return {
    rule,
    contentRefusal,
    moves: contentRefusal === "stop"
      ? rule
      : (failure, step) =>
        rule(failure, step) || (lastOf(failure)._tag === "ContentFiltered" && evenRefused(failure, step)),
    classify,
    order: Check.literal(option("order"), order, ["given", "weighted", "leastInFlight", "fastest"]),
    weights,
    after: Check.integer(option("unhealthyAfter"), options.unhealthyAfter ?? defaults.unhealthyAfter, 1),
    benchedFor: Duration.toMillis(unhealthyFor),
    lastResort: Check.literal(option("lastResort"), lastResort, ["soonest", "none"])
  }
}

/** The options in words. */
const words = ({ after, benchedFor, contentRefusal, lastResort, order, weights }: Settings): string =>
  [
    order === "weighted" && weights !== undefined ? `weighted ${weights.join(":")}` : order,
    `unhealthy after ${after} for ${Duration.format(Duration.millis(benchedFor))}`,
    ...contentRefusal === "moveOn" ? ["content refusals move on"] : [],
    ...lastResort === "soonest" ? ["last resort soonest"] : []
  ].join(", ")

/**
 * A provider that asks the given ones until one answers: the healthy ones in their order, then the others.
 *
 * It fails with the failure itself when that failure does not move on from the first target, and otherwise with
 * `AllTargetsFailed`, which holds every failure in order. A target that is known not to take what the request has, tools
 * or images, is not asked; nor is one that usually needs longer than the time left of the call's deadline, as long as
 * there is a faster one. They are in the error as `InvalidRequest` and `DeadlineExceeded`.
 *
 * While other targets remain, a retry policy inside does not repeat a timeout: another target is better than the same one
 * again. Interrupting it asks nobody else. Where a `Budget` around it charges for fallbacks and does not grant one, the chain
 * ends with the failures that it has. A stream is a target's success at its first output; if it is cut later, that
 * counts against the target's health.
 *
 * The health of targets, and how long they take, is kept in the value, or in a `PolicyMemory`: build it once.
 *
 * @example
 * ```ts
 * import { Fallback, type LlmProvider } from "perdure"
 *
 * declare const primary: LlmProvider.Service
 * declare const secondary: LlmProvider.Service
 *
 * const chain = Fallback.make([primary, secondary], { contentRefusal: "moveOn", lastResort: "soonest" })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (services: readonly [Service, ...Array<Service>], options: Options = {}): Chain => {
  const { memory, name = "default" } = options
  const members = new Members(services, check(options, services.length), {
    memory,
    name: Check.text("Fallback.make({ name })", name)
  })
  const [head, ...tail] = services
  const run = <A, R>(ask: (u: number) => Effect.Effect<A, LlmError, R>): Effect.Effect<A, LlmError, R> =>
    Effect.suspend(() => members.order === "weighted" ? Effect.flatMap(Random.next, ask) : ask(0))
  const chain = Object.assign(
    fromRaw(
      {
        generate: (request) =>
          run((u) => {
            const { limited, settings, targets } = members.plan
            return new Running({ settings, targets, limited, request, kind: "generate", u }).begin()
          }),
        open: (request) =>
          run((u) => {
            const { limited, settings, targets } = members.plan
            return new Running({ settings, targets, limited, request, kind: "open", u }).begin()
          })
      },
      [...targetsOf(head), ...tail.flatMap(targetsOf)],
      // Whoever is asked first by chance or by speed was the one that the call was meant for.
      () => members.order !== "given" || isGuess(head),
      {
        _tag: "Choice",
        step: () => ({ name: "fallback", settings: words(members.plan.settings) }),
        among: services.map((service) => ({ plan: planOf(service) }))
      }
    ),
    {
      state: Effect.withFiberRuntime<ReadonlyArray<TargetStatus>>((fiber) => {
        const now = nowOf(fiber)
        return Effect.succeed(members.plan.targets.map(({ info: { model, provider }, known }) => ({
          target: { provider, model },
          ...Health.status(known.health.until, now),
          ...known.status(now)
        })))
      }),
      reconfigure: (options: Options) => {
        const settings = check(options, services.length)
        return Effect.sync(() => members.reconfigure(settings))
      }
    }
  )
  members.belongTo(chain)
  return chain
}

/**
 * {@link make} over layers. All of them are built. The chain is there as the provider, and under the tag {@link Fallback}
 * for what else can be asked of it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <
  const Layers extends readonly [
    Layer.Layer<LlmProvider, any, any>,
    ...Array<Layer.Layer<LlmProvider, any, any>>
  ]
>(
  layers: Layers,
  options: Options = {}
): Layer.Layer<LlmProvider | Fallback, Layer.Layer.Error<Layers[number]>, Layer.Layer.Context<Layers[number]>> => {
  check(options, layers.length)
  return collect(
    layers,
    ([first, ...others], found) => {
      const chain = make([first!, ...others], { ...options, memory: options.memory ?? found })
      return Context.add(Context.make(LlmProvider, chain), Fallback, chain)
    }
  )
}
