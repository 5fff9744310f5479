/** The options of a quota, and their checks. */
import * as Duration from "effect/Duration"
import type { LlmRequest } from "../LlmRequest.ts"
import * as Check from "../Options.ts"
import type { Subject } from "../Policy.ts"
import { targetKey } from "./call.ts"
import * as Pure from "./quota.ts"
import { inputTokens, typicalOutput } from "./tokens.ts"

export const defaults = {
  learn: "lower",
  countCached: true,
  maxWait: Duration.minutes(1),
  queue: 1000,
  outputTokens: typicalOutput
} as const

/** How much of each there may be; what is left out is not limited. */
export interface Amounts {
  readonly requests?: number | undefined
  /** Input and output together, as OpenAI counts them. */
  readonly tokens?: number | undefined
  /** As Anthropic counts them. */
  readonly inputTokens?: number | undefined
  readonly outputTokens?: number | undefined
}

/** One limit: it refills continuously, `amount` in `per`. */
export interface Limit {
  readonly unit: "requests" | "tokens" | "inputTokens" | "outputTokens"
  /** A whole number of at least 1. */
  readonly amount: number
  /** At least a millisecond. */
  readonly per: Duration.DurationInput
  /**
   * The most that there is at once, after a pause. In any time `t`, at most `burst + amount * t / per` is let through.
   * @default `amount`
   */
  readonly burst?: number | undefined
  /**
   * What `QuotaExceeded` calls it.
   * @default for example `tokens per minute`
   */
  readonly name?: string | undefined
}

/** What a quota is made of. Without any limit it has those that the provider tells of. */
export interface Options {
  /** @default no limits */
  readonly perMinute?: Amounts | undefined
  /**
   * These refill continuously too, over the whole day.
   * @default no limits
   */
  readonly perDay?: Amounts | undefined
  /**
   * Limits over other times, or with a burst of their own.
   * @default none
   */
  readonly limits?: ReadonlyArray<Limit> | undefined
  /**
   * What becomes of the rate limits that answers and failures tell of: `"lower"` obeys whichever is lower, theirs or those
   * above; `"both"` puts theirs in the place of the one above with the shortest time, also when they are higher; `"never"`
   * ignores them. A rate limit's `retryAfter` always holds.
   * @default "lower"
   */
  readonly learn?: "never" | "lower" | "both" | undefined
  /**
   * The input tokens of a request. The output is added: `maxOutputTokens` where the request has it, else the mean of the
   * answers so far, else 500.
   * @default a token for four characters of the messages, tools and schema, 765 an image (85 at low detail), 3,000 a file
   */
  readonly estimate?: ((request: LlmRequest) => number) | undefined
  /**
   * Whether input tokens that came from a cache count. They do not for most models of Anthropic.
   * @default true
   */
  readonly countCached?: boolean | undefined
  /**
   * The longest that a call waits for its permit; it is refused at once when it would have to wait longer. 0 never waits.
   * @default "1 minute"
   */
  readonly maxWait?: Duration.DurationInput | undefined
  /**
   * The most calls of one key that wait in this process; 0 never waits.
   * @default 1000
   */
  readonly queue?: number | undefined
  /**
   * Calls with the same key share the limits. Providers limit each model of an organisation; give the account's name for
   * limits that all models share.
   * @default the target's `provider/model`; `"default"` where the policy is applied by hand
   */
  readonly key?: ((subject: Subject | undefined) => string) | undefined
  /**
   * Quotas that find the same `QuotaStore` share what they count when they have the same name.
   * @default "default"
   */
  readonly name?: string | undefined
}

export interface Checked {
  readonly name: string
  readonly settings: Pure.Settings
  readonly ask: (subject: Subject | undefined) => Pure.Ask
  readonly key: (subject: Subject | undefined) => string
  readonly countCached: boolean
  readonly maxWait: number
  readonly queue: number
}

/** More than any provider has, and little enough for sums of it to be exact. */
const mostUnits = 1e12

