import { after, always, answer, overloaded, ScriptedProvider } from "@perdure/testing"
import { Duration, Effect, Either, Layer } from "effect"
import { Bulkhead, LlmProvider } from "perdure"

const openAi = ScriptedProvider.layer([always(after("10 seconds", answer("Done.")))])
const anthropic = ScriptedProvider.layer([always(answer("Done elsewhere."))], { provider: "anthropic" })

const limited = Layer.unwrapEffect(
  Effect.map(
    Bulkhead.make({ limit: 8, queue: 32, maxWait: "15 seconds" }),
    (bulkhead) => LlmProvider.withPolicy(openAi, bulkhead)
  )
)

const Llm = LlmProvider.orElse(limited, anthropic)

/** Who answers each of so many calls at once. */
export const answerers = (calls: number) =>
  Effect.forEach(
    Array.from({ length: calls }),
    () => Effect.map(LlmProvider.generate("Do it."), ({ provider }) => provider),
    { concurrency: "unbounded" }
  ).pipe(Effect.provide(Llm))

const busy = ScriptedProvider.layer([always(overloaded())])

const adaptive = Bulkhead.adaptive({ initial: 20, min: 2, max: 100 })

/** What is left of the limit after so many calls, one after the other, that a provider refuses. */
export const lowered = (calls: number) =>
  Effect.gen(function*() {
    const bulkhead = yield* adaptive
    const call = Effect.either(LlmProvider.generate("Do it.")).pipe(
      Effect.provide(LlmProvider.withPolicy(busy, bulkhead)),
      Effect.delay(Duration.millis(10))
    )
    const results = yield* Effect.replicateEffect(call, calls)
    return { limit: yield* bulkhead.limit, refused: results.filter(Either.isLeft).length }
  })

/** The settings of a running program change; nobody who is under way is cancelled. */
export const resized = Effect.gen(function*() {
  const bulkhead = yield* Bulkhead.make({ limit: 8 })
  yield* bulkhead.reconfigure({ limit: 16, queue: 64 })
  return yield* bulkhead.limit
})
