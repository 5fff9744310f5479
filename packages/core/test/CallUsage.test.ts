/** The tokens of attempts that were not let come to their end. */
import { assert, describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Stream, TestClock } from "effect"
import { Call, Deadline, Hedge, LlmProvider, LlmRequest, LlmResponse, StreamPart } from "perdure"
import { answer, anthropic, openAi } from "./support/provider.ts"
import { collector, metrics } from "./support/telemetry.ts"

const text = StreamPart.TextDelta.make({ text: "Hello" })
const used = new LlmResponse.Usage({ inputTokens: 1000, outputTokens: 1 })
const usage = StreamPart.UsagePart.make({ usage: used })
const finish = StreamPart.Finish.make({ finishReason: "stop" })
const ask = LlmRequest.make("hello")

/** A provider that sends these parts, each by itself, and then hangs. */
const hanging = (parts: ReadonlyArray<StreamPart.StreamPart>, target: LlmProvider.TargetInfo = openAi) =>
  LlmProvider.make({
    ...target,
    generate: () => Effect.dieMessage("only streams"),
    stream: () => Stream.concat(Stream.rechunk(Stream.fromIterable(parts), 1), Stream.never)
  })

/** Reads, and tells the end of the call, and of its attempts. */
const watching = () => {
  const events: Array<Call.Event> = []
  return {
    install: Call.observe((event) => events.push(event)),
    ended: () => events.filter((event) => event._tag === "Ended").map(({ receipt }) => receipt),
    attempts: () => events.filter((event) => event._tag === "AttemptEnded"),
    tags: () => events.map(({ _tag }) => _tag)
  }
}

const stream = (service: LlmProvider.Service, options?: LlmProvider.StreamOptions) =>
  Stream.provideService(LlmProvider.stream(ask, options), LlmProvider.LlmProvider, service)

describe("O1: the tokens of a stream that is not read to its end", () => {
  it.effect("are kept when its reader leaves: in the receipt, the event, the metrics and the span", () =>
    Effect.gen(function*() {
      const target = { provider: "left", model: "m" }
      const { ended, attempts, install } = watching()
      const spans = collector()
      const read = stream(hanging([text, usage], target)).pipe(Stream.take(2), Stream.runDrain)
      yield* read.pipe(install, spans.install)
      assert.deepStrictEqual(attempts().map(({ outcome, usage }) => [outcome._tag, usage]), [["Interrupted", used]])
      assert.deepStrictEqual(ended().map((receipt) => receipt.attempts.map(({ usage }) => usage)), [[used]])
      assert.strictEqual(metrics("left")["gen_ai.client.token.usage m input"], 1000)
      expect(Object.fromEntries(spans.named("chat m")[0]?.attributes ?? [])).toMatchObject({
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 1
      })
    }))

  for (
    const [when, parts] of [["before its first output", [usage]], ["after its first output", [text, usage]]] as const
  ) {
    it.effect(`are kept when it is interrupted ${when}`, () =>
      Effect.gen(function*() {
        const { ended, attempts, install } = watching()
        const fiber = yield* Effect.fork(install(Stream.runDrain(stream(hanging(parts)))))
        yield* TestClock.adjust("1 second")
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(attempts().map(({ outcome, usage }) => [outcome._tag, usage]), [["Interrupted", used]])
        assert.deepStrictEqual(ended().map((receipt) => receipt.attempts.map(({ usage }) => usage)), [[used]])
      }))

    it.effect(`are kept when its deadline cuts it ${when}`, () =>
      Effect.gen(function*() {
        const { ended, attempts, install } = watching()
        const fiber = yield* Stream.runDrain(stream(hanging(parts))).pipe(
          install,
          Deadline.make("5 seconds"),
          Effect.exit,
          Effect.fork
        )
        yield* TestClock.adjust("5 seconds")
        yield* Fiber.join(fiber)
        expect(attempts().map(({ outcome, usage }) => [outcome, usage])).toMatchObject([
          [{ _tag: "Failed", error: "DeadlineExceeded" }, used]
        ])
        assert.deepStrictEqual(ended().map((receipt) => receipt.attempts.map(({ usage }) => usage)), [[used]])
      }))
  }

  it.effect("are kept of one that is buffered", () =>
    Effect.gen(function*() {
      const { attempts, install } = watching()
      const read = Stream.runDrain(stream(hanging([text, usage]), { whenCut: "buffer" }))
      const fiber = yield* Effect.fork(install(read))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(attempts().map(({ usage }) => usage), [used])
    }))

  it.effect("are kept of the loser of a hedge, which had given no output", () =>
    Effect.gen(function*() {
      const { ended, install } = watching()
      const quick = LlmProvider.make({
        ...anthropic,
        generate: () => Effect.dieMessage("only streams"),
        stream: () => Stream.make(text, finish)
      })
      const hedged = Hedge.services([hanging([usage]), quick], { after: "1 second" })
      const fiber = yield* Effect.fork(install(Stream.runDrain(stream(hedged))))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        ended().flatMap(({ attempts }) => attempts.map(({ outcome, usage }) => [outcome._tag, usage])),
        [["Interrupted", used], ["Answered", undefined]]
      )
    }))

  it.effect("are kept of a service written by hand, whose attempt is in the receipt when its reader leaves", () =>
    Effect.gen(function*() {
      const { ended, attempts, install, tags } = watching()
      const opened = LlmProvider.LlmProvider.of({
        targets: [openAi],
        generate: () => Effect.succeed(answer("hi")),
        open: () => Effect.succeed({ parts: Stream.concat(Stream.make(text, usage), Stream.never) })
      })
      yield* stream(opened).pipe(Stream.take(2), Stream.runDrain, install)
      assert.deepStrictEqual(ended().map((receipt) => receipt.attempts.map(({ usage }) => usage)), [[used]])
      assert.deepStrictEqual(attempts().map(({ outcome }) => outcome._tag), ["Interrupted"])
      assert.deepStrictEqual(tags(), ["Started", "AttemptStarted", "FirstOutput", "AttemptEnded", "Ended"])
    }))
})