const amountsOf = (of: string, amounts: Amounts | undefined, per: Duration.Duration): ReadonlyArray<[string, Limit]> =>
  amounts === undefined ? [] : Pure.units.flatMap((unit): ReadonlyArray<[string, Limit]> => {
    const amount = amounts[unit]
    return amount === undefined ? [] : [[`${of}: { ${unit} }`, { unit, amount, per }]]
  })

/** `minute` rather than `1m`, since it is read in messages. */
const nameOf = (unit: Pure.Unit, span: number): string =>
  `${Pure.words[unit]} per ${
    span === 1000 ?
      "second" :
      span === 60_000 ?
      "minute" :
      span === 3_600_000 ?
      "hour" :
      span === 86_400_000 ?
      "day" :
      (
        Duration.format(Duration.millis(span))
      )
  }`

const rateOf = (of: string, place: string, limit: Limit): Pure.Rate => {
  const option = (name: string) => place.startsWith("limits") ? `${of}({ ${place}.${name} })` : `${of}({ ${place} })`
  const unit = Check.literal(option("unit"), limit.unit, Pure.units)
  const amount = Check.integer(option("amount"), limit.amount, 1, mostUnits)
  const span = Duration.toMillis(Check.duration(option("per"), limit.per))
  Check.check(option("per"), limit.per, Number.isSafeInteger(span), "a whole number of milliseconds")
  const burst = Check.integer(option("burst"), limit.burst ?? amount, 1, mostUnits)
  const name = limit.name === undefined ? nameOf(unit, span) : Check.text(option("name"), limit.name)
  return Pure.rate(name, unit, amount, span, burst) ??
    Check.refuse(option("burst"), burst, "a burst that refills in less than a thousand years")
}

const guess = (estimate: (request: LlmRequest) => number, request: LlmRequest): number => {
  const tokens = estimate(request)
  return tokens > 0 && tokens <= mostUnits ? Math.ceil(tokens) : 0
}

const unknown: Pure.Ask = { input: undefined, output: undefined }

/** Checks the options of `of`, and makes of them what the quota works with. */
export const checked = (of: string, options: Options): Checked => {
  const { countCached = defaults.countCached, estimate = inputTokens, key = keyOf, limits = [] } = options
  const rates = [
    ...amountsOf("perMinute", options.perMinute, Duration.minutes(1)),
    ...amountsOf("perDay", options.perDay, Duration.days(1)),
    ...limits.map((limit, index): [string, Limit] => [`limits[${index}]`, limit])
  ].map(([place, limit]) => rateOf(of, place, limit))
  const names = rates.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) Check.refuse(`${of}({ limits })`, twice, "limits with different names")
  const learn = Check.literal(`${of}({ learn })`, options.learn ?? defaults.learn, ["never", "lower", "both"])
  const settings = Pure.settings(rates, learn)
  const counts = learn !== "never" || rates.some(({ unit }) => unit !== "requests")
  return {
    name: Check.text(`${of}({ name })`, options.name ?? "default"),
    settings,
    ask: (subject) =>
      subject === undefined || !counts
        ? unknown
        : { input: guess(estimate, subject.request), output: subject.request.maxOutputTokens },
    key,
    countCached,
    maxWait: Duration.toMillis(Check.duration(`${of}({ maxWait })`, options.maxWait ?? defaults.maxWait, "zero")),
    queue: Check.integer(`${of}({ queue })`, options.queue ?? defaults.queue, 0)
  }
}

const keyOf = (subject: Subject | undefined): string => subject === undefined ? "default" : targetKey(subject.target)

/** What the limits are, in words. */
export const words = ({ learn, limits }: Pure.Settings): string =>
  limits.length === 0
    ? learn === "never" ? "no limits" : "as the provider says"
    : limits.map(({ amount, capacity, name, period, span }) => {
      const total = Math.round(amount / period * span)
      return `${total} ${name}${capacity === total ? "" : `, burst ${capacity}`}`
    }).join(", ")
