/** Server-sent events out of bytes, however these are cut into pieces. */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { createParser } from "eventsource-parser"

/** One event. */
export interface Event {
  /** Its type, where it names one. */
  readonly event: string | undefined
  readonly data: string
  /** Whether the stream ended in the middle of it, so that the data may be cut. */
  readonly cut: boolean
}

/** Bytes that are no events: the stream cannot be read on without losing text. */
export class NotEvents {
  readonly _tag = "NotEvents"
  readonly what: string
  constructor(what: string) {
    this.what = what
  }
}

/** The most text that may come without an event: 16 Mi characters. A line without an end would fill the memory. */
const longest = 16 * 1024 * 1024

/**
 * Decodes a stream of bytes. Comments and pings are no events. A line that is JSON by itself is taken for an event, as
 * some servers send their errors so; any other line that is not of the format fails, where the format would have it
 * dropped: it may have been text.
 */
export const decode = <E>(bytes: Stream.Stream<Uint8Array, E>): Stream.Stream<Event, E | NotEvents> =>
  Stream.suspend(() => {
    const decoder = new TextDecoder("utf-8", { fatal: true })
    let events: Array<Event> = []
    let wrong: NotEvents | undefined
    let since = 0
    let cut = false
    const add = (event: string | undefined, data: string) => {
      since = 0
      events.push({ event, data, cut })
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
        else if (!cut) wrong ??= new NotEvents("a line is not of the event format")
      }
    })
    const feed = (text: string): Effect.Effect<Chunk.Chunk<Event>, NotEvents> => {
      since += text.length
      parser.feed(text)
      if (since > longest) wrong ??= new NotEvents(`more than ${longest} characters came without an event`)
      const ready = Chunk.unsafeFromArray(events)
      events = []
      // What came before the bad line still counts; the failure follows it.
      return wrong === undefined || Chunk.isNonEmpty(ready) ? Effect.succeed(ready) : Effect.fail(wrong)
    }
    const text = (chunk?: Uint8Array): Effect.Effect<string, NotEvents> =>
      Effect.try({
        try: () => chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true }),
        catch: () => new NotEvents("the text is not UTF-8")
      })
    const end = Effect.suspend(() => {
      cut = true
      return Effect.flatMap(Effect.orElseSucceed(text(), () => ""), (rest) => feed(`${rest}\n\n`))
    })
    return Stream.concat(
      Stream.mapChunksEffect(bytes, (chunk) =>
        Effect.suspend(() => {
          if (wrong !== undefined) return Effect.fail(wrong)
          return Chunk.size(chunk) === 1
            ? Effect.flatMap(text(Chunk.unsafeHead(chunk)), feed)
            : Effect.map(
              Effect.forEach(chunk, (one) => Effect.flatMap(text(one), feed)),
              (all) => Chunk.flatten(Chunk.unsafeFromArray(all))
            )
        })),
      Stream.unwrap(Effect.map(Effect.suspend(() => wrong === undefined ? end : Effect.fail(wrong)), Stream.fromChunk))
    )
  })
