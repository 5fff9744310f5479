import {
  after,
  always,
  answer,
  contentFiltered,
  ScriptedProvider,
  times,
  unauthenticated,
  unavailable
} from "@perdure/testing"
import { Effect } from "effect"
import { Call, Fallback, LlmProvider, LlmRequest, Policy, Retry } from "perdure"

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

const fast = ScriptedProvider.layer([always(after("1 second", answer("Quick.")))], { provider: "fast" })
const large = ScriptedProvider.layer([always(after("9 seconds", answer("Thorough.")))], { provider: "large" })

const spread = Fallback.layer([fast, large], { order: "weighted", weights: [9, 1] })

const quickest = Fallback.layer([large, fast], { order: "fastest" })

/** Who answers each of so many calls, one after the other. */
export const answerers = (calls: number) => {
  const asked = Effect.replicateEffect(Effect.map(program, ({ receipt }) => receipt.served?.provider), calls)
  return Effect.all({
    spread: Effect.provide(asked, spread),
    quickest: Effect.provide(asked, quickest)
  })
}

const flaky = ScriptedProvider.layer([times(3, unavailable()), always(answer("Back."))], { provider: "flaky" })
const steady = ScriptedProvider.layer([always(answer("Always."))], { provider: "steady" })

const recovering = Fallback.layer([flaky, steady], { unhealthyAfter: 3, unhealthyFor: "1 minute" })

/** Who answers before, and after the minute in which the first target is put last. */
export const recovery = Effect.gen(function*() {
  const before = yield* Effect.replicateEffect(program, 5)
  yield* Effect.sleep("1 minute")
  const later = yield* program
  return [...before, later].map(({ receipt }) => receipt.served?.provider)
}).pipe(Effect.provide(recovering))

const picture = LlmRequest.ImagePart.make({ source: { _tag: "Url", url: "https://example.com/cat.png" } })

const blind = LlmProvider.layer({
  provider: "local",
  model: "text-only",
  images: false,
  contextWindow: 8_000,
  generate: () => Effect.dieMessage("is never asked about a picture")
})

/** Answered by the target that can see. */
export const seen = LlmProvider.generate({ messages: [LlmRequest.user([picture])] }).pipe(
  Effect.provide(Fallback.layer([blind, steady]))
)

const strict = ScriptedProvider.layer([always(contentFiltered())], { provider: "strict" })

/** What one provider refuses, another may answer. */
export const lenient = program.pipe(
  Effect.provide(Fallback.layer([strict, steady], { contentRefusal: "moveOn" }))
)
