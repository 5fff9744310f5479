/**
 * Statistics as one HTML page: no script, nothing fetched, readable without its charts.
 *
 * @since 0.1.0
 */
import { createHash } from "node:crypto"
import * as Chart from "./Chart.ts"
import * as Durations from "./Durations.ts"
import * as Figures from "./Figures.ts"
import { type Html, html } from "./Html.ts"
import { asTable, axis, counted, legend, mostRows, section, short, table } from "./PageParts.ts"
import { css } from "./PageStyle.ts"
import type * as Statistics from "./Statistics.ts"
import * as Words from "./Words.ts"
import * as WorstCalls from "./WorstCalls.ts"

/**
 * What the page is about, besides the statistics.
 *
 * @since 0.1.0
 * @category models
 */
export interface Source {
  /** What the receipts were read from. */
  readonly name: string
  /** The numbers of the lines that held no receipt. */
  readonly bad: ReadonlyArray<number>
  /** Where the prices are from by which receipts without a cost were given one; absent where none were. */
  readonly prices?: string | undefined
}

const endings = [
  ["direct", "answered by the model that was asked"],
  ["fallback", "answered after a fallback"],
  ["failed", "failed"],
  ["interrupted", "interrupted by the caller"]
] as const satisfies ReadonlyArray<readonly [Statistics.Ending, string]>

const many = (n: number, one: string): string => `${Figures.count(n)} ${n === 1 ? one : `${one}s`}`

const tiles = (statistics: Statistics.Statistics): Html => {
  const { calls, cost, endings, latency, unpriced } = statistics
  const answered = endings.direct + endings.fallback
  const ended = calls - endings.interrupted
  const [amount = "", ...currency] = Figures.money(cost).split(" ")
  const tile = (name: string, value: string | Html, about: string) =>
    html`<div><dt>${name}</dt><dd>${value}<small>${about}</small></dd></div>`
  return html`<dl class="tiles">${[
    tile("Calls", Figures.count(calls), `${Figures.count(endings.interrupted)} interrupted`),
    tile("Answered", Figures.share(answered, ended), `${Figures.count(endings.failed)} failed`),
    tile("By a fallback", Figures.share(endings.fallback, ended), many(endings.fallback, "call")),
    tile("Median answer", short(latency?.p50), `95 % within ${short(latency?.p95)}`),
    tile(
      "Attempts per call",
      Figures.ratio(statistics.attempts, calls),
      `${Figures.count(statistics.attempts)} in all`
    ),
    tile(
      "Waited",
      short(statistics.waited),
      `${Figures.share(statistics.waited, statistics.time)} of the time in calls`
    ),
    tile(
      "Cost",
      cost.size === 0 ? "–" : html`${amount} <span class="unit">${currency.join(" ")}</span>`,
      unpriced > 0
        ? `${many(unpriced, "attempt")} without a price`
        : cost.size === 0
        ? "no tokens were counted"
        : "of all tokens counted"
    )
  ]}</dl>`
}

const spoken = ({ direct, failed, fallback, interrupted }: Statistics.Endings): string =>
  `${direct + fallback} answered, ${fallback} of them after a fallback, ${failed} failed, ${interrupted} interrupted`

