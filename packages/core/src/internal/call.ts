/**
 * The recorder behind receipts and call events. A call is among the values of a fiber, so that whatever runs inside it, on
 * this fiber or on one forked from it, adds to the same story.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import * as Option from "effect/Option"
import type { BudgetExhausted, Event, GiveUp, Observer } from "../Call.ts"
import type { Transition } from "../CircuitBreaker.ts"
import * as Disposition from "../Disposition.ts"
import * as LlmError from "../LlmError.ts"
import { LlmResponse, type Usage } from "../LlmResponse.ts"
import type { Service as Prices } from "../ModelPrices.ts"
import * as Receipt from "../Receipt.ts"
import type { Progress } from "./commit.ts"
import { other } from "./conventions.ts"
import { copy, instance } from "./copy.ts"
import { costOf, pricesIn } from "./cost.ts"
import { type AnyFiber, type Gate, type Leave, type Leaving, type Passing, through } from "./gate.ts"
import { type Branch, isWithin, type Local, localOf } from "./local.ts"
import type * as Logs from "./logs.ts"
import type * as Metrics from "./metrics.ts"
import { type Entry, interrupted, isAnswer, receiptOf, unknown } from "./receipt.ts"
import type { Reporters } from "./reporters.ts"
import type * as Spans from "./spans.ts"
import { forget, marked, markedExit } from "./spent.ts"
import { watchers } from "./watchers.ts"

/** What to do when a stream is cut after its first output. */
export type WhenCut = "fail" | "restart" | "buffer"

/** An attempt on record. */
export interface Recorded extends Entry {
  readonly number: number
  readonly idempotent: boolean
  start: number
  /** Which of several tries side by side it belongs to. */
  readonly branch: Branch | undefined
  /** How far its stream has come. */
  progress: Progress | undefined
  firstOutput: number | undefined
  usage: Usage | undefined
  cost: Receipt.Cost | undefined
  /** Its span, until it ends. */
  trace: Spans.Trace | undefined
  end: number | undefined
  outcome: Receipt.Outcome | undefined
  /** Set by a policy before it interrupts the attempt: it then ended by this, not by the caller. */
  cut: LlmError.LlmError | undefined
  lost: boolean
}

/** What the recorder is told; it adds the numbers of the call and of the track. */
type Told = Event extends infer E ? E extends Event ? Omit<E, "call" | "track"> : never : never

/** The number of the last call of the process, however often this is loaded. */
const calls = globalValue(Symbol.for("perdure/Call/calls"), () => ({ last: 0 }))

/** Who writes metrics, spans and log lines. Providers bring them along: policies alone do without their weight. */
let reporters: Reporters | undefined

export const reportTo = (all: Reporters): void => {
  reporters = all
}

/** What starts spans beside that of an attempt, where it has one. */
export const spansBeside = (fiber: AnyFiber, { trace }: Recorded) =>
  trace === undefined ? undefined : reporters?.spans.siblings(fiber, trace)

/** The most of each kind that a track keeps: a program that never ends must not fill the memory with its story. */
const most = 1000

/** Adds to what is kept; of a track, which may never end, only the last. Says whether the first had to go. */
const keep = <A>(all: Array<A>, one: A, kind: Call["kind"]): boolean => {
  const full = kind === "track" && all.length === most
  if (full) all.shift()
  all.push(one)
  return full
}

/** Whether anything is known of the tokens. */
const hasTokens = (usage: Usage): boolean => usage.inputTokens !== undefined || usage.outputTokens !== undefined

