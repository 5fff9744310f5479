/**
 * Runs effects that wait, without guessing how long they wait. For use under a `TestClock`.
 *
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { Options } from "perdure"

/**
 * @since 0.1.0
 * @category models
 */
export interface Ran<A, E> {
  readonly exit: Exit.Exit<A, E>
  /** The `TestClock`'s time from its start to its end, in milliseconds. */
  readonly elapsed: number
}

/** How often a fiber that is on no timer is looked at before it counts as stuck. Each look gives the event loop three turns. */
const patience = 50

/**
 * Runs an effect to its end and moves the `TestClock` to each time that something waits for, but not past the end, so
 * that a retry with jitter takes just as long as it does. Interrupting it interrupts the effect.
 *
 * An effect that waits for something that no clock brings, such as a socket or a script's `never`, is a defect; so is one
 * that has not ended after `most` of the clock's time, which tells where something else sleeps for ever.
 *
 * @param most how long it may take on the `TestClock`
 * @default most 30 days
 *
 * @since 0.1.0
 * @category running
 */
export const run = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  most: Duration.DurationInput = Duration.days(30)
): Effect.Effect<Ran<A, E>, never, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const from = yield* Clock.currentTimeMillis
      const timed = Effect.zipWith(
        Effect.exit(self),
        Clock.currentTimeMillis,
        (exit, to) => ({ exit, elapsed: to - from })
      )
      const fiber = yield* Effect.fork(Effect.interruptible(timed))
      return yield* restore(drive(fiber, from + Duration.toMillis(Options.duration("TestTime.run(most)", most)))).pipe(
        Effect.ensuring(Fiber.interrupt(fiber))
      )
    })
  )

const drive = <A>(fiber: Fiber.RuntimeFiber<A>, latest: number): Effect.Effect<A> => {
  const turn = (idle: number): Effect.Effect<A> =>
    Effect.gen(function*() {
      // Moving by nothing lets every fiber run until it waits.
      yield* TestClock.adjust(0)
      const ended = yield* fiber.poll
      if (Option.isSome(ended)) return yield* ended.value
      const sleeps = yield* TestClock.sleeps()
      if (Chunk.isNonEmpty(sleeps)) {
        const next = Math.min(...sleeps)
        if (next > latest) {
          return yield* Effect.dieMessage("TestTime.run: the effect has not ended after the most time it may take")
        }
        yield* TestClock.setTime(next)
        return yield* turn(0)
      }
      return idle < patience
        ? yield* turn(idle + 1)
        : yield* Effect.dieMessage("TestTime.run: the effect waits for something that no clock brings")
    })
  return turn(0)
}
