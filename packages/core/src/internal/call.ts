/**
 * The recorder behind receipts and call events. A call lives in a fiber reference, so that whatever runs inside it, on
 * this fiber or on one forked from it, adds to the same story.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import * as Option from "effect/Option"
import type { Event, Observer } from "../Call.ts"
import * as LlmError from "../LlmError.ts"
import { LlmResponse } from "../LlmResponse.ts"
import * as Receipt from "../Receipt.ts"
import { copy, instance } from "./copy.ts"

/** What to do when a stream is cut after its first output. */
export type WhenCut = "fail" | "restart" | "buffer"

export interface Recorded {
  readonly number: number
  readonly target: Receipt.Target
  readonly idempotent: boolean
  readonly start: number
  end: number | undefined
  outcome: Receipt.Outcome | undefined
  /** Set by a policy before it interrupts the attempt: it then ended by this, not by the caller. */
  cut: LlmError.LlmError | undefined
}

/** The most attempts that a track keeps: a program that never ends must not fill the memory with its story. */
const most = 1000

const unknown: Receipt.Target = { provider: "unknown", model: "unknown" }

const interrupted: Receipt.Outcome = { _tag: "Interrupted" }

/** What the receipt keeps of a failure. */
export const failed = (error: LlmError.LlmError): Receipt.Outcome => ({
  _tag: "Failed",
  error: error._tag,
  detail: error.detail,
  ...(error.status === undefined ? {} : { status: error.status }),
  ...(error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter })
})

/**
 * A story being recorded. Mutable, since every change is one synchronous step.
 *
 * It is a call, one use of a provider's public side, or a track, which puts whatever calls are made inside it into one
 * receipt. Policies inside a call add to it; around one, they are tracks.
 */
export class Call {
  readonly attempts: Array<Recorded> = []
  fellBack = false
  ended = false
  /** The targets that cut a stream after its first output, with the failure. */
  readonly cuts = new Map<string, LlmError.LlmError>()
  readonly kind: "call" | "track"
  /** What the reader of a stream wants when it is cut after its first output. */
  readonly whenCut: WhenCut
  readonly startedAt: number
  readonly parent: Call | undefined
  private readonly requested: Receipt.Target | undefined
  private readonly observers: ReadonlyArray<Observer>

  constructor(
    kind: "call" | "track",
    startedAt: number,
    requested: Receipt.Target | undefined,
    parent: Call | undefined,
    observers: ReadonlyArray<Observer>,
    whenCut: WhenCut
  ) {
    this.kind = kind
    this.startedAt = startedAt
    this.requested = requested
    this.parent = parent
    this.observers = observers
    this.whenCut = whenCut
  }

  /** Whether its start and end are told: it is a call, and not one made on behalf of another. */
  get told(): boolean {
    return this.kind === "call" && this.parent?.kind !== "call"
  }

  /** Tells the observers; one that throws harms nobody. */
  emit(event: Event): void {
    for (const observer of this.observers) {
      try {
        observer(event)
      } catch {
        // An observer is a guest: its failure is not the call's.
      }
    }
  }

  begin(target: Receipt.Target, idempotent: boolean, now: number): Recorded {
    const attempt: Recorded = {
      number: this.story.attempts.length + 1,
      target: { provider: target.provider, model: target.model },
      idempotent,
      start: now,
      end: undefined,
      outcome: undefined,
      cut: undefined
    }
    for (let call: Call | undefined = this; call !== undefined; call = call.parent) {
      if (call.kind === "track" && call.attempts.length === most) call.attempts.shift()
      call.attempts.push(attempt)
    }
    this.emit({ _tag: "AttemptStarted", at: now, attempt: attempt.number, target: attempt.target })
    return attempt
  }

  /** The outermost of the calls that this one is made for: its attempts are those that the observers count. */
  private get story(): Call {
    return this.parent === undefined ? this : this.parent.story
  }

