import { LLMock } from "@copilotkit/aimock"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Either, Option, Schema } from "effect"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { StreamPart } from "perdure"
import * as Ask from "../src/Ask.ts"
import * as CallSummary from "../src/CallSummary.ts"
import type { AskInput } from "../src/Commands.ts"
import * as Providers from "../src/Providers.ts"
import { streams } from "./screen.ts"

const key = "sk-secret-0123456789"

const provider = Effect.acquireRelease(
  Effect.promise(async () => {
    const mock = new LLMock({ host: "127.0.0.1", port: 0 })
    mock.on({ model: "good" }, {
      content: "Four.",
      usage: { prompt_tokens: 11, completion_tokens: 3, total_tokens: 14 }
    })
    mock.on({ model: "cut" }, { content: "Fo", finishReason: "length" })
    mock.on({ model: "esc" }, { content: "a\u001b[31mb" })
    mock.on({ model: "busy", sequenceIndex: 0 }, { error: { message: "slow\ndown" }, status: 429, retryAfter: 0 })
    mock.on({ model: "busy" }, { content: "At last." })
    mock.on({ model: "down" }, { error: { message: "overloaded", type: "server_error" }, status: 503 })
    mock.on({ model: "locked" }, {
      error: { message: `Incorrect API key provided: ${key}`, type: "invalid_request_error", code: "invalid_api_key" },
      status: 401
    })
    mock.on({ model: "wrong" }, { error: { message: "no such field", type: "invalid_request_error" }, status: 400 })
    mock.on({ model: "slow" }, { content: "late" }, { chaos: { latencyMs: 2000 } })
    mock.on({ model: "drip" }, { content: "One, two, three, four." }, { chunkSize: 5, latency: 5 })
    return { mock, origin: await mock.start() }
  }),
  ({ mock }) => Effect.promise(() => mock.stop())
)

const input = (model: string, changes: Partial<AskInput> = {}): AskInput => ({
  prompt: "What is 2 + 2?",
  model: `openai/${model}`,
  fallback: [],
  system: Option.none(),
  temperature: Option.none(),
  maxTokens: Option.none(),
  attempts: Option.some("2"),
  retryBase: Option.some("20ms"),
  retryCap: Option.none(),
  within: Option.none(),
  timeout: Option.none(),
  stream: false,
  whenCut: Option.none(),
  json: false,
  embedded: false,
  receipts: Option.none(),
  prices: Option.none(),
  ...changes
})

const environment = (variables: Record<string, string>) =>
  Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables))))

/** A key and an address for every provider; Google's key by its second name. */
const variablesOf = (origin: string) => ({
  ...Object.fromEntries(
    ["OPENAI", "ANTHROPIC", "GEMINI", "OPENROUTER", "MISTRAL"].map((name) => [`${name}_API_KEY`, key])
  ),
  ...Object.fromEntries(
    ["OPENAI", "OPENROUTER", "MISTRAL", "OLLAMA", "VLLM"].map((name) => [`${name}_BASE_URL`, `${origin}/v1`])
  ),
  ANTHROPIC_BASE_URL: origin,
  GOOGLE_BASE_URL: `${origin}/v1beta`
})

/** Runs `ask` against the provider, and gives what it wrote, what became of it and what was asked. */
const ask = (asked: AskInput, options: Parameters<typeof streams>[0] = {}) =>
  Effect.gen(function*() {
    const { mock, origin } = yield* provider
    const { err, io, out } = streams(options)
    const result = yield* Effect.either(Ask.run(asked, io)).pipe(
      environment(variablesOf(origin))
    )
    const bodies = mock.getRequests().map(({ body }) => body)
    assert.notInclude(out() + err() + String(Either.isLeft(result) ? result.left : ""), key)
    return { bodies, out: out(), err: err(), result }
  })

const decode = <A, I>(schema: Schema.Schema<A, I>, text: string) => {
  assert.match(text, /^\{.*\}\n$/)
  return Schema.decodeUnknownSync(Schema.parseJson(schema))(text)
}

