import { assert, describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Schedule, Stream, TestClock } from "effect"
import {
  Bulkhead,
  InvalidOption,
  LlmError,
  LlmProvider,
  LlmRequest,
  LlmResponse,
  Policy,
  type StreamPart
} from "perdure"
import { openAi, run } from "./support/provider.ts"
import { settle, status, work } from "./support/work.ts"

describe("Bulkhead.adaptive", () => {
  /** Answers that come so fast: each takes half a second and 20 ms a token, times how busy it is. */
  const timed = (tokens: number, busy = 1) =>
    Effect.delay(
      Effect.succeed(
        new LlmResponse.LlmResponse({
          ...openAi,
          content: [LlmRequest.text("hi")],
          finishReason: "stop",
          usage: new LlmResponse.Usage({ outputTokens: tokens })
        })
      ),
      Duration.millis(busy * (500 + 20 * tokens))
    )
  const many = (bulkhead: Bulkhead.Service, count: number, call: () => Effect.Effect<unknown, LlmError.LlmError>) =>
    run(
      Effect.forEach(Array.from({ length: count }), () => Effect.exit(bulkhead(Effect.suspend(call))), {
        concurrency: "unbounded",
        discard: true
      }),
      "1 hour"
    )
  const overloaded = new LlmError.Overloaded(openAi)

  it.effect("grows while it is used, and lets in who waits", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.adaptive({ initial: 4, queue: 1000 })
      assert.strictEqual(yield* bulkhead.limit, 4)
      yield* many(bulkhead, 200, () => timed(100))
      expect(yield* bulkhead.limit).toBeGreaterThan(10)
      assert.deepStrictEqual(yield* status(bulkhead), [0, 0])
    }))

  it.effect("does not grow while it is not used", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.adaptive({ initial: 10 })
      for (let i = 0; i < 30; i++) yield* many(bulkhead, 4, () => timed(100))
      assert.strictEqual(yield* bulkhead.limit, 10)
    }))

  it.effect("shrinks when tokens come slower, and not when there are more of them", () =>
    Effect.gen(function*() {
      const long = yield* Bulkhead.adaptive({ initial: 20, max: 20 })
      const busy = yield* Bulkhead.adaptive({ initial: 20, max: 20 })
      for (const bulkhead of [long, busy]) yield* many(bulkhead, 60, () => timed(100))
      yield* many(long, 60, () => timed(5000))
      yield* many(busy, 60, () => timed(100, 4))
      assert.strictEqual(yield* long.limit, 20)
      expect(yield* busy.limit).toBeLessThan(18)
    }))

  it.effect("shrinks at once by a refusal for overload, a rate limit or a timeout, and by nothing else", () =>
    Effect.gen(function*() {
      const limitAfter = (error: LlmError.LlmError) =>
        Effect.gen(function*() {
          const bulkhead = yield* Bulkhead.adaptive({ initial: 20 })
          yield* TestClock.adjust("1 millis")
          yield* Effect.exit(bulkhead(Effect.fail(error)))
          return yield* bulkhead.limit
        })
      assert.strictEqual(yield* limitAfter(overloaded), 18)
      assert.strictEqual(yield* limitAfter(new LlmError.RateLimited(openAi)), 18)
      assert.strictEqual(yield* limitAfter(new LlmError.TimedOut({ ...openAi, phase: "attempt" })), 18)
      assert.strictEqual(yield* limitAfter(new LlmError.InvalidRequest(openAi)), 20)
      assert.strictEqual(yield* limitAfter(new LlmError.ProviderUnavailable(openAi)), 20)
      // Of a bulkhead further in, it says nothing of the target.
      const full = LlmError.refusal(LlmError.BulkheadFull, { ...openAi, limit: 1, queue: 0 })
      assert.strictEqual(yield* limitAfter(full), 20)
    }))

  it.effect("takes the refusals of calls that were under way together for one", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.adaptive({ initial: 20 })
      const refused = Effect.delay(Effect.fail(overloaded), "1 second")
      yield* many(bulkhead, 20, () => refused)
      assert.strictEqual(yield* bulkhead.limit, 18)
      yield* many(bulkhead, 18, () => refused)
      assert.strictEqual(yield* bulkhead.limit, 16)
    }))

  it.effect("learns nothing from an interrupted call, and gets its permit back", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.adaptive({ initial: 20 })
      const fiber = yield* Effect.fork(bulkhead(Effect.never))
      yield* TestClock.adjust("1 hour")
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* bulkhead.state("default"), { inFlight: 0, waiting: 0, limit: 20 })
    }))

  /** A provider whose streams take `first` milliseconds to the first output and `rest` from there to the end. */
  const streaming = Effect.map(Bulkhead.adaptive({ initial: 10, max: 10 }), (bulkhead) => {
    const pace = { first: 500, rest: 2000, tokens: 100 }
    const layer = LlmProvider.withPolicy(
      LlmProvider.layer({
        ...openAi,
        generate: () => Effect.die("not asked"),
        stream: () =>
          Stream.concat(
            Stream.fromEffect(Effect.delay(Effect.succeed(delta("a")), pace.first)),
            Stream.unwrap(Effect.sync(() =>
              Stream.fromIterable([
                delta("b"),
                usage(pace.tokens),
                { _tag: "Finish", finishReason: "stop" } as StreamPart.StreamPart
              ]).pipe(Stream.schedule(Schedule.spaced(pace.rest / 3)))
            ))
          )
      }),
      bulkhead
    )
    const round = (options?: LlmProvider.StreamOptions) => {
      const read = Effect.provide(Stream.runDrain(LlmProvider.stream("hello", options)), layer)
      const ten = Effect.forEach(Array.from({ length: 10 }), () => read, { concurrency: "unbounded", discard: true })
      return Effect.map(run(ten, "1 hour"), ({ exit }) => assert.isTrue(Exit.isSuccess(exit)))
    }
    return { bulkhead, pace, round }
  })
  const delta = (text: string): StreamPart.StreamPart => ({ _tag: "TextDelta", text })
  const usage = (outputTokens: number): StreamPart.StreamPart => ({
    _tag: "Usage",
    usage: new LlmResponse.Usage({ inputTokens: 100, outputTokens })
  })

  it.effect("judges a stream by its first output, however slow its reader and long its answer", () =>
    Effect.gen(function*() {
      const { bulkhead, pace, round } = yield* streaming
      yield* Effect.repeatN(round(), 1)
      pace.rest = 180_000
      yield* Effect.repeatN(round(), 3)
      assert.deepStrictEqual(yield* bulkhead.state("openai/gpt-4o"), { inFlight: 0, waiting: 0, limit: 10 })
      pace.first = 2000
      yield* Effect.repeatN(round(), 1)
      expect(yield* bulkhead.limit).toBeLessThan(10)
    }))

  it.effect("judges a stream that is buffered by its tokens, as it gives its first output when it is complete", () =>
    Effect.gen(function*() {
      const { bulkhead, pace, round } = yield* streaming
      const whenCut = "buffer"
      yield* Effect.repeatN(round({ whenCut }), 1)
      pace.rest = 20 * 5000
      pace.tokens = 5000
      yield* Effect.repeatN(round({ whenCut }), 3)
      assert.strictEqual(yield* bulkhead.limit, 10)
      pace.rest = 60 * 5000
      yield* Effect.repeatN(round({ whenCut }), 1)
      expect(yield* bulkhead.limit).toBeLessThan(10)
    }))

  it.effect("keeps what it has learned when it is reconfigured, within the new range, and wakes who waits", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.adaptive({ initial: 10, max: 50 })
      const { call, started } = yield* work
      yield* Effect.forEach(Array.from({ length: 30 }, (_, id) => id), (id) => Effect.fork(bulkhead(call(id))))
      yield* settle
      assert.strictEqual(started.length, 10)
      yield* bulkhead.reconfigure({ min: 20 })
      yield* settle
      assert.strictEqual(started.length, 20)
      yield* bulkhead.reconfigure({ min: 1, max: 5 })
      assert.deepStrictEqual(yield* bulkhead.state("default"), { inFlight: 20, waiting: 10, limit: 5 })
      assert.strictEqual(Policy.describe(bulkhead), "bulkhead gradient 1 to 5 at once, queue 100")
    }))

  it("E1: refuses options out of range when it is built", () => {
    const bad: ReadonlyArray<Bulkhead.AdaptiveOptions> = [
      { min: 0 },
      { min: 5, max: 4 },
      { max: 0 },
      { max: Infinity },
      { initial: 2, min: 3 },
      { initial: 201 },
      { initial: 1.5 },
      { tolerance: 0.9 },
      { tolerance: Number.NaN },
      { backoff: 0 },
      { backoff: 1 },
      { backoff: Number.NaN },
      { queue: -1 },
      { algorithm: "vegas" as "aimd" }
    ]
    for (const options of bad) expect(() => Bulkhead.adaptive(options)).toThrow(InvalidOption)
    for (const good of [{ max: 1 }, { min: 300 }, { initial: 3, max: 3 }, { tolerance: 1 }]) {
      expect(() => Bulkhead.adaptive(good)).not.toThrow()
    }
  })
})
