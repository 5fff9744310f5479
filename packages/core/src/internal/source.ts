/** A stream as a source that is asked for one chunk after the other. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { LlmError } from "../LlmError.ts"
import type { Result, Source } from "../LlmProvider.ts"
import type { StreamPart } from "../StreamPart.ts"

/**
 * Pulls a stream on a fiber of its own, chunk by chunk as it is asked for, so that a reader who stops waiting takes
 * nothing with it. The fiber ends with the scope.
 */
export const ofStream = (
  stream: Stream.Stream<StreamPart, LlmError>
): Effect.Effect<Source, never, Scope.Scope> =>
  Effect.flatMap(Stream.toPull(stream), (pull) => {
    let wake: (() => void) | undefined
    let done: ((result: Result) => void) | undefined
    const asked = Effect.async<void>((resume) => {
      if (done !== undefined) return resume(Effect.void)
      wake = () => resume(Effect.void)
    })
    const answer = (result: Result) =>
      Effect.sync(() => {
        const tell = done
        done = undefined
        tell?.(result)
      })
    const once = Effect.flatMap(Effect.zipRight(asked, Effect.exit(pull)), answer)
    // Whoever opens it may not be interruptible, but closing the scope waits until this is gone.
    return Effect.as(Effect.forkScoped(Effect.interruptible(Effect.forever(once))), {
      next: (tell: (result: Result) => void) => {
        done = tell
        const waker = wake
        wake = undefined
        waker?.()
      }
    })
  })