describe("Ask.run", () => {
  it.scopedLive("prints the answer and nothing else on standard output, the receipt on standard error", () =>
    Effect.gen(function*() {
      const { err, out, result } = yield* ask(input("good"))
      assert.isTrue(Either.isRight(result))
      assert.strictEqual(out, "Four.\n")
      assert.match(err, /^ {2}requested {2}openai\/good .*\n {2}served {5}openai\/good .*\n {2}fallback {3}no /)
      assert.include(err, "  tokens     11 in, 3 out\n")
    }))
  it.scopedLive("sends the prompt, the system text and the settings", () =>
    Effect.gen(function*() {
      const { bodies } = yield* ask(
        input("good", {
          system: Option.some("Be brief."),
          temperature: Option.some("0.5"),
          maxTokens: Option.some("9")
        })
      )
      assert.lengthOf(bodies, 1)
      const sent = JSON.stringify(bodies[0])
      for (const part of ["Be brief.", "What is 2 + 2?", `"temperature":0.5`, `:9`]) assert.include(sent, part)
    }))
  it.scopedLive("reads the prompt from standard input for -", () =>
    Effect.gen(function*() {
      const { bodies } = yield* ask(input("good", { prompt: "-" }), { stdin: "from a pipe\n" })
      assert.include(JSON.stringify(bodies[0]), `from a pipe"`)
    }))
  it.scopedLive("draws a timeline when there was more than one attempt", () =>
    Effect.gen(function*() {
      const { err, out } = yield* ask(input("busy"))
      assert.strictEqual(out, "At last.\n")
      assert.match(err, /1 openai\/busy .*▓.* 429 rate limited/)
      assert.match(err, /2 openai\/busy .*█.* answered/)
    }))
  it.scopedLive("shows its progress on standard error only where a person is watching", () =>
    Effect.gen(function*() {
      assert.include((yield* ask(input("busy"), { errTTY: true })).err, "\u001b[?25h")
      assert.notInclude((yield* ask(input("busy"))).err, "\u001b")
    }))
  it.scopedLive("asks the fallback when the model's attempts are spent", () =>
    Effect.gen(function*() {
      const { err, out } = yield* ask(input("down", { fallback: ["openai/locked", "openai/good"] }))
      assert.strictEqual(out, "Four.\n")
      assert.match(err, /fallback {3}yes/)
      assert.match(err, /attempts {3}4/)
    }))
  it.scopedLive("lists every failure in order, one a line, when all fail", () =>
    Effect.gen(function*() {
      const { out, result } = yield* ask(input("down", { fallback: ["openai/locked", "openai/wrong"] }))
      assert.strictEqual(out, "")
      assert(Either.isLeft(result) && result.left._tag === "Failed")
      assert.deepStrictEqual(result.left.lines.map((line) => line.split(":")[0]), [
        "openai/down is overloaded (HTTP 503)",
        "openai/locked does not accept the key (HTTP 401)",
        "openai/wrong refused the request as invalid (HTTP 400)"
      ])
      for (const line of result.left.lines) assert.notInclude(line, "\n")
    }))
  it.scopedLive("names the targets that were not asked, because a failure would have met them too", () =>
    Effect.gen(function*() {
      const { bodies, result } = yield* ask(
        input("locked", { fallback: ["openai/wrong", "openai/good", "openai/cut"] })
      )
      assert(Either.isLeft(result) && result.left._tag === "Failed")
      assert.lengthOf(bodies, 2)
      assert.match(result.left.lines.at(-1) ?? "", /^not asked, .*: openai\/good, openai\/cut$/)
      const first = yield* ask(input("wrong", { fallback: ["openai/good"] }))
      assert(Either.isLeft(first.result) && first.result.left._tag === "Failed")
      assert.lengthOf(first.result.left.lines, 2)
    }))
  it.scopedLive("gives an attempt up after --timeout", () =>
    Effect.gen(function*() {
      const { result } = yield* ask(input("slow", { timeout: Option.some("100ms"), attempts: Option.some("1") }))
      assert(Either.isLeft(result) && result.left._tag === "Failed")
      assert.include(result.left.lines[0], "openai/slow timed out after 100ms")
    }))
  it.scopedLive("says why an answer ended early", () =>
    Effect.gen(function*() {
      assert.include((yield* ask(input("cut"))).err, "  finished   length\n")
      assert.notInclude((yield* ask(input("good"))).err, "finished")
    }))
  it.scopedLive("hands the answer through untouched to a pipe, and harmless to a terminal", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* ask(input("esc"))).out, "a\u001b[31mb\n")
      assert.strictEqual((yield* ask(input("esc"), { outTTY: true })).out, "a[31mb\n")
    }))
})

