/**
 * Where spend limits keep what is spent, so that several limits or several processes can share it, and so that it outlives
 * the process.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { State as SpendState } from "./internal/spend.ts"
import { Memory } from "./internal/spendMemory.ts"

/**
 * What one key has spent, as plain data that survives `JSON.stringify`. A store may forget it at `until`, in milliseconds
 * since the epoch, and never where that is absent; its other fields are for the limit.
 *
 * @since 0.1.0
 * @category models
 */
export type State = SpendState

/**
 * What a spend limit asks of a store.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** What this key has spent, if it was ever asked for. */
  readonly get: (key: string) => Effect.Effect<State | undefined>
  /**
   * Changes what a key has spent in one step that no other change comes between. The function is pure: a store that finds
   * its value outdated may run it again. When it gives back the state that it was given, nothing needs to be written.
   *
   * It has no failures. A store that cannot be reached decides for itself what then holds: to let calls through, it runs
   * the function with the last state that it knows. It is not interrupted, so it must limit its own time.
   */
  readonly modify: <A>(
    key: string,
    f: (state: State | undefined) => readonly [result: A, state: State]
  ) => Effect.Effect<A>
}

/**
 * The store that spend limits look for when they are built. Without one, each has a memory of its own.
 *
 * @since 0.1.0
 * @category tags
 */
export class SpendStore extends Context.Tag("perdure/SpendStore")<SpendStore, Service>() {}

/**
 * A new store in the memory of this process. It forgets keys whose windows are over when there are many.
 *
 * @since 0.1.0
 * @category constructors
 */
export const memory: Effect.Effect<Service> = Effect.sync(() => new Memory())

/**
 * A layer of {@link memory}: limits built with it share what is spent, also when they are replaced while running.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<SpendStore> = Layer.effect(SpendStore, memory)
