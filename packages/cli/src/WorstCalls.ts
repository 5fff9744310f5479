/**
 * The worst calls of a report, each with its waterfall.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as Receipt from "perdure/Receipt"
import * as Chart from "./Chart.ts"
import * as Durations from "./Durations.ts"
import * as Figures from "./Figures.ts"
import { type Html, html } from "./Html.ts"
import * as Statistics from "./Statistics.ts"
import * as Waterfall from "./Waterfall.ts"
import * as Words from "./Words.ts"

/** So many are unfolded. */
const open = 3
/** The longest that a provider's own words are shown. */
const longestDetail = 240

const kindOf = ({ _tag }: Receipt.Outcome): Chart.Kind =>
  _tag === "Answered" ? "direct" : _tag === "Failed" ? "failed" : "interrupted"

/** An attempt's tokens and cost, as far as they are known. */
const spent = ({ cost, firstOutput, usage }: Receipt.Attempt): ReadonlyArray<string> => [
  ...(firstOutput === undefined ? [] : [`first output after ${Durations.short(firstOutput)}`]),
  ...(usage?.inputTokens === undefined ? [] : [`${Figures.count(usage.inputTokens)} tokens in`]),
  ...(usage?.outputTokens === undefined ? [] : [`${Figures.count(usage.outputTokens)} out`]),
  ...(cost === undefined ? [] : [Figures.money(new Map([[cost.currency, cost.nanos]]))])
]

const detailOf = ({ outcome }: Receipt.Attempt): ReadonlyArray<string> =>
  outcome._tag === "Failed" && outcome.detail.trim() !== "" ? [Figures.cut(outcome.detail, longestDetail)] : []

const line = (what: string, note: string, took: string, pieces: ReadonlyArray<Chart.Piece>, words = ""): Html =>
  html`<li><span class="what"><bdi>${what}</bdi></span>${
    Chart.bar(pieces.map(Chart.seen))
  }<span class="note-of">${note}</span><span class="took">${took}</span>${
    words === "" ? undefined : html`<span class="words"><bdi>${words}</bdi></span>`
  }</li>`

const rowLine = (row: Waterfall.Row | Waterfall.Skipped, total: number): Html => {
  const at = (millis: number) => Math.max(0, Math.min(1, millis / total))
  switch (row._tag) {
    case "Attempt": {
      const { attempt, millis, number, start } = row
      const { firstOutput, hedge, key, outcome, target } = attempt
      const what = `${number}. ${Figures.cut(Words.target(target))}${key === undefined ? "" : ` · ${Figures.cut(key)}`}`
      const output = firstOutput === undefined ? start : start + Math.min(millis, Duration.toMillis(firstOutput))
      const note = Figures.cut(Words.outcome(outcome).text) + (hedge === true ? ", hedge" : "")
      return line(what, note, Durations.short(millis), [
        ...(output > start ? [{ kind: "wait" as const, from: at(start), to: at(output) }] : []),
        { kind: kindOf(outcome), from: at(output), to: at(start + millis) }
      ], [...spent(attempt), ...detailOf(attempt)].join(" · "))
    }
    case "Wait":
      return line("wait", row.why, Durations.short(row.millis), [
        { kind: "wait", from: at(row.start), to: at(row.start + row.millis) }
      ])
    case "Refused":
      return line(
        Figures.cut(Words.target(row.refused.target)),
        `not asked: ${Figures.cut(Words.failure(row.refused.because))}`,
        "",
        [{ kind: "fallback", from: at(row.start), to: at(row.start) }]
      )
    case "Switched":
      return line("fallback", `to ${Figures.cut(Words.target(row.switched.to))}`, "", [
        { kind: "moment", from: at(row.start), to: at(row.start) }
      ])
    case "Skipped":
      return html`<li><span class="what dim">… ${Waterfall.leftOut(row)} …</span></li>`
  }
}

const reason = ({ attempts, error, refusals }: Receipt.Receipt): string => {
  // The failure of several targets says less than that of the last one.
  if (error !== undefined && error !== "AllTargetsFailed") return error
  const last = attempts.at(-1)?.outcome
  return last?._tag === "Failed" ? last.error : refusals?.at(-1)?.because ?? "interrupted"
}

const call = (receipt: Receipt.Receipt, index: number): Html => {
  const { attempts, duration, requested, served, startedAt, waited } = receipt
  const ending = Statistics.endingOf(receipt)
  const about = [
    ...(ending === "failed" ? [Figures.cut(Words.failure(reason(receipt)))] : []),
    ...(served === undefined ? [] : [`served by ${Figures.cut(Words.target(served))}`]),
    Words.count(attempts.length, "attempt"),
    `waited ${Durations.short(waited)}`,
    `${Figures.time(startedAt)} UTC`
  ]
  const total = Waterfall.total(receipt)
  return html`<li><details${index < open ? html` open` : undefined}><summary><strong><bdi>${
    Figures.cut(Words.target(requested))
  }</bdi></strong><span class="is-${ending}">${ending === "failed" ? "failed" : "answered"} after ${
    Durations.short(duration)
  }</span><span class="dim">${Figures.cut(about.join(" · "), 240)}</span></summary><ol class="waterfall">${
    Waterfall.rows(receipt).map((row) => rowLine(row, total))
  }</ol></details></li>`
}

/**
 * The section, the worst first.
 *
 * @since 0.1.0
 * @category rendering
 */
export const section = (worst: ReadonlyArray<Receipt.Receipt>): Html =>
  html`<section><h2>The worst calls</h2><p class="dim">${
    worst.length === 0
      ? "None: every call was interrupted by its caller."
      : "Failures and the slowest answers, drawn to scale."
  }</p><ol class="calls">${worst.map(call)}</ol></section>`
