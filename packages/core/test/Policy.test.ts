import { assert, describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Fiber, SubscriptionRef, TestClock } from "effect"
import { Bulkhead, InvalidOption, LlmProvider, LlmRequest, Policy, Retry } from "perdure"
import { answer, failureOf, openAi, run, scripted, unavailable } from "./support/provider.ts"

const ask = LlmRequest.make("hello")

describe("Policy.timeout", () => {
  it.effect("fails at the limit and not a millisecond before", () =>
    Effect.gen(function*() {
      const provider = scripted([Effect.never])
      const fiber = yield* Effect.fork(provider.service.generate(ask).pipe(Policy.timeout("30 seconds"), Effect.exit))
      yield* TestClock.adjust("29999 millis")
      assert.strictEqual((yield* Fiber.poll(fiber))._tag, "None")
      yield* TestClock.adjust("1 millis")
      const failure = failureOf(yield* Fiber.join(fiber))
      assert(failure._tag === "TimedOut")
      expect(failure).toMatchObject({ ...openAi, phase: "attempt", limit: Duration.seconds(30) })
    }))

  it.effect("T2: interrupts the attempt and fails only when it has let go", () =>
    Effect.gen(function*() {
      const released = yield* Deferred.make<number>()
      const provider = scripted([
        Effect.onInterrupt(
          Effect.never,
          () => Effect.zipRight(Effect.sleep("200 millis"), Deferred.succeed(released, 1))
        )
      ])
      const { elapsed } = yield* run(provider.service.generate(ask).pipe(Policy.timeout("1 second")))
      assert.isTrue(yield* Deferred.isDone(released))
      assert.strictEqual(elapsed, 1200)
    }))

  it.effect("is not there when the answer comes in time", () =>
    Effect.gen(function*() {
      const provider = scripted([Effect.delay(Effect.succeed(answer("hi")), "999 millis")])
      const { exit } = yield* run(provider.service.generate(ask).pipe(Policy.timeout("1 second")))
      assert(Exit.isSuccess(exit))
    }))

  it.effect("the receipt says that the attempt timed out, not that it was interrupted", () =>
    Effect.gen(function*() {
      const provider = scripted([Effect.never])
      const layer = provider.layer.pipe(LlmProvider.withPolicy(Policy.timeout("1 second")))
      const { exit } = yield* run(LlmProvider.generate("hello").pipe(Effect.provide(layer)))
      const [attempt] = failureOf(exit).receipt?.attempts ?? []
      expect(attempt?.outcome).toMatchObject({ _tag: "Failed", error: "TimedOut" })
      expect(attempt?.duration).toEqual(Duration.seconds(1))
    }))

  it.effect("R7: a request that is not idempotent is not repeated after it, even where the policies are applied by hand", () =>
    Effect.gen(function*() {
      const retried = Policy.compose(Policy.retry(Retry.exponential("1 second")), Policy.timeout("1 second"))
      const request = LlmRequest.make({ messages: [LlmRequest.user("pay")], idempotent: false })
      const once = scripted([Effect.never])
      const { exit } = yield* run(once.service.generate(request).pipe(retried))
      assert.strictEqual(once.calls.length, 1)
      assert.strictEqual(failureOf(exit)._tag, "TimedOut")

      const again = scripted([Effect.never, answer("hi")])
      yield* run(again.service.generate(ask).pipe(retried))
      assert.strictEqual(again.calls.length, 2)
    }))

  it.effect("E2: interrupting it interrupts the attempt", () =>
    Effect.gen(function*() {
      let interrupted = false
      const stuck = Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted = true))
      const fiber = yield* Effect.fork(Policy.timeout("1 second")(stuck))
      yield* TestClock.adjust("10 millis")
      const exit = yield* Fiber.interrupt(fiber)
      assert(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause))
      assert.isTrue(interrupted)
    }))

  it("E1: refuses a limit that is no finite time", () => {
    for (const limit of [0, -1, Number.NaN, Infinity, "-1 seconds"] as const) {
      expect(() => Policy.timeout(limit as Duration.DurationInput)).toThrow(InvalidOption)
    }
  })
})

describe("Policy.compose", () => {
  const slow = () => scripted([Effect.delay(Effect.fail(unavailable()), "600 millis")])
  const retry = Policy.retry(Retry.constant("100 millis").pipe(Retry.attempts(3)))

  it.effect("a timeout inside a retry limits each attempt", () =>
    Effect.gen(function*() {
      const provider = slow()
      const { elapsed, exit } = yield* run(
        provider.service.generate(ask).pipe(Policy.compose(retry, Policy.timeout("1 second")))
      )
      assert.strictEqual(provider.calls.length, 3)
      assert.strictEqual(failureOf(exit)._tag, "ProviderUnavailable")
      assert.strictEqual(elapsed, 2000)
    }))

  it.effect("a timeout around a retry limits all attempts together", () =>
    Effect.gen(function*() {
      const provider = slow()
      const { elapsed, exit } = yield* run(
        provider.service.generate(ask).pipe(Policy.compose(Policy.timeout("1 second"), retry))
      )
      assert.strictEqual(provider.calls.length, 2)
      assert.strictEqual(failureOf(exit)._tag, "TimedOut")
      assert.strictEqual(elapsed, 1000)
    }))

  it.effect("means the same in both forms, and as two steps of a pipe", () =>
    Effect.gen(function*() {
      const forms = [
        Policy.compose(retry, Policy.timeout("500 millis")),
        retry.pipe(Policy.compose(Policy.timeout("500 millis")))
      ]
      for (const policy of forms) {
        const provider = slow()
        yield* run(provider.service.generate(ask).pipe(policy))
        assert.strictEqual(provider.calls.length, 3)
      }
      const provider = slow()
      yield* run(provider.service.generate(ask).pipe(Policy.timeout("500 millis"), retry))
      assert.strictEqual(provider.calls.length, 3)
    }))

  it.effect("identity changes nothing on either side", () =>
    Effect.gen(function*() {
      for (const policy of [Policy.compose(Policy.identity, retry), Policy.compose(retry, Policy.identity)]) {
        const provider = slow()
        yield* run(provider.service.generate(ask).pipe(policy))
        assert.strictEqual(provider.calls.length, 3)
        assert.strictEqual(Policy.describe(policy), Policy.describe(retry))
      }
    }))

  it("describes the whole, the outermost first", () => {
    expect(Policy.describe(Policy.compose(Policy.timeout("1 minute"), Policy.retry(Retry.article)))).toBe(
      "timeout 1m › retry 2s → 4s → 8s, cap 30s, full jitter, 4 attempts, within 1m, Retry-After up to 1m"
    )
    expect(Policy.describe(Policy.identity)).toBe("no policy")
  })
})

