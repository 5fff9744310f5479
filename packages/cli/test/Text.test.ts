import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import * as Text from "../src/Text.ts"

describe("Text", () => {
  it("cuts a text that is too long and marks the cut", () => {
    assert.strictEqual(Text.fit("abcdef", 6), "abcdef")
    assert.strictEqual(Text.fit("abcdef", 5), "abcd…")
    assert.strictEqual(Text.fit("abcdef", 1), "…")
    assert.strictEqual(Text.fit("abcdef", 0), "")
  })
  it("cuts a line at any of its pieces and keeps the tints", () => {
    const line = [Text.span("abc", "good"), Text.span("def", "bad")]
    assert.deepStrictEqual(Text.fitLine(line, 6), line)
    assert.deepStrictEqual(Text.fitLine(line, 5), [Text.span("abc", "good"), Text.span("d…", "bad")])
    assert.deepStrictEqual(Text.fitLine(line, 3), [Text.span("ab…", "good")])
  })
  it("never makes a line longer than asked", () => {
    fc.assert(fc.property(fc.array(fc.string({ maxLength: 6 })), fc.integer({ min: 1, max: 20 }), (texts, columns) => {
      const line = texts.map((text) => Text.span(text))
      const cut = Text.fitLine(line, columns)
      assert.isAtMost(Text.lineWidth(cut), columns)
      assert.strictEqual(Text.lineWidth(cut), Math.min(columns, Text.lineWidth(line)))
    }))
  })
  it("wraps at blanks and cuts a word that is longer than a line", () => {
    assert.deepStrictEqual(Text.wrap("to be  or not\nto be", 6), ["to be", "or not", "to be"])
    assert.deepStrictEqual(Text.wrap("incomprehensible", 6), ["incom…"])
    assert.deepStrictEqual(Text.wrap(" ", 6), [])
  })
  it("renders without a single escape code when colour is off", () => {
    const line = [Text.span("a", "good"), Text.span("b", "dim"), Text.span("  ")]
    assert.strictEqual(Text.render(line, false), "ab")
    assert.strictEqual(Text.render(line, true), "\u001b[32ma\u001b[0m\u001b[2mb\u001b[0m  ")
  })
  it("takes from foreign text what could steer a terminal", () => {
    assert.strictEqual(Text.oneLine("a\u001b[31m\r\n\u009bb"), "a [31m b")
    assert.strictEqual(Text.harmless("a\u001b]0;title\u0007\r\n\tb\u009bc"), "a]0;title\n\tbc")
  })
})
