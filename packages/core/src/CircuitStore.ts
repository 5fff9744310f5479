/**
 * Where circuit breakers keep their circuits, so that several breakers or several processes can share them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { State as BreakerState } from "./internal/breaker.ts"
import { Memory } from "./internal/memory.ts"

/**
 * One circuit, as plain data that survives `JSON.stringify`. Its fields are for the breaker; a store only keeps it.
 *
 * @since 0.1.0
 * @category models
 */
export type State = BreakerState

/**
 * What a breaker asks of a store.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /**
   * The circuit with this key as it is known here, without waiting. While it is closed, or nothing is known of it, calls
   * are let through by it, and while it is open they are rejected by it; only probes ask {@link Service.modify}. Where
   * several processes share a store, it is the copy that the last change here has seen.
   */
  readonly peek: (key: string) => State | undefined
  /**
   * Changes a circuit in one step that no other change comes between. The function is pure: a store that finds its value
   * outdated may run it again. When it gives back the state that it was given, nothing needs to be written.
   *
   * It has no failures. A store that cannot be reached decides for itself what then holds: to let calls through, it runs
   * the function with the last state that it knows. It is not interrupted, so it must limit its own time.
   */
  readonly modify: <A>(key: string, f: Change<A>) => Effect.Effect<A>
  /** The same without waiting, where that is possible: a call then costs less. */
  readonly unsafeModify?: (<A>(key: string, f: Change<A>) => A) | undefined
}

/**
 * From a circuit, if there is one, to what it is from now on, and what is to be told of that.
 *
 * @since 0.1.0
 * @category models
 */
export type Change<out A> = (state: State | undefined) => readonly [result: A, state: State]

/**
 * The store that circuit breakers look for when they are built. Without one, each has a memory of its own.
 *
 * @since 0.1.0
 * @category tags
 */
export class CircuitStore extends Context.Tag("perdure/CircuitStore")<CircuitStore, Service>() {}

/**
 * A new store in the memory of this process. It keeps every circuit it has seen, a few hundred bytes each.
 *
 * @since 0.1.0
 * @category constructors
 */
export const memory: Effect.Effect<Service> = Effect.sync(() => {
  const circuits = new Memory<State>()
  return { peek: circuits.peek, modify: circuits.modify, unsafeModify: (key, f) => circuits.step(key, f) }
})

/**
 * A layer of {@link memory}: breakers built with it share their circuits, also when they are replaced while running.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<CircuitStore> = Layer.effect(CircuitStore, memory)
