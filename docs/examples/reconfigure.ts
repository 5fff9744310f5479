import { always, answer, ScriptedProvider, unavailable } from "@perdure/testing"
import { Context, Effect, Layer, ScopedRef, SubscriptionRef } from "effect"
import { Bulkhead, LlmProvider, Policy, PolicyMemory, Standard } from "perdure"

const openAi = ScriptedProvider.layer([always(unavailable())], { provider: "openai", model: "gpt-4o" })
const anthropic = ScriptedProvider.layer([always(answer("Here."))], { provider: "anthropic", model: "claude" })

const question = LlmProvider.generate("What has changed?")

/** Everything in one layer, with the options of a reference. */
const Llm = (options: SubscriptionRef.SubscriptionRef<Standard.LayerOptions>) =>
  Standard.layerFollowing([openAi, anthropic], options)

export const followed = Effect.gen(function*() {
  const options = yield* SubscriptionRef.make<Standard.LayerOptions>({ deadline: "1 minute" })
  return yield* Effect.gen(function*() {
    const before = LlmProvider.describe(yield* LlmProvider.LlmProvider)
    yield* SubscriptionRef.set(options, { deadline: "2 minutes", fallback: { order: "fastest" } })
    yield* Effect.sleep("1 second")
    return [before, LlmProvider.describe(yield* LlmProvider.LlmProvider)]
  }).pipe(Effect.provide(Llm(options)))
})

/** One policy by itself. */
const limited = (options: SubscriptionRef.SubscriptionRef<Bulkhead.Options>) =>
  Effect.tap(Bulkhead.make(), (bulkhead) => Policy.follow(bulkhead, options))

export const limit = Effect.scoped(Effect.gen(function*() {
  const options = yield* SubscriptionRef.make<Bulkhead.Options>({ limit: 8 })
  const bulkhead = yield* limited(options)
  return yield* bulkhead.limit
}))

/** A provider in the place of another, over one memory: a circuit that was open stays open. */
export const swapped = (memory: Layer.Layer<PolicyMemory.PolicyMemory> | undefined) =>
  Effect.scoped(Effect.gen(function*() {
    const around = yield* Layer.build(memory ?? Layer.empty)
    const make = (options: Standard.LayerOptions) =>
      Layer.build(Standard.layer([openAi, anthropic], options)).pipe(
        Effect.map(Context.get(LlmProvider.LlmProvider)),
        Effect.provide(around)
      )
    const llm = yield* ScopedRef.fromAcquire(make({ deadline: "1 minute" }))
    const ask = Effect.flatMap(
      ScopedRef.get(llm),
      (service) => Effect.provideService(question, LlmProvider.LlmProvider, service)
    )
    yield* Effect.replicateEffect(Effect.exit(ask), 2)
    yield* ScopedRef.set(llm, make({ deadline: "2 minutes" }))
    const { receipt } = yield* ask
    return receipt.attempts.map(({ target }) => target.provider)
  }))
