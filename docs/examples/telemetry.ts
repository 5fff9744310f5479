import { answer, overloaded, ScriptedProvider } from "@perdure/testing"
import { Effect, Layer, Option, Ref } from "effect"
import { CallEvents, LlmProvider, ModelPrices, Policy, Receipt, Retry, Telemetry } from "perdure"

const Llm = ScriptedProvider.layer([overloaded(), answer("Hi.")]).pipe(
  LlmProvider.withPolicy(Policy.retry(Retry.constant("1 second")))
)

/** Answers are worth a line at `Info`, readers who leave none. */
const Logs = Telemetry.logs({ answered: "Info", interrupted: "None" })

/** An exporter of one's own: counts failed attempts. */
const exporter = (failures: Ref.Ref<number>) =>
  CallEvents.layer((event) =>
    event._tag === "AttemptEnded" && event.outcome._tag === "Failed"
      ? Ref.update(failures, (count) => count + 1)
      : Effect.void
  )

const Prices = ModelPrices.layer({ models: { scripted: { scripted: { input: 2, output: 10 } } } })

/** How often the provider failed before it answered, as the exporter saw it. */
export const observed = Effect.gen(function*() {
  const failures = yield* Ref.make(0)
  yield* LlmProvider.generate("Hello?").pipe(
    Effect.zipLeft(Effect.sleep("1 second")),
    Effect.provide(Layer.mergeAll(Llm, Logs, Prices, exporter(failures)))
  )
  return yield* Ref.get(failures)
})

/** In a provider's code: how many attempts there have been before this one. */
export const attemptsBefore = Effect.map(
  Receipt.current,
  Option.match({ onNone: () => 0, onSome: ({ attempts }) => attempts.length })
)
