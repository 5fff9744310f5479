/**
 * Retries as values. A `Retry` is an Effect `Schedule` that remembers what it was made of.
 *
 * Because it remembers, its combinators mean the same in any order (the cap always comes before the jitter), it can be
 * printed, encoded, compared, and run by {@link retry} without a schedule driver. Because it is a `Schedule`, it works
 * in `Effect.retry` and combines with `Schedule.intersect`, `Schedule.union` and the rest.
 *
 * Three things hold for every `Retry`, with no combinator needed: an `LlmError` that cannot get better is not repeated
 * (see `Disposition`), a provider's `Retry-After` is never cut short, and what a retry further in has given up on is not
 * repeated again.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Record from "effect/Record"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleInterval from "effect/ScheduleInterval"
import * as Disposition from "./Disposition.ts"
import * as Backoff from "./internal/backoff.ts"
import { track } from "./internal/calling.ts"
import { through } from "./internal/gate.ts"
import { gate, initial, millisOr, next, type Parts, type State } from "./internal/retry.ts"
import * as LlmError from "./LlmError.ts"
import * as Options from "./Options.ts"
import { Bases, Exponential, FromSchedule, Jitter, RetrySpec } from "./RetrySpec.ts"

/**
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("perdure/Retry")

/**
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * A retry policy: a `Schedule` over failures of type `E` that outputs the waits, with the `RetrySpec` it was made of.
 *
 * @since 0.1.0
 * @category models
 */
export interface Retry<in E = unknown> extends Schedule.Schedule<Duration.Duration, E> {
  readonly [TypeId]: Parts
  readonly spec: RetrySpec
}

const build = <E>(spec: RetrySpec, parts: Parts): Retry<E> => {
  Options.check(
    "Retry.bases(…)",
    "a base",
    spec.backoff._tag === "Exponential" || Object.values(spec.bases).every(Predicate.isUndefined),
    "no bases together with Retry.fromSchedule, whose schedule has no base to replace"
  )
  const schedule = Schedule.makeWithState<State, E, Duration.Duration>(
    initial(parts),
    (now, failure, state) =>
      Effect.map(next(spec, parts, state, failure, now), (decision) =>
        decision._tag === "GiveUp"
          ? [state, Duration.zero, ScheduleDecision.done]
          : [
            decision.state,
            Duration.millis(decision.wait),
            ScheduleDecision.continueWith(ScheduleInterval.after(now + decision.wait))
          ])
  )
  const self: Retry<E> = Object.assign(schedule, { [TypeId]: parts, spec } as const)
  return self
}

const change = <E>(self: Retry<E>, changes: Partial<RetrySpec>, parts: Partial<Parts> = {}): Retry<E> =>
  build(new RetrySpec({ ...self.spec, ...changes }), { ...self[TypeId], ...parts })

// ---------------------------------------------------------------------------------------------------------------------
// Constructors
// ---------------------------------------------------------------------------------------------------------------------

/** How long a provider may ask to wait unless {@link honoringRetryAfter} says otherwise: 60 s. @since 0.1.0 @category constants */
export const defaultMaxRetryAfter: Duration.Duration = Backoff.defaultMaxRetryAfter

const start = <E>(backoff: Exponential | FromSchedule, schedule?: Schedule.Schedule<unknown, E>): Retry<E> =>
  build(
    new RetrySpec({
      backoff,
      jitter: "none",
      maxRetryAfter: defaultMaxRetryAfter,
      bases: new Bases({}),
      repeats: "anything",
      classifier: "default"
    }),
    { classify: Disposition.classify, schedule }
  )

