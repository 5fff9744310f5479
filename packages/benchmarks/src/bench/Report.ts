/** What was measured, as tables. */
import type { Compared, Samples } from "./Measure.ts"
import * as Measure from "./Measure.ts"

/** A target, and what came of it. */
export interface Verdict {
  readonly what: string
  /** At most this many times as much, or this much of what it says. */
  readonly target: number
  readonly measured: Compared
  /** What the comparison does not cover yet. */
  readonly note?: string | undefined
}

export interface Section {
  readonly title: string
  readonly about: string
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<string>>
  readonly verdicts: ReadonlyArray<Verdict>
}

export const number = (value: number): string =>
  value >= 1000
    ? Math.round(value).toLocaleString("en")
    : value >= 100
    ? value.toFixed(0)
    : value >= 10
    ? value.toFixed(1)
    : value.toFixed(2)

/** A verdict on two contestants. */
export const verdict = (
  what: string,
  target: number,
  samples: Samples,
  [name, to]: readonly [name: string, to: string],
  by: keyof Measure.Sample,
  note?: string
): Verdict => ({ what, target, measured: Measure.ratio(samples, name, to, by), note })

const table = (columns: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const widths = columns.map((column, i) => Math.max(3, column.length, ...rows.map((row) => (row[i] ?? "").length)))
  const line = (cells: ReadonlyArray<string>) =>
    `| ${widths.map((width, i) => (cells[i] ?? "").padEnd(width)).join(" | ")} |`
  return [line(columns), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)]
}

const judged = ({ measured, note, target, what }: Verdict): ReadonlyArray<string> => [
  note === undefined ? what : `${what} (${note})`,
  `≤ ${target}`,
  number(measured.median),
  measured.least === measured.most ? "" : `${number(measured.least)} – ${number(measured.most)}`,
  measured.median <= target ? "met" : "missed"
]

/** A section as Markdown. */
export const lines = ({ about, columns, rows, title, verdicts }: Section): ReadonlyArray<string> => [
  `## ${title}`,
  "",
  about,
  "",
  ...table(columns, rows),
  ...(verdicts.length === 0
    ? []
    : [
      "",
      ...table(["times as much as the peer, or what it says", "target", "measured", "rounds", ""], verdicts.map(judged))
    ])
]