describe("Ask.run with prices", () => {
  /** A file with prices of one model. */
  const prices = (model: string, price: unknown) =>
    Effect.acquireRelease(
      Effect.promise(async () => {
        const folder = await mkdtemp(join(tmpdir(), "perdure-prices-"))
        const path = join(folder, "prices.json")
        await writeFile(path, JSON.stringify({ currency: "EUR", models: { openai: { [model]: price } } }))
        return { folder, path }
      }),
      ({ folder }) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
    ).pipe(Effect.map(({ path }) => Option.some(path)))

  it.scopedLive("says what a call cost, whole, streamed and as JSON", () =>
    Effect.gen(function*() {
      const asked = input("good", { prices: yield* prices("good", { input: 2, output: 8 }) })
      // 11 tokens in and 3 out, whoever counts them.
      const line = "  cost       0.000046 EUR\n"
      assert.include((yield* ask(asked)).err, line)
      assert.include((yield* ask({ ...asked, stream: true })).err, line)
      const { out } = yield* ask({ ...asked, json: true })
      assert.strictEqual(decode(CallSummary.Answered, out).receipt.cost?.nanos, 46_000)
    }))
  it.scopedLive("says nothing of a cost that is not known", () =>
    Effect.gen(function*() {
      const { err } = yield* ask(input("good", { prices: yield* prices("other", { input: 2, output: 8 }) }))
      assert.include(err, "  tokens     11 in, 3 out\n")
      assert.notInclude(err, "cost")
    }))
  it.scopedLive("asks nothing with prices that cannot be used, and names the file and the field", () =>
    Effect.gen(function*() {
      const { bodies, err, out, result } = yield* ask(
        input("good", { prices: yield* prices("good", { input: "free", output: 8 }) })
      )
      assert.deepStrictEqual([bodies, out, err], [[], "", ""])
      assert(Either.isLeft(result) && result.left._tag === "UsageError")
      assert.match(
        result.left.line,
        /prices\.json cannot be used: models\.openai\.good\.input must be a number from 0 to /
      )
    }))
})

describe("Ask.run with other providers", () => {
  for (const name of Object.keys(Providers.askable)) {
    it.scopedLive(`asks ${name}, whole and streamed`, () =>
      Effect.gen(function*() {
        const model = `${name}/drip`
        for (const stream of [false, true]) {
          const { err, out } = yield* ask(input("", { model, stream }))
          assert.strictEqual(out, "One, two, three, four.\n")
          assert.include(err, `served     ${model}`)
        }
      }))
  }
  it.scopedLive("falls back from one provider to others", () =>
    Effect.gen(function*() {
      const fallback = ["anthropic/locked", "google/good"]
      for (const stream of [false, true]) {
        const { err, out } = yield* ask(input("down", { fallback, stream }))
        assert.strictEqual(out, "Four.\n")
        assert.match(err, /served {5}google\/good/)
        assert.match(err, /attempts {3}4/)
      }
    }))
  it.scopedLive("prints the parts of a stream as lines of JSON, and a failure as the last one", () =>
    Effect.gen(function*() {
      const lines = ({ out }: { readonly out: string }) => out.trimEnd().split("\n")
      const good = lines(yield* ask(input("drip", { model: "anthropic/drip", stream: true, json: true })))
      const decodePart = Schema.decodeUnknownSync(Schema.parseJson(StreamPart.StreamPart))
      const parts = good.map((line) => decodePart(line))
      assert.strictEqual(parts.at(-1)?._tag, "Finish")
      assert.isAbove(parts.filter(({ _tag }) => _tag === "TextDelta").length, 1)
      const bad = yield* ask(input("down", { fallback: ["google/locked"], stream: true, json: true }))
      const [only, ...others] = lines(bad)
      assert.deepStrictEqual(others, [])
      const { errors } = Schema.decodeUnknownSync(Schema.parseJson(CallSummary.Unanswered))(only)
      assert.deepStrictEqual(errors.map(({ provider }) => provider), ["openai", "google"])
      assert.isTrue(Either.isLeft(bad.result))
    }))
})

