/** The time limits of a stream: until its first output, and between outputs. */
import type * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { type LlmError, TimedOut, type TimeoutPhase } from "../LlmError.ts"
import type { Target } from "../Receipt.ts"
import type { StreamPart } from "../StreamPart.ts"

export interface Limits {
  readonly firstOutput?: Duration.Duration | undefined
  readonly idle?: Duration.Duration | undefined
}

type Parts = Chunk.Chunk<StreamPart>
type End = Option.Option<LlmError>
type Pull = Effect.Effect<Parts, End>

/**
 * Fails a pull when output is too long in coming. Only the time in which the reader waits counts, so a slow reader is
 * nobody's fault; and only what `isFood` says is output feeds the timers, so pings and usage do not.
 *
 * The pull runs on a fiber of its own, and a reader who stops waiting for it and comes back waits for the same one, so
 * nothing is lost in between. One timer serves the whole stream: it is started anew only where it would come too late,
 * since racing each pull against a timer of its own would cost more than decoding what it brings.
 */
export const watched = (
  pull: Pull,
  limits: Limits,
  target: Target,
  isFood: (chunk: Parts) => boolean
): Effect.Effect<Pull, never, Scope.Scope> => {
  if (limits.firstOutput === undefined && limits.idle === undefined) return Effect.succeed(pull)
  return Effect.gen(function*() {
    const scope = yield* Effect.scope
    const clock = yield* Effect.clock
    const now = () => clock.unsafeCurrentTimeMillis()

    let phase: TimeoutPhase = "firstOutput"
    let limit = limits.firstOutput
    /** What the reader has waited since the last output, up to `waitingSince`. */
    let waited = 0
    let waitingSince: number | undefined
    let pulling: Deferred.Deferred<Parts, End> | undefined
    /** When the timer looks next. */
    let alarm: number | undefined

    const stopWaiting = () => {
      if (waitingSince !== undefined) waited += now() - waitingSince
      waitingSince = undefined
    }
    const deadline = (): number | undefined =>
      limit === undefined || waitingSince === undefined ? undefined : waitingSince + Duration.toMillis(limit) - waited

    const watch = (mine: number): Effect.Effect<void> =>
      Effect.flatMap(Effect.sleep(Math.max(0, mine - now())), () => {
        // Another timer has been started, which looks sooner.
        if (alarm !== mine) return Effect.void
        const due = deadline()
        alarm = undefined
        if (due === undefined || pulling === undefined) return Effect.void
        if (due > now()) return watch(alarm = due)
        return Effect.asVoid(
          Deferred.fail(pulling, Option.some(new TimedOut({ ...target, phase, ...(limit && { limit }) })))
        )
      })
    const arm = Effect.suspend(() => {
      const due = deadline()
      if (due === undefined || (alarm !== undefined && alarm <= due)) return Effect.void
      return Effect.forkIn(watch(alarm = due), scope)
    })

    const arrived = (chunk: Parts) => {
      stopWaiting()
      pulling = undefined
      if (isFood(chunk)) {
        phase = "idle"
        limit = limits.idle
        waited = 0
      }
      return chunk
    }

    return Effect.suspend(() => {
      waitingSince = now()
      const done = pulling ?? Deferred.unsafeMake<Parts, End>(FiberId.none)
      const begin = pulling === undefined ? Effect.forkIn(Deferred.complete(done, pull), scope) : Effect.void
      pulling = done
      return begin.pipe(
        Effect.zipRight(arm),
        Effect.zipRight(Deferred.await(done)),
        Effect.map(arrived),
        Effect.onInterrupt(() => Effect.sync(stopWaiting))
      )
    })
  })
}
