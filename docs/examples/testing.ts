import { answer, rateLimited, ScriptedProvider, TestTime } from "@perdure/testing"
import { Effect, Exit } from "effect"
import { LlmProvider, Policy, Retry } from "perdure"

/** The program under test: it knows nothing of providers, policies or tests. */
const greet = Effect.map(LlmProvider.generate("Say hi."), (response) => response.text)

const Llm = ScriptedProvider.layer([rateLimited("2 seconds"), answer("hi")]).pipe(
  LlmProvider.withPolicy(Policy.retry(Retry.article))
)

/** The body of an `it.effect`. */
export const test = Effect.gen(function*() {
  const { elapsed, exit } = yield* TestTime.run(Effect.provide(greet, Llm))
  if (!Exit.isSuccess(exit) || exit.value !== "hi") return yield* Effect.dieMessage("expected hi")
  if (elapsed < 2000) return yield* Effect.dieMessage("came back before it was asked to")
})
