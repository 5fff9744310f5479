/**
 * A hedge asks again while the first request is still under way, and takes the answer that comes first: it cuts the slow
 * tail of latencies for a few more requests.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Disposition from "./Disposition.ts"
import * as Call from "./internal/call.ts"
import { track } from "./internal/calling.ts"
import { collect } from "./internal/collect.ts"
import type { AnyFiber } from "./internal/gate.ts"
import * as Internal from "./internal/hedge.ts"
import * as Pipeline from "./internal/pipeline.ts"
import { fromRaw, isGuess, planOf, type Raw, rawOf, targetsOf } from "./internal/provider.ts"
import * as Race from "./internal/race.ts"
import * as Remembered from "./internal/remembered.ts"
import * as LlmError from "./LlmError.ts"
import { LlmProvider, type Service as Provider } from "./LlmProvider.ts"
import * as Check from "./Options.ts"
import type * as Policy from "./Policy.ts"

/**
 * A delay that is learned from how long answers take, and streams to their first output: for each target by itself, and
 * for complete answers and streams by themselves. A stream that is buffered is a complete answer.
 *
 * @since 0.1.0
 * @category models
 */
export interface Percentile {
  /** Above 0, up to 100: with 95, about one request in twenty is hedged. */
  readonly percentile: number
  /**
   * How many latencies it needs, from 1 to 128; the last 128 are kept of each key and kind.
   * @default 20
   */
  readonly of?: number | undefined
  /**
   * The delay until then.
   * @default 2 seconds
   */
  readonly otherwise?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * How long a try is waited for before the next one starts beside it.
   * @default 2 seconds
   */
  readonly after?: Duration.DurationInput | Percentile | undefined
  /**
   * The most tries, the first included: at least 1. Of services, there are no more tries than services.
   * @default 2; of services, as many as there are
   */
  readonly most?: number | undefined
  /**
   * What failures deserve: one that is worth another try starts it at once, one that nothing
   * can mend ends the race, any other waits for the tries under way.
   * @default Disposition.classify
   */
  readonly classify?: Disposition.Classifier | undefined
  /**
   * With whose latencies a call belongs, for a delay that is learned. Those of 1000 keys are kept; of more, the key that
   * has learned nothing for longest is forgotten.
   * @default the target, as in `openai/gpt-4o`, of services the first one's; by hand, `default`
   */
  readonly key?: ((subject: Policy.Subject | undefined) => string) | undefined
  /**
   * Whose latencies these are, in a `PolicyMemory`: hedges of the same name share them, those of services apart from others.
   * @default "default"
   */
  readonly name?: string | undefined
}

/**
 * What is known of one key and kind.
 *
 * @since 0.1.0
 * @category models
 */
export interface Status {
  /** How long the first try of the next call is waited for. */
  readonly delay: Duration.Duration
  /** From how many latencies that could be learned. */
  readonly latencies: number
}

/**
 * A hedge: a policy, and what can be asked of it. Keys are named as {@link Options.key} says.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service extends Policy.Policy {
  /**
   * What is known of the complete answers of a key, or of its streams; of one that nobody has used, no latency.
   * @param kind by default `generate`
   */
  readonly state: (key: string, kind?: Policy.Subject["kind"]) => Effect.Effect<Status>
  /**
   * Replaces all options but the name, with defaults for those not given, for the calls that begin after it. The latencies
   * are kept, also while the delay is not learned.
   */
  readonly reconfigure: (options: Options) => Effect.Effect<void>
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Hedge extends Context.Tag("perdure/Hedge")<Hedge, Service>() {}

