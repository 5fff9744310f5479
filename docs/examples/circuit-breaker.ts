import { always, answer, ScriptedProvider, unavailable } from "@perdure/testing"
import { Effect, Layer, Ref, Schedule, Stream } from "effect"
import { CircuitBreaker, LlmProvider } from "perdure"

const openAi = ScriptedProvider.layer([always(unavailable())], { provider: "openai", model: "gpt-4o" })
const anthropic = ScriptedProvider.layer([always(answer("Here."))], { provider: "anthropic", model: "claude" })

const breaker = CircuitBreaker.make({
  tripPolicy: CircuitBreaker.consecutive(5).pipe(
    CircuitBreaker.or(CircuitBreaker.timeWindow({ duration: "30 seconds", rate: 0.5, minimum: 10 }))
  ),
  openDuration: Schedule.exponential("10 seconds").pipe(Schedule.union(Schedule.spaced("5 minutes")))
})

const Llm = Layer.unwrapEffect(
  Effect.map(breaker, (breaker) =>
    LlmProvider.orElse(
      openAi.pipe(LlmProvider.withPolicy(breaker)),
      anthropic.pipe(LlmProvider.withPolicy(breaker))
    ))
)

/** How many attempts each of so many calls made, one after the other. */
export const attempts = (calls: number) =>
  Effect.replicateEffect(LlmProvider.generate("Anybody there?"), calls).pipe(
    Effect.map((responses) => responses.map(({ receipt }) => receipt.attempts.length)),
    Effect.provide(Llm)
  )

const alerts = (breaker: CircuitBreaker.Service) =>
  Stream.runForEach(breaker.transitions, ({ circuit, from, to }) => Effect.log(`${circuit}: ${from} → ${to}`))

/** An operator takes a target out, and puts it back. */
export const maintenance = Effect.gen(function*() {
  const breaker = yield* CircuitBreaker.make({ counts: CircuitBreaker.blaming(["provider", "model", "key", "quota"]) })
  yield* Effect.forkScoped(alerts(breaker))
  const phases = yield* Ref.make<ReadonlyArray<string>>([])
  const look = Effect.flatMap(
    breaker.state("openai/gpt-4o"),
    ({ phase }) => Ref.update(phases, (all) => [...all, phase])
  )
  yield* breaker.isolate("openai/gpt-4o")
  yield* look
  yield* breaker.reset("openai/gpt-4o")
  yield* look
  return yield* Ref.get(phases)
})

const slow = CircuitBreaker.slowCalls({ longerThan: "20 seconds", rate: 0.5, minimum: 10 })

/** What would it do? */
export const trial = CircuitBreaker.make({ tripPolicy: slow, metricsOnly: true })
