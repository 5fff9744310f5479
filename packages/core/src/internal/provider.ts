/**
 * What stands between a provider's code and the service that programs see.
 *
 * A service has a raw side, which must run inside a call and adds to it, and a public side, where each use is a call.
 * Layers that wrap layers build on the raw side, so however many policies are stacked, there is one call and one receipt.
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as LlmError from "../LlmError.ts"
import type { Server, Service, TargetInfo } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import type { FinishReason, LlmResponse, Usage } from "../LlmResponse.ts"
import type { Outcome } from "../Receipt.ts"
import type { StreamPart } from "../StreamPart.ts"
import * as Call from "./call.ts"
import { nowOf } from "./clock.ts"
import { commit } from "./commit.ts"
import { follow } from "./follow.ts"
import { type Gate, type Leave, type Passing, through } from "./gate.ts"
import { localOf } from "./local.ts"
import { type Ended, OpenedStream } from "./opened.ts"
import { reporters } from "./reporters.ts"
import * as Spans from "./spans.ts"

Call.reportTo(reporters)

/** The raw side. */
export interface Raw {
  readonly generate: (request: LlmRequest) => Effect.Effect<LlmResponse, LlmError.LlmError>
  readonly open: (request: LlmRequest) => Effect.Effect<OpenedStream, LlmError.LlmError, Scope.Scope>
}

/**
 * The raw sides of the services made here. Kept outside of them, so that a service built from one of ours by hand, even
 * with a spread, is a service of its own, and what it adds is not passed over.
 */
const raws = new WeakMap<Service, Raw>()

/** The targets of a service; a hand-written one need not say. */
export const targetsOf = (service: Service): readonly [TargetInfo, ...Array<TargetInfo>] => {
  const [first = { provider: "unknown", model: "unknown" }, ...rest] = service.targets ?? []
  return [first, ...rest]
}

/** The raw side of a service. A hand-written one is taken for a provider, whose streams are opened with the same care. */
export const rawOf = (service: Service): Raw =>
  raws.get(service) ?? leaf(targetsOf(service)[0], {
    generate: (request) => service.generate(request),
    open: (request) =>
      Effect.flatMap(service.open(request), (opened) =>
        Effect.flatMap(
          opened instanceof OpenedStream ? Effect.succeed(opened.pull) : Stream.toPull(opened.parts),
          (pull) => commit(pull, targetsOf(service)[0], request.idempotent)
        ))
  }, "by hand")

/** The public side: each use of it is one call. */
export const fromRaw = (
  raw: Raw,
  targets: readonly [TargetInfo, ...Array<TargetInfo>],
  /** Whether the first target is a guess; then the first that is asked counts as the requested one. */
  guessed = false
): Service => {
  const requested = guessed ? undefined : { provider: targets[0].provider, model: targets[0].model }
  const service: Service = {
    targets,
    generate: (request) => Call.called(raw.generate(request), requested),
    open: (request) =>
      Call.inCall(
        raw.open(request),
        requested,
        (opened, call) => follow(opened, call, raw.open(request), targets.length)
      )
  }
  raws.set(service, raw)
  return service
}

/** A service whose uses are calls; ours are already. */
export const publicOf = (service: Service): Service =>
  raws.has(service)
    ? service
    : fromRaw(rawOf(service), targetsOf(service), service.targets?.[0] === undefined)

const notIdempotent = (error: LlmError.LlmError) =>
  error._tag === "AllTargetsFailed" ? error : LlmError.update(error, { idempotent: false })

/**
 * A provider's own code, with each use of it recorded as an attempt of the call around it. What was written by hand may
 * be a wrapper around one of ours, which records its attempts itself, so it is recorded only where nothing else was.
 */
