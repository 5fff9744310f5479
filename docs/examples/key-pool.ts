import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { OpenAi } from "@perdure/providers"
import { always, answer, quotaExhausted, ScriptedProvider, unauthenticated } from "@perdure/testing"
import { Config, Effect, Layer } from "effect"
import { KeyPool, LlmProvider, Policy, Retry } from "perdure"

const openAi = (variable: string) =>
  OpenAi.layerConfig({ model: Config.succeed("gpt-4o"), apiKey: Config.redacted(variable) })

/** Two keys of one organisation, and one of another. */
export const Llm = KeyPool.layer([
  { label: "search", domain: "org-1", layer: openAi("OPENAI_KEY_SEARCH") },
  { label: "chat", domain: "org-1", layer: openAi("OPENAI_KEY_CHAT") },
  { label: "spare", domain: "org-2", layer: openAi("OPENAI_KEY_SPARE") }
]).pipe(Layer.provide(FetchHttpClient.layer))

const target = { provider: "openai", model: "gpt-4o" }
const revoked = ScriptedProvider.layer([always(unauthenticated())], target)
const usedUp = ScriptedProvider.layer([always(quotaExhausted())], target)
const good = ScriptedProvider.layer([always(answer("Here."))], target)

const pooled = KeyPool.layer([
  { label: "revoked", layer: revoked },
  { label: "used up", domain: "org-1", layer: usedUp },
  { label: "good", domain: "org-2", layer: good }
])

/** The labels of the keys that each of so many calls used. */
export const labels = (calls: number) =>
  Effect.replicateEffect(LlmProvider.generate("Anybody there?"), calls).pipe(
    Effect.map((responses) => responses.map(({ receipt }) => receipt.attempts.map(({ key }) => key))),
    Effect.provide(pooled)
  )

const backup = ScriptedProvider.layer([always(answer("Here."))], { provider: "anthropic", model: "claude" })

/** The pool is one target: a retry around it, and another provider after it. */
export const chain = pooled.pipe(
  LlmProvider.withPolicy(Policy.retry(Retry.standard)),
  LlmProvider.orElse(backup)
)
