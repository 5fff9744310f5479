import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import { Disposition, LlmError, Retry } from "perdure"
import * as Explanation from "../src/Explanation.ts"
import * as ExplanationPage from "../src/ExplanationPage.ts"
import * as Text from "../src/Text.ts"

const target = { provider: "openai", model: "gpt-4o" }

const rateLimited = (wait?: Duration.DurationInput) =>
  new LlmError.RateLimited({ ...target, ...(wait === undefined ? {} : { retryAfter: Duration.decode(wait) }) })

const waits = ({ retries }: Explanation.Explanation, name: "standard" | "article") =>
  retries[name].waits.map(({ least, most }) => [Duration.toMillis(least), Duration.toMillis(most)])

const page = (explanation: Explanation.Explanation, width = 200) =>
  ExplanationPage.lines(explanation, width).map((line) => Text.render(line, false))

const value = (lines: ReadonlyArray<string>, name: string) =>
  lines.find((line) => line.startsWith(`  ${name} `))?.slice(13)

describe("Explanation.tags", () => {
  it("are all failures of a provider", () => {
    const known = LlmError.ProviderError.members.map((member) => member._tag)
    assert.sameMembers([...Explanation.tags], known)
    assert.lengthOf(Explanation.tags, known.length)
  })
})

describe("Explanation.ofTag", () => {
  it.effect("says of every failure what the classifier says", () =>
    Effect.gen(function*() {
      for (const tag of Explanation.tags) {
        const { blame, next, pace, wait } = yield* Explanation.ofTag(tag)
        const Member = LlmError.ProviderError.members.find(({ _tag }) => _tag === tag)
        assert.isDefined(Member)
        const error = Schema.decodeUnknownSync(LlmError.ProviderError)({
          _tag: tag,
          ...target,
          sent: true,
          phase: "idle",
          stage: "output"
        })
        const expected = Disposition.classify(error)
        assert.deepStrictEqual({ blame, next, pace, wait }, { pace: undefined, wait: undefined, ...expected }, tag)
      }
    }))
  it.effect("has retries in each preset exactly where another try is worth it", () =>
    Effect.gen(function*() {
      for (const tag of Explanation.tags) {
        const explanation = yield* Explanation.ofTag(tag)
        const worth = Disposition.mayRepeat(explanation)
        assert.deepStrictEqual(waits(explanation, "standard").length, worth ? 2 : 0, tag)
        assert.deepStrictEqual(waits(explanation, "article").length, worth ? 3 : 0, tag)
      }
    }))
  it.effect("knows which fallbacks move on", () =>
    Effect.gen(function*() {
      const stay = ["InvalidRequest", "ContentFiltered", "RequestTooLarge"]
      for (const tag of Explanation.tags) {
        const expected = stay.includes(tag) ? "no" : tag === "ContextLengthExceeded" ? "largerContextOnly" : "yes"
        assert.strictEqual((yield* Explanation.ofTag(tag)).fallback, expected, tag)
      }
    }))
})

