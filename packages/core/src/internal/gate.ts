/**
 * What most policies are: something that is entered before an attempt and left after it. Gates that stand one behind the
 * other are passed in one uninterruptible region, since such a region costs more than what most gates do in it.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Subject } from "../Policy.ts"
import { claim } from "./local.ts"
import { endedOf, OpenedStream, type Tell } from "./opened.ts"

export type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Sees how the effect behind the gate ended, and gives that end, or another one. */
export interface Leave {
  (exit: Exit.Exit<any, any>): Effect.Effect<any, any, any>
  /** Runs everything behind the gate in a way of its own. */
  readonly apart?: <A, E, R>(inner: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/**
 * Enters, or fails with a refusal. It runs uninterruptibly, so that nothing is lost between entering and leaving; what
 * waits in it goes through `restore`, and lets go of what it has when it is interrupted. What needs no effect to enter
 * gives its leave at once, which takes no turn of the runtime.
 */
export type Gate = (
  fiber: AnyFiber,
  subject: Subject | undefined,
  restore: Restore
) => Leave | Effect.Effect<Leave, any>

/** For a gate that has nothing to do afterwards. */
export const stay: Leave = (exit) => exit

/** A leave that tells how the attempt really ended: a stream not with its opening but with its end. */
export const settling = (tell: Tell): Leave => (exit) => {
  const { value } = exit as { readonly value?: unknown }
  if (value instanceof OpenedStream) return Effect.zipRight(value.onEnd(tell), exit)
  const told = tell(endedOf(exit))
  return told === Exit.void || Exit.isExit(told) ? exit : Effect.zipRight(told, exit)
}

/** What runs that which is behind it more than once. It runs uninterruptibly too; what waits in it goes through `restore`. */
export interface Loop {
  readonly loop: <A, E, R>(inner: Effect.Effect<A, E, R>, restore: Restore) => Effect.Effect<A, E, R>
}

export type Stage = Gate | Loop

/** Passes the stages, the outermost first, runs the effect, and leaves the gates in reverse. */
export const through = <A, E, R>(
  stages: ReadonlyArray<Stage>,
  self: Effect.Effect<A, E, R>,
  subject: Subject | undefined
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime<A, E, R>((fiber) => {
    const claiming = claim(fiber)
    const passed = Effect.uninterruptibleMask((restore) => from({ stages, self, subject, fiber, restore }, 0))
    return claiming === undefined ? passed : Effect.zipRight(claiming, passed)
  })

interface Passing<A, E, R> {
  readonly stages: ReadonlyArray<Stage>
  readonly self: Effect.Effect<A, E, R>
  readonly subject: Subject | undefined
  readonly fiber: AnyFiber
  readonly restore: Restore
}

/** Passes the stages from one of them on. */
const from = <A, E, R>(passing: Passing<A, E, R>, first: number): Effect.Effect<A, E, R> => {
  const { restore, self, stages } = passing
  const leaves: Array<Leave> = []
  for (let at = first; at < stages.length; at++) {
    const stage = stages[at]!
    if (typeof stage !== "function") {
      return run(stage.loop(Effect.suspend(() => from(passing, at + 1)), restore), leaves)
    }
    const entered = enter(stage, passing)
    if (typeof entered !== "function") {
      // It takes its time, or refuses.
      return Effect.matchCauseEffect(entered, {
        onFailure: (cause): Effect.Effect<A, E> => leaveAll(leaves, leaves.length - 1, Exit.failCause(cause)),
        onSuccess: (leave) => {
          leaves.push(leave)
          return run(leave.apart === undefined ? from(passing, at + 1) : apart(leave.apart, passing, at + 1), leaves)
        }
      })
    }
    leaves.push(entered)
    if (entered.apart !== undefined) return run(apart(entered.apart, passing, at + 1), leaves)
  }
  return run(restore(self), leaves)
}

/** A gate may run functions of the caller's. One that throws is a defect, and the gates before it are left all the same. */
const enter = (gate: Gate, { fiber, restore, subject }: Passing<unknown, unknown, unknown>): ReturnType<Gate> => {
  try {
    return gate(fiber, subject, restore)
  } catch (defect) {
    return Exit.die(defect)
  }
}

const leave = (one: Leave, exit: Exit.Exit<any, any>): ReturnType<Leave> => {
  try {
    return one(exit)
  } catch (defect) {
    return Exit.die(defect)
  }
}

const apart = <A, E, R>(
  way: NonNullable<Leave["apart"]>,
  { restore, self, stages, subject }: Passing<A, E, R>,
  at: number
): Effect.Effect<A, E, R> => restore(way(through(stages.slice(at), self, subject)))

const run = <A, E, R>(self: Effect.Effect<A, E, R>, leaves: ReadonlyArray<Leave>): Effect.Effect<A, E, R> =>
  leaves.length === 0 ? self : Effect.matchCauseEffect(self, {
    onFailure: (cause): Effect.Effect<A, E> => leaveAll(leaves, leaves.length - 1, Exit.failCause(cause)),
    onSuccess: (value): Effect.Effect<A, E> => leaveAll(leaves, leaves.length - 1, Exit.succeed(value))
  })

const leaveAll = <A, E>(leaves: ReadonlyArray<Leave>, from: number, end: Exit.Exit<A, E>): Effect.Effect<A, E> => {
  let exit = end
  for (let i = from; i >= 0; i--) {
    const left = leave(leaves[i]!, exit) as Effect.Effect<A, E>
    // Most leave the end as it is, and finding out what an effect is costs more than that.
    if (left === exit) continue
    if (!Exit.isExit(left)) {
      return i === 0 ? left : Effect.matchCauseEffect(left, {
        onFailure: (cause) => leaveAll<A, E>(leaves, i - 1, Exit.failCause(cause)),
        onSuccess: (value) => leaveAll<A, E>(leaves, i - 1, Exit.succeed(value))
      })
    }
    exit = left as Exit.Exit<A, E>
  }
  return exit
}
