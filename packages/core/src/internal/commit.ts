/** Opens a stream: waits for the first output, and from then on hands the parts through. */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as LlmError from "../LlmError.ts"
import type { Source } from "../LlmProvider.ts"
import type { Usage } from "../LlmResponse.ts"
import type { Target } from "../Receipt.ts"
import { isOutput, type StreamPart } from "../StreamPart.ts"
import { type Ended, OpenedStream, type Pull } from "./opened.ts"
import { type Limits, patient } from "./patience.ts"

/** How much of a cut answer's text its error keeps, so that an endless stream does not fill the memory: 1 Mi characters. */
const maxPartial = 1024 * 1024

/** What has come through so far. */
export interface Progress {
  committed: boolean
  finish: Extract<StreamPart, { _tag: "Finish" }> | undefined
  partial: string
  usage: Usage | undefined
}

export const nothingYet = (): Progress => ({ committed: false, finish: undefined, partial: "", usage: undefined })

/** Takes note of a chunk and ends it at its `Finish`, after which nothing counts. */
const note = (progress: Progress, chunk: Chunk.Chunk<StreamPart>): Chunk.Chunk<StreamPart> => {
  let count = 0
  for (const part of Chunk.toReadonlyArray(chunk)) {
    count++
    if (part._tag === "TextDelta") {
      if (progress.partial.length < maxPartial) {
        progress.partial += part.text.slice(0, maxPartial - progress.partial.length)
      }
    } else if (part._tag === "Usage") progress.usage = part.usage
    else if (part._tag === "Finish") {
      progress.finish = part
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
const failure = (
  progress: Progress,
  end: Option.Option<LlmError.LlmError>,
  target: Target,
  idempotent: boolean
): LlmError.LlmError => {
  const error = Option.getOrElse(end, () =>
    new LlmError.StreamInterrupted({
      provider: target.provider,
      model: target.model,
      detail: "the stream ended without saying that the answer is complete"
    }))
  if (error._tag === "AllTargetsFailed") return error
  const { handedOut, partial, usage = progress.usage } = error
  return LlmError.update(error, {
    ...(usage === undefined ? {} : { usage }),
    partial: partial === "" ? progress.partial : partial,
    handedOut: handedOut || progress.committed,
    idempotent: error.idempotent && idempotent
  })
}

const answered = ({ finish, usage }: Progress): Ended => ({
  _tag: "Answered",
  usage,
  model: finish?.model,
  finishReason: finish?.finishReason,
  rateLimits: finish?.rateLimits
})

/**
 * Pulls a provider's parts until it has given its first output or is complete; everything before stays in hand and comes
 * first. A failure up to then is the failure of opening, so it can be retried; one after it says that part of the answer
 * was handed out. Whoever asked can look at the progress at any time.
 */
export const commit = (
  parts: Pull,
  target: Target,
  idempotent: boolean,
  progress: Progress
): Effect.Effect<OpenedStream, LlmError.LlmError> => {
  const preamble: Array<StreamPart> = []

  const preface: Effect.Effect<void, LlmError.LlmError> = Effect.matchEffect(parts, {
    onFailure: (end) => Effect.fail(failure(progress, end, target, idempotent)),
    onSuccess: (all) => {
      const chunk = note(progress, all)
      for (const part of chunk) preamble.push(part)
      progress.committed = progress.finish !== undefined || Chunk.some(chunk, isOutput)
      return progress.committed ? Effect.void : preface
    }
  })

  return Effect.map(preface, () => {
    let first: Chunk.Chunk<StreamPart> | undefined = Chunk.unsafeFromArray(preamble)
    const ended = Effect.suspend(() => opened.end(answered(progress)))
    const through = (all: Chunk.Chunk<StreamPart>) => {
      const chunk = note(progress, all)
      return progress.finish === undefined ? Effect.succeed(chunk) : Effect.as(ended, chunk)
    }
    const next: Pull = Effect.matchCauseEffect(parts, {
      onSuccess: through,
      onFailure: (cause) => {
        const end = Cause.failureOption(cause)
        if (Option.isNone(end)) {
          return Cause.isInterruptedOnly(cause)
            ? Effect.failCause(cause)
            : Effect.zipRight(opened.end({ _tag: "Died" }), Effect.failCause(cause))
        }
        const error = failure(progress, end.value, target, idempotent)
        return Effect.zipRight(
          opened.end({ _tag: "Failed", error, usage: progress.usage }),
          Effect.fail(Option.some(error))
        )
      }
    })
    const opened: OpenedStream = new OpenedStream(
      Effect.suspend((): Pull => {
        if (first === undefined) return progress.finish === undefined ? next : Effect.fail(Option.none())
        const chunk = first
        first = undefined
        return progress.finish === undefined ? Effect.succeed(chunk) : Effect.as(ended, chunk)
      }),
      () => progress.usage
    )
    return opened
  })
}

/** Opens a source, with the time limits of its parts. */
export const opening = (
  source: Source,
  limits: Limits,
  target: Target,
  idempotent: boolean,
  progress: Progress
): Effect.Effect<OpenedStream, LlmError.LlmError, Scope.Scope> =>
  Effect.flatMap(patient(source, limits, target), (pull) => commit(pull, target, idempotent, progress))
