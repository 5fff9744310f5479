/** A provider's own code, whose uses are put on the record of the call around them. */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as LlmError from "../LlmError.ts"
import type { Server, TargetInfo } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import type { FinishReason, LlmResponse, Usage } from "../LlmResponse.ts"
import type { Outcome, Target } from "../Receipt.ts"
import type { StreamPart } from "../StreamPart.ts"
import * as Attempted from "./attempted.ts"
import { type Call, live, liveIn, type Unrecorded } from "./call.ts"
import { nowOf } from "./clock.ts"
import { nothingYet, type Progress } from "./commit.ts"
import { outcomeOfCause } from "./ending.ts"
import { type AnyFiber, type Gate, type Leave, type Passing, through } from "./gate.ts"
import { claimed, type Local } from "./local.ts"
import { type Ended, OpenedStream } from "./opened.ts"
import type { Raw } from "./provider.ts"
import type { Recorded } from "./recorded.ts"
import * as Spans from "./spans.ts"
import { forget, marked, markedExit } from "./spent.ts"

/** What talks to one target, and tells of a stream how far it has come. */
export interface Code {
  readonly generate: Raw["generate"]
  readonly open: (
    request: LlmRequest,
    progress: Progress
  ) => Effect.Effect<OpenedStream, LlmError.LlmError, Scope.Scope>
}

const notIdempotent = (error: LlmError.LlmError) =>
  error._tag === "AllTargetsFailed" ? error : LlmError.update(error, { idempotent: false })

/**
 * A provider's own code, with each use of it recorded as an attempt of the call around it. What was written by hand may
 * be a wrapper around one of ours, which records its attempts itself, so it is recorded only where nothing else was.
 */
export const leaf = (
  info: TargetInfo,
  run: Code,
  by: "make" | "by hand",
  server?: Server | undefined
): Raw => {
  const about: About = { target: { provider: info.provider, model: info.model }, by, server }

  /** What a failure must say of the request, on the way of opening and in the middle of the stream alike. */
  const mark = (request: LlmRequest, local: Local) => (error: LlmError.LlmError) =>
    request.idempotent ? marked(local, error) : notIdempotent(marked(local, error))

  /** An attempt that ends with its answer. */
  const answering = (request: LlmRequest): Gate => (passing) => {
    const call = liveIn(passing.local)
    if (call === undefined) return outside
    const attempt = new Begun(about, passing, call, request, undefined)
    const { local } = passing
    forget(local)
    const leave: Leave = (exit, { now }) => {
      if (Exit.isSuccess(exit)) {
        attempt.end({ _tag: "Answered", model: exit.value.model }, said(exit.value), now)
        return exit
      }
      attempt.end(outcomeOfCause(exit.cause), { usage: usageIn(exit.cause) }, now)
      const marked = markedExit(local, exit)
      return request.idempotent ? marked : Exit.mapError(marked, notIdempotent)
    }
    const { trace } = attempt
    return trace === undefined ? leave : Object.assign(leave, { apart: trace.within })
  }

  return {
    generate: (request) => through([answering(request)], Effect.suspend(() => run.generate(request)), undefined),
    open: (request) =>
      // What begins in this region ends, whenever its time is up.
      Effect.uninterruptibleMask((restore) =>
        Effect.withFiberRuntime((fiber) => {
          const call = live(fiber)
          if (call === undefined) return outside
          const progress = nothingYet()
          const local = claimed(fiber)
          const attempt = new Begun(about, { fiber, local, now: nowOf(fiber) }, call, request, progress)
          forget(local)
          const open = Effect.mapError(Effect.suspend(() => run.open(request, progress)), mark(request, local))
          const all = restore(call.whenCut === "buffer" ? Effect.flatMap(open, whole) : open)
          const opened = inOwnScope(all, about.target, attempt)
          return attempt.trace === undefined ? opened : attempt.trace.within(opened)
        })
      )
  }
}

const outside = Effect.dieMessage("the raw side of a provider runs inside a call")

/** What is known at the end of an attempt. */
interface Said {
  readonly usage?: Usage | undefined
  readonly finishReason?: FinishReason | undefined
  /** The answer, which says who gave it. */
  readonly answered?: Target
}

const said = (answered: LlmResponse): Said => ({ answered, usage: answered.usage, finishReason: answered.finishReason })

/** Whose attempts are recorded. */
interface About {
  readonly target: Target
  readonly by: "make" | "by hand"
  readonly server: Server | undefined
}

/** An attempt that is being made. */
class Begun {
  private readonly about: About
  private readonly fiber: AnyFiber
  private readonly local: Local
  private readonly call: Call
  private readonly request: LlmRequest
  /** How far its stream has come, of one that opens one. */
  private readonly progress: Progress | undefined
  private readonly startedAt: number
  /** How many attempts there were before. */
  private readonly before: number
  /** When its span began, where that is written later. */
  private readonly nanos: bigint | undefined
  private recorded: Recorded | undefined
  private readonly use: Unrecorded

  constructor(
    about: About,
    { fiber, local, now }: Pick<Passing, "fiber" | "local" | "now">,
    call: Call,
    request: LlmRequest,
    progress: Progress | undefined
  ) {
    this.about = about
    this.fiber = fiber
    this.local = local
    this.call = call
    this.request = request
    this.progress = progress
    this.startedAt = now
    this.before = call.count
    this.nanos = about.by === "make" ? undefined : Spans.nanosOf(fiber)
    this.recorded = undefined
    this.use = { idempotent: request.idempotent, branch: local.branch }
    if (about.by === "make") this.record(about.target)
    else call.enter(this.use)
  }

