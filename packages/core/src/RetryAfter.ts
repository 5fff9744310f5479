/**
 * Reads how long a provider asks to wait, in every form that providers use. A hint that makes no sense is no hint.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/**
 * Hints of more than this are taken for a mistake, such as a date where a number of seconds belongs: 366 days.
 *
 * @since 0.1.0
 * @category constants
 */
export const absurd: Duration.Duration = Duration.days(366)

const absurdMillis = Duration.toMillis(absurd)

/** No hint is longer than this; what is, is not worth reading. */
const longest = 256

const trimmed = (value: string): string => value.length > longest ? "" : value.trim()

/** Whole milliseconds, rounded up so that a wait is never shorter than asked. */
const fromMillis = (millis: number): Option.Option<Duration.Duration> =>
  millis >= 0 && millis <= absurdMillis ? Option.some(Duration.millis(Math.ceil(millis - 1e-6))) : Option.none()

const decimal = /^\d+(?:\.\d+)?$/

const scaled = (value: string, millisPerUnit: number): Option.Option<Duration.Duration> =>
  decimal.test(trimmed(value)) ? fromMillis(Number(trimmed(value)) * millisPerUnit) : Option.none()

/**
 * Seconds, whole or fractional: `20`, `1.5`.
 *
 * @since 0.1.0
 * @category parsing
 */
export const seconds = (value: string): Option.Option<Duration.Duration> => scaled(value, 1000)

/**
 * Milliseconds, as in OpenAI's and Azure's `retry-after-ms`: `1500`.
 *
 * @since 0.1.0
 * @category parsing
 */
export const millis = (value: string): Option.Option<Duration.Duration> => scaled(value, 1)

const imfFixdate = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d{2}) (\w{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT$/
const rfc850 = /^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (\d{2})-(\w{3})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) GMT$/
const asctime = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (\w{3}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

const utc = (
  year: number,
  month: number,
  day: number,
  hour: number,
  minute: number,
  second: number
): Option.Option<number> => {
  const at = Date.UTC(year, month, day, hour, minute, second)
  // `Date.UTC` rolls 31 April over to 1 May: a day that does not survive the round trip was never one. A leap second
  // (60) rolls over too, and may.
  return month >= 0 && month <= 11 && hour <= 23 && minute <= 59 && second <= 60 &&
      partsOf(Date.UTC(year, month, day)).day === day
    ? Option.some(at)
    : Option.none()
}

const partsOf = (at: number) => DateTime.toPartsUtc(DateTime.unsafeMake(at))

/** Years of two digits are those of the hundred years of which 50 are still ahead (RFC 9110, 5.6.7). */
const fullYear = (two: number, now: number): number => {
  const thisYear = partsOf(now).year
  const year = thisYear - (thisYear % 100) + two
  return year > thisYear + 50 ? year - 100 : year <= thisYear - 50 ? year + 100 : year
}

/**
 * An HTTP date in any of the three forms of RFC 9110 (5.6.7), as the time from `now` until then: a date in the past is
 * no wait at all.
 *
 * @since 0.1.0
 * @category parsing
 */
export const httpDate = (value: string, now: number): Option.Option<Duration.Duration> => {
  const text = trimmed(value)
  const n = Number
  let m: RegExpMatchArray | null
  let at: Option.Option<number> = Option.none()
  if ((m = text.match(imfFixdate)) !== null) {
    at = utc(n(m[3]), months.indexOf(m[2] ?? ""), n(m[1]), n(m[4]), n(m[5]), n(m[6]))
  } else if ((m = text.match(rfc850)) !== null) {
    at = utc(fullYear(n(m[3]), now), months.indexOf(m[2] ?? ""), n(m[1]), n(m[4]), n(m[5]), n(m[6]))
  } else if ((m = text.match(asctime)) !== null) {
    at = utc(n(m[6]), months.indexOf(m[1] ?? ""), n(m[2]), n(m[3]), n(m[4]), n(m[5]))
  }
  return Option.flatMap(at, (then) => fromMillis(Math.max(0, then - now)))
}

const timestamp = /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(\.\d+)?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/

/**
 * An RFC 3339 timestamp, as in Anthropic's `anthropic-ratelimit-*-reset`, as the time from `now` until then.
 *
 * @since 0.1.0
 * @category parsing
 */
export const rfc3339 = (value: string, now: number): Option.Option<Duration.Duration> => {
  const m = trimmed(value).match(timestamp)
  if (m === null) return Option.none()
  const n = Number
  const offsetHours = n(m[9] ?? 0)
  const offsetMinutes = n(m[10] ?? 0)
  if (offsetHours > 23 || offsetMinutes > 59) return Option.none()
  const offset = (m[8] === "-" ? -1 : 1) * (offsetHours * 60 + offsetMinutes) * 60_000
  return Option.flatMap(
    utc(n(m[1]), n(m[2]) - 1, n(m[3]), n(m[4]), n(m[5]), n(m[6])),
    (then) => fromMillis(Math.max(0, then + n(`0${m[7] ?? ""}`) * 1000 - offset - now))
  )
}

const goUnits: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  "µs": 1e-3,
  "μs": 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000
}
const goPart = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/y

/**
 * A duration as Go prints it, in OpenAI's `x-ratelimit-reset-*` and Gemini's `retryDelay`: `6m0s`, `28ms`, `1.5s`.
 *
 * @since 0.1.0
 * @category parsing
 */
export const goDuration = (value: string): Option.Option<Duration.Duration> => {
  const text = trimmed(value)
  if (text === "0") return Option.some(Duration.zero)
  let total = 0
  let at = 0
  while (at < text.length) {
    goPart.lastIndex = at
    const m = goPart.exec(text)
    if (m === null) return Option.none()
    total += Number(m[1]) * (goUnits[m[2] ?? ""] ?? Number.NaN)
    at = goPart.lastIndex
  }
  return at === 0 ? Option.none() : fromMillis(total)
}

/**
 * Gemini's `google.rpc.RetryInfo.retryDelay`, a protobuf duration in JSON: `34s`, `1.5s`.
 *
 * @since 0.1.0
 * @category parsing
 */
export const retryDelay = (value: string): Option.Option<Duration.Duration> =>
  trimmed(value).endsWith("s") ? seconds(trimmed(value).slice(0, -1)) : Option.none()

/**
 * A value of the `Retry-After` header: seconds or an HTTP date.
 *
 * @since 0.1.0
 * @category parsing
 */
export const header = (value: string, now: number): Option.Option<Duration.Duration> =>
  Option.orElse(seconds(value), () => httpDate(value, now))

/**
 * The wait that a response's headers ask for. `retry-after-ms` wins over `retry-after`, being the finer of the two; where
 * it makes no sense the other is read. Header names are lower case, as HTTP clients hand them out; `now` is the `Clock`'s
 * time in milliseconds.
 *
 * @since 0.1.0
 * @category parsing
 */
export const fromHeaders = (
  headers: Readonly<Record<string, string | undefined>>,
  now: number
): Option.Option<Duration.Duration> =>
  Option.orElse(
    Option.flatMap(Option.fromNullable(headers["retry-after-ms"]), millis),
    () => Option.flatMap(Option.fromNullable(headers["retry-after"]), (value) => header(value, now))
  )