/**
 * Waits that grow by a factor after every failed call: `base`, `base × factor`, `base × factor²`, …
 *
 * Until combinators say otherwise there is no cap, no jitter and no limit.
 *
 * @param base the wait before the first retry; longer than zero
 * @param factor at least 1
 * @default factor 2
 *
 * @example
 * ```ts
 * import { Retry } from "perdure"
 *
 * const patient = Retry.exponential("2 seconds").pipe(
 *   Retry.capped("30 seconds"),
 *   Retry.jittered("full"),
 *   Retry.attempts(4),
 *   Retry.within("60 seconds")
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const exponential = (base: Duration.DurationInput, factor = 2): Retry =>
  start(
    new Exponential({
      base: Options.duration("Retry.exponential(base)", base),
      factor: Options.number("Retry.exponential(factor)", factor, 1)
    })
  )

/**
 * The same policy with other waits: `base`, `base × factor`, … Bases of single classes of failure stay as they are.
 *
 * @default factor 2
 * @since 0.1.0
 * @category combinators
 */
export const withBackoff = <E>(self: Retry<E>, base: Duration.DurationInput, factor = 2): Retry<E> =>
  change(self, {
    backoff: new Exponential({
      base: Options.duration("Retry.withBackoff(base)", base),
      factor: Options.number("Retry.withBackoff(factor)", factor, 1)
    })
  }, { schedule: undefined })

/**
 * The same wait after every failed call.
 *
 * @since 0.1.0
 * @category constructors
 */
export const constant = (delay: Duration.DurationInput): Retry =>
  start(new Exponential({ base: Options.duration("Retry.constant(delay)", delay), factor: 1 }))

/**
 * Waits taken from any Effect `Schedule`; where it ends, the retries end. The cap, the jitter, the limits and
 * `Retry-After` apply to what it says. Such a policy prints and compares by `name` and cannot be rebuilt from its spec.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromSchedule = <E>(schedule: Schedule.Schedule<unknown, E>, name = "schedule"): Retry<E> =>
  start(new FromSchedule({ name: Options.text("Retry.fromSchedule(name)", name) }), schedule)

/**
 * The policy that a spec describes. Throws `InvalidOption` where the spec remembers a function only by name: a
 * {@link fromSchedule} schedule or a custom classifier.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromSpec = (spec: RetrySpec): Retry => {
  Options.check("Retry.fromSpec(spec.backoff)", spec.backoff._tag, spec.backoff._tag === "Exponential", "Exponential")
  Options.check("Retry.fromSpec(spec.classifier)", spec.classifier, spec.classifier === "default", "default")
  const { backoff, bases: { ...own }, cap, maxRetryAfter, within: time } = spec
  if (backoff._tag === "Exponential") {
    Options.duration("Retry.fromSpec(spec.backoff.base)", backoff.base)
    Options.number("Retry.fromSpec(spec.backoff.factor)", backoff.factor, 1)
  }
  for (const [name, value] of Object.entries({ ...own, cap, maxRetryAfter, within: time })) {
    if (value !== undefined) Options.duration(`Retry.fromSpec(spec.${name})`, value)
  }
  return build(spec, { classify: Disposition.classify, schedule: undefined })
}

// ---------------------------------------------------------------------------------------------------------------------
// Combinators. Their order does not matter; of the same one used twice, the last counts.
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The most that a backoff waits: a hard ceiling that jitter stays under, from any number of failures on. A provider's
 * `Retry-After` may ask for more; {@link honoringRetryAfter} limits that.
 *
 * @since 0.1.0
 * @category combinators
 */
export const capped = (cap: Duration.DurationInput): <E>(self: Retry<E>) => Retry<E> => {
  const checked = Options.duration("Retry.capped(cap)", cap)
  return (self) => change(self, { cap: checked })
}

/**
 * Spreads the waits, so that callers who failed together do not return together. `full` spreads most and is the usual
 * choice; see `RetrySpec.Jitter`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const jittered = (jitter: Jitter): <E>(self: Retry<E>) => Retry<E> => {
  const checked = Options.literal("Retry.jittered(jitter)", jitter, Jitter.literals)
  return (self) => change(self, { jitter: checked })
}

/**
 * The most calls that are made, the first included: `attempts(1)` never retries. A whole number of at least 1.
 *
 * @since 0.1.0
 * @category combinators
 */
