/** What each kind of event says. */
import { assert, describe, expect, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, TestClock } from "effect"
import {
  Budget,
  Bulkhead,
  Call,
  Fallback,
  Hedge,
  KeyPool,
  LlmError,
  LlmProvider,
  LlmRequest,
  Policy,
  Quota,
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

  it.effect("O1: a try beside another is no fallback, unless it is the one that answers", () =>
    Effect.gen(function*() {
      for (const [millis, fallback] of [[1500, false], [5000, true]] as const) {
        const first = scripted([Effect.delay(Effect.succeed(answer("first")), millis)])
        const second = scripted([Effect.delay(Effect.succeed(answer("second", anthropic)), "1 second")], anthropic)
        const hedged = Hedge.services([first.service, second.service], { after: "1 second" })
        const { exit } = yield* run(hedged.generate(ask))
        assert(Exit.isSuccess(exit))
        const { receipt } = exit.value
        assert.deepStrictEqual(receipt.attempts.map(({ target }) => target), [openAi, anthropic])
        assert.deepStrictEqual([receipt.fallback, receipt.served?.provider], [
          fallback,
          fallback ? "anthropic" : "openai"
        ])
      }
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

  it.effect("O1: tell of the time in the line of a quota, also where that ends in an interruption", () =>
    Effect.gen(function*() {
      const { install, of } = watching()
      const { install: traced, named } = collector()
      const quota = Quota.make({ name: "line", perMinute: { requests: 1 }, maxWait: "5 minutes" })
      const layer = LlmProvider.withPolicy(scripted([answer("hi")]).layer, quota)
      const three = Effect.gen(function*() {
        const call = LlmProvider.generate("hello")
        yield* call
        assert.deepStrictEqual(of("Queued"), [])
        const waits = yield* Effect.fork(call)
        const leaves = yield* Effect.fork(call)
        yield* TestClock.adjust("1 minute")
        const { receipt } = yield* Fiber.join(waits)
        assert.deepStrictEqual(receipt.waited, Duration.minutes(1))
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.interrupt(leaves)
      })
      yield* three.pipe(Effect.provide(layer), install, traced)
      const place = { policy: "quota", name: "line/openai/gpt-4o", target: openAi }
      expect(of("Queued")).toMatchObject([{ ...place, at: 0 }, { ...place, at: 0 }])
      expect(of("Dequeued")).toMatchObject([
        { ...place, at: 60_000, outcome: "granted", waited: Duration.minutes(1) },
        { ...place, at: 70_000, outcome: "interrupted", waited: Duration.seconds(70) }
      ])
      assert.deepStrictEqual(of("Queued").map(({ call }) => call), of("Dequeued").map(({ call }) => call))
      assert.deepStrictEqual(named("perdure.call").map(({ events }) => events), [
        [],
        [["perdure.wait", 60_000, {
          "perdure.wait": 60,
          "perdure.queue": "quota",
          "perdure.queue.outcome": "granted"
        }]],
        [["perdure.wait", 70_000, {
          "perdure.wait": 70,
          "perdure.queue": "quota",
          "perdure.queue.outcome": "interrupted"
        }]]
      ])
    }))

  it.effect("O1: tell of the time in the line of a bulkhead, also where that ends in a refusal", () =>
    Effect.gen(function*() {
      const { install, of } = watching()
      const bulkhead = Bulkhead.make({ limit: 1, queue: 1, maxWait: "2 seconds" })
      const layer = LlmProvider.withPolicy(scripted([Effect.never]).layer, bulkhead)
      const three = Effect.gen(function*() {
        const call = Effect.exit(LlmProvider.generate("hello"))
        yield* Effect.fork(call)
        yield* Effect.yieldNow()
        const waits = yield* Effect.fork(call)
        yield* Effect.yieldNow()
        // The line is full, so this one is never in it.
        yield* call
        yield* TestClock.adjust("2 seconds")
        yield* Fiber.join(waits)
      })
      yield* three.pipe(Effect.provide(layer), install)
      const place = { policy: "bulkhead", name: "openai/gpt-4o", target: openAi }
      expect(of("Queued")).toMatchObject([{ ...place, at: 0 }])
      expect(of("Dequeued")).toMatchObject([{ ...place, at: 2000, outcome: "refused", waited: Duration.seconds(2) }])
      assert.deepStrictEqual(of("Refused").map(({ at, because }) => [at, because]), [
        [0, "BulkheadFull"],
        [2000, "BulkheadFull"]
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
