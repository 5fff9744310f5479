/** The end of the time that the current fiber's call has. */
import type * as Duration from "effect/Duration"
import type * as Fiber from "effect/Fiber"
import { type Local, localOf } from "./local.ts"

export interface Deadline {
  /** On the `Clock`, in milliseconds. At this time it is over. */
  readonly at: number
  /** The time that was given. */
  readonly limit: Duration.Duration
  /** Whose it is: that fiber's timer interrupts it, and its children with it. */
  readonly fiber: Fiber.RuntimeFiber<unknown, unknown>
  /** Whether what it was given for has ended; a fiber may outlive that. */
  readonly isOver: boolean
}

/** The deadline of a fiber with these values. */
export const liveIn = ({ deadline }: Local): Deadline | undefined => deadline?.isOver === true ? undefined : deadline

/** The deadline of what the fiber does. */
export const deadlineOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Deadline | undefined => liveIn(localOf(fiber))
