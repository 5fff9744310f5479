import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as Commands from "../src/Commands.ts"
import * as Help from "../src/Help.ts"
import * as Providers from "../src/Providers.ts"
import * as Text from "../src/Text.ts"

const nothing: Omit<Commands.AskInput, "prompt"> = {
  model: "openai/gpt-4o",
  fallback: [],
  system: Option.none(),
  temperature: Option.none(),
  maxTokens: Option.none(),
  attempts: Option.none(),
  retryBase: Option.none(),
  retryCap: Option.none(),
  within: Option.none(),
  timeout: Option.none(),
  stream: false,
  whenCut: Option.none(),
  json: false,
  embedded: false,
  receipts: Option.none(),
  prices: Option.none()
}

const asks = (words: ReadonlyArray<string>, input: Partial<Commands.AskInput>) =>
  Effect.map(Commands.parse(["ask", ...words]), (request) => {
    assert.deepStrictEqual(request, { _tag: "Ask", input: { ...nothing, prompt: "hi", ...input } })
  })

const refuses = (words: ReadonlyArray<string>) =>
  Effect.map(Effect.flip(Commands.parse(words)), ({ line }) => {
    assert.notInclude(line, "\n")
    return line
  })

const page = (words: ReadonlyArray<string>, width: number) =>
  Effect.map(Commands.parse(words), (request) => {
    assert(request._tag === "Help")
    return Help.lines(request.page, width).map((line) => Text.render(line, false))
  })

describe("Commands.parse", () => {
  it.effect("reads a prompt and leaves all else at its default", () => asks(["hi"], {}))
  it.effect("reads every flag, on either side of the prompt", () => {
    const before = ["-m", "openai/a", "--fallback", "openai/b", "--system", "- be brief", "--temperature", "-1"]
    const policy = [
      "--attempts",
      "2",
      "--retry-base",
      "1 second",
      "--retry-cap=3s",
      "--within",
      "1m",
      "--timeout",
      "9s"
    ]
    const after = [
      "--max-tokens",
      "7",
      "--fallback=openai/c d",
      "--json",
      "--embedded",
      "--stream",
      "--when-cut",
      "restart"
    ]
    return asks(
      [...before, "hi", ...policy, ...after],
      {
        model: "openai/a",
        fallback: ["openai/b", "openai/c d"],
        system: Option.some("- be brief"),
        temperature: Option.some("-1"),
        maxTokens: Option.some("7"),
        attempts: Option.some("2"),
        retryBase: Option.some("1 second"),
        retryCap: Option.some("3s"),
        within: Option.some("1m"),
        timeout: Option.some("9s"),
        stream: true,
        whenCut: Option.some("restart"),
        json: true,
        embedded: true
      }
    )
  })
  it.effect("reads the words that @effect/cli has a meaning for as what they are", () =>
    Effect.all([
      asks(["--", "--wizard"], { prompt: "--wizard" }),
      asks(["--", "--json"], { prompt: "--json" }),
      asks(["--json", "true"], { prompt: "true", json: true }),
      asks([""], { prompt: "" }),
      asks(["-"], { prompt: "-" })
    ]))
  it.effect("refuses the flags that @effect/cli adds by itself", () =>
    Effect.gen(function*() {
      for (const flag of ["--wizard", "--completions", "--log-level"]) {
        assert.include(yield* refuses(["ask", "hi", flag, "sh"]), `unknown flag ${flag}`)
        assert.include(yield* refuses(["demo", flag]), `unknown flag ${flag}`)
        assert.include(yield* refuses([flag]), `unknown flag ${flag}`)
      }
    }))
  it.effect("says where the help is", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* refuses(["ask", "--nope"]), "unknown flag --nope (see perdure ask --help)")
      assert.strictEqual(yield* refuses(["--nope"]), "unknown flag --nope (see perdure --help)")
    }))
  it.effect("refuses an unknown command, and flags before a command", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* refuses(["dmeo"]), "unknown command dmeo; did you mean demo?")
      assert.strictEqual(yield* refuses(["--json", "ask", "hi"]), "unknown flag --json (see perdure --help)")
    }))
  it.effect("reads explain with and without a failure's name, its headers in order", () =>
    Effect.gen(function*() {
      const nothing: Commands.ExplainInput = {
        failure: Option.none(),
        status: Option.none(),
        header: [],
        body: Option.none(),
        provider: Option.none(),
        model: Option.none(),
        json: false
      }
      const explains = (words: ReadonlyArray<string>, input: Partial<Commands.ExplainInput>) =>
        Effect.map(Commands.parse(["explain", ...words]), (request) => {
          assert.deepStrictEqual(request, { _tag: "Explain", input: { ...nothing, ...input } })
        })
      yield* explains([], {})
      yield* explains(["RateLimited", "--json"], { failure: Option.some("RateLimited"), json: true })
      yield* explains(
        ["--status", "429", "--header", "a: 1", "--header=b: 2=3", "--body", "-", "--provider=google", "--model", "m"],
        {
          status: Option.some("429"),
          header: ["a: 1", "b: 2=3"],
          body: Option.some("-"),
          provider: Option.some("google"),
          model: Option.some("m")
        }
      )
      yield* explains(["--status", "429", "--body", `{"error":{}}`], {
        status: Option.some("429"),
        body: Option.some(`{"error":{}}`)
      })
      assert.include(yield* refuses(["explain", "--header"]), "--header needs a value")
      assert.include(yield* refuses(["explain", "--stauts", "429"]), "did you mean --status?")
      assert.include(yield* refuses(["explain", "a", "b"]), `unexpected argument "b"`)
    }))
  it.effect("shows in the usage that explain's argument may be left out", () =>
    Effect.gen(function*() {
      const [usage] = yield* page(["explain", "--help"], 80)
      assert.strictEqual(usage, "Usage: perdure explain [failure] [flags]")
    }))
  it.effect("takes no argument for demo", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* Commands.parse(["demo"]), {
        _tag: "Demo",
        input: { receipts: Option.none(), prices: Option.none() }
      })
      assert.include(yield* refuses(["demo", "x"]), `unexpected argument "x"`)
    }))
  it.effect("takes a file for report, and a page that has a default", () =>
    Effect.gen(function*() {
      const report = (words: ReadonlyArray<string>) => Commands.parse(["report", ...words])
      assert.deepStrictEqual(yield* report(["a.jsonl"]), {
        _tag: "Report",
        input: { file: "a.jsonl", out: "report.html", prices: Option.none() }
      })
      assert.deepStrictEqual(yield* report(["-", "-o", "-"]), {
        _tag: "Report",
        input: { file: "-", out: "-", prices: Option.none() }
      })
      assert.include(yield* refuses(["report"]), "the file is missing")
    }))
  it.effect("takes receipts and prices from a file wherever there are calls", () =>
    Effect.gen(function*() {
      const flags = ["--receipts", "r.jsonl", "--prices=p.json"]
      const files = { receipts: Option.some("r.jsonl"), prices: Option.some("p.json") }
      yield* asks(["hi", ...flags], files)
      assert.deepStrictEqual(yield* Commands.parse(["demo", ...flags]), { _tag: "Demo", input: files })
      assert.deepStrictEqual(yield* Commands.parse(["report", "a.jsonl", "--prices", "p.json"]), {
        _tag: "Report",
        input: { file: "a.jsonl", out: "report.html", prices: Option.some("p.json") }
      })
    }))
  it.effect("gives the version anywhere", () =>
    Effect.gen(function*() {
      for (const words of [["--version"], ["ask", "--version"], ["demo", "--version"]]) {
        assert.deepStrictEqual(yield* Commands.parse(words), { _tag: "Version" })
      }
    }))
})

