/** How long a circuit stays open, by a schedule: one step of it for each time that the circuit opens. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"

/** A schedule that has been stepped for some openings. */
export interface Driver {
  readonly openings: number
  readonly state: unknown
  /** What it said last, in milliseconds. */
  readonly delay: number
}

/** What holds for a schedule that ends before it has said anything. */
const unsaid = Duration.toMillis(Duration.seconds(30))

/** The most steps that are made up for, when the openings before were counted by another process: then it has settled. */
const most = 1000

/**
 * The driver for the given number of openings, from the one before it or, where that is not at hand, from the beginning:
 * the number is what circuits remember, since the state of a schedule is not data.
 */
export const next = (
  schedule: Schedule.Schedule<unknown, number>,
  before: Driver | undefined,
  openings: number,
  now: number
): Effect.Effect<Driver> => {
  const beginning = { openings: Math.max(0, openings - most), state: schedule.initial, delay: unsaid }
  const advance = (driver: Driver): Effect.Effect<Driver> =>
    driver.openings >= openings
      ? Effect.succeed(driver)
      : Effect.flatMap(schedule.step(now, driver.openings + 1, driver.state), ([state, _, decision]) =>
        advance({
          openings: driver.openings + 1,
          state,
          delay: ScheduleDecision.isDone(decision)
            ? driver.delay
            : Math.max(0, ScheduleIntervals.start(decision.intervals) - now)
        }))
  // One that throws must not keep the circuit from opening.
  return Effect.catchAllCause(
    advance(before === undefined || before.openings > openings ? beginning : before),
    (cause) =>
      Effect.as(Effect.logWarning("the schedule of a circuit breaker's openDuration failed", cause), {
        ...beginning,
        openings
      })
  )
}
