import { assert, describe, it } from "@effect/vitest"
import { Either } from "effect"
import * as Arguments from "../src/Arguments.ts"

const spec: Arguments.Spec = {
  flags: [
    { names: ["-m", "--model"], takesValue: true, repeats: false },
    { names: ["--fallback"], takesValue: true, repeats: true },
    { names: ["--json"], takesValue: false, repeats: false }
  ],
  names: ["prompt"],
  optional: []
}

const read = (...words: ReadonlyArray<string>) =>
  Either.match(Arguments.read(spec, words), {
    onLeft: (line) => line,
    onRight: (read) => read._tag === "Words" ? read.words : read._tag
  })

describe("Arguments.read", () => {
  it("takes flags before and after the prompt, and puts them in one form", () => {
    const meant = ["--model", "a/b", "--json", "--", "hello"]
    assert.deepStrictEqual(read("--model", "a/b", "--json", "hello"), meant)
    assert.deepStrictEqual(read("hello", "-m", "a/b", "--json"), meant)
    assert.deepStrictEqual(read("-m=a/b", "hello", "--json=true"), meant)
  })
  it("keeps a repeated flag in order", () => {
    assert.deepStrictEqual(read("--fallback", "a", "x", "--fallback=b c"), [
      "--fallback",
      "a",
      "--fallback",
      "b c",
      "--",
      "x"
    ])
  })
  it("keeps all of a value behind its first equals sign", () => {
    assert.deepStrictEqual(read("x", "--model=a=b"), ["--model", "a=b", "--", "x"])
    assert.deepStrictEqual(read("x", "--model="), ["--model", "", "--", "x"])
  })
  it("takes a boolean that is false for an absent one", () => {
    assert.deepStrictEqual(read("x", "--json=false"), ["--", "x"])
  })
  it("takes a dash, a negative number and a sentence that begins with a dash for arguments", () => {
    for (const word of ["-", "-5", "-0.5 degrees", "- and then?", "--json is what?", "", "—"]) {
      assert.deepStrictEqual(read(word), ["--", word], word)
      assert.deepStrictEqual(read("x", "--model", word), ["--model", word, "--", "x"], word)
    }
  })
  it("takes everything behind -- for an argument", () => {
    assert.deepStrictEqual(read("--json", "--", "--nope"), ["--json", "--", "--nope"])
    assert.deepStrictEqual(read("--", "--help"), ["--", "--help"])
    assert.deepStrictEqual(read("--", "--"), ["--", "--"])
  })
  it("does not take an unknown flag for the prompt", () => {
    assert.strictEqual(read("--nope"), "unknown flag --nope")
    assert.strictEqual(read("x", "--nope=1"), "unknown flag --nope")
    assert.strictEqual(read("-x", "hello"), "unknown flag -x")
    assert.strictEqual(read("---json", "hello"), "unknown flag ---json; did you mean --json?")
    assert.strictEqual(read("--wizard"), "unknown flag --wizard")
  })
  it("does not drop a flag in the wrong case, or one misspelt, and says which may be meant", () => {
    assert.strictEqual(read("x", "--MODEL", "y"), "unknown flag --MODEL; did you mean --model?")
    assert.strictEqual(read("--modle", "y", "x"), "unknown flag --modle; did you mean --model?")
    assert.strictEqual(read("x", "--jsn"), "unknown flag --jsn; did you mean --json?")
  })
  it("does not drop a flag without a value", () => {
    assert.strictEqual(read("x", "--fallback"), "--fallback needs a value")
    assert.strictEqual(read("--model", "--", "x"), "--model needs a value")
    assert.strictEqual(read("--model", "--json", "x"), "--model needs a value, not the flag --json")
    assert.strictEqual(read("x", "--model=--json"), "--model needs a value, not the flag --json")
  })
  it("refuses a flag given twice, by either name, when it may be given once", () => {
    assert.strictEqual(read("x", "--json", "--json"), "--json was given more than once")
    assert.strictEqual(read("x", "-m", "a", "--model", "b"), "--model was given more than once")
  })
  it("refuses a value for a flag that takes none", () => {
    assert.strictEqual(read("x", "--json=yes"), `--json takes no value, but was given "yes"`)
  })
  it("refuses too few and too many arguments", () => {
    assert.strictEqual(read("--json"), "the prompt is missing")
    assert.strictEqual(read("a", "b"), `unexpected argument "b"; put quotes around a prompt of several words`)
    assert.strictEqual(
      read("a", "--", "b"),
      `unexpected argument "b"; put quotes around a prompt of several words`
    )
  })
  it("takes an argument that may be left out, and no second one", () => {
    const optional = (...words: ReadonlyArray<string>) =>
      Arguments.read({ ...spec, names: [], optional: ["failure"] }, words)
    assert.deepStrictEqual(optional(), Either.right({ _tag: "Words", words: ["--"] }))
    assert.deepStrictEqual(optional("a"), Either.right({ _tag: "Words", words: ["--", "a"] }))
    assert.deepStrictEqual(
      optional("a", "b"),
      Either.left(`unexpected argument "b"; put quotes around a failure of several words`)
    )
  })
  it("gives help and the version before anything is refused", () => {
    assert.strictEqual(read("--nope", "--help"), "Help")
    assert.strictEqual(read("-h"), "Help")
    assert.strictEqual(read("x", "y", "--version"), "Version")
  })
})

describe("Arguments.unknown", () => {
  it("suggests nothing that is far away", () => {
    assert.strictEqual(
      Arguments.unknown("command", "dmeo", ["demo", "ask"]),
      "unknown command dmeo; did you mean demo?"
    )
    assert.strictEqual(Arguments.unknown("command", "serve", ["demo", "ask"]), "unknown command serve")
    assert.strictEqual(Arguments.unknown("command", "sk", ["demo", "ask"]), "unknown command sk; did you mean ask?")
  })
})

describe("Arguments.quote", () => {
  it("cuts a long word", () => {
    assert.strictEqual(Arguments.quote("a".repeat(38)), `"${"a".repeat(38)}"`)
    assert.strictEqual(Arguments.quote("a".repeat(39)), `"${"a".repeat(37)}…"`)
  })
})
