import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { assert, describe, expect, it } from "@effect/vitest"
import { answer, contentFiltered, ScriptedProvider, TestTime } from "@perdure/testing"
import { ConfigProvider, Duration, Effect, Exit, Layer, Random, TestClock } from "effect"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { Budget, LlmProvider, ModelPrices, Policy, type Receipt, Retry } from "perdure"
import * as Text from "../../packages/cli/src/Text.ts"
import * as Timeline from "../../packages/cli/src/Timeline.ts"
import * as budget from "../examples/budget.ts"
import { answerers, lowered, resized } from "../examples/bulkhead.ts"
import { attempts, maintenance, trial } from "../examples/circuit-breaker.ts"
import { fromFile, prices, program as costly } from "../examples/cost.ts"
import { told } from "../examples/exporting.ts"
import { lenient } from "../examples/failures.ts"
import { asLayer, byHand } from "../examples/fallbacks.ts"
import { program } from "../examples/first.ts"
import { answered, elsewhere, replaced } from "../examples/hedge.ts"
import { Llm, patientStreams } from "../examples/providers.ts"
import { explained, kept, who } from "../examples/receipts.ts"
import { aroundSdk, type Sdk } from "../examples/sdk.ts"
import { printed, together, whole } from "../examples/streams.ts"
import { attemptsBefore, observed } from "../examples/telemetry.ts"
import { test } from "../examples/testing.ts"

const root = join(import.meta.dirname, "../..")
const read = (path: string) => readFileSync(path, "utf8")
const list = (folder: string, ending: string) =>
  readdirSync(join(root, folder)).filter((name) => name.endsWith(ending)).map((name) => join(root, folder, name))
const pages = ["", "docs", "docs/decisions"].flatMap((folder) => list(folder, ".md"))
const examples = list("docs/examples", ".ts").map(read)

