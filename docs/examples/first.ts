import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { Anthropic, OpenAi } from "@perdure/providers"
import { Effect, Layer } from "effect"
import { LlmProvider, Policy, Retry } from "perdure"

const patient = Retry.exponential("2 seconds").pipe(
  Retry.capped("30 seconds"),
  Retry.jittered("full"),
  Retry.honoringRetryAfter(),
  Retry.attempts(4),
  Retry.within("60 seconds"),
  Retry.whileRetryable
)

const Llm = OpenAi.layer({ model: "gpt-4o" }).pipe(
  LlmProvider.withPolicy(Policy.retry(patient)),
  LlmProvider.orElse(Anthropic.layer({ model: "claude-3-5-haiku-20241022" })),
  Layer.provide(FetchHttpClient.layer)
)

export const program = LlmProvider.generate("Summarise the benefits of using an LLM gateway.").pipe(
  Effect.tap(({ receipt, text }) => Effect.log(text, receipt.served, receipt.fallback)),
  Effect.provide(Llm)
)
