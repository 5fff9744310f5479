import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { Anthropic, Google, OpenAi } from "@perdure/providers"
import { Layer } from "effect"
import { LlmProvider, Policy, Retry } from "perdure"

const retried = LlmProvider.withPolicy(Policy.retry(Retry.standard))

export const Llm = OpenAi.layer({ model: "gpt-4o", contextWindow: 128_000 }).pipe(
  retried,
  LlmProvider.orElse(retried(Anthropic.layer({ model: "claude-3-5-haiku-20241022", contextWindow: 200_000 }))),
  LlmProvider.orElse(retried(Google.layer({ model: "gemini-2.0-flash", contextWindow: 1_000_000 }))),
  Layer.provide(FetchHttpClient.layer)
)

export const patientStreams = OpenAi.layer({
  model: "gpt-4o",
  timeouts: { headers: "30 seconds", firstOutput: "1 minute", idle: "20 seconds" }
})
