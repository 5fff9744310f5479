/**
 * The demo's stories of several calls: what the provider replies, and what a policy with a memory must make of it.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as CircuitBreaker from "perdure/CircuitBreaker"
import * as KeyPool from "perdure/KeyPool"
import type * as EmbeddedProvider from "./EmbeddedProvider.ts"
import * as Scenes from "./Scenes.ts"
import * as Words from "./Words.ts"

/**
 * How many times shorter these policies remember here.
 *
 * @since 0.1.0
 * @category constants
 */
export const speed = 30

/**
 * How long a circuit stays open here.
 *
 * @since 0.1.0
 * @category constants
 */
export const openFor: Duration.Duration = Duration.times(CircuitBreaker.defaults.openDuration, 1 / speed)

/**
 * How long a bad key is left out here.
 *
 * @since 0.1.0
 * @category constants
 */
export const benchedFor: Duration.Duration = Duration.times(KeyPool.defaults.benchedFor, 1 / speed)

/**
 * How many failures in a row open the circuit here.
 *
 * @since 0.1.0
 * @category constants
 */
export const failures = 2

/**
 * The labels of the pool's keys.
 *
 * @since 0.1.0
 * @category constants
 */
export const keys = ["team-a", "team-b"] as const

/**
 * @since 0.1.0
 * @category models
 */
export interface Series {
  readonly title: string
  readonly story: string
  /** What is in front of the primary: a breaker, with the backup behind it, or a pool of keys. */
  readonly policy: "breaker" | "keyPool"
  readonly script: EmbeddedProvider.Script
  /** When each call is made: as soon as the one before is over, or when the policy has forgotten the failure. */
  readonly calls: ReadonlyArray<"now" | "later">
  /** What each call must come to, in order. */
  readonly expected: ReadonlyArray<string>
  /** The phases that the circuit must go through; of a pool, none. */
  readonly phases: ReadonlyArray<CircuitBreaker.Phase>
}

const answer = { _tag: "Answer", text: "One place for keys, limits, retries, fallbacks and costs." } as const
const backupAnswer = { _tag: "Answer", text: "One key, one bill." } as const
const overloaded = {
  _tag: "Failure",
  status: 503,
  type: "server_error",
  message: "The engine is currently overloaded."
} as const
const badKey = {
  _tag: "Failure",
  status: 401,
  type: "invalid_request_error",
  code: "invalid_api_key",
  message: "Incorrect API key provided."
} as const

const { backup, primary } = Scenes
const shorter = `Here 30 s are ${Duration.format(openFor)}.`

/**
 * @since 0.1.0
 * @category constants
 */
export const series: ReadonlyArray<Series> = [
  {
    title: "A circuit breaker",
    story:
      `After ${failures} failures in a row the circuit of ${Words.target(primary)} opens: for 30 s it is not asked, ` +
      `and ${Words.target(backup)} serves at once. Then one call is let through as a probe; it is answered, and the ` +
      `circuit closes. ${shorter}`,
    policy: "breaker",
    script: { [primary.model]: [overloaded, overloaded, answer], [backup.model]: [backupAnswer] },
    calls: ["now", "now", "now", "now", "later", "now"],
    expected: [
      `503, ${backup.provider}`,
      `503, ${backup.provider}`,
      `CircuitOpen, ${backup.provider}`,
      `CircuitOpen, ${backup.provider}`,
      primary.provider,
      primary.provider
    ],
    phases: ["open", "halfOpen", "closed"]
  },
  {
    title: "A pool of keys",
    story:
      `Two keys take turns. ${keys[0]} is refused with a 401, so ${keys[1]} is tried, and ${keys[0]} is left out for ` +
      `30 s. Then one call tries it, and it works again. ${shorter}`,
    policy: "keyPool",
    script: { [primary.model]: [badKey, answer] },
    calls: ["now", "now", "now", "now", "later"],
    expected: [`401 ${keys[0]}, ${keys[1]}`, keys[1], keys[1], keys[1], keys[0]],
    phases: []
  }
]

/**
 * What a call came to: refusals on this side, statuses, and the key that worked or who answered.
 *
 * @since 0.1.0
 * @category reading
 */
export const outcomeOf = (result: Scenes.Result): string => {
  const receipt = Scenes.receiptOf(result)
  return [
    ...(receipt?.refusals ?? []).map(({ because }) => because),
    ...(receipt?.attempts ?? []).map(({ key, outcome, target }) => {
      if (outcome._tag === "Answered") return key ?? target.provider
      const what = outcome._tag === "Failed" ? String(outcome.status ?? outcome.error) : "interrupted"
      return key === undefined ? what : `${what} ${key}`
    })
  ].join(", ")
}

/**
 * What did not come out as told, in words; empty when all did.
 *
 * @since 0.1.0
 * @category checking
 */
export const surprises = (
  series: Series,
  results: ReadonlyArray<Scenes.Result>,
  phases: ReadonlyArray<CircuitBreaker.Phase>
): ReadonlyArray<string> => [
  ...series.expected.flatMap((expected, index) => {
    const result = results[index]
    const came = result === undefined ? "nothing" : outcomeOf(result)
    return came === expected ? [] : [`call ${index + 1} comes out as ${expected}, not ${came}`]
  }),
  ...(phases.join() === series.phases.join()
    ? []
    : [`the circuit goes through ${series.phases.join(", ") || "nothing"}, not ${phases.join(", ") || "nothing"}`])
]
