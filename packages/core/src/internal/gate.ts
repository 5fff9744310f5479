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
 * waits in it goes through `restore`, and lets go of what it has when it is interrupted. An effect that is an `Exit` takes
 * no turn of the runtime.
 */
export type Gate = (fiber: AnyFiber, subject: Subject | undefined, restore: Restore) => Effect.Effect<Leave, any>

/** For a gate that has nothing to do afterwards. */
export const stay: Effect.Effect<Leave> = Exit.succeed((exit) => exit)

/** A leave that tells how the attempt really ended: a stream not with its opening but with its end. */
export const settling = (tell: Tell): Leave => (exit) => {
  const { value } = exit as { readonly value?: unknown }
  if (value instanceof OpenedStream) return Effect.zipRight(value.onEnd(tell), exit)
  const told = tell(endedOf(exit))
  return Exit.isExit(told) ? exit : Effect.zipRight(told, exit)
}

/** Passes the gates, the outermost first, runs the effect, and leaves them in reverse. */
export const through = <A, E, R>(
  gates: ReadonlyArray<Gate>,
  self: Effect.Effect<A, E, R>,
  subject: Subject | undefined
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime<A, E, R>((fiber) => {
    const claiming = claim(fiber)
    const passed = pass(gates, self, subject, fiber)
    return claiming === undefined ? passed : Effect.zipRight(claiming, passed)
  })

const pass = <A, E, R>(
  gates: ReadonlyArray<Gate>,
  self: Effect.Effect<A, E, R>,
  subject: Subject | undefined,
  fiber: AnyFiber
): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) => {
    const leaves: Array<Leave> = []
    for (let i = 0; i < gates.length; i++) {
      const entered = gates[i]!(fiber, subject, restore)
      if (!isSuccess(entered)) return slowly(i, entered, { gates, self, subject, fiber, restore, leaves })
      const leave = entered.value
      leaves.push(leave)
      if (leave.apart !== undefined) {
        return run(leave.apart(through(gates.slice(i + 1), self, subject)), restore, leaves)
      }
    }
    return run(self, restore, leaves)
  })

interface Passing<A, E, R> {
  readonly gates: ReadonlyArray<Gate>
  readonly self: Effect.Effect<A, E, R>
  readonly subject: Subject | undefined
  readonly fiber: AnyFiber
  readonly restore: Restore
  readonly leaves: Array<Leave>
}

/** From a gate on that takes its time, or refuses. */
const slowly = <A, E, R>(
  at: number,
  entering: Effect.Effect<Leave, any>,
  passing: Passing<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.matchCauseEffect(entering, {
    onFailure: (cause) => leaveAll(passing.leaves, passing.leaves.length - 1, Exit.failCause(cause)),
    onSuccess: (leave) => {
      const { fiber, gates, leaves, restore, self, subject } = passing
      leaves.push(leave)
      if (leave.apart !== undefined) {
        return run(leave.apart(through(gates.slice(at + 1), self, subject)), restore, leaves)
      }
      const next = gates[at + 1]
      return next === undefined
        ? run(self, restore, leaves)
        : slowly(at + 1, next(fiber, subject, restore), passing)
    }
  })

const run = <A, E, R>(self: Effect.Effect<A, E, R>, restore: Restore, leaves: ReadonlyArray<Leave>) =>
  Effect.matchCauseEffect(restore(self), {
    onFailure: (cause): Effect.Effect<A, E> => leaveAll(leaves, leaves.length - 1, Exit.failCause(cause)),
    onSuccess: (value): Effect.Effect<A, E> => leaveAll(leaves, leaves.length - 1, Exit.succeed(value))
  })

const leaveAll = <A, E>(leaves: ReadonlyArray<Leave>, from: number, end: Exit.Exit<A, E>): Effect.Effect<A, E> => {
  let exit = end
  for (let i = from; i >= 0; i--) {
    const left = leaves[i]!(exit) as Effect.Effect<A, E>
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

const isSuccess = <A, E>(effect: Effect.Effect<A, E>): effect is Exit.Success<A, E> & Effect.Effect<A, E> =>
  Exit.isExit(effect) && Exit.isSuccess(effect)