describe("a timeout and what is around it", () => {
  it.effect("E2: an interruption waits until the attempt has let go", () =>
    Effect.gen(function*() {
      const order: Array<string> = []
      const note = (what: string) => Effect.sync(() => order.push(what))
      const socket = Effect.acquireRelease(
        note("open"),
        () => Effect.zipRight(Effect.sleep("2 seconds"), note("closed"))
      )
      const fiber = yield* Effect.acquireUseRelease(
        note("permit"),
        () => Effect.scoped(Effect.zipRight(socket, Effect.never)).pipe(Policy.timeout("5 seconds")),
        () => note("permit released")
      ).pipe(Effect.fork)
      yield* TestClock.adjust("1 second")
      const interrupting = yield* Effect.fork(Fiber.interrupt(fiber))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(interrupting)
      assert.deepStrictEqual(order, ["permit", "open", "closed", "permit released"])
    }))

  it.effect("R9: one around a retry is phase call, and no retry further out repeats it", () =>
    Effect.gen(function*() {
      const retry = (n: number) => Policy.retry(Retry.constant("2 seconds").pipe(Retry.attempts(n)))
      const provider = scripted([unavailable()])
      const { exit } = yield* run(
        provider.service.generate(ask).pipe(retry(9), Policy.timeout("5 seconds"), retry(3))
      )
      const failure = failureOf(exit)
      assert(failure._tag === "TimedOut")
      assert.strictEqual(failure.phase, "call")
      assert.strictEqual(provider.calls.length, 3)
    }))

  it.effect("names no provider where there was none", () =>
    Effect.gen(function*() {
      const { exit } = yield* run(Effect.sleep("10 seconds").pipe(Policy.timeout("1 second")))
      expect(failureOf(exit).message).toBe("unknown/unknown timed out after 1s, phase attempt")
    }))

  it.effect("R7: a request that was answered says nothing of the one that timed out after it", () =>
    Effect.gen(function*() {
      const paid = LlmRequest.make({ messages: [LlmRequest.user("pay")], idempotent: false })
      const provider = scripted([answer("paid"), Effect.never, answer("paid"), answer("hi")])
      const program = Effect.zipRight(provider.service.generate(paid), provider.service.generate(ask))
      const { exit } = yield* run(
        program.pipe(
          Policy.timeout("1 second"),
          Effect.catchTag("TimedOut", ({ idempotent }) => Effect.succeed(idempotent))
        )
      )
      assert.deepStrictEqual(exit, Exit.succeed(true))
    }))
})

describe("Policy.follow", () => {
  it.scoped("gives a policy its options as they change, and what it knows stays", () =>
    Effect.gen(function*() {
      const options = yield* SubscriptionRef.make<Bulkhead.Options>({ limit: 1, queue: 0 })
      const bulkhead = yield* Bulkhead.make()
      yield* Policy.follow(bulkhead, options)
      yield* Effect.yieldNow()
      yield* Effect.fork(bulkhead(Effect.never))
      yield* Effect.yieldNow()
      assert.strictEqual(failureOf(yield* Effect.exit(bulkhead(Effect.void)))._tag, "BulkheadFull")
      yield* SubscriptionRef.set(options, { limit: 2, queue: 0 })
      for (let i = 0; i < 9; i++) yield* Effect.yieldNow()
      yield* bulkhead(Effect.void)
      assert.strictEqual(yield* bulkhead.inFlight, 1)
    }))

  it.scoped("has given them when it returns: the next call is made with them", () =>
    Effect.gen(function*() {
      const options = yield* SubscriptionRef.make<Bulkhead.Options>({ limit: 7 })
      const bulkhead = yield* Bulkhead.make({ limit: 1 })
      const limit = yield* Effect.zipRight(Policy.follow(bulkhead, options), bulkhead.limit)
      assert.strictEqual(limit, 7)
    }))

  it.scoped("E1: options that are refused change nothing, and those after them are taken", () =>
    Effect.gen(function*() {
      const options = yield* SubscriptionRef.make<Bulkhead.Options>({ limit: 3 })
      const bulkhead = yield* Bulkhead.make()
      yield* Policy.follow(bulkhead, options)
      for (const [limit, expected] of [[0, 3], [4, 4]] as const) {
        for (let i = 0; i < 9; i++) yield* Effect.yieldNow()
        yield* SubscriptionRef.set(options, { limit })
        for (let i = 0; i < 9; i++) yield* Effect.yieldNow()
        assert.strictEqual(yield* bulkhead.limit, expected)
      }
    }))
})