  /** Ends an attempt; only the first end counts. */
  end(attempt: Recorded, how: Receipt.Outcome, now: number): void {
    if (attempt.outcome !== undefined) return
    const outcome = how._tag === "Interrupted" && attempt.cut !== undefined ? failed(attempt.cut) : how
    attempt.end = now
    attempt.outcome = outcome
    this.emit({ _tag: "AttemptEnded", at: now, attempt: attempt.number, target: attempt.target, outcome })
  }

  /** Ends what is still running, when the caller leaves. */
  endAll(now: number): void {
    for (const attempt of this.attempts) this.end(attempt, interrupted, now)
  }

  /** A fallback moves on; told to every call around this one. */
  fallBack(event: Extract<Event, { _tag: "FellBack" }>): void {
    for (let call: Call | undefined = this; call !== undefined; call = call.parent) call.fellBack = true
    this.emit(event)
  }

  /** The failure with which a target cut this call's stream, if it did. */
  cutBy(target: Receipt.Target): LlmError.LlmError | undefined {
    return this.cuts.get(targetKey(target))
  }

  /** The target that was asked last, or the requested one before any was. */
  get target(): Receipt.Target {
    return this.attempts.at(-1)?.target ?? this.requested ?? unknown
  }

  receipt(now: number): Receipt.Receipt {
    const requested = this.requested ?? this.attempts[0]?.target ?? unknown
    let served: Receipt.Target | undefined
    let idleSince = this.startedAt
    let fallback = this.fellBack
    const attempts = this.attempts.map(({ end = now, outcome = interrupted, start, target }) => {
      const attempt = instance(
        Receipt.Attempt,
        {
          target,
          start: Duration.millis(start - this.startedAt),
          // Derived, so that it is true for every way of waiting: a policy's backoff, a plain schedule, a queue.
          wait: Duration.millis(Math.max(0, start - idleSince)),
          duration: Duration.millis(end - start),
          outcome
        }
      )
      idleSince = Math.max(idleSince, end)
      if (outcome._tag === "Answered") served = { provider: target.provider, model: outcome.model }
      fallback ||= target.provider !== requested.provider || target.model !== requested.model
      return attempt
    })
    return instance(
      Receipt.Receipt,
      {
        requested,
        ...(served === undefined ? {} : { served }),
        fallback,
        attempts,
        startedAt: this.startedAt,
        duration: Duration.millis(now - this.startedAt)
      }
    )
  }
}

// Children share the parent's call, and what a child sets is not carried back when it is joined.
const shared = { join: <A>(parent: A): A => parent }

/** The call that the current fiber works for. */
export const current: FiberRef.FiberRef<Call | undefined> = globalValue(
  Symbol.for("perdure/Call/current"),
  () => FiberRef.unsafeMake<Call | undefined>(undefined, shared)
)

/** Who is told what happens. */
export const observers: FiberRef.FiberRef<ReadonlyArray<Observer>> = globalValue(
  Symbol.for("perdure/Call/observers"),
  () => FiberRef.unsafeMake<ReadonlyArray<Observer>>([], shared)
)

/** What the reader of the streams opened by this fiber wants. */
export const whenCut: FiberRef.FiberRef<WhenCut> = globalValue(
  Symbol.for("perdure/Call/whenCut"),
  () => FiberRef.unsafeMake<WhenCut>("fail", shared)
)

/**
 * Whether another target of a fallback around this fiber would take over after a failure. Kept apart from the call, so
 * that two runs of one chain side by side do not confuse each other.
 */
export const elsewhere: FiberRef.FiberRef<(failure: LlmError.LlmError) => boolean> = globalValue(
  Symbol.for("perdure/Call/elsewhere"),
  () => FiberRef.unsafeMake<(failure: LlmError.LlmError) => boolean>(() => false, shared)
)

export const targetKey = ({ model, provider }: Receipt.Target): string => `${provider}/${model}`