describe("Commands.parse, help", () => {
  it.effect("lists the commands when nothing is asked", () =>
    Effect.gen(function*() {
      const lines = yield* page([], 80)
      assert.deepStrictEqual(lines, yield* page(["--help"], 80))
      assert.isTrue(lines.some((line) => /^ {2}demo +\S/.test(line)))
      assert.isTrue(lines.some((line) => /^ {2}ask +\S/.test(line)))
      assert.isTrue(lines.some((line) => /^ {2}explain +\S/.test(line)))
    }))
  it.effect("describes every flag of ask once, and none that it does not take", () =>
    Effect.gen(function*() {
      const text = (yield* page(["ask", "--help"], 80)).join("\n")
      for (const flag of ["--model", "--fallback", "--system", "--temperature", "--max-tokens", "--attempts"]) {
        assert.match(text, new RegExp(`^ .*${flag} .*\\S`, "m"))
      }
      for (
        const flag of [
          "--retry-base",
          "--retry-cap",
          "--within",
          "--timeout",
          "--json",
          "--embedded",
          "--stream",
          "--when-cut",
          "--receipts",
          "--prices",
          "--help"
        ]
      ) {
        assert.match(text, new RegExp(`^ .*${flag} .*\\S`, "m"))
      }
      assert.notMatch(text, /wizard|completions|log-level|user-defined|optional/)
      assert.include(text, "(2s)")
      assert.include(text, "perdure ask <prompt> [flags]")
      for (const { keys, name, url } of Object.values(Providers.askable)) {
        const line = text.split("\n").find((line) => line.startsWith(`  ${name} `)) ?? ""
        for (const variable of [...keys, url]) assert.include(line, variable)
      }
    }))
  it.effect("fits into 60 columns", () =>
    Effect.gen(function*() {
      for (const words of [[], ["ask", "-h"], ["demo", "-h"], ["explain", "-h"], ["report", "-h"]]) {
        for (const line of yield* page(words, 60)) {
          assert.isAtMost(Text.width(line), 60, line)
        }
      }
    }))
})