describe("Ask.run with json", () => {
  it.scopedLive("prints one object that decodes, and nothing else", () =>
    Effect.gen(function*() {
      const { err, out } = yield* ask(input("busy", { json: true, fallback: ["openai/good"] }))
      const { answer, finishReason, receipt } = decode(CallSummary.Answered, out)
      assert.strictEqual(err, "")
      assert.deepStrictEqual([answer, finishReason], ["At last.", "stop"])
      assert.deepStrictEqual(receipt.attempts.map(({ outcome }) => outcome._tag), ["Failed", "Answered"])
    }))
  it.scopedLive("prints the usage", () =>
    Effect.gen(function*() {
      const { out } = yield* ask(input("good", { json: true }))
      const { usage } = decode(CallSummary.Answered, out)
      assert.deepStrictEqual([usage.inputTokens, usage.outputTokens], [11, 3])
    }))
  it.scopedLive("prints every failure when all fail, and still fails", () =>
    Effect.gen(function*() {
      const { out, result } = yield* ask(input("down", { json: true, fallback: ["openai/locked"] }))
      const { errors, receipt } = decode(CallSummary.Unanswered, out)
      assert.deepStrictEqual(errors.map(({ _tag, model }) => [_tag, model]), [
        ["Overloaded", "down"],
        ["Unauthenticated", "locked"]
      ])
      assert.lengthOf(receipt.attempts, 3)
      assert.isTrue(Either.isLeft(result))
    }))
  it.scopedLive("prints a failure that was the only one", () =>
    Effect.gen(function*() {
      const { errors } = decode(CallSummary.Unanswered, (yield* ask(input("wrong", { json: true }))).out)
      assert.deepStrictEqual(errors.map(({ _tag }) => _tag), ["InvalidRequest"])
    }))
})

