/**
 * A bulkhead lets only so many calls to a target run at once, and so many more wait, so that one slow target cannot take
 * all there is of memory, connections and patience.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Disposition from "./Disposition.ts"
import * as Learning from "./internal/adaptive.ts"
import * as Call from "./internal/call.ts"
import { clockOf, nowOf } from "./internal/clock.ts"
import { type AnyFiber, type Gate, type Leave, settling } from "./internal/gate.ts"
import { type Ended, OpenedStream } from "./internal/opened.ts"
import { Slot, Slots, wait, type Waiting } from "./internal/permits.ts"
import * as Pipeline from "./internal/pipeline.ts"
import * as LlmError from "./LlmError.ts"
import * as Check from "./Options.ts"
import type * as Policy from "./Policy.ts"

/**
 * What both forms take.
 *
 * @since 0.1.0
 * @category models
 */
export interface QueueOptions {
  /**
   * How many calls of one key may wait, at least 0. The first to come is the first to run; one more is refused.
   * @default 100
   */
  readonly queue?: number | undefined
  /**
   * How long a call may wait; at that time it is refused. The deadline of the call ends its wait, too.
   * @default no limit
   */
  readonly maxWait?: Duration.DurationInput | undefined
  /**
   * Which calls share a limit. Each key has a limit and a queue of its own; of more than 1,000 keys, those at rest are
   * forgotten.
   * @default the target, as in `openai/gpt-4o`; by hand, `default`
   */
  readonly key?: ((subject: Policy.Subject | undefined) => string) | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends QueueOptions {
  /**
   * How many calls of one key may be under way at once, at least 1.
   * @default 25
   */
  readonly limit?: number | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface AdaptiveOptions extends QueueOptions {
  /**
   * The limit to begin with, from `min` to `max`. Begin low: what the first calls take is what later ones are compared
   * with.
   * @default 10
   */
  readonly initial?: number | undefined
  /**
   * What the limit never falls below, at least 1. At this limit, slowness is taken for the target's own pace.
   * @default 3
   */
  readonly min?: number | undefined
  /**
   * What the limit never rises above.
   * @default 200
   */
  readonly max?: number | undefined
  /**
   * How the limit moves after each round of calls.
   *
   * - `gradient`: in proportion to how much slower than usual they were, and up by the square root of the limit.
   * - `aimd`: up by one; when they were too slow, down by `backoff`.
   *
   * Neither grows while less than half of the limit is used.
   *
   * @default "gradient"
   */
  readonly algorithm?: "aimd" | "gradient" | undefined
  /**
   * How many times slower than usual a round of calls may be, at least 1.
   * @default 1.25 for "gradient", 2 for "aimd"
   */
  readonly tolerance?: number | undefined
  /**
   * What a refusal for overload multiplies the limit by, above 0 and below 1; at once, and once for the calls that were
   * under way together.
   * @default 0.9
   */
  readonly backoff?: number | undefined
  /**
   * Which failures say that the target has too much to do.
   * @default overloads(Disposition.classify)
   */
  readonly overloads?: ((failure: unknown) => boolean) | undefined
}

/**
 * What one key is like now.
 *
 * @since 0.1.0
 * @category models
 */
export interface Status {
  /** Above `limit` only while the limit has been lowered and those under way have not ended. */
  readonly inFlight: number
  readonly waiting: number
  readonly limit: number
}

/**
 * A bulkhead: a policy, and what can be asked of it. Keys are named as {@link QueueOptions.key} says.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service extends Policy.Policy<unknown, LlmError.BulkheadFull> {
  /** How many calls are under way, of all keys together. A stream is until it ends. */
  readonly inFlight: Effect.Effect<number>
  /** How many wait, of all keys together. */
  readonly waiting: Effect.Effect<number>
  /** How many may be under way at once, of all keys together; before the first call, of one key. */
  readonly limit: Effect.Effect<number>
  /** What one key is like now; one that nobody has used is empty. */
  readonly state: (key: string) => Effect.Effect<Status>
}

/**
 * A bulkhead whose limit is set by hand.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fixed extends Service {
  /**
   * Replaces all options, with defaults for those not given. Permits and places in the queue are kept: a lower limit
   * cancels nobody, a higher one lets in at once who waits for it. `queue` and `maxWait` hold for those who come after.
   */
  readonly reconfigure: (options: Options) => Effect.Effect<void>
}

