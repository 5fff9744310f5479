/**
 * A policy is a value that wraps an effect: it may repeat it, limit it or refuse it, it adds its refusals to the error
 * type, and it can say what it is.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import * as CallInternal from "./internal/call.ts"
import { TimedOut } from "./LlmError.ts"
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
 * A policy for effects that fail with `In`, adding failures of type `Out`. It is a function, so it applies with `pipe`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Policy<in In = unknown, out Out = never> extends Pipeable {
  <A, E extends In, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | Out, R>
  readonly [TypeId]: TypeId
  /** What it is made of, the outermost first. */
  readonly steps: ReadonlyArray<Step>
}

/**
 * A policy from a function over effects.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <In = unknown, Out = never>(
  steps: ReadonlyArray<Step>,
  apply: <A, E extends In, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Out, R>
): Policy<In, Out> =>
  Object.assign(
    <A, E extends In, R>(self: Effect.Effect<A, E, R>) => apply(self),
    {
      [TypeId]: TypeId,
      steps,
      pipe() {
        // eslint-disable-next-line prefer-rest-params
        return pipeArguments(this, arguments)
      }
    } as const
  )

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
    make<In & In2, Out | Out2>([...outer.steps, ...inner.steps], (self) => outer(inner(self)))
)

/**
 * Repeats as a `Retry` says; see `Retry.retry` for what it does on success, at its limits and on interruption.
 *
 * @since 0.1.0
 * @category policies
 */
export const retry = <E>(policy: Retry.Retry<E>): Policy<E> =>
  make<E>([{ name: "retry", settings: Retry.describe(policy) }], Retry.retry(policy))

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
  return make<unknown, TimedOut>(
    [{ name: "timeout", settings: Duration.format(limit) }],
    (self) => CallInternal.tracked(limited(self, limit))
  )
}

const limited = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  limit: Duration.Duration
): Effect.Effect<A, E | TimedOut, R> =>
  Effect.withFiberRuntime<A, E | TimedOut, R>((parent) => {
    const call = CallInternal.live(parent)
    const before = call?.attempts.length ?? 0
    /** The failure, which what it interrupts is told before it ends. */
    const expire = Effect.sync(() => {
      const attempts = call?.attempts.slice(before) ?? []
      const several = attempts.some(({ outcome }) => outcome !== undefined)
      const failure = new TimedOut({
        ...call?.target ?? { provider: "unknown", model: "unknown" },
        phase: several ? "call" : "attempt",
        limit,
        spent: several,
        idempotent: attempts.every(({ idempotent, outcome }) => idempotent || outcome?._tag === "Answered")
      })
      for (const attempt of attempts) attempt.cut ??= failure
      return failure
    })
    return Effect.uninterruptibleMask((restore) =>
      Effect.raceWith(restore(self), Effect.interruptible(Effect.sleep(limit)), {
        onSelfDone: (exit, timer) => Effect.zipRight(Fiber.interrupt(timer), exit),
        onOtherDone: (_, fiber) =>
          Effect.flatMap(expire, (failure) => Effect.zipRight(Fiber.interrupt(fiber), Effect.fail(failure)))
      })
    )
  })

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
