/**
 * What policies know, kept where those that replace them find it again.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as BudgetStore from "./BudgetStore.ts"
import * as CircuitStore from "./CircuitStore.ts"
import * as QuotaStore from "./QuotaStore.ts"
import * as SpendStore from "./SpendStore.ts"

/**
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("perdure/PolicyMemory")

/**
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * The memory of a process: the permits of bulkheads and who waits for them, the health of keys and of targets, latencies.
 * What is in it is for the policies.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly [TypeId]: TypeId
}

/**
 * The memory that bulkheads, hedges, key pools and fallbacks look for when they are built: those of the same kind and name
 * go on from what the one before them knew. Without one, each has a memory of its own.
 *
 * @since 0.1.0
 * @category tags
 */
export class PolicyMemory extends Context.Tag("perdure/PolicyMemory")<PolicyMemory, Service>() {}

/**
 * A new memory, which knows nothing yet. It keeps what it has been given for as long as it is there itself.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<Service> = Effect.sync(() => ({ [TypeId]: TypeId }))

/**
 * A memory for all policies, with a store in this process for circuits, quotas, budgets and spending as well. Around a
 * part of a program that is built anew with other options, it keeps what the policies in it know where their names and
 * keys stay the same.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<
  PolicyMemory | CircuitStore.CircuitStore | QuotaStore.QuotaStore | BudgetStore.BudgetStore | SpendStore.SpendStore
> = Layer.mergeAll(
  Layer.effect(PolicyMemory, make),
  CircuitStore.layerMemory,
  QuotaStore.layerMemory,
  BudgetStore.layerMemory,
  SpendStore.layerMemory
)
