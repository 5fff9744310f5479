/**
 * What policies are: something that is entered before an attempt and left after it. Gates that stand one behind the other
 * are passed in one uninterruptible region, since such a region costs more than what most gates do in it.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Option from "effect/Option"
import type { Subject } from "../Policy.ts"
import { clockOf } from "./clock.ts"
import * as Eager from "./eager.ts"
import { claimed, type Local } from "./local.ts"
import { endedOf, OpenedStream, type Tell } from "./opened.ts"

export type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

type AnyExit = Exit.Exit<any, any>

export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Who leaves. */
export interface Leaving {
  readonly fiber: AnyFiber
  /** The fiber's own values; who changes one restores it when it leaves. */
  readonly local: Local
  /** What waits goes through it, so that it can be interrupted. */
  readonly restore: Restore
  /** The fiber's `Clock`, and the time on it. */
  readonly clock: Clock.Clock
  readonly now: number
}

/** Who passes. */
export interface Passing extends Leaving {
  readonly subject: Subject | undefined
}

/** Sees how the effect behind the gate ended, and gives that end, or another one, or another go ({@link Again}). */
export interface Leave {
  (exit: AnyExit, leaving: Leaving): Effect.Effect<any, any, any>
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
  return told === Exit.void ? exit : Eager.flatMap(told, () => exit)
}

/**
 * Passes the gates, the outermost first, runs the effect, and leaves the gates in reverse. Where the effect begins with
 * gates itself, all are passed together.
 */
export const through = <A, E, R>(
  gates: ReadonlyArray<Gate>,
  self: Effect.Effect<A, E, R>,
  subject: Subject | undefined
): Effect.Effect<A, E, R> => {
  const way = new Way(gates, self, subject)
  const passing = Effect.uninterruptibleMask<A, E, R>((restore) => {
    // There always is one, as it runs this.
    const { value: fiber } = Fiber.getCurrentFiber() as Option.Some<AnyFiber>
    return new Passage(way, fiber, claimed(fiber), restore).enter()
  })
  return Object.assign(passing, { [WayId]: way })
}

const WayId = Symbol("perdure/gate/Way")

/** What is the same each time that it is run. */
class Way<A, E, R> {
  readonly gates: ReadonlyArray<Gate>
  readonly self: Effect.Effect<A, E, R>
  readonly subject: Subject | undefined
  /** The gates that the effect begins with. */
  readonly inner: Way<A, E, R> | undefined
  /** How many gates there are in all. */
  readonly size: number
  private interruptible: Effect.Effect<A, E, R> | undefined

  constructor(gates: ReadonlyArray<Gate>, self: Effect.Effect<A, E, R>, subject: Subject | undefined) {
    this.gates = gates
    this.self = self
    this.subject = subject
    this.inner = (self as { readonly [WayId]?: Way<A, E, R> })[WayId]
    this.size = gates.length + (this.inner?.size ?? 0)
    this.interruptible = undefined
  }

  /** The effect behind all gates. */
  restored(restore: Restore): Effect.Effect<A, E, R> {
    if (this.inner !== undefined) return this.inner.restored(restore)
    return restore === Effect.interruptible ? this.interruptible ??= restore(this.self) : restore(this.self)
  }
}

class Passage<A, E, R> implements Passing {
  readonly fiber: AnyFiber
  readonly local: Local
  readonly restore: Restore
  readonly clock: Clock.Clock
  subject: Subject | undefined
  private readonly way: Way<A, E, R>
  /** Of each gate that was entered, how it is left. */
  private readonly leaves: Array<Leave>
  private depth: number
  /** The time, while nothing can have come in between. */
  private time: number

  constructor(way: Way<A, E, R>, fiber: AnyFiber, local: Local, restore: Restore) {
    this.fiber = fiber
    this.local = local
    this.restore = restore
    this.clock = clockOf(fiber)
    this.subject = undefined
    this.way = way
    // eslint-disable-next-line unicorn/no-new-array -- one that grows is made larger than need be
    this.leaves = new Array(way.size)
    this.depth = 0
    this.time = never
  }

  get now(): number {
    if (this.time === never) this.time = this.clock.unsafeCurrentTimeMillis()
    return this.time
  }

  /** Passes the gates that are left, and runs the effect. */
  enter(): Effect.Effect<A, E, R> {
    this.time = never
    let first = 0
    for (let way: Way<A, E, R> | undefined = this.way; way !== undefined; way = way.inner) {
      const { gates, subject } = way
      this.subject = subject
      for (let at = this.depth - first; at < gates.length; at++) {
        const entered = this.entered(gates[at]!)
        // It takes its time, or refuses.
        if (typeof entered !== "function") return this.after(entered, (leave: Leave) => this.push(leave))
        this.leaves[this.depth++] = entered
        if (entered.apart !== undefined) return this.apart(entered.apart)
      }
      first += gates.length
    }
    return this.run(this.way.restored(this.restore))
  }

  private push(leave: Leave): Effect.Effect<A, E, R> {
    this.leaves[this.depth++] = leave
    return leave.apart === undefined ? this.enter() : this.apart(leave.apart)
  }

  /** Runs what is behind the gates that were entered. */
  private apart(apart: NonNullable<Leave["apart"]>): Effect.Effect<A, E, R> {
    let { way } = this
    let at = this.depth
    while (at > way.gates.length && way.inner !== undefined) {
      at -= way.gates.length
      way = way.inner
    }
    const { gates, self, subject } = way
    return this.run(this.restore(apart(at === gates.length ? self : through(gates.slice(at), self, subject))))
  }

  private run(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return this.depth === 0 ? self : this.after(self, (value: A) => this.leave(Exit.succeed(value)))
  }

  /** Leaves the gates that were entered. */
  private leave(end: AnyExit): Effect.Effect<A, E, R> {
    this.time = never
    let exit = end
    while (this.depth > 0) {
      const left = this.left(this.leaves[--this.depth]!, exit)
      // Most leave the end as it is, and finding out what an effect is costs more than that.
      if (left === exit) continue
      if (!Exit.isExit(left)) {
        return this.after(
          left,
          (value) => value instanceof Again ? this.push(value.leave) : this.leave(Exit.succeed(value))
        )
      }
      if (Exit.isSuccess(left) && left.value instanceof Again) return this.push(left.value.leave)
      exit = left
    }
    return exit
  }

  private after<B>(
    effect: Effect.Effect<B, any, any>,
    onSuccess: (value: B) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> {
    return Effect.matchCauseEffect(effect, {
      onSuccess,
      onFailure: (cause) => this.leave(Exit.failCause(cause))
    })
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

/** No time. */
const never = -Infinity
