import { after, always, answer, ScriptedProvider, unavailable } from "@perdure/testing"
import { Cache, Effect, Exit, Layer, Request, RequestResolver } from "effect"
import { CircuitBreaker, type LlmError, LlmProvider, type LlmResponse, Policy, Retry, Standard } from "perdure"

const patient = Policy.compose(Policy.retry(Retry.standard), Policy.timeout("30 seconds"))

const question = LlmProvider.generate("What is a policy?")

/** Around one effect. */
const careful = question.pipe(patient)

const openAi = ScriptedProvider.layer([always(unavailable())], { provider: "openai", model: "gpt-4o" })
const anthropic = ScriptedProvider.layer([always(answer("Here."))], { provider: "anthropic", model: "claude" })

/** Around every call of a provider. */
const guarded = openAi.pipe(LlmProvider.withPolicy(patient))

export const failing = Effect.flip(question).pipe(Effect.provide(guarded))
export const succeeding = careful.pipe(Effect.provide(anthropic))

const named = (isBusy: boolean): Policy.Policy<LlmError.LlmError, LlmError.TimedOut> =>
  Policy.compose(isBusy ? Policy.identity : Policy.retry(Retry.standard), Policy.timeout("30 seconds"))

export const described = [Policy.describe(patient), Policy.describe(named(true))]

const Llm = Standard.layer([openAi, anthropic], {
  deadline: "1 minute",
  attempt: "20 seconds",
  quota: { perMinute: { requests: 500, tokens: 200_000 } }
})

export const standard = question.pipe(Effect.provide(Llm))

const one = LlmProvider.withPolicy(openAi, Policy.standard({ budget: false, attempt: "20 seconds" }))

/** One target, without a budget. */
export const alone = Effect.flip(question).pipe(Effect.provide(one))

const configured = LlmProvider.withPolicy(anthropic, Policy.fromConfig())

export const fromConfig = question.pipe(Effect.provide(configured))

const chain = Standard.layerConfig([openAi, anthropic])

export const layerConfig = question.pipe(Effect.provide(chain))

const fromJson = (json: unknown) =>
  Layer.unwrapEffect(
    Effect.map(Standard.decode(json), (spec) => Standard.layer([openAi, anthropic], Standard.fromSpec(spec)))
  )

export const decoded = (json: unknown) => question.pipe(Effect.provide(fromJson(json)))

export const lines = Effect.provide(Effect.map(LlmProvider.LlmProvider, LlmProvider.describe), Llm)

/** Right: one breaker, made with the layer, kept as long as it. */
const right = Layer.unwrapEffect(
  Effect.map(
    CircuitBreaker.make(),
    (breaker) =>
      LlmProvider.orElse(
        LlmProvider.withPolicy(openAi, breaker),
        LlmProvider.withPolicy(anthropic, breaker)
      )
  )
)

/** Wrong: a breaker for each call, which has never seen a failure. */
const wrong = Effect.flatMap(CircuitBreaker.make(), (breaker) => question.pipe(breaker))

/** How many requests were made to the first provider in so many calls. */
export const requests = (calls: number) => {
  const count = Effect.map(ScriptedProvider.calls, ({ length }) => length)
  return Effect.all({
    right: Effect.zipRight(Effect.replicateEffect(question, calls), count).pipe(Effect.provide(right)),
    wrong: Effect.zipRight(Effect.replicateEffect(Effect.exit(wrong), calls), count).pipe(Effect.provide(openAi))
  })
}

const cached = Cache.makeWith({
  capacity: 1_000,
  lookup: (prompt: string) => LlmProvider.generate(prompt),
  timeToLive: Exit.match({ onFailure: () => "0 millis", onSuccess: () => "1 hour" })
})

const slow = ScriptedProvider.layer([after("5 seconds", answer("Forty-two.")), always(unavailable())])

/** A hundred at once ask the same, and one of them asks the provider. */
export const shared = Effect.gen(function*() {
  const answers = yield* cached
  const all = yield* Effect.forEach(
    Array.from({ length: 100 }),
    () => answers.get("What is the answer?"),
    { concurrency: "unbounded" }
  )
  return { texts: new Set(all.map(({ text }) => text)), asked: (yield* ScriptedProvider.calls).length }
}).pipe(Effect.provide(slow))

class Ask extends Request.TaggedClass("Ask")<LlmResponse.LlmResponse, LlmError.LlmError, { readonly prompt: string }> {}

const asking = RequestResolver.fromEffect(({ prompt }: Ask) => LlmProvider.generate(prompt)).pipe(
  RequestResolver.contextFromServices(LlmProvider.LlmProvider)
)

const asked = (prompt: string) => Effect.withRequestCaching(Effect.request(new Ask({ prompt }), asking), true)

/** The same with requests, whose cache comes with the fiber. */
export const deduplicated = Effect.gen(function*() {
  const all = yield* Effect.forEach(Array.from({ length: 100 }), () => asked("What is the answer?"), {
    concurrency: "unbounded"
  })
  return { texts: new Set(all.map(({ text }) => text)), asked: (yield* ScriptedProvider.calls).length }
}).pipe(Effect.provide(slow))
