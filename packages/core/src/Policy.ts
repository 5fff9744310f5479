/**
 * A policy is a value that wraps an effect: it may repeat it, limit it or refuse it, it adds its refusals to the error
 * type, and it can say what it is.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type { Pipeable } from "effect/Pipeable"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as SubscriptionRef from "effect/SubscriptionRef"
import * as CallInternal from "./internal/call.ts"
import { track } from "./internal/calling.ts"
import type { Gate, Passing } from "./internal/gate.ts"
import { Limit } from "./internal/limit.ts"
import * as Pipeline from "./internal/pipeline.ts"
import { unknown } from "./internal/receipt.ts"
import * as Retrying from "./internal/retry.ts"
import { InvalidOption } from "./InvalidOption.ts"
import { TimedOut } from "./LlmError.ts"
import type { TargetInfo } from "./LlmProvider.ts"
import type { LlmRequest } from "./LlmRequest.ts"
import * as Options from "./Options.ts"
import * as Retry from "./Retry.ts"

/**
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("perdure/Policy")

/**
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * One part of a policy, in words.
 *
 * @since 0.1.0
 * @category models
 */
export interface Step {
  /** What kind of policy it is, for example `retry`. */
  readonly name: string
  /** Its settings, for example `3 attempts`; empty when it has none. */
  readonly settings: string
}

/**
 * What a policy is asked to guard, when it stands around a provider: policies keep apart what they know of different
 * targets, and some look at the request.
 *
 * @since 0.1.0
 * @category models
 */
export interface Subject {
  /** The target that is asked; of a chain of several, the first. */
  readonly target: TargetInfo
  readonly request: LlmRequest
  /** Whether a complete answer is asked for, or a stream, which then ends later than its opening. */
  readonly kind: "generate" | "open"
}

/**
 * How the types of a policy vary.
 *
 * @since 0.1.0
 * @category models
 */
export interface Variance<in In, out Out> {
  readonly _In: (_: In) => void
  readonly _Out: (_: never) => Out
}

/**
 * A policy for effects that fail with `In`, adding failures of type `Out`. It is a function, so it applies with `pipe`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Policy<in In = unknown, out Out = never> extends Pipeable {
  <A, E extends In, R>(self: Effect.Effect<A, E, R>, subject?: Subject): Effect.Effect<A, E | Out, R>
  readonly [TypeId]: Variance<In, Out>
  /** What it is made of, the outermost first. */
  readonly steps: ReadonlyArray<Step>
}

/**
 * A policy from a function over effects. Around a provider, the function is also told what it guards.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <In = unknown, Out = never>(
  steps: ReadonlyArray<Step>,
  apply: <A, E extends In, R>(
    self: Effect.Effect<A, E, R>,
    subject: Subject | undefined
  ) => Effect.Effect<A, E | Out, R>
): Policy<In, Out> => Pipeline.policy<In, Out>(steps, [Pipeline.around(apply as Pipeline.Apply)])

/**
 * The policy that changes nothing.
 *
 * @since 0.1.0
 * @category constructors
 */
export const identity: Policy = make([], (self) => self)

/**
 * Puts one policy around another: `outer` sees the calls, `inner` is what each of its attempts goes through. Timeouts
 * inside a retry limit each attempt; around it, they limit all of them together.
 *
 * @since 0.1.0
 * @category combinators
 */
export const compose: {
  <In2, Out2>(inner: Policy<In2, Out2>): <In, Out>(
    outer: [Out2] extends [In] ? Policy<In, Out> : never
  ) => Policy<In & In2, Out | Out2>
  <In, Out, In2, Out2 extends In>(outer: Policy<In, Out>, inner: Policy<In2, Out2>): Policy<In & In2, Out | Out2>
} = dual(
  2,
  <In, Out, In2, Out2 extends In>(outer: Policy<In, Out>, inner: Policy<In2, Out2>): Policy<In & In2, Out | Out2> =>
    Pipeline.policy(() => [...outer.steps, ...inner.steps], [...Pipeline.partsOf(outer), ...Pipeline.partsOf(inner)])
)

/**
 * Repeats as a `Retry` says; see `Retry.retry` for what it does on success, at its limits and on interruption.
 *
 * @since 0.1.0
 * @category policies
 */
export const retry = <E>(policy: Retry.Retry<E>): Policy<E> =>
  Pipeline.policy<E, never>([{ name: "retry", settings: Retry.describe(policy) }], [
    Pipeline.gate(track),
    Pipeline.gate(Retrying.gate(policy.spec, policy[Retry.TypeId]))
  ])

