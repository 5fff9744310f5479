/**
 * A receipt as a picture: one row for each attempt, wait, refusal and fallback, drawn to scale from left to right.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as Receipt from "perdure/Receipt"
import type { Usage } from "perdure/Usage"
import * as Durations from "./Durations.ts"
import * as Text from "./Text.ts"
import * as Waterfall from "./Waterfall.ts"
import * as Words from "./Words.ts"

/** A piece of a bar, in milliseconds from the left edge. */
interface Piece {
  readonly start: number
  readonly millis: number
  readonly glyph: string
  readonly tint: Text.Tint
}

interface Row {
  readonly label: Text.Span
  readonly pieces: ReadonlyArray<Piece>
  readonly note: Text.Span
  readonly took: string
}

interface Between {
  readonly between: string
}

const indent = "  "
const gap = "  "
const widestLabel = 26
const narrowestChart = 8

/** `before` is the time of a stream before its first output. */
const glyphs = { answered: "█", failed: "▓", before: "▄", wait: "░", refused: "×", switched: "↓", held: "▒" } as const

const attemptRow = ({ attempt, millis, start }: Waterfall.Row & { readonly _tag: "Attempt" }, number: string): Row => {
  const { firstOutput, hedge, key, outcome } = attempt
  const { text, tint } = Words.outcome(outcome)
  const glyph = outcome._tag === "Answered" ? glyphs.answered : glyphs.failed
  const before = firstOutput === undefined ? 0 : Math.min(millis, Duration.toMillis(firstOutput))
  return {
    label: Text.span(`${number} ${Words.target(attempt.target)}${key === undefined ? "" : ` · ${Text.oneLine(key)}`}`),
    pieces: [
      ...(before === 0 ? [] : [{ start, millis: before, glyph: glyphs.before, tint }]),
      { start: start + before, millis: millis - before, glyph, tint }
    ],
    note: Text.span(hedge === true ? `${text}, hedge` : text, tint),
    took: Durations.short(millis)
  }
}

const moment = (label: string, start: number, glyph: string, note: Text.Span): Row => ({
  label: Text.span(label, "dim"),
  pieces: [{ start, millis: 0, glyph, tint: note.tint }],
  note,
  took: ""
})

const rowOf = (row: Waterfall.Row | Waterfall.Skipped, number: (attempt: number) => string): Row | Between => {
  const blank = " ".repeat(number(1).length)
  switch (row._tag) {
    case "Attempt":
      return attemptRow(row, number(row.number))
    case "Wait":
      return {
        label: Text.span(`${blank} wait`, "dim"),
        pieces: [{ start: row.start, millis: row.millis, glyph: glyphs.wait, tint: "dim" }],
        note: Text.span(row.why, "dim"),
        took: Durations.short(row.millis)
      }
    case "Refused": {
      const because = Text.span(Words.failure(row.refused.because), "busy")
      return moment(`${blank} ${Words.target(row.refused.target)}`, row.start, glyphs.refused, because)
    }
    case "Switched":
      return moment(
        `${blank} fallback`,
        row.start,
        glyphs.switched,
        Text.span(Words.failure(row.switched.because), "accent")
      )
    case "Skipped":
      return { between: Waterfall.leftOut(row) }
  }
}

/** A bar in its place on the chart; whatever happened is at least one cell wide. */
const bar = (pieces: ReadonlyArray<Piece>, total: number, columns: number): ReadonlyArray<Text.Span> => {
  const cell = (millis: number) => Math.round((millis / total) * columns)
  const spans: Array<Text.Span> = []
  let at = 0
  for (const { glyph, millis, start, tint } of pieces) {
    const from = Math.max(at, Math.min(columns - 1, cell(start)))
    const to = Math.min(columns, Math.max(from + 1, cell(start + millis)))
    spans.push(Text.span(" ".repeat(from - at)), Text.span(glyph.repeat(to - from), tint))
    at = to
  }
  return [...spans, Text.span(" ".repeat(columns - at))]
}

const axis = (total: number, columns: number): string => {
  const end = ` ${Durations.short(total)}`
  return `0 ${"─".repeat(Math.max(0, columns - 2 - Text.width(end)))}${end}`
}

const layout = (all: ReadonlyArray<Row | Between>, total: number, width: number): ReadonlyArray<Text.Line> => {
  const shown = all.filter((row) => "label" in row)
  if (shown.length === 0) return []
  const widest = (of: (row: Row) => string) => Math.max(...shown.map((row) => Text.width(of(row))))

  const took = Math.max(widest((row) => row.took), Text.width("0ms"))
  const note = widest((row) => row.note.text)
  const fixed = indent.length + gap.length * 3 + took + note
  const label = Math.max(
    4,
    Math.min(widestLabel, widest((row) => row.label.text), width - fixed - narrowestChart)
  )
  const chart = Math.max(narrowestChart, width - fixed - label)

  return [
    ...all.map((row): Text.Line =>
      "between" in row
        ? [Text.span(`${indent}  … ${row.between} …`, "dim")]
        : [
          Text.span(`${indent}${Text.pad(row.label.text, label)}${gap}`, row.label.tint),
          ...bar(row.pieces, total, chart),
          Text.span(`${gap}${Text.pad(row.note.text, note)}${gap}`, row.note.tint),
          Text.span(Text.pad(row.took, took, "right"), "dim")
        ]
    ),
    [Text.span(`${indent}${" ".repeat(label)}${gap}${axis(total, chart)}`, "dim")]
  ]
}

