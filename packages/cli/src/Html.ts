/**
 * HTML and SVG as text in which nothing foreign can be markup: what is put into a template is escaped, unless it comes from
 * a template itself.
 *
 * @since 0.1.0
 */
import * as Text from "./Text.ts"

/**
 * Markup that is safe to send.
 *
 * @since 0.1.0
 * @category models
 */
export class Html {
  readonly markup: string
  constructor(markup: string) {
    this.markup = markup
  }
}

/**
 * What may be put into a template. Nothing at all stands for no text.
 *
 * @since 0.1.0
 * @category models
 */
export type Value = string | number | Html | undefined | ReadonlyArray<Html>

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "\"": "&quot;",
  "'": "&#39;",
  "`": "&#96;"
}

/**
 * Foreign text as text of an element or as a quoted attribute: no markup, no control characters.
 *
 * @since 0.1.0
 * @category escaping
 */
export const escape = (text: string): string =>
  Text.oneLine(text).replace(/[\uD800-\uDFFF]/gu, "\uFFFD").replace(/[&<>"'`]/g, (one) => entities[one] ?? "")

const render = (value: Value): string => {
  if (value === undefined) return ""
  if (typeof value === "string") return escape(value)
  if (typeof value === "number") return String(value)
  return value instanceof Html ? value.markup : value.map(({ markup }) => markup).join("")
}

/**
 * A template for markup. Attributes must be in quotes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const html = (strings: TemplateStringsArray, ...values: ReadonlyArray<Value>): Html =>
  new Html(strings.reduce((markup, string, index) => markup + render(values[index - 1]) + string))
