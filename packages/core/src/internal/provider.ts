/**
 * What stands between a provider's code and the service that programs see: recording attempts, and making each use of
 * the service one call.
 *
 * A service has a raw side, which must run inside a call and adds to it, and a public side, which begins one. Layers that
 * wrap layers build on the raw side, so however many policies are stacked, there is one call and one receipt.
 */
import * as Chunk from "effect/Chunk"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as LlmError from "../LlmError.ts"
import type { Opened, Service, TargetInfo } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import type { LlmResponse } from "../LlmResponse.ts"
import type { StreamPart } from "../StreamPart.ts"
import * as Call from "./call.ts"

/** The raw side. */
export interface Raw {
  readonly generate: (request: LlmRequest) => Effect.Effect<LlmResponse, LlmError.LlmError>
  readonly open: (request: LlmRequest) => Effect.Effect<Opened, LlmError.LlmError, Scope.Scope>
}

/** Where a service of ours keeps its raw side. */
export const RawId: unique symbol = Symbol.for("perdure/LlmProvider/Raw")

const unknownTarget: TargetInfo = { provider: "unknown", model: "unknown" }

/** The targets of a service; a hand-written one need not say. */
export const targetsOf = (service: Service): readonly [TargetInfo, ...Array<TargetInfo>] => {
  const [first = unknownTarget, ...rest] = service.targets ?? []
  return [first, ...rest]
}

/** The raw side of a service; a hand-written one is taken for a provider. */
export const rawOf = (service: Service): Raw => service[RawId] ?? leaf(targetsOf(service)[0], service)

/** The public side: each use of it is one call. */
export const fromRaw = (raw: Raw, targets: readonly [TargetInfo, ...Array<TargetInfo>]): Service => {
  const { model, provider } = targets[0]
  const requested = { provider, model }
  return {
    targets,
    [RawId]: raw,
    generate: (request) => Call.tracked(raw.generate(request), requested),
    open: (request) => Call.inCall(raw.open(request), requested, ({ parts }, call) => follow(parts, call))
  }
}

const notIdempotent = (error: LlmError.LlmError) =>
  error._tag === "AllTargetsFailed" ? error : LlmError.update(error, { idempotent: false })

/** A provider's own code, with each use of it recorded as an attempt of the call around it. */
export const leaf = ({ model, provider }: TargetInfo, run: Raw): Raw => {
  const target = { provider, model }

  const attempt = <A, R, R2>(
    request: LlmRequest,
    use: (request: LlmRequest) => Effect.Effect<A, LlmError.LlmError, R>,
    record: (
      effect: Effect.Effect<A, LlmError.LlmError, R>,
      call: Call.Call,
      attempt: Call.Recorded
    ) => Effect.Effect<A, LlmError.LlmError, R2>
  ) =>
    Effect.withFiberRuntime<A, LlmError.LlmError, R | R2>((fiber) => {
      const effect = Effect.suspend(() => use(request))
      const call = fiber.getFiberRef(Call.current)
      if (call === undefined) return effect
      if (!request.idempotent) call.notIdempotent()
      return record(
        request.idempotent ? effect : Effect.mapError(effect, notIdempotent),
        call,
        call.begin(target, Call.nowOf(fiber))
      )
    })

  return {
    generate: (request) =>
      attempt(
        request,
        run.generate,
        (effect, call, recorded) =>
          Effect.onExit(effect, (exit) =>
            Effect.clockWith((clock) => {
              Call.endAttempt(call, recorded, exit, clock.unsafeCurrentTimeMillis())
              return Effect.void
            }))
      ),
    open: (request) => attempt(request, run.open, (effect, call, recorded) => inOwnScope(effect, call, recorded))
  }
}

/**
 * Opens a stream in a scope of its own, so that a failed attempt lets go of its socket at once and not only when the
 * whole call ends, and records how the stream ends.
 */
const inOwnScope = <R>(
  open: Effect.Effect<Opened, LlmError.LlmError, R>,
  call: Call.Call,
  attempt: Call.Recorded
): Effect.Effect<Opened, LlmError.LlmError, R | Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const clock = yield* Effect.clock
      const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
      const end = (outcome: Parameters<typeof call.end>[1]) =>
        call.end(attempt, outcome, clock.unsafeCurrentTimeMillis())
      yield* Scope.addFinalizer(scope, Effect.sync(() => end({ _tag: "Interrupted" })))
      const exit = yield* Effect.exit(restore(Scope.extend(open, scope)))
      if (Exit.isFailure(exit)) {
        end(Call.outcomeOfCause(exit.cause))
        yield* Scope.close(scope, exit)
        return yield* exit
      }
      return {
        parts: onEnd(
          exit.value.parts,
          (finish) => {
            end({ _tag: "Answered", model: finish.model ?? attempt.target.model })
            return finish
          },
          (error) => {
            end(Call.failed(error))
            return error
          }
        )
      }
    })
  )

type Finish = Extract<StreamPart, { _tag: "Finish" }>

/** Changes the last part of a stream, or the failure that it ends with. Looks only at the last part of each chunk. */
const onEnd = (
  parts: Opened["parts"],
  onFinish: (finish: Finish) => Finish,
  onFailure: (error: LlmError.LlmError) => LlmError.LlmError
): Opened["parts"] =>
  parts.pipe(
    Stream.mapChunks((chunk) => {
      const last = Option.getOrUndefined(Chunk.last(chunk))
      return last?._tag === "Finish" ? Chunk.append(Chunk.dropRight(chunk, 1), onFinish(last)) : chunk
    }),
    Stream.mapError(onFailure)
  )

/** Lets a call last as long as its stream: the receipt comes with the last part, with the failure, or when it is left. */
const follow = (parts: Opened["parts"], call: Call.Call): Effect.Effect<Opened, never, Scope.Scope> =>
  Effect.flatMap(Effect.clock, (clock: Clock.Clock) => {
    let ended = false
    const finish = (outcome: Parameters<typeof Call.finish>[2]) => {
      ended = true
      return Call.finish(call, clock.unsafeCurrentTimeMillis(), outcome)
    }
    return Effect.as(
      Effect.addFinalizer(() => Effect.sync(() => ended ? undefined : finish("Interrupted"))),
      {
        parts: onEnd(
          parts,
          (last) => ({ ...last, receipt: finish("Answered") }),
          (error) => Call.stamp(error, finish("Failed"))
        )
      }
    )
  })