export const attempts = (n: number): <E>(self: Retry<E>) => Retry<E> => {
  const checked = Options.integer("Retry.attempts(n)", n, 1)
  return (self) => change(self, { attempts: checked })
}

/**
 * The time in which every retry must start. No wait is begun that would end when the time is up or later.
 *
 * With {@link retry} and `Policy.retry` the time counts from the start of the first call. A plain `Effect.retry` first
 * asks its schedule when a call has failed, so there it counts from the first failure.
 *
 * @since 0.1.0
 * @category combinators
 */
export const within = (duration: Duration.DurationInput): <E>(self: Retry<E>) => Retry<E> => {
  const checked = Options.duration("Retry.within(duration)", duration)
  return (self) => change(self, { within: checked })
}

/**
 * Waits at least as long as the provider asks, and a little longer by jitter, so that clients who were told the same
 * time do not stampede. A hint longer than `max`, or than the time left, ends the retries at once with the failure that
 * carried it, so that a fallback can start now. This is the default; use it to set `max`.
 *
 * @default max 60 seconds
 * @since 0.1.0
 * @category combinators
 */
export const honoringRetryAfter = (
  options: { readonly max?: Duration.DurationInput | undefined } = {}
): <E>(self: Retry<E>) => Retry<E> => {
  const max = options.max === undefined
    ? defaultMaxRetryAfter
    : Options.duration("Retry.honoringRetryAfter({ max })", options.max)
  return (self) => change(self, { maxRetryAfter: max })
}

/**
 * Does not read the provider's hints. For providers that send nonsense; with any other, it makes rate limits worse.
 *
 * @since 0.1.0
 * @category combinators
 */
export const ignoringRetryAfter = <E>(self: Retry<E>): Retry<E> => change(self, { maxRetryAfter: undefined })

/**
 * Gives classes of failure a backoff base of their own: a rate limit deserves a longer one than a dropped connection.
 * Classes that are not named keep the general base; naming some does not unname others.
 *
 * @since 0.1.0
 * @category combinators
 */
export const bases = (
  options: { readonly [K in Disposition.Pace]?: Duration.DurationInput | undefined }
): <E>(self: Retry<E>) => Retry<E> => {
  const checked = Record.filterMap<string, Duration.DurationInput | undefined, Duration.Duration>(
    options,
    (base, pace) => base === undefined ? Option.none() : Option.some(Options.duration(`Retry.bases({ ${pace} })`, base))
  )
  return (self) => change(self, { bases: new Bases({ ...self.spec.bases, ...checked }) })
}

/**
 * Repeats nothing but an `LlmError` that is worth it, and says so in the type: the policy no longer fits an effect that
 * fails with something else.
 *
 * @since 0.1.0
 * @category combinators
 */
export const whileRetryable = (self: Retry<LlmError.LlmError>): Retry<LlmError.LlmError> =>
  change(self, { repeats: "llmErrors" })

/**
 * Decides by a classifier of the caller's, see `Disposition.override`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const classifiedBy = (classify: Disposition.Classifier) => <E>(self: Retry<E>): Retry<E> =>
  change(self, { classifier: classify === Disposition.classify ? "default" : "custom" }, { classify })

// ---------------------------------------------------------------------------------------------------------------------
// Presets
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Three calls with short, fully jittered waits: what a request with somebody waiting for it deserves. The base and the
 * cap are those of OpenAI's and Anthropic's own SDKs (0.5 s, 8 s, two retries); a rate limit starts at 1 s, as in AWS's
 * standard mode.
 *
 * @since 0.1.0
 * @category presets
 */
