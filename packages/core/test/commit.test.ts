/** What `LlmProvider.make({ stream })` makes of a provider's stream. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Chunk, Duration, Effect, Exit, Fiber, Option, Scope, Stream, TestClock } from "effect"
import * as fc from "effect/FastCheck"
import { Call, Disposition, LlmError, LlmProvider, LlmRequest, LlmResponse, StreamPart } from "perdure"
import { failureOf, openAi, rateLimited } from "./support/provider.ts"

type Part = StreamPart.StreamPart
type Parts = Stream.Stream<Part, LlmError.LlmError>

const text = (text: string): Part => StreamPart.TextDelta.make({ text })
const reasoning = (text: string): Part => StreamPart.ReasoningDelta.make({ text })
const usage = (outputTokens: number): Part =>
  StreamPart.UsagePart.make({ usage: new LlmResponse.Usage({ outputTokens }) })
const finish = StreamPart.Finish.make({ finishReason: "stop", model: "gpt-4o-dated" })
const toolCall = [
  StreamPart.ToolCallStart.make({ id: "1", name: "weather" }),
  StreamPart.ToolCallDelta.make({ id: "1", arguments: "" }),
  StreamPart.ToolCallEnd.make({ id: "1" })
]

const ask = LlmRequest.make("hello")
const provider = (parts: Parts) =>
  LlmProvider.make({ ...openAi, generate: () => Effect.dieMessage("only streams"), stream: () => parts })
const open = (parts: Parts) => provider(parts).open(ask)
const each = (...parts: ReadonlyArray<Part>): Parts => Stream.fromIterable(parts).pipe(Stream.rechunk(1))
const broken = new LlmError.Overloaded({ ...openAi, status: 529 })

/** Opens and reads to the end: how the opening ended, what was read, and how the reading ended. */
const readAll = (parts: Parts) =>
  Effect.scoped(Effect.gen(function*() {
    const opening = yield* Effect.exit(open(parts))
    if (Exit.isFailure(opening)) return { opening, read: [], reading: opening }
    const read: Array<Part> = []
    const reading = yield* Effect.exit(
      Stream.runForEach(opening.value.parts, (part) => Effect.sync(() => void read.push(part)))
    )
    return { opening, read, reading }
  }))

const tags = (parts: ReadonlyArray<Part>) => parts.map(({ _tag }) => _tag)

