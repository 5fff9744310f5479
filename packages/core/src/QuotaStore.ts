/**
 * Where quotas keep what is used of their limits, so that several quotas or several processes can share it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Memory } from "./internal/memory.ts"
import type { State as QuotaState } from "./internal/quota.ts"

/**
 * What one key has used, as plain data that survives `JSON.stringify`. Its fields are for the quota; a store only keeps it.
 *
 * @since 0.1.0
 * @category models
 */
export type State = QuotaState

/**
 * What a quota asks of a store.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** What this key has used, if it was ever asked for. */
  readonly get: (key: string) => Effect.Effect<State | undefined>
  /**
   * Changes what a key has used in one step that no other change comes between. The function is pure: a store that finds
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
 * The store that quotas look for when they are built. Without one, each has a memory of its own.
 *
 * @since 0.1.0
 * @category tags
 */
export class QuotaStore extends Context.Tag("perdure/QuotaStore")<QuotaStore, Service>() {}

/**
 * A new store in the memory of this process. It keeps every key it has seen, a few hundred bytes each.
 *
 * @since 0.1.0
 * @category constructors
 */
export const memory: Effect.Effect<Service> = Effect.sync(() => new Memory<State>())

/**
 * A layer of {@link memory}: quotas built with it share what is used, also when they are replaced while running.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<QuotaStore> = Layer.effect(QuotaStore, memory)