export const standard: Retry<LlmError.LlmError> = exponential("500 millis").pipe(
  capped("8 seconds"),
  jittered("full"),
  attempts(3),
  bases({ rateLimit: "1 second" }),
  honoringRetryAfter(),
  whileRetryable
)

/**
 * The retry article's whole pattern: waits of up to 2, 4, 8, 16 s and so on to a cap of 30 s, fully jittered, until 4
 * calls were made or 60 s have passed.
 *
 * @since 0.1.0
 * @category presets
 */
export const article: Retry<LlmError.LlmError> = exponential("2 seconds").pipe(
  capped("30 seconds"),
  jittered("full"),
  attempts(4),
  within("60 seconds"),
  honoringRetryAfter(),
  whileRetryable
)

// ---------------------------------------------------------------------------------------------------------------------
// Running and reading
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Runs an effect again, as the policy says, until it succeeds or the policy gives up; then it fails with the last
 * failure. Only typed failures are repeated, never defects.
 *
 * It differs from `Effect.retry` in that {@link within} counts from the start of the first call, that all attempts share
 * a receipt, that the waits are told to `Call.observe`, and that it costs next to nothing when the first call succeeds.
 * Interrupting it during a wait ends it at once and starts no other attempt. A `Budget` around it must pay for each repeat;
 * when it does not, the retry gives up before the wait.
 *
 * @since 0.1.0
 * @category running
 */
export const retry: {
  <E>(policy: Retry<E>): <A, E2 extends E, R>(self: Effect.Effect<A, E2, R>) => Effect.Effect<A, E2, R>
  <A, E2 extends E, R, E>(self: Effect.Effect<A, E2, R>, policy: Retry<E>): Effect.Effect<A, E2, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, policy: Retry<E>): Effect.Effect<A, E, R> =>
    through([track, gate(policy.spec, policy[TypeId])], self, undefined)
)

/**
 * The first delays of the backoff, capped and before jitter: what {@link describe} prints. Empty for a
 * {@link fromSchedule} policy, whose delays only its schedule knows.
 *
 * @since 0.1.0
 * @category reading
 */
export const delays = (self: Retry<never>, count: number): ReadonlyArray<Duration.Duration> => {
  const { attempts: most = Infinity, backoff, cap } = self.spec
  if (backoff._tag === "FromSchedule") return []
  const base = Duration.toMillis(backoff.base)
  return Array.from(
    { length: Math.min(count, most - 1) },
    (_, i) => Duration.millis(Backoff.exponential(base, backoff.factor, i + 1, millisOr(cap, Backoff.longest)))
  )
}

/**
 * One line for people: `2s → 4s → 8s, cap 30s, full jitter, 4 attempts, within 1m, Retry-After up to 1m`.
 *
 * @since 0.1.0
 * @category reading
 */
export const describe = (self: Retry<never>): string => {
  const { spec } = self
  const shown = 5
  const ladder = delays(self, shown + 1).map(Duration.format)
  const rungs = spec.backoff._tag === "FromSchedule"
    ? spec.backoff.name
    : ladder.length > shown
    ? `${ladder.slice(0, shown).join(" → ")} → …`
    : ladder.length === 0
    ? "no retries"
    : ladder.join(" → ")
  const own = Object.entries(spec.bases).filter(([_, base]) => base !== undefined)
  return [
    rungs,
    spec.cap && `cap ${Duration.format(spec.cap)}`,
    spec.jitter !== "none" && `${spec.jitter} jitter`,
    spec.attempts && `${spec.attempts} attempt${spec.attempts === 1 ? "" : "s"}`,
    spec.within && `within ${Duration.format(spec.within)}`,
    ...own.map(([pace, base]) => `${pace} from ${Duration.format(base)}`),
    spec.maxRetryAfter ? `Retry-After up to ${Duration.format(spec.maxRetryAfter)}` : "Retry-After ignored",
    spec.classifier === "custom" && "own classifier"
  ].filter(Boolean).join(", ")
}
