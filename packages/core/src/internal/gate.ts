/**
 * What policies are: something that is entered before an attempt and left after it. Gates that stand one behind the other
 * are passed in one uninterruptible region, since such a region costs more than what most gates do in it.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Option from "effect/Option"
import type { Subject } from "../Policy.ts"
import { claim, claimed, type Local } from "./local.ts"
import { endedOf, OpenedStream, type Tell } from "./opened.ts"

export type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

type AnyExit = Exit.Exit<any, any>

export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Who passes. */
export interface Passing {
  readonly fiber: AnyFiber
  /** The fiber's own values; who changes one restores it when it leaves. */
  readonly local: Local
  readonly subject: Subject | undefined
  /** What waits goes through it, so that it can be interrupted. */
  readonly restore: Restore
}

/** Sees how the effect behind the gate ended, and gives that end, or another one, or another go ({@link Again}). */
export interface Leave {
  (exit: AnyExit, passing: Passing): Effect.Effect<any, any, any>
  /** Runs everything behind the gate in a way of its own. */
  readonly apart?: <A, E, R>(inner: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/**
 * Enters, or fails with a refusal. It runs uninterruptibly, so that nothing is lost between entering and leaving; what
 * waits in it goes through `restore`, and lets go of what it has when it is interrupted. What needs no effect to enter
 * gives its leave at once, which takes no turn of the runtime.
 */
export type Gate = (passing: Passing) => Leave | Effect.Effect<Leave, any>

/** What a leave's effect gives for everything behind the gate to be run once more; it is left by another leave then. */
export class Again {
  readonly leave: Leave

  constructor(leave: Leave) {
    this.leave = leave
  }
}

/** For a gate that has nothing to do afterwards. */
export const stay: Leave = (exit) => exit

/** A leave that tells how the attempt really ended: a stream not with its opening but with its end. */
export const settling = (tell: Tell) => (exit: AnyExit): Effect.Effect<any, any> => {
  const { value } = exit as { readonly value?: unknown }
  if (value instanceof OpenedStream) return Effect.zipRight(value.onEnd(tell), exit)
  const told = tell(endedOf(exit))
  return told === Exit.void || Exit.isExit(told) ? exit : Effect.zipRight(told, exit)
}

/** Passes the gates, the outermost first, runs the effect, and leaves the gates in reverse. */
export const through = <A, E, R>(
  gates: ReadonlyArray<Gate>,
  self: Effect.Effect<A, E, R>,
  subject: Subject | undefined
): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) => {
    // There always is one, as it runs this.
    const { value: fiber } = Fiber.getCurrentFiber() as Option.Some<AnyFiber>
    const begin = (local: Local) => new Passage(gates, self, subject, fiber, local, restore).enter()
    const local = claimed(fiber)
    return local === undefined ? Effect.flatMap(claim(fiber), begin) : begin(local)
  })

class Passage<A, E, R> implements Passing {
  readonly fiber: AnyFiber
  readonly local: Local
  readonly subject: Subject | undefined
  readonly restore: Restore
  private readonly gates: ReadonlyArray<Gate>
  private readonly self: Effect.Effect<A, E, R>
  /** Of each gate that was entered, how it is left. */
  private readonly leaves: Array<Leave>
  private depth = 0

  constructor(
    gates: ReadonlyArray<Gate>,
    self: Effect.Effect<A, E, R>,
    subject: Subject | undefined,
    fiber: AnyFiber,
    local: Local,
    restore: Restore
  ) {
    this.gates = gates
    this.self = self
    this.subject = subject
    this.fiber = fiber
    this.local = local
    this.restore = restore
    this.leaves = new Array(gates.length)
  }

  /** Passes the gates that are left, and runs the effect. */
  enter(): Effect.Effect<A, E, R> {
    const { gates, leaves } = this
    while (this.depth < gates.length) {
      const entered = this.entered(gates[this.depth]!)
      // It takes its time, or refuses.
      if (typeof entered !== "function") return Effect.matchCauseEffect(entered, this.then((leave) => this.push(leave)))
      leaves[this.depth++] = entered
      if (entered.apart !== undefined) return this.apart(entered.apart)
    }
    return this.run(this.self)
  }

  private push(leave: Leave): Effect.Effect<A, E, R> {
    this.leaves[this.depth++] = leave
    return leave.apart === undefined ? this.enter() : this.apart(leave.apart)
  }

  private apart(way: NonNullable<Leave["apart"]>): Effect.Effect<A, E, R> {
    const inner = this.gates.slice(this.depth)
    return this.run(way(inner.length === 0 ? this.self : through(inner, this.self, this.subject)))
  }

  private run(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return this.depth === 0
      ? this.restore(self)
      : Effect.matchCauseEffect(this.restore(self), this.then((value) => this.leave(Exit.succeed(value))))
  }

  /** Leaves the gates that were entered. */
  private leave(end: AnyExit): Effect.Effect<A, E, R> {
    let exit = end
    while (this.depth > 0) {
      const left = this.left(this.leaves[--this.depth]!, exit)
      // Most leave the end as it is, and finding out what an effect is costs more than that.
      if (left === exit) continue
      if (!Exit.isExit(left)) {
        return Effect.matchCauseEffect(
          left,
          this.then((value) => value instanceof Again ? this.push(value.leave) : this.leave(Exit.succeed(value)))
        )
      }
      exit = left
    }
    return exit
  }

  private then<B>(onSuccess: (value: B) => Effect.Effect<A, E, R>) {
    return { onSuccess, onFailure: (cause: Cause.Cause<any>) => this.leave(Exit.failCause(cause)) }
  }

  /** A gate may run functions of the caller's. One that throws is a defect, and the gates before it are left all the same. */
  private entered(gate: Gate): ReturnType<Gate> {
    try {
      return gate(this)
    } catch (defect) {
      return Exit.die(defect)
    }
  }

  private left(leave: Leave, exit: AnyExit): ReturnType<Leave> {
    try {
      return leave(exit, this)
    } catch (defect) {
      return Exit.die(defect)
    }
  }
}
