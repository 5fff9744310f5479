/**
 * Help pages, laid out from what the commands say of themselves.
 *
 * @since 0.1.0
 */
import type * as HelpDoc from "@effect/cli/HelpDoc"
import type * as Span from "@effect/cli/HelpDoc/Span"
import * as Text from "./Text.ts"

/**
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  readonly label: string
  readonly about: string
}

const plain = (span: Span.Span): string => {
  switch (span._tag) {
    case "Text":
    case "URI":
      return span.value
    case "Strong":
    case "Weak":
    case "Highlight":
      return plain(span.value)
    case "Sequence":
      return plain(span.left) + plain(span.right)
  }
}

const paragraphs = (doc: HelpDoc.HelpDoc): ReadonlyArray<string> => {
  switch (doc._tag) {
    case "Paragraph":
      return [plain(doc.value)]
    case "Sequence":
      return [...paragraphs(doc.left), ...paragraphs(doc.right)]
    case "Empty":
    case "Header":
    case "DescriptionList":
    case "Enumeration":
      return []
  }
}

/**
 * The first paragraph of a command's own help: its description.
 *
 * @since 0.1.0
 * @category reading
 */
export const description = (doc: HelpDoc.HelpDoc): string => paragraphs(doc)[0] ?? ""

/**
 * The arguments and flags in a command's own help, without the prose about types that comes before each description.
 *
 * @since 0.1.0
 * @category reading
 */
export const entries = (doc: HelpDoc.HelpDoc): ReadonlyArray<Entry> => {
  switch (doc._tag) {
    case "DescriptionList":
      return doc.definitions.map(([label, about]) => ({
        label: plain(label).replace(/^\((.*)\)$/, "$1").replace(/\.{3}$/, ""),
        about: paragraphs(about)[1] ?? ""
      }))
    case "Sequence":
      return [...entries(doc.left), ...entries(doc.right)]
    case "Empty":
    case "Header":
    case "Paragraph":
    case "Enumeration":
      return []
  }
}

/**
 * A page: how to call it, what it does, and lists of entries under headings.
 *
 * @since 0.1.0
 * @category models
 */
export interface Page {
  readonly usage: string
  readonly description: string
  readonly sections: ReadonlyArray<{ readonly title: string; readonly entries: ReadonlyArray<Entry> }>
  readonly examples: ReadonlyArray<string>
}

const indent = "  "

const paragraph = (text: string, width: number): ReadonlyArray<Text.Line> =>
  Text.wrap(text, width).map((line) => [Text.span(line)])

const twoColumns = ({ about, label }: Entry, column: number, width: number): ReadonlyArray<Text.Line> => {
  const [first = "", ...rest] = Text.wrap(about, width - column - indent.length)
  return [
    [Text.span(indent + Text.pad(label, column - indent.length), "accent"), Text.span(indent + first)],
    ...rest.map((line): Text.Line => [Text.span(" ".repeat(column) + indent + line)])
  ]
}

/**
 * The lines of a page for a width in columns.
 *
 * @since 0.1.0
 * @category rendering
 */
export const lines = (page: Page, width: number): ReadonlyArray<Text.Line> => {
  const labels = page.sections.flatMap(({ entries }) => entries.map(({ label }) => Text.width(label)))
  const column = indent.length + Math.max(0, ...labels)
  return [
    [Text.span("Usage: ", "dim"), Text.span(page.usage, "strong")],
    [],
    ...paragraph(page.description, width),
    ...page.sections.flatMap(({ entries, title }): ReadonlyArray<Text.Line> => [
      [],
      [Text.span(title, "strong")],
      ...entries.flatMap((entry) => twoColumns(entry, column, width))
    ]),
    ...(page.examples.length === 0 ? [] : [[], [Text.span("Examples", "strong")]]),
    ...page.examples.map((example): Text.Line => [Text.span(indent + example)])
  ]
}