const outcomes = ({ buckets, calls, endings: all }: Statistics.Statistics): Html => {
  const busiest = Math.max(1, ...buckets.map(({ calls }) => calls))
  const most = Math.ceil(Chart.roundUp(busiest))
  const stack = (bucket: Statistics.Bucket, of: number): ReadonlyArray<Chart.Piece> => {
    let from = 0
    return endings.flatMap(([kind]) => {
      const count = bucket.endings[kind]
      if (count === 0) return []
      const piece = { kind, from: from / of, to: (from + count) / of }
      from += count
      return [piece]
    })
  }
  const title = (bucket: Statistics.Bucket) => `${Figures.span(bucket)}: ${spoken(bucket.endings)}`
  return section(
    "How calls ended",
    "Above, what share of the calls that began in a while ended how; below, how many there were.",
    html`<figure class="plot">${
      Chart.columns({
        id: "shares",
        title: "Shares of answered, failed and interrupted calls over time",
        description: `Of ${calls} calls ${spoken(all)}.`,
        height: 130,
        columns: buckets.map((bucket) => ({ title: title(bucket), pieces: stack(bucket, bucket.calls) })),
        lines: [{ at: 0, label: "" }, { at: 0.5, label: "50 %" }, { at: 1, label: "100 %" }]
      })
    }${
      Chart.columns({
        id: "counts",
        title: "Calls over time",
        description: `At most ${busiest} in ${Durations.short((buckets[0]?.to ?? 0) - (buckets[0]?.from ?? 0))}.`,
        height: 60,
        columns: buckets.map((bucket) => ({ title: title(bucket), pieces: stack(bucket, most) })),
        lines: [{ at: 0, label: "" }, { at: 1, label: Figures.count(most) }]
      })
    }${axis(buckets)}${legend(endings)}</figure>`,
    asTable(table(
      "How calls ended, over time",
      ["from (UTC)", "calls", "answered", "fallback", "failed", "interrupted"],
      buckets.filter(({ calls }) => calls > 0).map(({ calls, endings, from }) => [
        Figures.time(from),
        Figures.count(calls),
        Figures.share(endings.direct + endings.fallback, calls - endings.interrupted),
        Figures.share(endings.fallback, calls - endings.interrupted),
        Figures.count(endings.failed),
        Figures.count(endings.interrupted)
      ])
    ))
  )
}

const latencies = ({ buckets, latency }: Statistics.Statistics): Html => {
  const most = Chart.roundUp(Math.max(1, ...buckets.map(({ latency }) => latency?.p95 ?? 0)))
  return section(
    "How long answers took",
    "From the start of the call to its answer, with all attempts and waits.",
    html`<figure class="plot">${
      Chart.columns({
        id: "latency",
        title: "Median and 95th percentile of the time to an answer, over time",
        description: latency === undefined
          ? "No call was answered."
          : `Over all: median ${short(latency.p50)}, 95 % within ${short(latency.p95)}, the longest ${
            short(latency.max)
          }.`,
        height: 150,
        columns: buckets.map(({ latency, ...bucket }) => ({
          title: latency === undefined
            ? `${Figures.span(bucket)}: no answers`
            : `${Figures.span(bucket)}: median ${short(latency.p50)}, 95 % within ${short(latency.p95)}`,
          pieces: latency === undefined ? [] : [
            { kind: "light", from: 0, to: latency.p95 / most },
            { kind: "time", from: 0, to: latency.p50 / most }
          ]
        })),
        lines: [0, 0.5, 1].map((at) => ({ at, label: at === 0 ? "" : short(at * most) }))
      })
    }${axis(buckets)}${legend([["time", "half of the answers"], ["light", "95 % of the answers"]])}</figure>`,
    asTable(table(
      "Time to an answer, over time",
      ["from (UTC)", "answers", "median", "95 %", "longest"],
      buckets.flatMap(({ from, latency }) =>
        latency === undefined ? [] : [[
          Figures.time(from),
          Figures.count(latency.count),
          short(latency.p50),
          short(latency.p95),
          short(latency.max)
        ]]
      )
    ))
  )
}

const spreads = ({ firstOutput, latency, waits }: Statistics.Statistics): Html =>
  section(
    "Percentiles",
    "So much or less, in this share of the cases.",
    table(
      "Percentiles",
      ["", "cases", "50 %", "90 %", "95 %", "99 %", "most"],
      ([["answer", latency], ["first output of streams", firstOutput], ["wait before an attempt", waits]] as const).map(
        (
          [name, spread]
        ) => [
          name,
          Figures.count(spread?.count ?? 0),
          ...[spread?.p50, spread?.p90, spread?.p95, spread?.p99, spread?.max].map(short)
        ]
      )
    )
  )

const tries = ({ attemptCounts, time, waited }: Statistics.Statistics): Html => {
  const names = ["none: refused here", "1 attempt", "2 attempts", "3 attempts", "4 attempts", "5 and more"]
  const counts = attemptCounts.map((count, index) => ({ name: names[index] ?? "", count })).filter(({ count }, index) =>
    index > 0 || count > 0
  )
  return section(
    "Attempts and waits",
    `${Figures.share(waited, time)} of the time in calls was waiting for another attempt.`,
    html`<figure>${
      Chart.bar([
        { kind: "time", from: 0, to: time === 0 ? 0 : Math.max(0, 1 - waited / time) },
        { kind: "wait", from: time === 0 ? 0 : Math.max(0, 1 - waited / time), to: 1 }
      ])
    }${
      legend([["time", `asking, ${short(Math.max(0, time - waited))}`], ["wait", `waiting, ${short(waited)}`]])
    }</figure>`,
    counted("How many attempts calls had", "calls", counts, "time")
  )
}

