/** What each kind of event says. */
import { assert, describe, expect, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, TestClock } from "effect"
import {
  Budget,
  Call,
  Fallback,
  Hedge,
  KeyPool,
  LlmError,
  LlmProvider,
  LlmRequest,
  Policy,
  Receipt,
  Retry
} from "perdure"
import { answer, anthropic, openAi, rateLimited, run, scripted, unavailable } from "./support/provider.ts"
import { collector } from "./support/telemetry.ts"

const ask = LlmRequest.make("hello")

/** Keeps what is told in an effect. */
const watching = () => {
  const events: Array<Call.Event> = []
  const of = <T extends Call.Event["_tag"]>(tag: T) =>
    events.filter((event): event is Extract<Call.Event, { readonly _tag: T }> => event._tag === tag)
  return { of, install: Call.observe((event) => events.push(event)) }
}

describe("the events of a call", () => {
  it.effect("O1: say which key was used, and whether the try was one beside another", () =>
    Effect.gen(function*() {
      const { install, of } = watching()
      const { service } = scripted([Effect.never, answer("hi")])
      const pool = KeyPool.make([{ label: "a", service }])
      const hedge = yield* Hedge.make({ after: "1 second" })
      const fiber = yield* Effect.fork(install(pool.generate(ask).pipe(hedge)))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(of("AttemptStarted").map(({ hedge, key }) => [hedge, key]), [[false, "a"], [true, "a"]])
      assert.deepStrictEqual(of("AttemptEnded").map(({ hedge, key }) => [hedge, key]), [[true, "a"], [false, "a"]])
    }))

  it.effect("O1: say which of two answers was not given on, and so does the receipt", () =>
    Effect.gen(function*() {
      const { install, of } = watching()
      const go = yield* Deferred.make<void>()
      const first = scripted([Effect.as(Deferred.await(go), answer("first"))])
      const second = scripted([Effect.as(Deferred.await(go), answer("second", anthropic))], anthropic)
      const hedged = Hedge.services([first.service, second.service], { after: 0 })
      const fiber = yield* Effect.fork(install(hedged.generate(ask)))
      yield* TestClock.adjust(0)
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      yield* Deferred.succeed(go, undefined)
      const { receipt, text } = yield* Fiber.join(fiber)
      assert.strictEqual(text, "first")
      assert.deepStrictEqual(of("Discarded").map(({ attempt, target }) => [attempt, target]), [[2, anthropic]])
      assert.deepStrictEqual(receipt.attempts.map(({ discarded }) => discarded), [undefined, true])
      assert.strictEqual(receipt.served?.provider, "openai")
      assert.deepStrictEqual(of("Ended")[0]?.receipt, receipt)
    }))

  it.effect("O1: do not name a requested target before there is one, nor does the span", () =>
    Effect.gen(function*() {
      const { install, of } = watching()
      const { install: traced, named } = collector()
      const byHand = LlmProvider.LlmProvider.of({
        generate: () => Effect.succeed(answer("hi")),
        open: () => Effect.fail(unavailable())
      })
      const call = LlmProvider.generate(ask).pipe(Effect.provideService(LlmProvider.LlmProvider, byHand))
      const { receipt } = yield* call.pipe(install, traced)
      assert.deepStrictEqual(of("Started").map(({ requested }) => requested), [undefined])
      assert.strictEqual(receipt.requested.provider, "openai")
      assert.strictEqual(named("perdure.call")[0]?.attributes.get("perdure.requested.provider"), "openai")
      yield* install(scripted([answer("hi")]).service.generate(ask))
      assert.deepStrictEqual(of("Started").map(({ requested }) => requested), [undefined, openAi])
    }))

  const reasons: ReadonlyArray<readonly [Call.GiveUp, Retry.Retry<LlmError.LlmError>, LlmError.LlmError]> = [
    ["attempts", Retry.constant("1 second").pipe(Retry.attempts(2)), unavailable()],
    ["notRetryable", Retry.standard, new LlmError.InvalidRequest(openAi)],
    ["retryAfter", Retry.standard, rateLimited("10 minutes")],
    ["elapsed", Retry.constant("1 minute").pipe(Retry.within("30 seconds")), unavailable()]
  ]
  for (const [reason, retry, failure] of reasons) {
    it.effect(`O1: say that a retry gave up, and why: ${reason}`, () =>
      Effect.gen(function*() {
        const { install, of } = watching()
        const layer = LlmProvider.withPolicy(scripted([failure]).layer, Policy.retry(retry))
        yield* run(Effect.exit(LlmProvider.generate("hello").pipe(Effect.provide(layer), install)))
        expect(of("GaveUp")).toMatchObject([{ target: openAi, because: failure._tag, reason }])
      }))
  }

  it.effect("O1: say that a budget does not pay, for what and for whom", () =>
    Effect.gen(function*() {
      const { install, of } = watching()
      const poor = {
        target: { capacity: 0.5, perSecond: 0 },
        process: "none",
        costs: { fallback: 1 }
      } as const
      const layer = scripted([unavailable()]).layer.pipe(
        LlmProvider.withPolicy(Policy.retry(Retry.standard)),
        LlmProvider.orElse(scripted([answer("hi", anthropic)], anthropic).layer),
        LlmProvider.withPolicy(Budget.make(poor))
      )
      yield* run(Effect.exit(LlmProvider.generate("hello").pipe(Effect.provide(layer), install)))
      assert.deepStrictEqual(of("BudgetExhausted").map(({ kind, target }) => [kind, target]), [
        ["retry", openAi],
        ["fallback", anthropic]
      ])
      assert.deepStrictEqual(of("GaveUp").map(({ reason }) => reason), ["budget"])
      const stuck = scripted([Effect.never]).layer.pipe(
        LlmProvider.withPolicy(Hedge.make({ after: "1 second" })),
        LlmProvider.withPolicy(Budget.make(poor))
      )
      yield* run(LlmProvider.generate("hello").pipe(Effect.provide(stuck), install))
      assert.deepStrictEqual(of("BudgetExhausted").at(-1)?.kind, "hedge")
    }))

  it.effect("O1: name each key that a pool leaves out, for how long and why, and none that stays", () =>
    Effect.gen(function*() {
      const { install, of } = watching()
      const key = (label: string, step: Parameters<typeof scripted>[0][0], domain?: string) => ({
        label,
        service: scripted([step]).service,
        domain
      })
      const pool = KeyPool.make([
        key("a", new LlmError.Unauthenticated({ ...openAi, status: 401 })),
        key("b", rateLimited("5 seconds"), "org"),
        key("c", rateLimited("5 seconds"), "org"),
        key("d", answer("hi"))
      ])
      yield* install(pool.generate(ask))
      const benched = of("KeyBenched").map((
        { because, benchedFor, key }
      ) => [key, because, Duration.toSeconds(benchedFor)])
      assert.deepStrictEqual(benched, [["a", "Unauthenticated", 30], ["b", "RateLimited", 5], ["c", "RateLimited", 5]])
      yield* install(pool.generate(ask))
      assert.strictEqual(of("KeyBenched").length, 3)
    }))

  it.effect("O1: say whom the failure counts against, and its status", () =>
    Effect.gen(function*() {
      const { install, of } = watching()
      const wrong = new LlmError.InvalidRequest({ ...openAi, status: 400 })
      for (const step of [unavailable(), wrong, Effect.die("a bug"), answer("hi")]) {
        yield* Effect.exit(install(scripted([step]).service.generate(ask)))
      }
      assert.deepStrictEqual(of("Ended").map(({ blame, error, status }) => [error, blame, status]), [
        ["ProviderUnavailable", "provider", 500],
        ["InvalidRequest", "request", 400],
        ["Defect", undefined, undefined],
        [undefined, undefined, undefined]
      ])
    }))

  it.effect("O1: of waits say who was asked before", () =>
    Effect.gen(function*() {
      const { install, of } = watching()
      const retried = LlmProvider.withPolicy(scripted([unavailable()], anthropic).layer, Policy.retry(Retry.standard))
      const chain = Fallback.layer([scripted([unavailable()]).layer, retried])
      yield* run(Effect.exit(LlmProvider.generate("hello").pipe(Effect.provide(chain), install)))
      assert.deepStrictEqual(of("Waiting").map(({ target }) => target), [anthropic, anthropic])
      assert.isTrue(of("Ended").every(({ receipt }) => receipt instanceof Receipt.Receipt))
    }))
})
