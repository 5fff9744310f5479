/** Reading the words of an error: those of a provider, of a proxy's page, or of half a body. */
import { asText, parse } from "./json.ts"

/** How much of a message is looked at. */
export const window = 8192

/** A whole number as people write it: `32768`, `32,768`. */
export const readNumber = (digits: string | undefined): number | undefined => {
  const value = Number((digits ?? "").replaceAll(",", ""))
  return digits !== undefined && /\d/.test(digits) && Number.isSafeInteger(value) ? value : undefined
}

export const isHtml = (text: string): boolean => /^\s*<(?:!doctype|html|head|body|\?xml|center|h1)\b/i.test(text)

/** What a person would read on the page. */
export const pageText = (html: string): string =>
  html.slice(0, window)
    .replace(/<(script|style)\b[^>]*>[^]*?<\/\1>/gi, " ")
    .replace(/<[^>]*>/g, " ")
    .replace(/&nbsp;/g, " ")
    .replace(/\s+/g, " ")
    .trim()

/** The message in JSON that was cut off; all of the text where none can be made out. */
export const messageInHalf = (text: string): string => {
  const quoted = /"message"\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)/.exec(text)?.[1]
  const message = quoted === undefined ? undefined : parse(`"${quoted.replace(/\\u[^"]{0,3}$/, "")}"`)?.value
  return asText(message) ?? text.trim()
}