  /** Its span, where one is written. */
  get trace(): Spans.Trace | undefined {
    return this.recorded?.trace
  }

  /** The stream has given its first output. */
  opened(): void {
    const attempt = this.underWay(this.about.target)
    if (attempt !== undefined) this.call.firstOutput(attempt, nowOf(this.fiber))
  }

  /** It has ended; now, unless another time is given. */
  end(outcome: Outcome, { answered, finishReason, usage }: Said = {}, now = nowOf(this.fiber)): void {
    const attempt = this.underWay(answered ?? this.about.target)
    this.call.leave(this.use)
    if (attempt === undefined) return
    if (finishReason !== undefined) Spans.finished(attempt.trace, finishReason)
    const before = Attempted.endOf(attempt, outcome)
    if (before === undefined) this.call.end(attempt, outcome, now, usage)
    else this.call.end(attempt, before.outcome, before.at, before.usage, "late")
  }

  /**
   * What is under way of it: itself, or the last of the requests that its code told of, if any. What may be a wrapper is
   * recorded when it is known that it was none, with its first output or its end.
   */
  private underWay(asked: Target): Recorded | undefined {
    const { before, call, fiber, local, recorded } = this
    if (recorded !== undefined && recorded.outcome === undefined) return recorded
    return recorded !== undefined || call.since(before, fiber).length > 0
      ? Attempted.running(call, local)
      : this.record(asked)
  }

  private record(asked: Target): Recorded {
    const { about, call, fiber, local, nanos, progress, request, startedAt } = this
    const attempt = call.begin(asked, request.idempotent, startedAt, local, progress)
    const kind = progress === undefined ? "generate" : "open"
    attempt.trace = Spans.attemptStarted(fiber, attempt.target, about.server, request, kind, attempt, nanos)
    this.recorded = attempt
    call.leave(this.use)
    return attempt
  }
}

/** The tokens that a failure tells of. */
const usageIn = (cause: Cause.Cause<LlmError.LlmError>): Usage | undefined => {
  const failure = Option.getOrUndefined(Cause.failureOption(cause))
  return failure !== undefined && "usage" in failure ? failure.usage : undefined
}

/**
 * Opens a stream in a scope of its own, so that a failed attempt lets go of its socket at once and not only when the
 * whole call ends, and tells how the stream ends. It runs uninterruptibly; what it opens need not.
 */
const inOwnScope = (
  open: Effect.Effect<OpenedStream, LlmError.LlmError, Scope.Scope>,
  target: Target,
  attempt: Begun
): Effect.Effect<OpenedStream, LlmError.LlmError, Scope.Scope> =>
  Effect.flatMap(
    Effect.scope,
    (outer) =>
      Effect.flatMap(Scope.fork(outer, ExecutionStrategy.sequential), (scope) =>
        Effect.matchCauseEffect(Scope.extend(open, scope), {
          onFailure: (cause) => {
            attempt.end(outcomeOfCause(cause), { usage: usageIn(cause) })
            return Effect.zipRight(Scope.close(scope, Exit.failCause(cause)), Effect.failCause(cause))
          },
          onSuccess: (opened) => {
            attempt.opened()
            const told = opened.onEnd((ended) => {
              if (ended._tag === "Answered") {
                attempt.end({ _tag: "Answered", model: ended.model ?? target.model }, ended)
                return Effect.void
              }
              attempt.end(outcomeOf(ended), ended._tag === "Died" ? {} : { usage: ended.usage })
              // A connection that failed is closed now, not when whoever takes over has finished.
              return ended._tag === "Interrupted" ? Effect.void : Scope.close(scope, Exit.void)
            })
            const left = Effect.suspend(() =>
              opened.end({ _tag: "Interrupted", streamed: true, usage: opened.usage() })
            )
            return Effect.zipRight(Effect.zipRight(told, Scope.addFinalizer(scope, left)), Effect.succeed(opened))
          }
        }))
  )

const outcomeOf = (ended: Exclude<Ended, { _tag: "Answered" }>): Outcome => {
  switch (ended._tag) {
    case "Failed":
      return outcomeOfCause(Cause.fail(ended.error as LlmError.LlmError))
    case "Died":
      return outcomeOfCause(Cause.die(undefined))
    case "Interrupted":
      return outcomeOfCause(Cause.empty)
  }
}

/** Reads a stream to its end. What fails on the way was handed to nobody. */
const whole = (opened: OpenedStream): Effect.Effect<OpenedStream, LlmError.LlmError> => {
  let all: Chunk.Chunk<StreamPart> = Chunk.empty()
  const read: Effect.Effect<OpenedStream, LlmError.LlmError> = Effect.matchEffect(opened.pull, {
    onSuccess: (chunk) => {
      all = Chunk.appendAll(all, chunk)
      return read
    },
    onFailure: Option.match({
      onSome: (error) =>
        Effect.fail(
          error._tag === "AllTargetsFailed" ? error : LlmError.update(error, { handedOut: false, partial: "" })
        ),
      onNone: () => {
        let read = false
        return Effect.succeed(opened.withPull(Effect.suspend(() => {
          if (read) return Effect.fail(Option.none())
          read = true
          return Effect.succeed(all)
        })))
      }
    })
  })
  return read
}
