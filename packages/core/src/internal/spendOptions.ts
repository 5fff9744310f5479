/** The options of a spend limit, and their checks. */
import * as Duration from "effect/Duration"
import type { LlmRequest } from "../LlmRequest.ts"
import * as Check from "../Options.ts"
import type { Step, Subject } from "../Policy.ts"
import { nanosOf, unitsOf } from "./cost.ts"
import * as Pure from "./spend.ts"
import { inputTokens, typicalOutput } from "./tokens.ts"

/** What may be spent in one window, in units of the prices' currency. */
export interface Limit {
  /** From 0, which lets only free models through, to 9 million. */
  readonly amount: number
  /**
   * How long a window is. Windows are those of the clock: one of a day ends at midnight UTC, a `"month"` is the calendar's,
   * and other durations are counted from the epoch on. `"total"` never ends.
   */
  readonly per: Duration.DurationInput | "month" | "total"
  /**
   * What `SpendLimitExceeded` calls its window.
   * @default for example `day`
   */
  readonly window?: string | undefined
}

/** What a call might use. */
export interface Estimate {
  readonly inputTokens: number
  readonly outputTokens: number
}

/** What a spend limit is made of: at least one limit. All of them hold at once. */
export interface Options {
  /** @default no limit */
  readonly perMinute?: number | undefined
  /** @default no limit */
  readonly perHour?: number | undefined
  /**
   * The day ends at midnight UTC.
   * @default no limit
   */
  readonly perDay?: number | undefined
  /**
   * The calendar's month, in UTC.
   * @default no limit
   */
  readonly perMonth?: number | undefined
  /**
   * For as long as the store remembers.
   * @default no limit
   */
  readonly total?: number | undefined
  /**
   * Limits over other times.
   * @default none
   */
  readonly limits?: ReadonlyArray<Limit> | undefined
  /**
   * What becomes of a call to a model without a price: `"refuse"` fails with `SpendLimitExceeded`; `"allow"` lets it
   * through, and it counts as nothing unless the answer names a model that has a price.
   * @default "refuse"
   */
  readonly unpriced?: "refuse" | "allow" | undefined
  /**
   * What a request might use. Give more than usual rather than less: what is not used is given back when the call ends.
   * @default a token for four characters, 765 an image, 3,000 a file; and `maxOutputTokens`, or 500 without it
   */
  readonly estimate?: ((request: LlmRequest) => Estimate) | undefined
  /**
   * Calls with the same key share the limits. It is told the account that `SpendLimit.chargedTo` has set, if any.
   * @default the account, else `"default"`: one limit for all targets
   */
  readonly key?: ((subject: Subject | undefined, account: string | undefined) => string) | undefined
  /**
   * Spend limits that find the same `SpendStore` share what they count when they have the same name.
   * @default "default"
   */
  readonly name?: string | undefined
}

export interface Checked {
  readonly name: string
  readonly settings: Pure.Settings
  readonly unpriced: "refuse" | "allow"
  readonly estimate: (request: LlmRequest) => Estimate
  readonly key: (subject: Subject | undefined, account: string | undefined) => string
}

/** Sums of billionths are exact up to here. */
const mostUnits = 9e6

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

const nameOf = (span: Pure.Span): string => {
  switch (span) {
    case "month":
    case "total":
      return span
    case minute:
      return "minute"
    case hour:
      return "hour"
    case day:
      return "day"
    default:
      return Duration.format(Duration.millis(span))
  }
}

const amountOf = (option: string, amount: number): number => {
  Check.check(option, amount, amount >= 0 && amount <= mostUnits, `a number from 0 to ${mostUnits}`)
  return nanosOf(amount)
}

const spanOf = (option: string, per: Limit["per"]): Pure.Span => {
  if (per === "month" || per === "total") return per
  const span = Duration.toMillis(Check.duration(option, per))
  Check.check(option, per, Number.isSafeInteger(span), "a whole number of milliseconds, \"month\" or \"total\"")
  return span
}

const own = [["perMinute", minute], ["perHour", hour], ["perDay", day], ["perMonth", "month"], [
  "total",
  "total"
]] as const

/** Checks the options of `of`, and makes of them what the limit works with. */
export const checked = (of: string, options: Options): Checked => {
  const limits: Array<Pure.Limit> = []
  for (const [name, span] of own) {
    const amount = options[name]
    if (amount !== undefined) {
      limits.push({ window: nameOf(span), span, amount: amountOf(`${of}({ ${name} })`, amount) })
    }
  }
  for (const [index, { amount, per, window }] of (options.limits ?? []).entries()) {
    const option = (name: string) => `${of}({ limits[${index}].${name} })`
    const span = spanOf(option("per"), per)
    limits.push({
      window: window === undefined ? nameOf(span) : Check.text(option("window"), window),
      span,
      amount: amountOf(option("amount"), amount)
    })
  }
  Check.check(`${of}(options)`, options, limits.length > 0, "at least one limit")
  const windows = limits.map(({ window }) => window)
  const twice = windows.find((window, index) => windows.indexOf(window) !== index)
  if (twice !== undefined) Check.refuse(`${of}({ limits })`, twice, "limits with windows of different names")
  return {
    name: Check.text(`${of}({ name })`, options.name ?? "default"),
    settings: Pure.settings(limits),
    unpriced: Check.literal(`${of}({ unpriced })`, options.unpriced ?? "refuse", ["refuse", "allow"]),
    estimate: estimating(options.estimate ?? byDefault),
    key: options.key ?? keyOf
  }
}

const byDefault = (request: LlmRequest): Estimate => ({
  inputTokens: inputTokens(request),
  outputTokens: request.maxOutputTokens ?? typicalOutput
})

const keyOf = (_: Subject | undefined, account: string | undefined): string => account ?? "default"

const counted = (tokens: number): number => tokens > 0 ? Math.min(Math.ceil(tokens), Number.MAX_SAFE_INTEGER) : 0

const estimating = (estimate: (request: LlmRequest) => Estimate) => (request: LlmRequest): Estimate => {
  const { inputTokens, outputTokens } = estimate(request)
  return { inputTokens: counted(inputTokens), outputTokens: counted(outputTokens) }
}

/** What the limits are, in words. */
export const stepOf = ({ settings, unpriced }: Checked, currency: string): Step => ({
  name: "spend limit",
  settings: [
    ...settings.limits.map(({ amount, window }) =>
      `${unitsOf(amount)} ${currency} ${window === "total" ? "in total" : `per ${window}`}`
    ),
    ...unpriced === "allow" ? ["unpriced models allowed"] : []
  ].join(", ")
})
