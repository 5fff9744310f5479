/**
 * A budget keeps retries, hedges and fallbacks from multiplying the load on a provider that is in trouble: each is paid
 * for with tokens, which calls that are served earn.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as BudgetStore from "./BudgetStore.ts"
import type { Pace } from "./Disposition.ts"
import * as Internal from "./internal/budget.ts"
import * as Settings from "./internal/budgetOptions.ts"
import * as Call from "./internal/call.ts"
import { track } from "./internal/calling.ts"
import { nowOf } from "./internal/clock.ts"
import * as Eager from "./internal/eager.ts"
import { type Gate, settling, stay } from "./internal/gate.ts"
import * as Gauges from "./internal/gauges.ts"
import { Memory } from "./internal/memory.ts"
import * as Pipeline from "./internal/pipeline.ts"
import * as Policy from "./Policy.ts"
import type { Target } from "./Receipt.ts"

/**
 * What is paid for: the same target again after a failure, another try beside one that is under way, another target
 * after a failure.
 *
 * @since 0.1.0
 * @category models
 */
export type Kind = Internal.Kind

/**
 * How one bucket fills. All amounts are in tokens, kept to the millionth.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rule {
  /**
   * The most tokens it holds, more than 0 and at most 1,000,000. Without `ttl` it begins with them, so that a program
   * that has just started may repeat.
   * @default 35
   */
  readonly capacity?: number | undefined
  /**
   * How much each call deposits, from 0 on.
   * @default 0.1
   */
  readonly ratio?: number | undefined
  /**
   * Which calls deposit: those that are served, when they are; or all, before their first repeat or at their end.
   * @default "served"
   */
  readonly deposits?: "served" | "all" | undefined
  /**
   * How many tokens come each second whatever happens, from 0 on, to the thousandth: a floor for programs with little
   * traffic.
   * @default 0.02
   */
  readonly perSecond?: number | undefined
  /**
   * After what time a deposit expires, to a tenth of it; `perSecond` then fills the bucket only up to what comes in this
   * time, which is also what it begins with.
   * @default deposits do not expire
   */
  readonly ttl?: Duration.DurationInput | undefined
  /**
   * Nothing is given while the bucket holds this or less.
   * @default 0
   */
  readonly blockedAt?: number | undefined
  /**
   * Whether a refused repeat takes its cost all the same, down to 0, so that a long outage needs as much success to mend.
   * @default false
   */
  readonly drains?: boolean | undefined
  /**
   * Whether a call that is served after repeats deposits the cost of the last of them, in place of `ratio`.
   * @default false
   */
  readonly refunds?: boolean | undefined
}

/**
 * What one repeat costs, in tokens; by the pace of the failure before it where that is named.
 *
 * @since 0.1.0
 * @category models
 */
export type Cost = number | ({ readonly otherwise: number } & { readonly [K in Pace]?: number | undefined })

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The bucket that each target has.
   * @default a {@link Rule} with all defaults
   */
  readonly target?: Rule | "none" | undefined
  /**
   * The one bucket that all targets share.
   * @default a {@link Rule} with a capacity of 100 and 0.1 tokens a second
   */
  readonly process?: Rule | "none" | undefined
  /**
   * What each kind of repeat costs, from 0 on. A fallback costs nothing unless it is said to: its target has not been
   * asked yet, so it gets no load twice, and charging for it would turn a dead primary into failed calls.
   * @default { retry: 1, hedge: 1, fallback: 0 }
   */
  readonly costs?: { readonly [K in Kind]?: Cost | undefined } | undefined
  /**
   * Which bucket a target has. Buckets are kept for good: have few.
   * @default the target, as in `openai/gpt-4o`; `default` where none is known
   */
  readonly key?: ((target: Target | undefined) => string) | undefined
  /**
   * Whose buckets these are, in a `BudgetStore`: budgets of the same name share them.
   * @default "default"
   */
  readonly name?: string | undefined
}

/**
 * A budget: a policy, and what can be asked of it. Buckets are named as {@link Options.key} says.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service extends Policy.Policy {
  /** How many tokens there are for a target, and for all together; absent where there is no such bucket. */
  readonly balance: (bucket: string) => Effect.Effect<{
    readonly target?: number | undefined
    readonly process?: number | undefined
  }>
  /** Replaces all options but the name, with defaults for those not given. Buckets keep what they hold, as far as it still fits. */
  readonly reconfigure: (options: Options) => Effect.Effect<void>
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Budget extends Context.Tag("perdure/Budget")<Budget, Service>() {}

