import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, FastCheck as fc } from "effect"
import { createHash } from "node:crypto"
import { writeFileSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Receipt } from "perdure"
import * as Figures from "../src/Figures.ts"
import { Html, html } from "../src/Html.ts"
import * as ReportPage from "../src/ReportPage.ts"
import * as Statistics from "../src/Statistics.ts"
import * as Chromium from "./chromium.ts"
import { looksRight } from "./looks.ts"
import { answered, failed, receipt, story } from "./receipts.ts"

const render = (receipts: ReadonlyArray<Receipt.Receipt>, bad: ReadonlyArray<number> = [], name = "receipts.jsonl") =>
  ReportPage.render(Statistics.make(receipts as [Receipt.Receipt]), { name, bad })

const evil = `"'></title></style><script>document.title="owned"</script><img src="http://192.0.2.1/x" onerror=alert(1)>`

/** A receipt whose every word is an attack. */
const hostile = (): Receipt.Receipt => {
  const target = { provider: evil, model: evil }
  const [attempt] = receipt([{ took: 5, outcome: failed(evil, 500) }]).attempts
  return new Receipt.Receipt({
    requested: target,
    fallback: true,
    attempts: [
      new Receipt.Attempt({ ...attempt!, target, key: evil, outcome: { _tag: "Failed", error: evil, detail: evil } })
    ],
    startedAt: 1.75e12,
    duration: Duration.millis(9),
    switches: [{ at: Duration.millis(5), from: target, to: target, because: evil }],
    refusals: [{ at: Duration.millis(6), target, because: evil }]
  })
}

/** A week with an outage in it. */
const week = Array.from({ length: 5000 }, (_, i) =>
  new Receipt.Receipt({
    ...(i > 3000 && i < 3400
      ? receipt([
        { took: 400 + (i % 90), outcome: failed("Overloaded", 503) },
        { wait: 900, took: 300, outcome: failed("Overloaded", 503) },
        ...(i % 9 === 0 ? [] : [{ provider: "backup", took: 1500, outcome: answered }])
      ])
      : receipt([{ took: 900 + (i * 7919) % 2500, outcome: answered }])),
    startedAt: 1.75e12 + i * 120_000
  }))