describe("Ask.run, before anything is sent", () => {
  const refused = (asked: AskInput, variables: Record<string, string>, stdin?: string) =>
    Effect.gen(function*() {
      const { err, io, out } = streams(stdin === undefined ? {} : { stdin })
      const error = yield* Effect.flip(Ask.run(asked, io)).pipe(environment(variables))
      assert.strictEqual(out() + err(), "")
      assert(error._tag === "UsageError")
      return error.line
    })

  for (const variables of [{}, { OPENAI_API_KEY: "" }, { OPENAI_API_KEY: "  " }] as const) {
    it.live(`names the variable and offers --embedded when the key is ${JSON.stringify(variables)}`, () =>
      Effect.gen(function*() {
        assert.strictEqual(
          yield* refused(input("good"), variables),
          "OPENAI_API_KEY is not set; set it, or use --embedded, which needs no key"
        )
      }))
  }
  it.live("names the variable of the provider that is asked, and all that are missing", () =>
    Effect.gen(function*() {
      const missing = (model: string, fallback: Array<string>, variables: Record<string, string> = {}) =>
        refused(input("", { model, fallback }), variables)
      const hint = "set it, or use --embedded, which needs no key"
      assert.strictEqual(yield* missing("anthropic/a", []), `ANTHROPIC_API_KEY is not set; ${hint}`)
      assert.strictEqual(yield* missing("google/a", []), `GOOGLE_API_KEY or GEMINI_API_KEY is not set; ${hint}`)
      assert.strictEqual(
        yield* missing("openai/a", ["mistral/b", "openai/c"], { OPENAI_API_KEY: key }),
        `MISTRAL_API_KEY is not set; ${hint}`
      )
      assert.strictEqual(
        yield* missing("ollama/a", ["openrouter/b", "anthropic/c"]),
        "OPENROUTER_API_KEY and ANTHROPIC_API_KEY are not set; set them, or use --embedded, which needs no key"
      )
    }))
  it.live("names the variable of an address that is none", () =>
    Effect.gen(function*() {
      for (const [name, prefix] of [["ollama", "OLLAMA"], ["anthropic", "ANTHROPIC"], ["google", "GOOGLE"]] as const) {
        const line = yield* refused(input("", { model: `${name}/a` }), {
          [`${prefix}_BASE_URL`]: "localhost",
          [`${prefix}_API_KEY`]: key
        })
        assert.include(line, `${prefix}_BASE_URL cannot be used: Expected an http or https URL`)
      }
    }))
  it.live("refuses a base URL that is none, without repeating it", () =>
    Effect.gen(function*() {
      for (const url of ["localhost:8080", "ftp://user:pass@host", "http://"]) {
        const line = yield* refused(input("good"), { OPENAI_API_KEY: key, OPENAI_BASE_URL: url })
        assert.include(line, "OPENAI_BASE_URL cannot be used: Expected an http or https URL")
        assert.notInclude(line, url)
      }
    }))
  it.live("refuses a key that cannot be sent, without repeating it", () =>
    Effect.gen(function*() {
      const line = yield* refused(input("good"), { OPENAI_API_KEY: `${key}\nX-Other: 1` })
      assert.include(line, "OPENAI_API_KEY cannot be used")
      assert.notInclude(line, key)
    }))
  it.live("refuses an empty prompt, from the command line and from standard input", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* refused(input("good", { prompt: " " }), {}), "the prompt is empty")
      assert.strictEqual(yield* refused(input("good", { prompt: "-" }), {}, "\n"), "the prompt is empty")
    }))
  it.live("refuses bad flags before it reads standard input or needs a key", () =>
    Effect.gen(function*() {
      const line = yield* refused(input("good", { prompt: "-", attempts: Option.some("0") }), {})
      assert.include(line, "--attempts")
    }))
})

describe("Ask.run with embedded", () => {
  it.live("answers without a key, and says what it is", () =>
    Effect.gen(function*() {
      const { err, io, out } = streams()
      yield* Ask.run(input("gpt-4o", { embedded: true }), io).pipe(environment({}))
      assert.include(out(), "embedded provider, not a language model")
      assert.include(out(), "What is 2 + 2?")
      assert.include(err(), "served     openai/gpt-4o")
    }))
  it.live("answers for every provider, whole and streamed", () =>
    Effect.gen(function*() {
      for (const name of ["anthropic", "google", "ollama"]) {
        for (const stream of [false, true]) {
          const { err, io, out } = streams()
          yield* Ask.run(input("", { model: `${name}/m`, embedded: true, stream }), io).pipe(environment({}))
          assert.include(out(), "Asked as m, it heard: What is 2 + 2?\n")
          assert.include(err(), `served     ${name}/m`)
        }
      }
    }))
  it.live("does not use a key or a server that is set", () =>
    Effect.gen(function*() {
      const { io, out } = streams()
      yield* Ask.run(input("gpt-4o", { embedded: true }), io).pipe(
        environment({ OPENAI_API_KEY: key, OPENAI_BASE_URL: "http://127.0.0.1:1/v1" })
      )
      assert.include(out(), "embedded provider")
    }))
})