const none: ReadonlyMap<string, LlmError.LlmError> = new Map()

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
  switches: Array<Receipt.Switch> | undefined
  refusals: Array<Receipt.Refused> | undefined
  ended = false
  /** The targets that cut a stream after its first output, with the failure. */
  cuts: ReadonlyMap<string, LlmError.LlmError> = none
  readonly kind: "call" | "track"
  /** What the reader of a stream wants when it is cut after its first output. */
  readonly whenCut: WhenCut
  readonly startedAt: number
  readonly parent: Call | undefined
  /** Its own span, when it is told and spans are wanted. */
  readonly own: Spans.Trace | undefined
  /** The span that its events go to: its own, or that of what it is made for. */
  private readonly trace: Spans.Trace | undefined
  private readonly number = ++calls.last
  /** What it is told as a part of: itself, or the call that it is made for. */
  private readonly story: Call
  /** The number of the track that it is, or is in. */
  private readonly track: number | undefined
  /** How many attempts were begun of what is told as this. */
  private begun = 0
  /** How many attempts are not kept any more. */
  private dropped = 0
  readonly requested: Receipt.Target | undefined
  private readonly observers: ReadonlyArray<Observer>
  /** The labels of the metrics of the fiber that began it. */
  private readonly labels: Metrics.Labels
  private readonly prices: Prices | undefined
  /** How loud its log line is. */
  readonly levels: Logs.Levels | undefined

  constructor(
    { fiber, now }: Passing,
    kind: "call" | "track",
    requested: Receipt.Target | undefined,
    parent: Call | undefined
  ) {
    this.kind = kind
    this.startedAt = now
    this.requested = requested
    this.parent = parent
    this.story = parent?.kind === "call" ? parent.story : this
    this.track = kind === "track" ? this.number : parent?.track
    this.observers = fiber.getFiberRef(observers)
    this.whenCut = fiber.getFiberRef(whenCut)
    this.labels = fiber.getFiberRef(FiberRef.currentMetricLabels)
    this.prices = pricesIn(fiber)
    this.levels = reporters === undefined ? undefined : fiber.getFiberRef(reporters.logs.levels)
    this.own = this.told ? reporters?.spans.callStarted(fiber, requested, this.number, this.track) : undefined
    this.trace = this.own ?? parent?.trace ?? (kind === "track" ? reporters?.spans.around(fiber) : undefined)
  }

  /** Whether its start and end are told: it is a call, and not one made on behalf of another. */
  get told(): boolean {
    return this.kind === "call" && this.story === this
  }

  /** Whether there is anybody to tell. */
  get watched(): boolean {
    return this.observers.length > 0 || watchers.size > 0
  }

  /** Tells the observers; one that throws harms nobody. */
  emit(told: Told): void {
    if (!this.watched) return
    const { story: { number: call }, track } = this
    tellAll(this.observers, Object.assign(told, track === undefined ? { call } : { call, track }) as Event)
  }

  /** It waits before it asks again. */
  waits(wait: Duration.Duration, because: string, now: number): void {
    const { target } = this
    reporters?.metrics.waited(target, because, wait, this.labels)
    this.trace?.event("perdure.wait", { "perdure.wait": Duration.toSeconds(wait), "error.type": because })
    if (this.watched) this.emit({ _tag: "Waiting", at: now, target, wait, because })
  }

  /** A budget does not pay for another try. */
  unpaid(kind: BudgetExhausted["kind"], target: Receipt.Target | undefined, now: number): void {
    if (!this.watched) return
    const { model, provider } = target ?? this.target
    this.emit({ _tag: "BudgetExhausted", at: now, kind, target: { provider, model } })
  }

  /** A retry policy lets a failure through. */
  gaveUp(because: string, reason: GiveUp, now: number): void {
    if (this.watched) this.emit({ _tag: "GaveUp", at: now, target: this.target, because, reason })
  }

  begin(
    target: Receipt.Target,
    idempotent: boolean,
    now: number,
    { branch, hedge, key }: Local,
    progress?: Progress
  ): Recorded {
    const attempt: Recorded = {
      number: ++this.story.begun,
      target: { provider: target.provider, model: target.model },
      idempotent,
      start: now,
      key,
      hedge,
      branch,
      progress,
      firstOutput: undefined,
      usage: undefined,
      cost: undefined,
      trace: undefined,
      end: undefined,
      outcome: undefined,
      cut: undefined,
      lost: false
    }
    for (let call: Call | undefined = this; call !== undefined; call = call.parent) {
      if (keep(call.attempts, attempt, call.kind)) call.dropped += 1
    }
    if (this.watched) {
      this.emit({ _tag: "AttemptStarted", at: now, attempt: attempt.number, target: attempt.target, key, hedge })
    }
    return attempt
  }

  /** A stream has given its first output. */
  firstOutput(attempt: Recorded, now: number): void {
    attempt.firstOutput = now
    const { number, start, target, trace } = attempt
    reporters?.metrics.firstOutput(target, now - start, this.labels)
    reporters?.spans.firstOutput(trace, now - start)
    if (this.watched) {
      this.emit({ _tag: "FirstOutput", at: now, attempt: number, target, after: Duration.millis(now - start) })
    }
  }

  /** How many attempts there have been. */
  get count(): number {
    return this.attempts.length + this.dropped
  }

  /** The attempts since there were so many of them, made by the fiber or by tries of its own. */
  since(count: number, fiber: AnyFiber): ReadonlyArray<Recorded> {
    const { branch } = localOf(fiber)
    return this.attempts.slice(Math.max(0, count - this.dropped)).filter((attempt) => isWithin(attempt.branch, branch))
  }

  /** What a try beside another was answered is not what was given on. */
  lose(branch: Branch, now: number): void {
    for (const attempt of this.attempts) {
      if (!isWithin(attempt.branch, branch)) continue
      const { number, target } = attempt
      if (this.watched && isAnswer(attempt)) this.emit({ _tag: "Discarded", at: now, attempt: number, target })
      attempt.lost = true
    }
  }

  /** Brings the attempts in the order in which they began, where some were told of late. */
  sort(): void {
    for (let call: Call | undefined = this; call !== undefined; call = call.parent) {
      call.attempts.sort((one, other) => one.start - other.start)
    }
  }

  /**
   * Ends an attempt; only the first end counts. Without a usage, that of a stream is what was told so far. What is told of
   * late has not ended now.
   */
  end(
    attempt: Recorded,
    how: Receipt.Outcome,
    now: number,
    usage = attempt.progress?.usage,
    told?: "late"
  ): void {
    if (attempt.outcome !== undefined) return
    if (usage !== undefined && hasTokens(usage)) attempt.usage = usage
    const outcome = how._tag === "Interrupted" && attempt.cut !== undefined ? failed(attempt.cut) : how
    attempt.end = now
    attempt.outcome = outcome
    if (this.prices !== undefined && attempt.usage !== undefined) attempt.cost = this.costOf(attempt, outcome)
    const { cost, hedge, key, number, start, target, trace } = attempt
    reporters?.metrics.attemptEnded(target, outcome, now - start, attempt.usage, cost, this.labels)
    if (trace !== undefined) {
      attempt.trace = undefined
      reporters?.spans.attemptEnded(trace, outcome, attempt.usage, cost, told === "late" ? now : undefined)
    }
    if (!this.watched) return
    this.emit({
      _tag: "AttemptEnded",
      at: now,
      attempt: number,
      target,
      outcome,
      duration: Duration.millis(now - start),
      usage: attempt.usage,
      cost,
      key,
      hedge
    })
  }

  /** What an attempt cost; nothing where that is not known, which is not the same as zero. */
  private costOf({ target, usage }: Recorded, outcome: Receipt.Outcome): Receipt.Cost | undefined {
    const nanos = costOf(this.prices, target, usage, outcome._tag === "Answered" ? outcome.model : undefined)
    return nanos === undefined || this.prices === undefined
      ? undefined
      : instance(Receipt.Cost, { nanos, currency: this.prices.currency })
  }

  /** Ends what is still running, when the caller leaves. */
  endAll(now: number): void {
    for (const attempt of this.attempts) this.end(attempt, interrupted, now)
  }

  /** A fallback moves on; told to every call around this one. */
  fallBack(event: Extract<Told, { _tag: "FellBack" }>): void {
    const { at, because, from, to } = event
    for (let call: Call | undefined = this; call !== undefined; call = call.parent) {
      const step = { at: Duration.millis(at - call.startedAt), from, to, because }
      if (call.switches === undefined) call.switches = [step]
      else keep(call.switches, step, call.kind)
    }
    reporters?.metrics.fellBack(from, because, this.labels)
    this.trace?.event("perdure.fallback", {
      "perdure.from.provider": from.provider,
      "perdure.from.model": from.model,
      "perdure.to.provider": to.provider,
      "perdure.to.model": to.model,
      "error.type": because
    })
    this.emit(event)
  }

  /** A policy has let nothing through; told to every call around this one. */
  refused(error: LlmError.Refusal, now: number): void {
    const { _tag: because, model, provider, retryAfter } = error
    const target = { provider, model }
    for (let call: Call | undefined = this; call !== undefined; call = call.parent) {
      const at = Duration.millis(now - call.startedAt)
      const refused = retryAfter === undefined ? { at, target, because } : { at, target, because, retryAfter }
      if (call.refusals === undefined) call.refusals = [refused]
      else keep(call.refusals, refused, call.kind)
    }
    reporters?.metrics.refused(target, because, this.labels)
    this.trace?.event("perdure.refusal", {
      "perdure.provider": provider,
      "perdure.model": model,
      "error.type": because,
      ...(retryAfter === undefined ? {} : { "perdure.retry_after": Duration.toSeconds(retryAfter) })
    })
    if (this.watched) this.emit({ _tag: "Refused", at: now, target, because, retryAfter })
  }

  /** A circuit breaker has changed the phase of a circuit. */
  circuitChanged(breaker: string, transition: Transition): void {
    this.trace?.event("perdure.breaker", {
      "perdure.circuit": transition.circuit,
      "perdure.breaker.from": transition.from,
      "perdure.breaker.to": transition.to
    })
    if (this.watched) this.emit({ _tag: "CircuitChanged", breaker, ...transition })
  }

  /** The failure with which a target cut this call's stream, if it did. */
  cutBy(target: Receipt.Target): LlmError.LlmError | undefined {
    return this.cuts.get(targetKey(target))
  }

  /** The target that was asked last, or the requested one before any was. */
  get target(): Receipt.Target {
    return this.attempts.at(-1)?.target ?? this.requested ?? unknown
  }

  /** Ends it: tells the metrics, the span and the observers. */
  close(now: number, end: Logs.End): Receipt.Receipt {
    if (end.outcome === "Interrupted" && this.kind === "call") this.endAll(now)
    this.ended = true
    const receipt = this.receipt(now, end)
    if (!this.told) return receipt
    const { blame, error, outcome, status } = end
    reporters?.metrics.callEnded(receipt.requested, outcome, error, now - this.startedAt, this.labels)
    if (this.own !== undefined) reporters?.spans.callEnded(this.own, outcome, error, receipt)
    if (this.watched) this.emit({ _tag: "Ended", at: now, outcome, error, blame, status, receipt })
    return receipt
  }

  /** The story with its end, where what still runs counts as interrupted; without one, what is over so far. */
  receipt(now: number, end?: Logs.End): Receipt.Receipt {
    return receiptOf(this, now, end)
  }
}

