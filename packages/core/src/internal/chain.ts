/** One run of a fallback over its targets. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Classifier } from "../Disposition.ts"
import type { MovesOn, Order } from "../Fallback.ts"
import { AllTargetsFailed, both, type CircuitOpen, DeadlineExceeded, type LlmError, refusal } from "../LlmError.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { asking, type Knows } from "./asking.ts"
import * as Budget from "./budget.ts"
import * as Call from "./call.ts"
import { nowOf } from "./clock.ts"
import { deadlineOf } from "./deadline.ts"
import type { AnyFiber } from "./gate.ts"
import * as Health from "./health.ts"
import { localOf } from "./local.ts"
import type { Kind } from "./pace.ts"
import type { Raw } from "./provider.ts"
import * as Selection from "./selection.ts"
import { type Target, Trial, unable } from "./target.ts"

export interface Settings extends Health.Settings {
  /** The rule without what `contentRefusal` adds. */
  readonly rule: MovesOn
  readonly contentRefusal: "stop" | "moveOn"
  readonly moves: MovesOn
  readonly classify: Classifier
  readonly order: Order
  /** One for each service that the chain was given; 1 for each where there are none. */
  readonly weights: ReadonlyArray<number> | undefined
  readonly lastResort: "soonest" | "none"
}

export interface Run<K extends Kind> {
  readonly settings: Settings
  readonly targets: readonly [Target, ...Array<Target>]
  /** Whether there is a target that is known not to take everything. */
  readonly limited: boolean
  readonly request: LlmRequest
  readonly kind: K
  /** Chance, in [0, 1). */
  readonly u: number
}

type Answer<K extends Kind> = ReturnType<Raw[K]>

/** A target, and why it has not answered. */
interface Past {
  readonly target: Target
  readonly failure: LlmError
  /** Whether it was asked, and not passed over. */
  readonly asked: boolean
}

export class Chain<K extends Kind> {
  private readonly run: Run<K>
  private readonly past: Array<Past> = []
  private rest: ReadonlyArray<Target> = []

  constructor(run: Run<K>) {
    this.run = run
  }

  begin(): Answer<K> {
    return Effect.withFiberRuntime<any, LlmError, any>((fiber) => {
      const call = Call.live(fiber)
      this.rest = this.inOrder(this.uncut(call), nowOf(fiber))
      if (this.run.limited) {
        const why = unable(this.run.request)
        this.passOver((target) => why(target))
      }
      return this.next(fiber)
    }) as Answer<K>
  }

  /** Asks the next target, or fails when there is none. */
  private next(fiber: AnyFiber): Effect.Effect<any, LlmError, any> {
    const before = this.past[this.past.length - 1]
    this.passOverTooSlow(fiber)
    const target = this.choose(this.rest, nowOf(fiber))
    if (target === undefined) return this.end(fiber)
    const from = before ?? this.past[this.past.length - 1]
    return from === undefined
      ? this.try(fiber, target)
      : this.moveOn(fiber, from, target, () => this.try(fiber, target))
  }

  /** Goes from one target to another, where the budgets around this pay for it. */
  private moveOn(
    fiber: AnyFiber,
    from: Past,
    to: Target,
    go: () => Effect.Effect<any, LlmError, any>
  ): Effect.Effect<any, LlmError, any> {
    const { classify } = this.run.settings
    const tellAndGo = () => {
      this.tell(fiber, from, to)
      return go()
    }
    // Who was only passed over had no load.
    return localOf(fiber).budget === undefined || !this.past.some(({ asked }) => asked)
      ? tellAndGo()
      : Effect.flatMap(
        Budget.withdraw(fiber, "fallback", to.info, classify(from.failure).pace),
        (granted) => granted ? tellAndGo() : this.fail()
      )
  }

  private try(fiber: AnyFiber, target: Target): Effect.Effect<any, LlmError, any> {
    this.rest = this.rest.filter((other) => other !== target)
    const outside = localOf(fiber).elsewhere
    const elsewhere = this.rest.length === 0 && this.run.settings.lastResort === "none"
      ? outside
      : (failure: LlmError) => this.goesOn(fiber, target, failure) || outside?.(failure) === true
    return Effect.catchAll(this.ask(target, { elsewhere }), (failure) => {
      this.past.push({ target, failure, asked: true })
      return this.next(fiber)
    })
  }

