import { LLMock } from "@copilotkit/aimock"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Either, Option, Schema } from "effect"
import * as Ask from "../src/Ask.ts"
import type { AskInput } from "../src/Commands.ts"
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
    return { mock, url: `${await mock.start()}/v1` }
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
  json: false,
  embedded: false,
  ...changes
})

const environment = (variables: Record<string, string>) =>
  Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables))))

/** Runs `ask` against the provider, and gives what it wrote, what became of it and what was asked. */
const ask = (asked: AskInput, options: Parameters<typeof streams>[0] = {}) =>
  Effect.gen(function*() {
    const { mock, url } = yield* provider
    const { err, io, out } = streams(options)
    const result = yield* Effect.either(Ask.run(asked, io)).pipe(
      environment({ OPENAI_API_KEY: key, OPENAI_BASE_URL: url })
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

describe("Ask.run with json", () => {
  it.scopedLive("prints one object that decodes, and nothing else", () =>
    Effect.gen(function*() {
      const { err, out } = yield* ask(input("busy", { json: true, fallback: ["openai/good"] }))
      const { answer, finishReason, receipt } = decode(Ask.Answered, out)
      assert.strictEqual(err, "")
      assert.deepStrictEqual([answer, finishReason], ["At last.", "stop"])
      assert.deepStrictEqual(receipt.attempts.map(({ outcome }) => outcome._tag), ["Failed", "Answered"])
    }))
  it.scopedLive("prints the usage", () =>
    Effect.gen(function*() {
      const { out } = yield* ask(input("good", { json: true }))
      const { usage } = decode(Ask.Answered, out)
      assert.deepStrictEqual([usage.inputTokens, usage.outputTokens], [11, 3])
    }))
  it.scopedLive("prints every failure when all fail, and still fails", () =>
    Effect.gen(function*() {
      const { out, result } = yield* ask(input("down", { json: true, fallback: ["openai/locked"] }))
      const { errors, receipt } = decode(Ask.Unanswered, out)
      assert.deepStrictEqual(errors.map(({ _tag, model }) => [_tag, model]), [
        ["Overloaded", "down"],
        ["Unauthenticated", "locked"]
      ])
      assert.lengthOf(receipt.attempts, 3)
      assert.isTrue(Either.isLeft(result))
    }))
  it.scopedLive("prints a failure that was the only one", () =>
    Effect.gen(function*() {
      const { errors } = decode(Ask.Unanswered, (yield* ask(input("wrong", { json: true }))).out)
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
  it.live("does not use a key or a server that is set", () =>
    Effect.gen(function*() {
      const { io, out } = streams()
      yield* Ask.run(input("gpt-4o", { embedded: true }), io).pipe(
        environment({ OPENAI_API_KEY: key, OPENAI_BASE_URL: "http://127.0.0.1:1/v1" })
      )
      assert.include(out(), "embedded provider")
    }))
})
