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
      if (part._tag === "Finish") finished = true
      else if (part._tag === "Usage") usage = part.usage
      else if (part._tag === "TextDelta" && partial.length < maxPartial) partial += part.text
    }
    const pull = yield* Stream.toPull(stream)
    const next: typeof pull = pull.pipe(
      Effect.tap((chunk) => Effect.sync(() => Chunk.forEach(chunk, see))),
      Effect.catchAll((end) =>
        Effect.fail(
          Option.isSome(end) || finished
            ? end
            : Option.some(
              new StreamInterrupted({
                provider,
                model,
                partial,
                ...(usage === undefined ? {} : { usage }),
                handedOut: committed,
                detail: "the stream ended without saying that the answer is complete"
              })
            )
        )
      )
    )

    let preamble = Chunk.empty<StreamPart>()
    while (!finished && !Chunk.some(preamble, isOutput)) {
      const chunk = yield* Effect.mapError(
        next,
        // The pull ends without a failure only after a `Finish`, and then the loop is over.
        Option.getOrElse((): LlmError => new StreamInterrupted({ provider, model, handedOut: false }))
      )
      preamble = Chunk.appendAll(preamble, chunk)
    }
    committed = true
    return { parts: Stream.concat(Stream.fromChunk(preamble), Stream.fromPull(Effect.succeed(next))) }
  })
