/** What a hedge decides, and the samples that it learns its delay from. */
import * as Duration from "effect/Duration"
import * as Disposition from "../Disposition.ts"
import type { LlmError } from "../LlmError.ts"
import type { Subject } from "../Policy.ts"

/** The last latencies, in milliseconds, in a ring. */
export interface Samples {
  readonly values: ReadonlyArray<number>
  /** Where the next one goes, once the ring is full. */
  readonly next: number
}

export const noSamples: Samples = { values: [], next: 0 }

/** How many latencies are kept. */
export const kept = 128

export const observe = (samples: Samples, millis: number): Samples => {
  const { next, values } = samples
  if (values.length < kept) return { values: [...values, millis], next: 0 }
  return { values: values.with(next, millis), next: (next + 1) % kept }
}

/** The least sample that so many percent are not above; nothing as long as there are too few. */
export const percentile = ({ values }: Samples, percent: number, atLeast: number): number | undefined => {
  if (values.length === 0 || values.length < atLeast) return undefined
  // Of numbers alone, which are sorted in less than half the time.
  const sorted = new Float64Array(values).toSorted()
  return sorted[Math.max(0, Math.ceil(sorted.length * percent / 100) - 1)]
}

/** How long a try is waited for, in milliseconds: always as long, or a percentile of what was seen. */
export type Delay = number | {
  readonly percent: number
  readonly of: number
  /** While there are fewer samples than `of`. */
  readonly otherwise: number
}

export const delay = (after: Delay, samples: Samples): number =>
  typeof after === "number" ? after : percentile(samples, after.percent, after.of) ?? after.otherwise

/** A complete answer, or the opening of a stream. */
export type Kind = Subject["kind"]

/** Of how many keys samples are kept, of each kind. */
export const mostKeys = 1000

/** The samples of all keys, each kind by itself. With too many keys, the one that has been given none for longest is forgotten. */
export class Latencies {
  private readonly samples: { readonly [_ in Kind]: Map<string, Samples> } = { generate: new Map(), open: new Map() }

  of(key: string, kind: Kind): Samples {
    return this.samples[kind].get(key) ?? noSamples
  }

  observe(key: string, kind: Kind, millis: number): void {
    const samples = this.samples[kind]
    const after = observe(this.of(key, kind), millis)
    samples.delete(key)
    samples.set(key, after)
    if (samples.size <= mostKeys) return
    for (const oldest of samples.keys()) {
      samples.delete(oldest)
      return
    }
  }
}

/** A race of tries, told by their numbers from 0 on. */
export interface Race {
  readonly most: number
  readonly started: number
  readonly running: ReadonlySet<number>
  /** Whether another try may be started. It never may again once it was refused. */
  readonly open: boolean
}

export const race = (most: number): Race => ({ most, started: 1, running: new Set([0]), open: most > 1 })

export type Event =
  /** The delay since the last start has passed. */
  | { readonly _tag: "Waited" }
  | { readonly _tag: "Failed"; readonly try: number; readonly verdict: Verdict }
  /** The budget or the deadline allows no more tries. */
  | { readonly _tag: "Refused" }

/** What a failure means for the race: another try at once, no more than those under way, or its end. */
export type Verdict = "another" | "wait" | "end"

/**
 * What an `LlmError` means for the race. The same target is not asked again at once when it has too much to do, or has
 * said how long it wants to be left alone.
 */
export const verdictOf = (
  classify: Disposition.Classifier,
  failure: LlmError,
  /** Whether the next try would ask another target. */
  elsewhere: boolean
): Verdict => {
  const { next, pace, wait } = classify(failure)
  switch (next) {
    case "here":
    case "elsewhereFirst":
      return elsewhere || (pace !== "rateLimit" && pace !== "overload" && (wait === undefined || isZero(wait)))
        ? "another"
        : "wait"
    case "elsewhereOnly":
      return elsewhere ? "another" : "wait"
    // Whether the next one takes more is for a fallback to say.
    case "largerContextOnly":
      return "wait"
    case "stop":
      return "end"
  }
}

const isZero = (wait: Duration.Duration): boolean => Duration.toMillis(wait) === 0

/** What to do: start the next try, wait for those that run, or end with the failures. */
export type Next = "start" | "wait" | "fail"

/** Takes an event in. A try that is to be started counts as started. */
export const step = (race: Race, event: Event): readonly [Next, Race] => {
  switch (event._tag) {
    case "Waited":
      return start(race)
    case "Failed": {
      const running = new Set(race.running)
      running.delete(event.try)
      const after = { ...race, running }
      switch (event.verdict) {
        case "another":
          return start(after)
        case "wait":
          return [running.size === 0 ? "fail" : "wait", after]
        case "end":
          return ["fail", { ...after, open: false }]
      }
    }
    case "Refused": {
      // The try that was refused has been counted.
      const number = race.started - 1
      const running = new Set(race.running)
      running.delete(number)
      return [running.size === 0 ? "fail" : "wait", { ...race, started: number, running, open: false }]
    }
  }
}

const start = (race: Race): readonly [Next, Race] => {
  if (!race.open || race.started >= race.most) return [race.running.size === 0 ? "fail" : "wait", race]
  const running = new Set(race.running).add(race.started)
  return ["start", { ...race, started: race.started + 1, running }]
}
