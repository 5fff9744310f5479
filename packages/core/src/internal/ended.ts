/** What policies with state are told by: how an attempt ended, once, and when it really did. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as LlmError from "../LlmError.ts"
import * as Call from "./call.ts"
import { type Restore, settling, through } from "./gate.ts"
import { type Ended, endedOf, type Tell } from "./opened.ts"

export { endedOf }
export type { Ended, Tell }

/**
 * Acquires something, runs an effect with it, and settles it once the effect has ended: a complete answer with the
 * effect, a stream with its last part, its failure, or its scope. `acquire` must let go of what it has when it is
 * interrupted; whatever waits in it is to be run through `restore`. Nothing is lost in between.
 */
export const holding = <P, A, E, R, E2>(
  acquire: (restore: Restore) => Effect.Effect<P, E2>,
  self: Effect.Effect<A, E, R>,
  settle: (held: P, ended: Ended) => Effect.Effect<void>
): Effect.Effect<A, E | E2, R> =>
  through<A, E | E2, R>(
    [(_, __, restore) => Effect.map(acquire(restore), (held) => settling((ended) => settle(held, ended)))],
    self,
    undefined
  )

/** Fails with a refusal, and tells whoever watches the call. */
export const refuse = <E extends LlmError.Refusal>(
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  error: E
): Effect.Effect<never, E> => {
  Call.live(fiber)?.refused(error, Call.nowOf(fiber))
  return Exit.fail(error)
}