/**
 * A bulkhead that finds its limit.
 *
 * @since 0.1.0
 * @category models
 */
export interface Adaptive extends Service {
  /** As for {@link Fixed}. What has been learned is kept, and moved into the new range; `initial` is for new keys. */
  readonly reconfigure: (options: AdaptiveOptions) => Effect.Effect<void>
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Bulkhead extends Context.Tag("perdure/Bulkhead")<Bulkhead, Service>() {}

/**
 * The defaults of {@link Options} and {@link AdaptiveOptions} that are numbers. 25 at once and 100 waiting are those of
 * resilience4j's two bulkheads. 10 to begin with and 0.9 after an overload are those of `AIMDLimit`, and 200 at most is
 * that of `Gradient2Limit`, in Netflix's concurrency-limits; at least 3 and a quarter slower than usual are those of the
 * gradient controller of Envoy's adaptive concurrency filter. Twice as slow is what `GradientLimit` tolerates.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaults = {
  limit: 25,
  queue: 100,
  initial: 10,
  min: 3,
  max: 200,
  algorithm: "gradient",
  tolerance: { gradient: 1.25, aimd: 2 },
  backoff: 0.9
} as const

/**
 * The failures that say that a target has too much to do, by a classifier: overloads, rate limits and timeouts of a
 * provider. Refusals of policies of ours are none.
 *
 * @since 0.1.0
 * @category predicates
 */
export const overloads = (classify: Disposition.Classifier) => (failure: unknown): boolean => {
  if (!LlmError.is(failure)) return false
  const { blame, pace } = classify(failure)
  return blame !== "none" && (pace === "overload" || pace === "rateLimit" || pace === "timeout")
}

const keyOf = (subject: Policy.Subject | undefined): string =>
  subject === undefined ? "default" : Call.targetKey(subject.target)

/** What a key is given to begin with, and how it learns, if it does. */
interface Checked<S> extends Waiting {
  readonly key: (subject: Policy.Subject | undefined) => string
  readonly fresh: (now: number) => Slot<S>
  /** Brings a key under these options. */
  readonly adopt: (slot: Slot<S>) => void
  readonly limit: number
  readonly step: Policy.Step
}

const checkQueue = (name: string, { key = keyOf, maxWait, queue = defaults.queue }: QueueOptions) => ({
  key,
  queue: Check.integer(`${name}({ queue })`, queue, 0),
  maxWait: maxWait === undefined ? Infinity : Duration.toMillis(Check.duration(`${name}({ maxWait })`, maxWait, "zero"))
})

const described = (limit: string, { maxWait, queue }: Waiting): Policy.Step => ({
  name: "bulkhead",
  settings: [limit, `queue ${queue}`, ...maxWait === Infinity ? [] : [`wait up to ${Duration.format(maxWait)}`]].join(
    ", "
  )
})

const checkFixed = (options: Options): Checked<Leave> => {
  const limit = Check.integer("Bulkhead.make({ limit })", options.limit ?? defaults.limit, 1)
  const waiting = checkQueue("Bulkhead.make", options)
  return {
    ...waiting,
    limit,
    fresh: () => {
      const slot: Slot<Leave> = new Slot(limit, leaving(() => slot.leave()))
      return slot
    },
    adopt: (slot) => slot.resize(limit),
    step: described(`${limit} at once`, waiting)
  }
}

interface CheckedAdaptive extends Checked<Learning.State>, Learning.Settings {
  readonly overloads: (failure: unknown) => boolean
}

const byDefault = overloads(Disposition.classify)

const checkAdaptive = (options: AdaptiveOptions): CheckedAdaptive => {
  const algorithm = Check.literal("Bulkhead.adaptive({ algorithm })", options.algorithm ?? defaults.algorithm, [
    "aimd",
    "gradient"
  ])
  const max = Check.integer("Bulkhead.adaptive({ max })", options.max ?? Math.max(defaults.max, options.min ?? 0), 1)
  const min = Check.integer("Bulkhead.adaptive({ min })", options.min ?? Math.min(defaults.min, max), 1, max)
  const usual = Math.min(max, Math.max(min, defaults.initial))
  const limit = Check.integer("Bulkhead.adaptive({ initial })", options.initial ?? usual, min, max)
  const { backoff = defaults.backoff, tolerance = defaults.tolerance[algorithm] } = options
  Check.check("Bulkhead.adaptive({ backoff })", backoff, backoff > 0 && backoff < 1, "a number above 0 and below 1")
  const waiting = checkQueue("Bulkhead.adaptive", options)
  const learning: Learning.Settings = {
    algorithm,
    min,
    max,
    tolerance: Check.number("Bulkhead.adaptive({ tolerance })", tolerance, 1),
    backoff
  }
  return {
    ...waiting,
    ...learning,
    limit,
    overloads: options.overloads ?? byDefault,
    fresh: (now) => new Slot(limit, Learning.initial(limit, now)),
    adopt: (slot) => learn(slot, Learning.fit(learning, slot.learned)),
    step: described(`${algorithm} ${min} to ${max} at once`, waiting)
  }
}

const learn = (slot: Slot<Learning.State>, state: Learning.State): void => {
  slot.learned = state
  slot.resize(Math.floor(state.limit))
}

/**
 * A bulkhead with a fixed limit for each target: apply it with `pipe`, or around a provider with
 * `LlmProvider.withPolicy`. One value guards any number of targets; two values know nothing of each other.
 *
 * A call for which there is room starts at once. Others wait in line, without a fiber and without polling; who is
 * interrupted leaves the line at once, or passes on the permit that was being handed over. With the queue full, or when
 * `maxWait` or the deadline of the call comes first, the call fails with `BulkheadFull` and no request is made. A stream
 * keeps its permit until its last part, its failure, or the end of its scope.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Bulkhead, LlmProvider } from "perdure"
 *
 * const program = Effect.gen(function*() {
 *   const bulkhead = yield* Bulkhead.make({ limit: 8, queue: 32, maxWait: "20 seconds" })
 *   const questions = ["Who?", "What?", "Where?"]
 *   return yield* Effect.forEach(questions, (question) => bulkhead(LlmProvider.generate(question)), {
 *     concurrency: "unbounded"
 *   })
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Fixed> => {
  const checked = checkFixed(options)
  return Effect.sync(() => build<Options, Leave, Checked<Leave>>(checked, checkFixed, (slot) => slot.learned))
}

/** One for all calls of a key, as the way out of a fixed limit is the same for all of them. */
const leaving = (leave: () => void): Leave => (exit) => {
  const { value } = exit as { readonly value?: unknown }
  if (value instanceof OpenedStream) {
    return Effect.zipRight(
      value.onEnd(() => {
        leave()
        return Exit.void
      }),
      exit
    )
  }
  leave()
  return exit
}

/**
 * A bulkhead that finds the limit of each target by itself; in all else like {@link make}.
 *
 * It goes by the time for each output token, compared with answers of about the same length, so that long answers are not
 * taken for overload; of a stream by the time to its first output, as the rest depends on its reader. Answers whose tokens
 * are not known only count as not refused. A rate limit, an overload or a timeout of the provider lowers the limit at
 * once. An interrupted call, and any other failure, says nothing.
 *
 * The algorithms are those of Netflix's concurrency-limits (`GradientLimit`, `AIMDLimit`) and of TCP, which knows one
 * congestion a round trip; what is usual is measured as Envoy does it, with few calls under way.
 *
 * @example
 * ```ts
 * import { Bulkhead } from "perdure"
 *
 * const bulkhead = Bulkhead.adaptive({ initial: 8, min: 2, max: 100, algorithm: "gradient" })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const adaptive = (options: AdaptiveOptions = {}): Effect.Effect<Adaptive> => {
  const checked = checkAdaptive(options)
  return Effect.sync(() => build<AdaptiveOptions, Learning.State, CheckedAdaptive>(checked, checkAdaptive, watched))
}

/** Learns from how a call ends, and when. */
const watched = (slot: Slot<Learning.State>, fiber: AnyFiber, settings: () => CheckedAdaptive): Leave => {
  const clock = clockOf(fiber)
  const startedAt = clock.unsafeCurrentTimeMillis()
  const { inFlight } = slot.permits
  const settle = (openedAt: number | undefined) => (ended: Ended): Exit.Exit<void> => {
    const now = clock.unsafeCurrentTimeMillis()
    const event = eventOf(settings(), ended, { startedAt, openedAt, inFlight, now })
    if (event !== undefined) learn(slot, Learning.step(settings(), slot.learned, event, now))
    slot.leave()
    return Exit.void
  }
  return (exit) => {
    // A stream that is buffered opens when it is complete, so it is taken for a complete answer.
    const streamed = Exit.isSuccess(exit) && exit.value instanceof OpenedStream &&
      Call.live(fiber)?.whenCut !== "buffer"
    return settling(settle(streamed ? clock.unsafeCurrentTimeMillis() : undefined))(exit)
  }
}

interface Times {
  readonly startedAt: number
  /** When a stream gave its first output. */
  readonly openedAt: number | undefined
  readonly now: number
  readonly inFlight: number
}

/** What there is to learn from the end of a call, if anything. */
const eventOf = (
  settings: CheckedAdaptive,
  ended: Ended,
  { inFlight, now, openedAt, startedAt }: Times
): Learning.Event | undefined => {
  switch (ended._tag) {
    case "Answered": {
      const sample = openedAt === undefined
        ? Learning.answered(now - startedAt, ended.usage?.outputTokens)
        : Learning.firstOutput(openedAt - startedAt, ended.usage?.inputTokens)
      return { _tag: "Answered", startedAt, inFlight, sample }
    }
    case "Failed":
      return settings.overloads(ended.error) ? { _tag: "Overloaded", startedAt } : undefined
    case "Died":
    case "Interrupted":
      return undefined
  }
}

const build = <O, S, C extends Checked<S>>(
  first: C,
  check: (options: O) => C,
  leave: (slot: Slot<S>, fiber: AnyFiber, settings: () => C) => Leave
): Service & { readonly reconfigure: (options: O) => Effect.Effect<void> } => {
  let settings = first
  const current = () => settings
  const slots = new Slots<S>()
  const gate: Gate = ({ fiber, restore, subject }) => {
    const key = settings.key(subject)
    const slot = slots.find(key) ?? slots.add(key, settings.fresh(nowOf(fiber)))
    if (slot.permits.enter()) return leave(slot, fiber, current)
    return Effect.map(wait(fiber, key, slot, settings, subject, restore), () => leave(slot, fiber, current))
  }
  const sum = (field: keyof Status) =>
    Effect.sync(() => {
      let total = 0
      for (const { permits } of slots.values()) total += permits[field]
      return total
    })
  const policy = Pipeline.policy<unknown, LlmError.BulkheadFull>([first.step], [Pipeline.gate(gate)])
  const methods = {
    inFlight: sum("inFlight"),
    waiting: sum("waiting"),
    limit: Effect.suspend(() => slots.size === 0 ? Effect.succeed(settings.limit) : sum("limit")),
    state: (key: string) =>
      Effect.sync((): Status => {
        const { inFlight, limit, waiting } = slots.find(key)?.permits ??
          { inFlight: 0, waiting: 0, limit: settings.limit }
        return { inFlight, waiting, limit }
      }),
    reconfigure: (options: O) => {
      const checked = check(options)
      return Effect.sync(() => {
        settings = checked
        for (const slot of slots.values()) checked.adopt(slot)
      })
    }
  }
  return Object.defineProperty(Object.assign(policy, methods), "steps", { get: () => [settings.step] })
}

/**
 * A layer of {@link make}, for a bulkhead that several parts of a program share.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<Bulkhead> => Layer.effect(Bulkhead, make(options))

/**
 * A layer of {@link adaptive}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerAdaptive = (options: AdaptiveOptions = {}): Layer.Layer<Bulkhead> =>
  Layer.effect(Bulkhead, adaptive(options))