/**
 * The rows of a call, laid out for a width in columns. From 60 columns on everything fits; below, labels are cut.
 *
 * @since 0.1.0
 * @category rendering
 */
export const lines = (receipt: Receipt.Receipt, width: number): ReadonlyArray<Text.Line> => {
  const digits = String(receipt.attempts.length).length
  const rows = Waterfall.rows(receipt).map((row) => rowOf(row, (attempt) => String(attempt).padStart(digits)))
  return layout(rows, Waterfall.total(receipt), width)
}

/**
 * What something was like over several calls: from `from` to `to`, in milliseconds since the epoch, it was held back, by
 * what `because` says. In between it was not.
 *
 * @since 0.1.0
 * @category models
 */
export interface Band {
  readonly label: string
  readonly held: ReadonlyArray<{ readonly from: number; readonly to: number }>
  readonly because: string
}

/**
 * Several calls on one scale, one after another, and under them what lasted longer than a call: an open circuit, a key that
 * is left out.
 *
 * @since 0.1.0
 * @category rendering
 */
export const series = (
  receipts: ReadonlyArray<Receipt.Receipt>,
  bands: ReadonlyArray<Band>,
  width: number
): ReadonlyArray<Text.Line> => {
  const zero = Math.min(...receipts.map(({ startedAt }) => startedAt))
  const total = Math.max(
    1,
    ...receipts.map((receipt) => receipt.startedAt - zero + Duration.toMillis(receipt.duration))
  )
  const digits = String(receipts.length).length
  const calls = receipts.flatMap((receipt, index) => {
    const offset = receipt.startedAt - zero
    const call = String(index + 1).padStart(digits)
    return Waterfall.rows(receipt).filter(({ _tag }) => _tag !== "Switched").map((row, position) => {
      const drawn = rowOf(row, () => position === 0 ? call : " ".repeat(digits))
      if ("between" in drawn) return drawn
      const label = position === 0 ? call + drawn.label.text.slice(digits) : drawn.label.text
      return {
        ...drawn,
        label: Text.span(label, drawn.label.tint),
        pieces: drawn.pieces.map((piece) => ({ ...piece, start: piece.start + offset }))
      }
    })
  })
  const held = bands.map(({ because, held, label }): Row => ({
    label: Text.span(`${" ".repeat(digits)} ${label}`, "dim"),
    pieces: held.map(({ from, to }) => ({ start: from - zero, millis: to - from, glyph: glyphs.held, tint: "busy" })),
    note: Text.span(because, "busy"),
    took: Durations.short(held.reduce((sum, { from, to }) => sum + to - from, 0))
  }))
  return layout([...calls, ...held], total, width)
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

/** The tokens in words, as far as they are known: `12 in, 34 out, 8 of them reasoning`. */
const tokens = ({ cachedInputTokens, inputTokens, outputTokens, reasoningTokens }: Usage): string =>
  [
    ...(inputTokens === undefined ? [] : [`${inputTokens} in`]),
    ...(cachedInputTokens === undefined || cachedInputTokens === 0 ? [] : [`${cachedInputTokens} cached`]),
    ...(outputTokens === undefined ? [] : [`${outputTokens} out`]),
    ...(reasoningTokens === undefined || reasoningTokens === 0 ? [] : [`${reasoningTokens} reasoning`])
  ].join(", ")

/** What only some receipts tell. */
const extras = (receipt: Receipt.Receipt, usage: Usage): ReadonlyArray<Text.Line> => {
  const { cost, firstOutput, refusals = [] } = receipt
  const used = tokens(usage)
  return [
    ...(refusals.length === 0 ? [] : [field("refused", Text.span(Words.count(refusals.length, "time"), "busy"))]),
    ...(firstOutput === undefined ? [] : [field("first", Text.span(`output after ${Durations.short(firstOutput)}`))]),
    ...(used === "" ? [] : [field("tokens", Text.span(used))]),
    ...(cost === undefined ? [] : [field("cost", Text.span(Text.oneLine(String(cost))))])
  ]
}

/**
 * The receipt in words: who was asked, who answered, whether a fallback was tried, and what it took. In two columns where
 * they fit. The tokens are those of all attempts, unless others are given.
 *
 * @since 0.1.0
 * @category rendering
 */
export const summary = (
  receipt: Receipt.Receipt,
  width: number,
  usage: Usage = receipt.usage
): ReadonlyArray<Text.Line> => {
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
  const columns = left + gap.length + right > width ? [...who, ...what] : who.map((line, index) => [
    ...line,
    Text.span(" ".repeat(left - Text.lineWidth(line)) + gap),
    ...what[index] ?? []
  ])
  return [...columns, ...extras(receipt, usage)]
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