/**
 * Interrupts what takes longer than a duration, and fails with `TimedOut`. Inside a retry it limits each attempt, phase
 * `attempt`; around one it limits them all together, phase `call`, and that failure counts as one the retry has given up
 * on. Around a stream's opening it limits the time to the first output; with `whenCut: "buffer"`, and so with
 * `via: "stream"`, that is the whole answer.
 *
 * An interrupted attempt closes its connection; the failure comes when it has let go, and so does an interruption.
 *
 * @since 0.1.0
 * @category policies
 */
export const timeout = (duration: Duration.DurationInput): Policy<unknown, TimedOut> => {
  const limit = Options.duration("Policy.timeout(duration)", duration)
  return Pipeline.policy<unknown, TimedOut>(
    [{ name: "timeout", settings: Duration.format(limit) }],
    [Pipeline.gate(track), Pipeline.gate(timeoutGate(limit))]
  )
}

/** The time of one attempt, or of several together. */
class Patience extends Limit {
  private readonly limit: Duration.Duration
  private readonly call: CallInternal.Call | undefined
  /** How many attempts there were before. */
  private readonly first: number

  constructor({ fiber, local }: Passing, limit: Duration.Duration) {
    super(fiber)
    this.limit = limit
    this.call = CallInternal.liveIn(local)
    this.first = this.call?.count ?? 0
  }

  /** The failure, which the attempts that it interrupts are told before they end. */
  protected expire() {
    const attempts = this.call?.since(this.first, this.fiber) ?? []
    const unrecorded = this.call?.unrecordedOf(this.fiber) ?? []
    const several = attempts.some(({ outcome }) => outcome !== undefined)
    const failure = new TimedOut({
      ...this.call?.target ?? unknown,
      phase: several ? "call" : "attempt",
      limit: this.limit,
      spent: several,
      idempotent: attempts.every(({ idempotent, outcome }) => idempotent || outcome?._tag === "Answered") &&
        unrecorded.every(({ idempotent }) => idempotent)
    })
    for (const attempt of attempts) attempt.cut ??= failure
    return failure
  }
}

const timeoutGate = (limit: Duration.Duration): Gate => {
  const millis = Duration.toMillis(limit)
  return (passing) => new Patience(passing, limit).begin(passing, millis)
}

/**
 * All policies that a call should have, as one; see `Standard`.
 *
 * @since 0.1.0
 * @category policies
 */
export { make as standard } from "./Standard.ts"

/**
 * The standard policy that the configuration describes; see `Standard`.
 *
 * @since 0.1.0
 * @category policies
 */
export { fromConfig } from "./Standard.ts"

/**
 * A policy whose options can be changed while it is at work, as all with state can.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reconfigurable<in Options> {
  readonly reconfigure: (options: Options) => Effect.Effect<void>
}

/**
 * Gives a policy the options of a reference, now and whenever they change, until the scope closes. The policy keeps its
 * state. Options out of their range are logged and change nothing.
 *
 * @example
 * ```ts
 * import { Effect, SubscriptionRef } from "effect"
 * import { Bulkhead, Policy } from "perdure"
 *
 * const program = Effect.gen(function*() {
 *   const options = yield* SubscriptionRef.make<Bulkhead.Options>({ limit: 10 })
 *   const bulkhead = yield* Bulkhead.make()
 *   yield* Policy.follow(bulkhead, options)
 *   yield* SubscriptionRef.set(options, { limit: 20 })
 * })
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const follow = <Options>(
  policy: Reconfigurable<Options>,
  options: SubscriptionRef.SubscriptionRef<Options>
): Effect.Effect<void, never, Scope.Scope> => {
  const apply = (changed: Options) =>
    Effect.catchAllDefect(
      Effect.suspend(() => policy.reconfigure(changed)),
      (defect) =>
        defect instanceof InvalidOption
          ? Effect.logWarning("options that a policy refuses", defect.message)
          : Effect.die(defect)
    )
  return Effect.flatMap(options, apply).pipe(
    Effect.zipRight(Effect.forkScoped(Stream.runForEach(options.changes, apply))),
    Effect.asVoid
  )
}

/**
 * The parts of a policy in one line, the outermost first: `timeout 1m › retry 500ms → 1s, 3 attempts, …`.
 *
 * @since 0.1.0
 * @category reading
 */
export const describe = (self: Policy<never, unknown>): string =>
  self.steps.length === 0
    ? "no policy"
    : self.steps.map(({ name, settings }) => settings === "" ? name : `${name} ${settings}`).join(" › ")
