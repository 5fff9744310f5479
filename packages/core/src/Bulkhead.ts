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
import * as Remembered from "./internal/remembered.ts"
import * as LlmError from "./LlmError.ts"
import * as Check from "./Options.ts"
import type * as Policy from "./Policy.ts"
import type { Service as Memory } from "./PolicyMemory.ts"

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
  /**
   * Whose permits these are, in a `PolicyMemory`: bulkheads of the same name share them, key by key, those with a fixed
   * limit and those that find theirs alike. The limit of a key is that of the last of them to be built or reconfigured,
   * from the first call on that comes to the key through it.
   * @default "default"
   */
  readonly name?: string | undefined
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
 * A bulkhead: a policy, and what can be asked of it. Keys are named as {@link QueueOptions.key} says. Where it shares its
 * permits, those of the others are in what it says.
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
   * Replaces all options but the name, with defaults for those not given. Permits and places in the queue are kept: a
   * lower limit cancels nobody, a higher one lets in at once who waits for it. `queue` and `maxWait` hold for those who
   * come after.
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
 * A bulkhead whose limit is set by hand.
 *
 * @since 0.1.0
 * @category tags
 */
export class Bulkhead extends Context.Tag("perdure/Bulkhead")<Bulkhead, Fixed>() {}

/**
 * A bulkhead that finds its limit.
 *
 * @since 0.1.0
 * @category tags
 */
export class AdaptiveBulkhead extends Context.Tag("perdure/Bulkhead/AdaptiveBulkhead")<AdaptiveBulkhead, Adaptive>() {}

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

/** What holds for the keys of a bulkhead. */
interface Checked extends Waiting {
  readonly name: string
  readonly key: (subject: Policy.Subject | undefined) => string
  readonly limit: number
  /** Brings a key under these options. */
  readonly adopt: (key: Key, now: number) => void
  readonly leave: (key: Key, fiber: AnyFiber) => Leave
  /** Where the limit finds itself, how. */
  readonly learning: Learned | undefined
  readonly step: Policy.Step
}

interface Learned extends Learning.Settings {
  readonly overloads: (failure: unknown) => boolean
}

/** The options of one bulkhead. They change; it is the same bulkhead for as long as it is the same object. */
interface Rules {
  settings: Checked
  /** Of those of one name, the last one to be built or reconfigured has the highest. */
  order: number
}

class Key extends Slot {
  /** Whose limit it has. */
  rules: Rules | undefined = undefined
  /** What an adaptive limit knows of it. */
  learned: Learning.State | undefined = undefined
  /** One for all calls, as the way out of a fixed limit is the same for all of them. */
  readonly leaves: Leave = leaving(() => this.leave())
}

/** What bulkheads of one name share. */
class Shared {
  readonly keys = new Slots<Key>()
  /** The order of the last one. */
  last = 0

  /** Brings a key under the options of a bulkhead, unless it is under those of a later one. */
  take(key: Key, rules: Rules, now: number): void {
    if (key.rules !== undefined && key.rules.order > rules.order) return
    key.rules = rules
    rules.settings.adopt(key, now)
  }
}

const kind = new Remembered.Kind(() => new Shared())

const checkQueue = (
  option: string,
  { key = keyOf, maxWait, name = "default", queue = defaults.queue }: QueueOptions
) => ({
  key,
  name: Check.text(`${option}({ name })`, name),
  queue: Check.integer(`${option}({ queue })`, queue, 0),
  maxWait: maxWait === undefined
    ? Infinity
    : Duration.toMillis(Check.duration(`${option}({ maxWait })`, maxWait, "zero"))
})

const described = (limit: string, { maxWait, queue }: Waiting): Policy.Step => ({
  name: "bulkhead",
  settings: [limit, `queue ${queue}`, ...maxWait === Infinity ? [] : [`wait up to ${Duration.format(maxWait)}`]].join(
    ", "
  )
})

const checkFixed = (options: Options): Checked => {
  const limit = Check.integer("Bulkhead.make({ limit })", options.limit ?? defaults.limit, 1)
  const waiting = checkQueue("Bulkhead.make", options)
  return {
    ...waiting,
    limit,
    adopt: (key) => key.resize(limit),
    leave: ({ leaves }) => leaves,
    learning: undefined,
    step: described(`${limit} at once`, waiting)
  }
}

const byDefault = overloads(Disposition.classify)

