/**
 * A circuit breaker keeps requests from a target that has been failing, so that a fallback starts at once, nobody waits
 * for a timeout, and the target has peace to recover.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Schedule from "effect/Schedule"
import type * as Stream from "effect/Stream"
import * as CircuitStore from "./CircuitStore.ts"
import * as Disposition from "./Disposition.ts"
import * as Call from "./internal/call.ts"
import * as Circuits from "./internal/circuits.ts"
import * as LlmError from "./LlmError.ts"
import * as Check from "./Options.ts"
import type * as Policy from "./Policy.ts"
import { consecutive, describeTripPolicy, type TripPolicy, TripPolicyTypeId } from "./TripPolicy.ts"

export * from "./TripPolicy.ts"

/**
 * Where a circuit is: `closed` lets everything through, `open` nothing, `halfOpen` some probes; `isolated` is held open
 * by hand.
 *
 * @since 0.1.0
 * @category models
 */
export type Phase = "closed" | "open" | "halfOpen" | "isolated"

/**
 * What a circuit is like now.
 *
 * @since 0.1.0
 * @category models
 */
export interface Status {
  /** The phase that the next call would meet: `halfOpen` from exactly the end of the open time on. */
  readonly phase: Phase
  /** The time until a probe is let through; only while `open`. */
  readonly retryAfter?: Duration.Duration | undefined
  /** How often it has opened since it was last closed. */
  readonly openings: number
  /** How many probes are under way. */
  readonly probing: number
}

/**
 * A change of phase, by this breaker. `at` is the `Clock`'s time in milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transition {
  /** The name of the circuit, for example `openai/gpt-4o`. */
  readonly circuit: string
  readonly at: number
  readonly from: Phase
  readonly to: Phase
  /** How long it stays open, when it has opened. */
  readonly openFor?: Duration.Duration | undefined
}

/**
 * Decides whether a failure counts against a target. It is pure.
 *
 * @since 0.1.0
 * @category models
 */
export type Counts = (failure: unknown) => boolean

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * When a circuit opens.
   * @default consecutive(5)
   */
  readonly tripPolicy?: TripPolicy | undefined
  /**
   * How long a circuit stays open. A schedule is stepped once for each time that the circuit opens without having closed
   * in between, with the number of that time as its input, and its delay is the duration; where it ends, its last delay
   * goes on.
   * @default 30 seconds
   */
  readonly openDuration?: Duration.DurationInput | Schedule.Schedule<unknown, number> | undefined
  /**
   * How many probes a half-open circuit lets through, and how many of them must succeed for it to close: at least 1.
   * @default 1
   */
  readonly probes?: number | undefined
  /**
   * After how long a probe that has not ended gives up its permit to the next call. It goes on, but its result does not
   * count any more.
   * @default 10 minutes
   */
  readonly probeLease?: Duration.DurationInput | undefined
  /**
   * Which failures count.
   * @default blaming(["provider", "model", "key"])
   */
  readonly counts?: Counts | undefined
  /**
   * Which circuit a call belongs to. Each has a state of its own, which is kept for good: have few.
   * @default the target, as in `openai/gpt-4o`; by hand, `default`
   */
  readonly key?: ((subject: Policy.Subject | undefined) => string) | undefined
  /**
   * Whose circuits these are, in a `CircuitStore`: breakers of the same name share them.
   * @default "default"
   */
  readonly name?: string | undefined
  /**
   * Whether to keep count and change phases, but reject nothing: to see what a breaker would do. While the circuit would
   * be open, the results of calls that would have been rejected say nothing.
   * @default false
   */
  readonly metricsOnly?: boolean | undefined
}

/**
 * A circuit breaker: a policy, and what can be asked of it. Circuits are named as {@link Options.key} says.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service extends Policy.Policy<unknown, LlmError.CircuitOpen> {
  /** What a circuit is like now; one that nobody has used is closed. */
  readonly state: (circuit: string) => Effect.Effect<Status>
  /** Holds a circuit open until {@link Service.reset}. Calls under way go on; what becomes of them says nothing. */
  readonly isolate: (circuit: string) => Effect.Effect<void>
  /** Closes a circuit. It forgets what it has seen, and what becomes of calls under way says nothing. */
  readonly reset: (circuit: string) => Effect.Effect<void>
  /**
   * The changes of phase from the time on that the stream is run. Who reads slowly loses the oldest of more than 256, and
   * slows nobody down. Each of them is told as an event of the call in which it happened too, see `Call.CircuitChanged`.
   */
  readonly transitions: Stream.Stream<Transition>
  /**
   * Replaces all options but the name, with defaults for those not given. Circuits stay in their phase; a rule that looks at the same
   * window keeps what it has seen.
   */
  readonly reconfigure: (options: Options) => Effect.Effect<void>
}

