import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc } from "effect"
import { mkdirSync, writeFileSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ModelPrices } from "perdure"
import * as Prices from "../src/Prices.ts"
import { story, used } from "./receipts.ts"

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "perdure-prices-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

const table = { models: { openai: { "gpt-4o": { input: 2, output: 8 } } } }

describe("Prices.read", () => {
  it.scoped("reads a table from a file, with a byte order mark too", () =>
    Effect.gen(function*() {
      const path = join(yield* folder, "prices.json")
      for (const start of ["", "\uFEFF"]) {
        writeFileSync(path, start + JSON.stringify(table))
        const { currency, find } = yield* Prices.read(path)
        assert.deepStrictEqual([currency, find({ provider: "openai", model: "gpt-4o-2024-08-06" })?.output], ["USD", 8])
      }
    }))
  it.scoped("names the file and the field in one line, whatever is wrong", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const path = join(place, "prices.json")
      const refusal = (text?: string) => {
        if (text !== undefined) writeFileSync(path, text)
        return Effect.map(Effect.flip(Prices.read(path)), ({ _tag, line }) => {
          assert.strictEqual(_tag, "UsageError")
          assert.isTrue(line.startsWith(`${path} cannot be `) && !line.includes("\n"), line)
          return line.slice(`${path} cannot be `.length)
        })
      }
      const priced = (price: unknown) => refusal(JSON.stringify({ models: { openai: { "gpt-4o": price } } }))
      assert.strictEqual(yield* refusal(), "read: there is no such file or folder")
      assert.strictEqual(yield* refusal("models:"), "used: it must be JSON")
      assert.strictEqual(yield* refusal("[]"), "used: it must be an object")
      assert.strictEqual(
        yield* priced({ input: -1, output: 8 }),
        "used: models.openai.gpt-4o.input must be a number from 0 to 1,000,000,000, for a million tokens"
      )
      assert.strictEqual(
        yield* priced({ input: 1, output: 8, cached: 1 }),
        "used: models.openai.gpt-4o.cached must be nothing: no field has this name"
      )
      assert.strictEqual(
        yield* priced({ input: 1, output: 8, tiers: [{ above: -1, input: 1, output: 1 }] }),
        "used: models.openai.gpt-4o.tiers.0.above must be a whole number of tokens"
      )
      const many = yield* priced({ input: "", output: "", reasoning: "", cacheWrite: "", "a\nb": 1 })
      assert.match(many, /^used: (models\.openai\.gpt-4o\.[\w ]+ must be [^;]+; ){3}2 more problems$/)
      mkdirSync(join(place, "folder"))
      assert.strictEqual((yield* Effect.flip(Prices.read(join(place, "folder"))))._tag, "UsageError")
    }))
})

describe("Prices.priced", () => {
  const prices = ModelPrices.make(table)

  it("gives a cost to attempts that have tokens and none", () => {
    assert.strictEqual(String(Prices.priced(used("gpt-4o"), prices).cost), "0.00006 USD")
    assert.strictEqual(String(Prices.priced(used("best", { served: "gpt-4o-2024-08-06" }), prices).cost), "0.00006 USD")
  })
  it("keeps a cost that a receipt has, whatever its currency and its amount", () => {
    fc.assert(fc.property(fc.nat(), fc.string({ minLength: 1 }), (nanos, currency) => {
      const own = used("gpt-4o", { cost: new ModelPrices.Cost({ nanos, currency }) })
      assert.deepStrictEqual(Prices.priced(own, prices), own)
    }))
  })
  it("leaves what has no tokens or no price as it is", () => {
    for (const receipt of [story, used("gpt-4o-mini")]) assert.deepStrictEqual(Prices.priced(receipt, prices), receipt)
  })
})
