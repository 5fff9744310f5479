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
import { copy } from "./copy.ts"

/** What to do when a stream is cut after its first output. */
export type WhenCut = "fail" | "restart" | "buffer"

interface Recorded {
  readonly number: number
  readonly target: Receipt.Target
  readonly start: number
  end: number | undefined
  outcome: Receipt.Outcome | undefined
}

const interrupted: Receipt.Outcome = { _tag: "Interrupted" }

/** What the receipt keeps of a failure. */
export const failed = (error: LlmError.LlmError): Receipt.Outcome => ({
  _tag: "Failed",
  error: error._tag,
  detail: error.detail,
  ...(error.status === undefined ? {} : { status: error.status }),
  ...(error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter })
})

/** One call being made. Mutable, since every change is one synchronous step. */
export class Call {
  readonly attempts: Array<Recorded> = []
  /** False once a request that must not act twice was sent in this call. */
  idempotent = true
  /** How many other targets could still be asked after the one at work. */
  elsewhere: number
  fellBack = false
  /** Set by a policy before it interrupts what runs inside: the attempts then ended by this, not by the caller. */
  cut: LlmError.LlmError | undefined
  private readonly avoided = new Set<string>()
  /** What the reader of a stream wants when it is cut after its first output. */
  readonly whenCut: WhenCut
  readonly startedAt: number
  readonly parent: Call | undefined
  private readonly requested: Receipt.Target | undefined
  private readonly observers: ReadonlyArray<Observer>

