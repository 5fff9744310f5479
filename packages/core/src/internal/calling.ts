/** Running effects as calls, and putting the calls inside an effect into one receipt. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as LlmError from "../LlmError.ts"
import { LlmResponse } from "../LlmResponse.ts"
import type { Receipt, Target } from "../Receipt.ts"
import { Call, liveIn } from "./call.ts"
import { copy } from "./copy.ts"
import { answeredEnd, endOf } from "./ending.ts"
import { type AnyFiber, type Gate, type Leave, type Leaving, type Passing, through } from "./gate.ts"
import type { End } from "./logs.ts"
import { forget, marked, markedExit } from "./spent.ts"
import { reporting } from "./teller.ts"

const start = (passing: Passing, kind: "call" | "track", requested: Target | undefined): Call => {
  const call = new Call(passing, kind, requested, liveIn(passing.local))
  forget(passing.local)
  if (call.told && call.watched) call.emit({ _tag: "Started", at: call.startedAt, requested })
  return call
}

/** With the log line of an ended call before it, where there is one to write. */
const logged = <A, E, R>(
  call: Call,
  fiber: AnyFiber,
  end: End,
  receipt: Receipt,
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const { levels, number, told } = call
  const line = told && levels !== undefined ? reporting()?.logs.line(fiber, levels, end, receipt, number) : undefined
  return line === undefined ? self : Effect.zipRight(line, self)
}

/** The log line of an ended call, for the fiber that runs this. */
export const log = (call: Call, end: End, receipt: Receipt): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) => logged(call, fiber, end, receipt, Effect.void))

/** Puts a receipt on a failure that can carry one. */
export const stamp = <E>(error: E, receipt: Receipt): E =>
  LlmError.is(error) ? LlmError.update(error, { receipt }) : error

/**
 * Runs an effect as a call, inside what the fiber works for already, if anything: its attempts belong to both. A failure
 * ends the call and carries its receipt; what a success means for the call is up to `onSuccess`.
 */
export const inCall = <A, E, R, R2>(
  self: Effect.Effect<A, E, R>,
  requested: Target | undefined,
  onSuccess: (value: A, call: Call, leaving: Leaving) => Effect.Effect<A, never, R2>
): Effect.Effect<A, E, R | R2> => {
  const gate: Gate = (passing) => {
    const { local } = passing
    const call = start(passing, "call", requested)
    const before = local.call
    local.call = call
    const leave: Leave = (exit, leaving) => {
      local.call = before
      if (Exit.isSuccess(exit)) return onSuccess(exit.value, call, leaving)
      const { fiber, now } = leaving
      const end = endOf(exit.cause)
      const receipt = call.close(now, end)
      const stamped = Cause.map(exit.cause, (error) => stamp(marked(local, error), receipt))
      return logged(call, fiber, end, receipt, Exit.failCause(stamped))
    }
    const { own } = call
    return own === undefined ? leave : Object.assign(leave, { apart: own.within })
  }
  return through<A, E, R | R2>([gate], self, undefined)
}

/** Runs an effect as a call that ends with it: the receipt goes on the `LlmResponse` or the `LlmError`. */
export const called = <E, R>(
  self: Effect.Effect<LlmResponse, E, R>,
  requested: Target | undefined
): Effect.Effect<LlmResponse, E, R> =>
  inCall(self, requested, (value, call, { fiber, now }) => {
    const receipt = call.close(now, answeredEnd)
    const answer = Exit.succeed(value instanceof LlmResponse ? copy(value, { receipt }) : value)
    return logged(call, fiber, answeredEnd, receipt, answer)
  })

/** Runs an effect on behalf of a call that was begun before. */
export const on = <A, E, R>(call: Call, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  through(
    [({ local }) => {
      const before = local.call
      local.call = call
      return Exit.succeed((exit) => {
        local.call = before
        return exit
      })
    }],
    call.own === undefined ? self : call.own.within(self),
    undefined
  )

/** Gives all calls made inside an effect one receipt. Where there is a call or a track around it, that one does. */
export const track: Gate = (passing) => {
  const { local } = passing
  if (liveIn(local) !== undefined) {
    forget(local)
    return mark
  }
  // What is there has ended, so nobody misses it.
  local.call = start(passing, "track", undefined)
  return untrack
}

const mark: Leave = (exit, { local }) => markedExit(local, exit)

const untrack: Leave = (exit, leaving) => {
  const { call } = leaving.local
  leaving.local.call = undefined
  return call === undefined ? exit : tracked(exit, call, leaving)
}

/** The end of what was tracked, with the receipt where there is a place for it. */
const tracked = (exit: Exit.Exit<any, any>, call: Call, leaving: Leaving): Exit.Exit<any, any> => {
  call.ended = true
  if (Exit.isSuccess(exit)) {
    return exit.value instanceof LlmResponse
      ? Exit.succeed(copy(exit.value, { receipt: call.receipt(leaving.now, answeredEnd) }))
      : exit
  }
  const receipt = () => call.receipt(leaving.now, endOf(exit.cause))
  return Exit.failCause(
    Cause.map(exit.cause, (error) => LlmError.is(error) ? stamp(marked(leaving.local, error), receipt()) : error)
  )
}
