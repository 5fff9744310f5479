/** A policy from the inside: parts one behind the other, where gates that meet are passed together. */
import type * as Effect from "effect/Effect"
import { pipeArguments } from "effect/Pipeable"
import type { Policy, Step, Subject, TypeId as PolicyTypeId } from "../Policy.ts"
import { type Gate, stay, through } from "./gate.ts"

// Spelled here again, since the public module needs this one first.
const TypeId: PolicyTypeId = Symbol.for("perdure/Policy") as PolicyTypeId

export type Part =
  | {
    readonly _tag: "Gate"
    readonly gate: Gate
    /** The same where no other gate is beside it, for a gate that can do without an uninterruptible region of its own. */
    readonly alone?: Apply | undefined
  }
  /** What runs that which is behind it elsewhere, or is somebody else's function. */
  | { readonly _tag: "Around"; readonly apply: Apply }

export interface Apply {
  <A, E, R>(self: Effect.Effect<A, E, R>, subject: Subject | undefined): Effect.Effect<A, E, R>
}

export const gate = (gate: Gate, alone?: Apply): Part => ({ _tag: "Gate", gate, alone })

export const around = (apply: Apply): Part => ({ _tag: "Around", apply })

const variance = { _In: (_: any) => {}, _Out: (_: never) => _ }

const parts = new WeakMap<object, ReadonlyArray<Part>>()

/** The parts of a policy; of one that is a function of somebody else's, the function. */
export const partsOf = (policy: Policy<never, unknown>): ReadonlyArray<Part> =>
  parts.get(policy) ?? [around(policy as Apply)]

/** A policy from its parts, the outermost first; its steps are read each time, where they may change. */
export const policy = <In, Out>(
  steps: ReadonlyArray<Step> | (() => ReadonlyArray<Step>),
  all: ReadonlyArray<Part>
): Policy<In, Out> => {
  const apply = fuse(all)
  const self: Policy<In, Out> = Object.assign(
    (effect: Effect.Effect<any, any, any>, subject?: Subject) => apply(effect, subject),
    {
      [TypeId]: variance,
      steps: typeof steps === "function" ? [] : steps,
      pipe() {
        // eslint-disable-next-line prefer-rest-params
        return pipeArguments(this, arguments)
      }
    } as const
  )
  if (typeof steps === "function") Object.defineProperty(self, "steps", { get: steps })
  parts.set(self, all)
  return self
}

/** Gates that meet are passed in one region. */
const fuse = (all: ReadonlyArray<Part>): Apply => {
  const applies: Array<Apply> = []
  let met: Array<Exclude<Part, { readonly _tag: "Around" }>> = []
  const flush = () => {
    const [first] = met
    const alone = met.length === 1 ? first?.alone : undefined
    const gates = met.map(({ gate }) => gate)
    met = []
    if (gates.length > 0) applies.push(alone ?? ((self, subject) => through(gates, self, subject)))
  }
  for (const part of all) {
    if (part._tag === "Around") {
      flush()
      applies.push(part.apply)
    } else met.push(part)
  }
  flush()
  const [only] = applies
  if (applies.length === 1 && only !== undefined) return only
  return (self, subject) => applies.reduceRight((inner, apply) => apply(inner, subject), self)
}

/** The policy that is nothing, made of gates as the others. */
export const nothing: Policy = policy([], [])

/** A policy in whose place another can be put while it is at work. */
export interface Replaceable<In, Out> {
  readonly policy: Policy<In, Out>
  readonly replace: (by: Policy<In, Out>) => void
}

/** Whoever is inside already is let out by the one that let it in. What is put in place has no more gates than the first. */
export const replaceable = <In, Out>(first: Policy<In, Out>): Replaceable<In, Out> => {
  let current = first
  let gates = gatesOf(first)
  const places = gates.map((_, at) => gate((passing) => gates[at]?.(passing) ?? stay))
  return {
    policy: policy(() => current.steps, places),
    replace: (by) => {
      const next = gatesOf(by)
      if (next.length > places.length) throw new Error("there is no place for so many gates")
      gates = next
      current = by
    }
  }
}

const gatesOf = (self: Policy<never, unknown>): ReadonlyArray<Gate> =>
  partsOf(self).map((part) => {
    if (part._tag !== "Gate") throw new Error("only a policy of gates can be replaced")
    return part.gate
  })
