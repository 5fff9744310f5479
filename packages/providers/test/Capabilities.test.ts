/** What a layer is told of its model, for those who choose among several. */
import { FetchHttpClient } from "@effect/platform"
import { assert, expect, it } from "@effect/vitest"
import * as Anthropic from "@perdure/providers/anthropic"
import * as Google from "@perdure/providers/google"
import * as OpenAi from "@perdure/providers/openai"
import { Effect, Redacted } from "effect"
import { Fallback, LlmProvider, LlmRequest } from "perdure"

const told = { model: "m", apiKey: Redacted.make("k"), contextWindow: 1000, tools: false, images: false }
const services = {
  openai: OpenAi.make(told),
  anthropic: Anthropic.make(told),
  google: Google.make(told)
}

for (const [name, make] of Object.entries(services)) {
  it.effect(`F1: what ${name} is told of its model is known to fallbacks, which pass over it`, () =>
    Effect.gen(function*() {
      const service = yield* Effect.provide(make, FetchHttpClient.layer)
      expect(service.targets).toMatchObject([{ model: "m", contextWindow: 1000, tools: false, images: false }])
      const request = LlmRequest.make({ messages: [LlmRequest.user("x")], tools: [{ name: "f", parameters: {} }] })
      const failure = yield* Effect.flip(Fallback.make([service]).generate(request))
      assert(failure._tag === "InvalidRequest")
      assert.strictEqual(failure.param, "tools")
    }))
}

it.effect("what it is not told stays out", () =>
  Effect.gen(function*() {
    const service: LlmProvider.Service = yield* OpenAi.make({ model: "m", apiKey: Redacted.make("k") })
    assert.deepStrictEqual(service.targets, [{ provider: "openai", model: "m" }])
  }).pipe(Effect.provide(FetchHttpClient.layer)))
