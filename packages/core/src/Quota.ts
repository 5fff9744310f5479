/**
 * Requests and tokens in a time: taken from an estimate before a call, settled by its real usage after it, and learned
 * from what the provider says of its limits, so that calls slow down before they are refused.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { clockOf, nowOf } from "./internal/clock.ts"
import { deadlineOf } from "./internal/deadline.ts"
import { type AnyFiber, type Gate, type Leave, type Restore, settling } from "./internal/gate.ts"
import { Line, type Verdict, Waiter } from "./internal/line.ts"
import { Memory } from "./internal/memory.ts"
import type { Ended } from "./internal/opened.ts"
import * as Pipeline from "./internal/pipeline.ts"
import { inLine } from "./internal/queueing.ts"
import * as Pure from "./internal/quota.ts"
import { observe } from "./internal/quotaLearning.ts"
import * as Settings from "./internal/quotaOptions.ts"
import type { Options } from "./internal/quotaOptions.ts"
import { blockOf, toldBy, usedBy } from "./internal/quotaOutcome.ts"
import { unknown } from "./internal/receipt.ts"
import { refuse } from "./internal/refuse.ts"
import { after } from "./internal/timer.ts"
import * as LlmError from "./LlmError.ts"
import type * as Policy from "./Policy.ts"
import { QuotaStore } from "./QuotaStore.ts"

export type {
  /** @since 0.1.0 @category models */
  Amounts,
  /** @since 0.1.0 @category models */
  Limit,
  /** @since 0.1.0 @category models */
  Options
} from "./internal/quotaOptions.ts"

/**
 * What one key has left.
 *
 * @since 0.1.0
 * @category models
 */
export interface Status {
  readonly limits: ReadonlyArray<{
    /** The name of the limit, as in `QuotaExceeded`. */
    readonly quota: string
    /** Whether the provider told of it. */
    readonly learned: boolean
    readonly capacity: number
    /** How much could be taken now; 0 where more was used than had been estimated. */
    readonly available: number
  }>
  /** How long the provider has asked to be left alone. */
  readonly blockedFor: Duration.Duration
  /** How many calls of this process wait. */
  readonly waiting: number
  /** How many calls of this process have a permit and have not ended. */
  readonly underWay: number
}

/**
 * A quota: a policy, and what can be asked of it while it runs.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service extends Policy.Policy<unknown, LlmError.QuotaExceeded> {
  /** What a key has left: `"openai/gpt-4o"`, or `"default"` where the quota is applied by hand. */
  readonly status: (key?: string) => Effect.Effect<Status>
  /**
   * Replaces all options but the name, with defaults for those not given; bad ones throw `InvalidOption`. What is used of a
   * limit that keeps its name stays used. Those who wait are let through, or refused, by the new limits; `queue`, `maxWait`
   * and `estimate` hold for those who come after.
   */
  readonly reconfigure: (options: Options) => Effect.Effect<void>
}

/**
 * The defaults of {@link Options}. A minute is the longest that `Retry` waits for a provider, and the time in which a limit
 * per minute fills up. A thousand in line are more than most limits let through in that time: a bound for the memory, not
 * for the load. An answer of which nothing is known is taken for a page of text, 500 tokens.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaults = Settings.defaults

/**
 * A quota that programs can ask for.
 *
 * @since 0.1.0
 * @category tags
 */
export class Quota extends Context.Tag("perdure/Quota")<Quota, Service>() {}

/** A call that wants a permit. */
interface Guarded {
  readonly fiber: AnyFiber
  readonly line: Line
  readonly subject: Policy.Subject | undefined
}

