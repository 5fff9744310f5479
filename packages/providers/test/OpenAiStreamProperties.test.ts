import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "effect/FastCheck"
import { delta, eventStream, finish, sse, streamed } from "./support/stream.ts"

/** A body that comes in these pieces. */
const inPieces = (pieces: Iterable<Uint8Array>) => {
  const rest = pieces[Symbol.iterator]()
  return new ReadableStream({
    pull: (controller) => {
      const next = rest.next()
      if (next.done === true) controller.close()
      else controller.enqueue(next.value)
    }
  })
}

const cutAt = (bytes: Uint8Array, places: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const ends = [...new Set([...places.map((place) => place % bytes.length), bytes.length])].toSorted((a, b) => a - b)
  return ends.map((end, i) => bytes.slice(ends[i - 1] ?? 0, end))
}

const apis = ["chat", "responses"] as const

describe("whatever comes", () => {
  it("the parts do not depend on how the bytes are cut into pieces", () => {
    const transcript = [
      ": OPENROUTER PROCESSING\r\n\r\n",
      sse(delta({ reasoning: "hm 🐴" }), delta({ content: "žluťoučký" })).replaceAll("\n", "\r\n"),
      sse(delta({ tool_calls: [{ index: 0, id: "a", function: { name: "look", arguments: "{\"漢\":1}" } }] })),
      sse(finish("tool_calls"), { choices: [], usage: { prompt_tokens: 3, completion_tokens: 5 } }, "[DONE]")
    ].join("")
    const bytes = new TextEncoder().encode(transcript)
    return fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 20 }), (places) =>
        Effect.gen(function*() {
          const found = yield* streamed(() => eventStream(inPieces(cutAt(bytes, places))))
          expect(found.told).toEqual([
            "reasoning hm 🐴",
            "text žluťoučký",
            "call a look",
            "arguments a {\"漢\":1}",
            "usage 3 5",
            "end a",
            "finish toolCalls m-2026"
          ])
        }).pipe(Effect.runPromise)),
      { numRuns: 100 }
    )
  }, 20_000)

  it("S1: a stream cut at any byte before its finish reason fails with the beginning of the text", () => {
    const words = "the quick brown fox 🦊 jumps over the lazy dog"
    const frames = sse(...Array.from(words, (content) => delta({ content })))
    const bytes = new TextEncoder().encode(frames)
    return fc.assert(
      fc.asyncProperty(fc.nat(bytes.length), (end) =>
        Effect.gen(function*() {
          const { error, parts } = yield* streamed(() => eventStream(inPieces([bytes.slice(0, end)])))
          const text = parts.map((part) => part._tag === "TextDelta" ? part.text : "").join("")
          expect(words.startsWith(text)).toBe(true)
          expect(error).toMatchObject({ _tag: "StreamInterrupted", partial: text })
        }).pipe(Effect.runPromise)),
      { numRuns: 100 }
    )
  }, 20_000)

  it("frames of any JSON end in an answer or in one typed failure", () => {
    const field = fc.oneof(
      fc.constantFrom(
        "type",
        "choices",
        "delta",
        "index",
        "finish_reason",
        "content",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "id",
        "usage",
        "error",
        "message",
        "code",
        "response",
        "output",
        "item",
        "status",
        "output_index"
      )
    )
    const type = fc.constantFrom(
      "error",
      "function_call",
      "response.completed",
      "response.failed",
      "response.output_item.done",
      "response.output_text.delta"
    )
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 6 },
        fc.jsonValue({ maxDepth: 0 }),
        type,
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(field, tie("value"), { maxKeys: 5 })
      )
    }))
    return fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...apis),
        fc.array(value, { maxLength: 5 }),
        (api, frames) =>
          Effect.gen(function*() {
            // Anything but an answer or one failure throws.
            const { error, parts } = yield* streamed(sse(...frames.map((frame) => JSON.stringify(frame))), { api })
            expect(error !== undefined || parts.at(-1)?._tag === "Finish").toBe(true)
          }).pipe(Effect.runPromise)
      ),
      { numRuns: 500 }
    )
  }, 20_000)
})
