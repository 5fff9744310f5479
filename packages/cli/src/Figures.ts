/**
 * Numbers as a report shows them, the same on every machine.
 *
 * @since 0.1.0
 */
import type * as Statistics from "./Statistics.ts"
import * as Text from "./Text.ts"

/**
 * `12,345`.
 *
 * @since 0.1.0
 * @category printing
 */
export const count = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, ",")

/**
 * A share in per cent with one decimal. Only all is `100 %`, and only nothing is `0 %`; of nothing there is no share.
 *
 * @since 0.1.0
 * @category printing
 */
export const share = (part: number, whole: number): string => {
  if (whole <= 0) return "–"
  if (part >= whole) return "100 %"
  if (part <= 0) return "0 %"
  return `${Math.max(0.1, Math.min(99.9, (100 * part) / whole)).toFixed(1)} %`
}

/**
 * @since 0.1.0
 * @category printing
 */
export const ratio = (part: number, whole: number): string => whole === 0 ? "–" : (part / whole).toFixed(2)

/** Enough to tell cheap calls apart. */
const smallest = 0.000_001

/**
 * Amounts of one or more currencies: `1.25 USD`, and what is less than 1 with two digits that matter.
 *
 * @since 0.1.0
 * @category printing
 */
export const money = (money: Statistics.Money): string =>
  [...money].slice(0, 3).map(([currency, nanos]) => {
    const amount = nanos / 1e9
    const digits = amount >= 1 || amount === 0 ? 2 : Math.min(6, 1 - Math.floor(Math.log10(Math.max(smallest, amount))))
    return `${amount.toFixed(digits)} ${cut(currency, 12)}`
  }).join(" + ")

/**
 * A time in UTC, to the second: `2026-11-24 02:05:55`.
 *
 * @since 0.1.0
 * @category printing
 */
export const time = (millis: number): string => {
  const date = new Date(millis)
  return Number.isNaN(date.getTime()) ? "–" : date.toISOString().replace("T", " ").replace(/(?::00)?\.\d+Z$/, "")
}

/**
 * @since 0.1.0
 * @category printing
 */
export const span = ({ from, to }: Pick<Statistics.Bucket, "from" | "to">): string => `${time(from)} to ${time(to)}`

/** The longest that a foreign name is shown. */
const longestName = 80

/**
 * A foreign text cut to a length that a page can show.
 *
 * @since 0.1.0
 * @category printing
 */
export const cut = (text: string, longest = longestName): string => Text.fit(Text.oneLine(text), longest)
