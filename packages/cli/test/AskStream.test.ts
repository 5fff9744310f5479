import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema, Stream } from "effect"
import { LlmError, LlmProvider, LlmRequest, LlmResponse, StreamPart } from "perdure"
import * as AskStream from "../src/AskStream.ts"
import * as CallSummary from "../src/CallSummary.ts"
import * as Terminal from "../src/Terminal.ts"
import { screen, streams } from "./screen.ts"

const target = { provider: "local", model: "scripted" }
const request = LlmRequest.make("hi")

const text = (text: string) => StreamPart.TextDelta.make({ text })
const thought = (text: string) => StreamPart.ReasoningDelta.make({ text })
const usage = (inputTokens: number, outputTokens: number) =>
  StreamPart.UsagePart.make({ usage: new LlmResponse.Usage({ inputTokens, outputTokens }) })
const finish = (finishReason: LlmResponse.FinishReason = "stop") => StreamPart.Finish.make({ finishReason })

const provider = (
  stream: Stream.Stream<StreamPart.StreamPart, LlmError.LlmError>,
  named: { readonly provider: string; readonly model: string } = target
) =>
  LlmProvider.layer({
    ...named,
    generate: () => Effect.dieMessage("a stream was asked for"),
    stream: () => stream
  })

const cut = (...parts: ReadonlyArray<StreamPart.StreamPart>) =>
  Stream.concat(Stream.fromIterable(parts), Stream.fail(new LlmError.StreamInterrupted({ ...target, detail: "gone" })))

interface Asked {
  readonly options?: LlmProvider.StreamOptions
  readonly json?: boolean
  readonly terminals?: Parameters<typeof streams>[0]
}

const ask = (layer: ReturnType<typeof provider>, { json = false, options = {}, terminals = {} }: Asked = {}) =>
  Effect.gen(function*() {
    const { err, io, out, written } = streams(terminals)
    const result = yield* Effect.either(AskStream.run(request, options, json, io)).pipe(Effect.provide(layer))
    return { err: err(), out: out(), result, written }
  })

const parts = (out: string) =>
  out.trimEnd().split("\n").map((line) => Schema.decodeUnknownSync(Schema.parseJson(StreamPart.StreamPart))(line))

describe("AskStream.run", () => {
  it.effect("writes each piece as it comes, and the receipt on standard error at the end", () =>
    Effect.gen(function*() {
      const { err, out, written } = yield* ask(
        provider(Stream.make(text("Fo"), text("ur"), text("."), usage(3, 1), usage(3, 2), finish()))
      )
      assert.strictEqual(out, "Four.\n")
      assert.deepStrictEqual(written, ["Fo", "ur", ".", "\n"])
      assert.match(err, /^ {2}requested {2}local\/scripted .*\n {2}served {5}local\/scripted /)
      assert.include(err, "  tokens     3 in, 2 out\n")
    }))
  it.effect("adds no empty line to an answer that ends with a line break", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* ask(provider(Stream.make(text("a\n"), finish())))).out, "a\n")
      assert.strictEqual((yield* ask(provider(Stream.make(text("a\n"), text(""), finish())))).out, "a\n")
    }))
  it.effect("says why an answer ended early", () =>
    Effect.gen(function*() {
      assert.include((yield* ask(provider(Stream.make(text("a"), finish("length"))))).err, "  finished   length\n")
    }))
  it.effect("hands the answer through untouched to a pipe, and harmless to a terminal", () =>
    Effect.gen(function*() {
      const layer = provider(Stream.make(text("a\u001b[3"), text("1mb"), finish()))
      assert.strictEqual((yield* ask(layer)).out, "a\u001b[31mb\n")
      assert.strictEqual((yield* ask(layer, { terminals: { outTTY: true } })).out, "a[31mb\n")
    }))
  it.effect("shows reasoning dim where a person is watching, and nowhere else", () =>
    Effect.gen(function*() {
      const layer = provider(Stream.make(thought("hm\u001b[31m"), thought("mm"), text("Four."), finish()))
      const watched = yield* ask(layer, { terminals: { errTTY: true } })
      assert.include(watched.err, "\u001b[2mhm[31m\u001b[0m\u001b[2mmm\u001b[0m\n")
      assert.strictEqual(watched.out, "Four.\n")
      const piped = yield* ask(layer)
      assert.notInclude(piped.err, "hm")
      assert.strictEqual(piped.out, "Four.\n")
    }))
  it.effect("ends the progress line before the first words and draws none after them", () =>
    Effect.gen(function*() {
      const layer = provider(Stream.make(text("Four."), finish()))
      const { err } = yield* ask(layer, { terminals: { errTTY: true } })
      const [before = "", after = ""] = err.split(Terminal.cursor.show)
      assert.include(before, "asking local/scripted")
      assert.notInclude(after, Terminal.cursor.clearLine)
      assert.include(after, "requested")
    }))
})