/**
 * A quota, in a `QuotaStore` where there is one, else with a memory of its own.
 *
 * A call takes what it is estimated to need from every limit at once, or from none. When it ends, real usage takes the
 * place of the estimate, for a failed call too. A failure that the provider certainly did not act on (a rate limit, a
 * connection never made) gives everything back; what is not known, as when a call is interrupted, stays as estimated. A
 * stream ends with its last part, its failure or its scope.
 *
 * Where there is no room the call waits, first in, first out for each key: a small request does not overtake a large one.
 * A call fails with `QuotaExceeded` at once when it would have to wait longer than `maxWait` or up to the deadline of the
 * call, when the queue is full, or, without `retryAfter`, when it needs more than a limit ever holds. Interrupting one that
 * waits takes it out of the queue at once.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Quota } from "perdure"
 *
 * const program = Effect.gen(function*() {
 *   const quota = yield* Quota.make({
 *     perMinute: { requests: 500, tokens: 200_000 },
 *     perDay: { requests: 10_000 }
 *   })
 *   return yield* Effect.succeed("an answer").pipe(quota)
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Service> => {
  const first = Settings.checked("Quota.make", options)
  return Effect.map(
    Effect.serviceOption(QuotaStore),
    (store) => build(Option.getOrElse(store, () => new Memory()), first)
  )
}

/**
 * A layer of {@link make}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<Quota> => Layer.effect(Quota, make(options))

const build = (store: Context.Tag.Service<typeof QuotaStore>, first: Settings.Checked): Service => {
  let current = first
  const lines = new Map<string, Line>()

  const lineOf = (key: string): Line => {
    const known = lines.get(key)
    if (known !== undefined) return known
    const line = new Line(`${first.name}/${key}`)
    lines.set(key, line)
    return line
  }

  /** Changes a state and goes on; in this process's memory, nothing comes in between. */
  const change = <A, B, E>(
    key: string,
    f: (state: Pure.State | undefined) => readonly [A, Pure.State],
    use: (result: A) => Effect.Effect<B, E>
  ): Effect.Effect<B, E> =>
    store instanceof Memory ? use(store.step(key, f)) : Effect.flatMap(store.modify(key, f), use)

  const enter: Gate = ({ fiber, restore, subject }) => {
    const at = clock(fiber)
    const line = lineOf(current.key(subject))
    const ask = current.ask(subject)
    const othersWait = line.head !== undefined
    return change(line.key, (state) => Pure.take(current.settings, state, ask, at, othersWait), (taken) => {
      switch (taken._tag) {
        case "Granted":
          return grant({ fiber, line, subject }, taken, at)
        case "Never":
          return exceeded(fiber, subject, { at, short: taken.bucket.name, never: taken.bucket }, taken.cost)
        case "Wait":
          return enqueue({ fiber, line, subject }, taken, restore)
      }
    })
  }

  const grant = (call: Guarded, permit: Pure.Permit, at: number): Effect.Effect<Leave> => {
    call.line.count(permit.cost, 1)
    return Exit.succeed(settling((ended) => settle(call, permit, at, ended)))
  }

  /** Gets in line, where its turn would come in time. */
  const enqueue = (
    call: Guarded,
    { cost, state }: Extract<Pure.Taken, { _tag: "Wait" }>,
    restore: Restore
  ): Effect.Effect<Leave, LlmError.QuotaExceeded> => {
    const { fiber, line, subject } = call
    const at = clock(fiber)
    const latest = Math.min(at + current.maxWait + 1, deadlineOf(fiber)?.at ?? Infinity)
    const turn = line.foresee(state, cost, at)
    if (turn.never !== undefined || turn.at >= latest || line.size >= current.queue) {
      return exceeded(fiber, subject, turn, cost)
    }
    const waiter = new Waiter(cost, latest)
    line.push(waiter, turn)
    const queue = { policy: "quota", name: line.key, subject } as const
    return Effect.onError(
      inLine(fiber, queue, waiting(call, waiter, restore)),
      () => Effect.sync(() => line.leave(waiter))
    )
  }

  /** Waits for the head of the line, which alone has a timer, and then for a permit. */
  const waiting = (
    call: Guarded,
    waiter: Waiter,
    restore: Restore
  ): Effect.Effect<Leave, LlmError.QuotaExceeded> => {
    const { fiber, line, subject } = call
    const again: Effect.Effect<Leave, LlmError.QuotaExceeded> = Effect.suspend(() => {
      if (waiter.verdict !== undefined) return exceeded(fiber, subject, waiter.verdict, waiter.cost)
      if (line.head !== waiter) return Effect.flatMap(restore(waiter.parked), () => again)
      const at = clock(fiber)
      return change(line.key, (state) => Pure.take(current.settings, state, waiter.cost, at, false), (taken) => {
        if (taken._tag === "Granted") {
          line.remove(waiter)
          return grant(call, taken, at)
        }
        if (taken._tag === "Never") {
          return exceeded(fiber, subject, { at, short: taken.bucket.name, never: taken.bucket }, waiter.cost)
        }
        if (taken.at >= waiter.latest) return exceeded(fiber, subject, { ...taken, never: undefined }, waiter.cost)
        if (at >= line.earliest) line.review(taken.state, at)
        const millis = Math.max(0, Math.min(taken.at, line.earliest) - clock(fiber))
        const cancel = after(clockOf(fiber), millis, () => waiter.wake())
        return Effect.flatMap(Effect.ensuring(restore(waiter.parked), Effect.sync(cancel)), () => again)
      })
    })
    return again
  }

  const settle = (
    { fiber, line, subject }: Guarded,
    permit: Pure.Permit,
    since: number,
    ended: Ended
  ): Effect.Effect<void> => {
    line.count(permit.cost, -1)
    const { countCached, settings } = current
    const used = usedBy(ended, countCached)
    const told = settings.learn === "never" ? undefined : toldBy(ended)
    const blocked = blockOf(ended)
    if (used === undefined && told === undefined && blocked === undefined) return Exit.void
    const at = clock(fiber)
    const until = blocked === undefined ? 0 : at + Math.ceil(Duration.toMillis(blocked))
    // A stream's headers come when it begins.
    const age = subject?.kind === "open" ? Math.max(0, at - since) : 0
    const step = (before: Pure.State | undefined): readonly [Pure.State, Pure.State] => {
      let state = Pure.fit(settings, before, at)
      if (used !== undefined) state = Pure.settle(state, permit, used, at)
      if (told !== undefined) state = observe(settings, state, told, line.underWay, age, at)
      if (blocked !== undefined) state = Pure.block(settings, state, permit.cost, until)
      return [state, state]
    }
    return change(line.key, step, (state) => {
      if (line.head === undefined) return Exit.void
      line.forget()
      if (blocked !== undefined) line.review(state, at)
      line.head?.wake()
      return Exit.void
    })
  }

  const steps = () => [{ name: "quota", settings: Settings.words(current.settings) }]
  return Object.assign(
    Pipeline.policy<unknown, LlmError.QuotaExceeded>(steps, [Pipeline.gate(enter)]),
    {
      status: (key = "default") =>
        Effect.withFiberRuntime<Status>((fiber) => {
          const line = lines.get(key) ?? new Line(`${first.name}/${key}`)
          return Effect.map(store.get(line.key), (state) => {
            const at = clock(fiber)
            return statusOf(Pure.fit(current.settings, state, at), line, at)
          })
        }),
      reconfigure: (options: Options) => {
        const next = Settings.checked("Quota.reconfigure", { ...options, name: first.name })
        return Effect.sync(() => {
          current = next
          for (const line of lines.values()) {
            line.forget()
            line.head?.wake()
          }
        })
      }
    }
  )
}