/** The time on the fiber's `Clock`, without an effect of its own. */
export const nowOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): number =>
  Context.get(fiber.currentDefaultServices, Clock.Clock).unsafeCurrentTimeMillis()

/** What this fiber works for, if that still goes on: a fiber may outlive the call it was forked in. */
export const live = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Call | undefined => {
  const call = fiber.getFiberRef(current)
  return call?.ended === true ? undefined : call
}

const start = (
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  kind: "call" | "track",
  requested: Receipt.Target | undefined
): Call => {
  const call = new Call(
    kind,
    nowOf(fiber),
    requested,
    live(fiber),
    fiber.getFiberRef(observers),
    fiber.getFiberRef(whenCut)
  )
  if (call.told) call.emit({ _tag: "Started", at: call.startedAt, requested: call.target })
  return call
}

/** Ends a call: writes its receipt and tells the observers. */
export const finish = (call: Call, now: number, outcome: "Answered" | "Failed" | "Interrupted"): Receipt.Receipt => {
  if (outcome === "Interrupted" && call.kind === "call") call.endAll(now)
  call.ended = true
  const receipt = call.receipt(now)
  if (call.told) call.emit({ _tag: "Ended", at: now, outcome, receipt })
  return receipt
}

export const outcomeOf = (cause: Cause.Cause<unknown>): "Failed" | "Interrupted" =>
  Cause.isInterruptedOnly(cause) ? "Interrupted" : "Failed"

/** Puts a receipt on a failure that can carry one. */
export const stamp = <E>(error: E, receipt: Receipt.Receipt): E =>
  LlmError.is(error) ? LlmError.update(error, { receipt }) : error

/**
 * Runs an effect as a call, inside what the fiber works for already, if anything: its attempts belong to both. A failure
 * ends the call and carries its receipt; what a success means for the call is up to `onSuccess`.
 */
export const inCall = <A, E, R, R2>(
  self: Effect.Effect<A, E, R>,
  kind: "call" | "track",
  requested: Receipt.Target | undefined,
  onSuccess: (value: A, call: Call, now: number) => Effect.Effect<A, never, R2>
): Effect.Effect<A, E, R | R2> =>
  Effect.withFiberRuntime<A, E, R | R2>((fiber) => {
    const call = start(fiber, kind, requested)
    const leave = FiberRef.set(current, call.parent)
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(FiberRef.set(current, call), () =>
        Effect.matchCauseEffect(restore(self), {
          onFailure: (cause) => {
            const receipt = finish(call, nowOf(fiber), outcomeOf(cause))
            return Effect.zipRight(leave, Effect.failCause(Cause.map(cause, (error) => stamp(error, receipt))))
          },
          onSuccess: (value) => Effect.zipRight(leave, onSuccess(value, call, nowOf(fiber)))
        }))
    )
  })

const withReceipt = <A>(value: A, call: Call, now: number): Effect.Effect<A> => {
  const receipt = finish(call, now, "Answered")
  return Effect.succeed(value instanceof LlmResponse ? copy<LlmResponse>(value, { receipt }) as typeof value : value)
}

/** Runs an effect as a call that ends with it: the receipt goes on the `LlmResponse` or the `LlmError`. */
export const called = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  requested: Receipt.Target | undefined
): Effect.Effect<A, E, R> => inCall(self, "call", requested, withReceipt)

/** Gives all calls made inside an effect one receipt. Where there is a call or a track around it, that one does. */
export const tracked = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime<A, E, R>((fiber) =>
    live(fiber) === undefined ? inCall(self, "track", undefined, withReceipt) : self
  )

/** What the receipt keeps of a cause. A defect has no class of ours, and what it says may hold anything. */
export const outcomeOfCause = (cause: Cause.Cause<LlmError.LlmError>): Receipt.Outcome => {
  const failure = Cause.failureOption(cause)
  if (Option.isSome(failure)) return failed(failure.value)
  return Cause.isInterruptedOnly(cause) ? interrupted : { _tag: "Failed", error: "Defect", detail: "" }
}