/**
 * The defaults of {@link Options}: 2 s is when Polly hedges, two tries are the least that do.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaults = { after: Duration.seconds(2), most: 2, of: 20 } as const

const keyOf = (subject: Policy.Subject | undefined): string =>
  subject === undefined ? "default" : Call.targetKey(subject.target)

interface Checked {
  readonly after: Internal.Delay
  readonly most: number
  readonly classify: Disposition.Classifier
  readonly key: (subject: Policy.Subject | undefined) => string
  readonly name: string
  readonly step: Policy.Step
}

const isPercentile = (after: Options["after"]): after is Percentile =>
  typeof after === "object" && after !== null && "percentile" in after

const checkAfter = (
  where: string,
  after: Duration.DurationInput | Percentile
): { readonly after: Internal.Delay; readonly words: string } => {
  if (!isPercentile(after)) {
    const fixed = Check.duration(`${where}({ after })`, after, "zero")
    return { after: Duration.toMillis(fixed), words: Duration.format(fixed) }
  }
  const percent = Check.number(`${where}({ after: { percentile } })`, after.percentile, 0)
  Check.check(`${where}({ after: { percentile } })`, percent, percent > 0 && percent <= 100, "above 0, up to 100")
  const of = Check.integer(`${where}({ after: { of } })`, after.of ?? defaults.of, 1, Internal.kept)
  const otherwise = Check.duration(`${where}({ after: { otherwise } })`, after.otherwise ?? defaults.after, "zero")
  return { after: { percent, of, otherwise: Duration.toMillis(otherwise) }, words: `percentile ${percent}` }
}

const check = (options: Options, where: string, tries: number): Checked => {
  const { after, words } = checkAfter(where, options.after ?? defaults.after)
  const most = Check.integer(`${where}({ most })`, options.most ?? tries, 1)
  return {
    after,
    most,
    classify: options.classify ?? Disposition.classify,
    key: options.key ?? keyOf,
    name: Check.text(`${where}({ name })`, options.name ?? "default"),
    step: { name: "hedge", settings: `after ${words}, at most ${most} ${most === 1 ? "try" : "tries"}` }
  }
}

const latencies = () => new Internal.Latencies()

const ofPolicies = new Remembered.Kind(latencies)

/** Apart from the others: a hedge of services may have hedges inside, whose tries take longer than what it sees of them. */
const ofServices = new Remembered.Kind(latencies)

const nothing = () => undefined

/** What options say of one call. */
const settingsOf = (
  { after, classify, key, most }: Checked,
  latencies: Internal.Latencies,
  subject: Policy.Subject | undefined,
  fiber: AnyFiber
): Race.Settings => {
  if (typeof after === "number") return { most, classify, delay: () => after, observe: nothing }
  const own = key(subject)
  const kind = subject?.kind === "open" && Call.live(fiber)?.whenCut !== "buffer" ? "open" : "generate"
  return {
    most,
    classify,
    delay: () => Internal.delay(after, latencies.of(own, kind)),
    observe: (millis) => latencies.observe(own, kind, millis)
  }
}

/**
 * Asks the same target again when it has not answered in time, and at once when it has failed in a way worth another
 * try: apply it with `pipe`, or around a provider with `LlmProvider.withPolicy`. The first answer counts, of a stream its
 * first output; the others are interrupted, and are waited for until they have let go of their connections, before the
 * answer is given.
 *
 * It never asks twice where the request is not idempotent, and starts no try that the budgets around it do not pay for,
 * or that would start at the deadline of the call or past it. When all tries fail, the failure is the last one's; one
 * that no other try can mend, such as a bad request, ends the others, and so does a defect. Interrupting it interrupts all
 * tries. By hand it cannot see whether an effect may run twice at once: put it only around one that may.
 *
 * One value learns from any number of targets, of each by itself; two values know nothing of each other, unless they find
 * a `PolicyMemory` and have the same name.
 *
 * @example
 * ```ts
 * import { Hedge, LlmProvider } from "perdure"
 *
 * const hedged = LlmProvider.withPolicy(Hedge.make({ after: { percentile: 95, otherwise: "2 seconds" } }))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Service> => {
  const checked = check(options, "Hedge.make", defaults.most)
  return Effect.map(Remembered.around, (memory) => build(checked, Remembered.at(memory, ofPolicies, checked.name)))
}

const build = (first: Checked, latencies: Internal.Latencies): Service => {
  let checked = first
  const around: Pipeline.Apply = (self, subject) =>
    subject?.request.idempotent === false
      ? self
      : Race.run(
        (fiber) => settingsOf(checked, latencies, subject, fiber),
        [{ ask: self, target: subject?.target }],
        (_, last) => last
      )
  const methods: Omit<Service, keyof Policy.Policy> = {
    state: (key, kind = "generate") =>
      Effect.sync(() => {
        const samples = latencies.of(key, kind)
        return {
          delay: Duration.millis(Internal.delay(checked.after, samples)),
          latencies: samples.values.length
        }
      }),
    reconfigure: (options) => {
      const changed = check({ ...options, name: first.name }, "Hedge.make", defaults.most)
      return Effect.sync(() => {
        checked = changed
      })
    }
  }
  const policy = Pipeline.policy<unknown, never>(() => [checked.step], [Pipeline.gate(track), Pipeline.around(around)])
  return Object.assign(policy, methods)
}

/**
 * A layer of {@link make}, for a hedge that several parts of a program share.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<Hedge> => Layer.effect(Hedge, make(options))

/**
 * A provider that asks the first of the given ones, and each time that it waits too long or one fails, the next as well.
 * The first answer counts. It behaves as {@link make} does, except that each try goes to a target of its own, and that
 * the failure holds those of all tries in order when there were several.
 *
 * A delay is learned from the first of them, and what was learned is kept in the value: build it once. For one that goes
 * on from what another has learned, see {@link layers}.
 *
 * @since 0.1.0
 * @category constructors
 */
