/** Opens a stream: waits for the first output, and from then on hands the parts through. */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as LlmError from "../LlmError.ts"
import type { Opened } from "../LlmProvider.ts"
import type { Usage } from "../LlmResponse.ts"
import type { Target } from "../Receipt.ts"
import { isOutput, type StreamPart } from "../StreamPart.ts"
import { type Limits, watched } from "./patience.ts"

/** How much of a cut answer's text its error keeps, so that an endless stream does not fill the memory: 1 Mi characters. */
const maxPartial = 1024 * 1024

/** What has come through so far. */
interface Progress {
  committed: boolean
  finished: boolean
  partial: string
  usage: Usage | undefined
}

/** Takes note of a chunk and ends it at its `Finish`, after which nothing counts. */
const note = (progress: Progress, chunk: Chunk.Chunk<StreamPart>): Chunk.Chunk<StreamPart> => {
  let count = 0
  for (const part of chunk) {
    count++
    if (part._tag === "Usage") progress.usage = part.usage
    else if (part._tag === "TextDelta" && progress.partial.length < maxPartial) {
      progress.partial += part.text.slice(0, maxPartial - progress.partial.length)
    } else if (part._tag === "Finish") {
      progress.finished = true
      // An array, since slices of chunks that are then put together lose elements (effect 3.22).
      return Chunk.unsafeFromArray(Chunk.toArray(chunk).slice(0, count))
    }
  }
  return chunk
}

/**
 * The failure that a stream ends with, with what had come through. A stream that ends without a `Finish` was cut, since
 * success needs a terminal marker.
 */
const failure = (progress: Progress, end: Option.Option<LlmError.LlmError>, target: Target): LlmError.LlmError => {
  const error = Option.getOrElse(end, () =>
    new LlmError.StreamInterrupted({
      ...target,
      detail: "the stream ended without saying that the answer is complete"
    }))
  if (error._tag === "AllTargetsFailed") return error
  const { handedOut, partial, usage = progress.usage } = error
  return LlmError.update(error, {
    ...(usage === undefined ? {} : { usage }),
    partial: partial === "" ? progress.partial : partial,
    handedOut: handedOut || progress.committed
  })
}

/**
 * Pulls a provider's stream until it has given its first output or is complete; everything before stays in hand and
 * comes first. A failure up to then is the failure of opening, so it can be retried; one after it says that part of the
 * answer was handed out.
 */
export const commit = (
  stream: Stream.Stream<StreamPart, LlmError.LlmError>,
  target: Target,
  limits: Limits
): Effect.Effect<Opened, LlmError.LlmError, Scope.Scope> =>
  Effect.gen(function*() {
    const progress: Progress = { committed: false, finished: false, partial: "", usage: undefined }
    const raw = yield* Stream.toPull(stream)
    const pull = yield* watched(raw, limits, target, Chunk.some(isOutput))
    const next = Effect.suspend(() =>
      progress.finished ? Effect.fail(Option.none<LlmError.LlmError>()) : Effect.mapBoth(pull, {
        onSuccess: (chunk) => note(progress, chunk),
        onFailure: (end) => Option.some(failure(progress, end, target))
      })
    )

    const preamble: Array<StreamPart> = []
    while (!progress.committed) {
      const chunk = yield* Effect.mapError(next, Option.getOrElse(() => failure(progress, Option.none(), target)))
      for (const part of chunk) preamble.push(part)
      progress.committed = progress.finished || Chunk.some(chunk, isOutput)
    }

    let read = false
    return {
      parts: Stream.suspend(() => {
        if (read) return Stream.dieMessage("the parts of an opened stream can be read only once")
        read = true
        return Stream.concat(Stream.fromChunk(Chunk.unsafeFromArray(preamble)), Stream.fromPull(Effect.succeed(next)))
      })
    }
  })