/**
 * @since 0.1.0
 * @category tags
 */
export class CircuitBreaker extends Context.Tag("perdure/CircuitBreaker")<CircuitBreaker, Service>() {}

/**
 * The defaults of {@link Options}. Five failures in a row and 30 s are Envoy's outlier detection, one
 * probe is what Polly lets through, and 10 minutes is the longest that the SDKs of OpenAI and Anthropic wait for an answer.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaults = {
  tripPolicy: consecutive(5),
  openDuration: Duration.seconds(30),
  probes: 1,
  probeLease: Duration.minutes(10)
} as const

/**
 * Counts the failures that blame one of these, by a classifier; a failure that is not an `LlmError` counts always, as
 * nothing is known of it. Rate limits blame the `quota`, bad requests the `request`: neither counts unless it is named.
 *
 * @since 0.1.0
 * @category predicates
 */
export const blaming = (
  blames: ReadonlyArray<Disposition.Blame>,
  classify: Disposition.Classifier = Disposition.classify
): Counts => {
  const words: ReadonlyArray<Disposition.Blame> = ["request", "key", "quota", "model", "provider", "none"]
  for (const blame of blames) Check.literal("CircuitBreaker.blaming(blames)", blame, words)
  return (failure) => !LlmError.is(failure) || blames.includes(classify(failure).blame)
}

const byDefault = blaming(["provider", "model", "key"])

/** The name of the circuit of calls that are guarded by hand. */
const byHand = "default"

const keyOf = (subject: Policy.Subject | undefined): string =>
  subject === undefined ? byHand : Call.targetKey(subject.target)

const check = (options: Options): Circuits.Checked => {
  const { counts = byDefault, key = keyOf, metricsOnly = false, tripPolicy = defaults.tripPolicy } = options
  const rules = tripPolicy[TripPolicyTypeId]
  const openDuration = Schedule.isSchedule(options.openDuration)
    ? options.openDuration
    : Check.duration("CircuitBreaker.make({ openDuration })", options.openDuration ?? defaults.openDuration)
  const probes = Check.integer("CircuitBreaker.make({ probes })", options.probes ?? defaults.probes, 1)
  const lease = Check.duration("CircuitBreaker.make({ probeLease })", options.probeLease ?? defaults.probeLease)
  return {
    rules,
    probes,
    lease: Duration.toMillis(lease),
    enforced: !metricsOnly,
    openFor: Duration.isDuration(openDuration) ? Duration.toMillis(openDuration) : openDuration,
    counts,
    key,
    name: Check.text("CircuitBreaker.make({ name })", options.name ?? "default"),
    timed: rules.some(({ _tag }) => _tag === "SlowCalls"),
    step: {
      name: "breaker",
      settings: [
        describeTripPolicy(tripPolicy),
        `open ${Duration.isDuration(openDuration) ? Duration.format(openDuration) : "by schedule"}`,
        `${probes} probe${probes === 1 ? "" : "s"}`,
        ...metricsOnly ? ["metrics only"] : []
      ].join(", ")
    }
  }
}

/**
 * A circuit breaker with a circuit for each target: apply it with `pipe`, or around a provider with
 * `LlmProvider.withPolicy`. One value guards any number of targets; two values know nothing of each other, unless they
 * find a `CircuitStore` and have the same name.
 *
 * A rejected call fails with `CircuitOpen`, at the cost of about a microsecond, and no request is made. A call that is
 * interrupted, or fails by the caller's fault, or by a rate limit, says nothing; as a probe it gives its permit back. A
 * stream ends with its last part: a cut after the first output is a failure, a reader who leaves is neither failure nor
 * success.
 *
 * @example
 * ```ts
 * import { Effect, Schedule } from "effect"
 * import { CircuitBreaker } from "perdure"
 *
 * const breaker = CircuitBreaker.make({
 *   tripPolicy: CircuitBreaker.consecutive(5).pipe(
 *     CircuitBreaker.or(CircuitBreaker.timeWindow({ duration: "30 seconds", rate: 0.5, minimum: 10 }))
 *   ),
 *   openDuration: Schedule.exponential("10 seconds").pipe(Schedule.union(Schedule.spaced("5 minutes")))
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Service> => {
  const checked = check(options)
  return Effect.flatMap(
    Effect.serviceOption(CircuitStore.CircuitStore),
    (store) =>
      Effect.zipWith(
        Option.isSome(store) ? Effect.succeed(store.value) : CircuitStore.memory,
        PubSub.sliding<Transition>(256),
        (store, changes) => Circuits.make(checked, store, changes, check)
      )
  )
}

/**
 * A layer of {@link make}, for a breaker that several parts of a program share.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<CircuitBreaker> => Layer.effect(CircuitBreaker, make(options))
