/**
 * What calls may cost in a time: the estimate of a call is taken from what is left before it begins, and its real cost put
 * in the place of the estimate when it has ended.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Call from "./internal/call.ts"
import { nowOf } from "./internal/clock.ts"
import { cost, unitsOf } from "./internal/cost.ts"
import { type AnyFiber, type Gate, type Leave, settling } from "./internal/gate.ts"
import type { Ended } from "./internal/opened.ts"
import * as Pipeline from "./internal/pipeline.ts"
import { unknown } from "./internal/receipt.ts"
import { refuse } from "./internal/refuse.ts"
import * as Pure from "./internal/spend.ts"
import { Memory } from "./internal/spendMemory.ts"
import { type Checked, checked, type Estimate, type Options, stepOf } from "./internal/spendOptions.ts"
import { actual, answeredBy } from "./internal/spendOutcome.ts"
import * as LlmError from "./LlmError.ts"
import { ModelPrices, type Service as Prices } from "./ModelPrices.ts"
import type * as Policy from "./Policy.ts"
import { SpendStore } from "./SpendStore.ts"

export type {
  /** @since 0.1.0 @category models */
  Estimate,
  /** @since 0.1.0 @category models */
  Limit,
  /** @since 0.1.0 @category models */
  Options
} from "./internal/spendOptions.ts"

/**
 * What one key has spent, in units of the currency.
 *
 * @since 0.1.0
 * @category models
 */
export interface Status {
  readonly currency: string
  readonly limits: ReadonlyArray<{
    /** The name of the window, as in `SpendLimitExceeded`. */
    readonly window: string
    readonly limit: number
    /** With the estimates of the calls that are under way. */
    readonly spent: number
    /** 0 where more was spent than had been estimated. */
    readonly left: number
    /** How long until the window ends; absent for a limit in total. */
    readonly resetsIn: Duration.Duration | undefined
  }>
}

/**
 * A spend limit: a policy, and what can be asked of it while it runs.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service extends Policy.Policy<unknown, LlmError.SpendLimitExceeded> {
  /** What a key has spent: `"default"`, where neither `key` nor {@link chargedTo} says otherwise. */
  readonly status: (key?: string) => Effect.Effect<Status>
  /**
   * Replaces all options but the name, with defaults for those not given; bad ones throw `InvalidOption`. What is spent of
   * a window that keeps its name and its length stays spent.
   */
  readonly reconfigure: (options: Options) => Effect.Effect<void>
}

/**
 * A spend limit that programs can ask for.
 *
 * @since 0.1.0
 * @category tags
 */
export class SpendLimit extends Context.Tag("perdure/SpendLimit")<SpendLimit, Service>() {}

/**
 * On whose account a fiber, and those forked from it, make their calls. {@link chargedTo} sets it for an effect; to set it
 * for a stream, set it for a scope, with `Effect.locallyScoped`.
 *
 * @since 0.1.0
 * @category accounts
 */
export const account: FiberRef.FiberRef<string | undefined> = globalValue(
  Symbol.for("perdure/SpendLimit/account"),
  () => FiberRef.unsafeMake<string | undefined>(undefined, { join: (parent) => parent })
)

/**
 * Makes the calls of an effect on an account, such as a user's or a team's, which then has the limits for itself.
 *
 * @since 0.1.0
 * @category accounts
 */
export const chargedTo = (name: string) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.locally(self, account, name)

/**
 * The `key` that gives every target limits of its own: `openai/gpt-4o`; by hand, `default`.
 *
 * @since 0.1.0
 * @category accounts
 */
export const perTarget = (subject: Policy.Subject | undefined): string =>
  subject === undefined ? "default" : Call.targetKey(subject.target)

/**
 * A spend limit, by the `ModelPrices` that are there, in a `SpendStore` where there is one, else with a memory of its own.
 *
 * A call is charged what it is estimated to cost, in every window at once, before it begins; where that is more than is
 * left in any of them it fails with `SpendLimitExceeded` at once, and nothing is charged. So calls side by side go over a
 * limit by no more than what their estimates were short of. When it ends, what it has cost takes the place of the
 * estimate, for a failed call too. A failure that the provider certainly did not act on gives everything back; what is not
 * known, as when a call is interrupted, stays as estimated. A stream ends with its last part, its failure or its scope.
 *
 * A call counts in the windows it began in. Applied by hand there is no request to estimate from: a call is let through
 * while something is left, and its answer or its failure is what is counted.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { ModelPrices, SpendLimit } from "perdure"
 *
 * const limit = SpendLimit.layer({ perDay: 20, perMonth: 300 }).pipe(
 *   Layer.provide(ModelPrices.layer({ models: { openai: { "gpt-4o": { input: 2.5, cachedInput: 1.25, output: 10 } } } }))
 * )
 *
 * const spent = Effect.flatMap(SpendLimit.SpendLimit, (limit) => limit.status()).pipe(Effect.provide(limit))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Service, never, ModelPrices> => {
  const first = checked("SpendLimit.make", options)
  return Effect.zipWith(
    ModelPrices,
    Effect.serviceOption(SpendStore),
    (prices, store) => build(Option.getOrElse(store, () => new Memory()), prices, first)
  )
}

/**
 * A layer of {@link make}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<SpendLimit, never, ModelPrices> =>
  Layer.effect(SpendLimit, make(options))

/** A call that was let through. */
interface Charged {
  readonly fiber: AnyFiber
  readonly subject: Policy.Subject | undefined
  readonly place: string
  readonly estimate: Estimate | undefined
  readonly permit: Pure.Permit
}

