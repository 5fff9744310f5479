/** Waiting no longer than a limit. Under the clock that programs run with, that takes a timer and no fiber. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"

const live: Clock.Clock & { readonly scheduler?: () => Effect.Effect<Clock.ClockScheduler> } = Context.get(
  DefaultServices.liveServices,
  Clock.Clock
)

/** The live clock has a scheduler, though its type does not say so; without one, `sleep` does the same at a higher price. */
const scheduler = live.scheduler === undefined ? undefined : Effect.runSync(live.scheduler())

/** Does something when so much time has passed on a clock. Gives what prevents it. */
export const after = (clock: Clock.Clock, duration: Duration.Duration, task: () => void): () => void => {
  if (clock === live && scheduler !== undefined) return scheduler.unsafeSchedule(task, duration)
  const fiber = Effect.runFork(clock.sleep(duration))
  fiber.addObserver((exit) => {
    if (Exit.isSuccess(exit)) task()
  })
  return () => fiber.unsafeInterruptAsFork(FiberId.none)
}

/**
 * Runs an effect on a fiber of its own, no longer than it may take: then it is interrupted, and what it holds is let go
 * before the failure. `Effect.timeoutFail` would do, with two fibers and a race.
 *
 * @param context what the effect finds, from what is there
 */
export const within = <A, E, R, E2>(
  effect: Effect.Effect<A, E, R>,
  context: (own: Context.Context<never>) => Context.Context<R>,
  limit: Duration.Duration,
  onTimeout: () => E2
): Effect.Effect<A, E | E2> =>
  Effect.withFiberRuntime((parent, { runtimeFlags }) =>
    Effect.async((resume) => {
      const runtime = Runtime.make({
        context: context(parent.currentContext),
        fiberRefs: parent.getFiberRefs(),
        runtimeFlags
      })
      const fiber = Runtime.runFork(runtime, effect)
      const cancel = after(Context.get(parent.currentDefaultServices, Clock.Clock), limit, () => {
        fiber.unsafeInterruptAsFork(parent.id())
        resume(Effect.zipRight(Fiber.await(fiber), Effect.failSync(onTimeout)))
      })
      fiber.addObserver((exit) => {
        cancel()
        resume(exit)
      })
      return Effect.suspend(() => {
        cancel()
        return Fiber.interrupt(fiber)
      })
    })
  )
