import { answer, overloaded, rateLimited, ScriptedProvider, times } from "@perdure/testing"
import { Effect, Schema } from "effect"
import { Call, LlmProvider, Policy, Receipt, Retry } from "perdure"

const chain = LlmProvider.orElse(
  ScriptedProvider.layer([rateLimited("2 seconds"), times(3, overloaded())], { provider: "openai", model: "gpt-4o" })
    .pipe(LlmProvider.withPolicy(Policy.retry(Retry.article))),
  ScriptedProvider.layer([answer("Four.")], { provider: "backup", model: "gpt-4o-mini" })
)

/** Who answered? */
export const who = LlmProvider.generate("What is two and two?").pipe(
  Effect.map(({ receipt }) => receipt),
  Effect.provide(chain)
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
