import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import type { ExplainInput } from "../src/Commands.ts"
import * as Explain from "../src/Explain.ts"
import * as Explanation from "../src/Explanation.ts"
import { streams } from "./screen.ts"

interface Given {
  readonly failure?: string
  readonly status?: string
  readonly header?: Array<string>
  readonly body?: string
  readonly provider?: string
  readonly model?: string
  readonly json?: boolean
}

const input = (given: Given): ExplainInput => ({
  failure: Option.fromNullable(given.failure),
  status: Option.fromNullable(given.status),
  header: given.header ?? [],
  body: Option.fromNullable(given.body),
  provider: Option.fromNullable(given.provider),
  model: Option.fromNullable(given.model),
  json: given.json ?? false
})

const explain = (given: Given, stdin?: string) =>
  Effect.gen(function*() {
    const { err, io, out } = streams(stdin === undefined ? {} : { stdin })
    yield* Explain.run(input(given), io)
    assert.strictEqual(err(), "")
    return out()
  })

const decoded = (given: Given, stdin?: string) =>
  Effect.flatMap(
    explain({ ...given, json: true }, stdin),
    Schema.decodeUnknown(Schema.parseJson(Explanation.Explanation))
  )

const refused = (given: Given) =>
  Effect.gen(function*() {
    const { err, io, out } = streams()
    const error = yield* Effect.flip(Explain.run(input(given), io))
    assert.strictEqual(out() + err(), "")
    assert(error._tag === "UsageError")
    assert.notInclude(error.line, "\n")
    return error.line
  })

const openAi = (code: string) => JSON.stringify({ error: { message: "no", type: code, param: null, code } })
const anthropic = (type: string) => JSON.stringify({ type: "error", error: { type, message: "no" }, request_id: "r" })
const google = (status: string, details: ReadonlyArray<unknown>) =>
  JSON.stringify({ error: { code: 429, status, message: "no", details } })

describe("Explain.run with a response", () => {
  const cases: ReadonlyArray<readonly [Given, tag: string]> = [
    [{ status: "429" }, "RateLimited"],
    [{ status: "429", body: openAi("insufficient_quota") }, "QuotaExhausted"],
    [{ status: "400", body: openAi("context_length_exceeded") }, "ContextLengthExceeded"],
    [{ status: "503", provider: "openrouter" }, "Overloaded"],
    [{ status: "404", provider: "azure" }, "ModelNotFound"],
    [{ status: "401", provider: "MISTRAL" }, "Unauthenticated"],
    [{ status: "500", provider: "ollama" }, "ProviderUnavailable"],
    [{ status: "408", provider: "vllm" }, "TimedOut"],
    [{ status: "200", body: "<html>" }, "MalformedResponse"],
    [{ status: "529", provider: "anthropic", body: anthropic("overloaded_error") }, "Overloaded"],
    [{ status: "413", provider: "anthropic", body: anthropic("request_too_large") }, "RequestTooLarge"],
    [{
      status: "429",
      provider: "google",
      body: google("RESOURCE_EXHAUSTED", [{
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        violations: [{ quotaId: "GenerateRequestsPerDayPerProjectPerModel" }]
      }])
    }, "QuotaExhausted"]
  ]
  for (const [given, tag] of cases) {
    it.effect(`finds ${tag} in ${JSON.stringify(given).slice(0, 60)}`, () =>
      Effect.gen(function*() {
        const { error, failure } = yield* decoded(given)
        assert.deepStrictEqual([failure, error?._tag, error?.status], [tag, tag, Number(given.status)])
        assert.strictEqual(error?.provider, given.provider?.toLowerCase() ?? "openai")
      }))
  }
  it.effect("reads the wait, the request's id and the rate limits from the headers, whatever their case", () =>
    Effect.gen(function*() {
      const header = [
        "Retry-After: 20",
        "X-Request-Id:req_1",
        "x-ratelimit-limit-requests: 60",
        "x-ratelimit-remaining-requests: 0",
        "x-ratelimit-reset-requests: 6m0s"
      ]
      const out = yield* explain({ status: "429", header, model: "gpt-4o", body: openAi("rate_limit_exceeded") })
      assert.include(out, "message    openai/gpt-4o is rate limiting (HTTP 429): no")
      assert.match(out, / status {5}429\n {2}code {7}rate_limit_exceeded\n {2}request {4}req_1\n/)
      assert.include(out, "limits     0 of 60 requests left, full again in 6m 00s")
      assert.include(out, "at least 20.0s")
      const { error } = yield* decoded({ status: "429", header })
      assert.strictEqual(error?.rateLimits?.requests?.limit, 60)
    }))
  it.effect("reads Anthropic's rate limits", () =>
    Effect.gen(function*() {
      const header = ["anthropic-ratelimit-input-tokens-remaining: 7", "retry-after: 3"]
      const out = yield* explain({ status: "429", provider: "anthropic", header })
      assert.include(out, "7 input tokens left")
      assert.include(out, "at least 3.00s")
    }))
  it.effect("reads the body from standard input for -", () =>
    Effect.gen(function*() {
      const { failure } = yield* decoded({ status: "429", body: "-" }, openAi("insufficient_quota"))
      assert.strictEqual(failure, "QuotaExhausted")
    }))
  it.effect("prints no key that a provider repeats", () =>
    Effect.gen(function*() {
      const key = "sk-proj-0123456789abcdefghij0123456789"
      const body = JSON.stringify({ error: { message: `Incorrect API key provided: ${key}`, code: "invalid_api_key" } })
      for (const json of [true, false]) {
        assert.notInclude(yield* explain({ status: "401", body, json }), key)
      }
    }))
  it.effect("steers no terminal with what a provider says", () =>
    Effect.gen(function*() {
      const out = yield* explain({ status: "500", body: JSON.stringify({ error: { message: "a\u001b[31m\nb" } }) })
      assert.notInclude(out, "\u001b")
      assert.include(out, "a [31m b")
    }))
})