describe("opening", () => {
  it.scoped("succeeds at the millisecond of the first output, and gives the parts before it first", () =>
    Effect.gen(function*() {
      const parts = Stream.concat(
        each(usage(0), text("")),
        Stream.concat(Stream.fromEffect(Effect.as(Effect.sleep("1 second"), text("hi"))), each(usage(1), finish))
      )
      const fiber = yield* Effect.fork(open(parts))
      yield* TestClock.adjust("999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* TestClock.adjust("1 millis")
      const opened = yield* Fiber.join(fiber)
      const read = Chunk.toReadonlyArray(yield* Stream.runCollect(opened.parts))
      assert.deepStrictEqual(read.slice(0, -1), [usage(0), text(""), text("hi"), usage(1)])
      assert.strictEqual(read.at(-1)?._tag, "Finish")
    }))

  for (const part of [text("hi"), reasoning("hm"), ...toolCall]) {
    it.scoped(`${part._tag} opens`, () =>
      Effect.gen(function*() {
        const { parts } = yield* open(Stream.concat(each(part), Stream.never))
        assert.deepStrictEqual(yield* Stream.runHead(parts), Option.some(part))
      }))
  }

  for (const part of [text(""), reasoning(""), usage(1), StreamPart.Restarted.make(openAi)]) {
    it.scoped(`${JSON.stringify(part)} does not open`, () =>
      Effect.gen(function*() {
        const fiber = yield* Effect.fork(open(Stream.concat(each(part), Stream.never)))
        yield* TestClock.adjust("1 hour")
        assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
        yield* Fiber.interrupt(fiber)
      }))
  }

  it.effect("an empty answer is an answer when it says that it is complete", () =>
    Effect.gen(function*() {
      const { read, reading } = yield* readAll(each(usage(0), finish))
      assert.isTrue(Exit.isSuccess(reading))
      assert.deepStrictEqual(tags(read), ["Usage", "Finish"])
    }))

  it.effect("loses nothing where the first output and the Finish come in one chunk after others", () =>
    Effect.gen(function*() {
      const { read } = yield* readAll(Stream.fromChunks(
        Chunk.of(usage(0)),
        Chunk.unsafeFromArray([text("It "), text("rains"), finish])
      ))
      assert.deepStrictEqual(tags(read), ["Usage", "TextDelta", "TextDelta", "Finish"])
    }))

  it.effect("loses nothing of a chunk that was put together from others, by a service written by hand", () =>
    Effect.gen(function*() {
      const together = Chunk.appendAll(Chunk.of(text("It ")), Chunk.unsafeFromArray([text("rains"), finish]))
      const byHand: LlmProvider.Service = {
        generate: () => Effect.dieMessage("only streams"),
        open: () => Effect.succeed({ parts: Stream.fromChunk(together) })
      }
      const read = yield* Stream.runCollect(LlmProvider.stream("hello")).pipe(
        Effect.provideService(LlmProvider.LlmProvider, byHand)
      )
      assert.deepStrictEqual(tags(Chunk.toReadonlyArray(read)), ["TextDelta", "TextDelta", "Finish"])
    }))

  it.effect("takes a chunk of any size", () =>
    Effect.gen(function*() {
      const parts = Array.from({ length: 300_000 }, () => text("x"))
      const { read } = yield* readAll(Stream.fromChunk(Chunk.unsafeFromArray([...parts, finish])))
      assert.strictEqual(read.length, 300_001)
    }))

  it.effect("is quick about a long preamble", () =>
    Effect.gen(function*() {
      const { read } = yield* readAll(
        Stream.concat(
          Stream.rechunk(Stream.repeatValue(usage(0)).pipe(Stream.take(10_000)), 1),
          each(text("hi"), finish)
        )
      )
      assert.strictEqual(read.length, 10_002)
    }))

  it.effect("a failure before the first output fails it with that failure", () =>
    Effect.gen(function*() {
      const { opening } = yield* readAll(Stream.concat(each(usage(1), text("")), Stream.fail(broken)))
      const failure = failureOf(opening)
      assert.strictEqual(failure._tag, "Overloaded")
      assert.strictEqual(failure.status, 529)
      assert.deepStrictEqual(failure.receipt?.attempts.map(({ outcome }) => outcome._tag), ["Failed"])
    }))

  it.effect("a defect is a defect, in the stream and in the code that makes it", () =>
    Effect.gen(function*() {
      const boom = new Error("boom")
      const { opening } = yield* readAll(Stream.die(boom))
      assert.isTrue(Exit.isFailure(opening) && Option.contains(Cause.dieOption(opening.cause), boom))
      const thrower = LlmProvider.make({
        ...openAi,
        generate: () => Effect.dieMessage("only streams"),
        stream: () => {
          throw boom
        }
      })
      const exit = yield* Effect.exit(Effect.scoped(thrower.open(ask)))
      assert.isTrue(Exit.isFailure(exit) && Option.contains(Cause.dieOption(exit.cause), boom))
    }))
})

describe("S1: an end without a Finish", () => {
  it.effect("before any part fails the opening, with nothing handed out", () =>
    Effect.gen(function*() {
      const failure = failureOf((yield* readAll(Stream.empty)).opening)
      assert.deepInclude({ ...failure }, { _tag: "StreamInterrupted", ...openAi, partial: "", handedOut: false })
      assert.isFalse("usage" in failure)
      assert.strictEqual(Disposition.classify(failure).next, "here")
    }))

  it.effect("before the first output fails the opening, with the usage told", () =>
    Effect.gen(function*() {
      const failure = failureOf((yield* readAll(each(usage(1), text(""), usage(2)))).opening)
      assert.deepInclude({ ...failure }, { _tag: "StreamInterrupted", partial: "", handedOut: false })
      assert.deepStrictEqual("usage" in failure && failure.usage, new LlmResponse.Usage({ outputTokens: 2 }))
    }))

  it.effect("after output fails the stream, with the text and the last usage, and nothing is to be repeated", () =>
    Effect.gen(function*() {
      const sent = [text("It "), reasoning("hm"), usage(1), text("rains"), ...toolCall, usage(5)]
      const { opening, read, reading } = yield* readAll(each(...sent))
      assert.isTrue(Exit.isSuccess(opening))
      assert.deepStrictEqual(read, sent)
      const failure = failureOf(reading)
      assert.deepInclude({ ...failure }, { _tag: "StreamInterrupted", ...openAi, partial: "It rains", handedOut: true })
      assert.deepStrictEqual("usage" in failure && failure.usage, new LlmResponse.Usage({ outputTokens: 5 }))
      assert.strictEqual(Disposition.classify(failure).next, "stop")
    }))

  it.effect("when all came at once is still the failure of a stream that was opened", () =>
    Effect.gen(function*() {
      const { opening, read, reading } = yield* readAll(Stream.make(text("a"), text("b")))
      assert.isTrue(Exit.isSuccess(opening))
      assert.deepStrictEqual(read, [text("a"), text("b")])
      assert.deepInclude({ ...failureOf(reading) }, { partial: "ab", handedOut: true })
    }))

  it.effect("keeps no more than 1 Mi characters of an endless answer", () =>
    Effect.gen(function*() {
      const { reading } = yield* readAll(
        Stream.rechunk(Stream.take(Stream.repeatValue(text("x".repeat(300_000))), 9), 1)
      )
      assert.deepInclude({ ...failureOf(reading) }, { partial: "x".repeat(1024 * 1024) })
    }))

  it.effect("of two streams of one provider keeps each one's own", () =>
    Effect.gen(function*() {
      let nth = 0
      const service = LlmProvider.make({
        ...openAi,
        generate: () => Effect.dieMessage("only streams"),
        stream: () => each(text(`a${++nth}`), text(`b${nth}`))
      })
      const read = Effect.scoped(Effect.flatMap(service.open(ask), ({ parts }) => Effect.flip(Stream.runDrain(parts))))
      const failures = yield* Effect.all([read, read], { concurrency: 2 })
      assert.deepStrictEqual(failures.map((failure) => "partial" in failure && failure.partial), ["a1b1", "a2b2"])
    }))
})

describe("a failure after output", () => {
  it.effect("fails the stream after all that came before it was read", () =>
    Effect.gen(function*() {
      const { opening, read, reading } = yield* readAll(
        Stream.concat(each(text("It "), text("rains")), Stream.fail(broken))
      )
      assert.isTrue(Exit.isSuccess(opening))
      assert.deepStrictEqual(read, [text("It "), text("rains")])
      const failure = failureOf(reading)
      assert.deepInclude({ ...failure }, { _tag: "Overloaded", partial: "It rains", handedOut: true })
      assert.strictEqual(Disposition.classify(failure).next, "stop")
      assert.deepStrictEqual(failure.receipt?.attempts.map(({ outcome }) => outcome), [
        { _tag: "Failed", error: "Overloaded", status: 529, detail: "" }
      ])
      assert.isUndefined(failure.receipt?.served)
    }))

  const cut = new LlmError.StreamInterrupted({ ...openAi, handedOut: false, requestId: "req_1", detail: "reset" })

  it.effect("S1: that is a provider's own StreamInterrupted learns what had been handed out", () =>
    Effect.gen(function*() {
      const { reading } = yield* readAll(Stream.concat(each(text("It "), usage(3), text("rains")), Stream.fail(cut)))
      const failure = failureOf(reading)
      assert.deepInclude({ ...failure }, { partial: "It rains", handedOut: true, requestId: "req_1", detail: "reset" })
      assert.deepStrictEqual("usage" in failure && failure.usage, new LlmResponse.Usage({ outputTokens: 3 }))
      assert.strictEqual(Disposition.classify(failure).next, "stop")
    }))

  it.effect("S1: and before output that nothing had been", () =>
    Effect.gen(function*() {
      const { opening } = yield* readAll(Stream.concat(each(usage(3)), Stream.fail(cut)))
      const failure = failureOf(opening)
      assert.deepInclude({ ...failure }, { partial: "", handedOut: false, requestId: "req_1" })
      assert.strictEqual(Disposition.classify(failure).next, "here")
    }))

  it.effect("S1: what the provider's own says of partial text and usage is kept", () =>
    Effect.gen(function*() {
      const own = new LlmError.StreamInterrupted({
        ...openAi,
        handedOut: true,
        partial: "more",
        usage: new LlmResponse.Usage({ outputTokens: 9 })
      })
      const { opening } = yield* readAll(Stream.concat(each(usage(3)), Stream.fail(own)))
      assert.deepInclude({ ...failureOf(opening) }, { partial: "more", handedOut: true, usage: own.usage })
    }))
})

describe("after the Finish", () => {
  const late: ReadonlyArray<readonly [string, Parts]> = [
    ["parts in the same chunk", Stream.make(text("hi"), finish, usage(9), text("late"), finish)],
    ["parts in later chunks", each(text("hi"), finish, usage(9), text("late"), finish)],
    ["a failure", Stream.concat(each(text("hi"), finish), Stream.fail(broken))],
    ["a Finish alone, then a failure", Stream.concat(Stream.make(text("hi"), finish), Stream.fail(rateLimited()))]
  ]
  for (const [what, parts] of late) {
    it.effect(`${what} change nothing about a complete answer`, () =>
      Effect.gen(function*() {
        const { read, reading } = yield* readAll(parts)
        assert.isTrue(Exit.isSuccess(reading))
        assert.deepStrictEqual(tags(read), ["TextDelta", "Finish"])
        const last = read.at(-1)
        assert.strictEqual(last?._tag === "Finish" && last.receipt.served?.model, "gpt-4o-dated")
      }))
  }
})

it("any parts in any chunks are read as they came, up to the Finish, or are the partial answer of a failure", async () => {
  const part = fc.oneof(
    fc.constantFrom("", "a", "b").map(text),
    fc.constantFrom("", "r").map(reasoning),
    fc.nat(9).map(usage),
    fc.constantFrom(...toolCall),
    fc.constant<Part>(finish)
  )
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(part, { maxLength: 4 }), { maxLength: 8 }), async (chunks) => {
      const sent = chunks.flat()
      const end = sent.findIndex(({ _tag }) => _tag === "Finish")
      const expected = end < 0 ? sent : sent.slice(0, end + 1)
      const { opening, read, reading } = await Effect.runPromise(
        readAll(Stream.fromChunks(...chunks.map(Chunk.unsafeFromArray)))
      )
      const opens = expected.some((part) => StreamPart.isOutput(part) || part._tag === "Finish")
      assert.strictEqual(Exit.isSuccess(opening), opens)
      if (opens) {
        const plain = read.map((part) => part._tag === "Finish" ? finish : part)
        assert.deepStrictEqual(plain, expected)
      }
      assert.strictEqual(Exit.isSuccess(reading), end >= 0)
      if (Exit.isFailure(reading)) {
        const partial = sent.map((part) => part._tag === "TextDelta" ? part.text : "").join("")
        assert.deepInclude({ ...failureOf(reading) }, { _tag: "StreamInterrupted", partial, handedOut: opens })
      }
    }),
    { numRuns: 300 }
  )
})

