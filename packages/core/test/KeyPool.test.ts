import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, TestClock } from "effect"
import { CircuitBreaker, Fallback, KeyPool, LlmError, LlmProvider, LlmRequest } from "perdure"
import { answer, anthropic, failureOf, openAi, rateLimited, scripted, unavailable } from "./support/provider.ts"

const ask = LlmRequest.make("hello")
const refused = new LlmError.Unauthenticated(openAi)

describe("F5: a key that is not accepted", () => {
  it.effect("is left out for 30 s, to the millisecond, and the error says until when", () =>
    Effect.gen(function*() {
      const key = scripted([refused, answer("hi")])
      const pool = KeyPool.make([{ label: "one", service: key.service }])
      assert.strictEqual((yield* Effect.flip(pool.generate(ask)))._tag, "Unauthenticated")
      yield* TestClock.adjust("29999 millis")
      const failure = yield* Effect.flip(pool.generate(ask))
      assert.strictEqual(failure._tag, "NoHealthyKey")
      assert.deepStrictEqual(failure.retryAfter, Duration.millis(1))
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* pool.generate(ask)).text, "hi")
    }))

  it.effect("is tried out by one of 2,000 calls when it comes back", () =>
    Effect.gen(function*() {
      const key = scripted([refused, Effect.delay(Effect.succeed(answer("hi")), "1 second"), answer("hi")])
      const spare = scripted([answer("spare")])
      const pool = KeyPool.make([{ label: "one", service: key.service }, { label: "two", service: spare.service }])
      yield* pool.generate(ask)
      yield* TestClock.adjust("30 seconds")
      const fiber = yield* Effect.fork(
        Effect.forEach(Array.from({ length: 2000 }), () => pool.generate(ask), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("1 second")
      yield* fiber
      assert.strictEqual(key.calls.length, 2)
    }))
})

describe("F5: quotas and failures of the provider", () => {
  it.effect("a rate limit leaves out every key of its domain until the provider's time", () =>
    Effect.gen(function*() {
      const limited = scripted([rateLimited("7 seconds"), answer("hi")])
      const same = scripted([answer("same")])
      const pool = KeyPool.make([
        { label: "one", domain: "org", service: limited.service },
        { label: "two", domain: "org", service: same.service }
      ])
      assert.strictEqual((yield* Effect.flip(pool.generate(ask)))._tag, "RateLimited")
      yield* TestClock.adjust("6999 millis")
      assert.strictEqual((yield* Effect.flip(pool.generate(ask)))._tag, "NoHealthyKey")
      assert.strictEqual(same.calls.length, 0)
      yield* TestClock.adjust("1 millis")
      yield* pool.generate(ask)
    }))

  it.effect("a 5xx neither leaves a key out nor asks another", () =>
    Effect.gen(function*() {
      const key = scripted([unavailable()])
      const spare = scripted([answer("spare")])
      const pool = KeyPool.make([{ label: "one", service: key.service }, { label: "two", service: spare.service }])
      assert.strictEqual((yield* Effect.flip(pool.generate(ask)))._tag, "ProviderUnavailable")
      assert.strictEqual((yield* pool.generate(ask)).text, "spare")
      assert.strictEqual((yield* Effect.flip(pool.generate(ask)))._tag, "ProviderUnavailable")
    }))
})

describe("a chain's failing target", () => {
  it.effect("is put last after five failures, for 30 s, and comes back with one probe", () =>
    Effect.gen(function*() {
      const five = [unavailable(), unavailable(), unavailable(), unavailable(), unavailable()] as const
      const first = scripted([...five, Effect.delay(Effect.succeed(answer("back")), "1 second"), answer("back")])
      const chain = Fallback.make([first.service, scripted([answer("no", anthropic)], anthropic).service])
      for (let i = 0; i < 7; i++) yield* chain.generate(ask)
      assert.strictEqual(first.calls.length, 5)
      yield* TestClock.adjust("29999 millis")
      yield* chain.generate(ask)
      assert.strictEqual(first.calls.length, 5)
      yield* TestClock.adjust("1 millis")
      const fiber = yield* Effect.fork(
        Effect.forEach(Array.from({ length: 2000 }), () => chain.generate(ask), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("1 second")
      yield* fiber
      assert.strictEqual(first.calls.length, 6)
      assert.strictEqual((yield* chain.generate(ask)).text, "back")
    }))

  it.effect("F1: a target that takes no tools is passed over without an attempt", () =>
    Effect.gen(function*() {
      const bare = scripted([answer("no")], { ...openAi, tools: false })
      const chain = Fallback.make([bare.service, scripted([answer("hi", anthropic)], anthropic).service])
      const request = LlmRequest.make({ messages: [LlmRequest.user("x")], tools: [{ name: "f", parameters: {} }] })
      assert.strictEqual((yield* chain.generate(request)).text, "hi")
      assert.strictEqual(bare.calls.length, 0)
    }))
})

describe("F3: when every circuit is open", () => {
  /** Two targets whose circuits are open, for the longer and for the shorter time, and which would answer by now. */
  const both = (options: Fallback.Options) =>
    Effect.gen(function*() {
      const first = scripted([unavailable(), answer("a")])
      const second = scripted([unavailable(), answer("b", anthropic)], anthropic)
      const guarded = (openDuration: Duration.DurationInput, layer: typeof first.layer) =>
        Effect.map(
          CircuitBreaker.make({ openDuration, tripPolicy: CircuitBreaker.consecutive(1) }),
          (breaker) => LlmProvider.withPolicy(layer, breaker)
        )
      const layer = Fallback.layer(
        [yield* guarded("900 millis", first.layer), yield* guarded("400 millis", second.layer)],
        options
      )
      const service = yield* Effect.provide(LlmProvider.LlmProvider, layer)
      yield* Effect.exit(service.generate(ask))
      return { first, second, service }
    })

  it.effect("the error names when the first one reopens", () =>
    Effect.gen(function*() {
      const { first, second, service } = yield* both({})
      const failure = failureOf(yield* Effect.exit(service.generate(ask)))
      assert.deepStrictEqual(failure.retryAfter, Duration.millis(400))
      assert.deepStrictEqual([first.calls.length, second.calls.length], [1, 1])
    }))

  it.effect("the one that reopens first is asked once all the same, where that is wanted", () =>
    Effect.gen(function*() {
      const { first, second, service } = yield* both({ lastResort: "soonest" })
      assert.strictEqual((yield* service.generate(ask)).text, "b")
      assert.deepStrictEqual([first.calls.length, second.calls.length], [1, 2])
    }))
})
