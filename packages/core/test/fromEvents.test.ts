import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Logger, LogLevel, Option, TestContext } from "effect"
import * as fc from "effect/FastCheck"
import { Call, LlmProvider, Receipt } from "perdure"
import { calls, circumstances, examples, play } from "./support/circumstances.ts"
import { answer, openAi, run, scripted, unavailable } from "./support/provider.ts"

const quiet = Logger.withMinimumLogLevel(LogLevel.None)

describe("Receipt.fromEvents", () => {
  it("O1: is the receipt of any call, from what was told of it", async () => {
    const seen = new Map<string, number>()
    const count = (what: string, there: boolean) => seen.set(what, (seen.get(what) ?? 0) + (there ? 1 : 0))
    await fc.assert(
      fc.asyncProperty(circumstances, async (all) => {
        const events = await Effect.runPromise(play(all, "p").pipe(quiet, Effect.provide(TestContext.TestContext)))
        const ended = calls(events)
        assert.isAbove(ended.length, 0)
        assert.strictEqual(events.filter(({ _tag }) => _tag === "Started").length, ended.length)
        for (const { ended: { receipt }, events: own } of ended) {
          assert.deepStrictEqual(Option.getOrThrow(Receipt.fromEvents(own)), receipt)
          const { attempts, fallback, outcome, refusals, switches } = receipt
          count(`a call that ${outcome}`, true)
          count("a fallback", fallback)
          count("a switch", switches !== undefined)
          count("a refusal", refusals !== undefined)
          for (const { discarded, firstOutput, hedge, key, outcome, usage, wait } of attempts) {
            count(`an attempt that ${outcome._tag}`, true)
            count("a hedge", hedge === true)
            count("an answer not given on", discarded === true)
            count("a key", key !== undefined)
            count("a first output", firstOutput !== undefined)
            count("tokens of an attempt without an answer", usage !== undefined && outcome._tag !== "Answered")
            count("a wait", Duration.toMillis(wait) > 0)
          }
        }
        // Of several calls it is that of the first.
        const [first] = ended
        if (ended.length > 1) {
          assert.deepStrictEqual(Receipt.fromEvents(events), Option.fromNullable(first?.ended.receipt))
        }
      }),
      { numRuns: 300, examples: [...examples] }
    )
    for (const [what, times] of seen) assert.isAbove(times, 0, what)
    assert.strictEqual(seen.size, 15)
  }, 120_000)

  it.effect("O1: without the end of the call it is the receipt so far", () =>
    Effect.gen(function*() {
      const events: Array<Call.Event> = []
      const seen: Array<Option.Option<Receipt.Receipt>> = []
      const look = Effect.map(Receipt.current, (now) => {
        seen.push(now, Receipt.fromEvents(events))
        return answer("hi")
      })
      const first = scripted([Effect.delay(Effect.fail(unavailable()), "2 seconds")])
      const second = scripted([look], { provider: "second", model: "m" })
      yield* run(
        LlmProvider.generate("hello").pipe(
          Effect.provide(LlmProvider.orElse(first.layer, second.layer)),
          Call.observe((event) => events.push(event))
        )
      )
      const [now, told] = seen
      assert.strictEqual(Option.getOrThrow(told ?? Option.none()).attempts.length, 1)
      assert.deepStrictEqual(told, now)
    }))

  it("O1: is nothing where no call begins", () => {
    const event: Call.Event = { _tag: "FirstOutput", at: 0, call: 1, attempt: 1, target: openAi, after: Duration.zero }
    assert.deepStrictEqual([Receipt.fromEvents([]), Receipt.fromEvents([event])], [Option.none(), Option.none()])
  })
})
