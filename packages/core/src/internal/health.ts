/** Who has been failing, until when it is passed over, and how long it usually takes: `(state, event, now) => state`. */
import * as Duration from "effect/Duration"

/** What the machine is told to do; times are in milliseconds. */
export interface Settings {
  /** After how many failures in a row it is benched. */
  readonly after: number
  readonly benchedFor: number
}

/**
 * The health of a target, of a key or of a quota domain. It is nothing but numbers, so that it can be kept anywhere.
 *
 * It is benched until a time. From then on it is due: the first call that asks is its probe, and it stays benched for the
 * others, at most for as long as before. An answer to the probe brings it back, for all.
 */
export interface Health {
  /** How often it has failed in a row. */
  readonly failures: number
  /** The end of the bench, while it is on it. */
  readonly until: number | undefined
  /** Another one after each benching, probe and return: what a call of an earlier one brings says nothing any more. */
  readonly generation: number
}

export const healthy: Health = { failures: 0, until: undefined, generation: 0 }

/** Whether it may be asked like any other, is to be asked once, or is to be passed over. */
export type Standing = "in" | "due" | "out"

export const standing = ({ until }: Health, now: number): Standing =>
  until === undefined ? "in" : until <= now ? "due" : "out"

/** The same for people: `unhealthy` for so long, or `due` for its one call. */
export interface Status {
  readonly health: "healthy" | "due" | "unhealthy"
  readonly retryAfter?: Duration.Duration | undefined
}

export const status = (until: number | undefined, now: number): Status =>
  until === undefined
    ? { health: "healthy" }
    : until <= now
    ? { health: "due" }
    : { health: "unhealthy", retryAfter: Duration.millis(until - now) }

/** What a call keeps, to say later whose end it is. */
export interface Ticket {
  readonly generation: number
  readonly probe: boolean
}

/** It is asked. What is due has its probe with that. */
export const ask = ({ benchedFor }: Settings, self: Health, now: number): readonly [Ticket, Health] => {
  if (standing(self, now) !== "due") return [{ generation: self.generation, probe: false }, self]
  const generation = self.generation + 1
  return [{ generation, probe: true }, { failures: self.failures, until: now + benchedFor, generation }]
}

/**
 * How a call ended, for the health of the one that was asked: `failedForGood` when asking again would not help, `nothing`
 * when it says nothing about it.
 */
export type Event = "answered" | "failed" | "failedForGood" | "nothing"

/** A call has ended. `benchedFor` may be longer than the settings say, where the provider has said so. */
export const settle = (
  { after, benchedFor }: Settings,
  self: Health,
  { generation, probe }: Ticket,
  event: Event,
  now: number,
  atLeast = 0
): Health => {
  if (generation !== self.generation) return self
  switch (event) {
    case "answered":
      if (self.until !== undefined) return { failures: 0, until: undefined, generation: generation + 1 }
      return self.failures === 0 ? self : { failures: 0, until: undefined, generation }
    case "failed":
    case "failedForGood": {
      const failures = Math.min(self.failures + 1, after)
      return failures >= after || event === "failedForGood" || self.until !== undefined
        ? { failures, until: now + Math.max(benchedFor, atLeast), generation: generation + 1 }
        : { failures, until: undefined, generation }
    }
    case "nothing":
      // The probe is given back: the next call may be it.
      return probe && self.until !== undefined ? { ...self, until: Math.min(self.until, now) } : self
  }
}

/** Benched on the word of others; one that is passed over as it is stays so. */
export const bench = ({ after, benchedFor }: Settings, self: Health, now: number): Health =>
  standing(self, now) === "out"
    ? self
    : { failures: after, until: now + benchedFor, generation: self.generation + 1 }

/** How long answers have taken, of late. */
export interface Usual {
  readonly millis: number
  /** When that was last learned. */
  readonly at: number
}

/** The weight of the newest sample, as in TCP's estimate of the round trip (RFC 6298). */
export const share = 1 / 8

/** After how long without a sample nothing is known any more, so that one who was slow is asked again. */
export const forgetAfter = 60_000

/** How long it usually takes, where that is known. */
export const usualOf = (self: Usual | undefined, now: number): number | undefined =>
  self === undefined || now - self.at >= forgetAfter ? undefined : self.millis

/**
 * A call has ended. Without an answer it counts only where it took longer than answers do: to fail fast is not to be
 * fast.
 */
export const learned = (self: Usual | undefined, took: number, answered: boolean, now: number): Usual | undefined => {
  const millis = usualOf(self, now)
  if (millis === undefined) return answered ? { millis: took, at: now } : self
  return answered || took > millis ? { millis: millis + (took - millis) * share, at: now } : self
}