  constructor(
    startedAt: number,
    requested: Receipt.Target | undefined,
    parent: Call | undefined,
    observers: ReadonlyArray<Observer>,
    whenCut: WhenCut
  ) {
    this.startedAt = startedAt
    this.requested = requested
    this.parent = parent
    this.observers = observers
    this.whenCut = whenCut
    this.elsewhere = parent?.elsewhere ?? 0
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

  /** The call that all of this is for: its attempts are those of the receipt that the caller gets. */
  private get outermost(): Call {
    return this.parent?.outermost ?? this
  }

  begin(target: Receipt.Target, now: number): Recorded {
    const attempt: Recorded = {
      number: this.outermost.attempts.length + 1,
      target,
      start: now,
      end: undefined,
      outcome: undefined
    }
    for (let call: Call | undefined = this; call !== undefined; call = call.parent) call.attempts.push(attempt)
    this.emit({ _tag: "AttemptStarted", at: now, attempt: attempt.number, target })
    return attempt
  }

  /** Ends an attempt; only the first end counts. */
  end(attempt: Recorded, how: Receipt.Outcome, now: number): void {
    if (attempt.outcome !== undefined) return
    const outcome = how._tag === "Interrupted" && this.cutBy !== undefined ? failed(this.cutBy) : how
    attempt.end = now
    attempt.outcome = outcome
    this.emit({ _tag: "AttemptEnded", at: now, attempt: attempt.number, target: attempt.target, outcome })
  }

  /** Ends what is still running, when the caller leaves. */
  endAll(now: number): void {
    for (const attempt of this.attempts) this.end(attempt, interrupted, now)
  }

  /** The failure for which a policy interrupts what runs inside this call. */
  private get cutBy(): LlmError.LlmError | undefined {
    return this.cut ?? this.parent?.cutBy
  }

  /** A fallback moves on; told to every call around this one. */
  fallBack(event: Extract<Event, { _tag: "FellBack" }>): void {
    for (let call: Call | undefined = this; call !== undefined; call = call.parent) call.fellBack = true
    this.emit(event)
  }

  /** A target whose stream was cut after its first output is not asked again while there are others. */
  avoid(target: Receipt.Target): void {
    this.avoided.add(targetKey(target))
  }

  avoids(target: Receipt.Target): boolean {
    return this.avoided.has(targetKey(target)) || this.parent?.avoids(target) === true
  }

  notIdempotent(): void {
    for (let call: Call | undefined = this; call !== undefined; call = call.parent) call.idempotent = false
  }

  /** The target that was asked last, or the requested one before any was. */
  get target(): Receipt.Target {
    return this.attempts.at(-1)?.target ?? this.requested ?? Receipt.empty.requested
  }

  receipt(now: number): Receipt.Receipt {
    const requested = this.requested ?? this.attempts[0]?.target ?? Receipt.empty.requested
    let served: Receipt.Target | undefined
    let idleSince = this.startedAt
    let fallback = this.fellBack
    const attempts = this.attempts.map(({ end = now, outcome = interrupted, start, target }) => {
      const attempt = new Receipt.Attempt(
        {
          target,
          start: Duration.millis(start - this.startedAt),
          // Derived, so that it is true for every way of waiting: a policy's backoff, a plain schedule, a queue.
          wait: Duration.millis(Math.max(0, start - idleSince)),
          duration: Duration.millis(end - start),
          outcome
        },
        true
      )
      idleSince = Math.max(idleSince, end)
      if (outcome._tag === "Answered") served = { provider: target.provider, model: outcome.model }
      fallback ||= target.provider !== requested.provider || target.model !== requested.model
      return attempt
    })
    return new Receipt.Receipt(
      {
        requested,
        ...(served === undefined ? {} : { served }),
        fallback,
        attempts,
        startedAt: this.startedAt,
        duration: Duration.millis(now - this.startedAt)
      },
      true
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

const targetKey = ({ model, provider }: Receipt.Target): string => `${provider}/${model}`

/** The time on the fiber's `Clock`, without an effect of its own. */
export const nowOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): number =>
  Context.get(fiber.currentDefaultServices, Clock.Clock).unsafeCurrentTimeMillis()

/** Begins a call on this fiber, inside the one it works for already, if any. */
const start = (fiber: Fiber.RuntimeFiber<unknown, unknown>, requested: Receipt.Target | undefined): Call => {
  const parent = fiber.getFiberRef(current)
  const call = new Call(nowOf(fiber), requested, parent, fiber.getFiberRef(observers), fiber.getFiberRef(whenCut))
  if (parent === undefined) call.emit({ _tag: "Started", at: call.startedAt, requested: call.target })
  return call
}

/** Writes the receipt, and tells the observers when this was the outermost call. */
export const finish = (call: Call, now: number, outcome: "Answered" | "Failed" | "Interrupted"): Receipt.Receipt => {
  if (outcome === "Interrupted") call.endAll(now)
  const receipt = call.receipt(now)
  if (call.parent === undefined) call.emit({ _tag: "Ended", at: now, outcome, receipt })
  return receipt
}

export const outcomeOf = (cause: Cause.Cause<unknown>): "Failed" | "Interrupted" =>
  Cause.isInterruptedOnly(cause) ? "Interrupted" : "Failed"

/** Puts a receipt on a failure that can carry one. */
export const stamp = <E>(error: E, receipt: Receipt.Receipt): E =>
  LlmError.is(error) ? LlmError.update(error, { receipt }) : error

/**
 * Runs an effect as a call, inside the one the fiber works for already, if any: its attempts belong to both. A failure
 * ends the call and carries its receipt; what a success means for the call is up to `onSuccess`.
 */
export const inCall = <A, E, R, R2>(
  self: Effect.Effect<A, E, R>,
  requested: Receipt.Target | undefined,
  onSuccess: (value: A, call: Call, now: number) => Effect.Effect<A, never, R2>
): Effect.Effect<A, E, R | R2> =>
  Effect.withFiberRuntime<A, E, R | R2>((fiber) => {
    const call = start(fiber, requested)
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

/** Runs an effect as a call that ends with it: the receipt goes on the `LlmResponse` or the `LlmError`. */
export const tracked = <A, E, R>(self: Effect.Effect<A, E, R>, requested?: Receipt.Target): Effect.Effect<A, E, R> =>
  inCall(self, requested, (value, call, now) => {
    const receipt = finish(call, now, "Answered")
    return Effect.succeed(value instanceof LlmResponse ? copy<LlmResponse>(value, { receipt }) as typeof value : value)
  })

/** What the receipt keeps of a cause. A defect has no class of ours, and what it says may hold anything. */
export const outcomeOfCause = (cause: Cause.Cause<LlmError.LlmError>): Receipt.Outcome => {
  const failure = Cause.failureOption(cause)
  if (Option.isSome(failure)) return failed(failure.value)
  return Cause.isInterruptedOnly(cause) ? interrupted : { _tag: "Failed", error: "Defect", detail: "" }
}

export type { Recorded }
