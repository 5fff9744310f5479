import { assert, describe, expect, expectTypeOf, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, TestClock } from "effect"
import { InvalidOption, LlmError, LlmProvider, LlmRequest, Policy, Quota, QuotaStore } from "perdure"
import { withDeadline } from "./support/deadline.ts"
import { openAi, rateLimited, unavailable } from "./support/provider.ts"
import { answered, now, subject } from "./support/quota.ts"

const key = "openai/gpt-4o"

const available = (quota: Quota.Service, of = key) =>
  Effect.map(quota.status(of), ({ limits }) => limits.map(({ available }) => available))

describe("Quota.make", () => {
  it.effect("Q1: lets the burst through at once, and the next one at the millisecond of its permit", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { requests: 2 } })
      yield* quota(Effect.void)
      yield* quota(Effect.void)
      const third = yield* Effect.fork(quota(Effect.succeed("third")))
      yield* TestClock.adjust("29999 millis")
      assert.strictEqual(yield* now(third), "waits")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* Fiber.join(third), "third")
    }))

  it.effect("Q1: takes tokens from the estimate and settles them by real usage", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { requests: 10, tokens: 1000 } })
      const gate = yield* Deferred.make<void>()
      const call = yield* Effect.fork(
        quota(Effect.as(Deferred.await(gate), answered({ inputTokens: 90, outputTokens: 20 })), subject(100, 300))
      )
      yield* Effect.yieldNow()
      assert.deepStrictEqual(yield* available(quota), [9, 600])
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(call)
      assert.deepStrictEqual(yield* available(quota), [9, 890])
    }))

  it.effect("Q1: estimates the answer by the mean of those before it, where the request does not limit it", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { tokens: 10_000 } })
      const underWay = quota(Effect.interrupt, subject(100)).pipe(Effect.exit)
      yield* underWay
      assert.deepStrictEqual(yield* available(quota), [9400])
      yield* quota(Effect.succeed(answered({ inputTokens: 100, outputTokens: 80 })), subject(100))
      assert.deepStrictEqual(yield* available(quota), [9220])
      yield* underWay
      assert.deepStrictEqual(yield* available(quota), [9040])
      yield* quota(Effect.succeed(answered({ inputTokens: 100, outputTokens: 160 })), subject(100))
      yield* underWay
      assert.deepStrictEqual(yield* available(quota), [9040 - 260 - 190])
    }))

  const ends: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>, ReadonlyArray<number>]> = [
    ["an answer without usage stays as estimated", Effect.succeed(answered()), [9, 600]],
    ["a value that is no answer stays as estimated", Effect.succeed("hi"), [9, 600]],
    ["one half of the usage settles that half", Effect.succeed(answered({ inputTokens: 50 })), [9, 650]],
    ["a rate limit gives everything back", Effect.fail(rateLimited()), [10, 1000]],
    [
      "a connection never made gives everything back",
      Effect.fail(new LlmError.ConnectionFailed({ ...openAi, sent: false })),
      [10, 1000]
    ],
    [
      "the refusal of a policy inside gives everything back",
      Effect.fail(LlmError.refusal(LlmError.BulkheadFull, { ...openAi, limit: 1, queue: 0 })),
      [10, 1000]
    ],
    ["a server's failure stays as estimated", Effect.fail(unavailable()), [9, 600]],
    [
      "a failure with usage is settled by it",
      Effect.fail(LlmError.update(unavailable(), { usage: answered({ inputTokens: 90, outputTokens: 7 }).usage })),
      [9, 903]
    ],
    ["a failure that is none of ours stays as estimated", Effect.fail("what?"), [9, 600]],
    ["a defect stays as estimated", Effect.die("oh"), [9, 600]],
    ["an interruption stays as estimated", Effect.interrupt, [9, 600]],
    ["more than the estimate is taken later", Effect.succeed(answered({ inputTokens: 900, outputTokens: 700 })), [9, 0]]
  ]
  for (const [what, end, left] of ends) {
    it.effect(`Q1: ${what}`, () =>
      Effect.gen(function*() {
        const quota = yield* Quota.make({ perMinute: { requests: 10, tokens: 1000 } })
        yield* Effect.exit(quota(end, subject(100, 300)))
        assert.deepStrictEqual(yield* available(quota), left)
        assert.strictEqual((yield* quota.status(key)).underWay, 0)
      }))
  }

  it.effect("Q1: limits input and output tokens apart, and leaves out what came from a cache where asked to", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { inputTokens: 1000, outputTokens: 500 }, countCached: false })
      const usage = answered({ inputTokens: 400, cachedInputTokens: 300, outputTokens: 10 })
      yield* quota(Effect.succeed(usage), subject(400, 100))
      assert.deepStrictEqual(yield* available(quota), [900, 490])
    }))

  it.effect("Q1: refuses at once what is larger than a limit ever holds, and says so", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { requests: 1, tokens: 1000 } })
      const failure = yield* Effect.flip(quota(Effect.void, subject(900, 101)))
      assert.strictEqual(failure.quota, "tokens per minute")
      assert.strictEqual(failure.retryAfter, undefined)
      assert.strictEqual(failure.shouldRetry, false)
      assert.strictEqual(
        failure.message,
        "openai/gpt-4o is not asked: no permit in tokens per minute: the request needs 1001 tokens, and there are never " +
          "more than 1000 at once"
      )
      yield* quota(Effect.void, subject(900, 100))
    }))

  it.effect("refuses at once what would wait longer than maxWait, and says when to come again", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { requests: 1 }, maxWait: "59999 millis" })
      yield* quota(Effect.void, subject())
      const failure = yield* Effect.flip(quota(Effect.void, subject()))
      expect(failure).toMatchObject({ ...openAi, quota: "requests per minute", retryAfter: Duration.minutes(1) })
      assert.strictEqual(failure.stack?.includes("Quota.ts"), false)
      yield* TestClock.adjust("1 millis")
      const waits = yield* Effect.fork(quota(Effect.void, subject()))
      yield* TestClock.adjust("59998 millis")
      assert.strictEqual(yield* now(waits), "waits")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* now(waits), "done")
    }))

  it.effect("R4: begins no wait that would end at the deadline or past it", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({
        perMinute: { requests: 60 },
        limits: [
          { unit: "requests", amount: 1, per: "1 second", name: "one" }
        ]
      })
      yield* quota(Effect.void)
      const until = (at: number) => withDeadline(at, Duration.millis(at))(Effect.exit(quota(Effect.void)))
      const exit = yield* until(1000)
      assert(Exit.isFailure(exit) && exit.cause._tag === "Fail")
      expect(exit.cause.error).toMatchObject({ quota: "one", retryAfter: Duration.seconds(1) })
      const waits = yield* Effect.fork(until(1001))
      yield* TestClock.adjust("1 second")
      assert(Exit.isSuccess(yield* Fiber.join(waits)))
    }))

  it.effect("never waits with maxWait 0, nor with a queue of 0", () =>
    Effect.gen(function*() {
      for (const options of [{ maxWait: 0 }, { queue: 0 }]) {
        const quota = yield* Quota.make({ perMinute: { requests: 1 }, ...options })
        yield* quota(Effect.void)
        assert.strictEqual((yield* Effect.flip(quota(Effect.void)))._tag, "QuotaExceeded")
      }
    }))

  it.effect("Q1: several limits at once: the one that is short longest is named", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({
        perMinute: { requests: 10, tokens: 1000 },
        perDay: { requests: 2 },
        maxWait: 0
      })
      yield* quota(Effect.void, subject(400, 400))
      expect(yield* Effect.flip(quota(Effect.void, subject(400, 400)))).toMatchObject({
        quota: "tokens per minute",
        retryAfter: Duration.seconds(36)
      })
      yield* quota(Effect.void, subject(0, 10))
      expect(yield* Effect.flip(quota(Effect.void, subject(400, 400)))).toMatchObject({
        quota: "requests per day",
        retryAfter: Duration.hours(12)
      })
      assert.deepStrictEqual(yield* available(quota), [8, 190, 0])
    }))

  it.effect("keeps keys apart: by default each model of each provider", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { requests: 1 }, maxWait: 0 })
      yield* quota(Effect.void, subject())
      yield* quota(Effect.void, { ...subject(), target: { ...openAi, model: "gpt-4o-mini" } })
      yield* Effect.flip(quota(Effect.void, subject()))
      const shared = yield* Quota.make({ perMinute: { requests: 1 }, maxWait: 0, key: () => "us" })
      yield* shared(Effect.void, subject())
      yield* Effect.flip(shared(Effect.void))
      assert.deepStrictEqual(yield* available(shared, "us"), [0])
    }))

  it.effect("stands around a provider, and its refusal is in the error of the call", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { tokens: 100 }, maxWait: 0, estimate: () => 60 })
      const layer = LlmProvider.layer({
        ...openAi,
        generate: () => Effect.succeed(answered({ inputTokens: 30, outputTokens: 10 }))
      }).pipe(LlmProvider.withPolicy(quota))
      const request = LlmRequest.make({ messages: [LlmRequest.user("hi")], maxOutputTokens: 10 })
      const ask = LlmProvider.generate(request).pipe(Effect.provide(layer))
      yield* ask
      assert.deepStrictEqual(yield* available(quota), [60])
      const failure = yield* Effect.flip(Effect.zipRight(ask, ask))
      assert.strictEqual(failure._tag, "QuotaExceeded")
      assert.strictEqual(failure.receipt?.attempts.length, 0)
    }))

  it.effect("reconfigures while it runs: what is used stays used, and those who wait go by the new limits", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { requests: 3 } })
      for (let i = 0; i < 3; i++) yield* quota(Effect.void)
      const waits = yield* Effect.fork(quota(Effect.void))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* now(waits), "waits")
      yield* quota.reconfigure({ perMinute: { requests: 5 } })
      yield* TestClock.adjust("0 millis")
      assert.strictEqual(yield* now(waits), "done")
      assert.deepStrictEqual(yield* available(quota, "default"), [1])
      assert.strictEqual(Policy.describe(quota), "quota 5 requests per minute")
      expect(() => quota.reconfigure({ queue: -1 })).toThrow(InvalidOption)
    }))

  it.effect("shares a store with the quotas of the same name, and is a layer of its own", () =>
    Effect.gen(function*() {
      const one = Effect.map(Quota.Quota, (quota) => quota)
      const shared = Layer.provideMerge(Quota.layer({ perMinute: { requests: 2 }, maxWait: 0 }), QuotaStore.layerMemory)
      yield* Effect.gen(function*() {
        yield* (yield* one)(Effect.void)
        const second = yield* Quota.make({ perMinute: { requests: 2 }, maxWait: 0 })
        yield* second(Effect.void)
        yield* Effect.flip((yield* one)(Effect.void))
        const apart = yield* Quota.make({ perMinute: { requests: 2 }, maxWait: 0, name: "apart" })
        yield* apart(Effect.void)
        const store = yield* QuotaStore.QuotaStore
        assert.strictEqual((yield* store.get("default/default"))?.serial, 2)
      }).pipe(Effect.provide(shared))
    }))

  it("E1: refuses options out of range", () => {
    const bad: ReadonlyArray<Quota.Options> = [
      { perMinute: { requests: 0 } },
      { perDay: { tokens: 1.5 } },
      { perMinute: { tokens: 1e13 } },
      { limits: [{ unit: "requests", amount: 1, per: 0 }] },
      { limits: [{ unit: "requests", amount: 1, per: 1.5 }] },
      { limits: [{ unit: "requests", amount: 1, per: "1 second", burst: 0 }] },
      { limits: [{ unit: "requests", amount: 1, per: "1 second", name: " " }] },
      { limits: [{ unit: "words" as "tokens", amount: 1, per: "1 second" }] },
      { perMinute: { requests: 1 }, limits: [{ unit: "requests", amount: 1, per: "1 minute" }] },
      { learn: "sometimes" as "never" },
      { maxWait: -1 },
      { queue: Number.NaN },
      { name: "" }
    ]
    for (const options of bad) expect(() => Quota.make(options)).toThrow(InvalidOption)
    expect(() => Quota.make({ perMinute: { requests: 0 } })).toThrow("Quota.make({ perMinute: { requests } })")
  })

  it.effect("an estimate that makes no sense counts for nothing", () =>
    Effect.gen(function*() {
      for (const tokens of [Number.NaN, -5, Infinity]) {
        const quota = yield* Quota.make({ perMinute: { tokens: 100 }, estimate: () => tokens })
        yield* quota(Effect.void, subject(1, 10))
        assert.deepStrictEqual(yield* available(quota), [90])
      }
    }))

  it("says what it is, and adds nothing but its refusal to the error", () => {
    const quota = Effect.runSync(Quota.make({
      perMinute: { requests: 500, tokens: 200_000 },
      limits: [{ unit: "requests", amount: 10, per: "1 second", burst: 2 }]
    }))
    assert.strictEqual(
      Policy.describe(quota),
      "quota 500 requests per minute, 200000 tokens per minute, 10 requests per second, burst 2"
    )
    assert.strictEqual(Policy.describe(Effect.runSync(Quota.make())), "quota as the provider says")
    expectTypeOf(Effect.succeed(1).pipe(quota)).toEqualTypeOf<Effect.Effect<number, LlmError.QuotaExceeded>>()
    // @ts-expect-error: a limit without a time
    void (() => Quota.make({ limits: [{ unit: "tokens", amount: 1 }] }))
  })
})