describe("AskStream.run, when the stream is cut", () => {
  const rescued = LlmProvider.orElse(
    provider(cut(text("Fo"))),
    provider(Stream.make(text("Five"), finish()), { provider: "other", model: "second" })
  )
  const notice = "[cut; other/second starts again, and what came before is void]\n"

  it.effect("fails with the words so far on a line of their own", () =>
    Effect.gen(function*() {
      const { out, result } = yield* ask(provider(cut(text("Fo"))))
      assert.strictEqual(out, "Fo\n")
      assert(result._tag === "Left")
      assert.strictEqual(result.left._tag, "StreamInterrupted")
    }))
  it.effect("restarts on a new line, and says so on standard error when the answer goes to a pipe", () =>
    Effect.gen(function*() {
      const { err, out } = yield* ask(rescued, { options: { whenCut: "restart" } })
      assert.strictEqual(out, "Fo\nFive\n")
      assert.isTrue(err.startsWith(notice), err)
      assert.match(err, /fallback {3}yes/)
    }))
  it.effect("says so in the answer's place on a terminal", () =>
    Effect.gen(function*() {
      const { err, out } = yield* ask(rescued, { options: { whenCut: "restart" }, terminals: { outTTY: true } })
      assert.strictEqual(out, `Fo\n\u001b[33m${notice.trimEnd()}\u001b[0m\nFive\n`)
      assert.notInclude(err, "starts again")
    }))
  it.effect("buffers unseen", () =>
    Effect.gen(function*() {
      const { err, out } = yield* ask(rescued, { options: { whenCut: "buffer" } })
      assert.strictEqual(out, "Five\n")
      assert.notInclude(err, "starts again")
    }))
  it.effect("prints Restarted among the other parts as JSON, each on a line, the receipt in the last", () =>
    Effect.gen(function*() {
      const { err, out } = yield* ask(rescued, { options: { whenCut: "restart" }, json: true })
      const read = parts(out)
      assert.strictEqual(err, "")
      assert.deepStrictEqual(read.map(({ _tag }) => _tag), ["TextDelta", "Restarted", "TextDelta", "Finish"])
      const last = read.at(-1)
      assert(last?._tag === "Finish")
      assert.deepStrictEqual(last.receipt.served, { provider: "other", model: "second" })
    }))
  it.effect("leaves JSON as it is when it fails, so that the failure can follow on a line of its own", () =>
    Effect.gen(function*() {
      const { out, result } = yield* ask(provider(cut(text("Fo"))), { json: true })
      assert.deepStrictEqual(parts(out).map(({ _tag }) => _tag), ["TextDelta"])
      assert(result._tag === "Left")
      const { io, out: told } = streams()
      CallSummary.unanswered(result.left, [target], true, io)
      const { errors } = Schema.decodeUnknownSync(Schema.parseJson(CallSummary.Unanswered))(told())
      assert.deepStrictEqual(errors.map(({ _tag, partial }) => [_tag, partial]), [["StreamInterrupted", "Fo"]])
    }))
})

describe("AskStream.run with a slow reader", () => {
  const slow = () => {
    const listeners = new Set<() => void>()
    const out = screen({
      writableNeedDrain: true,
      once: (_, listener) => listeners.add(listener),
      off: (_, listener) => listeners.delete(listener)
    })
    const drain = () => {
      const waiting = Array.from(listeners)
      listeners.clear()
      for (const listener of waiting) listener()
    }
    return { drain, listeners, out }
  }
  const start = (out: Terminal.Terminal) =>
    AskStream.run(request, {}, false, { out, err: screen().terminal, stdin: Effect.succeed("") }).pipe(
      Effect.provide(provider(Stream.make(text("Fo"), text("ur"), finish()))),
      Effect.fork
    )
  const settled = Effect.repeatN(Effect.yieldNow(), 100)

  it.effect("waits until the reader has taken one piece before it writes the next", () =>
    Effect.gen(function*() {
      const { drain, out } = slow()
      const fiber = yield* start(out.terminal)
      yield* settled
      assert.strictEqual(out.text(), "Fo")
      drain()
      yield* settled
      assert.strictEqual(out.text(), "Four")
      drain()
      yield* settled
      drain()
      yield* Fiber.join(fiber)
      assert.strictEqual(out.text(), "Four\n")
    }))
  it.effect("E2: stops at once when it is interrupted while it waits, and listens no more", () =>
    Effect.gen(function*() {
      const { listeners, out } = slow()
      const fiber = yield* start(out.terminal)
      yield* settled
      assert.strictEqual(listeners.size, 1)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(listeners.size, 0)
      assert.strictEqual(out.text(), "Fo\n")
    }))
})
