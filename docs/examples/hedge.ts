import { after, always, answer, ScriptedProvider } from "@perdure/testing"
import { Effect } from "effect"
import { Hedge, LlmProvider, Policy } from "perdure"

const slowOnce = ScriptedProvider.layer([after("20 seconds", answer("Late.")), always(answer("Here."))])

const Llm = slowOnce.pipe(
  LlmProvider.withPolicy(Policy.timeout("30 seconds")),
  LlmProvider.withPolicy(Hedge.make({ after: { percentile: 95, otherwise: "3 seconds" } }))
)

/** The first try is slow; the second one answers. */
export const answered = Effect.provide(LlmProvider.generate("Anybody there?"), Llm)

const openAi = ScriptedProvider.layer([after("20 seconds", answer("Late."))], { provider: "openai" })
const anthropic = ScriptedProvider.layer([answer("Here.")], { provider: "anthropic" })

const Race = Hedge.layers([openAi, anthropic], { after: "2 seconds" })

/** The second try goes to another provider. */
export const elsewhere = Effect.provide(LlmProvider.generate("Anybody there?"), Race)
