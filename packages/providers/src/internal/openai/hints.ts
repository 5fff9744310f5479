/** What the headers of an error tell, and for want of a header its words. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as RetryAfter from "perdure/RetryAfter"

export type Headers = Readonly<Record<string, string | undefined>>

/** Headers with lower-case names. */
export const lowerCase = (headers: Headers): Headers =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))

const requestIds = ["x-request-id", "apim-request-id", "request-id", "x-ms-request-id", "cf-ray"]

/** The provider's id of the request, and a proxy's where it has none. */
export const requestId = (headers: Headers): string | undefined => {
  for (const name of requestIds) {
    const id = headers[name]?.trim()
    if (id !== undefined && id !== "") return id
  }
  return undefined
}

/** The provider's explicit word. */
export const shouldRetry = (headers: Headers): boolean | undefined => {
  const word = headers["x-should-retry"]?.trim().toLowerCase()
  return word === "true" ? true : word === "false" ? false : undefined
}

/** OpenAI's Go duration or Azure's bare seconds, where zero and less mean that the time is not known. */
const reset = (value: string): Option.Option<Duration.Duration> =>
  Option.filter(
    Option.orElse(RetryAfter.goDuration(value), () => RetryAfter.seconds(value)),
    (wait) => Duration.greaterThan(wait, Duration.zero)
  )

/** When the buckets that are empty will hold something again; the last of them, since all are needed. */
const untilReset = (headers: Headers): Option.Option<Duration.Duration> =>
  ["requests", "tokens"].reduce<Option.Option<Duration.Duration>>((longest, bucket) => {
    const remaining = headers[`x-ratelimit-remaining-${bucket}`]?.trim()
    if (remaining === undefined || !/^0+$/.test(remaining)) return longest
    const wait = reset(headers[`x-ratelimit-reset-${bucket}`] ?? "")
    return Option.isSome(longest) && Option.isSome(wait)
      ? Option.some(Duration.max(longest.value, wait.value))
      : Option.orElse(longest, () => wait)
  }, Option.none())

/** `Please try again in 1.2s.`, `Please retry after 26 seconds.` */
const inWords = (message: string): Option.Option<Duration.Duration> => {
  const text = message.slice(0, 8192)
  const seconds = /\b(?:retry after|try again in) ([\d.]+) seconds?\b/i.exec(text)?.[1]
  if (seconds !== undefined) return RetryAfter.seconds(seconds)
  return RetryAfter.goDuration(/\btry again in ((?:[\d.]+(?:h|ms|m|s))+)/i.exec(text)?.[1] ?? "")
}

/** How long a rate limit lasts: what is asked for, else what the buckets tell, else what the message says. */
export const rateLimitWait = (headers: Headers, message: string, now: number): Duration.Duration | undefined =>
  RetryAfter.fromHeaders(headers, now).pipe(
    Option.orElse(() => untilReset(headers)),
    Option.orElse(() => inWords(message)),
    Option.getOrUndefined
  )
