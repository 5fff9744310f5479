/** A stream that is open, from the inside: pulled chunk by chunk, and telling how it ends. */
import * as Cause from "effect/Cause"
import type * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as LlmError from "../LlmError.ts"
import type { Opened } from "../LlmProvider.ts"
import { type FinishReason, LlmResponse, type Usage } from "../LlmResponse.ts"
import type { RateLimits } from "../RateLimits.ts"
import type { StreamPart } from "../StreamPart.ts"

/** The next parts; fails with nothing at the end. */
export type Pull = Effect.Effect<Chunk.Chunk<StreamPart>, Option.Option<LlmError.LlmError>>

/** How one use of a provider ended: of a stream, not its opening but its end. */
export type Ended =
  /** With an answer, or with a value that is none of ours. */
  | {
    readonly _tag: "Answered"
    readonly usage: Usage | undefined
    readonly model?: string | undefined
    readonly finishReason?: FinishReason | undefined
    readonly rateLimits?: RateLimits | undefined
  }
  | { readonly _tag: "Failed"; readonly error: unknown; readonly usage: Usage | undefined }
  /** With a defect. */
  | { readonly _tag: "Died" }
  /** It was interrupted, or its reader left before the end. `streamed` says whether output had come by then. */
  | { readonly _tag: "Interrupted"; readonly streamed: boolean; readonly usage?: Usage | undefined }

/** How an effect that is no stream ended. */
export const endedOf = (exit: Exit.Exit<unknown, unknown>): Ended => {
  if (Exit.isSuccess(exit)) {
    const { value } = exit
    return value instanceof LlmResponse
      ? { _tag: "Answered", usage: value.usage, model: value.model, rateLimits: value.rateLimits }
      : { _tag: "Answered", usage: undefined }
  }
  const failure = Cause.failureOption(exit.cause)
  if (Option.isSome(failure)) {
    const error = failure.value
    return { _tag: "Failed", error, usage: LlmError.is(error) && "usage" in error ? error.usage : undefined }
  }
  return Cause.isInterruptedOnly(exit.cause) ? { _tag: "Interrupted", streamed: false } : { _tag: "Died" }
}

/** Is told once how it ended. */
export type Tell = (ended: Ended) => Effect.Effect<void>

/**
 * What a service's `open` gives, on both of its sides. What wraps a stream wraps its pull, which costs a tenth of what
 * wrapping a `Stream` does.
 */
export class OpenedStream implements Opened {
  readonly pull: Pull
  readonly usage: () => Usage | undefined
  readonly parts: Stream.Stream<StreamPart, LlmError.LlmError>
  private ended: Ended | undefined
  private readonly listeners: Array<Tell> = []

  /**
   * @param pull the parts, which can be read once
   * @param usage what the provider has said of the tokens so far
   */
  constructor(pull: Pull, usage: () => Usage | undefined = () => undefined) {
    this.usage = usage
    this.pull = pull
    let read = false
    this.parts = Stream.suspend(() => {
      if (read) return Stream.dieMessage("the parts of an opened stream can be read only once")
      read = true
      return Stream.repeatEffectChunkOption(pull)
    })
  }

  /** The same stream, to be pulled in another way. */
  withPull(pull: Pull): OpenedStream {
    const other = new OpenedStream(pull, this.usage)
    other.ended = this.ended
    if (this.ended === undefined) this.listeners.push((ended) => other.end(ended))
    return other
  }

  /** Has someone told how the stream ends; at once, when it has. */
  onEnd(tell: Tell): Effect.Effect<void> {
    if (this.ended !== undefined) return tell(this.ended)
    this.listeners.push(tell)
    return Effect.void
  }

  /**
   * Ends it; only the first end counts. Listeners are told in the order in which they came, the innermost first, and all
   * of them even if the reader leaves meanwhile.
   */
  end(ended: Ended): Effect.Effect<void> {
    if (this.ended !== undefined) return Effect.void
    return Effect.uninterruptible(Effect.suspend(() => {
      if (this.ended !== undefined) return Effect.void
      this.ended = ended
      return tellAll(this.listeners, 0, ended, Exit.void)
    }))
  }
}

/** Tells all of them, whatever becomes of each: what one of them holds is not lost by the defect of another. */
const tellAll = (
  listeners: ReadonlyArray<Tell>,
  from: number,
  ended: Ended,
  before: Exit.Exit<void>
): Effect.Effect<void> => {
  let all = before
  for (let i = from; i < listeners.length; i++) {
    const told = toldBy(listeners[i]!, ended)
    if (!Exit.isExit(told)) {
      return Effect.flatMap(Effect.exit(told), (exit) => tellAll(listeners, i + 1, ended, Exit.zipRight(all, exit)))
    }
    if (Exit.isFailure(told)) all = Exit.zipRight(all, told as Exit.Exit<void>)
  }
  return all
}

const toldBy = (tell: Tell, ended: Ended): Effect.Effect<void> => {
  try {
    return tell(ended)
  } catch (defect) {
    return Exit.die(defect)
  }
}
