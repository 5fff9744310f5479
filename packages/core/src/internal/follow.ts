/** Lets a call last as long as its stream, and starts the stream again elsewhere where the reader wants that. */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Disposition from "../Disposition.ts"
import * as LlmError from "../LlmError.ts"
import type { Receipt } from "../Receipt.ts"
import type { StreamPart } from "../StreamPart.ts"
import { defaultMaxRetryAfter } from "./backoff.ts"
import type { Call } from "./call.ts"
import { log, on, stamp } from "./calling.ts"
import { clockOf } from "./clock.ts"
import { answeredEnd, endOf, interruptedEnd } from "./ending.ts"
import type { End } from "./logs.ts"
import { type Ended, OpenedStream, type Pull } from "./opened.ts"

/** A chunk with its last part changed, where that is the `Finish`. */
const withReceipt = (chunk: Parts, receipt: () => Receipt): Parts => {
  const last = Option.getOrUndefined(Chunk.last(chunk))
  return last?._tag === "Finish" ? Chunk.replace(chunk, chunk.length - 1, { ...last, receipt: receipt() }) : chunk
}

type Parts = Chunk.Chunk<StreamPart>

/** The receipt comes with the last part, with the failure, or to the observers when the stream is left. */
export const follow = (
  opened: OpenedStream,
  call: Call,
  reopen: Effect.Effect<OpenedStream, LlmError.LlmError, Scope.Scope>,
  targets: number
): Effect.Effect<OpenedStream, never, Scope.Scope> =>
  Effect.withFiberRuntime((fiber) => {
    const clock = clockOf(fiber)
    let ended = false
    /** The log line of the end, until it is written. */
    let line = Effect.void
    const written = Effect.suspend(() => {
      const unwritten = line
      line = Effect.void
      return unwritten
    })
    const finish = (end: End) => {
      ended = true
      const receipt = call.close(clock.unsafeCurrentTimeMillis(), end)
      line = log(call, end, receipt)
      return receipt
    }
    /** How the last of the streams ended, which knows what was used. */
    let how: Ended | undefined
    const learn = (stream: OpenedStream) =>
      stream.onEnd((ended) =>
        Effect.sync(() => {
          how = ended
        })
      )
    const receipt = () => finish(answeredEnd)
    const through = (chunk: Parts): Pull => {
      const parts = withReceipt(chunk, receipt)
      return ended
        ? Effect.as(Effect.zipRight(followed.end(how ?? { _tag: "Answered", usage: undefined }), written), parts)
        : Effect.succeed(parts)
    }
    const failed = (cause: Cause.Cause<Option.Option<LlmError.LlmError>>): Pull => {
      // Being interrupted is leaving, and the scope's end will say so.
      if (Cause.isInterruptedOnly(cause)) return Effect.failCause(cause)
      const failure = Cause.failureOption(cause)
      if (Option.isSome(failure) && Option.isNone(failure.value)) return Effect.failCause(cause)
      const receipt = finish(
        endOf(Cause.flatMap(cause, Option.match({ onNone: () => Cause.empty, onSome: Cause.fail })))
      )
      const stamped = Cause.map(cause, Option.map((error) => stamp(error, receipt)))
      const error = Option.flatMap(Cause.failureOption(stamped), (error) => error)
      return Effect.zipRight(
        Effect.zipRight(
          followed.end(
            Option.isNone(error)
              ? { _tag: "Died" }
              : { _tag: "Failed", error: error.value, usage: how?._tag === "Failed" ? how.usage : undefined }
          ),
          written
        ),
        Effect.failCause(stamped)
      )
    }
    const left = Effect.suspend(() => {
      if (!ended) finish(interruptedEnd)
      return Effect.zipRight(followed.end({ _tag: "Interrupted", streamed: true }), written)
    })
    let followed: OpenedStream = opened
    return Effect.flatMap(Effect.scope, (scope) => {
      const again = Effect.tap(Scope.extend(reopen, scope), learn)
      const pull = call.whenCut === "restart"
        ? restarting(opened.pull, call, again, { targets, left: Math.max(1, targets - 1) })
        : opened.pull
      followed = new OpenedStream(Effect.matchCauseEffect(pull, { onSuccess: through, onFailure: failed }))
      return Effect.as(Effect.zipRight(learn(opened), Scope.addFinalizer(scope, left)), followed)
    })
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
 * Pulls a stream and, when it is cut, opens it again with the cut target avoided, announced by a `Restarted` part. Not
 * after a tool call was handed out, whose effects the reader cannot discard. When the new one cannot be opened, the
 * failure holds both: the first is not hidden by the second.
 */
const restarting = (
  opened: Pull,
  call: Call,
  reopen: Effect.Effect<OpenedStream, LlmError.LlmError>,
  restarts: Restarts
): Pull => {
  let pull = opened
  let left = restarts.left
  let toolCalled = false
  let before: LlmError.LlmError | undefined

  const pause = (wait: Duration.Duration, because: string) =>
    Effect.flatMap(Effect.clock, (clock) => {
      if (Duration.greaterThan(wait, Duration.zero)) call.waits(wait, because, clock.unsafeCurrentTimeMillis())
      return Effect.sleep(wait)
    })

  const restart = (cut: LlmError.LlmError): Pull => {
    const all = before === undefined ? cut : LlmError.both(before, cut)
    if (left === 0 || toolCalled || !mayRestart(cut)) return Effect.fail(Option.some(all))
    // Whoever is asked again has said when; another target has not.
    const wait = restarts.targets > 1 ? undefined : cut.retryAfter
    if (wait !== undefined && Duration.greaterThan(wait, defaultMaxRetryAfter)) return Effect.fail(Option.some(all))
    call.startAgain(cut)
    const again = on(call, reopen)
    return Effect.matchEffect(wait === undefined ? again : Effect.zipRight(pause(wait, cut._tag), again), {
      onFailure: (error) => Effect.fail(Option.some(LlmError.both(all, error))),
      onSuccess: (opened) => {
        const { model, provider } = call.target
        before = all
        left -= 1
        pull = opened.pull
        return Effect.succeed(Chunk.of<StreamPart>({ _tag: "Restarted", provider, model }))
      }
    })
  }

  return Effect.suspend(() =>
    Effect.matchEffect(pull, {
      onSuccess: (chunk) => {
        toolCalled ||= Chunk.some(chunk, isToolCall)
        return Effect.succeed(chunk)
      },
      onFailure: Option.match({ onNone: () => Effect.fail(Option.none()), onSome: restart })
    })
  )
}