describe("E2: the provider's stream", () => {
  /** A stream that says how many parts were asked of it and whether it was let go. */
  const watched = (parts: Parts) => {
    const seen = { pulled: 0, released: 0 }
    const stream = Stream.unwrapScoped(Effect.as(
      Effect.addFinalizer(() => Effect.sync(() => void seen.released++)),
      Stream.tap(parts, () => Effect.sync(() => void seen.pulled++))
    ))
    return { seen, stream }
  }
  const endless = Stream.rechunk(Stream.repeatValue(text("x")), 1)

  it.effect("is not read ahead of its reader", () =>
    Effect.gen(function*() {
      const { seen, stream } = watched(endless)
      yield* Effect.scoped(Effect.gen(function*() {
        const { parts } = yield* open(stream)
        yield* Effect.yieldNow()
        assert.strictEqual(seen.pulled, 1)
        yield* Stream.runDrain(Stream.take(parts, 5))
        assert.strictEqual(seen.pulled, 5)
      }))
    }))

  it.effect("is let go when the scope it was opened in closes, and not before", () =>
    Effect.gen(function*() {
      const { seen, stream } = watched(endless)
      const scope = yield* Scope.make()
      const { parts } = yield* Scope.extend(open(stream), scope)
      yield* Stream.runDrain(Stream.take(parts, 2))
      assert.strictEqual(seen.released, 0)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(seen.released, 1)
    }))

  it.effect("is let go at once when opening it fails, also while the scope stays open", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      for (const end of [Stream.fail(broken), Stream.empty, Stream.die("boom")]) {
        const { seen, stream } = watched(Stream.concat(each(usage(1)), end))
        yield* Effect.exit(Scope.extend(open(stream), scope))
        assert.strictEqual(seen.released, 1)
      }
      yield* Scope.close(scope, Exit.void)
    }))

  it.effect("is let go when opening it is interrupted", () =>
    Effect.gen(function*() {
      const { seen, stream } = watched(Stream.concat(each(usage(1)), Stream.never))
      const fiber = yield* Effect.fork(Effect.scoped(open(stream)))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(seen, { pulled: 1, released: 0 })
      const exit = yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.isInterrupted(exit))
      assert.strictEqual(seen.released, 1)
    }))

  const ways: ReadonlyArray<
    readonly [string, (parts: Parts) => Effect.Effect<unknown, unknown>, Parts]
  > = [
    ["its reader has enough", (parts) => Stream.runDrain(Stream.take(parts, 3)), endless],
    ["its reader fails", (parts) => Stream.runForEach(parts, () => Effect.fail("no")), endless],
    ["its reader dies", (parts) => Stream.runForEach(parts, () => Effect.die("no")), endless],
    [
      "its reader is interrupted",
      (parts) => Effect.timeout(Stream.runDrain(parts), "1 second"),
      Stream.concat(each(text("x")), Stream.never)
    ],
    ["it was read to the end", Stream.runDrain, each(text("x"), finish)],
    ["it broke", Stream.runDrain, Stream.concat(each(text("x")), Stream.fail(broken))]
  ]
  for (const [when, read, parts] of ways) {
    it.effect(`is let go, once, when ${when}`, () =>
      Effect.gen(function*() {
        const { seen, stream } = watched(parts)
        const layer = LlmProvider.layer({
          ...openAi,
          generate: () => Effect.dieMessage("only streams"),
          stream: () => stream
        })
        const fiber = yield* Effect.fork(Effect.exit(read(Stream.provideLayer(LlmProvider.stream("hello"), layer))))
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(fiber)
        assert.strictEqual(seen.released, 1)
      }))
  }
})

