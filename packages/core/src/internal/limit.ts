/** A time limit on an effect. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import { clockOf } from "./call.ts"
import type { AnyFiber, Leave } from "./gate.ts"
import { OpenedStream } from "./opened.ts"
import { after } from "./timer.ts"

/**
 * Interrupts what takes longer than so many milliseconds. It fails, once all has let go, with what `expire` gave when the
 * time was up.
 *
 * All runs in the caller's own fiber, and a timer interrupts that: racing it against a sleep, as `Effect.timeout` does,
 * forks two fibers and costs ten times as much. Only where the fiber has children already is it raced, as an interruption
 * is told to all children of a fiber.
 */
export const limit = (fiber: AnyFiber, millis: number, expire: () => unknown): Leave =>
  hasNoChildren(fiber) ? inPlace(fiber, millis, expire) : Object.assign((exit: AnyExit) => exit, {
    apart: <A, E, R>(inner: Effect.Effect<A, E, R>) => raced(inner, millis, expire as () => E)
  })

type AnyExit = Exit.Exit<any, any>

/** The field is not public; where it is missing some day, every fiber is taken to have children. */
const hasNoChildren = (fiber: AnyFiber): boolean => {
  const { _children: children } = fiber as unknown as { readonly _children?: ReadonlySet<unknown> | null }
  return children === null || children?.size === 0
}

let count = 0

const inPlace = (fiber: AnyFiber, millis: number, expire: () => unknown): Leave => {
  /** Who interrupts, so that this interruption is told from all others. */
  let us: FiberId.FiberId | undefined
  let failure: unknown
  const cancel = after(clockOf(fiber), millis, () => {
    us = FiberId.make(--count, 0)
    if (!isLeaving(fiber)) failure = expire()
    ours.add(us)
    fiber.unsafeInterruptAsFork(us)
  })
  return (exit) => {
    cancel()
    return us === undefined ? exit : overrun(fiber, us, exit, () => failure ?? expire())
  }
}

/** What becomes of the end, when the time was up before it. */
const overrun = (
  fiber: AnyFiber,
  us: FiberId.FiberId,
  exit: AnyExit,
  failure: () => unknown
): Effect.Effect<never, unknown> => {
  ours.delete(us)
  const others = without(fiber.getFiberRef(FiberRef.interruptedCause), us)
  return Effect.zipRight(
    FiberRef.set(FiberRef.interruptedCause, others),
    Cause.isEmpty(others) ? Effect.suspend(() => instead(exit, failure())) : Effect.failCause(others)
  )
}

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