/** Whole milliseconds, for whole numbers of permits. */
const clock = (fiber: AnyFiber): number => Math.floor(nowOf(fiber))

const statusOf = (state: Pure.State, line: Line, at: number): Status => ({
  limits: state.buckets.map((bucket) => ({
    quota: bucket.name,
    learned: bucket.learned,
    capacity: bucket.capacity,
    available: Math.max(0, Math.floor(Pure.left(bucket, at)))
  })),
  blockedFor: Duration.millis(Math.max(0, state.blockedUntil - at)),
  waiting: line.size,
  underWay: line.underWay.requests
})

const exceeded = (
  fiber: AnyFiber,
  subject: Policy.Subject | undefined,
  { at, never, short }: Verdict,
  cost: Pure.Cost
): Effect.Effect<never, LlmError.QuotaExceeded> => {
  const { model, provider } = subject?.target ?? unknown
  const quota = never?.name ?? short
  const common = { provider, model, quota }
  return refuse(
    fiber,
    never === undefined
      ? LlmError.refusal(LlmError.QuotaExceeded, {
        ...common,
        retryAfter: Duration.millis(Math.max(0, at - clock(fiber)))
      })
      : LlmError.refusal(LlmError.QuotaExceeded, {
        ...common,
        shouldRetry: false,
        detail: `the request needs ${cost[never.unit]} ${Pure.words[never.unit]}, and there are never more than ` +
          `${never.capacity} at once`
      })
  )
}
