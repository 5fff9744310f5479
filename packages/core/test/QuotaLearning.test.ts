import { assert, describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Fiber, TestClock } from "effect"
import { LlmError, Quota, RateLimits } from "perdure"
import { type Ended, OpenedStream } from "../src/internal/opened.ts"
import { openAi, rateLimited } from "./support/provider.ts"
import { answered, now, subject } from "./support/quota.ts"

const key = "openai/gpt-4o"

const told = (limit: number, remaining: number, reset: Duration.DurationInput) =>
  new RateLimits.Limit({ limit, remaining, reset: Duration.decode(reset) })

const requests = (limit: number, remaining: number, reset: Duration.DurationInput) =>
  new RateLimits.RateLimits({ requests: told(limit, remaining, reset) })

const available = (quota: Quota.Service) =>
  Effect.map(quota.status(key), ({ limits }) => limits.map(({ available, quota }) => [quota, available]))

/** An opened stream that ends as told. */
const streamed = (quota: Quota.Service) =>
  Effect.map(
    quota(Effect.sync(() => new OpenedStream(Effect.never)), subject(100, 300, "open")),
    (stream) => (ended: Ended) => stream.end(ended)
  )

describe("what a quota learns", () => {
  it.effect("Q2: without limits of its own it slows down as the provider's run out, before a 429", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make()
      let left = 3
      const call = quota(
        Effect.sync(() => answered({}, requests(60, --left, Duration.seconds(60 - left)))),
        subject()
      )
      yield* Effect.all([call, call, call])
      const fourth = yield* Effect.fork(quota(Effect.succeed("fourth"), subject()))
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(yield* now(fourth), "waits")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* Fiber.join(fourth), "fourth")
    }))

  it.effect("Q2: names the provider's limit when that is what is short", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { requests: 1000, tokens: 1_000_000 }, maxWait: 0 })
      const rateLimits = new RateLimits.RateLimits({
        requests: told(500, 499, "120 millis"),
        tokens: told(30_000, 100, "59.8 seconds"),
        outputTokens: told(8000, 8000, 0)
      })
      yield* quota(Effect.succeed(answered({}, rateLimits)), subject())
      const failure = yield* Effect.flip(quota(Effect.void, subject(90, 21)))
      expect(failure).toMatchObject({ quota: "the provider's tokens", retryAfter: Duration.millis(22) })
      yield* quota(Effect.void, subject(90, 10))
    }))

  it.effect("Q2: a lower limit is adopted, a higher one only with learn: both, and none with never", () =>
    Effect.gen(function*() {
      for (
        const [learn, limit, room] of [
          ["lower", 5, 4],
          ["lower", 50, 9],
          ["both", 50, 49],
          ["both", 5, 4],
          ["never", 5, 9]
        ] as const
      ) {
        const quota = yield* Quota.make({ perMinute: { requests: 10 }, perDay: { requests: 1000 }, learn, maxWait: 0 })
        yield* quota(Effect.succeed(answered({}, requests(limit, limit - 1, "1 second"))), subject())
        let through = 0
        while ((yield* Effect.exit(quota(Effect.void, subject())))._tag === "Success") through++
        assert.strictEqual(through, room, `${learn} ${limit}`)
      }
    }))

  it.effect("Q2: a rate limit's Retry-After holds everybody, then they go one by one at the rate of the limit", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { requests: 60 }, maxWait: "5 minutes" })
      const order: Array<number> = []
      yield* Effect.flip(quota(Effect.fail(rateLimited("20 seconds")), subject()))
      yield* Effect.forEach(
        [1, 2, 3],
        (i) => Effect.zipLeft(Effect.fork(quota(Effect.sync(() => order.push(i)), subject())), Effect.yieldNow())
      )
      assert.deepStrictEqual((yield* quota.status(key)).blockedFor, Duration.seconds(20))
      yield* TestClock.adjust("19999 millis")
      assert.deepStrictEqual(order, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(order, [1])
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(order, [1])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(order, [1, 2])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(order, [1, 2, 3])
    }))

  it.effect("Q2: it holds the requests of one key, and those who could not wait so long are refused at once", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { requests: 1 }, maxWait: "90 seconds" })
      const failing = yield* Effect.fork(Effect.flip(
        quota(Effect.delay(Effect.fail(rateLimited("2 minutes")), "1 second"), subject())
      ))
      yield* Effect.yieldNow()
      const waits = yield* Effect.fork(quota(Effect.void, subject()))
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(yield* now(waits), "waits")
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(failing)
      expect(yield* Effect.flip(Fiber.join(waits))).toMatchObject({
        quota: "the provider's Retry-After",
        retryAfter: Duration.minutes(2)
      })
      yield* quota(Effect.void, { ...subject(), target: { ...openAi, model: "gpt-4o-mini" } })
    }))

  it.effect("Q2: day limits are not drained by a refusal of the minute", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { requests: 10, tokens: 1000 }, perDay: { requests: 100 } })
      yield* Effect.flip(quota(Effect.fail(rateLimited("1 second")), subject(20, 30)))
      assert.deepStrictEqual(yield* available(quota), [
        ["requests per minute", 1],
        ["tokens per minute", 50],
        ["requests per day", 100]
      ])
    }))

  it.effect("Q2: an overload is no rate limit, and a Retry-After of used-up credit blocks too", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ maxWait: 0 })
      const retryAfter = Duration.hours(12)
      yield* Effect.flip(quota(Effect.fail(new LlmError.Overloaded({ ...openAi, retryAfter })), subject()))
      yield* quota(Effect.void, subject())
      yield* Effect.flip(quota(Effect.fail(new LlmError.QuotaExhausted({ ...openAi, retryAfter })), subject()))
      expect(yield* Effect.flip(quota(Effect.void, subject()))).toMatchObject({ _tag: "QuotaExceeded", retryAfter })
    }))

  it.effect("Q2: learns from failures as well", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ maxWait: 0 })
      const failure = LlmError.update(rateLimited(), { rateLimits: requests(60, 0, "1 minute") })
      yield* Effect.flip(quota(Effect.fail(failure), subject()))
      expect(yield* Effect.flip(quota(Effect.void, subject()))).toMatchObject({
        quota: "the provider's requests",
        retryAfter: Duration.seconds(1)
      })
    }))

  it.effect("Q1: a stream is settled by its end, not by its opening", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { requests: 10, tokens: 1000 } })
      const end = yield* streamed(quota)
      assert.strictEqual((yield* quota.status(key)).underWay, 1)
      assert.deepStrictEqual(yield* available(quota), [["requests per minute", 9], ["tokens per minute", 600]])
      yield* end({ _tag: "Answered", usage: answered({ inputTokens: 100, outputTokens: 50 }).usage })
      yield* end({ _tag: "Answered", usage: answered({ inputTokens: 0, outputTokens: 0 }).usage })
      assert.strictEqual((yield* quota.status(key)).underWay, 0)
      assert.deepStrictEqual(yield* available(quota), [["requests per minute", 9], ["tokens per minute", 850]])
    }))

  it.effect("Q1: a stream whose reader leaves stays as estimated, one that is cut is settled by what is known", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ perMinute: { tokens: 1000 } })
      const one = yield* streamed(quota)
      const two = yield* streamed(quota)
      yield* one({ _tag: "Interrupted", streamed: true })
      const usage = answered({ inputTokens: 100, outputTokens: 20 }).usage
      yield* two({ _tag: "Failed", error: new LlmError.StreamInterrupted({ ...openAi, usage }), usage })
      assert.deepStrictEqual(yield* available(quota), [["tokens per minute", 480]])
    }))

  it.effect("Q2: a stream's headers are as old as its beginning", () =>
    Effect.gen(function*() {
      const quota = yield* Quota.make({ maxWait: 0 })
      const end = yield* streamed(quota)
      yield* TestClock.adjust("30 seconds")
      yield* end({ _tag: "Answered", usage: undefined, rateLimits: requests(60, 0, "1 minute") })
      assert.deepStrictEqual(yield* available(quota), [["the provider's requests", 30]])
    }))
})