const checkAdaptive = (options: AdaptiveOptions): Checked => {
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
  const learning: Learned = {
    algorithm,
    min,
    max,
    tolerance: Check.number("Bulkhead.adaptive({ tolerance })", tolerance, 1),
    backoff,
    overloads: options.overloads ?? byDefault
  }
  return {
    ...waiting,
    limit,
    adopt: (key, now) =>
      learn(key, key.learned === undefined ? Learning.initial(limit, now) : Learning.fit(learning, key.learned)),
    leave: watched,
    learning,
    step: described(`${algorithm} ${min} to ${max} at once`, waiting)
  }
}

const learn = (key: Key, state: Learning.State): void => {
  key.learned = state
  key.resize(Math.floor(state.limit))
}

/**
 * A bulkhead with a fixed limit for each target: apply it with `pipe`, or around a provider with
 * `LlmProvider.withPolicy`. One value guards any number of targets; two values know nothing of each other, unless they find
 * a `PolicyMemory` and have the same name.
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
  return Effect.map(Remembered.around, (memory) => build(checked, checkFixed, memory))
}

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
  return Effect.map(Remembered.around, (memory) => build(checked, checkAdaptive, memory))
}

/** Learns from how a call ends, and when, as long as the limit of its key is one that finds itself. */
const watched = (key: Key, fiber: AnyFiber): Leave => {
  const clock = clockOf(fiber)
  const startedAt = clock.unsafeCurrentTimeMillis()
  const { inFlight } = key.permits
  const settle = (openedAt: number | undefined) => (ended: Ended): Exit.Exit<void> => {
    const now = clock.unsafeCurrentTimeMillis()
    const learning = key.rules?.settings.learning
    if (learning !== undefined && key.learned !== undefined) {
      const event = eventOf(learning, ended, { startedAt, openedAt, inFlight, now })
      if (event !== undefined) learn(key, Learning.step(learning, key.learned, event, now))
    }
    key.leave()
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
  { overloads }: Learned,
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
      return overloads(ended.error) ? { _tag: "Overloaded", startedAt } : undefined
    case "Died":
    case "Interrupted":
      return undefined
  }
}

const build = <O extends QueueOptions>(
  first: Checked,
  check: (options: O) => Checked,
  memory: Memory | undefined
): Service & { readonly reconfigure: (options: O) => Effect.Effect<void> } => {
  const shared = Remembered.at(memory, kind, first.name)
  const { keys } = shared
  const rules: Rules = { settings: first, order: ++shared.last }
  const gate: Gate = ({ fiber, restore, subject }) => {
    const { settings } = rules
    const name = settings.key(subject)
    const key = keys.find(name) ?? keys.add(name, new Key())
    if (key.rules !== rules) shared.take(key, rules, nowOf(fiber))
    if (key.permits.enter()) return settings.leave(key, fiber)
    return Effect.map(wait(fiber, name, key, settings, subject, restore), () => settings.leave(key, fiber))
  }
  const sum = (field: keyof Status) =>
    Effect.sync(() => {
      let total = 0
      for (const { permits } of keys.values()) total += permits[field]
      return total
    })
  const policy = Pipeline.policy<unknown, LlmError.BulkheadFull>(() => [rules.settings.step], [Pipeline.gate(gate)])
  const methods = {
    inFlight: sum("inFlight"),
    waiting: sum("waiting"),
    limit: Effect.suspend(() => keys.size === 0 ? Effect.succeed(rules.settings.limit) : sum("limit")),
    state: (name: string) =>
      Effect.sync((): Status => {
        const { inFlight, limit, waiting } = keys.find(name)?.permits ??
          { inFlight: 0, waiting: 0, limit: rules.settings.limit }
        return { inFlight, waiting, limit }
      }),
    reconfigure: (options: O) => {
      const checked = check({ ...options, name: first.name })
      return Effect.withFiberRuntime<void>((fiber) => {
        const now = nowOf(fiber)
        rules.settings = checked
        rules.order = ++shared.last
        for (const key of keys.values()) if (key.rules === rules) checked.adopt(key, now)
        return Effect.void
      })
    }
  }
  return Object.assign(policy, methods)
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
export const layerAdaptive = (options: AdaptiveOptions = {}): Layer.Layer<AdaptiveBulkhead> =>
  Layer.effect(AdaptiveBulkhead, adaptive(options))