describe("Explain.run without a response", () => {
  it.effect("explains a failure by its name, in upper or lower case", () =>
    Effect.gen(function*() {
      assert.match(yield* explain({ failure: "RateLimited" }), /^RateLimited: rate limited\n/)
      assert.match(yield* explain({ failure: "timedout" }), /^TimedOut: timed out\n/)
      const { error, failure, message } = yield* decoded({ failure: "RateLimited" })
      assert.deepStrictEqual([failure, message, error], ["RateLimited", undefined, undefined])
    }))
  it.effect("prints the whole table when nothing is given", () =>
    Effect.gen(function*() {
      const out = yield* explain({})
      for (const tag of Explanation.tags) assert.match(out, new RegExp(`^${tag} +\\S`, "m"))
      const all = Schema.decodeUnknownSync(Schema.parseJson(Schema.Array(Explanation.Explanation)))(
        yield* explain({ json: true })
      )
      assert.deepStrictEqual(all.map(({ failure }) => failure), [...Explanation.tags])
    }))
})

describe("Explain.run, when the command line is wrong", () => {
  const wrong: ReadonlyArray<readonly [Given, line: string | RegExp]> = [
    [{ status: "429", header: ["nocolon"] }, /^--header needs a name, a colon and a value/],
    [{ status: "429", header: ["retry-after: 1", ": 20"] }, /^--header needs a name/],
    [{ status: "429", header: ["two words: 20"] }, /^--header needs a name/],
    [{ status: "99" }, /^--status was given "99"; allowed: a whole number from 100 to 599$/],
    [{ status: "600" }, /^--status was given "600"/],
    [{ status: "4.5" }, /^--status was given "4.5"/],
    [{ status: "" }, /^--status was given ""/],
    [{ status: "429", provider: "openia" }, /^--provider was given "openia"; allowed: openai, anthropic, google/],
    [{ status: "429", provider: "constructor" }, /^--provider was given/],
    [{ status: "429", model: " " }, /^--model was given/],
    [{ header: ["a: 1"], body: "x" }, "--header and --body need --status"],
    [{ provider: "google" }, "--provider needs --status"],
    [{ failure: "RateLimited", status: "429" }, "a failure by its name takes no --status"],
    [{ failure: "RateLimitd" }, "unknown failure RateLimitd; did you mean RateLimited?"],
    [{ failure: "429" }, "unknown failure 429; did you mean --status 429?"],
    [{ failure: "toString" }, "unknown failure toString"],
    [{ failure: "AllTargetsFailed" }, /explain the last of them$/]
  ]
  for (const [given, line] of wrong) {
    it.effect(`refuses ${JSON.stringify(given)} in one line`, () =>
      Effect.gen(function*() {
        const said = yield* refused(given)
        if (typeof line === "string") assert.strictEqual(said, line)
        else assert.match(said, line)
      }))
  }
  it.effect("does not repeat a header that has no colon, which may be a secret", () =>
    Effect.gen(function*() {
      assert.notInclude(yield* refused({ status: "429", header: ["sk-secret"] }), "sk-secret")
    }))
  it.effect("refuses flags before it reads standard input", () =>
    Effect.gen(function*() {
      assert.include(yield* refused({ status: "1", body: "-" }), "--status")
      assert.include(yield* refused({ status: "429", provider: "x", body: "-" }), "--provider")
    }))
})
