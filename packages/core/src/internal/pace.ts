/** How busy one of several is, and how long it usually takes: what orders are made from. */
import * as Duration from "effect/Duration"
import type { Asked } from "./asking.ts"
import * as Health from "./health.ts"
import type { Ended } from "./opened.ts"
import type { Raw } from "./provider.ts"
import type { Facts } from "./selection.ts"

export type Kind = keyof Raw

export interface Status {
  readonly inFlight: number
  readonly answer?: Duration.Duration | undefined
  readonly firstOutput?: Duration.Duration | undefined
}

export class Pace {
  /** How many requests are under way. */
  inFlight = 0
  /** Kept apart, since a stream answers with its first output. */
  private readonly usual: { [K in Kind]: Health.Usual | undefined } = { generate: undefined, open: undefined }

  /** How long an answer usually takes, in milliseconds, where that is known. */
  usually(kind: Kind, now: number): number | undefined {
    return Health.usualOf(this.usual[kind], now)
  }

  facts(weight: number, kind: Kind, now: number): Facts {
    return { inFlight: this.inFlight, weight, usual: this.usually(kind, now) }
  }

  /** The same for people. */
  status(now: number): Status {
    const [answer, firstOutput] = [this.usually("generate", now), this.usually("open", now)]
    return {
      inFlight: this.inFlight,
      ...answer === undefined ? {} : { answer: Duration.millis(answer) },
      ...firstOutput === undefined ? {} : { firstOutput: Duration.millis(firstOutput) }
    }
  }

  learn(kind: Kind, took: number, answered: boolean, now: number): void {
    this.usual[kind] = Health.learned(this.usual[kind], took, answered, now)
  }
}

/** A request: it counts while it is under way, and its answer is timed. */
export abstract class Timed implements Asked {
  private readonly pace: Pace
  private readonly kind: Kind
  private readonly startedAt: number
  private opened = false

  constructor(pace: Pace, kind: Kind, startedAt: number) {
    this.pace = pace
    this.kind = kind
    this.startedAt = startedAt
    pace.inFlight += 1
  }

  answered(now: number): void {
    this.opened = true
    this.pace.learn(this.kind, now - this.startedAt, true, now)
  }

  ended(_: Ended, now: number): void {
    this.pace.inFlight -= 1
    if (!this.opened) this.pace.learn(this.kind, now - this.startedAt, false, now)
  }
}
