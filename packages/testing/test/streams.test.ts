import { describe, expect, it } from "@effect/vitest"
import {
  after,
  answer,
  connectionFailed,
  never,
  pause,
  rateLimited,
  respond,
  ScriptedProvider,
  stream,
  streamInterrupted,
  TestTime
} from "@perdure/testing"
import { Chunk, Effect, Exit, Fiber, Option, Stream, TestClock } from "effect"
import { type LlmError, LlmProvider, LlmRequest, LlmResponse, Policy, Retry, StreamPart } from "perdure"

const ask = LlmProvider.generate("Hello?")
const read = LlmProvider.stream("Hello?")
const parts = Effect.map(Stream.runCollect(read), Chunk.toReadonlyArray)
const usage = new LlmResponse.Usage({ inputTokens: 3, outputTokens: 2 })

const playing = (...[script, options]: Parameters<typeof ScriptedProvider.layer>) =>
  Effect.provide(ScriptedProvider.layer(script, options))

/** The parts without the receipt, which is the core's to test. */
const shown = (all: ReadonlyArray<StreamPart.StreamPart>) =>
  all.map((part) => {
    switch (part._tag) {
      case "TextDelta":
      case "ReasoningDelta":
        return part.text
      case "Finish":
        return `${part._tag} ${part.finishReason} ${part.model ?? ""}`
      default:
        return part._tag
    }
  })

const outcomes = Effect.map(
  ScriptedProvider.calls,
  (calls) => calls.map(({ kind, outcome }) => `${kind} ${outcome._tag}`)
)

describe("an answer read as a stream", () => {
  it.effect("comes word by word, with its usage and its Finish last", () =>
    Effect.gen(function*() {
      expect(shown(yield* parts)).toEqual(["Hello ", "to  ", "you.", "Usage", "Finish length dated"])
      expect(yield* outcomes).toEqual(["open Answered"])
    }).pipe(playing([answer({ content: "Hello to  you.", usage, finishReason: "length", model: "dated" })])))

  it.effect("has reasoning and tool calls as parts of their own", () =>
    Effect.gen(function*() {
      const content = [
        LlmRequest.ReasoningPart.make({ text: "Better look." }),
        LlmRequest.ToolCallPart.make({ id: "1", name: "look", arguments: "{\"at\":1}" })
      ]
      const all = yield* parts.pipe(playing([answer({ content })]))
      expect(shown(all)).toEqual([
        "Better ",
        "look.",
        "ToolCallStart",
        "ToolCallDelta",
        "ToolCallEnd",
        "Finish toolCalls scripted-model"
      ])
      expect(all[3]).toMatchObject({ id: "1", arguments: "{\"at\":1}" })
    }))

  it.effect("comes in chunks of one part", () =>
    Effect.gen(function*() {
      const chunks = yield* Stream.runCollect(Stream.chunks(read))
      expect([...chunks].map(Chunk.size).filter((size) => size > 0)).toEqual([1, 1, 1])
    }).pipe(playing([answer("two words")])))

  it.effect("comes late after a wait", () =>
    Effect.gen(function*() {
      expect((yield* TestTime.run(parts)).elapsed).toBe(2_000)
    }).pipe(playing([after("2 seconds", respond(() => answer("hi")))])))

  it.effect("may be no output at all", () =>
    Effect.gen(function*() {
      expect(shown(yield* parts)).toEqual(["Finish stop scripted-model"])
    }).pipe(playing([answer("")])))
})

