import { assert, describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, FiberRef, HashSet, Layer, Logger, LogLevel, Stream, TestClock } from "effect"
import {
  Bulkhead,
  Call,
  InvalidOption,
  KeyPool,
  LlmError,
  LlmProvider,
  LlmRequest,
  LlmResponse,
  ModelPrices,
  Policy,
  Retry,
  StreamPart,
  Telemetry
} from "perdure"
import { answeredEnd } from "../src/internal/ending.ts"
import * as Logs from "../src/internal/logs.ts"
import { answer, anthropic, openAi, run, scripted, unavailable } from "./support/provider.ts"
import { lines } from "./support/telemetry.ts"

const ask = LlmRequest.make("hello")
const twice = Policy.retry(Retry.exponential("2 seconds").pipe(Retry.attempts(2)))
const usage = new LlmResponse.Usage({ inputTokens: 1_000_000, outputTokens: 3 })
const told = new LlmResponse.LlmResponse({ ...answer("hi"), usage })
const wrong = new LlmError.InvalidRequest({ ...openAi, status: 400, detail: "no such field" })
const prices = ModelPrices.make({ models: { openai: { "gpt-4o": { input: 2, output: 10 } } } })

describe("the log line of a call", () => {
  it.effect("O2: has the receipt's facts, and says who answered instead of whom", () =>
    Effect.gen(function*() {
      const { all, install } = lines()
      const layer = scripted([unavailable()]).layer.pipe(
        LlmProvider.withPolicy(twice),
        LlmProvider.orElse(
          scripted([Effect.delay(Effect.succeed(answer("hi", anthropic)), "500 millis")], anthropic).layer
        )
      )
      yield* run(LlmProvider.generate("hello").pipe(Effect.provide(layer), install))
      assert.isNumber(all[0]?.facts["perdure.call"])
      delete all[0]?.facts["perdure.call"]
      assert.deepStrictEqual(all, [{
        level: "Warning",
        text: "anthropic/claude answered instead of openai/gpt-4o after 3 attempts",
        facts: {
          "perdure.outcome": "answered",
          "perdure.requested.provider": "openai",
          "perdure.requested.model": "gpt-4o",
          "perdure.served.provider": "anthropic",
          "perdure.served.model": "claude-2024-08-06",
          "perdure.fallback": true,
          "perdure.fallback.reason": "ProviderUnavailable",
          "perdure.attempts": 3,
          "perdure.failures": "ProviderUnavailable ProviderUnavailable",
          "perdure.duration": 2.5,
          "perdure.waited": 2
        }
      }])
    }))

  it.effect("O2: has the number of the call, the labels of its keys, and all kinds of tokens", () =>
    Effect.gen(function*() {
      const { all, install } = lines()
      const numbers: Array<number | undefined> = []
      const kinds = new LlmResponse.Usage({
        inputTokens: 50,
        outputTokens: 20,
        cachedInputTokens: 10,
        cacheWriteTokens: 30,
        reasoningTokens: 15
      })
      const answered = new LlmResponse.LlmResponse({ ...answer("hi"), usage: kinds })
      const refused = new LlmError.Unauthenticated({ ...openAi, status: 401 })
      const pool = KeyPool.make([
        { label: "team-a", service: scripted([refused]).service },
        { label: "team-b", service: scripted([answered]).service }
      ])
      yield* pool.generate(ask).pipe(Call.observe(({ call }) => numbers.push(call)), install)
      expect(all[0]?.facts).toMatchObject({
        "perdure.call": numbers[0],
        "perdure.key": "team-a team-b",
        "gen_ai.usage.cache_read.input_tokens": 10,
        "gen_ai.usage.cache_creation.input_tokens": 30,
        "gen_ai.usage.reasoning.output_tokens": 15
      })
      yield* install(scripted([told]).service.generate(ask))
      assert.notProperty(all[1]?.facts, "perdure.key")
      assert.notStrictEqual(all[1]?.facts["perdure.call"], numbers[0])
    }))

  it.effect("O2: has the tokens and the cost", () =>
    Effect.gen(function*() {
      const { all, install } = lines()
      yield* scripted([told]).service.generate(ask).pipe(
        Effect.provideService(ModelPrices.ModelPrices, prices),
        install
      )
      expect(all).toMatchObject([{
        level: "Debug",
        text: "openai/gpt-4o answered",
        facts: {
          "gen_ai.usage.input_tokens": 1_000_000,
          "gen_ai.usage.output_tokens": 3,
          "perdure.cost": 2.00003,
          "perdure.currency": "USD"
        }
      }])
    }))

  it.effect("O2: is loud for a failure, less so for the caller's own, silent for who leaves", () =>
    Effect.gen(function*() {
      const { all, install } = lines()
      yield* Effect.exit(install(scripted([unavailable()]).service.generate(ask)))
      yield* Effect.exit(install(scripted([wrong]).service.generate(ask)))
      yield* Effect.exit(install(scripted([Effect.die("secret")]).service.generate(ask)))
      const fiber = yield* Effect.fork(install(scripted([Effect.never]).service.generate(ask)))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(all.map(({ facts, level, text }) => [level, text, facts["http.response.status_code"]]), [
        ["Error", "openai/gpt-4o failed with ProviderUnavailable after 1 attempt", 500],
        ["Warning", "openai/gpt-4o failed with InvalidRequest after 1 attempt", 400],
        ["Error", "openai/gpt-4o failed with Defect after 1 attempt", undefined],
        ["Debug", "openai/gpt-4o was interrupted after 1 attempt", undefined]
      ])
    }))

  it.effect("O2: says it when a call was only let through at its second try", () =>
    Effect.gen(function*() {
      const { all, install } = lines()
      const bulkhead = yield* Bulkhead.make({ limit: 1, queue: 0 })
      const { layer } = scripted([Effect.delay(Effect.succeed(told), "1 second")])
      const guarded = LlmProvider.withPolicy(LlmProvider.withPolicy(layer, bulkhead), twice)
      const call = LlmProvider.generate(ask).pipe(Effect.provide(guarded), install)
      yield* run(Effect.zipRight(Effect.fork(call), Effect.zipRight(Effect.yieldNow(), call)))
      assert.deepStrictEqual(all.map(({ facts, level }) => [level, facts["perdure.refusals"]]), [
        ["Debug", undefined],
        ["Warning", "BulkheadFull"]
      ])
    }))

  it.effect("O2: of a stream comes with its end", () =>
    Effect.gen(function*() {
      const { all, install } = lines()
      const part = StreamPart.TextDelta.make({ text: "hi" })
      const streamed = (rest: Stream.Stream<StreamPart.StreamPart, LlmError.LlmError>) =>
        LlmProvider.make({
          ...openAi,
          generate: () => Effect.dieMessage("only streams"),
          stream: () => Stream.concat(Stream.fromEffect(Effect.delay(Effect.succeed(part), "1 second")), rest)
        })
      const read = (rest: Stream.Stream<StreamPart.StreamPart, LlmError.LlmError>) =>
        Stream.runDrain(LlmProvider.stream(ask)).pipe(
          Effect.provideService(LlmProvider.LlmProvider, streamed(rest)),
          install
        )
      const finish = StreamPart.Finish.make({ finishReason: "stop" })
      const fiber = yield* Effect.fork(read(Stream.fromEffect(Effect.delay(Effect.succeed(finish), "1 second"))))
      yield* TestClock.adjust("1999 millis")
      assert.strictEqual(all.length, 0)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
      yield* run(Effect.exit(read(Stream.fail(unavailable()))))
      const left = yield* Effect.fork(read(Stream.never))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.interrupt(left)
      // Effect itself writes a line for the fiber that failed.
      const ours = all.filter(({ facts }) => "perdure.outcome" in facts)
      assert.deepStrictEqual(ours.map(({ facts, level }) => [level, facts["perdure.outcome"], facts["error.type"]]), [
        ["Debug", "answered", undefined],
        ["Error", "failed", "ProviderUnavailable"],
        ["Debug", "interrupted", undefined]
      ])
      assert.strictEqual(all[0]?.facts["perdure.time_to_first_output"], 1)
    }))

  it.effect("is one for a call within a call", () =>
    Effect.gen(function*() {
      const { all, install } = lines()
      const inner = scripted([told]).service
      const outer = LlmProvider.make({ ...anthropic, generate: (request) => inner.generate(request) })
      yield* install(outer.generate(ask))
      assert.deepStrictEqual(all.map(({ text }) => text.includes("claude")), [true])
    }))

  it.effect("is not written below the minimum level, and levels can be set", () =>
    Effect.gen(function*() {
      const { service } = scripted([told])
      const quiet = lines(LogLevel.Info)
      yield* quiet.install(service.generate(ask))
      assert.strictEqual(quiet.all.length, 0)
      yield* quiet.install(service.generate(ask).pipe(Telemetry.withLogs({ answered: "Info" })))
      yield* quiet.install(service.generate(ask).pipe(Effect.provide(Telemetry.logs({ answered: "Fatal" }))))
      yield* quiet.install(
        Effect.exit(scripted([unavailable()]).service.generate(ask)).pipe(Effect.provide(Telemetry.logs("None")))
      )
      yield* quiet.install(
        Effect.exit(scripted([unavailable()]).service.generate(ask)).pipe(
          Telemetry.withLogs({ failed: "Warning" }),
          Effect.provide(Telemetry.logs("None"))
        )
      )
      // What is left out stays as it was.
      yield* quiet.install(
        service.generate(ask).pipe(Telemetry.withLogs({ failed: "Warning" }), Effect.provide(Telemetry.logs("Info")))
      )
      assert.deepStrictEqual(quiet.all.map(({ level }) => level), ["Info", "Fatal", "Warning", "Info"])
    }))

  it.effect("is not even built where nobody would see it: below the minimum level, at None, or without a logger", () =>
    Effect.gen(function*() {
      const { receipt } = yield* scripted([told]).service.generate(ask)
      const built = (levels: Partial<Logs.Levels> = {}) =>
        Effect.withFiberRuntime<boolean>((fiber) =>
          Effect.sync(() =>
            Logs.line(fiber, { ...Logs.defaultLevels, ...levels }, answeredEnd, receipt, 1) !== undefined
          )
        )
      const at = Logger.withMinimumLogLevel
      assert.isTrue(yield* at(built(), LogLevel.Debug))
      assert.isTrue(yield* at(built(), LogLevel.All))
      assert.isFalse(yield* at(built(), LogLevel.Info))
      assert.isTrue(yield* at(built({ answered: LogLevel.Info }), LogLevel.Info))
      assert.isFalse(yield* at(built({ answered: LogLevel.None }), LogLevel.All))
      const silent = Effect.locally(FiberRef.currentLoggers, HashSet.empty<Logger.Logger<unknown, unknown>>())
      assert.isFalse(yield* silent(at(built(), LogLevel.All)))
    }))

  it.effect("levels that are set inside others change what they name, and leave the rest as it was set there", () =>
    Effect.gen(function*() {
      const { all, install } = lines()
      const answered = scripted([told]).service.generate(ask)
      const failing = Effect.exit(scripted([unavailable()]).service.generate(ask))
      const both = Effect.zipRight(answered, failing)
      yield* install(both.pipe(
        Telemetry.withLogs({ failed: "Fatal" }),
        Telemetry.withLogs({ answered: "Info", failed: "Trace" })
      ))
      yield* install(both.pipe(
        Effect.provide(Telemetry.logs({ failed: "Fatal" })),
        Telemetry.withLogs({ answered: "Info", failed: "Trace" })
      ))
      yield* install(both)
      assert.deepStrictEqual(all.map(({ level }) => level), ["Info", "Fatal", "Info", "Fatal", "Debug", "Error"])
    }))

  it.effect("a logger that throws harms no call", () =>
    Effect.gen(function*() {
      const layer = Layer.merge(
        Logger.add(Logger.make(() => {
          throw new Error("logger")
        })),
        Logger.minimumLogLevel(LogLevel.All)
      )
      const response = yield* scripted([told]).service.generate(ask).pipe(Effect.provide(layer))
      assert.strictEqual(response.text, "hi")
      const exit = yield* Effect.exit(scripted([unavailable()]).service.generate(ask).pipe(Effect.provide(layer)))
      assert(Exit.isFailure(exit) && exit.cause._tag === "Fail")
    }))

  it("E1: refuses a level that there is not", () => {
    // @ts-expect-error there is no such level
    assert.throws(() => Telemetry.logs({ answered: "Loud" }), InvalidOption)
    const level = "Loud" as "Info"
    assert.throws(() => Telemetry.logs(level), InvalidOption, /Telemetry\.logs\(level\).*"Loud"/)
    assert.throws(() => Telemetry.withLogs({ failed: level }), InvalidOption, /Telemetry\.withLogs\(\{ failed \}\)/)
  })
})
