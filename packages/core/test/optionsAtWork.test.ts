/** Options of policies that do what they say; each of them changes how a call ends. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, TestClock } from "effect"
import { Bulkhead, CircuitBreaker, Disposition, Hedge, LlmError, LlmProvider, LlmRequest, type Policy } from "perdure"
import { down, ok, phaseOf, touchy } from "./support/breaker.ts"
import { answer, anthropic, failureOf, openAi, run, scripted, unavailable } from "./support/provider.ts"
import { subject } from "./support/quota.ts"

const ask = LlmRequest.make("hello")

describe("CircuitBreaker.make({ key })", () => {
  const mini: Policy.Subject = { ...subject(), target: { ...openAi, model: "gpt-4o-mini" } }
  const claude: Policy.Subject = { ...subject(), target: anthropic }

  it.effect("puts all the models of a provider into one circuit, where it names them alike", () =>
    Effect.gen(function*() {
      const breaker = yield* touchy({ key: (subject) => subject?.target.provider ?? "by hand" })
      yield* Effect.exit(breaker(down, subject()))
      const refusal = failureOf(yield* Effect.exit(breaker(ok, mini)))
      assert.deepInclude({ ...refusal }, { _tag: "CircuitOpen", circuit: "openai", model: "gpt-4o-mini" })
      assert.strictEqual(yield* breaker(ok, claude), "ok")
      assert.strictEqual(yield* breaker(ok), "ok")
      assert.deepStrictEqual(
        [yield* phaseOf(breaker, "openai"), yield* phaseOf(breaker, "anthropic"), yield* phaseOf(breaker, "by hand")],
        ["open", "closed", "closed"]
      )
      assert.strictEqual(yield* phaseOf(breaker, "openai/gpt-4o"), "closed")
    }))

  it.effect("without it each model of each provider has a circuit of its own", () =>
    Effect.gen(function*() {
      const breaker = yield* touchy()
      yield* Effect.exit(breaker(down, subject()))
      assert.strictEqual(yield* breaker(ok, mini), "ok")
      assert.strictEqual(failureOf(yield* Effect.exit(breaker(ok, subject())))._tag, "CircuitOpen")
    }))

  it.effect("holds around providers, and from the moment on that it is changed", () =>
    Effect.gen(function*() {
      const breaker = yield* touchy({ key: () => "all" })
      const first = scripted([unavailable()]).layer.pipe(LlmProvider.withPolicy(breaker))
      const second = scripted([answer("hi", anthropic)], anthropic).layer.pipe(LlmProvider.withPolicy(breaker))
      const of = (layer: typeof first) => Effect.exit(Effect.provide(LlmProvider.generate(ask), layer))
      yield* of(first)
      assert.strictEqual(failureOf(yield* of(second))._tag, "CircuitOpen")
      yield* breaker.reconfigure({ tripPolicy: CircuitBreaker.consecutive(1) })
      assert.isTrue(Exit.isSuccess(yield* of(second)))
      assert.strictEqual(yield* phaseOf(breaker, "all"), "open")
    }))
})

describe("Hedge", () => {
  /** A bad request that is worth another try, and an outage that nothing mends. */
  const classify = Disposition.override({
    InvalidRequest: { next: "here" },
    ProviderUnavailable: { next: "stop" }
  })
  const bad = new LlmError.InvalidRequest(openAi)

  it.effect("F6: make({ classify }) decides which failure starts another try, and which ends the race", () =>
    Effect.gen(function*() {
      for (const [failure, with_, without] of [[bad, 2, 1], [unavailable(), 1, 2]] as const) {
        for (const [options, calls] of [[{ classify }, with_], [{}, without]] as const) {
          const provider = scripted([failure, answer("hi")])
          const hedge = yield* Hedge.make({ after: "1 hour", ...options })
          const { exit } = yield* run(provider.service.generate(ask).pipe(hedge))
          assert.strictEqual(provider.calls.length, calls)
          assert.strictEqual(Exit.isSuccess(exit), calls === 2)
        }
      }
    }))

  it.effect("F6: services({ classify }) decides whether the next service is asked", () =>
    Effect.gen(function*() {
      for (const [options, calls] of [[{ classify }, 1], [{}, 0]] as const) {
        const second = scripted([answer("hi", anthropic)], anthropic)
        const pair = Hedge.services([scripted([bad]).service, second.service], { after: "1 hour", ...options })
        yield* run(pair.generate(ask))
        assert.strictEqual(second.calls.length, calls)
      }
    }))

  it.effect("F6: services({ most }) asks no more of them than that, and those that come first", () =>
    Effect.gen(function*() {
      for (const [options, calls] of [[{ most: 1 }, 1], [{ most: 2 }, 2], [{ most: 9 }, 4], [{}, 4]] as const) {
        const all = [1, 2, 3, 4].map((n) => scripted([Effect.never], { provider: `p${n}`, model: "m" }))
        const [first, ...rest] = all.map(({ service }) => service)
        assert(first !== undefined)
        const hedged = Hedge.services([first, ...rest], { after: "1 second", ...options })
        yield* run(hedged.generate(ask), "1 minute")
        assert.deepStrictEqual(all.map(({ calls }) => calls.length), [0, 1, 2, 3].map((i) => i < calls ? 1 : 0))
      }
    }))
})

