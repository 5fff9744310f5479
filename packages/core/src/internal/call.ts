/**
 * The record of a call, which becomes its receipt. A call is among the values of a fiber, so that whatever runs inside it,
 * on this fiber or on one forked from it, adds to the same story.
 */
import * as Duration from "effect/Duration"
import type * as Fiber from "effect/Fiber"
import type { Transition } from "../CircuitBreaker.ts"
import * as LlmError from "../LlmError.ts"
import type { Service as Prices } from "../ModelPrices.ts"
import * as Receipt from "../Receipt.ts"
import type { Usage } from "../Usage.ts"
import type { Progress } from "./commit.ts"
import { instance } from "./copy.ts"
import { costOf, pricesIn } from "./cost.ts"
import { failed } from "./ending.ts"
import type { AnyFiber, Passing } from "./gate.ts"
import { type Branch, isWithin, type Local, localOf } from "./local.ts"
import type * as Logs from "./logs.ts"
import { areWatched, observers, tellAll } from "./observers.ts"
import { interrupted, isAnswer, receiptOf, unknown } from "./receipt.ts"
import { begun, type Recorded } from "./recorded.ts"
import { reporting, Teller, type Told } from "./teller.ts"
import { type WhenCut, whenCut } from "./whenCut.ts"

/** The most of each kind that a track keeps: a program that never ends must not fill the memory with its story. */
const most = 1000

/** Adds to what is kept; of a track, which may never end, only the last. Says whether the first had to go. */
const keep = <A>(all: Array<A>, one: A, kind: Call["kind"]): boolean => {
  const full = kind === "track" && all.length === most
  if (full) all.shift()
  all.push(one)
  return full
}

/** A use of somebody's own code. It may be a wrapper, so it is no attempt until that is known, but may have sent a request. */
export interface Unrecorded {
  readonly idempotent: boolean
  readonly branch: Branch | undefined
}

/** Whether anything is known of the tokens. */
const hasTokens = (usage: Usage): boolean => usage.inputTokens !== undefined || usage.outputTokens !== undefined

const none: ReadonlyMap<string, LlmError.LlmError> = new Map()

/** What starts spans beside that of an attempt, where it has one. */
export const spansBeside = (fiber: AnyFiber, { trace }: Recorded) =>
  trace === undefined ? undefined : reporting()?.spans.siblings(fiber, trace)

/**
 * A story being recorded. Mutable, since every change is one synchronous step.
 *
 * It is a call, one use of a provider's public side, or a track, which puts whatever calls are made inside it into one
 * receipt. Policies inside a call add to it; around one, they are tracks.
 */
export class Call extends Teller {
  readonly attempts: Array<Recorded> = []
  switches: Array<Receipt.Switch> | undefined = undefined
  refusals: Array<Receipt.Refused> | undefined = undefined
  ended = false
  /** The targets that cut a stream after its first output, with the failure. */
  cuts: ReadonlyMap<string, LlmError.LlmError> = none
  /** What the reader of a stream wants when it is cut after its first output. */
  readonly whenCut: WhenCut
  readonly startedAt: number
  readonly parent: Call | undefined
  readonly requested: Receipt.Target | undefined
  /** How loud its log line is. */
  readonly levels: Logs.Levels | undefined
  private readonly prices: Prices | undefined
  /** The target that cut its stream, until it is known who goes on with it. */
  private left: Pick<Receipt.Switch, "from" | "because"> | undefined = undefined
  /** How many attempts are not kept any more. */
  private dropped = 0
  private unrecorded: Set<Unrecorded> | undefined = undefined

  constructor(
    passing: Passing,
    kind: "call" | "track",
    requested: Receipt.Target | undefined,
    parent: Call | undefined
  ) {
    super(passing, kind, requested, parent)
    const { fiber, now } = passing
    this.startedAt = now
    this.requested = requested
    this.parent = parent
    this.whenCut = fiber.getFiberRef(whenCut)
    this.prices = pricesIn(fiber)
    const reporters = reporting()
    this.levels = reporters === undefined ? undefined : fiber.getFiberRef(reporters.logs.levels)
  }

  /** An attempt begins. */
  begin(
    target: Receipt.Target,
    idempotent: boolean,
    now: number,
    local: Local,
    progress?: Progress
  ): Recorded {
    const attempt = begun(this.next(), target, idempotent, now, local, progress)
    for (let call: Call | undefined = this; call !== undefined; call = call.parent) {
      if (keep(call.attempts, attempt, call.kind)) call.dropped += 1
      if (call.left !== undefined) call.goesOn(target, now)
    }
    if (this.watched) {
      const { hedge, key, number, target } = attempt
      this.emit({ _tag: "AttemptStarted", at: now, attempt: number, target, key, hedge })
    }
    return attempt
  }

  /** Somebody's own code is asked. */
  enter(use: Unrecorded): void {
    for (let call: Call | undefined = this; call !== undefined; call = call.parent) {
      call.unrecorded ??= new Set()
      call.unrecorded.add(use)
    }
  }

