/**
 * Charts as inline SVG. Places are shares of the width and pixels of the height, so that a chart is as wide as there is
 * room and its text stays as large as it is. Colours are classes of the page's style.
 *
 * @since 0.1.0
 */
import { type Html, html } from "./Html.ts"

/**
 * A colour, by what it stands for.
 *
 * @since 0.1.0
 * @category models
 */
export type Kind = "direct" | "fallback" | "failed" | "interrupted" | "time" | "light" | "wait" | "moment"

/**
 * A part of a column, from and to a height between 0 and 1.
 *
 * @since 0.1.0
 * @category models
 */
export interface Piece {
  readonly kind: Kind
  readonly from: number
  readonly to: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Column {
  /** What is told of it where the pointer rests. */
  readonly title: string
  readonly pieces: ReadonlyArray<Piece>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Columns {
  /** Unique on the page. */
  readonly id: string
  readonly title: string
  readonly description: string
  /** In pixels. */
  readonly height: number
  readonly columns: ReadonlyArray<Column>
  /** Lines across, at heights between 0 and 1. */
  readonly lines: ReadonlyArray<{ readonly at: number; readonly label: string }>
}

/** Room above for the upper half of the topmost line's label, in pixels. */
const headroom = 8
/** From a line to its label on the left, in pixels. */
const labelGap = 8
/** The widest that a column is, as a share: few columns must not be walls. */
const widestColumn = 0.06
const filled = 0.84
/** What is there is seen: no piece is thinner, in pixels. */
const thinnest = 1.5

const percent = (share: number): string => `${Math.round(share * 100_000) / 1000}%`
const pixels = (length: number): string => String(Math.round(length * 10) / 10)

/**
 * Columns side by side, each a stack of pieces. The labels of the lines are to the left of it, where the style leaves room.
 *
 * @since 0.1.0
 * @category charts
 */
export const columns = ({ columns, description, height, id, lines, title }: Columns): Html => {
  const step = 1 / Math.max(1, columns.length)
  const width = Math.min(step * filled, widestColumn)
  const y = (share: number) => headroom + (1 - share) * height
  const piece = (x: number, { from, kind, to }: Piece): Html => {
    const thick = Math.max(thinnest, (to - from) * height)
    const top = Math.min(y(to), headroom + height - thick)
    return html`<rect class="${kind}" x="${percent(x)}" y="${pixels(top)}" width="${percent(width)}" height="${
      pixels(thick)
    }"/>`
  }
  return html`<svg class="columns" role="img" aria-labelledby="${id}-title ${id}-desc" width="100%" height="${
    pixels(height + headroom + 1)
  }"><title id="${id}-title">${title}</title><desc id="${id}-desc">${description}</desc>${
    lines.map(({ at }) => html`<line class="grid" x1="0" x2="100%" y1="${pixels(y(at))}" y2="${pixels(y(at))}"/>`)
  }${
    columns.map(({ pieces, title }, index) =>
      html`<g><title>${title}</title><rect class="hit" x="${percent(index * step)}" y="${headroom}" width="${
        percent(step)
      }" height="${height}"/>${pieces.map((one) => piece((index + 0.5) * step - width / 2, one))}</g>`
    )
  }${
    lines.filter(({ label }) => label !== "").map(({ at, label }) =>
      html`<text class="tick" x="${-labelGap}" y="${pixels(y(at))}" dy="0.35em" text-anchor="end">${label}</text>`
    )
  }</svg>`
}

/**
 * Pieces of one bar from left to right, each from and to a share of the width.
 *
 * @since 0.1.0
 * @category charts
 */
export const bar = (pieces: ReadonlyArray<Piece>): Html =>
  html`<svg class="bar" aria-hidden="true" width="100%" height="14">${
    pieces.map(({ from, kind, to }) =>
      html`<rect class="${kind}" x="${percent(from)}" y="1" width="${
        percent(Math.max(0, to - from))
      }" height="12" rx="2"/>`
    )
  }</svg>`

/**
 * Pieces of one bar of which each is seen, however short: for a {@link bar} whose scale is time.
 *
 * @since 0.1.0
 * @category charts
 */
export const seen = (piece: Piece): Piece => {
  const from = Math.min(piece.from, 1 - shortest)
  return { ...piece, from, to: Math.max(piece.to, from + shortest) }
}

const shortest = 0.006

const easy = [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8]

/**
 * The smallest number with an easy first half, such as 1.2, 3 or 80, that is not less.
 *
 * @since 0.1.0
 * @category scales
 */
export const roundUp = (value: number): number => {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)))
  return easy.map((n) => n * power).find((step) => step >= value) ?? 10 * power
}
