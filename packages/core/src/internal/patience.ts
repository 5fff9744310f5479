/** The time limits of a stream: until its first output, and between outputs. */
import type * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
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

type Pull = Effect.Effect<Chunk.Chunk<StreamPart>, Option.Option<LlmError>>

/**
 * Fails a pull when output is too long in coming. Only the time in which the reader waits counts, so a slow reader is
 * nobody's fault; and only what `isFood` says is output feeds the timers, so pings and usage do not.
 *
 * One watcher fiber serves the whole stream. Racing each pull against a timer of its own would cost more than decoding
 * what it brings.
 */
export const watched = (
  pull: Pull,
  limits: Limits,
  target: Target,
  isFood: (chunk: Chunk.Chunk<StreamPart>) => boolean
): Effect.Effect<Pull, never, Scope.Scope> => {
  if (limits.firstOutput === undefined && limits.idle === undefined) return Effect.succeed(pull)
  return Effect.gen(function*() {
    const scope = yield* Effect.scope
    const clock = yield* Effect.clock
    let phase: TimeoutPhase = "firstOutput"
    let limit = limits.firstOutput
    /** The time waited since the last output, without the wait that goes on. */
    let waited = 0
    let waiting: {
      readonly since: number
      readonly done: Deferred.Deferred<Chunk.Chunk<StreamPart>, Option.Option<LlmError>>
    } | undefined

    /** How long until the limit is passed; undefined while nobody waits. */
    const left = (): number | undefined =>
      waiting === undefined || limit === undefined
        ? undefined
        : Duration.toMillis(limit) - waited - (clock.unsafeCurrentTimeMillis() - waiting.since)

    const expire = (done: NonNullable<typeof waiting>["done"]) =>
      Deferred.fail(done, Option.some(new TimedOut({ ...target, phase, ...(limit === undefined ? {} : { limit }) })))

    // While nobody waits it looks again after a whole limit, which is early enough for a wait that begins meanwhile.
    const shortest = Math.min(
      ...[limits.firstOutput, limits.idle].flatMap((one) => one === undefined ? [] : [Duration.toMillis(one)])
    )
    const watch: Effect.Effect<void> = Effect.suspend(() => {
      const rest = left()
      if (rest !== undefined && rest <= 0 && waiting !== undefined) return Effect.asVoid(expire(waiting.done))
      return Effect.zipRight(Effect.sleep(Math.min(rest ?? shortest, shortest)), watch)
    })
    yield* Effect.forkIn(watch, scope)

    return Effect.suspend(() => {
      const done = Deferred.unsafeMake<Chunk.Chunk<StreamPart>, Option.Option<LlmError>>(FiberId.none)
      waiting = { since: clock.unsafeCurrentTimeMillis(), done }
      return Effect.zipRight(Effect.forkIn(Deferred.complete(done, pull), scope), Deferred.await(done)).pipe(
        Effect.tap((chunk) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            if (isFood(chunk)) {
              phase = "idle"
              limit = limits.idle
              waited = 0
            } else if (waiting !== undefined) {
              waited += now - waiting.since
            }
            waiting = undefined
          })
        )
      )
    })
  })
}
