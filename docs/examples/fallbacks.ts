import { answer, ScriptedProvider, unauthenticated, unavailable } from "@perdure/testing"
import { Effect } from "effect"
import { Call, LlmProvider, Policy, Retry } from "perdure"

const primary = ScriptedProvider.layer([unavailable(), unavailable(), unavailable()], { provider: "primary" })
const secondary = ScriptedProvider.layer([unauthenticated()], { provider: "secondary" })
const lastResort = ScriptedProvider.layer([answer("Here I am.")], { provider: "last-resort" })
const program = LlmProvider.generate("Is anybody there?")

const chain = primary.pipe(
  LlmProvider.withPolicy(Policy.retry(Retry.standard)),
  LlmProvider.orElse(secondary),
  LlmProvider.orElse(lastResort)
)

/** The chain as a layer. */
export const asLayer = program.pipe(Effect.provide(chain))

const first = ScriptedProvider.layer([unavailable()], { provider: "first" })
const second = ScriptedProvider.layer([answer("Here I am.")], { provider: "second" })

/** The same with Effect's own combinator. */
export const byHand = program.pipe(
  Effect.provide(first),
  Effect.orElse(() => program.pipe(Effect.provide(second))),
  Call.track
)
