/** Lets a call last as long as its stream, and starts the stream again elsewhere where the reader wants that. */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Disposition from "../Disposition.ts"
import * as LlmError from "../LlmError.ts"
import type { Opened } from "../LlmProvider.ts"
import type { StreamPart } from "../StreamPart.ts"
import { defaultMaxRetryAfter } from "./backoff.ts"
import * as Call from "./call.ts"

type Finish = Extract<StreamPart, { _tag: "Finish" }>
type Parts = Opened["parts"]

/** Changes the last part of a stream. Looks only at the last part of each chunk. */
export const mapFinish = (parts: Parts, f: (finish: Finish) => Finish): Parts =>
  Stream.mapChunks(parts, (chunk) => {
    const last = Option.getOrUndefined(Chunk.last(chunk))
    return last?._tag === "Finish" ? Chunk.replace(chunk, chunk.length - 1, f(last)) : chunk
  })

/** The receipt comes with the last part, with the failure, or to the observers when the stream is left. */
export const follow = (
  opened: Opened,
  call: Call.Call,
  reopen: Effect.Effect<Opened, LlmError.LlmError, Scope.Scope>,
  targets: number
): Effect.Effect<Opened, never, Scope.Scope> =>
  Effect.flatMap(Effect.clock, (clock) => {
    let ended = false
    const finish = (outcome: Parameters<typeof Call.finish>[2]) => {
      ended = true
      return Call.finish(call, clock.unsafeCurrentTimeMillis(), outcome)
    }
    const parts = call.whenCut === "restart"
      ? restarting(opened.parts, call, reopen, { targets, left: Math.max(1, targets - 1) })
      : opened.parts
    return Effect.as(
      Effect.addFinalizer(() => Effect.sync(() => ended ? undefined : finish("Interrupted"))),
      {
        parts: mapFinish(parts, (last) => ({ ...last, receipt: finish("Answered") })).pipe(
          Stream.mapErrorCause((cause) => {
            // Being interrupted is leaving, and the scope's end will say so.
            if (Cause.isInterruptedOnly(cause)) return cause
            const receipt = finish("Failed")
            return Cause.map(cause, (error) => Call.stamp(error, receipt))
          })
        )
      }
    )
  })

/** How many targets there are, and how often a stream may still start again. */
interface Restarts {
  readonly targets: number
  readonly left: number
}

const isToolCall = ({ _tag }: StreamPart): boolean => _tag.startsWith("ToolCall")

/** Whether a cut stream may be started again: as if nothing had been handed out, since the reader will discard it. */
const mayRestart = (error: LlmError.LlmError): boolean => {
  if (error._tag === "AllTargetsFailed") return false
  const disposition = Disposition.classify(LlmError.update(error, { handedOut: false, spent: false }))
  return Disposition.mayRepeat(disposition) || disposition.next === "elsewhereOnly"
}

/**
 * Reads a stream and, when it is cut, opens it again with the cut target avoided, announced by a `Restarted` part. Not
 * after a tool call was handed out, whose effects the reader cannot discard. When the new one cannot be opened, the
 * failure holds both: the first is not hidden by the second.
 */
const restarting = (
  parts: Parts,
  call: Call.Call,
  reopen: Effect.Effect<Opened, LlmError.LlmError, Scope.Scope>,
  restarts: Restarts,
  before?: LlmError.LlmError
): Parts =>
  Stream.suspend(() => {
    let toolCalled = false
    return parts.pipe(
      Stream.mapChunks((chunk) => {
        toolCalled ||= Chunk.some(chunk, isToolCall)
        return chunk
      }),
      Stream.catchAll((cut): Parts => {
        const all = before === undefined ? cut : LlmError.both(before, cut)
        if (restarts.left === 0 || toolCalled || !mayRestart(cut)) return Stream.fail(all)
        const from = call.target
        call.cuts.set(Call.targetKey(from), LlmError.update(cut, { handedOut: false }))
        // Whoever is asked again has said when; another target has not.
        const wait = restarts.targets > 1 ? undefined : cut.retryAfter
        if (wait !== undefined && Duration.greaterThan(wait, defaultMaxRetryAfter)) return Stream.fail(all)
        const again = Effect.locally(reopen, Call.current, call)
        return Stream.unwrapScoped(
          Effect.matchEffect(wait === undefined ? again : Effect.zipRight(Effect.sleep(wait), again), {
            onFailure: (error) => Effect.fail(LlmError.both(all, error)),
            onSuccess: (again) =>
              Effect.map(Effect.clock, (clock) => {
                const to = call.target
                if (Call.targetKey(from) !== Call.targetKey(to)) {
                  call.fallBack({ _tag: "FellBack", at: clock.unsafeCurrentTimeMillis(), from, to, because: cut._tag })
                }
                const restarted: StreamPart = { _tag: "Restarted", provider: to.provider, model: to.model }
                return Stream.concat(
                  Stream.make(restarted),
                  restarting(again.parts, call, reopen, { ...restarts, left: restarts.left - 1 }, all)
                )
              })
          })
        )
      })
    )
  })