export const leaf = (
  info: TargetInfo,
  run: Raw,
  by: "make" | "by hand",
  server?: Server | undefined
): Raw => {
  const target = { provider: info.provider, model: info.model }

  /** Begins an attempt of a call. */
  const begin = (
    { fiber, local, now: startedAt }: Pick<Passing, "fiber" | "local" | "now">,
    call: Call.Call,
    request: LlmRequest,
    kind: "generate" | "open"
  ): Begun => {
    const before = call.attempts.length
    const begun = by === "make" ? call.begin(target, request.idempotent, startedAt, local) : undefined
    // Of what may be a wrapper, the span is written when it is known that it was none.
    const nanos = begun === undefined ? Spans.nanosOf(fiber) : undefined
    if (begun !== undefined) begun.trace = Spans.attemptStarted(fiber, target, server, request, kind, begun)
    let firstOutput: number | undefined
    return {
      trace: begun?.trace,
      opened: () => {
        firstOutput = nowOf(fiber)
        if (begun !== undefined) call.firstOutput(begun, firstOutput)
      },
      end: (outcome, { answered, finishReason, usage } = {}, now = nowOf(fiber)) => {
        if (begun === undefined && call.attempts.length > before) return
        const recorded = begun ?? call.begin(answered ?? target, request.idempotent, startedAt, local)
        if (nanos !== undefined) {
          recorded.trace = Spans.attemptStarted(fiber, recorded.target, server, request, kind, recorded, nanos)
        }
        if (finishReason !== undefined) Spans.finished(recorded.trace, finishReason)
        if (recorded.firstOutput === undefined && firstOutput !== undefined) call.firstOutput(recorded, firstOutput)
        call.end(recorded, outcome, now, usage)
      }
    }
  }

  /** What a failure must say of the request, on the way of opening and in the middle of the stream alike. */
  const mark = (request: LlmRequest) => request.idempotent ? (error: LlmError.LlmError) => error : notIdempotent

  /** An attempt that ends with its answer. */
  const answering = (request: LlmRequest): Gate => (passing) => {
    const call = Call.liveIn(passing.local)
    if (call === undefined) return outside
    const { end, trace } = begin(passing, call, request, "generate")
    const leave: Leave = (exit, { now }) => {
      if (Exit.isSuccess(exit)) {
        end({ _tag: "Answered", model: exit.value.model }, said(exit.value), now)
        return exit
      }
      end(Call.outcomeOfCause(exit.cause), { usage: usageIn(exit.cause) }, now)
      return request.idempotent ? exit : Exit.failCause(Cause.map(exit.cause, notIdempotent))
    }
    return trace === undefined ? leave : Object.assign(leave, { apart: trace.within })
  }

  return {
    generate: (request) => through([answering(request)], Effect.suspend(() => run.generate(request)), undefined),
    open: (request) =>
      // What begins in this region ends, whenever its time is up.
      Effect.uninterruptibleMask((restore) =>
        Effect.withFiberRuntime((fiber) => {
          const call = Call.live(fiber)
          if (call === undefined) return outside
          const attempt = begin({ fiber, local: localOf(fiber), now: nowOf(fiber) }, call, request, "open")
          const open = Effect.mapError(Effect.suspend(() => run.open(request)), mark(request))
          const all = restore(call.whenCut === "buffer" ? Effect.flatMap(open, whole) : open)
          const opened = inOwnScope(all, target, attempt)
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
  readonly answered?: TargetInfo
}

const said = (answered: LlmResponse): Said => ({ answered, usage: answered.usage, finishReason: answered.finishReason })

/** An attempt that is being recorded. */
interface Begun {
  /** Its span, where one is written. */
  readonly trace: Spans.Trace | undefined
  /** The stream has given its first output. */
  readonly opened: () => void
  /** It has ended; now, unless another time is given. */
  readonly end: (outcome: Outcome, said?: Said, now?: number) => void
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
  target: TargetInfo,
  { end, opened: opens }: Begun
): Effect.Effect<OpenedStream, LlmError.LlmError, Scope.Scope> =>
  Effect.flatMap(
    Effect.scope,
    (outer) =>
      Effect.flatMap(Scope.fork(outer, ExecutionStrategy.sequential), (scope) =>
        Effect.matchCauseEffect(Scope.extend(open, scope), {
          onFailure: (cause) => {
            end(Call.outcomeOfCause(cause), { usage: usageIn(cause) })
            return Effect.zipRight(Scope.close(scope, Exit.failCause(cause)), Effect.failCause(cause))
          },
          onSuccess: (opened) => {
            opens()
            const told = opened.onEnd((ended) => {
              if (ended._tag === "Answered") {
                end({ _tag: "Answered", model: ended.model ?? target.model }, ended)
                return Effect.void
              }
              end(outcomeOf(ended), ended._tag === "Died" ? {} : { usage: ended.usage })
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
      return Call.outcomeOfCause(Cause.fail(ended.error as LlmError.LlmError))
    case "Died":
      return Call.outcomeOfCause(Cause.die(undefined))
    case "Interrupted":
      return Call.outcomeOfCause(Cause.empty)
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
