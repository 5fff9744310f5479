/** What a policy knows that only this process can use, and where another of the same name finds it again. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { PolicyMemory, type Service } from "../PolicyMemory.ts"

/** A kind of what is kept. Its identity is what tells it from others, so that the type of what is found is right. */
export class Kind<out A> {
  readonly make: () => A

  constructor(make: () => A) {
    this.make = make
  }
}

/** What is kept, by its kind and its name. */
type Shelf = Map<Kind<unknown>, Map<string, unknown>>

const shelves = new WeakMap<Service, Shelf>()

/** What was kept under a name; new where nothing was, or where there is no memory. */
export const at = <A>(memory: Service | undefined, kind: Kind<A>, name: string): A => {
  if (memory === undefined) return kind.make()
  const shelf: Shelf = shelves.get(memory) ?? new Map()
  shelves.set(memory, shelf)
  const named = shelf.get(kind) ?? new Map<string, unknown>()
  shelf.set(kind, named)
  if (!named.has(name)) named.set(name, kind.make())
  return named.get(name) as A
}

/** The memory around, if there is one. */
export const around: Effect.Effect<Service | undefined> = Effect.suspend(() =>
  Effect.map(Effect.serviceOption(PolicyMemory), Option.getOrUndefined)
)
