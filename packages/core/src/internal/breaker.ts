/** The states of a circuit and what moves it between them, as plain data: `(state, event, now) => state`. */
import * as Meter from "./meter.ts"

/** What the machine is told to do; times are in milliseconds. */
export interface Settings {
  readonly rules: ReadonlyArray<Meter.Rule>
  /** How many probes a half-open circuit lets through, and how many must succeed. */
  readonly probes: number
  /** After how long a probe that has not ended gives up its permit. */
  readonly lease: number
  /** Whether calls are rejected at all. */
  readonly enforced: boolean
}

/**
 * One circuit. The generation is another one after every change of phase, and a call belongs to the generation that let it
 * through: in any other its result says nothing. It is nothing but numbers, strings and arrays, so that it can be kept
 * anywhere.
 */
export type State =
  | { readonly _tag: "Closed"; readonly generation: number; readonly meters: ReadonlyArray<Meter.Meter> }
  | {
    readonly _tag: "Open"
    readonly generation: number
    /** How often it has opened since it was last closed. */
    readonly openings: number
    readonly at: number
    readonly until: number
  }
  | {
    readonly _tag: "HalfOpen"
    readonly generation: number
    readonly openings: number
    /** The permits that are out, of probes under way. */
    readonly out: number
    readonly succeeded: number
    /** When the last probe was let through. */
    readonly at: number
  }
  | { readonly _tag: "Isolated"; readonly generation: number }

/** What a call is told at the gate. */
export type Answer =
  | { readonly _tag: "Admitted"; readonly generation: number }
  | {
    readonly _tag: "Rejected"
    readonly state: "open" | "halfOpen" | "isolated"
    /** In milliseconds; unknown while probes are under way, and in isolation. */
    readonly retryAfter: number | undefined
  }

/** How a call ended: `Neither` says nothing about the target. */
export type Result = { readonly _tag: "Neither" } | { readonly _tag: "Ended"; readonly call: Meter.Call }

export const neither: Result = { _tag: "Neither" }

/** Where every circuit begins. */
export const initial: State = { _tag: "Closed", generation: 0, meters: [] }

/** The generation of calls that are let through only because nothing is rejected. */
const none = -1

const rejected = (
  settings: Settings,
  state: "open" | "halfOpen" | "isolated",
  retryAfter?: number
): Answer => settings.enforced ? { _tag: "Rejected", state, retryAfter } : { _tag: "Admitted", generation: none }

const admit = (
  self: { readonly generation: number; readonly openings: number; readonly succeeded: number; readonly out: number },
  now: number
): readonly [Answer, State] => [{ _tag: "Admitted", generation: self.generation }, {
  _tag: "HalfOpen",
  generation: self.generation,
  openings: self.openings,
  out: self.out + 1,
  succeeded: self.succeeded,
  at: now
}]

const closed = (self: State): State => ({ _tag: "Closed", generation: self.generation + 1, meters: [] })

/** A call asks to be let through; of an open circuit it may be its `lastResort`, and is then a probe before its time. */
export const ask = (
  settings: Settings,
  self: State,
  now: number,
  lastResort = false
): readonly [Answer, State] => {
  switch (self._tag) {
    case "Closed":
      return [{ _tag: "Admitted", generation: self.generation }, self]
    case "Open":
      // A clock that was set back behind the opening starts its time anew, or it could stay open for as long as that.
      if (now < self.at) return ask(settings, { ...self, at: now, until: now + self.until - self.at }, now, lastResort)
      return now < self.until && !lastResort
        ? [rejected(settings, "open", self.until - now), self]
        : admit({ generation: self.generation + 1, openings: self.openings, succeeded: 0, out: 0 }, now)
    case "HalfOpen":
      // Fewer may be asked for than when the probes were let through.
      if (self.succeeded >= settings.probes) return ask(settings, closed(self), now)
      if (self.out + self.succeeded < settings.probes) return admit(self, now)
      // Those under way have hung, or who waited for them is gone.
      return now - self.at >= settings.lease
        ? admit({ generation: self.generation + 1, openings: self.openings, succeeded: 0, out: 0 }, now)
        : [rejected(settings, "halfOpen"), self]
    case "Isolated":
      return [rejected(settings, "isolated"), self]
  }
}

/**
 * A call that was let through has ended. Undefined when that opens the circuit and `openFor`, the milliseconds that it is
 * to stay open, was not given.
 */
export const settle = (
  settings: Settings,
  self: State,
  generation: number,
  result: Result,
  now: number,
  openFor: number | undefined
): State | undefined => {
  if (self.generation !== generation) return self
  switch (self._tag) {
    case "Closed": {
      if (result._tag === "Neither") return self
      const { rules } = settings
      // Nothing is made where nothing changes.
      let meters = rules.length === self.meters.length ? undefined : self.meters.slice(0, rules.length)
      for (let at = 0; at < rules.length; at++) {
        const rule = rules[at]!
        const meter = Meter.record(rule, Meter.meterOf(rule, self.meters, at), result.call, now)
        if (Meter.isBad(rule, result.call) && Meter.isReached(rule, meter)) return opened(self, now, openFor)
        if (meter === self.meters[at]) continue
        meters ??= [...self.meters]
        meters[at] = meter
      }
      return meters === undefined ? self : { _tag: "Closed", generation, meters }
    }
    case "HalfOpen": {
      const out = self.out - 1
      if (result._tag === "Neither") return { ...self, out }
      if (settings.rules.some((rule) => Meter.isBad(rule, result.call)) || result.call.failed) {
        return opened(self, now, openFor)
      }
      const succeeded = self.succeeded + 1
      return succeeded >= settings.probes ? closed(self) : { ...self, out, succeeded }
    }
    case "Open":
    case "Isolated":
      // Lets nothing through, so nothing of its generation ends.
      return self
  }
}

/** How often a circuit has opened since it was last closed. */
export const openingsOf = (self: State): number => self._tag === "Open" || self._tag === "HalfOpen" ? self.openings : 0

const opened = (self: State, now: number, openFor: number | undefined): State | undefined =>
  openFor === undefined ? undefined : {
    _tag: "Open",
    generation: self.generation + 1,
    openings: openingsOf(self) + 1,
    at: now,
    until: now + openFor
  }

/** Is held open by hand. */
export const isolate = (self: State): State =>
  self._tag === "Isolated" ? self : { _tag: "Isolated", generation: self.generation + 1 }

/** Is closed by hand, and forgets what it has seen. */
export const reset: (self: State) => State = closed
