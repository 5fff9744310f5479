/** A server that shares its capacity between the calls under way, and callers that always want more than it bears. */
import * as Adaptive from "../../src/internal/adaptive.ts"

export interface World {
  /** Up to how many calls at once are served at full pace; more share that pace. */
  readonly knee: (now: number) => number
  /** The length of an answer. */
  readonly tokens: (chance: number, now: number) => number
  /** How many callers there are. */
  readonly demand: number
  /** From how many calls at once on it refuses; a refused caller comes again after a second. */
  readonly sheds: number
  /** How much calls differ in pace: the standard deviation of its logarithm. */
  readonly noise: number
}

interface Call {
  readonly startedAt: number
  readonly inFlight: number
  readonly tokens: number
  /** What is still to be served, in milliseconds at full pace. */
  left: number
}

/** Half a second to begin, 20 ms a token. */
const work = (tokens: number, noise: number, chance: () => number): number => {
  const normal = Math.sqrt(-2 * Math.log(1 - chance())) * Math.cos(2 * Math.PI * chance())
  return (500 + 20 * tokens) * Math.exp(noise * normal)
}

const chances = (seed: number) => () => {
  seed = (seed * 1_664_525 + 1_013_904_223) % 4_294_967_296
  return seed / 4_294_967_296
}

/** Plays it in steps of 50 ms. */
export const simulate = (settings: Adaptive.Settings, world: World, seed: number, until: number) => {
  const chance = chances(seed)
  const limits: Array<{ readonly at: number; readonly limit: number }> = []
  let state = Adaptive.initial(Math.min(settings.max, Math.max(settings.min, 10)), 0)
  let calls: Array<Call> = []
  let away: Array<number> = []
  for (let now = 0; now < until; now += 50) {
    const pace = Math.min(1, world.knee(now) / Math.max(1, calls.length))
    const served = calls
    calls = []
    for (const call of served) {
      call.left -= 50 * pace
      if (call.left > 0) calls.push(call)
      else {
        const { inFlight, startedAt, tokens } = call
        const sample = Adaptive.answered(now - startedAt, tokens)
        state = Adaptive.step(settings, state, { _tag: "Answered", startedAt, inFlight, sample }, now)
      }
    }
    away = away.filter((back) => back > now)
    while (calls.length + away.length < world.demand && calls.length < Math.floor(state.limit)) {
      if (calls.length >= world.sheds) {
        state = Adaptive.step(settings, state, { _tag: "Overloaded", startedAt: now }, now)
        away.push(now + 1000)
        continue
      }
      const tokens = world.tokens(chance(), now)
      calls.push({ startedAt: now, inFlight: calls.length + 1, tokens, left: work(tokens, world.noise, chance) })
    }
    if (now % 1000 === 0) limits.push({ at: now, limit: state.limit })
  }
  return { limits, at: (time: number): number => limits.find(({ at }) => at >= time)?.limit ?? Number.NaN }
}
