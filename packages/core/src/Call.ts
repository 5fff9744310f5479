/**
 * What happens while a call is made, as it happens.
 *
 * A call is everything between asking and having an answer: all attempts, waits and fallbacks. Its summary is the
 * receipt; this module is for those who want to watch, such as a progress display, and for putting several steps into
 * one receipt.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { observers, tracked } from "./internal/call.ts"
import type { Outcome, Receipt, Target } from "./Receipt.ts"

/**
 * One thing that happened. `at` is the `Clock`'s time in milliseconds; `attempt` counts from 1.
 *
 * - `Started` and `Ended`: one use of a provider; its receipt comes with the end, also when it was interrupted.
 * - `AttemptStarted` and `AttemptEnded`: one request to one target.
 * - `Waiting`: a retry policy waits before asking again, because of the failure named.
 * - `FellBack`: a fallback moves from one target to another, because of the failure named.
 *
 * @since 0.1.0
 * @category models
 */
export type Event =
  | { readonly _tag: "Started"; readonly at: number; readonly requested: Target }
  | { readonly _tag: "AttemptStarted"; readonly at: number; readonly attempt: number; readonly target: Target }
  | {
    readonly _tag: "AttemptEnded"
    readonly at: number
    readonly attempt: number
    readonly target: Target
    readonly outcome: Outcome
  }
  | { readonly _tag: "Waiting"; readonly at: number; readonly wait: Duration.Duration; readonly because: string }
  | {
    readonly _tag: "FellBack"
    readonly at: number
    readonly from: Target
    readonly to: Target
    readonly because: string
  }
  | {
    readonly _tag: "Ended"
    readonly at: number
    readonly outcome: "Answered" | "Failed" | "Interrupted"
    readonly receipt: Receipt
  }

/**
 * Is told of every event, in the middle of the call: it must be quick. What it throws is dropped. To do more, put the
 * event in a queue.
 *
 * @since 0.1.0
 * @category models
 */
export type Observer = (event: Event) => void

/**
 * Tells an observer of every event of the calls made inside an effect, also in fibers forked from it. Observers add up.
 *
 * @since 0.1.0
 * @category combinators
 */
export const observe = (observer: Observer) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.locallyWith(self, observers, (others) => [...others, observer])

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
export const track: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = tracked
