/** A time limit on an effect. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import type { AnyFiber, Leave, Passing } from "./gate.ts"
import type { Local } from "./local.ts"
import { OpenedStream } from "./opened.ts"
import { Alarm } from "./timer.ts"

/**
 * Interrupts what takes longer than so many milliseconds. It fails, once all has let go, with what {@link expire} gave when
 * the time was up.
 *
 * All runs in the caller's own fiber, and a timer interrupts that: racing it against a sleep, as `Effect.timeout` does,
 * forks two fibers and costs ten times as much. Only where the fiber has children already is it raced, as an interruption
 * is told to all children of a fiber.
 */
export abstract class Limit extends Alarm {
  readonly fiber: AnyFiber
  /** Who interrupts, so that this interruption is told from all others. */
  private us: FiberId.FiberId | undefined = undefined
  private failure: unknown = undefined
  private outer: Limit | undefined = undefined

  constructor(fiber: AnyFiber) {
    super()
    this.fiber = fiber
  }

  /** The failure, when the time is up. */
  protected abstract expire(): unknown

  /** Is told first when it is left, in time or not. */
  protected over(): void {}

  /** Begins to count; what it gives ends that. */
  begin({ clock, local }: Passing, millis: number): Leave {
    if (!hasNoChildren(this.fiber)) return this.beside(millis)
    this.outer = local.limit
    local.limit = this
    this.set(clock, millis)
    return leave
  }

  private beside(millis: number): Leave {
    const leave: Leave = (exit) => {
      this.over()
      return exit
    }
    return Object.assign(leave, {
      apart: <A, E, R>(inner: Effect.Effect<A, E, R>) => raced(inner, millis, () => this.expire() as E)
    })
  }

  /** Gives back the fiber's limit around this one. */
  end(exit: AnyExit, local: Local): Effect.Effect<any, any> {
    local.limit = this.outer
    this.over()
    this.cancel()
    return this.us === undefined ? exit : this.overrun(this.us, exit)
  }

  ring(): void {
    const us = FiberId.make(--count, 0)
    this.us = us
    if (!isLeaving(this.fiber)) this.failure = this.expire()
    ours.add(us)
    this.fiber.unsafeInterruptAsFork(us)
  }

  /** What becomes of the end, when the time was up before it. */
  private overrun(us: FiberId.FiberId, exit: AnyExit): Effect.Effect<never, unknown> {
    ours.delete(us)
    const others = without(this.fiber.getFiberRef(FiberRef.interruptedCause), us)
    return Effect.zipRight(
      FiberRef.set(FiberRef.interruptedCause, others),
      Cause.isEmpty(others)
        ? Effect.suspend(() => instead(exit, this.failure ?? this.expire()))
        : Effect.failCause(others)
    )
  }
}

/** The same for all, as it is always the innermost that ends. */
const leave: Leave = (exit, { local }) => local.limit === undefined ? exit : local.limit.end(exit, local)

type AnyExit = Exit.Exit<any, any>

/** The field is not public; where it is missing some day, every fiber is taken to have children. */
const hasNoChildren = (fiber: AnyFiber): boolean => {
  const { _children: children } = fiber as unknown as { readonly _children?: ReadonlySet<unknown> | null }
  return children === null || children?.size === 0
}

let count = 0

/** Fails, where there may be an answer that came too late. Nobody is to read a stream then, so it ends here. */
const instead = <E>(exit: AnyExit, failure: E): Effect.Effect<never, E> => {
  const { value } = exit as { readonly value?: unknown }
  return value instanceof OpenedStream
    ? Effect.zipRight(value.end({ _tag: "Failed", error: failure, usage: value.usage() }), Effect.fail(failure))
    : Effect.fail(failure)
}

/** The interruptions under way that are limits of ours, which say nothing of the caller. */
const ours = new Set<FiberId.FiberId>()

/** Whether the caller is being interrupted for a reason of its own. */
const isLeaving = (fiber: AnyFiber): boolean => {
  const cause = fiber.getFiberRef(FiberRef.interruptedCause)
  return !Cause.isEmpty(cause) && !Cause.isEmpty([...ours].reduce<Cause.Cause<never>>(without, cause))
}

const without = (cause: Cause.Cause<never>, id: FiberId.FiberId): Cause.Cause<never> => {
  const isOther = (one: Cause.Cause<never>): boolean => one._tag !== "Interrupt" || one.fiberId !== id
  return isOther(cause) ? Cause.filter(cause, isOther) : Cause.empty
}

const raced = <A, E, R>(self: Effect.Effect<A, E, R>, millis: number, expire: () => E): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.raceWith(restore(self), Effect.interruptible(Effect.sleep(Duration.millis(millis))), {
      onSelfDone: (exit, timer) => Effect.zipRight(Fiber.interrupt(timer), exit),
      onOtherDone: (_, fiber) =>
        Effect.flatMap(
          Effect.sync(expire),
          (failure) => Effect.flatMap(Fiber.interrupt(fiber), (exit) => instead(exit, failure))
        )
    })
  )