describe("Bulkhead.adaptive({ overloads })", () => {
  const limitAfter = (bulkhead: Bulkhead.Service, failure: unknown) =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 millis")
      yield* Effect.exit(bulkhead(Effect.fail(failure)))
      return yield* bulkhead.limit
    })

  it.effect("says which failures lower the limit, those of no provider too, and no others do", () =>
    Effect.gen(function*() {
      const mine = yield* Bulkhead.adaptive({ initial: 20, overloads: (failure) => failure === "too much" })
      assert.strictEqual(yield* limitAfter(mine, new LlmError.Overloaded(openAi)), 20)
      assert.strictEqual(yield* limitAfter(mine, "too much"), 18)
      const usual = yield* Bulkhead.adaptive({ initial: 20 })
      assert.strictEqual(yield* limitAfter(usual, "too much"), 20)
      assert.strictEqual(yield* limitAfter(usual, new LlmError.Overloaded(openAi)), 18)
    }))

  it.effect("by a classifier, goes by what that says", () =>
    Effect.gen(function*() {
      const classify = Disposition.override({ ProviderUnavailable: { pace: "overload" } })
      const bulkhead = yield* Bulkhead.adaptive({ initial: 20, overloads: Bulkhead.overloads(classify) })
      assert.strictEqual(yield* limitAfter(bulkhead, unavailable()), 18)
    }))
})

describe("Bulkhead.layerAdaptive", () => {
  it.effect("is a bulkhead that finds its limit, with its options", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.AdaptiveBulkhead
      assert.strictEqual(yield* bulkhead.limit, 40)
      yield* TestClock.adjust("1 millis")
      yield* Effect.exit(bulkhead(Effect.fail(new LlmError.Overloaded(openAi))))
      assert.strictEqual(yield* bulkhead.limit, 20)
      assert.strictEqual(yield* Effect.flatMap(Bulkhead.AdaptiveBulkhead, ({ limit }) => limit), 20)
    }).pipe(Effect.provide(Bulkhead.layerAdaptive({ initial: 40, backoff: 0.5 }))))

  it.effect("shares nothing with another one", () =>
    Effect.gen(function*() {
      const one = Effect.provide(Bulkhead.AdaptiveBulkhead, Layer.fresh(Bulkhead.layerAdaptive({ initial: 4, min: 1 })))
      const [first, second] = yield* Effect.all([one, one])
      yield* TestClock.adjust("1 millis")
      yield* Effect.exit(first(Effect.fail(new LlmError.Overloaded(openAi))))
      assert.deepStrictEqual([yield* first.limit, yield* second.limit], [3, 4])
    }))
})
