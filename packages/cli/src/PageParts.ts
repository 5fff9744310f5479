/**
 * The parts that the report is put together from.
 *
 * @since 0.1.0
 */
import * as Chart from "./Chart.ts"
import * as Durations from "./Durations.ts"
import * as Figures from "./Figures.ts"
import { Html, html } from "./Html.ts"
import type * as Statistics from "./Statistics.ts"

/**
 * The most rows of a table whose length is not ours to decide.
 *
 * @since 0.1.0
 * @category constants
 */
export const mostRows = 20

/** The most columns that a phone has room for. */
const mostNarrow = 3

/**
 * A time in milliseconds, where there is one.
 *
 * @since 0.1.0
 * @category printing
 */
export const short = (millis: number | undefined): string => millis === undefined ? "–" : Durations.short(millis)

/**
 * A section under a title, with a sentence about it.
 *
 * @since 0.1.0
 * @category parts
 */
export const section = (title: string, about: string, ...content: ReadonlyArray<Html>): Html =>
  html`<section><h2>${title}</h2><p class="dim">${about}</p>${content}</section>`

/**
 * A cell of a table: text, or a bar.
 *
 * @since 0.1.0
 * @category models
 */
export type Cell = string | Html

/**
 * A table whose first column names the rows. Where there is little room, the cells of a row with many of them are below each
 * other, each with its column's name.
 *
 * @since 0.1.0
 * @category parts
 */
export const table = (caption: string, heads: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<Cell>>): Html =>
  html`<div class="scroll" role="region" tabindex="0" aria-label="${caption}"><table${
    heads.length > mostNarrow ? html` class="many"` : undefined
  }><thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead><tbody>${
    rows.map(([first = "", ...rest]) =>
      html`<tr><th scope="row">${first}</th>${
        rest.map((cell, index) =>
          html`<td data-head="${heads[index + 1]}"${
            cell instanceof Html ? html` class="wide"` : undefined
          }>${cell}</td>`
        )
      }</tr>`
    )
  }</tbody></table></div>`

/**
 * The numbers of a chart, for those who do not see it.
 *
 * @since 0.1.0
 * @category parts
 */
export const asTable = (content: Html): Html =>
  html`<details><summary class="dim">The same as a table</summary>${content}</details>`

/**
 * What the colours of a chart stand for.
 *
 * @since 0.1.0
 * @category parts
 */
export const legend = (entries: ReadonlyArray<readonly [kind: Chart.Kind, text: string]>): Html =>
  html`<ul class="legend">${
    entries.map(([kind, text]) =>
      html`<li><svg width="11" height="11" aria-hidden="true"><rect class="${kind}" width="11" height="11" rx="2"/></svg>${text}</li>`
    )
  }</ul>`

/**
 * The first time and the last below a chart.
 *
 * @since 0.1.0
 * @category parts
 */
export const axis = (buckets: ReadonlyArray<Statistics.Bucket>): Html => {
  const [first] = buckets
  const last = buckets.at(-1)
  return html`<div class="axis"><span>${Figures.time(first?.from ?? 0)}</span><span>${
    Figures.time(last?.to ?? 0)
  }</span></div>`
}

/**
 * A table of counts with a bar for each, the largest as long as there is room.
 *
 * @since 0.1.0
 * @category parts
 */
export const counted = (
  caption: string,
  unit: string,
  counts: ReadonlyArray<Statistics.Count>,
  kind: Chart.Kind
): Html => {
  const most = Math.max(1, ...counts.map(({ count }) => count))
  const rest = counts.slice(mostRows).reduce((sum, { count }) => sum + count, 0)
  return counts.length === 0 ? html`<p class="dim">None.</p>` : table(caption, ["", "", unit], [
    ...counts.slice(0, mostRows).map(({ count, name }) => [
      html`<bdi>${Figures.cut(name)}</bdi>`,
      Chart.bar([{ kind, from: 0, to: count / most }]),
      Figures.count(count)
    ]),
    ...(rest === 0 ? [] : [["all others", "", Figures.count(rest)]])
  ])
}
