/**
 * What stands between a provider's code and the service that programs see.
 *
 * A service has a raw side, which must run inside a call and adds to it, and a public side, where each use is a call.
 * Layers that wrap layers build on the raw side, so however many policies are stacked, there is one call and one receipt.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as LlmError from "../LlmError.ts"
import type { Opened, Service, TargetInfo } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import type { LlmResponse } from "../LlmResponse.ts"
import type { StreamPart } from "../StreamPart.ts"
import * as Call from "./call.ts"
import { commit } from "./commit.ts"
import { follow, mapFinish } from "./follow.ts"

/** The raw side. */
export interface Raw {
  readonly generate: (request: LlmRequest) => Effect.Effect<LlmResponse, LlmError.LlmError>
  readonly open: (request: LlmRequest) => Effect.Effect<Opened, LlmError.LlmError, Scope.Scope>
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
    open: (request) => Effect.flatMap(service.open(request), ({ parts }) => commit(parts, targetsOf(service)[0], {}))
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
        "call",
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
export const leaf = (info: TargetInfo, run: Raw, by: "make" | "by hand"): Raw => {
  const target = { provider: info.provider, model: info.model }

  /** Runs `use` as an attempt of the current call. */
  const attempt = <A, R>(
    request: LlmRequest,
    use: (call: Call.Call, end: EndAttempt) => Effect.Effect<A, LlmError.LlmError, R>
  ) =>
    Effect.withFiberRuntime<A, LlmError.LlmError, R>((fiber) => {
      const call = Call.live(fiber)
      if (call === undefined) return Effect.dieMessage("the raw side of a provider runs inside a call")
      const before = call.attempts.length
      const startedAt = Call.nowOf(fiber)
      const begun = by === "make" ? call.begin(target, request.idempotent, startedAt) : undefined
      return use(call, (outcome, answered) => {
        if (begun === undefined && call.attempts.length > before) return
        const recorded = begun ?? call.begin(answered ?? target, request.idempotent, startedAt)
        call.end(recorded, outcome, Call.nowOf(fiber))
      })
    })

  /** What a failure must say of the request, on the way of opening and in the middle of the stream alike. */
  const mark = (request: LlmRequest) => request.idempotent ? (error: LlmError.LlmError) => error : notIdempotent

  return {
    generate: (request) =>
      attempt(
        request,
        (_, end) =>
          Effect.onExit(Effect.mapError(Effect.suspend(() => run.generate(request)), mark(request)), (exit) => {
            if (Exit.isSuccess(exit)) end({ _tag: "Answered", model: exit.value.model }, exit.value)
            else end(Call.outcomeOfCause(exit.cause))
            return Effect.void
          })
      ),
    open: (request) =>
      attempt(
        request,
        (call, end) =>
          inOwnScope(Effect.suspend(() => run.open(request)), call.whenCut === "buffer", mark(request), target, end)
      )
  }
}

/** Ends an attempt, with what is known by then of who answered. */
type EndAttempt = (outcome: Parameters<Call.Call["end"]>[1], answered?: TargetInfo) => void

/**
 * Opens a stream in a scope of its own, so that a failed attempt lets go of its socket at once and not only when the
 * whole call ends, and tells how the stream ends. Where the reader wants it whole, it is read to its end here, so that a
 * cut is a failure of opening.
 */
const inOwnScope = (
  open: Effect.Effect<Opened, LlmError.LlmError, Scope.Scope>,
  whole: boolean,
  mark: (error: LlmError.LlmError) => LlmError.LlmError,
  target: TargetInfo,
  end: EndAttempt
): Effect.Effect<Opened, LlmError.LlmError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
      yield* Scope.addFinalizer(scope, Effect.sync(() => end({ _tag: "Interrupted" })))
      const exit = yield* Effect.exit(restore(Scope.extend(whole ? Effect.flatMap(open, buffered) : open, scope)))
      if (Exit.isFailure(exit)) {
        const failure = Exit.mapError(exit, mark)
        if (Exit.isFailure(failure)) end(Call.outcomeOfCause(failure.cause))
        yield* Scope.close(scope, exit)
        return yield* failure
      }
      return {
        parts: exit.value.parts.pipe(
          Stream.mapError(mark),
          // A connection that failed is closed now, not when whoever takes over has finished.
          Stream.tapErrorCause((cause) =>
            Effect.suspend(() => {
              end(Call.outcomeOfCause(cause))
              return Scope.close(scope, Exit.failCause(cause))
            })
          ),
          (parts) =>
            mapFinish(parts, (finish) => {
              end({ _tag: "Answered", model: finish.model ?? target.model })
              return finish
            })
        )
      }
    })
  )

/** Reads a stream to its end. What fails on the way was handed to nobody. */
const buffered = ({ parts }: Opened): Effect.Effect<Opened, LlmError.LlmError> =>
  Stream.runCollect(parts).pipe(
    Effect.mapError((error) =>
      error._tag === "AllTargetsFailed" ? error : LlmError.update(error, { handedOut: false, partial: "" })
    ),
    Effect.map((all: Chunk.Chunk<StreamPart>) => ({ parts: Stream.fromChunk(all) }))
  )
