import { assert, describe, expect, expectTypeOf, it } from "@effect/vitest"
import { Chunk, Deferred, Duration, Effect, Exit, Fiber, Option, Stream, TestClock } from "effect"
import {
  Deadline,
  Fallback,
  InvalidOption,
  LlmError,
  LlmProvider,
  LlmRequest,
  Policy,
  Retry,
  StreamPart
} from "perdure"
import { answer, anthropic, failureOf, openAi, rateLimited, run, scripted, unavailable } from "./support/provider.ts"

const ask = LlmRequest.make("hello")
const minute = Deadline.make("1 minute")
const everySecond = Retry.constant("1 second")

describe("Deadline", () => {
  it.effect("ends the call at its time and not a millisecond before, and says that a request was under way", () =>
    Effect.gen(function*() {
      const provider = scripted([Effect.never])
      const fiber = yield* Effect.fork(provider.service.generate(ask).pipe(minute, Effect.exit))
      yield* TestClock.adjust("59999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* TestClock.adjust("1 millis")
      const failure = failureOf(yield* Fiber.join(fiber))
      expect(failure).toMatchObject({
        _tag: "DeadlineExceeded",
        reason: "passed",
        sent: true,
        limit: Duration.minutes(1)
      })
      expect(failure).toMatchObject(openAi)
      expect(failure.receipt?.attempts).toMatchObject([{
        outcome: { error: "DeadlineExceeded" },
        duration: Duration.minutes(1)
      }])
    }))

  it.effect("R4: no wait is begun that would end at it or past it, and the failure is the one that could not be repeated", () =>
    Effect.gen(function*() {
      for (const [wait, calls] of [["60 seconds", 1], ["59999 millis", 2], ["30 seconds", 2]] as const) {
        const provider = scripted([unavailable()])
        const { elapsed, exit } = yield* run(
          provider.service.generate(ask).pipe(Policy.compose(minute, Policy.retry(Retry.constant(wait))))
        )
        assert.strictEqual(provider.calls.length, calls)
        assert.isBelow(elapsed, 60_000)
        assert.strictEqual(failureOf(exit)._tag, "ProviderUnavailable")
      }
    }))

  it.effect("R4: a retry with a time of its own obeys the nearer of the two", () =>
    Effect.gen(function*() {
      for (const [within, calls] of [["2 minutes", 2], ["25 seconds", 1]] as const) {
        const provider = scripted([unavailable()])
        const retry = Policy.retry(Retry.constant("40 seconds").pipe(Retry.within(within)))
        const { elapsed } = yield* run(provider.service.generate(ask).pipe(Policy.compose(minute, retry)))
        assert.strictEqual(provider.calls.length, calls)
        assert.isBelow(elapsed, 60_000)
      }
    }))

  it.effect("R3: a Retry-After past it fails at once, so that a fallback can start now", () =>
    Effect.gen(function*() {
      const first = scripted([rateLimited("20 seconds")])
      const second = scripted([answer("hi", anthropic)], anthropic)
      const chain = Fallback.make([
        LlmProvider.make({
          ...openAi,
          generate: (request) => Policy.retry(Retry.standard)(first.service.generate(request))
        }),
        second.service
      ])
      const { elapsed, exit } = yield* run(chain.generate(ask).pipe(Deadline.make("10 seconds")))
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(elapsed, 0)
    }))

  it.effect("T1: of deadlines inside one another the nearest counts, whichever is the inner one", () =>
    Effect.gen(function*() {
      const near = Deadline.make("1 second")
      for (const policy of [Policy.compose(minute, near), Policy.compose(near, minute)]) {
        const { elapsed, exit } = yield* run(scripted([Effect.never]).service.generate(ask).pipe(policy))
        assert.strictEqual(elapsed, 1000)
        expect(failureOf(exit)).toMatchObject({ _tag: "DeadlineExceeded", limit: Duration.seconds(1) })
      }
    }))

  it.effect.each<readonly [string, typeof minute]>([
    ["a minute", minute],
    ["the same time", Deadline.make("1 second")]
  ])(
    "T1: %s inside a second leaves the time to that: there is one timer, and no failure inside",
    ([_, inner]) =>
      Effect.gen(function*() {
        const told: Array<string> = []
        const inside = inner(Effect.zipRight(Effect.sleep("400 millis"), Effect.never)).pipe(
          Effect.tapErrorTag("DeadlineExceeded", () => Effect.sync(() => told.push("failed inside")))
        )
        const fiber = yield* Effect.fork(Effect.exit(Deadline.make("1 second")(inside)))
        yield* TestClock.adjust("500 millis")
        assert.deepStrictEqual(Chunk.toReadonlyArray(yield* TestClock.sleeps()), [1000])
        yield* TestClock.adjust("499 millis")
        assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
        yield* TestClock.adjust("1 millis")
        expect(failureOf(yield* Fiber.join(fiber))).toMatchObject({
          _tag: "DeadlineExceeded",
          limit: Duration.seconds(1)
        })
        assert.deepStrictEqual(told, [])
      })
  )

  it.effect("nothing is begun when the time of one around it is up", () =>
    Effect.gen(function*() {
      const provider = scripted([answer("hi")])
      const late = Effect.uninterruptible(Effect.sleep("2 seconds")).pipe(
        Effect.zipRight(Effect.exit(minute(provider.service.generate(ask)))),
        Effect.uninterruptible
      )
      const { exit } = yield* run(Effect.exit(Deadline.make("1 second")(late)))
      assert.strictEqual(provider.calls.length, 0)
      assert(Exit.isSuccess(exit))
      assert.strictEqual(failureOf(exit.value)._tag, "DeadlineExceeded")
    }))

  it.effect("T2: interrupts what is under way and fails only when that has let go", () =>
    Effect.gen(function*() {
      const provider = scripted([Effect.onInterrupt(Effect.never, () => Effect.sleep("300 millis"))])
      const { elapsed } = yield* run(provider.service.generate(ask).pipe(Deadline.make("1 second")))
      assert.strictEqual(elapsed, 1300)
    }))

  it.effect("is never repeated and never moves on: there is no time left", () =>
    Effect.gen(function*() {
      const first = scripted([Effect.never])
      const second = scripted([answer("hi", anthropic)], anthropic)
      const layer = LlmProvider.orElse(
        first.layer.pipe(LlmProvider.withPolicy(Policy.compose(Policy.retry(everySecond), Deadline.make("1 second")))),
        second.layer
      )
      const { exit } = yield* run(LlmProvider.generate("hello").pipe(Effect.provide(layer)))
      assert.strictEqual(failureOf(exit)._tag, "DeadlineExceeded")
      assert.deepStrictEqual([first.calls.length, second.calls.length], [1, 0])
    }))

  it.effect("what is left of it is visible inside, also to the children of the fiber, and gone outside", () =>
    Effect.gen(function*() {
      const { exit } = yield* run(Effect.gen(function*() {
        const inside = yield* minute(Effect.gen(function*() {
          yield* Effect.sleep("10 seconds")
          const child = yield* Effect.fork(Deadline.remaining)
          return [yield* Deadline.remaining, yield* Fiber.join(child)]
        }))
        return [...inside, yield* Deadline.remaining]
      }))
      assert(Exit.isSuccess(exit))
      const fifty = Option.some(Duration.seconds(50))
      assert.deepStrictEqual(exit.value, [fifty, fifty, Option.none()])
    }))

  it.effect("around a stream is the time to the first output, and the reader's own time is not limited", () =>
    Effect.gen(function*() {
      const part = StreamPart.TextDelta.make({ text: "hi" })
      const finish = StreamPart.Finish.make({ finishReason: "stop" })
      const streaming = (first: Duration.DurationInput) =>
        LlmProvider.layer({
          ...openAi,
          generate: () => Effect.die("only streams"),
          stream: () =>
            Stream.fromEffect(Effect.as(Effect.sleep(first), part)).pipe(
              Stream.concat(Stream.fromEffect(Effect.as(Effect.sleep("2 minutes"), finish)))
            )
        }).pipe(LlmProvider.withPolicy(minute))
      const read = LlmProvider.stream("hello").pipe(Stream.runCount)
      const { exit } = yield* run(read.pipe(Effect.provide(streaming("59999 millis"))))
      assert.deepStrictEqual(exit, Exit.succeed(2))
      const { elapsed, exit: late } = yield* run(read.pipe(Effect.provide(streaming("60001 millis"))))
      assert.strictEqual(failureOf(late)._tag, "DeadlineExceeded")
      assert.strictEqual(elapsed, 60_000)
    }))

  it.effect("E2: means nothing to a fiber that outlives it", () =>
    Effect.gen(function*() {
      const late = Effect.all([Effect.exit(minute(Effect.succeed("done"))), Deadline.remaining])
      const daemon = yield* Deadline.make("1 second")(
        Effect.forkDaemon(Effect.zipRight(Effect.sleep("2 seconds"), late))
      )
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* Fiber.join(daemon), [Exit.succeed("done"), Option.none()])
    }))

  it.effect("T1: the nearest counts on a fiber that the outer one's interruption does not reach", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<Fiber.RuntimeFiber<Exit.Exit<never, LlmError.DeadlineExceeded>>>()
      const daemons = Effect.forkDaemon(Effect.exit(minute(Effect.never)))
      const starting = Effect.zipRight(Deferred.complete(started, daemons), Effect.never)
      yield* Effect.fork(Deadline.make("1 second")(starting))
      const daemon = yield* Deferred.await(started)
      yield* TestClock.adjust("999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(daemon)))
      yield* TestClock.adjust("1 millis")
      expect(failureOf(yield* Fiber.join(daemon))).toMatchObject({
        _tag: "DeadlineExceeded",
        limit: Duration.seconds(1)
      })
    }))

  it("adds its refusal to the type and nothing else, and says what it is", () => {
    const limited = minute(Effect.fail("own" as const))
    expectTypeOf(limited).toEqualTypeOf<Effect.Effect<never, "own" | LlmError.DeadlineExceeded>>()
    assert.strictEqual(
      Policy.describe(Policy.compose(minute, Policy.retry(everySecond))).slice(0, 21),
      "deadline 1m › retry 1"
    )
  })

  it("E1: refuses a time that is none", () => {
    for (const limit of [0, -1, Number.NaN, Infinity, "-1 seconds"] as const) {
      expect(() => Deadline.make(limit as Duration.DurationInput)).toThrow(InvalidOption)
    }
  })
})
