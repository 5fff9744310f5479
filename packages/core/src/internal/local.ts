/** What a fiber works for, to be read and changed in one step. */
import type * as Fiber from "effect/Fiber"
import type * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import type { LlmError } from "../LlmError.ts"
import type { Ambient } from "./budget.ts"
import type { Call } from "./call.ts"
import type { Deadline } from "./deadline.ts"
import type { Limit } from "./limit.ts"
import type { GivenUp } from "./spent.ts"

/**
 * A fiber's own values. Setting a `FiberRef` copies all that the fiber has; so one reference holds this, set once in the
 * life of a fiber, and a child begins with a copy of its parent's. Who changes a value restores it when it leaves.
 */
export class Local {
  /** The only fiber that may change it. Not the fiber itself: the runtime keeps these values longer than it. */
  owner: FiberId.FiberId | undefined
  call: Call | undefined
  /** When the time of what it does is up. */
  deadline: Deadline | undefined
  /** The innermost limit of its time. */
  limit: Limit | undefined
  /** The label of the key that it is asked with. */
  key: string | undefined
  /** Whether it is a try beside another. */
  hedge: boolean
  /** Which of several tries side by side it is. */
  branch: Branch | undefined
  /** The budgets that hold for it, the innermost first. */
  budget: Ambient | undefined
  /** Whether another target of a fallback around it would take over after a failure. */
  elsewhere: ((failure: LlmError) => boolean) | undefined
  /** The one call that an open circuit is to let through, as there is nobody else to ask. */
  lastResort: LastResort | undefined
  /** What a retry has given up on and could not mark. */
  givenUp: GivenUp | undefined

  constructor(owner: FiberId.FiberId | undefined, from: Local | undefined) {
    this.owner = owner
    this.call = from?.call
    this.deadline = from?.deadline
    this.limit = undefined
    this.key = from?.key
    this.hedge = from?.hedge ?? false
    this.branch = from?.branch
    this.budget = from?.budget
    this.elsewhere = from?.elsewhere
    this.lastResort = from?.lastResort
    this.givenUp = undefined
  }
}

/** A circuit that is to admit one call although it is open. */
export interface LastResort {
  /** The name of the circuit, as `CircuitOpen` has it. */
  readonly circuit: string
  /** Set by the breaker that lets the call through, so that a retry of it is not let through as well. */
  used: boolean
}

/** One of several tries side by side, and what it is part of. */
export interface Branch {
  readonly parent: Branch | undefined
}

/** Whether a branch is another one, or part of it. */
export const isWithin = (branch: Branch | undefined, whole: Branch | undefined): boolean => {
  if (whole === undefined) return true
  for (let one = branch; one !== undefined; one = one.parent) if (one === whole) return true
  return false
}

const nothing = new Local(undefined, undefined)

const ref: FiberRef.FiberRef<Local> = globalValue(
  Symbol.for("perdure/Local"),
  () =>
    FiberRef.unsafeMake(nothing, {
      fork: (parent) => parent === nothing ? nothing : new Local(undefined, parent),
      join: (parent) => parent
    })
)

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

/** For reading. */
export const localOf = (fiber: AnyFiber): Local => fiber.getFiberRef(ref)

/** The values that a fiber may change. Once in its life it is given its own for that. */
export const claimed = (fiber: AnyFiber): Local => {
  const local = fiber.getFiberRef(ref)
  if (local.owner === fiber.id()) return local
  if (local.owner === undefined && local !== nothing) {
    local.owner = fiber.id()
    return local
  }
  // There is none yet but the global one, or it is that of a fiber whose references this one was started with.
  const own = new Local(fiber.id(), local)
  settable(fiber).setFiberRef(ref, own)
  return own
}

/** What `FiberRef.set` calls, which as an effect costs three turns of the runtime: as much as all policies of a call. */
const settable = (fiber: AnyFiber) => fiber as unknown as { setFiberRef<A>(ref: FiberRef.FiberRef<A>, value: A): void }