  /** It has ended, or is on record. */
  leave(use: Unrecorded): void {
    for (let call: Call | undefined = this; call !== undefined; call = call.parent) call.unrecorded?.delete(use)
  }

  /** What of somebody's own code is under way on the fiber or on tries of its own. */
  unrecordedOf(fiber: AnyFiber): ReadonlyArray<Unrecorded> {
    const { branch } = localOf(fiber)
    return [...this.unrecorded ?? []].filter((use) => isWithin(use.branch, branch))
  }

  /** A stream has given its first output. */
  firstOutput(attempt: Recorded, now: number): void {
    attempt.firstOutput = now
    const { number, start, target, trace } = attempt
    reporting()?.metrics.firstOutput(target, now - start, this.labels)
    reporting()?.spans.firstOutput(trace, now - start)
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
    reporting()?.metrics.attemptEnded(target, outcome, now - start, attempt.usage, cost, this.labels)
    if (trace !== undefined) {
      attempt.trace = undefined
      reporting()?.spans.attemptEnded(trace, outcome, attempt.usage, cost, told === "late" ? now : undefined)
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

  /**
   * What an attempt cost; nothing where that is not known, which is not the same as zero. Of a stream that was cut it is not
   * where its last output came after its usage, as with providers that tell of the output only at its end.
   */
  private costOf({ progress, target, usage }: Recorded, outcome: Receipt.Outcome): Receipt.Cost | undefined {
    if (outcome._tag !== "Answered" && progress?.outputSince === true) return undefined
    const nanos = costOf(this.prices, target, usage, outcome._tag === "Answered" ? outcome.model : undefined)
    return nanos === undefined || this.prices === undefined
      ? undefined
      : instance(Receipt.Cost, { nanos, currency: this.prices.currency })
  }

  /** Ends what is still running, when the caller leaves. */
  endAll(now: number): void {
    for (const attempt of this.attempts) this.end(attempt, interrupted, now)
  }

  /** Its stream was cut, and is to start again: whoever is asked next goes on with it. */
  startAgain(cut: LlmError.LlmError): void {
    const from = this.target
    this.cuts = new Map([...this.cuts, [targetKey(from), LlmError.update(cut, { handedOut: false })]])
    this.left = { from, because: cut._tag }
  }

  /** A target goes on with a stream that was cut. Another one than that which cut it is a fallback. */
  private goesOn({ model, provider }: Receipt.Target, at: number): void {
    const { left } = this
    this.left = undefined
    const to = { provider, model }
    if (left === undefined || targetKey(left.from) === targetKey(to)) return
    this.fallBack({ _tag: "FellBack", at, from: left.from, to, because: left.because })
  }

  /** A fallback moves on; told to every call around this one. */
  fallBack(event: Extract<Told, { _tag: "FellBack" }>): void {
    const { at, because, from, to } = event
    if (this.left !== undefined) this.goesOn(from, at)
    for (let call: Call | undefined = this; call !== undefined; call = call.parent) {
      const step = { at: Duration.millis(at - call.startedAt), from, to, because }
      if (call.switches === undefined) call.switches = [step]
      else keep(call.switches, step, call.kind)
    }
    reporting()?.metrics.fellBack(from, because, this.labels)
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
    if (this.left !== undefined && targetKey(this.left.from) !== targetKey(target)) this.goesOn(target, now)
    for (let call: Call | undefined = this; call !== undefined; call = call.parent) {
      const at = Duration.millis(now - call.startedAt)
      const refused = retryAfter === undefined ? { at, target, because } : { at, target, because, retryAfter }
      if (call.refusals === undefined) call.refusals = [refused]
      else keep(call.refusals, refused, call.kind)
    }
    reporting()?.metrics.refused(target, because, this.labels)
    this.trace?.event("perdure.refusal", {
      "perdure.provider": provider,
      "perdure.model": model,
      "error.type": because,
      ...(retryAfter === undefined ? {} : { "perdure.retry_after": Duration.toSeconds(retryAfter) })
    })
    if (this.watched) this.emit({ _tag: "Refused", at: now, target, because, retryAfter })
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
    reporting()?.metrics.callEnded(receipt.requested, outcome, error, now - this.startedAt, this.labels)
    if (this.own !== undefined) reporting()?.spans.callEnded(this.own, outcome, error, receipt)
    if (this.watched) this.emit({ _tag: "Ended", at: now, outcome, error, blame, status, receipt })
    return receipt
  }

  /** The story with its end, where what still runs counts as interrupted; without one, what is over so far. */
  receipt(now: number, end?: Logs.End): Receipt.Receipt {
    return receiptOf(this, now, end)
  }
}

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
  if (areWatched(told)) tellAll(told, { _tag: "CircuitChanged", call: undefined, breaker, ...transition })
}
