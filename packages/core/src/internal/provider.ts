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
import type { Outcome, Target } from "../Receipt.ts"
import type { StreamPart } from "../StreamPart.ts"
import * as Attempted from "./attempted.ts"
import * as Call from "./call.ts"
import { nowOf } from "./clock.ts"
import { commit, nothingYet, type Progress } from "./commit.ts"
import { follow } from "./follow.ts"
import { type AnyFiber, type Gate, type Leave, type Passing, through } from "./gate.ts"
import { claimed, type Local } from "./local.ts"
import { type Ended, OpenedStream } from "./opened.ts"
import type { Plan } from "./plan.ts"
import { reporters } from "./reporters.ts"
import * as Spans from "./spans.ts"
import { forget, marked, markedExit } from "./spent.ts"

Call.reportTo(reporters)

/** The raw side. */
export interface Raw {
  readonly generate: (request: LlmRequest) => Effect.Effect<LlmResponse, LlmError.LlmError>
  readonly open: (request: LlmRequest) => Effect.Effect<OpenedStream, LlmError.LlmError, Scope.Scope>
}

/** What talks to one target, and tells of a stream how far it has come. */
export interface Code {
  readonly generate: Raw["generate"]
  readonly open: (
    request: LlmRequest,
    progress: Progress
  ) => Effect.Effect<OpenedStream, LlmError.LlmError, Scope.Scope>
}

/**
 * The raw sides of the services made here. Kept outside of them, so that a service built from one of ours by hand, even
 * with a spread, is a service of its own, and what it adds is not passed over.
 */
const raws = new WeakMap<Service, Raw>()

/** The services whose first target is a guess. */
const guesses = new WeakMap<Service, () => boolean>()

/** Whether it is not known which target a service asks first. */
export const isGuess = (service: Service): boolean => guesses.get(service)?.() ?? service.targets?.[0] === undefined

const plans = new WeakMap<Service, Plan>()

/** What a service is made of; a hand-written one is a target. */
export const planOf = (service: Service): Plan =>
  plans.get(service) ?? { _tag: "Target", target: targetsOf(service)[0] }

/** The targets of a service; a hand-written one need not say. */
export const targetsOf = (service: Service): readonly [TargetInfo, ...Array<TargetInfo>] => {
  const [first = { provider: "unknown", model: "unknown" }, ...rest] = service.targets ?? []
  return [first, ...rest]
}

/** The raw side of a service. A hand-written one is taken for a provider, whose streams are opened with the same care. */
export const rawOf = (service: Service): Raw =>
  raws.get(service) ?? leaf(targetsOf(service)[0], {
    generate: (request) => service.generate(request),
    open: (request, progress) =>
      Effect.flatMap(service.open(request), (opened) =>
        Effect.flatMap(
          opened instanceof OpenedStream ? Effect.succeed(opened.pull) : Stream.toPull(opened.parts),
          (pull) => commit(pull, targetsOf(service)[0], request.idempotent, progress)
        ))
  }, "by hand")

/** The public side: each use of it is one call. */
export const fromRaw = (
  raw: Raw,
  targets: readonly [TargetInfo, ...Array<TargetInfo>],
  /** Whether the first target is a guess; then the first that is asked counts as the requested one. */
  guessed: () => boolean = () => false,
  plan: Plan = { _tag: "Target", target: targets[0] }
): Service => {
  const first = { provider: targets[0].provider, model: targets[0].model }
  const requested = () => guessed() ? undefined : first
  const service: Service = {
    targets,
    generate: (request) => Call.called(raw.generate(request), requested()),
    open: (request) =>
      Call.inCall(
        raw.open(request),
        requested(),
        (opened, call) => follow(opened, call, raw.open(request), targets.length)
      )
  }
  raws.set(service, raw)
  plans.set(service, plan)
  guesses.set(service, guessed)
  return service
}

/** A service whose uses are calls; ours are already. */
export const publicOf = (service: Service): Service =>
  raws.has(service)
    ? service
    : fromRaw(rawOf(service), targetsOf(service), () => isGuess(service))

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
    const call = Call.liveIn(passing.local)
    if (call === undefined) return outside
    const attempt = new Begun(about, passing, call, request, undefined)
    const { local } = passing
    forget(local)
    const leave: Leave = (exit, { now }) => {
      if (Exit.isSuccess(exit)) {
        attempt.end({ _tag: "Answered", model: exit.value.model }, said(exit.value), now)
        return exit
      }
      attempt.end(Call.outcomeOfCause(exit.cause), { usage: usageIn(exit.cause) }, now)
      const marked = markedExit(local, exit)
      return request.idempotent ? marked : Exit.mapError(marked, notIdempotent)
    }
    const { trace } = attempt
    return trace === undefined ? leave : Object.assign(leave, { apart: trace.within })
  }

  return {
    generate: (request) => through([answering(request)], Effect.suspend(() => run.generate(request)), undefined),
    open: (request) =>
      Effect.withFiberRuntime((fiber) => {
        const call = Call.live(fiber)
        if (call === undefined) return outside
        const progress = nothingYet()
        const local = claimed(fiber)
        const attempt = new Begun(about, { fiber, local, now: nowOf(fiber) }, call, request, progress)
        forget(local)
        const open = Effect.mapError(Effect.suspend(() => run.open(request, progress)), mark(request, local))
        const opened = inOwnScope(call.whenCut === "buffer" ? Effect.flatMap(open, whole) : open, about.target, attempt)
        return attempt.trace === undefined ? opened : attempt.trace.within(opened)
      })
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
  private readonly call: Call.Call
  private readonly request: LlmRequest
  /** How far its stream has come, of one that opens one. */
  private readonly progress: Progress | undefined
  private readonly startedAt: number
  /** How many attempts there were before. */
  private readonly before: number
  /** When its span began, where that is written later. */
  private readonly nanos: bigint | undefined
  private recorded: Call.Recorded | undefined

  constructor(
    about: About,
    { fiber, local, now }: Pick<Passing, "fiber" | "local" | "now">,
    call: Call.Call,
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
    if (about.by === "make") this.record(about.target)
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
  private underWay(asked: Target): Call.Recorded | undefined {
    const { before, call, fiber, local, recorded } = this
    if (recorded !== undefined && recorded.outcome === undefined) return recorded
    return recorded !== undefined || call.since(before, fiber).length > 0
      ? Attempted.running(call, local)
      : this.record(asked)
  }

  private record(asked: Target): Call.Recorded {
    const { about, call, fiber, local, nanos, progress, request, startedAt } = this
    const attempt = call.begin(asked, request.idempotent, startedAt, local, progress)
    const kind = progress === undefined ? "generate" : "open"
    attempt.trace = Spans.attemptStarted(fiber, attempt.target, about.server, request, kind, attempt, nanos)
    this.recorded = attempt
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
 * whole call ends, and tells how the stream ends.
 */
const inOwnScope = (
  open: Effect.Effect<OpenedStream, LlmError.LlmError, Scope.Scope>,
  target: Target,
  attempt: Begun
): Effect.Effect<OpenedStream, LlmError.LlmError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.scope,
      (outer) =>
        Effect.flatMap(Scope.fork(outer, ExecutionStrategy.sequential), (scope) =>
          Effect.matchCauseEffect(restore(Scope.extend(open, scope)), {
            onFailure: (cause) => {
              attempt.end(Call.outcomeOfCause(cause), { usage: usageIn(cause) })
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
