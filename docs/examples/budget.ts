import { always, answer, ScriptedProvider, unavailable } from "@perdure/testing"
import { Duration, Effect, Exit } from "effect"
import { Budget, LlmProvider, Policy, Retry } from "perdure"

const openAi = ScriptedProvider.layer([always(unavailable())], { provider: "openai", model: "gpt-4o" })
const anthropic = ScriptedProvider.layer([always(answer("Here."))], { provider: "anthropic", model: "claude" })

const retry = Policy.retry(Retry.constant("1 second").pipe(Retry.attempts(4)))

const Llm = LlmProvider.orElse(
  openAi.pipe(LlmProvider.withPolicy(retry)),
  anthropic.pipe(LlmProvider.withPolicy(retry))
).pipe(
  LlmProvider.withPolicy(Budget.make())
)

export const answered = Effect.provide(LlmProvider.generate("Anybody there?"), Llm)

const dead = openAi.pipe(
  LlmProvider.withPolicy(retry),
  LlmProvider.withPolicy(Budget.make())
)

/** How many attempts so many calls that fail made in all, one after the other. */
export const load = (calls: number) =>
  Effect.replicateEffect(Effect.flip(LlmProvider.generate("Anybody there?")), calls).pipe(
    Effect.map((failures) => failures.reduce((sum, { receipt }) => sum + (receipt?.attempts.length ?? 0), 0)),
    Effect.provide(dead)
  )

/** A preset, and one with a change. */
export const strict = Budget.make(Budget.grpc)
export const own = Budget.make({ ...Budget.finagle, costs: { hedge: 2 } })

/** A loop of your own asks before it repeats. */
const patient = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.catchAll(self, (error) =>
    Effect.flatMap(
      Budget.withdraw("retry"),
      (granted) => granted ? Effect.delay(patient(self), Duration.seconds(1)) : Effect.fail(error)
    ))

export const byHand = Effect.gen(function*() {
  const budget = yield* Budget.make({ target: { capacity: 2, perSecond: 0 } })
  const exit = yield* Effect.exit(budget(patient(Effect.fail("down"))))
  return { failed: Exit.isFailure(exit), left: yield* budget.balance("default") }
})