  private ask(target: Target, knows: Knows): Effect.Effect<any, LlmError, any> {
    const { kind, request, settings } = this.run
    const use = target.raw[kind] as (request: LlmRequest) => Effect.Effect<any, LlmError, any>
    return asking(use(request), knows, (now) => new Trial(target, kind, settings, now))
  }

  /** The first of those that may be asked after what has failed, the healthy ones before the others. */
  private choose(rest: ReadonlyArray<Target>, now: number): Target | undefined {
    let unhealthy: Target | undefined
    for (const target of rest) {
      if (!this.mayFollow(target)) continue
      if (Health.standing(target.known.health, now) !== "out") return target
      unhealthy ??= target
    }
    return unhealthy
  }

  private mayFollow(to: Target, last?: { readonly from: Target; readonly failure: LlmError }): boolean {
    const { moves } = this.run.settings
    return this.past.every(({ asked, failure, target }) =>
      !asked || moves(failure, { from: target.info, to: to.info })
    ) &&
      (last === undefined || moves(last.failure, { from: last.from.info, to: to.info }))
  }

  /** Whether another target would take over after a failure. */
  private goesOn(fiber: AnyFiber, from: Target, failure: LlmError): boolean {
    const now = nowOf(fiber)
    const left = leftOf(fiber, now)
    if (this.rest.some((to) => this.mayFollow(to, { from, failure }) && !this.isTooSlow(to, left, now))) return true
    return this.run.settings.lastResort === "soonest" && failure._tag === "CircuitOpen" &&
      this.past.every(({ asked, failure }) => !asked || circuitsOf(failure) !== undefined)
  }

  private isTooSlow(target: Target, left: number, now: number): boolean {
    return left < (target.known.usually(this.run.kind, now) ?? 0)
  }

  /** Leaves out the targets that have too little time; but if nobody was asked yet, not the fastest of them. */
  private passOverTooSlow(fiber: AnyFiber): void {
    const given = deadlineOf(fiber)
    if (given === undefined) return
    const now = nowOf(fiber)
    const left = given.at - now
    const isSlow = (target: Target) => this.isTooSlow(target, left, now)
    const slow = this.rest.filter((target) => this.mayFollow(target) && isSlow(target))
    if (slow.length === 0) return
    const kept = slow.length === this.rest.length && this.past.every(({ asked }) => !asked)
      ? slow[Selection.byLatency(this.factsOf(slow, now))[0] ?? 0]
      : undefined
    this.passOver((target) => {
      if (target === kept || !slow.includes(target)) return undefined
      const { model, provider } = target.info
      const error = refusal(DeadlineExceeded, { provider, model, reason: "tooNear", limit: given.limit, sent: false })
      Call.live(fiber)?.refused(error, now)
      return error
    })
  }

  /** Leaves out the targets for which there is a reason. */
  private passOver(why: (target: Target) => LlmError | undefined): void {
    this.rest = this.rest.filter((target) => {
      const failure = why(target)
      if (failure !== undefined) this.past.push({ target, failure, asked: false })
      return failure === undefined
    })
  }

  private tell(fiber: AnyFiber, from: Past, to: Target): void {
    Call.live(fiber)?.fallBack({
      _tag: "FellBack",
      at: nowOf(fiber),
      from: nameOf(from.target),
      to: nameOf(to),
      because: from.failure._tag
    })
  }

  /** Nobody is left to ask. */
  private end(fiber: AnyFiber): Effect.Effect<any, LlmError, any> {
    const soonest = this.run.settings.lastResort === "soonest" ? this.soonest() : undefined
    if (soonest === undefined) return this.fail()
    const { circuit, target } = soonest
    const from = this.past[this.past.length - 1]
    const outside = localOf(fiber).elsewhere
    const attempt = this.ask(target, {
      elsewhere: (failure) => failure._tag === "CircuitOpen" || outside?.(failure) === true,
      lastResort: { circuit, used: false }
    })
    const go = () =>
      Effect.catchAll(attempt, (failure) => {
        this.past.push({ target, failure, asked: true })
        return this.fail()
      })
    return from === undefined ? go() : this.moveOn(fiber, from, target, go)
  }