/** An observer is a guest: its failure is not the call's. */
const tell = (observer: Observer, event: Event): void => {
  try {
    observer(event)
  } catch {
    // Dropped.
  }
}

const tellAll = (observers: ReadonlyArray<Observer>, event: Event): void => {
  for (const observer of observers) tell(observer, event)
  for (const watcher of watchers) tell(watcher, event)
}

// Children share the parent's call, and what a child sets is not carried back when it is joined.
const shared = { join: <A>(parent: A): A => parent }

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

export const targetKey = ({ model, provider }: Receipt.Target): string => `${provider}/${model}`

/** What a fiber with these values works for, if that still goes on: a fiber may outlive the call it was forked in. */
export const liveIn = ({ call }: Local): Call | undefined => call?.ended === true ? undefined : call

/** The same for a fiber. */
export const live = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Call | undefined => liveIn(localOf(fiber))

/** Tells of a circuit that has changed: in a call that goes on, or outside of any. */
export const circuitChanged = (
  fiber: AnyFiber,
  call: Call | undefined,
  breaker: string,
  transition: Transition
): void => {
  if (call !== undefined && !call.ended) return call.circuitChanged(breaker, transition)
  const told = fiber.getFiberRef(observers)
  if (told.length === 0 && watchers.size === 0) return
  tellAll(told, { _tag: "CircuitChanged", call: undefined, breaker, ...transition })
}

