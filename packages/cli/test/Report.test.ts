import { assert, describe, it } from "@effect/vitest"
import { answer, never, overloaded, ScriptedProvider } from "@perdure/testing"
import { Deferred, Effect, Exit, FastCheck as fc, Fiber, Option, Schema } from "effect"
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { LlmProvider, Receipt } from "perdure"
import * as ReceiptFile from "../src/ReceiptFile.ts"
import * as Report from "../src/Report.ts"
import { failed, receipt, story, used } from "./receipts.ts"
import { streams } from "./screen.ts"

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "perdure-receipts-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

/** A receipt as it was before any field was optional. */
const old = JSON.stringify({
  requested: { provider: "openai", model: "gpt-4o" },
  served: { provider: "openai", model: "gpt-4o" },
  fallback: false,
  attempts: [{
    target: { provider: "openai", model: "gpt-4o" },
    startMs: 0,
    waitMs: 0,
    durationMs: 5,
    outcome: { _tag: "Answered", model: "gpt-4o" }
  }],
  startedAt: 1.75e12,
  durationMs: 5
})

describe("ReceiptFile.parse", () => {
  it("gives back what was written, one a line", () => {
    const receipts = [story, receipt([{ took: 5, outcome: failed("RateLimited", 429, 100) }]), receipt([])]
    const { bad, receipts: read } = ReceiptFile.parse(receipts.map(ReceiptFile.line).join(""))
    assert.deepStrictEqual(bad, [])
    assert.deepStrictEqual(
      read.map((one) => Schema.encodeSync(Receipt.Receipt)(one)),
      receipts.map((one) => Schema.encodeSync(Receipt.Receipt)(one))
    )
  })
  it("reads receipts from before there were keys, hedges, tokens, costs, switches and refusals", () => {
    const { bad, receipts } = ReceiptFile.parse(old)
    assert.deepStrictEqual([bad, receipts.length], [[], 1])
  })
  it("names bad lines by their numbers, and takes blank ones, CR LF and a byte order mark for nothing", () => {
    const text = ["\uFEFF" + old, "", "{}", "  ", "nope", old + "\r", `{"receipt":${old}}`].join("\n")
    const { bad, receipts } = ReceiptFile.parse(text)
    assert.deepStrictEqual([bad, receipts.length], [[3, 5, 7], 2])
  })
  it("takes times that no clock shows for bad", () => {
    const from = (startedAt: string, duration: string) =>
      ReceiptFile.parse(old.replace("1750000000000", startedAt).replace(`"durationMs":5}`, `"durationMs":${duration}}`))
        .bad.length
    assert.deepStrictEqual([from("1e99", "5"), from("1", "1e99"), from("null", "5"), from("1", "-1"), from("1", "5")], [
      1,
      1,
      1,
      1,
      0
    ])
  })
  it("survives any text", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.json(), fc.constant(old))), (lines) => {
        const { bad, receipts } = ReceiptFile.parse(lines.join("\n"))
        assert.isAtMost(bad.length + receipts.length, lines.join("\n").split("\n").length)
      }),
      { numRuns: 2000 }
    )
  })
})

describe("ReceiptFile.recording", () => {
  const ask = (script: Parameters<typeof ScriptedProvider.layer>[0]) =>
    LlmProvider.generate("Hi").pipe(Effect.provide(ScriptedProvider.layer(script)))

  it.scoped("adds a line for every call, answered, failed or interrupted", () =>
    Effect.gen(function*() {
      const path = join(yield* folder, "receipts.jsonl")
      const record = ReceiptFile.recording(Option.some(path))
      yield* record(ask([answer("Hi.")]))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(record(ask([overloaded()])))))
      const begun = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(record(
        Effect.zipRight(Deferred.succeed(begun, undefined), ask([never]))
      ))
      yield* Deferred.await(begun)
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(fiber)
      const { bad, receipts } = ReceiptFile.parse(readFileSync(path, "utf8"))
      assert.deepStrictEqual(bad, [])
      assert.deepStrictEqual(receipts.map(({ attempts }) => attempts[0]?.outcome._tag), [
        "Answered",
        "Failed",
        "Interrupted"
      ])
    }))
  it.scoped("asks nothing when the file cannot be written, and says why", () =>
    Effect.gen(function*() {
      let asked = false
      const file = Option.some(join(yield* folder, "missing", "receipts.jsonl"))
      const { _tag, message } = yield* Effect.flip(ReceiptFile.recording(file)(Effect.sync(() => asked = true)))
      assert.deepStrictEqual([asked, _tag], [false, "UsageError"])
      assert.include(message, "cannot be written: there is no such file or folder")
    }))
  it.effect("is nothing at all without a file", () =>
    Effect.sync(() => {
      const self = Effect.void
      assert.strictEqual(ReceiptFile.recording(Option.none())(self), self)
    }))
})