  /** The target that reopens first, where all that were asked are kept back by circuits. */
  private soonest(): { readonly target: Target; readonly circuit: string } | undefined {
    let found: { readonly target: Target; readonly circuit: string; readonly after: number } | undefined
    for (const { asked, failure, target } of this.past) {
      const circuits = circuitsOf(failure)
      if (asked && circuits === undefined) return undefined
      for (const { circuit, retryAfter } of circuits ?? []) {
        if (retryAfter === undefined) continue
        const after = Duration.toMillis(retryAfter)
        if (found === undefined || after < found.after) found = { target, circuit, after }
      }
    }
    return found
  }

  /** The failure of the chain: with all before it, and with the number of targets that nobody asked. */
  private fail(): Effect.Effect<never, LlmError> {
    const untried = this.rest.reduce((sum, { all }) => sum + all.length, 0)
    const failures = this.past.map(({ failure }) => failure)
    const [first, ...others] = failures
    if (first === undefined) return Effect.dieMessage("a fallback has at least one target")
    const last = others.pop()
    if (last !== undefined) {
      return Effect.fail(both(others.reduce<LlmError>((a, b) => both(a, b), first), last, untried))
    }
    return Effect.fail(
      first._tag === "AllTargetsFailed" && untried > 0
        ? new AllTargetsFailed({ ...first, untried: first.untried + untried })
        : first
    )
  }

  private factsOf(targets: ReadonlyArray<Target>, now: number): ReadonlyArray<Selection.Facts> {
    return targets.map(({ known, weight }) => known.facts(weight, this.run.kind, now))
  }

  private inOrder(targets: ReadonlyArray<Target>, now: number): ReadonlyArray<Target> {
    const { settings: { order }, u } = this.run
    if (order === "given") return targets
    const facts = this.factsOf(targets, now)
    const indexes = order === "weighted"
      ? Selection.byWeight(facts, u)
      : order === "fastest"
      ? Selection.byLatency(facts)
      : Selection.byInFlight(facts)
    return indexes.flatMap((i) => targets[i] ?? [])
  }

  /**
   * A stream that is started again elsewhere passes over the targets that cut it, as far as the failure moves on to
   * others; where it does not, it is their turn again.
   */
  private uncut(call: Call.Call | undefined): ReadonlyArray<Target> {
    const { settings: { moves }, targets } = this.run
    if (call === undefined || call.cuts.size === 0) return targets
    const cut = targets.flatMap((target) =>
      target.all.flatMap((info) => {
        const failure = call.cutBy(info)
        return failure === undefined ? [] : [{ target, info, failure }]
      })
    )
    const isCut = ({ all }: Target) => all.every((info) => call.cutBy(info) !== undefined)
    const left = targets.filter((target) =>
      !isCut(target) && cut.every(({ failure, info }) => moves(failure, { from: info, to: target.info }))
    )
    return left.length > 0 ? left : [cut.at(-1)?.target ?? targets[0]]
  }
}

const nameOf = ({ info: { model, provider } }: Target) => ({ provider, model })

/** How much time the call has left, in milliseconds. */
const leftOf = (fiber: AnyFiber, now: number): number => {
  const given = deadlineOf(fiber)
  return given === undefined ? Infinity : given.at - now
}

/** The circuits that kept a target from being asked; nothing where it failed in another way. */
const circuitsOf = (failure: LlmError): ReadonlyArray<CircuitOpen> | undefined => {
  const failures: ReadonlyArray<LlmError> = failure._tag === "AllTargetsFailed" ? failure.failures : [failure]
  const open = failures.filter((one) => one._tag === "CircuitOpen")
  return open.length === failures.length ? open : undefined
}
