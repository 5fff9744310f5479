/** Tells of a call while it goes on: to its observers, in its span, and in the metrics. */
import * as Duration from "effect/Duration"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import type { BudgetExhausted, Dequeued, Event, GiveUp, Observer, Queued } from "../Call.ts"
import type { Transition } from "../CircuitBreaker.ts"
import type { Target } from "../Receipt.ts"
import type { Passing } from "./gate.ts"
import type * as Metrics from "./metrics.ts"
import { areWatched, observers, tellAll } from "./observers.ts"
import type { Reporters } from "./reporters.ts"
import type * as Spans from "./spans.ts"

/** What it is told to tell; it adds the numbers of the call and of the track. */
export type Told = Event extends infer E ? E extends Event ? Omit<E, "call" | "track"> : never : never

/** The number of the last call of the process, however often this is loaded. */
const calls = globalValue(Symbol.for("perdure/Call/calls"), () => ({ last: 0 }))

/** Who writes metrics, spans and log lines. Providers bring them along: policies alone do without their weight. */
let reporters: Reporters | undefined

export const reportTo = (all: Reporters): void => {
  reporters = all
}

export const reporting = (): Reporters | undefined => reporters

export abstract class Teller {
  readonly kind: "call" | "track"
  /** Its own span, when it is told and spans are wanted. */
  readonly own: Spans.Trace | undefined
  /** Which no other call of the process has. */
  readonly number = ++calls.last
  /** What it is told as a part of: itself, or the call that it is made for. */
  protected readonly story: Teller
  /** The number of the track that it is, or is in. */
  protected readonly track: number | undefined
  /** The span that its events go to: its own, or that of what it is made for. */
  protected readonly trace: Spans.Trace | undefined
  /** The labels of the metrics of the fiber that began it. */
  protected readonly labels: Metrics.Labels
  private readonly observers: ReadonlyArray<Observer>
  /** How many attempts were begun of what is told as this. */
  private begun = 0

  constructor({ fiber }: Passing, kind: "call" | "track", requested: Target | undefined, parent: Teller | undefined) {
    this.kind = kind
    this.story = parent?.kind === "call" ? parent.story : this
    this.track = kind === "track" ? this.number : parent?.track
    this.observers = fiber.getFiberRef(observers)
    this.labels = fiber.getFiberRef(FiberRef.currentMetricLabels)
    this.own = this.told ? reporters?.spans.callStarted(fiber, requested, this.number, this.track) : undefined
    this.trace = this.own ?? parent?.trace ?? (kind === "track" ? reporters?.spans.around(fiber) : undefined)
  }

  /** Who was asked last, or is to be asked. */
  abstract get target(): Target

  /** Whether its start and end are told: it is a call, and not one made on behalf of another. */
  get told(): boolean {
    return this.kind === "call" && this.story === this
  }

  /** Whether there is anybody to tell. */
  get watched(): boolean {
    return areWatched(this.observers)
  }

  /** Tells the observers; one that throws harms nobody. */
  emit(told: Told): void {
    if (!this.watched) return
    const { story: { number: call }, track } = this
    tellAll(this.observers, Object.assign(told, track === undefined ? { call } : { call, track }) as Event)
  }

  /** The number of its next attempt. */
  protected next(): number {
    return ++this.story.begun
  }

  /** It waits before it asks again. */
  waits(wait: Duration.Duration, because: string, now: number): void {
    const { target } = this
    reporters?.metrics.waited(target, because, wait, this.labels)
    this.trace?.event("perdure.wait", { "perdure.wait": Duration.toSeconds(wait), "error.type": because })
    if (this.watched) this.emit({ _tag: "Waiting", at: now, target, wait, because })
  }

  /** It is in line at a policy. */
  queued(place: Pick<Queued, "target" | "policy" | "name">, now: number): void {
    if (this.watched) this.emit({ _tag: "Queued", at: now, ...place })
  }

  /** It is no longer in line. */
  dequeued(
    place: Pick<Queued, "target" | "policy" | "name">,
    outcome: Dequeued["outcome"],
    waited: Duration.Duration,
    now: number
  ): void {
    this.trace?.event("perdure.wait", {
      "perdure.wait": Duration.toSeconds(waited),
      "perdure.queue": place.policy,
      "perdure.queue.outcome": outcome
    })
    if (this.watched) this.emit({ _tag: "Dequeued", at: now, ...place, outcome, waited })
  }

  /** A budget does not pay for another try. */
  unpaid(kind: BudgetExhausted["kind"], target: Target | undefined, now: number): void {
    if (!this.watched) return
    const { model, provider } = target ?? this.target
    this.emit({ _tag: "BudgetExhausted", at: now, kind, target: { provider, model } })
  }

  /** A retry policy lets a failure through. */
  gaveUp(because: string, reason: GiveUp, now: number): void {
    if (this.watched) this.emit({ _tag: "GaveUp", at: now, target: this.target, because, reason })
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
}
