import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { LlmProvider, type StreamPart } from "perdure"
import { json } from "./support/client.ts"
import { call, parts, type Provider, providers } from "./support/providers.ts"
import { eventStream } from "./support/stream.ts"

const openAis = {
  "x-ratelimit-limit-requests": "60",
  "x-ratelimit-remaining-requests": "59",
  "x-ratelimit-reset-requests": "1s"
}
const anthropics = {
  "anthropic-ratelimit-requests-limit": "60",
  "anthropic-ratelimit-requests-remaining": "59",
  "anthropic-ratelimit-requests-reset": "1970-01-01T00:00:01Z"
}
const limits = { requests: { limit: 60, remaining: 59, reset: Duration.seconds(1) } }

const finishOf = (all: ReadonlyArray<StreamPart.StreamPart>) => all.find(({ _tag }) => _tag === "Finish")

const table: ReadonlyArray<readonly [string, Provider, Record<string, string>]> = [
  [providers.chat.title, providers.chat, openAis],
  [providers.responses.title, providers.responses, openAis],
  [providers.anthropic.title, providers.anthropic, anthropics],
  // A gateway in front of it writes them in OpenAI's way.
  [providers.google.title, providers.google, openAis]
]

describe("Q2: a stream that succeeds tells the rate limits", () => {
  it.effect.each(table)("in its last part: %s", ([_, provider, headers]) =>
    Effect.gen(function*() {
      const { exit } = yield* call(provider.layer(), () => eventStream(provider.stream, headers), parts("hello"))
      expect(exit._tag === "Success" && finishOf(exit.value)).toMatchObject({ rateLimits: limits })
    }))

  it.effect.each(table)("in the answer made of it: %s", ([_, provider, headers]) =>
    Effect.gen(function*() {
      const reply = () => eventStream(provider.stream, headers)
      const { exit } = yield* call(provider.layer(), reply, LlmProvider.generate("hello", { via: "stream" }))
      expect(exit).toMatchObject({ value: { text: "hi", rateLimits: limits } })
    }))

  it.effect.each(table)(
    "also where a whole answer came instead: %s",
    ([_, provider, headers]) =>
      Effect.gen(function*() {
        const reply = () => json(provider.answer, { headers: { "content-type": "application/json", ...headers } })
        const { exit } = yield* call(provider.layer(), reply, parts("hello"))
        expect(exit._tag === "Success" && finishOf(exit.value)).toMatchObject({ rateLimits: limits })
      })
  )

  it.effect.each(table)("and nothing where no header speaks of them: %s", ([_, provider]) =>
    Effect.gen(function*() {
      const { exit } = yield* call(provider.layer(), () => eventStream(provider.stream), parts("hello"))
      expect(exit._tag === "Success" && finishOf(exit.value)).not.toHaveProperty("rateLimits")
    }))
})