const build = (store: Context.Tag.Service<typeof SpendStore>, prices: Prices, first: Checked): Service => {
  let current = first
  const placeOf = (key: string): string => `${first.name}/${key}`

  /** Changes a state and goes on; in this process's memory, nothing comes in between. */
  const change = <A, B, E>(
    place: string,
    f: (state: Pure.State | undefined) => readonly [A, Pure.State],
    use: (result: A) => Effect.Effect<B, E>
  ): Effect.Effect<B, E> =>
    store instanceof Memory ? use(store.step(place, f)) : Effect.flatMap(store.modify(place, f), use)

  const enter: Gate = ({ fiber, subject }) => {
    const { settings } = current
    const place = placeOf(current.key(subject, fiber.getFiberRef(account)))
    const estimate = subject === undefined ? undefined : current.estimate(subject.request)
    const price = subject === undefined ? undefined : prices.find(subject.target)
    const nanos = cost(estimate, price)
    if (subject !== undefined && nanos === undefined && current.unpriced === "refuse") {
      return refuseUnpriced(fiber, subject, place)
    }
    const unpriced = subject !== undefined && nanos === undefined
    const at = clock(fiber)
    return change(
      place,
      (state) => Pure.take(settings, state, unpriced ? 0 : nanos, at),
      (taken) =>
        taken._tag === "Granted"
          ? Exit.succeed(leave({ fiber, subject, place, estimate, permit: taken.permit }))
          : exceeded(fiber, subject, prices.currency, taken, nanos)
    )
  }

  const leave = (call: Charged): Leave => (exit) => settling((ended) => settle(call, answeredBy(exit), ended))(exit)

  const settle = (
    { estimate, fiber, permit, place, subject }: Charged,
    by: ReturnType<typeof answeredBy>,
    ended: Ended
  ): Effect.Effect<void> => {
    const nanos = actual(prices, subject?.target, by, estimate, ended)
    if (nanos === undefined || nanos === permit.estimate) return Exit.void
    const { settings } = current
    const at = clock(fiber)
    return change(place, (state) => [undefined, Pure.settle(settings, state, permit, nanos, at)], () => Exit.void)
  }

  const refuseUnpriced = (fiber: AnyFiber, subject: Policy.Subject, place: string) => {
    const { settings } = current
    const at = clock(fiber)
    const [limit] = settings.limits
    return change(place, (before) => {
      const state = Pure.fit(settings, before, at)
      return [state.buckets[0]?.spent ?? 0, state]
    }, (spent) =>
      refuse(
        fiber,
        LlmError.refusal(LlmError.SpendLimitExceeded, {
          provider: subject.target.provider,
          model: subject.target.model,
          limit: unitsOf(limit?.amount ?? 0),
          used: unitsOf(spent),
          currency: prices.currency,
          window: limit?.window ?? "total",
          shouldRetry: false,
          detail: "its price is not known"
        })
      ))
  }

  const steps = () => [stepOf(current, prices.currency)]
  return Object.assign(
    Pipeline.policy<unknown, LlmError.SpendLimitExceeded>(steps, [Pipeline.gate(enter)]),
    {
      status: (key = "default") =>
        Effect.withFiberRuntime<Status>((fiber) =>
          Effect.map(store.get(placeOf(key)), (state) => {
            const at = clock(fiber)
            return statusOf(current.settings, Pure.fit(current.settings, state, at), prices.currency, at)
          })
        ),
      reconfigure: (options: Options) => {
        const next = checked("SpendLimit.reconfigure", { ...options, name: first.name })
        return Effect.sync(() => {
          current = next
        })
      }
    }
  )
}

/** Whole milliseconds, since windows are. */
const clock = (fiber: AnyFiber): number => Math.floor(nowOf(fiber))

const statusOf = (settings: Pure.Settings, state: Pure.State, currency: string, at: number): Status => ({
  currency,
  limits: settings.limits.map(({ amount, window }, index) => {
    const { end, spent = 0 } = state.buckets[index] ?? {}
    return {
      window,
      limit: unitsOf(amount),
      spent: unitsOf(spent),
      left: unitsOf(Math.max(0, amount - spent)),
      resetsIn: end === undefined ? undefined : Duration.millis(end - at)
    }
  })
})

const exceeded = (
  fiber: AnyFiber,
  subject: Policy.Subject | undefined,
  currency: string,
  { at, limit, spent }: Extract<Pure.Taken, { readonly _tag: "Refused" }>,
  estimate: number | undefined
): Effect.Effect<never, LlmError.SpendLimitExceeded> => {
  const { model, provider } = subject?.target ?? unknown
  return refuse(
    fiber,
    LlmError.refusal(LlmError.SpendLimitExceeded, {
      provider,
      model,
      limit: unitsOf(limit.amount),
      used: unitsOf(spent),
      ...(estimate === undefined ? {} : { estimate: unitsOf(estimate) }),
      currency,
      window: limit.window,
      ...(at === undefined ? { shouldRetry: false } : { retryAfter: Duration.millis(at - clock(fiber)) })
    })
  )
}