/**
 * The defaults of {@link Rule}. The ratio is gRPC's; 35 is how many retries AWS's bucket pays for, 500 at 14 each; the
 * bucket of the process begins with as many as Finagle's reserve, 10 a second for 10 seconds. The floor is one repeat
 * every 50 seconds.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaults = Settings.defaults

/**
 * Finagle's budget: 20 % of all requests and 10 a second, each for 10 seconds.
 *
 * @since 0.1.0
 * @category presets
 */
export const finagle: Options = {
  target: { capacity: 1_000_000, ratio: 0.2, deposits: "all", perSecond: 10, ttl: "10 seconds" },
  process: "none"
}

/**
 * gRPC's retry throttling (A6): 10 tokens, a tenth for each call served, nothing at half or below. How many attempts a
 * call may have is for its retry policy.
 *
 * @since 0.1.0
 * @category presets
 */
export const grpc: Options = {
  target: { capacity: 10, ratio: 0.1, perSecond: 0, blockedAt: 5, drains: true },
  process: "none"
}

/**
 * AWS's retry quota in standard mode: 500 tokens, 14 for a retry and 5 for one after a rate limit. A call that is served
 * at once deposits 1, one that is served by a retry what that has cost.
 *
 * @since 0.1.0
 * @category presets
 */
export const aws: Options = {
  target: { capacity: 500, ratio: 1, perSecond: 0, refunds: true },
  process: "none",
  costs: { retry: { otherwise: 14, rateLimit: 5 }, hedge: 14 }
}

/**
 * A budget for whatever repeats inside it: retries, hedges and fallbacks of this library ask it before each repeat, and
 * do not repeat when it has too few tokens; the call then fails with the failure it has. Put one value around all
 * providers of a program, outside of everything that repeats.
 *
 * A repeat needs tokens in the bucket of the target that will be asked, and in that of the process. A budget inside
 * another does not hide it: both are asked, and both must grant. One that stands around a call twice is asked once.
 *
 * With the defaults, the repeats at one target are at most a tenth of the calls that it has served, and 35 that its
 * bucket begins with, and 1.2 a minute; these add up. A provider that serves nobody is so asked at most 1.1 times as often
 * as there are calls, once there were 350 of them, and 12 for each minute. A call is served when its effect succeeds,
 * a stream when its last part was read. It adds no failure of its own and never waits; a repeat that is interrupted
 * after it was paid for is not paid back. Around an effect of any kind, the target is the one that its `LlmError` names, or
 * else `default`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Budget, Policy, Retry } from "perdure"
 *
 * const guarded = Effect.map(
 *   Budget.make(),
 *   (budget) => Policy.compose(budget, Policy.retry(Retry.standard))
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Service> => {
  const checked = Settings.check(options)
  return Effect.flatMap(Effect.serviceOption(BudgetStore.BudgetStore), (store) =>
    Effect.map(
      Option.isSome(store) ? Effect.succeed(store.value) : BudgetStore.memory,
      (store) => build(checked, store)
    ))
}

/**
 * A layer of {@link make}, for the one budget of a program.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<Budget> => Layer.effect(Budget, make(options))

/**
 * Asks the budgets around the current fiber for one repeat, for those who repeat by hand: whether it may be made. Where
 * there is no budget it may.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withdraw = (kind: Kind, target?: Target): Effect.Effect<boolean> =>
  Effect.withFiberRuntime((fiber) => Internal.withdraw(fiber, kind, target))

/** Who has answered, or who was asked last, where that is on record. */
const lastOf = (call: Call.Call | undefined, served: boolean): Target | undefined =>
  call?.attempts.findLast(({ lost, outcome }) => !served || (outcome?._tag === "Answered" && !lost))?.target

