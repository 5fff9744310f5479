/** Opens a stream: waits for the first output, and from then on hands the parts through. */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type LlmError, StreamInterrupted } from "../LlmError.ts"
import type { Opened } from "../LlmProvider.ts"
import type { Usage } from "../LlmResponse.ts"
import type { Target } from "../Receipt.ts"
import { isOutput, type StreamPart } from "../StreamPart.ts"
import { copy } from "./copy.ts"

/** How much of a cut answer's text its error keeps, so that an endless stream does not fill the memory: 1 Mi characters. */
const maxPartial = 1024 * 1024

/**
 * Pulls a provider's stream until it has given its first output or is complete; everything before stays in hand and
 * comes first. A failure up to then is the failure of opening, so it can be retried. A stream that ends without a
 * `Finish` fails with `StreamInterrupted`, since success needs a terminal marker.
 */
export const commit = (
  stream: Stream.Stream<StreamPart, LlmError>,
  { model, provider }: Target
): Effect.Effect<Opened, LlmError, Scope.Scope> =>
  Effect.gen(function*() {
    let committed = false
    let finished = false
    let partial = ""
    let usage: Usage | undefined
    const see = (part: StreamPart) => {
      if (part._tag === "Usage") usage = part.usage
      else if (part._tag === "TextDelta" && partial.length < maxPartial) partial += part.text
    }
    /** Nothing comes after a `Finish`. The rest is still read, so that the connection can be used again. */
    const upToFinish = (chunk: Chunk.Chunk<StreamPart>): Chunk.Chunk<StreamPart> => {
      if (finished) return Chunk.empty()
      const end = Chunk.findFirstIndex(chunk, ({ _tag }) => _tag === "Finish")
      if (Option.isNone(end)) return chunk
      finished = true
      return Chunk.take(chunk, end.value + 1)
    }
    const failure = (end: Option.Option<LlmError>): Option.Option<LlmError> => {
      // Whatever happens after a `Finish` happens to a complete answer.
      if (finished) return Option.none()
      if (Option.isNone(end)) {
        return Option.some(
          new StreamInterrupted({
            provider,
            model,
            partial,
            ...(usage === undefined ? {} : { usage }),
            handedOut: committed,
            detail: "the stream ended without saying that the answer is complete"
          })
        )
      }
      // A provider's code knows that its stream broke, and only here it is known what had come through.
      if (end.value._tag !== "StreamInterrupted") return end
      const { handedOut, partial: ownPartial, usage: ownUsage = usage } = end.value
      return Option.some(copy<StreamInterrupted>(end.value, {
        partial: ownPartial === "" ? partial : ownPartial,
        ...(ownUsage === undefined ? {} : { usage: ownUsage }),
        handedOut: committed || handedOut
      }))
    }
    const pull = yield* Stream.toPull(stream)
    const next: typeof pull = pull.pipe(
      Effect.map((chunk) => {
        const parts = upToFinish(chunk)
        Chunk.forEach(parts, see)
        return parts
      }),
      Effect.mapError(failure)
    )

    let preamble = Chunk.empty<StreamPart>()
    let opened = false
    while (!opened) {
      const chunk = yield* Effect.mapError(
        next,
        // The pull ends without a failure only after a `Finish`, and then the loop is over.
        Option.getOrElse((): LlmError => new StreamInterrupted({ provider, model, handedOut: false }))
      )
      preamble = Chunk.appendAll(preamble, chunk)
      opened = finished || Chunk.some(chunk, isOutput)
    }
    committed = true
    return { parts: Stream.concat(Stream.fromChunk(preamble), Stream.fromPull(Effect.succeed(next))) }
  })
