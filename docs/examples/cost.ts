import { answer, ScriptedProvider } from "@perdure/testing"
import { Effect, Layer } from "effect"
import { LlmProvider, ModelPrices, SpendLimit } from "perdure"

export const prices = ModelPrices.layer({
  currency: "USD",
  models: {
    openai: { "gpt-4o": { input: 2.5, cachedInput: 1.25, output: 10 } },
    google: {
      "gemini-2.5-pro": {
        input: 1.25,
        output: 10,
        tiers: [{ above: 200_000, input: 2.5, output: 15 }]
      }
    }
  }
})

const target = ScriptedProvider.layer([answer("Four.")], { provider: "openai", model: "gpt-4o" })

/** Twenty dollars a day, and no more than three hundred in a month. */
const limited = Effect.gen(function*() {
  const limit = yield* SpendLimit.SpendLimit
  const llm = target.pipe(LlmProvider.withPolicy(limit))
  const response = yield* LlmProvider.generate("What is two and two?").pipe(
    SpendLimit.chargedTo("ann"),
    Effect.provide(llm)
  )
  return { response, status: yield* limit.status("ann") }
})

export const program = limited.pipe(
  Effect.provide(SpendLimit.layer({ perDay: 20, perMonth: 300 }).pipe(Layer.provide(prices)))
)

/** Prices as a file has them. */
export const fromFile = (text: string) => ModelPrices.layerJson(text)