describe("O1: the receipt", () => {
  const slow = Stream.concat(
    Stream.fromEffect(Effect.as(Effect.sleep("300 millis"), text("hi"))),
    Stream.fromEffect(Effect.as(Effect.sleep("200 millis"), finish))
  )

  it.effect("is on the Finish, with who answered and how long it took", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(readAll(slow))
      yield* TestClock.adjust("500 millis")
      const { read } = yield* Fiber.join(fiber)
      const last = read.at(-1)
      assert.isTrue(last?._tag === "Finish")
      if (last?._tag !== "Finish") return
      assert.deepStrictEqual(last.receipt.requested, openAi)
      assert.deepStrictEqual(last.receipt.served, { provider: "openai", model: "gpt-4o-dated" })
      assert.isFalse(last.receipt.fallback)
      assert.deepStrictEqual(last.receipt.attempts.map(({ outcome }) => outcome), [{
        _tag: "Answered",
        model: "gpt-4o-dated"
      }])
      assert.deepStrictEqual(last.receipt.duration, Duration.millis(500))
    }))

  it.effect("names the model that was asked where the provider names none", () =>
    Effect.gen(function*() {
      const { read } = yield* readAll(each(text("hi"), StreamPart.Finish.make({ finishReason: "stop" })))
      const last = read.at(-1)
      assert.deepStrictEqual(last?._tag === "Finish" && last.receipt.served, openAi)
    }))

  it.effect("of a stream that nobody read to its end says that it was interrupted", () =>
    Effect.gen(function*() {
      const ends: Array<readonly [string, ReadonlyArray<string>]> = []
      yield* Effect.scoped(open(Stream.concat(each(text("hi")), Stream.never))).pipe(Call.observe((event) => {
        if (event._tag === "Ended") {
          ends.push([
            event.outcome,
            event.receipt.attempts.map(({ outcome }) => outcome._tag)
          ])
        }
      }))
      assert.deepStrictEqual(ends, [["Interrupted", ["Interrupted"]]])
    }))
})
