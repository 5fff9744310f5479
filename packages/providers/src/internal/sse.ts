/** Server-sent events out of bytes, however these are cut into pieces. */
import { createParser } from "eventsource-parser"

/** One event. */
export interface Event {
  /** Its type, where it names one. */
  readonly event: string | undefined
  readonly data: string
  /** Whether the stream ended in the middle of it, so that the data may be cut. */
  readonly cut: boolean
}

/** Decodes one stream of bytes. Both functions tell of events, and give what is wrong when these bytes are none. */
export interface Decoder {
  readonly feed: (piece: Uint8Array) => string | undefined
  /** The stream has ended, perhaps in the middle of an event. */
  readonly end: () => string | undefined
}

/** The most text that may come without an event: 16 Mi characters. A line without an end would fill the memory. */
const longest = 16 * 1024 * 1024

/**
 * Comments and pings are no events. A line that is JSON by itself is taken for an event, as some servers send their errors
 * so; any other line that is not of the format fails, where the format would have it dropped: it may have been text.
 *
 * @param onEvent is told of each event; of none that follows what is wrong
 */
export const make = (onEvent: (event: Event) => void): Decoder => {
  const decoder = new TextDecoder("utf-8", { fatal: true })
  let wrong: string | undefined
  let since = 0
  let cut = false
  const add = (event: string | undefined, data: string) => {
    since = 0
    if (wrong === undefined) onEvent({ event, data, cut })
  }
  const parser = createParser({
    onEvent: ({ data, event }) => add(event, data),
    onComment: () => {
      since = 0
    },
    onError: (error) => {
      if (error.type !== "unknown-field") return
      const line = error.line ?? ""
      if (line.startsWith("{")) add(undefined, line)
      else if (!cut) wrong ??= "a line is not of the event format"
    }
  })
  const parse = (text: string): string | undefined => {
    since += text.length
    parser.feed(text)
    if (since > longest) wrong ??= `more than ${longest} characters came without an event`
    return wrong
  }
  return {
    feed: (piece) => {
      if (wrong !== undefined) return wrong
      let text: string
      try {
        text = decoder.decode(piece, { stream: true })
      } catch {
        wrong = "the text is not UTF-8"
        return wrong
      }
      return parse(text)
    },
    end: () => {
      if (wrong !== undefined) return wrong
      cut = true
      let rest = ""
      try {
        rest = decoder.decode()
      } catch {
        // The end came in the middle of a character.
      }
      return parse(`${rest}\n\n`)
    }
  }
}
