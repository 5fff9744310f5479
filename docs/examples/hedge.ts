import { after, always, answer, ScriptedProvider } from "@perdure/testing"
import { Effect } from "effect"
import { Hedge, LlmProvider, Policy, PolicyMemory } from "perdure"

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

const steady = ScriptedProvider.layer([always(after("1 second", answer("Here.")))], { provider: "steady" })

const known = (options: Hedge.Options) =>
  Effect.gen(function*() {
    const hedge = yield* Hedge.make(options)
    const Llm = LlmProvider.withPolicy(steady, hedge)
    yield* Effect.replicateEffect(LlmProvider.generate("Anybody there?").pipe(Effect.provide(Llm)), 20)
    return yield* hedge.state("steady/scripted-model")
  })

/** What two hedges know, the second of which replaces the first. */
export const replaced = Effect.all([
  known({ after: { percentile: 95 } }),
  known({ after: { percentile: 99, of: 40 } })
]).pipe(Effect.provide(PolicyMemory.layer))
