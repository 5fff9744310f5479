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
  const moves = options.movesOn ?? byDefault
  const [head, ...tail] = services
  const [first, ...others] = targetsIn(head, moves)
  const targets: Targets = [first, ...others, ...tail.flatMap((service) => targetsIn(service, moves))]

  const run = <A, R>(ask: (raw: Raw) => Effect.Effect<A, LlmError, R>): Effect.Effect<A, LlmError, R> =>
    Effect.withFiberRuntime<A, LlmError, R>((fiber) => {
      const call = Call.live(fiber)
      const outside = fiber.getFiberRef(Call.elsewhere)
      let untried = targets.reduce((sum, { all }) => sum + all.length, 0)

      const from = (
        target: Target,
        others: ReadonlyArray<Target>,
        before: LlmError | undefined
      ): Effect.Effect<A, LlmError, R> => {
        untried -= target.all.length
        const nextAfter = (failure: LlmError) =>
          others.findIndex(({ info }) => moves(failure, { from: target.info, to: info }))
        const asking = Effect.zipRight(
          FiberRef.set(Call.elsewhere, (failure) => nextAfter(failure) >= 0 || outside(failure)),
          ask(target.raw)
        )
        return Effect.catchAll(asking, (failure) => {
          const at = nextAfter(failure)
          const next = others[at]
          if (next === undefined) return Effect.fail(ended(before, failure, untried))
          return Effect.flatMap(Clock.currentTimeMillis, (now) => {
            call?.fallBack({
              _tag: "FellBack",
              at: now,
              from: nameOf(target.info),
              to: nameOf(next.info),
              because: failure._tag
            })
            return from(next, others.slice(at + 1), before === undefined ? failure : both(before, failure))
          })
        })
      }
      const [first, ...others] = order(targets, call, moves)
      return Effect.ensuring(from(first, others, undefined), FiberRef.set(Call.elsewhere, outside))
    })

  const chain = fromRaw(
    { generate: (request) => run((raw) => raw.generate(request)), open: (request) => run((raw) => raw.open(request)) },
    [...targetsOf(head), ...tail.flatMap(targetsOf)]
  )
  chains.set(chain, { targets, moves })
  return chain
}

const byDefault = movesOn(Disposition.classify)

interface Target {
  readonly raw: Raw
  readonly all: ReadonlyArray<TargetInfo>
  readonly info: TargetInfo
}

type Targets = readonly [Target, ...Array<Target>]

/** What the chains made here are made of. */
const chains = new WeakMap<Service, { readonly targets: Targets; readonly moves: MovesOn }>()

/** A chain in a chain under the same rule is one longer chain. */
const targetsIn = (service: Service, moves: MovesOn): Targets => {
  const chain = chains.get(service)
  if (chain?.moves === moves) return chain.targets
  const all = targetsOf(service)
  return [{ raw: rawOf(service), all, info: summary(all) }]
}

const nameOf = ({ model, provider }: TargetInfo) => ({ provider, model })

/**
 * The order in which to ask. A stream that is started again elsewhere passes over the targets that cut it, as far as
 * the failure moves on to others; where it does not, it is their turn again.
 */
const order = (targets: Targets, call: Call.Call | undefined, moves: MovesOn): Targets => {
  if (call === undefined || call.cuts.size === 0) return targets
  const cut = targets.flatMap((target) =>
    target.all.flatMap((info) => {
      const failure = call.cutBy(info)
      return failure === undefined ? [] : [{ target, info, failure }]
    })
  )
  const isCut = ({ all }: Target) => all.every((info) => call.cutBy(info) !== undefined)
  const [first, ...others] = targets.filter((target) =>
    !isCut(target) && cut.every(({ failure, info }) => moves(failure, { from: info, to: target.info }))
  )
  return first !== undefined ? [first, ...others] : [cut.at(-1)?.target ?? targets[0]]
}

/** A service stands in a chain as its first target, with the largest window of all it may ask. */
const summary = (targets: ReturnType<typeof targetsOf>): TargetInfo => {
  const windows = targets.flatMap(({ contextWindow }) => contextWindow ?? [])
  return windows.length === 0 ? targets[0] : { ...targets[0], contextWindow: Math.max(...windows) }
}

/** The failure of a chain: with those before it, and with the number of targets that nobody asked. */
const ended = (before: LlmError | undefined, failure: LlmError, untried: number): LlmError => {
  if (before !== undefined) return both(before, failure, untried)
  return failure._tag === "AllTargetsFailed" && untried > 0
    ? new AllTargetsFailed({ ...failure, untried: failure.untried + untried })
    : failure
}
