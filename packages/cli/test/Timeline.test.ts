import { assert, describe, it } from "@effect/vitest"
import * as Text from "../src/Text.ts"
import * as Timeline from "../src/Timeline.ts"
import { answered, failed, receipt, story } from "./receipts.ts"

const plain = (lines: ReadonlyArray<Text.Line>) => lines.map((line) => Text.render(line, false))

describe("Timeline.lines", () => {
  it("draws every attempt and every wait to scale, one row each", () => {
    assert.deepStrictEqual(plain(Timeline.lines(story, 80)), [
      "  1 openai/gpt-4o       ▓▓▓▓                             503 overloaded    200ms",
      "    wait                    ░░                           backoff           100ms",
      "  2 openai/gpt-4o             ▓▓▓▓                       429 rate limited  200ms",
      "    wait                          ░░░░░░░░░              asked 400ms       500ms",
      "  3 openai/gpt-4o                          ▓▓▓▓          500 unavailable   200ms",
      "  4 backup/gpt-4o-mini                         ████████  answered          400ms",
      "                        0 ─────────────────────── 1.60s"
    ])
  })
  for (const width of [60, 72, 80, 100]) {
    it(`fits into ${width} columns and uses them`, () => {
      const widths = Timeline.lines(story, width).map(Text.lineWidth)
      assert.isAtMost(Math.max(...widths), width)
      assert.strictEqual(Math.max(...widths), width)
    })
  }
  it("fits into 60 columns with long names and long durations", () => {
    const long = receipt([
      {
        provider: "a-provider-with-a-name",
        model: "and-a-model-with-a-longer-one",
        took: 59_900,
        outcome: failed("RateLimited", 429, 600_000)
      },
      { wait: 754_000, took: 1, outcome: failed("ModelNotFound", 404) }
    ])
    for (const line of Timeline.lines(long, 60)) assert.isAtMost(Text.lineWidth(line), 60)
  })
  it("shows what took no time at all as one cell, at the start as at the very end", () => {
    const [first, , last] = plain(Timeline.lines(
      receipt([{ took: 0, outcome: failed("Overloaded", 503) }, { wait: 1000, took: 0, outcome: answered }]),
      80
    ))
    assert.strictEqual(first?.match(/▓/g)?.length, 1)
    assert.strictEqual(last?.match(/█/g)?.length, 1)
  })
  it("draws a call that took no measurable time", () => {
    assert.lengthOf(Timeline.lines(receipt([{ took: 0, outcome: answered }]), 80), 2)
  })
  it("has nothing to draw for a call without attempts", () => {
    assert.deepStrictEqual(Timeline.lines(receipt([]), 80), [])
  })
  it("leaves out the middle of a call of more than 12 attempts, and says how much", () => {
    const many = (n: number) => receipt(Array.from({ length: n }, () => ({ took: 10, outcome: failed("Overloaded") })))
    assert.lengthOf(Timeline.lines(many(12), 80), 13)
    const rows = plain(Timeline.lines(many(13), 80))
    assert.lengthOf(rows, 12)
    assert.include(rows[5], "3 more attempts")
    assert.include(rows[6], "9 openai")
  })
  it("tells by colour how an attempt ended, and by words where there is no colour", () => {
    const [overloaded, , , , unavailable, ok] = Timeline.lines(story, 80).map((line) => Text.render(line, true))
    assert.include(overloaded, "\u001b[33m▓")
    assert.include(unavailable, "\u001b[31m▓")
    assert.include(ok, "\u001b[32m█")
    // oxlint-disable-next-line eslint/no-control-regex
    for (const row of plain(Timeline.lines(story, 80))) assert.notMatch(row, /[\u0000-\u001f]/)
  })
})

describe("Timeline.summary", () => {
  it("names who was asked, who answered, the fallback, the attempts and the times", () => {
    assert.deepStrictEqual(plain(Timeline.summary(story, 80)), [
      "  requested  openai/gpt-4o              attempts   4",
      "  served     backup/gpt-4o-mini-2024    waited     600ms",
      "  fallback   yes                        duration   1.60s"
    ])
  })
  it("stacks the columns where they do not fit side by side", () => {
    const widest = Math.max(...Timeline.summary(story, 80).map(Text.lineWidth))
    assert.lengthOf(Timeline.summary(story, widest), 3)
    assert.deepStrictEqual(plain(Timeline.summary(story, widest - 1)), [
      "  requested  openai/gpt-4o",
      "  served     backup/gpt-4o-mini-2024",
      "  fallback   yes",
      "  attempts   4",
      "  waited     600ms",
      "  duration   1.60s"
    ])
  })
  it("says so when nobody answered", () => {
    const lines = plain(Timeline.summary(receipt([{ took: 5, outcome: failed("Unauthenticated", 401) }]), 80))
    assert.match(lines[1] ?? "", /served {5}by nobody/)
    assert.match(lines[2] ?? "", /fallback {3}no/)
  })
})

describe("Timeline.lines, waits", () => {
  const again = (wait: number, model: string) =>
    plain(Timeline.lines(
      receipt([{ took: 100, outcome: failed("Overloaded", 503) }, { wait, model, took: 100, outcome: answered }]),
      80
    ))
  it("leaves out a pause that is too short to be meant", () => {
    assert.lengthOf(again(9, "gpt-4o"), 3)
    assert.lengthOf(again(10, "gpt-4o"), 4)
  })
  it("does not call the way to another target a backoff", () => {
    assert.include(again(50, "gpt-4o")[1], "backoff")
    assert.include(again(50, "gpt-4o-mini")[1], "moving on")
  })
})
