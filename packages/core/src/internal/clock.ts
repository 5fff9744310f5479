/** The time of a fiber, in one synchronous step. */
import * as Clock from "effect/Clock"
import type * as Fiber from "effect/Fiber"

/** The fiber's `Clock`, without an effect of its own. */
export const clockOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Clock.Clock =>
  // All fibers have one, and the function to get it allocates.
  fiber.currentDefaultServices.unsafeMap.get(Clock.Clock.key)

/** The time on the fiber's `Clock`. */
export const nowOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): number => clockOf(fiber).unsafeCurrentTimeMillis()
