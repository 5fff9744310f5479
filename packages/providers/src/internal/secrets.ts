/**
 * Keeps what was sent out of what is reported. Providers quote requests in their error messages: whole or cut short,
 * escaped or not, so looking for the exact text is not enough.
 */
import * as LlmError from "perdure/LlmError"
import type { LlmRequest, Message } from "perdure/LlmRequest"

/** Shorter texts of a request are too common to be removed wherever they occur. */
const shortestText = 8

/** The shortest piece of a longer text that is taken for a quotation of it. */
const shortestQuote = 24

/** Half of that, so that every quotation holds a whole gram counted from the beginning of the secret. */
const gram = shortestQuote / 2

/** How much of a provider's words is looked at: several times what an error keeps. */
const window = 8192

/** How much of encoded bytes is remembered: a quotation begins at the beginning. */
const remembered = 1024

const mark = "<redacted>"

/** Replaces every piece of a text that is quoted from one of the secrets. Its cost is linear in the secrets. */
const unquote = (text: string, secrets: ReadonlyArray<string>): string => {
  if (text.length < shortestQuote) return text
  const places = new Map<string, Array<number>>()
  for (let at = 0; at + gram <= text.length; at++) {
    const piece = text.slice(at, at + gram)
    const found = places.get(piece)
    if (found === undefined) places.set(piece, [at])
    else found.push(at)
  }
  const quoted = new Uint8Array(text.length)
  for (const secret of secrets) {
    for (let from = 0; from + gram <= secret.length; from += gram) {
      const piece = secret.slice(from, from + gram)
      const found = places.get(piece)
      if (found === undefined) continue
      for (const at of found) {
        if (quoted[at] === 1) continue
        let before = 0
        while (before < at && before < from && text[at - before - 1] === secret[from - before - 1]) before++
        let after = gram
        while (
          at + after < text.length && from + after < secret.length && text[at + after] === secret[from + after]
        ) after++
        if (before + after >= shortestQuote) quoted.fill(1, at - before, at + after)
      }
      places.set(piece, found.filter((at) => quoted[at] === 0))
    }
  }
  let out = ""
  for (let at = 0; at < text.length; at++) {
    if (quoted[at] === 0) out += text[at]
    else if (at === 0 || quoted[at - 1] === 0) out += mark
  }
  return out
}

/** The text, and the text as it stands inside JSON where that differs. */
const spellings = (text: string): ReadonlyArray<string> => {
  const escaped = JSON.stringify(text).slice(1, -1)
  return escaped === text ? [text] : [text, escaped]
}

/** A provider's own words, without any of the secrets, whole or in pieces, and cut to what an error keeps. */
export const conceal = (text: string, secrets: Iterable<string>): string => {
  if (text === "") return ""
  const known = Array.from(secrets).flatMap(spellings)
  const seen = unquote(text.slice(0, window), known.filter((secret) => secret.length >= shortestQuote))
  // At the window's end a quotation may be too short to be seen as one.
  const clean = text.length > window && !seen.endsWith(mark) ? seen.slice(0, -shortestQuote) : seen
  return LlmError.detail(clean, known.filter((secret) => secret.length <= remembered))
}

/** Everything in a request that a person or a program wrote for the model. Names and schemas of tools are not. */
export const ofRequest = (request: LlmRequest): ReadonlyArray<string> =>
  [
    ...request.messages.flatMap(ofMessage),
    ...request.tools.flatMap(({ description }) => description ?? []),
    ...textsIn(request.extras).filter((text) => text.length >= shortestQuote)
  ].filter((text) => text.length >= shortestText)

const ofMessage = (message: Message): ReadonlyArray<string> => {
  switch (message._tag) {
    case "System":
      return [message.text]
    case "Tool":
      return [message.content]
    case "User":
    case "Assistant":
      return message.content.map((part) => {
        switch (part._tag) {
          case "Text":
          case "Reasoning":
            return part.text
          case "ToolCall":
            return part.arguments
          case "Image":
          case "File":
            return (part.source._tag === "Url" ? part.source.url : part.source.data).slice(0, remembered)
        }
      })
  }
}

/** Every string inside a value. */
const textsIn = (value: unknown): ReadonlyArray<string> => {
  const texts: Array<string> = []
  const seen = new Set<unknown>()
  const rest = [value]
  while (rest.length > 0) {
    const next = rest.pop()
    if (typeof next === "string") texts.push(next)
    if (typeof next !== "object" || next === null || seen.has(next)) continue
    seen.add(next)
    for (const inside of Object.values(next)) rest.push(inside)
  }
  return texts
}
