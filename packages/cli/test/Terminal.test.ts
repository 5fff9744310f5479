import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Terminal from "../src/Terminal.ts"
import * as Text from "../src/Text.ts"

const tty = (columns?: number) => ({ isTTY: true, columns, write: () => true })
const pipe = { write: () => true }

const may = (output: Terminal.Output, env: Record<string, string>) => {
  const { colour, interactive, live } = Terminal.of(output, env)
  return { colour, interactive, live }
}

describe("Terminal.of", () => {
  it("colours and redraws on a terminal", () => {
    assert.deepStrictEqual(may(tty(), { TERM: "xterm" }), { colour: true, interactive: true, live: true })
  })
  it("writes plain text to a pipe", () => {
    assert.deepStrictEqual(may(pipe, { TERM: "xterm" }), { colour: false, interactive: false, live: false })
  })
  for (const env of [{ NO_COLOR: "1" }, { CI: "true" }, { TERM: "dumb" }]) {
    it(`writes plain text to a terminal when ${Object.keys(env)[0]} says so`, () => {
      assert.deepStrictEqual(may(tty(), env), { colour: false, interactive: true, live: false })
    })
  }
  it("takes an empty NO_COLOR or CI for an absent one", () => {
    assert.isTrue(Terminal.of(tty(), { NO_COLOR: "", CI: "" }).live)
  })
  it("forces colour and nothing else with FORCE_COLOR, unless NO_COLOR is set", () => {
    assert.deepStrictEqual(may(pipe, { FORCE_COLOR: "1" }), { colour: true, interactive: false, live: false })
    assert.isFalse(Terminal.of(pipe, { FORCE_COLOR: "0" }).colour)
    assert.isFalse(Terminal.of(pipe, { FORCE_COLOR: "1", NO_COLOR: "1" }).colour)
  })
  it("takes the width of the terminal, else of COLUMNS, else 80", () => {
    assert.strictEqual(Terminal.of(tty(61), { COLUMNS: "50" }).columns(), 61)
    assert.strictEqual(Terminal.of(pipe, { COLUMNS: "50" }).columns(), 50)
    assert.strictEqual(Terminal.of(pipe, { COLUMNS: "wide" }).columns(), 80)
    assert.strictEqual(Terminal.of(tty(0), {}).columns(), 80)
  })
  it("notices that a terminal was resized", () => {
    const output = { isTTY: true, columns: 80, write: () => true }
    const terminal = Terminal.of(output, {})
    output.columns = 60
    assert.strictEqual(terminal.columns(), 60)
  })
})

describe("Terminal", () => {
  it("lays out for at most 100 columns", () => {
    assert.strictEqual(Terminal.widthOf(Terminal.of(tty(240), {})), 100)
    assert.strictEqual(Terminal.widthOf(Terminal.of(tty(60), {})), 60)
  })
  it("prints no line that is wider than the terminal", () => {
    let written = ""
    const terminal = Terminal.of({ columns: 5, write: (text) => written += text }, {})
    Terminal.print(terminal, [[Text.span("abcdefgh")], [], [Text.span("abc")]])
    assert.strictEqual(written, "abcd…\n\nabc\n")
  })
})

describe("Terminal.of, drained", () => {
  it.effect("does not wait for an output that has room, or that knows nothing of it", () =>
    Effect.gen(function*() {
      yield* Terminal.of({ write: () => true }, {}).drained
      yield* Terminal.of({ write: () => true, writableNeedDrain: false }, {}).drained
    }))
})