describe("Report.run", () => {
  const none = Option.none<string>()

  it.scoped("writes a page, and says in a line what is in it and which lines are no receipts", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const [file, out] = [join(place, "a.jsonl"), join(place, "a.html")]
      writeFileSync(file, [ReceiptFile.line(story), "nope\n", old].join(""))
      const { err, io, out: printed } = streams()
      yield* Report.run({ file, out, prices: none }, io)
      assert.match(
        readFileSync(out, "utf8"),
        /^<!doctype html>[^]*1 line is no receipt and was left out: 2[^]*<\/html>\n$/
      )
      assert.include(printed(), "a.html: 2 calls, 100 % answered, 50.0 % by a fallback\n")
      assert.strictEqual(err(), "1 line is no receipt and was left out: 2\n")
    }))
  it.scoped("prices the tokens that have no cost, and says by which prices", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const [file, out, prices] = [join(place, "a.jsonl"), join(place, "a.html"), join(place, "prices.json")]
      writeFileSync(file, ReceiptFile.line(used("gpt-4o")) + ReceiptFile.line(used("unheard-of")))
      writeFileSync(prices, JSON.stringify({ models: { openai: { "gpt-4o": { input: 1000, output: 8000 } } } }))
      const page = (prices: Option.Option<string>) =>
        Effect.map(Report.run({ file, out, prices }, streams().io), () => readFileSync(out, "utf8"))
      const priced = yield* page(Option.some(prices))
      assert.include(
        priced,
        `<dt>Cost</dt><dd>0.050 <span class="unit">USD</span><small>1 attempt without a price</small></dd>`
      )
      assert.match(priced, /<bdi>openai\/gpt-4o<\/bdi>.*<td data-head="cost">0\.050 USD<\/td>/)
      assert.match(priced, /had no cost for is priced by <bdi>[^<]*prices\.json<\/bdi>/)
      const plain = yield* page(none)
      assert.include(plain, "<dt>Cost</dt><dd>–<small>2 attempts without a price</small></dd>")
      assert.notInclude(plain, "priced by")
    }))
  it.scoped("writes nothing with prices that cannot be used", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const [file, out, prices] = [join(place, "a.jsonl"), join(place, "a.html"), join(place, "prices.json")]
      writeFileSync(file, old)
      writeFileSync(prices, `{"models":{"openai":{"gpt-4o":{"input":1}}}}`)
      const error = yield* Effect.flip(Report.run({ file, out, prices: Option.some(prices) }, streams().io))
      assert.deepStrictEqual([error._tag, error.message], [
        "UsageError",
        `${prices} cannot be used: models.openai.gpt-4o.output must be a value, which is missing`
      ])
      assert.isFalse(existsSync(out))
    }))
  it.effect("reads standard input and writes standard output, and nothing else there", () =>
    Effect.gen(function*() {
      const { err, io, out } = streams({ stdin: old })
      yield* Report.run({ file: "-", out: "-", prices: none }, io)
      assert.match(out(), /^<!doctype html>[^]*standard input[^]*<\/html>\n$/)
      assert.strictEqual(err(), "")
    }))
  it.scoped("says in one line that a file is missing, is a folder, is too large, is empty or holds no receipts, and writes nothing", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const out = join(place, "out.html")
      const refusal = (name: string, text?: string) => {
        if (text !== undefined) writeFileSync(join(place, name), text)
        return Effect.map(
          Effect.flip(Report.run({ file: join(place, name), out, prices: none }, streams().io)),
          ({ _tag, message }) => [_tag, message.replace(`${place}/`, "")]
        )
      }
      mkdirSync(join(place, "folder"))
      assert.deepStrictEqual(yield* refusal("missing"), [
        "UsageError",
        "missing cannot be read: there is no such file or folder"
      ])
      assert.strictEqual((yield* refusal("folder"))[0], "UsageError")
      writeFileSync(join(place, "large"), "")
      truncateSync(join(place, "large"), 2 ** 29)
      assert.deepStrictEqual(yield* refusal("large"), [
        "UsageError",
        "large cannot be read: it is larger than 512 MiB; split it between two lines"
      ])
      assert.deepStrictEqual(yield* refusal("empty", "\n \n"), ["UsageError", "empty is empty: it has no receipts"])
      assert.deepStrictEqual(yield* refusal("one", "{}"), [
        "UsageError",
        "one has no receipts: its only line is none"
      ])
      assert.deepStrictEqual(yield* refusal("bad", "{}\n1\nx"), [
        "UsageError",
        "bad has no receipts: none of its 3 lines is one"
      ])
      assert.isFalse(existsSync(out))
    }))
  it.scoped("fails when the page cannot be written", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const file = join(place, "a.jsonl")
      writeFileSync(file, old)
      const { _tag, message } = yield* Effect.flip(
        Report.run({ file, out: join(place, "no", "a.html"), prices: none }, streams().io)
      )
      assert.strictEqual(_tag, "Failed")
      assert.include(message, "cannot be written: there is no such file or folder")
    }))
})
