import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Metric, Stream, TestClock } from "effect"
import {
  Bulkhead,
  LlmError,
  LlmProvider,
  LlmRequest,
  LlmResponse,
  ModelPrices,
  Policy,
  Receipt,
  Retry,
  StreamPart
} from "perdure"
import { mostTargets, refused } from "../src/internal/metrics.ts"
import { answer, run, scripted } from "./support/provider.ts"
import { metrics } from "./support/telemetry.ts"

const ask = LlmRequest.make("hello")
const twice = Policy.retry(Retry.exponential("2 seconds").pipe(Retry.attempts(2)))
const usage = new LlmResponse.Usage({ inputTokens: 1000, outputTokens: 200 })
const target = (provider: string, model = "m") => ({ provider, model })
const answering = (provider: string) => new LlmResponse.LlmResponse({ ...answer("hi", target(provider)), usage })
const failing = (provider: string) => new LlmError.Overloaded({ ...target(provider), status: 529, usage })
const prices = (provider: string) =>
  ModelPrices.make({ currency: "EUR", models: { [provider]: { m: { input: 2, output: 10 } } } })

describe("the classes of failure", () => {
  it("O2: of a target are told apart up to a bound", () => {
    for (let i = 0; i < 200; i++) refused(target("m8"), `Class${i}`, [])
    const all = metrics("m8")
    assert.strictEqual(Object.keys(all).length, 65)
    assert.strictEqual(all["perdure.refusals m Class63"], 1)
    assert.strictEqual(all["perdure.refusals m _OTHER"], 136)
  })
})