export const services = (services: readonly [Provider, ...Array<Provider>], options: Options = {}): Provider =>
  over(services, check(options, "Hedge.services", services.length), latencies())

/**
 * {@link services} over layers. All of them are built. What it learns, it keeps in a `PolicyMemory`, where there is one.
 *
 * @example
 * ```ts
 * import type { Layer } from "effect"
 * import { Hedge, type LlmProvider } from "perdure"
 *
 * declare const openAi: Layer.Layer<LlmProvider.LlmProvider>
 * declare const anthropic: Layer.Layer<LlmProvider.LlmProvider>
 *
 * const Llm = Hedge.layers([openAi, anthropic], { after: { percentile: 95 } })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layers = <
  const Layers extends readonly [
    Layer.Layer<LlmProvider, any, any>,
    ...Array<Layer.Layer<LlmProvider, any, any>>
  ]
>(
  layers: Layers,
  options: Options = {}
): Layer.Layer<LlmProvider, Layer.Layer.Error<Layers[number]>, Layer.Layer.Context<Layers[number]>> => {
  const checked = check(options, "Hedge.layers", layers.length)
  return collect(
    layers,
    ([first, ...others], memory) =>
      Context.make(LlmProvider, over([first!, ...others], checked, Remembered.at(memory, ofServices, checked.name)))
  )
}

const over = (
  services: readonly [Provider, ...Array<Provider>],
  checked: Checked,
  latencies: Internal.Latencies
): Provider => {
  const [first, ...rest] = services
  const [target, ...others] = targetsOf(first)
  const limited = { ...checked, most: Math.min(checked.most, services.length) }
  const combine = (failures: ReadonlyArray<LlmError.LlmError>, last: LlmError.LlmError): LlmError.LlmError =>
    failures.length < 2 ? last : failures.slice(1).reduce((all, one) => LlmError.both(all, one), failures[0] ?? last)
  const run = <A, R>(
    subject: Policy.Subject,
    ask: (raw: Raw) => Effect.Effect<A, LlmError.LlmError, R>
  ): Effect.Effect<A, LlmError.LlmError, R> => {
    if (!subject.request.idempotent) return ask(rawOf(first))
    const way = (service: Provider) => ({
      ask: Effect.suspend(() => ask(rawOf(service))),
      target: targetsOf(service)[0]
    })
    return Race.run(
      (fiber) => settingsOf(limited, latencies, subject, fiber),
      [way(first), ...rest.map(way)],
      combine
    )
  }
  return fromRaw(
    {
      generate: (request) => run({ target, request, kind: "generate" }, (raw) => raw.generate(request)),
      open: (request) => run({ target, request, kind: "open" }, (raw) => raw.open(request))
    },
    [target, ...others, ...rest.flatMap(targetsOf)],
    () => isGuess(first),
    {
      _tag: "Choice",
      step: () => limited.step,
      among: services.map((service) => ({ plan: planOf(service) }))
    }
  )
}
