/** Metrics and log lines say what the events say: whoever reads events can write the same. */
import { assert, it } from "@effect/vitest"
import { Duration, Effect, Option, TestContext } from "effect"
import * as fc from "effect/FastCheck"
import { type Call, ModelPrices, Receipt } from "perdure"
import * as Logs from "../src/internal/logs.ts"
import { calls, circumstances, examples, play } from "./support/circumstances.ts"
import { lines, metrics } from "./support/telemetry.ts"

const price = { m: { input: 2, output: 10 } }
const names = ["d 0", "d 1", "d 2"]
const prices = ModelPrices.make({ models: Object.fromEntries(names.map((name) => [name, price])) })

/** The metrics by what was told, as `metrics` has them, for each provider. */
const tally = () => {
  const all = new Map(names.map((name): [string, Record<string, number>] => [name, {}]))
  const add = ({ provider }: Receipt.Target, series: string, value: number) => {
    const own = all.get(provider)
    if (own !== undefined) own[series] = (own[series] ?? 0) + value
  }
  const seconds = (duration: Duration.Duration) => Duration.toMillis(duration) / 1000
  const hear = (event: Call.Event): void => {
    switch (event._tag) {
      case "AttemptEnded": {
        const { cost, duration, outcome, target, usage } = event
        const end = outcome._tag === "Failed" ? `failed ${outcome.error}` : outcome._tag.toLowerCase()
        add(target, `perdure.attempts m ${end}`, 1)
        add(target, `gen_ai.client.operation.duration m ${end}`, seconds(duration))
        if (usage?.inputTokens !== undefined) add(target, "gen_ai.client.token.usage m input", usage.inputTokens)
        if (usage?.outputTokens !== undefined) add(target, "gen_ai.client.token.usage m output", usage.outputTokens)
        if (cost !== undefined) add(target, `perdure.cost m ${cost.currency}`, cost.amount)
        return
      }
      case "FirstOutput":
        return add(event.target, "gen_ai.client.operation.time_to_first_chunk m", seconds(event.after))
      case "Waiting":
        return add(event.target, `perdure.wait.duration m ${event.because}`, seconds(event.wait))
      case "FellBack":
        return add(event.from, `perdure.fallbacks m ${event.because}`, 1)
      case "Refused":
        return add(event.target, `perdure.refusals m ${event.because}`, 1)
      case "Ended": {
        const { error, outcome, receipt: { duration, requested } } = event
        const end = outcome === "Failed" ? `failed ${error}` : outcome.toLowerCase()
        add(requested, `perdure.calls m ${end}`, 1)
        return add(requested, `perdure.call.duration m ${end}`, seconds(duration))
      }
      default:
    }
  }
  return { all, hear }
}

it("O2: metrics and log lines are those that the events of any call make", async () => {
  const told = tally()
  await fc.assert(
    fc.asyncProperty(circumstances, async (all) => {
      const written = lines()
      const again = lines()
      const test = Effect.gen(function*() {
        const events = yield* written.install(play(all, "d"))
        const ours = written.all.filter(({ facts }) => "perdure.outcome" in facts)
        for (const event of events) told.hear(event)
        for (const { ended, events: own } of calls(events)) {
          const receipt = Option.getOrThrow(Receipt.fromEvents(own))
          yield* again.install(
            Effect.withFiberRuntime<void>((fiber) =>
              Logs.line(fiber, Logs.defaultLevels, ended, receipt, ended.call) ?? Effect.void
            )
          )
        }
        return ours
      })
      const ours = await Effect.runPromise(
        test.pipe(Effect.provideService(ModelPrices.ModelPrices, prices), Effect.provide(TestContext.TestContext))
      )
      assert.isAbove(ours.length, 0)
      assert.deepStrictEqual(again.all, ours)
    }),
    { numRuns: 100, examples: [...examples] }
  )
  for (const [name, series] of told.all) {
    // Those of policies are no call's.
    const real = Object.fromEntries(
      Object.entries(metrics(name)).filter(([series]) => !/^perdure\.(breaker|budget|quota|bulkhead)\./.test(series))
    )
    assert.sameMembers(Object.keys(real), Object.keys(series))
    for (const [one, value] of Object.entries(series)) assert.approximately(real[one] ?? Number.NaN, value, 1e-6, one)
  }
}, 120_000)