describe("metrics", () => {
  it.effect("O2: count calls, attempts, failures, waits, tokens, cost and time, with no set-up", () =>
    Effect.gen(function*() {
      const { layer } = scripted(
        [failing("m1"), Effect.delay(Effect.succeed(answering("m1")), "500 millis")],
        target("m1")
      )
      yield* run(
        LlmProvider.generate(ask).pipe(
          Effect.provide(LlmProvider.withPolicy(layer, twice)),
          Effect.provideService(ModelPrices.ModelPrices, prices("m1"))
        )
      )
      assert.deepStrictEqual(metrics("m1"), {
        "perdure.calls m answered": 1,
        "perdure.call.duration m answered": 2.5,
        "perdure.attempts m failed Overloaded": 1,
        "perdure.attempts m answered": 1,
        "gen_ai.client.operation.duration m failed Overloaded": 0,
        "gen_ai.client.operation.duration m answered": 0.5,
        "gen_ai.client.token.usage m input": 2000,
        "gen_ai.client.token.usage m output": 400,
        "perdure.cost m EUR": 0.008,
        "perdure.wait.duration m Overloaded": 2
      })
    }))

  it.effect("O2: count fallbacks, refusals and failed calls by their class", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ limit: 1, queue: 0 })
      const first = LlmProvider.withPolicy(scripted([Effect.never], target("m2")).layer, bulkhead)
      const both = LlmProvider.orElse(first, scripted([failing("m3")], target("m3")).layer)
      const busy = yield* Effect.fork(LlmProvider.generate(ask).pipe(Effect.provide(first)))
      yield* TestClock.adjust("1 second")
      yield* run(Effect.exit(LlmProvider.generate(ask).pipe(Effect.provide(both))))
      yield* Fiber.interrupt(busy)
      assert.deepStrictEqual(metrics("m2"), {
        "perdure.refusals m BulkheadFull": 1,
        "perdure.fallbacks m BulkheadFull": 1,
        "perdure.calls m failed AllTargetsFailed": 1,
        "perdure.call.duration m failed AllTargetsFailed": 0,
        "perdure.attempts m interrupted": 1,
        "gen_ai.client.operation.duration m interrupted": 601,
        "perdure.calls m interrupted": 1,
        "perdure.call.duration m interrupted": 601
      })
    }))

  it.effect("O2: tell the time to the first output of a stream", () =>
    Effect.gen(function*() {
      const service = LlmProvider.make({
        ...target("m4"),
        generate: () => Effect.dieMessage("only streams"),
        stream: () =>
          Stream.concat(
            Stream.fromEffect(Effect.delay(Effect.succeed(StreamPart.TextDelta.make({ text: "hi" })), "250 millis")),
            Stream.make(StreamPart.Finish.make({ finishReason: "stop" }))
          )
      })
      yield* run(
        Stream.runDrain(LlmProvider.stream(ask)).pipe(Effect.provideService(LlmProvider.LlmProvider, service))
      )
      assert.strictEqual(metrics("m4")["gen_ai.client.operation.time_to_first_chunk m"], 0.25)
    }))

  it.effect("O2: have the conventions' units, buckets and names of providers", () =>
    Effect.gen(function*() {
      yield* scripted([answering("google")], target("google", "units")).service.generate(ask)
      const [duration] = Metric.unsafeSnapshot().filter(({ metricKey }) =>
        metricKey.name === "gen_ai.client.operation.duration" && metricKey.tags.some(({ value }) => value === "units")
      )
      const tags = Object.fromEntries(duration?.metricKey.tags.map(({ key, value }) => [key, value]) ?? [])
      assert.deepStrictEqual(tags, {
        unit: "s",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": "units",
        "perdure.outcome": "answered"
      })
      const { buckets } = (duration?.metricState ?? { buckets: [] }) as unknown as {
        readonly buckets: ReadonlyArray<readonly [number, number]>
      }
      assert.deepStrictEqual(buckets.slice(0, 3).map(([bound]) => bound), [0.01, 0.02, 0.04])
    }))

  it.effect("O2: have the labels of Effect.tagMetrics too", () =>
    Effect.gen(function*() {
      yield* scripted([answering("m5")], target("m5")).service.generate(ask).pipe(Effect.tagMetrics("team", "red"))
      const names = Object.keys(metrics("m5"))
      assert.strictEqual(names.length, 6)
      assert.isTrue(names.every((name) => name.endsWith(" red")))
    }))

  it.effect("O2: without a price there is no cost, which is not zero", () =>
    Effect.gen(function*() {
      const { service } = scripted([answering("m6")], target("m6"))
      const bare = yield* service.generate(ask)
      const unknown = yield* service.generate(ask).pipe(
        Effect.provideService(ModelPrices.ModelPrices, prices("another"))
      )
      const priced = yield* service.generate(ask).pipe(Effect.provideService(ModelPrices.ModelPrices, prices("m6")))
      assert.deepStrictEqual(
        [bare, unknown, priced].map(({ receipt }) => [receipt.attempts[0]?.cost?.amount, receipt.cost?.amount]),
        [[undefined, undefined], [undefined, undefined], [0.004, 0.004]]
      )
      assert.strictEqual(metrics("m6")["perdure.cost m EUR"], 0.004)
    }))

  it.effect("O2: the cost is that of the model that answered", () =>
    Effect.gen(function*() {
      const table = ModelPrices.make({
        models: { m9: { m: { input: 2, output: 10 }, "m-2024-08-06": { input: 4, output: 20 } } }
      })
      const { receipt } = yield* scripted([answering("m9")], target("m9")).service.generate(ask).pipe(
        Effect.provideService(ModelPrices.ModelPrices, table)
      )
      assert.strictEqual(receipt.cost?.amount, 0.008)
    }))

  it.effect("O2: count a call within a call once", () =>
    Effect.gen(function*() {
      const inner = scripted([answering("m10")], target("m10")).service
      yield* LlmProvider.make({ ...target("m11"), generate: (request) => inner.generate(request) }).generate(ask)
      assert.strictEqual(metrics("m10")["perdure.calls m answered"], undefined)
      assert.strictEqual(metrics("m11")["perdure.calls m answered"], 1)
    }))

  it.effect("O2: have a bound on how many targets they tell apart", () =>
    Effect.gen(function*() {
      for (let i = 0; i < mostTargets + 10; i++) {
        yield* scripted([answering("many")], target("many", `model-${i}`)).service.generate(ask)
      }
      const models = new Set(
        Metric.unsafeSnapshot().filter(({ metricKey }) => metricKey.name === "perdure.calls").map(({ metricKey }) =>
          metricKey.tags.map(({ value }) => value).join()
        )
      )
      assert.isAtMost(models.size, mostTargets + 10)
      assert.isAtLeast(metrics("_OTHER")["perdure.calls answered"] ?? 0, 10)
    }))
})

describe("the receipt so far", () => {
  it.effect("O1: has what is over of the call, inside of it, and nothing outside", () =>
    Effect.gen(function*() {
      const seen: Array<ReadonlyArray<string>> = []
      const look = Effect.flatMap(Receipt.current, (receipt) => {
        seen.push(receipt._tag === "None" ? [] : receipt.value.attempts.map(({ outcome }) => outcome._tag))
        return seen.length === 1 ? Effect.fail(failing("m7")) : Effect.succeed(answering("m7"))
      })
      const layer = LlmProvider.withPolicy(scripted([look], target("m7")).layer, twice)
      yield* run(LlmProvider.generate(ask).pipe(Effect.provide(layer)))
      assert.deepStrictEqual(seen, [[], ["Failed"]])
      assert.strictEqual((yield* Receipt.current)._tag, "None")
    }))
})
