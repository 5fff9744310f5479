/**
 * What happens while a call is made, as it happens.
 *
 * A call is everything between asking and having an answer: all attempts, waits and fallbacks. Its summary is the
 * receipt; this module is for those who want to watch, such as a progress display, for putting several steps into one
 * receipt, and for telling of what happened out of sight.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { tell } from "./internal/attempted.ts"
import { track as trackGate } from "./internal/calling.ts"
import type { Event } from "./internal/events.ts"
import { through } from "./internal/gate.ts"
import { observers } from "./internal/observers.ts"
import type { LlmError } from "./LlmError.ts"
import type { Target } from "./Receipt.ts"

export type {
  /** @since 0.1.0 @category events */
  AttemptEnded,
  /** @since 0.1.0 @category events */
  AttemptStarted,
  /** @since 0.1.0 @category events */
  BudgetExhausted,
  /** @since 0.1.0 @category events */
  CircuitChanged,
  /** @since 0.1.0 @category events */
  Dequeued,
  /** @since 0.1.0 @category events */
  Discarded,
  /** @since 0.1.0 @category events */
  Ended,
  /** @since 0.1.0 @category events */
  Event,
  /** @since 0.1.0 @category events */
  FellBack,
  /** @since 0.1.0 @category events */
  FirstOutput,
  /** @since 0.1.0 @category events */
  GaveUp,
  /** @since 0.1.0 @category models */
  GiveUp,
  /** @since 0.1.0 @category events */
  KeyBenched,
  /** @since 0.1.0 @category events */
  Queued,
  /** @since 0.1.0 @category events */
  Refused,
  /** @since 0.1.0 @category events */
  Started,
  /** @since 0.1.0 @category events */
  Waiting
} from "./internal/events.ts"

/**
 * Is told of every event, in the middle of the call: it must be quick. What it throws is dropped. To do more, put the
 * event in a queue.
 *
 * @since 0.1.0
 * @category models
 */
export type Observer = (event: Event) => void

/**
 * Tells an observer of every event of the calls made inside an effect, also in fibers forked from it, and of the circuits
 * that change there outside of a call. Observers add up.
 *
 * @since 0.1.0
 * @category combinators
 */
export const observe = (observer: Observer) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.locallyWith(self, observers, (others) => [...others, observer])

/**
 * A request that the code of a provider has made by itself, such as an SDK that repeats. Times are those of the `Clock`, in
 * milliseconds since the epoch, which is what `Date.now()` gives; one outside of the attempt counts as its border.
 *
 * @since 0.1.0
 * @category models
 */
export interface Attempted {
  readonly startedAt: number
  /**
   * When it ended.
   * @default when the next one began; of the last one, now
   */
  readonly endedAt?: number | undefined
  /** Why it was to be repeated. Without, it counts as interrupted. */
  readonly failure?: LlmError | undefined
  /**
   * Whom it asked.
   * @default the target of the provider
   */
  readonly target?: Target | undefined
}

/**
 * Tells of all requests that the code of a provider has made in one attempt, in order, the last included. They are in the
 * receipt, each with the wait before it, and events, metrics and spans are made of them. The last one ends as the code
 * does, unless it has failed and the code is interrupted later, in a wait of its own. Budgets around pay for each but the
 * first, as far as they can: what has happened is not refused, but repeats after it may be. It does not fail, and is not
 * interrupted.
 *
 * Run it once in an attempt, when all is over, in `Effect.onExit`, so that an interrupted attempt is told of too; of a
 * stream before its first output. An SDK that has given up has spent its failure: say so with `spent: true`, or the
 * retries around repeat it all. Outside of a provider the requests are added to the receipt around, where there is one; the
 * last one then counts as answered unless it has a `failure`.
 *
 * @example
 * ```ts
 * import { Call, type LlmError } from "perdure"
 *
 * const told = (busy: LlmError.RateLimited, now: number) =>
 *   Call.attempted([
 *     { startedAt: now - 1500, endedAt: now - 1400, failure: busy },
 *     { startedAt: now - 400 }
 *   ])
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const attempted = (requests: ReadonlyArray<Attempted>): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) => tell(fiber, requests))

/**
 * Gives everything inside one effect a single receipt.
 *
 * A call already has one receipt across `LlmProvider.withPolicy`, `LlmProvider.orElse` and every policy of this library.
 * Use `track` around combinators that are not this library's, such as `Effect.retry` with a plain schedule or
 * `Effect.orElse` between two providers, so that the attempts on both sides end up in the same receipt. The receipt is
 * put on a resulting `LlmResponse` and on a failing `LlmError`; other values pass through unchanged. Of more than 1,000
 * attempts it keeps the last.
 *
 * @since 0.1.0
 * @category combinators
 */
export const track = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  through([trackGate], self, undefined)