const start = (passing: Passing, kind: "call" | "track", requested: Receipt.Target | undefined): Call => {
  const call = new Call(passing, kind, requested, liveIn(passing.local))
  forget(passing.local)
  if (call.told && call.watched) call.emit({ _tag: "Started", at: call.startedAt, requested })
  return call
}

const noFailure = { error: undefined, blame: undefined, status: undefined }

export const answeredEnd: Logs.End = { outcome: "Answered", ...noFailure }

export const interruptedEnd: Logs.End = { outcome: "Interrupted", ...noFailure }

/** How a call ended that has no answer. */
export const endOf = (cause: Cause.Cause<unknown>): Logs.End => {
  if (Cause.isInterruptedOnly(cause)) return interruptedEnd
  const failure = Option.getOrUndefined(Cause.failureOption(cause))
  if (failure === undefined) return { ...noFailure, outcome: "Failed", error: "Defect" }
  if (!LlmError.is(failure)) return { ...noFailure, outcome: "Failed", error: other }
  const { _tag: error, status } = failure
  return { outcome: "Failed", error, blame: Disposition.classify(failure).blame, status }
}

/** With the log line of an ended call before it, where there is one to write. */
const logged = <A, E, R>(
  call: Call,
  fiber: AnyFiber,
  end: Logs.End,
  receipt: Receipt.Receipt,
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const { levels, told } = call
  const line = told && levels !== undefined ? reporters?.logs.line(fiber, levels, end, receipt) : undefined
  return line === undefined ? self : Effect.zipRight(line, self)
}

