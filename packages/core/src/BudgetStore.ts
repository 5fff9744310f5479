/**
 * Where budgets keep their token buckets, so that several budgets or several processes can share them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { State as BucketState } from "./internal/budget.ts"
import { Memory } from "./internal/memory.ts"

/**
 * One bucket, as plain data that survives `JSON.stringify`. Its fields are for the budget; a store only keeps it.
 *
 * @since 0.1.0
 * @category models
 */
export type State = BucketState

/**
 * What a budget asks of a store.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /**
   * Changes a bucket in one step that no other change comes between. The function is pure: a store that finds its value
   * outdated may run it again.
   *
   * It has no failures. A store that cannot be reached decides for itself what then holds: to be careful, it runs the
   * function with the last state that it knows. It is not interrupted, so it must limit its own time.
   */
  readonly modify: <A>(
    key: string,
    f: (state: State | undefined) => readonly [result: A, state: State]
  ) => Effect.Effect<A>
}

/**
 * The store that budgets look for when they are built. Without one, each has a memory of its own.
 *
 * @since 0.1.0
 * @category tags
 */
export class BudgetStore extends Context.Tag("perdure/BudgetStore")<BudgetStore, Service>() {}

/**
 * A new store in the memory of this process. It keeps every bucket it has seen, some hundred bytes each.
 *
 * @since 0.1.0
 * @category constructors
 */
export const memory: Effect.Effect<Service> = Effect.sync(() => new Memory<State>())

/**
 * A layer of {@link memory}: budgets built with it share their buckets, also when they are replaced while running.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<BudgetStore> = Layer.effect(BudgetStore, memory)
