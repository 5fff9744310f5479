import { LLMock } from "@copilotkit/aimock"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll } from "vitest"
import * as CallSummary from "../src/CallSummary.ts"
import * as Figures from "../src/Figures.ts"
import * as ReceiptFile from "../src/ReceiptFile.ts"
import * as Text from "../src/Text.ts"
import * as Chromium from "./chromium.ts"
import { looksRight } from "./looks.ts"

const directory = fileURLToPath(new URL("..", import.meta.url))
const key = "sk-secret-0123456789"

type Variables = Readonly<Record<string, string>>

const start = (words: ReadonlyArray<string>, variables: Variables = {}): ChildProcess =>
  spawn(process.execPath, ["--import", "tsx", "src/main.ts", ...words], {
    cwd: directory,
    env: { PATH: process.env["PATH"], ...variables },
    stdio: ["pipe", "pipe", "pipe"]
  })

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

const ended = (child: ChildProcess, onOutput: (out: string) => void = () => {}): Promise<Ended> =>
  new Promise((resolve, reject) => {
    let out = ""
    let err = ""
    child.stdout?.on("data", (chunk) => onOutput(out += String(chunk)))
    child.stderr?.on("data", (chunk) => err += String(chunk))
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, out, err }))
  })

/** Runs the command as a process of its own and waits for its end. */
const run = (words: ReadonlyArray<string>, variables?: Variables, stdin = ""): Promise<Ended> => {
  const child = start(words, variables)
  child.stdin?.end(stdin)
  return ended(child)
}

/** For a machine that has much else to do. */
const patience = 60_000

// oxlint-disable-next-line eslint/no-control-regex
const codes = /[\u0000-\u0009\u000b-\u001f]/

describe("perdure demo", () => {
  let [folder, out, receipts, page] = ["", "", "", ""]
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "perdure-demo-"))
    ;[receipts, page] = [join(folder, "receipts.jsonl"), join(folder, "report.html")]
    const ended = await run(["demo", "--receipts", receipts], { COLUMNS: "60" })
    out = ended.out
    assert.deepStrictEqual([ended.code, ended.err], [0, ""], out)
  }, patience)
  afterAll(() => rm(folder, { recursive: true }))

  it("tells its six stories as plain text in under 15 s, and ends with 0", () => {
    // By its own clock: how long a process takes to start is the machine's affair.
    assert.isBelow(Number(out.match(/^All as told: .* in ([\d.]+)s\.$/m)?.[1]), 15)
    for (const line of out.split("\n")) assert.isAtMost(Text.width(line), 60, line)
    assert.notMatch(out, codes)
    const told = [
      "A rate limit, then an error",
      "429 rate limited, asks for 2.00s",
      "500 unavailable",
      "answered",
      "stays down",
      "503 overloaded",
      "falling back to backup/gpt-4o-mini\n  attempt 5: backup/",
      "served     backup/gpt-4o-mini",
      "A stream that goes quiet",
      "timed out",
      "falling back to backup/gpt-4o-mini\n  attempt 2: backup/",
      "read       One place for keys, limits, [silence]",
      "restarted  by backup/gpt-4o-mini",
      "answer     One key",
      "A bad key",
      "401 bad key",
      "by nobody",
      "A circuit breaker",
      "openai/gpt-4o not asked: circuit open\n  falling back to backup/gpt-4o-mini",
      "×",
      "▒▒▒",
      "A pool of keys",
      "openai/gpt-4o · team-b",
      "left out",
      "All as told: 15 calls, 25 attempts, 6 fallbacks"
    ]
    let at = 0
    for (const part of told) {
      at = out.indexOf(part, at)
      assert.isAtLeast(at, 0, `${part} in\n${out}`)
    }
    assert.lengthOf(out.slice(out.indexOf("All as told")).trimEnd().split("\n"), 2)
  })

  it("leaves receipts whose report counts what its closing line does, and what they cost", async () => {
    const { code, err, out: said } = await run(["report", receipts, "--out", page])
    assert.deepStrictEqual([code, err], [0, ""])
    const [, calls, attempts, fallbacks] = out.match(/All as told: (\d+) calls, (\d+) attempts, (\d+) fallbacks/) ?? []
    assert.include(said, `report.html: ${calls} calls, `)
    const text = (await readFile(page, "utf8")).replace(/<\/(dt|dd|th|td)>|<small>/g, "|").replace(/<[^>]*>/g, "")
    for (const tile of [`Calls|${calls}|`, `|${attempts} in all|`, `|${fallbacks} calls|`]) assert.include(text, tile)
    const asked = Array.from(text.matchAll(/(?:openai|backup)\/gpt-4o(?:-mini)?\|(\d+)\|/g), ([, n]) => Number(n))
    assert.deepStrictEqual([asked.length, asked.reduce((sum, n) => sum + n, 0)], [2, Number(attempts)])
    const kept = ReceiptFile.parse(await readFile(receipts, "utf8")).receipts
    const nanos = kept.reduce((sum, { cost }) => sum + (cost?.nanos ?? 0), 0)
    assert.strictEqual(kept.length, Number(calls))
    assert.include(text, `Cost|${Figures.money(new Map([["USD", nanos]]))}|of all tokens counted|`)
  }, patience)

  it.live("leaves receipts whose report looks right in a browser", (context) => {
    if (Chromium.executable === undefined) return context.skip(Chromium.missing)
    return Effect.scoped(Effect.flatMap(
      Chromium.page(Chromium.executable),
      (browser) => Effect.promise(() => looksRight(browser, page, "demo"))
    ))
  }, patience)

  it("ends with 130 on Ctrl-C", async () => {
    const child = start(["demo"])
    const { code, err } = await ended(child, (out) => {
      if (out.includes("waiting")) child.kill("SIGINT")
    })
    assert.deepStrictEqual([code, err], [130, ""])
  }, patience)

  it("ends with 143 when it is terminated", async () => {
    const child = start(["demo"])
    const { code } = await ended(child, (out) => {
      if (out.includes("waiting")) child.kill("SIGTERM")
    })
    assert.strictEqual(code, 143)
  }, patience)
})