describe("Explanation.ofFailure", () => {
  it.effect("gives the range of each wait, as the policy draws it", () =>
    Effect.gen(function*() {
      const explanation = yield* Explanation.ofFailure(rateLimited())
      assert.deepStrictEqual(waits(explanation, "standard"), [[0, 1000], [0, 2000]])
      assert.deepStrictEqual(waits(explanation, "article"), [[0, 2000], [0, 4000], [0, 8000]])
      assert.strictEqual(explanation.retries.article.policy, Retry.describe(Retry.article))
    }))
  it.effect("starts from the wait that the provider asks for", () =>
    Effect.gen(function*() {
      const explanation = yield* Explanation.ofFailure(rateLimited("10 seconds"))
      assert.deepStrictEqual(waits(explanation, "standard"), [[10_000, 11_000], [10_000, 12_000]])
      assert.deepStrictEqual(explanation.wait, Duration.seconds(10))
      assert.isUndefined(Explanation.stopped(explanation, "article"))
    }))
  it.effect("says that the time would be over when it would", () =>
    Effect.gen(function*() {
      const explanation = yield* Explanation.ofFailure(rateLimited("20 seconds"))
      assert.deepStrictEqual(waits(explanation, "article"), [[20_000, 22_000], [20_000, 24_000]])
      assert.strictEqual(Explanation.stopped(explanation, "article"), "its 1m would be over")
      assert.isUndefined(Explanation.stopped(explanation, "standard"))
    }))
  it.effect("does not retry when the wait asked for is too long, and says so", () =>
    Effect.gen(function*() {
      const atMost = yield* Explanation.ofFailure(rateLimited("60 seconds"))
      assert.lengthOf(waits(atMost, "standard"), 2)
      const tooLong = yield* Explanation.ofFailure(rateLimited("61 seconds"))
      for (const name of ["standard", "article"] as const) {
        assert.deepStrictEqual(waits(tooLong, name), [])
        assert.include(Explanation.stopped(tooLong, name), "longer than the 1m it takes at most")
      }
      assert.strictEqual(tooLong.fallback, "yes")
    }))
  it.effect("obeys a provider that says not to retry, and says who said so", () =>
    Effect.gen(function*() {
      const told = yield* Explanation.ofFailure(new LlmError.Overloaded({ ...target, shouldRetry: false }))
      assert.strictEqual(told.next, "elsewhereOnly")
      assert.include(value(page(told), "standard"), "no retry: the provider says not to (x-should-retry: false)")
    }))
  it.effect("encodes and decodes, with durations in milliseconds", () =>
    Effect.gen(function*() {
      const explanation = yield* Explanation.ofFailure(rateLimited("20 seconds"))
      const encoded = yield* Schema.encode(Explanation.Explanation)(explanation)
      assert.strictEqual(encoded.waitMs, 20_000)
      assert.strictEqual(encoded.error?.retryAfterMs, 20_000)
      assert.deepStrictEqual(encoded.retries.article.waits[0], { atLeastMs: 20_000, atMostMs: 22_000 })
      const decoded = yield* Schema.decodeUnknown(Schema.parseJson(Explanation.Explanation))(JSON.stringify(encoded))
      assert.strictEqual(decoded.message, explanation.message)
    }))
})

describe("ExplanationPage.lines", () => {
  it.effect("fits every failure into 60 columns, cutting nothing", () =>
    Effect.gen(function*() {
      for (const tag of Explanation.tags) {
        for (const line of page(yield* Explanation.ofTag(tag), 60)) {
          assert.isAtMost(Text.width(line), 60, line)
          assert.notInclude(line, "…")
        }
      }
    }))
  it.effect("says in words what to do, how long to wait, and whom it counts against", () =>
    Effect.gen(function*() {
      const lines = page(yield* Explanation.ofFailure(rateLimited("20 seconds")))
      assert.strictEqual(lines[0], "RateLimited: rate limited")
      assert.strictEqual(value(lines, "do"), "Ask the same target again, and another one when its retries are spent.")
      assert.match(value(lines, "wait") ?? "", /^at least 20.0s, as the provider asks/)
      assert.match(value(lines, "against") ?? "", /^the account's quota/)
      assert.strictEqual(value(lines, "standard"), "retries twice at most, after 20.0s to 21.0s, 20.0s to 22.0s")
      assert.strictEqual(
        value(lines, "article"),
        "retries twice at most, after 20.0s to 22.0s, 20.0s to 24.0s; then its 1m would be over"
      )
      assert.strictEqual(value(lines, "fallback"), "moves on to the next target when the retries are spent")
    }))
  it.effect("tells a timeout from what another target would not help with", () =>
    Effect.gen(function*() {
      const timeout = page(yield* Explanation.ofTag("TimedOut"))
      assert.match(value(timeout, "standard") ?? "", /^where there is no other target, retries twice/)
      assert.strictEqual(value(timeout, "fallback"), "moves on to the next target at once")
      assert.match(value(timeout, "do") ?? "", /not idempotent is not repeated/)
      const invalid = page(yield* Explanation.ofTag("InvalidRequest"))
      assert.match(value(invalid, "do") ?? "", /^Stop/)
      assert.strictEqual(value(invalid, "wait"), "not at all: waiting does not help")
      assert.strictEqual(value(invalid, "standard"), "no retry: asking it again would end the same")
      assert.match(value(invalid, "fallback") ?? "", /^does not move on/)
    }))
})

describe("ExplanationPage.table", () => {
  it.effect("has a line for each failure and fits into 60 columns", () =>
    Effect.gen(function*() {
      const table = ExplanationPage.table(yield* Effect.forEach(Explanation.tags, Explanation.ofTag))
      assert.lengthOf(table, Explanation.tags.length + 1)
      for (const line of table) assert.isAtMost(Text.lineWidth(line), 60)
      const rows = table.map((line) => Text.render(line, false))
      assert.include(rows, "TimedOut               elsewhere first  timeout     provider")
      assert.include(rows, "ContextLengthExceeded  larger context   never       request")
    }))
})