describe("Html.html", () => {
  it("escapes whatever comes from outside, so that no text is markup", () => {
    const character = fc.oneof(
      fc.constantFrom("<", ">", "\"", "'", "&", "`", "\n", "&lt;"),
      fc.string({ unit: "binary" })
    )
    fc.assert(
      fc.property(fc.array(character).map((all) => all.join("")), (text) => {
        const { markup } = html`<p title="${text}">${text}</p>`
        const found = markup.match(/^<p title="([^"]*)">([^<]*)<\/p>$/s)
        assert.isNotNull(found, markup)
        assert.strictEqual(found?.[1], found?.[2])
        assert.notMatch(found?.[2] ?? "", /[<>"'`\n]|&(?!amp;|lt;|gt;|quot;|#39;|#96;)/)
      }),
      { numRuns: 3000 }
    )
  })
  it("keeps markup of its own, and puts nothing where there is nothing", () => {
    assert.strictEqual(html`<i>${[html`<b>${1}</b>`, new Html("!")]}${undefined}</i>`.markup, "<i><b>1</b>!</i>")
  })
})

describe("Figures", () => {
  it("says all only of all and nothing only of nothing", () => {
    assert.strictEqual(Figures.share(999_999, 1_000_000), "99.9 %")
    assert.strictEqual(Figures.share(1, 1_000_000), "0.1 %")
    assert.deepStrictEqual([[3, 3], [0, 3], [0, 0], [1, 3]].map(([a = 0, b = 0]) => Figures.share(a, b)), [
      "100 %",
      "0 %",
      "–",
      "33.3 %"
    ])
  })
  it("groups digits and shows small amounts", () => {
    assert.deepStrictEqual([0, 999, 1000, 1_234_567].map(Figures.count), ["0", "999", "1,000", "1,234,567"])
    assert.strictEqual(Figures.money(new Map([["USD", 1_234_000_000], ["EUR", 420_000]])), "1.23 USD + 0.00042 EUR")
    assert.strictEqual(Figures.money(new Map([["USD", 1]])), "0.000000 USD")
  })
})

describe("ReportPage.render", () => {
  it("tells of endings, times, models, failures and the worst calls with their waterfalls", () => {
    const page = render([story, ...week])
    const told = ["Who answered?", "5,001 receipts", "answered after a fallback", "95 % within", "503 overloaded"]
    for (const text of told) assert.include(page, text)
    assert.match(page, /<th scope="row"><bdi>backup\/gpt-4o-mini<\/bdi><\/th><td[^>]*>1<\/td><td[^>]*>100 %<\/td>/)
    assert.lengthOf(page.match(/<ol class="waterfall">/g) ?? [], 20)
  })
  it("says why a call went on elsewhere, and whom it asked then", () => {
    const to = { provider: "backup", model: "gpt-4o-mini" }
    const switched = { at: Duration.millis(1200), from: story.requested, to, because: "RateLimited" }
    const page = render([new Receipt.Receipt({ ...story, switches: [switched] })])
    assert.match(page, /fallback<\/bdi>.*?<span class="note-of">rate limited<\/span>.*?to backup\/gpt-4o-mini/)
  })
  it("names the failure of a call that its receipt names, and not that of its last attempt", () => {
    const [attempt] = receipt([{ took: 5, outcome: answered }]).attempts
    const late = new Receipt.Receipt({ ...receipt([]), attempts: [attempt!], outcome: "Failed", error: "TimedOut" })
    assert.match(render([late]), /failed after .*?timed out/)
  })
  it("describes every chart in words and repeats it as a table", () => {
    const page = render(week)
    const charts = page.match(/<svg class="columns"/g)?.length ?? 0
    assert.strictEqual(charts, 3)
    assert.lengthOf(page.match(/role="img" aria-labelledby="(\w+)-title \1-desc"/g) ?? [], charts)
    assert.lengthOf(page.match(/<desc id="\w+-desc">[^<]{20,}<\/desc>/g) ?? [], charts)
    assert.lengthOf(page.match(/The same as a table/g) ?? [], 2)
  })
  it("stays small for thousands of receipts", () => {
    assert.isBelow(render(week).length, 200_000)
  })
  it("stays small for thousands of models, failures and attempts", () => {
    const many = receipt(Array.from({ length: 3000 }, (_, i) => ({
      provider: `p${i}${"x".repeat(500)}`,
      took: 1,
      outcome: failed(`E${i}`)
    })))
    assert.isBelow(render(Array.from({ length: 30 }, () => many)).length, 200_000)
  })
  it("names the lines that were left out, and of many the first ten", () => {
    assert.include(render([story], [4]), "1 line is no receipt and was left out: 4")
    const bad = Array.from({ length: 1012 }, (_, i) => i + 1)
    assert.include(
      render([story], bad),
      "1,012 lines are no receipts and were left out: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 1,002 more"
    )
    assert.notInclude(render([story]), "left out")
  })
  it("has no script and no address, and allows neither", () => {
    const page = render([story, hostile()], [], evil)
    assert.notMatch(page, /<(script|img|link|iframe|object|embed|base)\b/i)
    assert.notMatch(page.replaceAll(/&lt;.*?&gt;/g, ""), /\s(src|href|style|on\w+)\s*=\s*"/i)
    const [, style = ""] = page.match(/<style>([^]*?)<\/style>/) ?? []
    const hash = createHash("sha256").update(style).digest("base64")
    assert.include(page, `default-src &#39;none&#39;; style-src &#39;sha256-${hash}&#39;`)
    assert.notMatch(style, /url\(|@import/)
  })
  it("draws calls that took no time, had no attempts, or were all interrupted", () => {
    const nothing = receipt([])
    assert.include(render([nothing]), "None: every call was interrupted by its caller.")
    const refused = new Receipt.Receipt({
      ...nothing,
      refusals: [{ at: Duration.zero, target: nothing.requested, because: "CircuitOpen" }]
    })
    const page = render([nothing, refused, receipt([{ took: 0, outcome: answered }])])
    assert.include(page, "not asked: circuit open")
    assert.notMatch(page, /NaN|Infinity|undefined/)
  })
})

describe("the page in a browser", () => {
  it.live("fits from 360 pixels on, is light or dark as asked, runs nothing and loads nothing", (context) => {
    if (Chromium.executable === undefined) return context.skip(Chromium.missing)
    return Effect.scoped(Effect.gen(function*() {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "perdure-report-"))),
        (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
      )
      const file = join(folder, "report.html")
      writeFileSync(file, render([...week, hostile()], [7], evil))
      const page = yield* Chromium.page(Chromium.executable ?? "")
      yield* Effect.promise(async () => {
        await looksRight(page, file, "week")
        const count = (selector: string) =>
          page.evaluate(`document.querySelectorAll(${JSON.stringify(selector)}).length`)
        assert.isAbove(Number(await count("svg.columns rect:not(.hit)")), 50)
        assert.match(String(await page.evaluate("document.title")), /^Who answered\?/)
        assert.strictEqual(await count("script, img, [onerror], [style]"), 0)
      })
    }))
  }, 60_000)
})