describe.concurrent("perdure ask", () => {
  let mock: LLMock
  let server: Variables = {}
  beforeAll(async () => {
    mock = new LLMock({ host: "127.0.0.1", port: 0 })
    mock.on({ model: "good" }, { content: "Four." })
    mock.on({ model: "down" }, { error: { message: "overloaded", type: "server_error" }, status: 503 })
    mock.on({ model: "locked" }, {
      error: { message: `Incorrect API key provided: ${key}`, code: "invalid_api_key" },
      status: 401
    })
    mock.on({ model: "drip" }, { content: "tick ".repeat(2000) }, { chunkSize: 5, latency: 20 })
    const origin = await mock.start()
    server = {
      OPENAI_API_KEY: key,
      OPENAI_BASE_URL: `${origin}/v1`,
      ANTHROPIC_API_KEY: key,
      ANTHROPIC_BASE_URL: origin,
      GOOGLE_API_KEY: key,
      GOOGLE_BASE_URL: `${origin}/v1beta`
    }
  })
  afterAll(() => mock.stop())

  const quick = ["--retry-base", "10ms", "--attempts", "2"]

  it("answers from the embedded provider without a key", async () => {
    const { code, err, out } = await run(["ask", "What is 2 + 2?", "--embedded"])
    assert.strictEqual(code, 0, err)
    assert.match(out, /embedded provider, not a language model.*What is 2 \+ 2\?\n$/)
    assert.include(err, "served     openai/gpt-4o")
    assert.notMatch(out + err, codes)
  }, patience)

  it("asks a server, falls back, and never prints the key", async () => {
    const { code, err, out } = await run(
      ["ask", "-", "--model", "openai/down", "--fallback", "openai/locked", "--fallback", "openai/good", ...quick],
      server,
      "What is 2 + 2?"
    )
    assert.deepStrictEqual([code, out], [0, "Four.\n"], err)
    assert.include(err, "fallback   yes")
    assert.notInclude(out + err, key)
  }, patience)

  it("prints JSON that decodes", async () => {
    const { code, err, out } = await run(["ask", "2 + 2?", "--json", "--model=openai/good"], server)
    assert.deepStrictEqual([code, err], [0, ""])
    const { answer, receipt } = Schema.decodeUnknownSync(Schema.parseJson(CallSummary.Answered))(out)
    assert.deepStrictEqual([answer, receipt.attempts.length], ["Four.", 1])
  }, patience)

  it("ends with 1 and lists every failure when all fail, with and without JSON", async () => {
    const words = ["ask", "2 + 2?", "--model", "openai/down", "--fallback", "openai/locked", ...quick]
    const [plain, json] = await Promise.all([run(words, server), run([...words, "--json"], server)])
    assert.deepStrictEqual([plain.code, plain.out], [1, ""])
    const listed = /perdure: openai\/down is overloaded.*\nperdure: openai\/locked does not accept the key.*\n$/
    assert.match(plain.err, listed)
    assert.strictEqual(json.code, 1)
    const { errors } = Schema.decodeUnknownSync(Schema.parseJson(CallSummary.Unanswered))(json.out)
    assert.deepStrictEqual(errors.map(({ _tag }) => _tag), ["Overloaded", "Unauthenticated"])
    assert.match(json.err, listed)
    for (const { err, out } of [plain, json]) assert.notInclude(out + err, key)
  }, patience)

  it("streams from three providers, falling back from one to the next", async () => {
    const { code, err, out } = await run(
      [
        "ask",
        "2 + 2?",
        "--stream",
        "--model",
        "openai/down",
        "--fallback",
        "anthropic/locked",
        "--fallback",
        "google/good",
        ...quick
      ],
      server
    )
    assert.deepStrictEqual([code, out], [0, "Four.\n"], err)
    assert.match(err, /served {5}google\/good/)
    assert.notInclude(out + err, key)
  }, patience)

  it("stops at once with 130 on Ctrl-C in the middle of a stream", async () => {
    const child = start(["ask", "count", "--stream", "--model", "anthropic/drip"], server)
    let interrupted = 0
    const { code, err, out } = await ended(child, (out) => {
      if (interrupted > 0 || !out.includes("tick tick")) return
      interrupted = performance.now()
      child.kill("SIGINT")
    })
    assert.deepStrictEqual([code, err], [130, ""])
    assert.match(out, /^(tick ?)+[a-z]*\n$/)
    assert.isBelow(performance.now() - interrupted, 5000)
  }, patience)

  it("ends quietly when its reader goes away", async () => {
    const child = start(["demo"])
    child.stdout?.once("data", () => child.stdout?.destroy())
    const { err } = await ended(child)
    assert.strictEqual(err, "")
  }, patience)
})