describe("every page", () => {
  for (const page of pages) {
    const text = read(page)
    const name = relative(root, page)

    const all = (pattern: RegExp) => Array.from(text.matchAll(pattern), ([, found = ""]) => found.trim())

    it(`${name} shows only code that is compiled and run as an example`, () => {
      const unknown = all(/^```ts\n([\s\S]*?)^```$/gm).filter((block) => !examples.some((one) => one.includes(block)))
      expect(unknown).toEqual([])
    })

    it(`${name} links to what is there`, () => {
      const local = all(/\]\(([^)#\s]+)[^)]*\)/g).filter((link) => !link.includes(":"))
      expect(local.filter((link) => !existsSync(join(dirname(page), link)))).toEqual([])
    })

    it(`${name} names only scripts that package.json has`, () => {
      const { scripts } = JSON.parse(read(join(root, "package.json"))) as { scripts: Record<string, string> }
      const named = all(/pnpm@10 (\w+)/g).filter((script) => script !== "changeset")
      expect(named.filter((script) => !(script in scripts))).toEqual([])
    })
  }
})

describe("the examples", () => {
  it.effect("first: another provider answers when the first one stays down", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const fetch: typeof globalThis.fetch = (_, init) => {
        const { model } = JSON.parse(new TextDecoder().decode(init?.body as Uint8Array)) as { model: string }
        asked.push(model)
        return Promise.resolve(
          model === "gpt-4o"
            ? new Response(`{"error":{"message":"down","type":"server_error"}}`, { status: 500 })
            : Response.json({
              id: "msg_1",
              type: "message",
              role: "assistant",
              model,
              content: [{ type: "text", text: "One place." }],
              stop_reason: "end_turn",
              usage: { input_tokens: 9, output_tokens: 3 }
            })
        )
      }
      const { exit } = yield* TestTime.run(program.pipe(
        Effect.provideService(FetchHttpClient.Fetch, fetch),
        Effect.withConfigProvider(
          ConfigProvider.fromMap(new Map([["OPENAI_API_KEY", "sk-example"], ["ANTHROPIC_API_KEY", "sk-example"]]))
        )
      ))
      assert(Exit.isSuccess(exit), String(exit))
      assert.strictEqual(exit.value.receipt.served?.provider, "anthropic")
      assert.isTrue(exit.value.receipt.fallback)
      assert.deepStrictEqual(asked, ["gpt-4o", "gpt-4o", "gpt-4o", "gpt-4o", "claude-3-5-haiku-20241022"])
    }))

  it.effect("fallbacks: the last resort answers, in both forms", () =>
    Effect.gen(function*() {
      const chain = yield* TestTime.run(asLayer)
      assert(Exit.isSuccess(chain.exit))
      assert.strictEqual(chain.exit.value.receipt.served?.provider, "last-resort")
      assert.strictEqual(chain.exit.value.receipt.attempts.length, 5)
      const plain = yield* byHand
      assert.strictEqual(plain.receipt.served?.provider, "second")
      assert.isTrue(plain.receipt.fallback)
    }))

  it.effect("bulkhead: so many at once, as many wait as there is time for, the others are answered elsewhere", () =>
    Effect.gen(function*() {
      const { elapsed, exit } = yield* TestTime.run(answerers(50))
      assert(Exit.isSuccess(exit))
      // 8 at once and 8 more after 10 seconds; the line is 32 long, and the rest of it is not served in time.
      const count = (provider: string) => exit.value.filter((one) => one === provider).length
      assert.strictEqual(count("scripted"), 16)
      assert.strictEqual(count("anthropic"), 34)
      assert.strictEqual(elapsed, 20_000)
      const low = yield* TestTime.run(lowered(10))
      assert(Exit.isSuccess(low.exit))
      assert.deepStrictEqual(low.exit.value, { limit: 6, refused: 10 })
      assert.strictEqual(yield* resized, 16)
    }))

  it.effect("budget: a dead target is not asked much more often than there are calls", () =>
    Effect.gen(function*() {
      const { exit } = yield* TestTime.run(budget.load(1000))
      // What the bucket began with, and one more in 35 seconds at most.
      assert(Exit.isSuccess(exit))
      assert.include([1035, 1036], exit.value)
      const { receipt } = yield* TestTime.run(budget.answered).pipe(Effect.flatMap(({ exit }) => exit))
      assert.strictEqual(receipt.served?.provider, "anthropic")
      yield* budget.strict
      yield* budget.own
      const own = yield* TestTime.run(budget.byHand)
      assert(Exit.isSuccess(own.exit))
      assert.isTrue(own.exit.value.failed)
      assert.strictEqual(own.exit.value.left.target, 0)
    }))

  it.effect("hedge: the second try answers, here and elsewhere", () =>
    Effect.gen(function*() {
      const here = yield* TestTime.run(answered)
      assert(Exit.isSuccess(here.exit))
      assert.strictEqual(here.elapsed, 3000)
      assert.deepStrictEqual(here.exit.value.receipt.attempts.map(({ hedge }) => hedge), [undefined, true])
      const other = yield* TestTime.run(elsewhere)
      assert(Exit.isSuccess(other.exit))
      assert.strictEqual(other.elapsed, 2000)
      assert.strictEqual(other.exit.value.receipt.served?.provider, "anthropic")
    }))

  it.effect("hedge: one that replaces another goes on from what that one has learned", () =>
    Effect.gen(function*() {
      const { exit } = yield* TestTime.run(replaced)
      const delay = Duration.seconds(1)
      assert.deepStrictEqual(exit, Exit.succeed([{ delay, latencies: 20 }, { delay, latencies: 40 }]))
    }))

  it.scoped("circuit breaker: after five failures the first target is not asked again", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* attempts(8), [2, 2, 2, 2, 2, 1, 1, 1])
      assert.deepStrictEqual(yield* maintenance, ["isolated", "closed"])
      assert.strictEqual((yield* (yield* trial).state("default")).phase, "closed")
    }))

  it.effect("failures: refused content is answered elsewhere", () =>
    Effect.gen(function*() {
      const chain = lenient(
        ScriptedProvider.layer([contentFiltered()], { provider: "strict" }),
        ScriptedProvider.layer([answer("Why not.")], { provider: "lenient" })
      )
      const response = yield* LlmProvider.generate("May I?").pipe(Effect.provide(chain))
      assert.strictEqual(response.provider, "lenient")
    }))

  it.effect("providers: the layers are built from the keys in the configuration", () =>
    Effect.gen(function*() {
      const keys = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY"].map((name) =>
        [name, "sk-example"] as const
      )
      const targets = Effect.map(
        LlmProvider.LlmProvider,
        (provider) => provider.targets?.map((target) => target.provider)
      )
      const withKeys = Effect.withConfigProvider(ConfigProvider.fromMap(new Map(keys)))
      assert.deepStrictEqual(yield* withKeys(Effect.provide(targets, Llm)), ["openai", "anthropic", "google"])
      const alone = Layer.provide(patientStreams, FetchHttpClient.layer)
      assert.deepStrictEqual(yield* withKeys(Effect.provide(targets, alone)), ["openai"])
    }))

  it.effect("providers: what an SDK repeats is in the receipt, paid for, and not repeated again", () =>
    Effect.gen(function*() {
      const sdk: Sdk = {
        complete: async (prompt, { fetch, signal }) => {
          for (let n = 0;; n++) {
            const response = await fetch("https://acme.example/complete", { method: "POST", body: prompt, signal })
            if (response.ok) return { model: "acme-1-dated", text: await response.text() }
            if (n === 3) throw new Error("too many tries")
          }
        }
      }
      const budget = yield* Budget.make({ target: { capacity: 20, ratio: 0, perSecond: 0 }, process: "none" })
      const ask = (answers: ReadonlyArray<Response | Error>) => {
        let asked = 0
        const send: typeof fetch = () => {
          const next = answers[Math.min(asked++, answers.length - 1)]
          return next instanceof Response ? Promise.resolve(next.clone()) : Promise.reject(next)
        }
        const layer = aroundSdk(sdk, send).pipe(
          LlmProvider.withPolicy(Policy.retry(Retry.standard)),
          LlmProvider.withPolicy(budget)
        )
        return Effect.exit(LlmProvider.generate("the secret of the house").pipe(Effect.provide(layer)))
      }
      const busy = new Response(`{"error":{"message":"busy with the secret of the house"}}`, { status: 429 })
      const failed = yield* ask([busy])
      assert(Exit.isFailure(failed) && failed.cause._tag === "Fail")
      const { error } = failed.cause
      assert.isTrue(error.spent)
      assert.notInclude(error.message, "secret of the house")
      const outcomes = ({ receipt }: { readonly receipt?: Receipt.Receipt | undefined }) =>
        receipt?.attempts.map(({ outcome }) => outcome._tag === "Failed" ? outcome.error : outcome._tag)
      assert.deepStrictEqual(outcomes(error), ["RateLimited", "RateLimited", "RateLimited", "RateLimited"])
      assert.strictEqual((yield* budget.balance("acme/acme-1")).target, 17)
      const answered = yield* ask([busy, busy, new Response("Here.")])
      assert(Exit.isSuccess(answered), String(answered))
      assert.deepStrictEqual(outcomes(answered.value), ["RateLimited", "RateLimited", "Answered"])
      assert.strictEqual((yield* budget.balance("acme/acme-1")).target, 15)
      const reset = yield* ask([new Error("reset")])
      assert(Exit.isFailure(reset) && reset.cause._tag === "Fail")
      assert.deepStrictEqual(outcomes(reset.cause.error), ["ConnectionFailed"])
    }))

  it.effect("streams: a cut is announced, or unseen", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* printed, "Blue, by scattering.")
      const response = yield* whole
      assert.strictEqual(response.text, "Blue, by scattering.")
      assert.strictEqual(response.receipt.served?.provider, "secondary")
      assert.strictEqual(yield* together, "Blue, by scattering.")
    }))

  it.effect("receipts: the page shows the receipt of this run", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(Date.UTC(2026, 10, 24, 2, 12, 9))
      const lines: Array<string> = []
      const { exit } = yield* TestTime.run(kept((line) => lines.push(line))(who)).pipe(
        Effect.withRandom(Random.make("receipts"))
      )
      assert(Exit.isSuccess(exit), String(exit))
      const [, shown = "{}"] = read(join(root, "docs/receipts.md")).match(/^```json\n([^]*?)^```$/m) ?? []
      assert.deepStrictEqual(lines.map((line) => JSON.parse(line)), [JSON.parse(shown)])
      const picture = [...Timeline.lines(exit.value, 80), [], ...Timeline.summary(exit.value, 80)]
      assert.include(
        read(join(root, "docs/receipts.md")),
        `\`\`\`\n${picture.map((line) => Text.render(line, false)).join("\n")}\n\`\`\``
      )
      const down = ScriptedProvider.layer([contentFiltered()])
      assert.strictEqual(yield* Effect.provide(explained, down), 1)
    }))

  it.effect("cost: a call is charged to its account", () =>
    Effect.gen(function*() {
      const { response, status } = yield* costly
      assert.strictEqual(response.text, "Four.")
      assert.deepStrictEqual(status.limits.map(({ window }) => window), ["day", "month"])
      assert.isAbove(status.limits[0]?.spent ?? 0, 0)
    }))

  it.effect("cost: the file that the page shows has the prices of the table in the program, and one more", () =>
    Effect.gen(function*() {
      const file = read(join(root, "docs/examples/prices.json"))
      assert.include(read(join(root, "docs/cost.md")), `\`\`\`json\n${file}\`\`\``)
      const find = (layer: Layer.Layer<ModelPrices.ModelPrices, ModelPrices.InvalidPrices>) =>
        Effect.map(Effect.provide(ModelPrices.ModelPrices, layer), ({ currency, find }) => [
          currency,
          find({ provider: "openai", model: "gpt-4o" }),
          find({ provider: "google", model: "gemini-2.5-pro" })
        ])
      assert.deepStrictEqual(yield* find(fromFile(file)), yield* find(prices))
      const { find: inFile } = yield* Effect.provide(ModelPrices.ModelPrices, fromFile(file))
      assert.strictEqual(inFile({ provider: "openai", model: "gpt-4o-mini" })?.output, 0.6)
    }))

  it.effect("exporting: Prometheus is told of the call and of both attempts", () =>
    Effect.map(told, (text) => {
      assert.match(text, /^perdure_calls_total\{.*gen_ai_provider_name="openai".*perdure_outcome="answered"\} 1$/m)
      assert.match(text, /^perdure_attempts_total\{.*gen_ai_provider_name="anthropic".*\} 1$/m)
    }))

  it.effect("telemetry: an exporter sees the failure before the answer", () =>
    Effect.gen(function*() {
      const { exit } = yield* TestTime.run(observed)
      assert(Exit.isSuccess(exit), String(exit))
      assert.strictEqual(exit.value, 1)
      assert.strictEqual(yield* attemptsBefore, 0)
    }))

  it.effect("testing: the test passes", () => test)
})
