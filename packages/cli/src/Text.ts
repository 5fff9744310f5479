/**
 * Lines for a terminal: pieces of text with a tint, laid out by their visible width and coloured last.
 *
 * @since 0.1.0
 */

/**
 * @since 0.1.0
 * @category models
 */
export type Tint = "plain" | "strong" | "dim" | "good" | "busy" | "bad" | "accent"

/**
 * @since 0.1.0
 * @category models
 */
export interface Span {
  readonly text: string
  readonly tint: Tint
}

/**
 * @since 0.1.0
 * @category models
 */
export type Line = ReadonlyArray<Span>

/**
 * @since 0.1.0
 * @category constructors
 */
export const span = (text: string, tint: Tint = "plain"): Span => ({ text, tint })

const codes = {
  plain: "",
  strong: "\u001b[1m",
  dim: "\u001b[2m",
  good: "\u001b[32m",
  busy: "\u001b[33m",
  bad: "\u001b[31m",
  accent: "\u001b[36m"
} as const satisfies Record<Tint, string>

const reset = "\u001b[0m"

/**
 * The characters of a text, as far as a terminal gives each one cell.
 *
 * @since 0.1.0
 * @category measuring
 */
export const width = (text: string): number => Array.from(text).length

/**
 * @since 0.1.0
 * @category measuring
 */
export const lineWidth = (line: Line): number => line.reduce((sum, { text }) => sum + width(text), 0)

/**
 * Cuts a text to a width, and says so with `…`.
 *
 * @since 0.1.0
 * @category layout
 */
export const fit = (text: string, columns: number): string =>
  width(text) <= columns
    ? text
    : columns <= 0
    ? ""
    : `${Array.from(text).slice(0, columns - 1).join("")}…`

/**
 * Cuts a line to a width, keeping its tints.
 *
 * @since 0.1.0
 * @category layout
 */
export const fitLine = (line: Line, columns: number): Line => {
  if (lineWidth(line) <= columns) return line
  const cut: Array<Span> = []
  let left = columns
  for (const { text, tint } of line) {
    const piece = width(text) < left ? text : fit(`${text} `, left)
    cut.push({ text: piece, tint })
    left -= width(piece)
    if (left <= 0) break
  }
  return cut
}

/**
 * Exactly this many columns: cut, or filled with blanks behind the text or before it.
 *
 * @since 0.1.0
 * @category layout
 */
export const pad = (text: string, columns: number, align: "left" | "right" = "left"): string => {
  const fitted = fit(text, columns)
  const blanks = " ".repeat(Math.max(0, columns - width(fitted)))
  return align === "left" ? fitted + blanks : blanks + fitted
}

/**
 * Breaks a text into lines at its blanks. A word longer than a line is cut.
 *
 * @since 0.1.0
 * @category layout
 */
export const wrap = (text: string, columns: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (const word of text.split(/\s+/).filter((word) => word !== "")) {
    const last = lines.at(-1)
    if (last !== undefined && width(last) + 1 + width(word) <= columns) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(fit(word, columns))
  }
  return lines
}

/**
 * A line as text, with colours or without, and no blanks at its end.
 *
 * @since 0.1.0
 * @category rendering
 */
export const render = (line: Line, colour: boolean): string => {
  const text = line.map(({ text, tint }) => colour && tint !== "plain" ? codes[tint] + text + reset : text).join("")
  return colour ? text : text.trimEnd()
}

// The control characters of C0 and C1, escape included.
// oxlint-disable-next-line eslint/no-control-regex
const controls = /[\u0000-\u001f\u007f-\u009f]+/g
// oxlint-disable-next-line eslint/no-control-regex
const unsafe = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g

/**
 * Foreign text as one line that cannot steer a terminal.
 *
 * @since 0.1.0
 * @category rendering
 */
export const oneLine = (text: string): string => text.replace(controls, " ").replace(/ {2,}/g, " ").trim()

/**
 * Foreign text that cannot steer a terminal, its line breaks and tabs kept.
 *
 * @since 0.1.0
 * @category rendering
 */
export const harmless = (text: string): string => text.replace(/\r\n/g, "\n").replace(unsafe, "")
