import { assert, describe, it } from "@effect/vitest"
import { Duration, FastCheck as fc } from "effect"
import { ModelPrices, Receipt, Usage } from "perdure"
import * as Text from "../src/Text.ts"
import * as Timeline from "../src/Timeline.ts"
import * as Waterfall from "../src/Waterfall.ts"
import { answered, failed, receipt, story } from "./receipts.ts"

const openai = { provider: "openai", model: "gpt-4o" }
const backup = { provider: "backup", model: "gpt-4o-mini" }

const refused = (at: number, because = "CircuitOpen") => ({ at: Duration.millis(at), target: openai, because })
const switched = (at: number) => ({ at: Duration.millis(at), from: openai, to: backup, because: "Overloaded" })
const grown = (base: Receipt.Receipt, more: Partial<ConstructorParameters<typeof Receipt.Receipt>[0]>) =>
  new Receipt.Receipt({ ...base, ...more })

const plain = (lines: ReadonlyArray<Text.Line>) => lines.map((line) => Text.render(line, false))
const tags = (one: Receipt.Receipt) => Waterfall.rows(one).map(({ _tag }) => _tag)

const afterOne = (start: number, took = 100) =>
  receipt([{ took: start, outcome: failed("Overloaded", 503) }, { ...backup, took, outcome: answered }])

describe("Waterfall.rows", () => {
  it("puts refusals and switches where they happened", () => {
    assert.deepStrictEqual(tags(grown(story, { refusals: [refused(250)], switches: [switched(1200)] })), [
      "Attempt",
      "Refused",
      "Wait",
      "Attempt",
      "Wait",
      "Attempt",
      "Switched",
      "Attempt"
    ])
  })
  it("puts a switch before the attempt that it led to, also when it was told late, and after one that took no time", () => {
    const order = ["Attempt", "Switched", "Attempt"]
    assert.deepStrictEqual(tags(grown(afterOne(200), { switches: [switched(200)] })), order)
    const late = grown(afterOne(200), { switches: [switched(250)] })
    assert.deepStrictEqual(tags(late), order)
    assert.strictEqual(Waterfall.rows(late).flatMap((row) => row._tag === "Switched" ? [row.start] : [])[0], 200)
    assert.deepStrictEqual(tags(grown(afterOne(0), { switches: [switched(0)] })), order)
  })
  it("shows refusals of a call that made no attempt", () => {
    const rows = Waterfall.rows(grown(receipt([]), { refusals: [refused(0), refused(5, "NoHealthyKey")] }))
    assert.deepStrictEqual(rows.map((row) => row._tag === "Refused" ? row.refused.because : ""), [
      "CircuitOpen",
      "NoHealthyKey"
    ])
  })
  it("gives a refusal as the reason of the wait after it", () => {
    const rows = Waterfall.rows(grown(story, { refusals: [refused(200)] }))
    assert.deepStrictEqual(rows.flatMap((row) => row._tag === "Wait" ? [row.why] : []), ["circuit open", "asked 400ms"])
  })
  it("loses no attempt, refusal or switch that it does not count as left out", () => {
    const moments = fc.array(fc.integer({ min: 0, max: 3000 }), { maxLength: 20 })
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 30 }), moments, moments, (n, refusals, switches) => {
        const attempts = Array.from({ length: n }, (_, i) => ({
          ...(i % 3 === 0 ? openai : backup),
          wait: i % 2 === 0 ? 0 : 50,
          took: 50,
          outcome: failed("Overloaded")
        }))
        const rows = Waterfall.rows(grown(receipt(attempts), {
          refusals: refusals.map((at) => refused(at)),
          switches: switches.map(switched)
        }))
        const count = (tag: string) => rows.filter(({ _tag }) => _tag === tag).length
        const skipped = rows.find((row) => row._tag === "Skipped")
        assert.strictEqual(count("Attempt") + (skipped?.attempts ?? 0), n)
        assert.strictEqual(count("Refused") + (skipped?.refusals ?? 0), refusals.length)
        if (skipped === undefined) assert.strictEqual(count("Switched"), switches.length)
      }),
      { numRuns: 2000 }
    )
  })
})

describe("Timeline.lines, what a receipt may tell besides", () => {
  const [first, second] = afterOne(400, 600).attempts
  const rich = grown(afterOne(400, 600), {
    attempts: [
      new Receipt.Attempt({ ...first!, key: "team-a" }),
      new Receipt.Attempt({
        ...second!,
        hedge: true,
        firstOutput: Duration.millis(300),
        usage: new Usage.Usage({ inputTokens: 1200, outputTokens: 34, reasoningTokens: 8 }),
        cost: new ModelPrices.Cost({ nanos: 3_340_000, currency: "USD" })
      })
    ],
    refusals: [refused(0)],
    switches: [switched(400)]
  })
  it("shows refusals, fallbacks, keys, hedges and first output", () => {
    const [rejected, attempt, fallback, hedge] = plain(Timeline.lines(rich, 80))
    assert.match(rejected ?? "", /^ {4}openai\/gpt-4o +× +circuit open$/)
    assert.match(attempt ?? "", /^ {2}1 openai\/gpt-4o · team-a {2}▓+ +503 overloaded +400ms$/)
    assert.match(fallback ?? "", /^ {4}fallback +↓ +overloaded$/)
    assert.match(hedge ?? "", /^ {2}2 backup\/gpt-4o-mini +▄+█+ +answered, hedge +600ms$/)
    const bars = hedge?.match(/(▄+)(█+)/)
    assert.approximately(bars?.[1]?.length ?? 0, bars?.[2]?.length ?? 0, 1)
  })
  it("tells tokens, cost, first output and refusals in words, where there are any", () => {
    const words = plain(Timeline.summary(rich, 80)).slice(3)
    assert.deepStrictEqual(words, [
      "  refused    1 time",
      "  first      output after 700ms",
      "  tokens     1200 in, 34 out, 8 reasoning",
      "  cost       0.00334 USD"
    ])
    assert.lengthOf(Timeline.summary(story, 80), 3)
  })
  for (const width of [60, 80]) {
    it(`fits into ${width} columns`, () => {
      for (const line of [...Timeline.lines(rich, width), ...Timeline.series([rich, rich], [], width)]) {
        assert.isAtMost(Text.lineWidth(line), width)
      }
    })
  }
})

describe("Timeline.series", () => {
  it("draws calls one after another on one scale, and below what lasted", () => {
    const call = (startedAt: number, outcome: Receipt.Outcome) =>
      grown(receipt([{ took: 200, outcome }]), { startedAt })
    const band = { label: "circuit", held: [{ from: 1200, to: 1800 }], because: "open" }
    const lines = plain(Timeline.series([call(1000, failed("Overloaded", 503)), call(1800, answered)], [band], 60))
    assert.deepStrictEqual(lines, [
      "  1 openai/gpt-4o  ▓▓▓▓                503 overloaded  200ms",
      "  2 openai/gpt-4o                ████  answered        200ms",
      "    circuit            ▒▒▒▒▒▒▒▒▒▒      open            600ms",
      "                   0 ────────── 1.00s"
    ])
  })
})
