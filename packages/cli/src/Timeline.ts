/**
 * A receipt as a picture: one row for each attempt and each wait, drawn to scale from left to right.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as Receipt from "perdure/Receipt"
import * as Durations from "./Durations.ts"
import * as Text from "./Text.ts"
import * as Words from "./Words.ts"

interface Row {
  readonly label: string
  /** When it began and how long it took, in milliseconds from the start of the call. */
  readonly start: number
  readonly millis: number
  readonly glyph: string
  readonly bar: Text.Tint
  readonly note: Text.Span
}

interface Skipped {
  readonly skipped: number
}

/** With more attempts than this, those in the middle are left out. */
const mostAttempts = 12
const shownAtEachEnd = 5

const indent = "  "
const gap = "  "
const widestLabel = 26
const narrowestChart = 8

const glyphs = { answered: "█", failed: "▓", wait: "░" } as const

/** Less than this between two attempts, in milliseconds, is the machine's own time and not a wait. */
const shortestWait = 10

const why = (before: Receipt.Attempt | undefined, attempt: Receipt.Attempt): string => {
  if (before === undefined) return "queued"
  if (Words.target(before.target) !== Words.target(attempt.target)) return "moving on"
  return before.outcome._tag === "Failed" && before.outcome.retryAfter !== undefined
    ? `asked ${Durations.short(before.outcome.retryAfter)}`
    : "backoff"
}

const rowsOf = (receipt: Receipt.Receipt, index: number): ReadonlyArray<Row> => {
  const attempt = receipt.attempts[index]
  if (attempt === undefined) return []
  const start = Duration.toMillis(attempt.start)
  const wait = Duration.toMillis(attempt.wait)
  const note = Words.outcome(attempt.outcome)
  const number = String(index + 1).padStart(String(receipt.attempts.length).length)
  const asked: Row = {
    label: `${number} ${Words.target(attempt.target)}`,
    start,
    millis: Duration.toMillis(attempt.duration),
    glyph: attempt.outcome._tag === "Answered" ? glyphs.answered : glyphs.failed,
    bar: note.tint,
    note
  }
  if (wait < shortestWait) return [asked]
  const waited: Row = {
    label: `${" ".repeat(number.length)} wait`,
    start: start - wait,
    millis: wait,
    glyph: glyphs.wait,
    bar: "dim",
    note: Text.span(why(receipt.attempts[index - 1], attempt), "dim")
  }
  return [waited, asked]
}

const rows = (receipt: Receipt.Receipt): ReadonlyArray<Row | Skipped> => {
  const all = receipt.attempts.map((_, index) => rowsOf(receipt, index))
  const skipped = all.length - 2 * shownAtEachEnd
  return all.length <= mostAttempts
    ? all.flat()
    : [...all.slice(0, shownAtEachEnd).flat(), { skipped }, ...all.slice(-shownAtEachEnd).flat()]
}

/** A bar in its place on the chart; whatever happened is at least one cell wide. */
const bar = (row: Row, total: number, columns: number): ReadonlyArray<Text.Span> => {
  const cell = (millis: number) => Math.round((millis / total) * columns)
  const from = Math.min(columns - 1, cell(row.start))
  const to = Math.min(columns, Math.max(from + 1, cell(row.start + row.millis)))
  return [
    Text.span(" ".repeat(from)),
    Text.span(row.glyph.repeat(to - from), row.bar),
    Text.span(" ".repeat(columns - to))
  ]
}

const axis = (total: number, columns: number): string => {
  const end = ` ${Durations.short(total)}`
  return `0 ${"─".repeat(Math.max(0, columns - 2 - Text.width(end)))}${end}`
}

/**
 * The rows of a call, laid out for a width in columns. From 60 columns on everything fits; below, labels are cut.
 *
 * @since 0.1.0
 * @category rendering
 */
export const lines = (receipt: Receipt.Receipt, width: number): ReadonlyArray<Text.Line> => {
  const all = rows(receipt)
  const shown = all.filter((row) => "label" in row)
  if (shown.length === 0) return []
  const total = Math.max(1, Duration.toMillis(receipt.duration))
  const widest = (of: (row: Row) => string) => Math.max(...shown.map((row) => Text.width(of(row))))

  const took = Math.max(widest((row) => Durations.short(row.millis)), Text.width("0ms"))
  const note = widest((row) => row.note.text)
  const fixed = indent.length + gap.length * 3 + took + note
  const label = Math.max(
    4,
    Math.min(widestLabel, widest((row) => row.label), width - fixed - narrowestChart)
  )
  const chart = Math.max(narrowestChart, width - fixed - label)

  return [
    ...all.map((row): Text.Line =>
      "skipped" in row
        ? [Text.span(`${indent}  … ${row.skipped} more attempts …`, "dim")]
        : [
          Text.span(`${indent}${Text.pad(row.label, label)}${gap}`, row.glyph === glyphs.wait ? "dim" : "plain"),
          ...bar(row, total, chart),
          Text.span(`${gap}${Text.pad(row.note.text, note)}${gap}`, row.note.tint),
          Text.span(Text.pad(Durations.short(row.millis), took, "right"), "dim")
        ]
    ),
    [Text.span(`${indent}${" ".repeat(label)}${gap}${axis(total, chart)}`, "dim")]
  ]
}

/**
 * A line with a name and a value, aligned with the others of a receipt.
 *
 * @since 0.1.0
 * @category rendering
 */
export const field = (name: string, ...value: ReadonlyArray<Text.Span>): Text.Line => [
  Text.span(`${indent}${Text.pad(name, 9)}${gap}`, "dim"),
  ...value
]

/**
 * The receipt in words: who was asked, who answered, whether a fallback was tried, and what it took. In two columns where
 * they fit.
 *
 * @since 0.1.0
 * @category rendering
 */
export const summary = (receipt: Receipt.Receipt, width: number): ReadonlyArray<Text.Line> => {
  const who = [
    field("requested", Text.span(Words.target(receipt.requested))),
    field(
      "served",
      receipt.served === undefined ? Text.span("by nobody", "bad") : Text.span(Words.target(receipt.served), "good")
    ),
    field("fallback", receipt.fallback ? Text.span("yes", "busy") : Text.span("no"))
  ]
  const what = [
    field("attempts", Text.span(String(receipt.attempts.length))),
    field("waited", Text.span(Durations.short(receipt.waited))),
    field("duration", Text.span(Durations.short(receipt.duration)))
  ]
  const left = Math.max(...who.map(Text.lineWidth))
  const right = Math.max(...what.map(Text.lineWidth))
  return left + gap.length + right > width ? [...who, ...what] : who.map((line, index) => [
    ...line,
    Text.span(" ".repeat(left - Text.lineWidth(line)) + gap),
    ...what[index] ?? []
  ])
}

/**
 * A {@link field} of several lines, broken at its blanks.
 *
 * @since 0.1.0
 * @category rendering
 */
export const paragraph = (name: string, value: string, width: number): ReadonlyArray<Text.Line> => {
  const [first = "", ...rest] = Text.wrap(value, width - Text.lineWidth(field("")))
  return [field(name, Text.span(first)), ...rest.map((line) => field("", Text.span(line)))]
}
