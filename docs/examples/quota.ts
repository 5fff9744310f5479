import { answer, ScriptedProvider } from "@perdure/testing"
import { Effect, Layer } from "effect"
import { LlmProvider, Quota } from "perdure"

const provider = ScriptedProvider.layer([answer("Because.")], { provider: "openai", model: "gpt-4o" })

const quota = Quota.make({
  perMinute: { requests: 500, tokens: 200_000 },
  perDay: { requests: 10_000 },
  maxWait: "20 seconds"
})

const Llm = Layer.unwrapEffect(Effect.map(quota, (quota) => provider.pipe(LlmProvider.withPolicy(quota))))

/** A call that waits for its place in the minute's limits. */
export const limited = LlmProvider.generate("Why?").pipe(Effect.provide(Llm))
