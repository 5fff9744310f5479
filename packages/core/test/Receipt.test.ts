import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Duration, Schema } from "effect"
import * as fc from "effect/FastCheck"
import { Receipt, Usage } from "perdure"
import { receipt } from "./support/errors.ts"
import { openAi } from "./support/provider.ts"

const json = Schema.parseJson(Receipt.Receipt)
const toJson = Schema.encodeSync(json)
const fromJson = Schema.decodeUnknownSync(json)

const attempt = (wait: Duration.DurationInput) =>
  new Receipt.Attempt({
    target: openAi,
    start: Duration.zero,
    wait: Duration.decode(wait),
    duration: Duration.zero,
    outcome: { _tag: "Interrupted" }
  })

describe("encoding", () => {
  it("O1: names every attempt, outcome, wait and duration, in milliseconds", () => {
    assert.deepStrictEqual(JSON.parse(toJson(receipt)), {
      requested: { provider: "openai", model: "gpt-4o" },
      served: { provider: "anthropic", model: "claude-dated" },
      fallback: true,
      attempts: [
        {
          target: { provider: "openai", model: "gpt-4o" },
          startMs: 0,
          waitMs: 0,
          durationMs: 120,
          outcome: { _tag: "Failed", error: "RateLimited", status: 429, detail: "slow down", retryAfterMs: 2000 }
        },
        {
          target: { provider: "openai", model: "gpt-4o" },
          startMs: 2120,
          waitMs: 2000,
          durationMs: 80,
          outcome: { _tag: "Interrupted" }
        },
        {
          target: { provider: "anthropic", model: "claude" },
          startMs: 2700,
          waitMs: 500,
          durationMs: 900,
          outcome: { _tag: "Answered", model: "claude-dated" }
        }
      ],
      startedAt: Date.UTC(2026, 10, 15),
      durationMs: 3600
    })
  })

  it("comes back from JSON as it was", () => {
    const back = fromJson(toJson(receipt))
    assert.instanceOf(back, Receipt.Receipt)
    assert.isTrue(back.attempts.every((attempt) => attempt instanceof Receipt.Attempt))
    assert.deepStrictEqual(back, receipt)
  })

  it("any receipt comes back from JSON as it was", () => {
    fc.assert(
      fc.property(Arbitrary.make(Receipt.Receipt), (receipt) => {
        const text = toJson(receipt)
        // JSON knows no infinite number, and no call has one.
        fc.pre(!/(Ms|startedAt)":null/.test(text))
        assert.strictEqual(toJson(fromJson(text)), text)
      }),
      { numRuns: 200 }
    )
  })

  const wrong: ReadonlyArray<readonly [string, object]> = [
    ["a negative duration", { durationMs: -1 }],
    ["no duration", { durationMs: undefined }],
    ["an attempt of an unknown end", { attempts: [{ outcome: { _tag: "Lost" } }] }],
    ["no attempts", { attempts: undefined }],
    ["a target without a model", { requested: { provider: "openai" } }]
  ]
  for (const [what, changes] of wrong) {
    it(`refuses ${what}`, () => {
      assert.throws(() => fromJson(JSON.stringify({ ...JSON.parse(toJson(receipt)), ...changes })))
    })
  }
})

describe("receipts of other versions", () => {
  const old = {
    requested: { provider: "openai", model: "gpt-4o" },
    served: { provider: "openai", model: "gpt-4o-2024-08-06" },
    fallback: false,
    attempts: [{
      target: { provider: "openai", model: "gpt-4o" },
      startMs: 0,
      waitMs: 0,
      durationMs: 120,
      outcome: { _tag: "Answered", model: "gpt-4o-2024-08-06" }
    }],
    startedAt: 1_795_486_329_000,
    durationMs: 120
  }

  it("O1: one from before fields were added is read, and written as it was", () => {
    const read = fromJson(JSON.stringify(old))
    assert.deepStrictEqual([read.outcome, read.error, read.switches, read.refusals], [
      undefined,
      undefined,
      undefined,
      undefined
    ])
    assert.deepStrictEqual(read.usage, new Usage.Usage({}))
    assert.strictEqual(read.cost, undefined)
    assert.deepStrictEqual(JSON.parse(toJson(read)), old)
  })

  it("O1: one with fields that this version does not know is read without them", () => {
    const [attempt] = old.attempts
    const newer = {
      ...old,
      outcome: "Answered",
      region: "eu",
      attempts: [{ ...attempt, region: "eu", outcome: { ...attempt?.outcome, region: "eu" } }]
    }
    assert.deepStrictEqual(JSON.parse(toJson(fromJson(JSON.stringify(newer)))), { ...old, outcome: "Answered" })
  })
})

describe("waited", () => {
  it("is the sum of the waits", () => assert.deepStrictEqual(receipt.waited, Duration.millis(2500)))

  it("is zero without attempts", () => assert.deepStrictEqual(Receipt.empty.waited, Duration.zero))

  it("is the sum for any waits", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1e9)), (waits) => {
        const { waited } = new Receipt.Receipt({ ...Receipt.empty, attempts: waits.map(attempt) })
        assert.strictEqual(Duration.toMillis(waited), waits.reduce((sum, wait) => sum + wait, 0))
      })
    )
  })
})

describe("empty", () => {
  it("says that nothing was asked and nothing was tried", () => {
    assert.deepStrictEqual(JSON.parse(toJson(Receipt.empty)), {
      requested: { provider: "", model: "" },
      fallback: false,
      attempts: [],
      startedAt: 0,
      durationMs: 0
    })
  })

  it("stands in a field that nobody filled in", () => {
    const Holder = Schema.Struct({ receipt: Receipt.Field })
    assert.strictEqual(Holder.make({}).receipt, Receipt.empty)
    assert.strictEqual(Holder.make({ receipt }).receipt, receipt)
    assert.throws(() => Schema.decodeUnknownSync(Holder)({}), /receipt/)
  })
})
