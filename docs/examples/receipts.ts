import { after, answer, overloaded, rateLimited, ScriptedProvider } from "@perdure/testing"
import { Effect, Schema } from "effect"
import { Call, LlmProvider, ModelPrices, Policy, Receipt, Retry } from "perdure"

const prices = ModelPrices.layer({ models: { openai: { "gpt-4o-mini": { input: 0.15, output: 0.6 } } } })

const first = ScriptedProvider.layer(
  [after("210 millis", rateLimited("2 seconds")), after("180 millis", overloaded())],
  { provider: "openai", model: "gpt-4o" }
)
const second = ScriptedProvider.layer(
  [after("640 millis", answer({ content: "Four.", usage: { inputTokens: 14, outputTokens: 2 } }))],
  { provider: "openai", model: "gpt-4o-mini" }
)
const chain = LlmProvider.orElse(
  first.pipe(LlmProvider.withPolicy(Policy.retry(Retry.article.pipe(Retry.attempts(2))))),
  second
)

/** Who answered? */
export const who = LlmProvider.generate("What is two and two?").pipe(
  Effect.map(({ receipt }) => receipt),
  Effect.provide([chain, prices])
)

const toLine = Schema.encodeSync(Schema.parseJson(Receipt.Receipt))

/** Hands on the receipt of every call, also of one that fails or is interrupted, as a line of JSON. */
export const kept = (keep: (line: string) => void) =>
  Call.observe((event) => {
    if (event._tag === "Ended") keep(`${toLine(event.receipt)}\n`)
  })

/** A failure has its receipt too. */
export const explained = LlmProvider.generate("What is two and two?").pipe(
  Effect.catchAll((error) => Effect.succeed(error.receipt?.attempts.length ?? 0))
)