describe("a scripted stream", () => {
  it.effect("comes piece by piece, with its pauses, and is completed with a Finish", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const fiber = yield* Effect.fork(
        Stream.runForEach(read, (part) => Effect.sync(() => seen.push(...shown([part]))))
      )
      yield* TestClock.adjust(0)
      expect(seen).toEqual(["Hel"])
      yield* TestClock.adjust(999)
      expect(seen).toEqual(["Hel"])
      yield* TestClock.adjust(1)
      expect(seen).toEqual(["Hel", "lo", "Finish stop "])
      yield* Fiber.join(fiber)
      expect(yield* outcomes).toEqual(["open Answered"])
    }).pipe(playing([stream(["Hel", pause("1 second"), "lo"])])))

  it.effect("opens at its first output, not before and not later", () =>
    Effect.gen(function*() {
      const { elapsed } = yield* TestTime.run(Effect.scoped(LlmProvider.open("Hello?")))
      expect(elapsed).toBe(3_000)
      expect(yield* outcomes).toEqual(["open Interrupted"])
    }).pipe(playing([
      stream([StreamPart.UsagePart.make({ usage }), pause("3 seconds"), "Hel", pause("1 hour"), "lo"])
    ])))

  it.effect("can end with a Finish of its own", () =>
    Effect.gen(function*() {
      expect(shown(yield* parts)).toEqual(["Hel", "Finish length dated"])
    }).pipe(playing([stream(["Hel", StreamPart.Finish.make({ finishReason: "length", model: "dated" })])])))

  it.effect("S1: fails where it is cut, with what had come", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const failure = yield* Stream.runForEach(read, (part) => Effect.sync(() => seen.push(...shown([part])))).pipe(
        Effect.flip
      )
      expect(seen).toEqual(["Hel", "Usage"])
      expect(failure).toMatchObject({ _tag: "StreamInterrupted", partial: "Hel", usage, handedOut: true })
      expect(failure.receipt?.attempts.map(({ outcome }) => outcome._tag)).toEqual(["Failed"])
      expect(yield* outcomes).toEqual(["open Failed"])
    }).pipe(playing([stream(["Hel", StreamPart.UsagePart.make({ usage }), streamInterrupted()])])))

  it.effect("was not handed out when it is cut before its first output", () =>
    Effect.gen(function*() {
      expect(yield* Effect.flip(parts)).toMatchObject({ _tag: "StreamInterrupted", partial: "", handedOut: false })
    }).pipe(playing([stream([StreamPart.UsagePart.make({ usage }), streamInterrupted()])])))

  it.effect("says what it is told about the cut, whatever came before", () =>
    Effect.gen(function*() {
      const told = { partial: "Other", usage, detail: "reset" }
      expect(yield* parts.pipe(playing([stream(["Hel", streamInterrupted(told)])]), Effect.flip)).toMatchObject(told)
    }))

  it.effect("can fail in the middle in any other way", () =>
    Effect.gen(function*() {
      expect((yield* Effect.flip(parts))._tag).toBe("ConnectionFailed")
    }).pipe(playing([stream(["Hel", connectionFailed({ sent: true })])])))

  it.effect("E2: stalls until its reader leaves", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(parts)
      yield* TestClock.adjust("1 hour")
      expect(yield* outcomes).toEqual(["open Running"])
      yield* Fiber.interrupt(fiber)
      expect(yield* outcomes).toEqual(["open Interrupted"])
    }).pipe(playing([stream(["Hel", never])])))

  it.effect("E2: is interrupted when nobody reads on", () =>
    Effect.gen(function*() {
      yield* Stream.runDrain(Stream.take(read, 1))
      expect(yield* outcomes).toEqual(["open Interrupted"])
    }).pipe(playing([stream(["Hel", "lo"])])))

  it("has nothing after its end", () => {
    expect(() => stream(["Hel", streamInterrupted(), "lo"])).toThrowError(
      expect.objectContaining({
        _tag: "InvalidOption",
        message: "stream(pieces) was given \"1 after the end\"; allowed: no piece after a Finish or a failure"
      })
    )
    expect(() => pause(-1)).toThrowError(/pause\(duration\) was given -1/)
  })

  it.effect("dies when the script has run out", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(parts)
      expect(Exit.isFailure(exit) && String(exit.cause)).toContain("call 1 (open, 1 message) was made")
      expect(yield* outcomes).toEqual(["open Died"])
    }).pipe(playing([])))
})

