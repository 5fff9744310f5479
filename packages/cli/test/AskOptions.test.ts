import { assert, describe, it } from "@effect/vitest"
import { Duration, Either, Option } from "effect"
import { Policy, Retry } from "perdure"
import * as AskOptions from "../src/AskOptions.ts"
import type { AskInput } from "../src/Commands.ts"

type Flags =
  & Partial<Record<"system" | "temperature" | "maxTokens" | "attempts", string>>
  & Partial<Record<"retryBase" | "retryCap" | "within" | "timeout" | "whenCut", string>>
  & { readonly stream?: boolean }

const input = (flags: Flags, targets: { model?: string; fallback?: ReadonlyArray<string> } = {}): AskInput => ({
  prompt: "hi",
  model: targets.model ?? "openai/gpt-4o",
  fallback: [...targets.fallback ?? []],
  system: Option.fromNullable(flags.system),
  temperature: Option.fromNullable(flags.temperature),
  maxTokens: Option.fromNullable(flags.maxTokens),
  attempts: Option.fromNullable(flags.attempts),
  retryBase: Option.fromNullable(flags.retryBase),
  retryCap: Option.fromNullable(flags.retryCap),
  within: Option.fromNullable(flags.within),
  timeout: Option.fromNullable(flags.timeout),
  stream: flags.stream ?? false,
  whenCut: Option.fromNullable(flags.whenCut),
  json: false,
  embedded: false,
  receipts: Option.none(),
  prices: Option.none()
})

const make = (...args: Parameters<typeof input>) => Either.getOrThrow(AskOptions.make(input(...args)))
const refused = (...args: Parameters<typeof input>) =>
  Either.match(AskOptions.make(input(...args)), { onLeft: ({ line }) => line, onRight: () => "accepted" })

describe("AskOptions.make", () => {
  it("has the article's policy when no flag changes it", () => {
    assert.strictEqual(Policy.describe(make({}).policy), `retry ${Retry.describe(Retry.article)}`)
  })
  it("changes only what a flag names", () => {
    const described = (flags: Flags) => Policy.describe(make(flags).policy)
    assert.include(described({ retryBase: "500ms" }), "500ms → 1s → 2s, cap 30s, full jitter, 4 attempts, within 1m")
    assert.include(described({ retryCap: "3s" }), "2s → 3s → 3s, cap 3s, full jitter, 4 attempts, within 1m")
    assert.include(described({ attempts: "2" }), "2s, cap 30s, full jitter, 2 attempts, within 1m")
    assert.include(described({ within: "10 seconds" }), "cap 30s, full jitter, 4 attempts, within 10s")
  })
  it("puts the timeout inside the retry, so that it limits each attempt", () => {
    const { steps } = make({ timeout: "9s" }).policy
    assert.deepStrictEqual(steps.map(({ name }) => name), ["retry", "timeout"])
    assert.strictEqual(steps[1]?.settings, Duration.format("9 seconds"))
  })
  it("keeps the targets in order, and slashes in a model's name", () => {
    assert.deepStrictEqual(make({}, { model: "openai/a", fallback: ["openai/b", "openai/meta/llama-3"] }).targets, [
      { provider: "openai", model: "a" },
      { provider: "openai", model: "b" },
      { provider: "openai", model: "meta/llama-3" }
    ])
  })
  it("puts system, temperature and the token limit into the request", () => {
    const request = make({ system: "Be brief.", temperature: "0.5", maxTokens: "7" }).request("hi")
    assert.deepStrictEqual(request.messages.map(({ _tag }) => _tag), ["System", "User"])
    assert.strictEqual(request.temperature, 0.5)
    assert.strictEqual(request.maxOutputTokens, 7)
    const plain = make({}).request("hi")
    assert.deepStrictEqual(plain.messages.map(({ _tag }) => _tag), ["User"])
    assert.isUndefined(plain.temperature)
    assert.isUndefined(plain.maxOutputTokens)
  })
  it("streams only when asked to, and takes a choice for a cut only with a stream", () => {
    assert.isUndefined(make({}).stream)
    assert.deepStrictEqual(make({ stream: true }).stream, {})
    for (const whenCut of ["fail", "restart", "buffer"] as const) {
      assert.deepStrictEqual(make({ stream: true, whenCut }).stream, { whenCut })
    }
    assert.strictEqual(refused({ whenCut: "fail" }), "--when-cut needs --stream")
    assert.strictEqual(
      refused({ stream: true, whenCut: "retry" }),
      `--when-cut was given "retry"; allowed: fail, restart, buffer`
    )
  })
  for (const temperature of ["0", "2"]) {
    it(`takes a temperature of ${temperature}`, () => {
      assert.strictEqual(make({ temperature }).request("hi").temperature, Number(temperature))
    })
  }

  const refusals: ReadonlyArray<readonly [Flags, string]> = [
    [{ temperature: "2.1" }, `--temperature was given "2.1"; allowed: a number from 0 to 2`],
    [{ temperature: "-1" }, `--temperature was given "-1"; allowed: a number from 0 to 2`],
    [{ temperature: "warm" }, `--temperature was given "warm"; allowed: a number from 0 to 2`],
    [{ temperature: "" }, `--temperature was given ""; allowed: a number from 0 to 2`],
    [{ maxTokens: "0" }, `--max-tokens was given "0"; allowed: a whole number of at least 1`],
    [{ maxTokens: "1.5" }, `--max-tokens was given "1.5"; allowed: a whole number of at least 1`],
    [{ attempts: "0" }, `--attempts was given "0"; allowed: a whole number of at least 1`],
    [{ attempts: "many" }, `--attempts was given "many"; allowed: a whole number of at least 1`],
    [{ attempts: "" }, `--attempts was given ""; allowed: a whole number of at least 1`],
    [{ retryBase: "0s" }, `--retry-base was given "0s"; allowed: a finite duration longer than zero`],
    [{ retryBase: "-2s" }, `--retry-base was given "-2s"; allowed: a duration such as 500ms, 2s, 1m or "2 seconds"`],
    [{ retryCap: "30" }, `--retry-cap was given "30"; allowed: a duration such as 500ms, 2s, 1m or "2 seconds"`],
    [{ within: "0ms" }, `--within was given "0ms"; allowed: a finite duration longer than zero`],
    [{ within: `${"9".repeat(400)}s` }, `--within was given`],
    [{ timeout: "0s" }, `--timeout was given "0s"; allowed: a finite duration longer than zero`],
    [{ timeout: "soon" }, `--timeout was given "soon"; allowed: a duration`]
  ]
  for (const [flags, line] of refusals) {
    it(`refuses ${JSON.stringify(flags).slice(0, 40)}, and names the flag, the value and what is allowed`, () => {
      assert.include(refused(flags), line)
    })
  }

  for (const model of ["", "gpt-4o", "openai/", "/gpt-4o", "openai/gpt 4o", " openai/gpt-4o"]) {
    it(`refuses ${JSON.stringify(model)} as a model, and shows what one looks like`, () => {
      const line = `was given ${JSON.stringify(model)}; allowed: a provider and a model, such as openai/gpt-4o`
      assert.strictEqual(refused({}, { model }), `--model ${line}`)
      assert.strictEqual(refused({}, { fallback: ["openai/gpt-4o", model] }), `--fallback ${line}`)
    })
  }
  it("refuses a provider that there is none of, and says which there are", () => {
    const line = refused({}, { fallback: ["opanai/gpt-4o"] })
    assert.include(line, `there is no provider "opanai"`)
    assert.include(line, "a model of openai, anthropic, google, openrouter, mistral, ollama, vllm")
  })
})