/** The log line of an ended call, for the fiber that runs this. */
export const log = (call: Call, end: Logs.End, receipt: Receipt.Receipt): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) => logged(call, fiber, end, receipt, Effect.void))

/** Puts a receipt on a failure that can carry one. */
export const stamp = <E>(error: E, receipt: Receipt.Receipt): E =>
  LlmError.is(error) ? LlmError.update(error, { receipt }) : error

/**
 * Runs an effect as a call, inside what the fiber works for already, if anything: its attempts belong to both. A failure
 * ends the call and carries its receipt; what a success means for the call is up to `onSuccess`.
 */
export const inCall = <A, E, R, R2>(
  self: Effect.Effect<A, E, R>,
  requested: Receipt.Target | undefined,
  onSuccess: (value: A, call: Call, leaving: Leaving) => Effect.Effect<A, never, R2>
): Effect.Effect<A, E, R | R2> => {
  const gate: Gate = (passing) => {
    const { local } = passing
    const call = start(passing, "call", requested)
    const before = local.call
    local.call = call
    const leave: Leave = (exit, leaving) => {
      local.call = before
      if (Exit.isSuccess(exit)) return onSuccess(exit.value, call, leaving)
      const { fiber, now } = leaving
      const end = endOf(exit.cause)
      const receipt = call.close(now, end)
      const stamped = Cause.map(exit.cause, (error) => stamp(marked(local, error), receipt))
      return logged(call, fiber, end, receipt, Exit.failCause(stamped))
    }
    const { own } = call
    return own === undefined ? leave : Object.assign(leave, { apart: own.within })
  }
  return through<A, E, R | R2>([gate], self, undefined)
}

/** Runs an effect as a call that ends with it: the receipt goes on the `LlmResponse` or the `LlmError`. */
export const called = <E, R>(
  self: Effect.Effect<LlmResponse, E, R>,
  requested: Receipt.Target | undefined
): Effect.Effect<LlmResponse, E, R> =>
  inCall(self, requested, (value, call, { fiber, now }) => {
    const receipt = call.close(now, answeredEnd)
    const answer = Exit.succeed(value instanceof LlmResponse ? copy(value, { receipt }) : value)
    return logged(call, fiber, answeredEnd, receipt, answer)
  })

/** Runs an effect on behalf of a call that was begun before. */
export const on = <A, E, R>(call: Call, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  through(
    [({ local }) => {
      const before = local.call
      local.call = call
      return Exit.succeed((exit) => {
        local.call = before
        return exit
      })
    }],
    call.own === undefined ? self : call.own.within(self),
    undefined
  )

/** Gives all calls made inside an effect one receipt. Where there is a call or a track around it, that one does. */
export const track: Gate = (passing) => {
  const { local } = passing
  if (liveIn(local) !== undefined) {
    forget(local)
    return mark
  }
  // What is there has ended, so nobody misses it.
  local.call = start(passing, "track", undefined)
  return untrack
}

const mark: Leave = (exit, { local }) => markedExit(local, exit)

const untrack: Leave = (exit, leaving) => {
  const { call } = leaving.local
  leaving.local.call = undefined
  return call === undefined ? exit : tracked(exit, call, leaving)
}

/** The end of what was tracked, with the receipt where there is a place for it. */
const tracked = (exit: Exit.Exit<any, any>, call: Call, leaving: Leaving): Exit.Exit<any, any> => {
  call.ended = true
  if (Exit.isSuccess(exit)) {
    return exit.value instanceof LlmResponse
      ? Exit.succeed(copy(exit.value, { receipt: call.receipt(leaving.now, answeredEnd) }))
      : exit
  }
  const receipt = () => call.receipt(leaving.now, endOf(exit.cause))
  return Exit.failCause(
    Cause.map(exit.cause, (error) => LlmError.is(error) ? stamp(marked(leaving.local, error), receipt()) : error)
  )
}

/** What the receipt keeps of a cause. A defect has no class of ours, and what it says may hold anything. */
export const outcomeOfCause = (cause: Cause.Cause<LlmError.LlmError>): Receipt.Outcome => {
  const failure = Cause.failureOption(cause)
  if (Option.isSome(failure)) return failed(failure.value)
  return Cause.isInterruptedOnly(cause) ? interrupted : { _tag: "Failed", error: "Defect", detail: "" }
}