describe("a scripted stream asked for as a complete answer", () => {
  it.effect("is collected, in order, with its pauses", () =>
    Effect.gen(function*() {
      const { elapsed, exit } = yield* TestTime.run(ask)
      expect(elapsed).toBe(1_000)
      expect(Exit.isSuccess(exit) && exit.value).toMatchObject({
        content: [
          { _tag: "Reasoning", text: "Hm, well" },
          { _tag: "Text", text: "Hello" },
          { _tag: "ToolCall", id: "1", name: "look", arguments: "{\"at\":1}" }
        ],
        usage,
        finishReason: "toolCalls",
        model: "scripted-model"
      })
      expect(yield* outcomes).toEqual(["generate Answered"])
    }).pipe(playing([
      stream([
        StreamPart.ReasoningDelta.make({ text: "Hm, " }),
        StreamPart.ReasoningDelta.make({ text: "well" }),
        "Hel",
        pause("1 second"),
        "lo",
        StreamPart.ToolCallStart.make({ id: "1", name: "look" }),
        StreamPart.ToolCallDelta.make({ id: "1", arguments: "{\"at\"" }),
        StreamPart.ToolCallDelta.make({ id: "1", arguments: ":1}" }),
        StreamPart.ToolCallEnd.make({ id: "1" }),
        StreamPart.UsagePart.make({ usage })
      ])
    ])))

  it.effect("is of the model that its Finish names", () =>
    Effect.gen(function*() {
      expect(yield* ask).toMatchObject({ text: "hi", finishReason: "length", model: "dated" })
    }).pipe(playing([stream(["hi", StreamPart.Finish.make({ finishReason: "length", model: "dated" })])])))

  it.effect("fails when it is cut, with what had come and nothing handed out", () =>
    Effect.gen(function*() {
      expect(yield* Effect.flip(ask)).toMatchObject({
        _tag: "StreamInterrupted",
        partial: "Hello",
        usage,
        handedOut: false
      })
    }).pipe(playing([stream(["Hel", StreamPart.UsagePart.make({ usage }), "lo", streamInterrupted()])])))
})

describe("policies around the opening of a stream", () => {
  const quick = Policy.retry(Retry.constant("1 second").pipe(Retry.attempts(3)))

  it.effect("S1: what fails before the first output is retried, and the reader sees one stream", () =>
    Effect.gen(function*() {
      const { elapsed, exit } = yield* TestTime.run(parts)
      const all = Exit.isSuccess(exit) ? exit.value : []
      expect(elapsed).toBe(2_000)
      expect(shown(all)).toEqual(["hi", "Finish stop "])
      const last = all.at(-1)
      expect(last?._tag === "Finish" && last.receipt.attempts.map(({ outcome }) => outcome._tag))
        .toEqual(["Failed", "Failed", "Answered"])
      expect(yield* outcomes).toEqual(["open Failed", "open Failed", "open Answered"])
    }).pipe(
      Effect.provide(
        ScriptedProvider.layer([
          rateLimited(),
          stream([StreamPart.UsagePart.make({ usage }), streamInterrupted()]),
          stream(["hi"])
        ]).pipe(LlmProvider.withPolicy(quick))
      )
    ))

  it.effect("what fails after it is not", () =>
    Effect.gen(function*() {
      const failure: LlmError.LlmError = yield* Effect.flip(parts)
      expect(failure).toMatchObject({ _tag: "StreamInterrupted", partial: "Hel" })
      expect(yield* outcomes).toEqual(["open Failed"])
    }).pipe(
      Effect.provide(
        ScriptedProvider.layer([stream(["Hel", streamInterrupted()])]).pipe(LlmProvider.withPolicy(quick))
      )
    ))

  it.effect("T2: a timeout interrupts the attempt whose first output does not come, and a fallback goes on", () =>
    Effect.gen(function*() {
      const second = yield* ScriptedProvider.make([stream(["hi", pause("1 hour")])], { provider: "second" })
      const { elapsed, exit } = yield* TestTime.run(Stream.runHead(read)).pipe(
        Effect.zipLeft(Effect.map(outcomes, (all) => expect(all).toEqual(["open Interrupted"]))),
        Effect.provide(
          ScriptedProvider.layer([stream([StreamPart.UsagePart.make({ usage }), never])]).pipe(
            LlmProvider.withPolicy(Policy.timeout("10 seconds")),
            LlmProvider.orElse(second.layer)
          )
        )
      )
      expect(elapsed).toBe(10_000)
      expect(Exit.isSuccess(exit) && Option.getOrUndefined(exit.value)).toMatchObject({ text: "hi" })
      expect((yield* second.calls).map(({ at, outcome }) => [at, outcome._tag])).toEqual([[10_000, "Interrupted"]])
    }).pipe(Effect.scoped))
})