const failures = ({ failures, refusals }: Statistics.Statistics): Html => {
  const named = (counts: ReadonlyArray<Statistics.Count>) =>
    counts.map(({ count, name }) => ({ name: Words.failure(name), count }))
  return section(
    "What went wrong",
    "Attempts that failed, and what policies on this side refused before it was sent.",
    counted("Failed attempts", "attempts", named(failures), "failed"),
    ...(refusals.length === 0 ? [] : [counted("Refusals", "refusals", named(refusals), "fallback")])
  )
}

const models = ({ targets }: Statistics.Statistics, prices: string | undefined): Html =>
  section(
    "Models",
    "Attempts at each, however their calls ended. Times are of attempts that answered.",
    table(
      "Models",
      ["model", "attempts", "answered", "median", "95 %", "tokens in", "tokens out", "cost"],
      targets.slice(0, mostRows).map((one) => [
        html`<bdi>${Figures.cut(one.target)}</bdi>`,
        Figures.count(one.attempts),
        Figures.share(one.answered, one.attempts - one.interrupted),
        short(one.latency?.p50),
        short(one.latency?.p95),
        Figures.count(one.inputTokens),
        Figures.count(one.outputTokens),
        one.cost.size === 0 ? "–" : Figures.money(one.cost) + (one.unpriced === 0 ? "" : " +")
      ])
    ),
    ...(targets.length > mostRows
      ? [html`<p class="dim">and ${Figures.count(targets.length - mostRows)} more, less often asked</p>`]
      : []),
    ...(targets.some(({ cost, unpriced }) => cost.size > 0 && unpriced > 0)
      ? [html`<p class="dim">+ and more: some attempts used tokens whose price is not known.</p>`]
      : []),
    ...(prices === undefined
      ? []
      : [
        html`<p class="dim">What receipts had no cost for is priced by <bdi>${
          Figures.cut(prices)
        }</bdi>; the costs that they had are as they were.</p>`
      ])
  )

/** So many are named; more are only counted. */
const mostNamed = 10

/**
 * Says which lines of a file held no receipt: `2 lines are no receipts and were left out: 4, 17`. Absent when all did.
 *
 * @since 0.1.0
 * @category wording
 */
export const leftOut = (bad: ReadonlyArray<number>): string | undefined => {
  if (bad.length === 0) return undefined
  const more = bad.length - mostNamed
  const numbers = bad.slice(0, mostNamed).join(", ") + (more > 0 ? ` and ${Figures.count(more)} more` : "")
  return bad.length === 1
    ? `1 line is no receipt and was left out: ${numbers}`
    : `${Figures.count(bad.length)} lines are no receipts and were left out: ${numbers}`
}

/**
 * The page. Its policy lets nothing be loaded and nothing run; the one style that it has is named by its hash.
 *
 * @since 0.1.0
 * @category rendering
 */
export const render = (statistics: Statistics.Statistics, { bad, name, prices }: Source): string => {
  const hash = createHash("sha256").update(css).digest("base64")
  const policy = `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`
  const skipped = leftOut(bad)
  const receipts = many(statistics.calls, "receipt")
  const body = html`<main>
<header><h1>Who answered?</h1><p class="dim">${receipts} from <bdi>${Figures.cut(name)}</bdi>, ${
    Figures.time(statistics.from)
  } to ${Figures.time(statistics.to)} UTC</p>${
    skipped === undefined ? undefined : html`<p class="note">${skipped}</p>`
  }</header>
${tiles(statistics)}
${outcomes(statistics)}
${latencies(statistics)}
<div class="pair">${tries(statistics)}${failures(statistics)}</div>
${spreads(statistics)}
${models(statistics, prices)}
${WorstCalls.section(statistics.worst)}
<footer class="dim"><p>Shares leave out calls that the caller interrupted. Percentiles are by the nearest rank. Made from receipts by Perdure; they hold no prompt, no answer and no key.</p></footer>
</main>`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${html`${policy}`.markup}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>Who answered? ${receipts}</title>
<style>${css}</style>
</head>
<body>
${body.markup}
</body>
</html>
`
}