const build = (first: Settings.Checked, store: BudgetStore.Service): Service => {
  let settings = first

  const placeOf = (key: string | undefined) =>
    key === undefined ? `${settings.name}:process` : `${settings.name}:target:${key}`

  /** What is changed at once is changed when this is called: call it where its effect is run. */
  const modify: BudgetStore.Service["modify"] = store instanceof Memory
    ? (key, f) => Exit.succeed(store.step(key, f))
    : (key, f) => store.modify(key, f)

  const taking =
    (how: typeof Internal.take) =>
    (bucket: Settings.Bucket | undefined, key: string | undefined, amount: number, now: number, target?: Target) =>
      bucket === undefined || amount === 0 ? Exit.succeed(true) : modify(
        placeOf(key),
        (state = Internal.initial(bucket, now)) => {
          const taken = how(bucket, state, amount, now)
          Gauges.budgetLeft(placeOf(key), Internal.level(taken[1]) / Internal.unit, target)
          return taken
        }
      )

  const take = taking(Internal.take)
  const drain = taking(Internal.drain)

  const put = (
    bucket: Settings.Bucket | undefined,
    key: string | undefined,
    amount: number,
    now: number,
    target?: Target
  ) =>
    bucket === undefined || amount === 0 ? Exit.void : modify(
      placeOf(key),
      (state = Internal.initial(bucket, now)) => {
        const after = Internal.put(bucket, state, amount, now)
        // A full bucket stays as it is, which is what most deposits meet.
        if (after !== state) Gauges.budgetLeft(placeOf(key), Internal.level(after) / Internal.unit, target)
        return [undefined, after]
      }
    )

  const account: Internal.Account = {
    withdraw: (use, repeat) => {
      const { process, target } = settings
      const amount = settings.costOf(repeat)
      const key = settings.key(repeat.target)
      return counted(use, repeat, () =>
        Effect.flatMap(take(target, key, amount, repeat.now, repeat.target), (ok) => {
          if (!ok) return Effect.succeed(false)
          return Effect.flatMap(take(process, undefined, amount, repeat.now), (ok) => {
            if (!ok) return Effect.as(put(target, key, amount, repeat.now, repeat.target), false)
            use.paid = amount
            return Effect.succeed(true)
          })
        }))
    },
    charge: (use, repeat) => {
      const { process, target } = settings
      const amount = settings.costOf(repeat)
      return counted(use, repeat, () =>
        Effect.zipWith(
          drain(target, settings.key(repeat.target), amount, repeat.now, repeat.target),
          drain(process, undefined, amount, repeat.now),
          (fromTarget, fromProcess) => {
            // What was not there is not given back either.
            use.paid = fromTarget && fromProcess ? amount : 0
          }
        ))
    },
    giveBack: (use, repeat) => {
      const { process, target } = settings
      const amount = settings.costOf(repeat)
      use.paid = 0
      return Effect.zipRight(
        put(target, settings.key(repeat.target), amount, repeat.now, repeat.target),
        put(process, undefined, amount, repeat.now)
      )
    }
  }

  const deposit = (served: boolean, target: Target | undefined, paid: number, now: number): Effect.Effect<void> => {
    const amount = (bucket: Settings.Bucket | undefined) => {
      if (bucket === undefined) return 0
      if (served && bucket.refunds && paid > 0) return paid
      return bucket.onServed === served ? bucket.deposit : 0
    }
    return Eager.flatMap(
      put(settings.target, settings.key(target), amount(settings.target), now, target),
      () => put(settings.process, undefined, amount(settings.process), now)
    )
  }

  /** After the deposit that all calls make before their first repeat. */
  const counted = <A>(use: Internal.Ambient, { now, target }: Internal.Repeat, repeating: () => Effect.Effect<A>) => {
    if (!settings.counting || use.counted) return repeating()
    use.counted = true
    return Effect.flatMap(deposit(false, target, 0, now), repeating)
  }

  const gate: Gate = ({ fiber, local, subject }) => {
    const outer = local.budget
    for (let around = outer; around !== undefined; around = around.outer) if (around.of === account) return stay
    const use: Internal.Ambient = { of: account, outer, paid: 0, counted: false }
    const call = Call.live(fiber)
    const settled = settling((ended) => {
      const served = ended._tag === "Answered"
      const counts = settings.counting && !use.counted
      if (!served && !counts) return Effect.void
      const now = nowOf(fiber)
      const target = lastOf(call, served) ?? subject?.target
      const earned = served ? deposit(true, target, use.paid, now) : Effect.void
      if (!counts) return earned
      use.counted = true
      return Effect.zipRight(deposit(false, target, 0, now), earned)
    })
    local.budget = use
    return Exit.succeed((exit) => {
      local.budget = outer
      return settled(exit)
    })
  }
  const steps = () => [settings.step]
  const policy = Pipeline.policy<unknown, never>(steps, [Pipeline.gate(track), Pipeline.gate(gate)])

  const methods: Omit<Service, keyof Policy.Policy> = {
    balance: (key) =>
      Effect.withFiberRuntime((fiber) => {
        const now = nowOf(fiber)
        const { process, target } = settings
        const levelOf = (bucket: Settings.Bucket | undefined, key: string | undefined) =>
          bucket === undefined ? Effect.succeed(undefined) : modify(
            placeOf(key),
            (state = Internal.initial(bucket, now)) => {
              const advanced = Internal.advance(bucket, state, now)
              return [Internal.level(advanced) / Internal.unit, advanced]
            }
          )
        return Effect.all({ target: levelOf(target, key), process: levelOf(process, undefined) })
      }),
    reconfigure: (options) => {
      const checked = Settings.check({ ...options, name: first.name })
      return Effect.sync(() => {
        settings = checked
      })
    }
  }
  return Object.assign(policy, methods)
}
