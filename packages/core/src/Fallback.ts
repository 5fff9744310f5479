/**
 * Asks one target after another until one answers.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as Disposition from "./Disposition.ts"
import * as Call from "./internal/call.ts"
import { fromRaw, type Raw, rawOf, targetsOf } from "./internal/provider.ts"
import { AllTargetsFailed, both, type LlmError, type ProviderError } from "./LlmError.ts"
import type { Service, TargetInfo } from "./LlmProvider.ts"

/**
 * Decides whether a failure at one target is a reason to ask another.
 *
 * @since 0.1.0
 * @category models
 */
export type MovesOn = (failure: LlmError, step: { readonly from: TargetInfo; readonly to: TargetInfo }) => boolean

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Which failures move on, and to which targets.
   * @default movesOn(Disposition.classify)
   */
  readonly movesOn?: MovesOn | undefined
}

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
      return hasLargerWindow(failure._tag === "AllTargetsFailed" ? failure.last : failure, from, to)
    case "stop":
      return false
  }
}

const hasLargerWindow = (failure: ProviderError, from: TargetInfo, to: TargetInfo): boolean => {
  const { limit, requested } = failure._tag === "ContextLengthExceeded" ? failure : {}
  const tooSmall = limit ?? from.contextWindow
  const window = to.contextWindow
  return window !== undefined && tooSmall !== undefined && window > tooSmall && window >= (requested ?? 0)
}

/**
 * A provider that asks the given ones in order.
 *
 * It fails with the failure itself when that failure does not move on from the first target, and otherwise with
 * `AllTargetsFailed`, which holds every failure in order. While other targets remain, a retry policy inside does not
 * repeat a timeout: another target is better than the same one again.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (services: readonly [Service, ...Array<Service>], options: Options = {}): Service => {
  const moves = options.movesOn ?? movesOn(Disposition.classify)
  const targets = services.map((service) => {
    const all = targetsOf(service)
    return { raw: rawOf(service), all, info: summary(all) }
  })

  const run = <A, R>(ask: (raw: Raw) => Effect.Effect<A, LlmError, R>): Effect.Effect<A, LlmError, R> =>
    Effect.flatMap(FiberRef.get(Call.current), (call) => {
      const outside = call?.elsewhere ?? 0
      const remain = (targetsLeft: number) => {
        if (call !== undefined) call.elsewhere = outside + targetsLeft
      }
      const from = (
        target: (typeof targets)[number],
        others: typeof targets,
        before: LlmError | undefined
      ): Effect.Effect<A, LlmError, R> => {
        remain(others.length)
        return Effect.catchAll(ask(target.raw), (failure) => {
          const at = others.findIndex(({ info }) => moves(failure, { from: target.info, to: info }))
          const next = others[at]
          if (next === undefined) return Effect.fail(ended(before, failure, others))
          return Effect.flatMap(Clock.currentTimeMillis, (now) => {
            call?.fallBack({ _tag: "FellBack", at: now, from: call.target, to: next.info, because: failure._tag })
            return from(next, others.slice(at + 1), before === undefined ? failure : both(before, failure))
          })
        })
      }
      // A stream that is started again elsewhere passes over the targets that cut it, while there are others.
      const uncut = targets.filter(({ all }) => !all.every((info) => call?.avoids(info)))
      const [first, ...others] = (uncut.length === 0 ? targets : uncut) as [
        (typeof targets)[number],
        ...typeof targets
      ]
      return Effect.ensuring(from(first, others, undefined), Effect.sync(() => remain(0)))
    })

  const [first, ...others] = services
  return fromRaw(
    { generate: (request) => run((raw) => raw.generate(request)), open: (request) => run((raw) => raw.open(request)) },
    [...targetsOf(first), ...others.flatMap(targetsOf)]
  )
}

/** A service stands in a chain as its first target, with the largest window of all it may ask. */
const summary = (targets: ReturnType<typeof targetsOf>): TargetInfo => {
  const windows = targets.flatMap(({ contextWindow }) => contextWindow ?? [])
  return windows.length === 0 ? targets[0] : { ...targets[0], contextWindow: Math.max(...windows) }
}

/** The failure of a chain: with those before it, and with the number of targets that nobody asked. */
const ended = (
  before: LlmError | undefined,
  failure: LlmError,
  others: ReadonlyArray<{ readonly all: ReadonlyArray<TargetInfo> }>
): LlmError => {
  const untried = others.reduce((sum, { all }) => sum + all.length, 0)
  if (before !== undefined) return both(before, failure, untried)
  return failure._tag === "AllTargetsFailed" && untried > 0
    ? new AllTargetsFailed({ ...failure, untried: failure.untried + untried })
    : failure
}