describe.concurrent("perdure explain", () => {
  it("explains a response, its body from standard input", async () => {
    const words = [
      "explain",
      "--status",
      "529",
      "--provider",
      "anthropic",
      "--header",
      "retry-after: 20",
      "--body",
      "-"
    ]
    const body = JSON.stringify({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } })
    const { code, err, out } = await run(words, {}, body)
    assert.deepStrictEqual([code, err], [0, ""], out)
    assert.match(out, /^Overloaded: overloaded\n/)
    assert.include(out, "anthropic/model is overloaded (HTTP 529): Overloaded")
    assert.notMatch(out, codes)
  }, patience)
})

describe.concurrent("perdure report", () => {
  it("makes a page of the receipts that ask leaves", async () => {
    const folder = await mkdtemp(join(tmpdir(), "perdure-main-"))
    const [file, page] = [join(folder, "receipts.jsonl"), join(folder, "page.html")]
    const asked = await Promise.all(
      [[], ["--stream"]].map((flags) => run(["ask", "2 + 2?", "--embedded", "--receipts", file, ...flags]))
    )
    assert.deepStrictEqual(asked.map(({ code }) => code), [0, 0], asked[0]?.err)
    const { code, err, out } = await run(["report", file, "--out", page])
    assert.deepStrictEqual([code, err, out], [0, "", `${page}: 2 calls, 100 % answered, 0 % by a fallback\n`])
    assert.include(await readFile(page, "utf8"), "2 receipts from")
    assert.notInclude(await readFile(file, "utf8"), "2 + 2")
    await rm(folder, { recursive: true })
  }, 2 * patience)
})

describe.concurrent("perdure, when the command line is wrong", () => {
  const wrong: ReadonlyArray<readonly [words: ReadonlyArray<string>, says: string]> = [
    [["ask", "hi"], "OPENAI_API_KEY is not set"],
    [["ask", "--nope"], "unknown flag --nope"],
    [["ask", "hi", "--MODEL", "x"], "unknown flag --MODEL; did you mean --model?"],
    [["ask", "hi", "--model", "gpt-4o"], "such as openai/gpt-4o"],
    [["ask", "hi", "--embedded", "--receipts", "/nowhere/r.jsonl"], "/nowhere/r.jsonl cannot be written"],
    [["demo", "--receipts", "/nowhere/r.jsonl"], "/nowhere/r.jsonl cannot be written"],
    [["report", "/nowhere/r.jsonl"], "/nowhere/r.jsonl cannot be read: there is no such file or folder"],
    [["ask", "hi", "--embedded", "--prices", "package.json"], "package.json cannot be used: name must be nothing"],
    [["demo", "--prices", "src/main.ts"], "src/main.ts cannot be used: it must be JSON"],
    [["report", "-", "--prices", "/nowhere/p.json"], "/nowhere/p.json cannot be read: there is no such file or folder"],
    [["explain", "--status", "429", "--header", "retry-after 20"], "--header needs a name, a colon and a value"]
  ]
  for (const [words, says] of wrong) {
    it(`says so in one line and ends with 2: ${words.join(" ")}`, async () => {
      const { code, err, out } = await run(words)
      assert.deepStrictEqual([code, out], [2, ""], words.join(" "))
      assert.match(err, /^perdure: [^\n]+\n$/)
      assert.include(err, says)
    }, patience)
  }
})

describe.concurrent("perdure", () => {
  it.live("prints help without codes, and the version of its package", () =>
    Effect.gen(function*() {
      const [help, version] = yield* Effect.promise(() => Promise.all([run(["ask", "--help"]), run(["--version"])]))
      assert.strictEqual(help.code, 0)
      assert.notMatch(help.out, codes)
      assert.include(help.out, "--fallback")
      assert.deepStrictEqual([version.code, version.err], [0, ""])
      assert.match(version.out, /^\d+\.\d+\.\d+\S*\n$/)
    }), patience)
})
