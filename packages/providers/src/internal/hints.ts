/** What the headers of an error tell, and for want of a header its words. */
import type * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as RateLimits from "perdure/RateLimits"
import * as RetryAfter from "perdure/RetryAfter"
import { window } from "./words.ts"

export type Headers = Readonly<Record<string, string | undefined>>

/** Headers with lower-case names. */
export const lowerCase = (headers: Headers): Headers =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))

/** The provider's explicit word. */
export const shouldRetry = (headers: Headers): boolean | undefined => {
  const word = headers["x-should-retry"]?.trim().toLowerCase()
  return word === "true" ? true : word === "false" ? false : undefined
}

/** `Please try again in 1.2s.`, `Please retry after 26 seconds.` */
const inWords = (message: string): Option.Option<Duration.Duration> => {
  const text = message.slice(0, window)
  const seconds = /\b(?:retry after|try again in) ([\d.]+) seconds?\b/i.exec(text)?.[1]
  if (seconds !== undefined) return RetryAfter.seconds(seconds)
  return RetryAfter.goDuration(/\btry again in ((?:[\d.]+(?:h|ms|m|s))+)/i.exec(text)?.[1] ?? "")
}

/** How long a rate limit lasts: what is asked for, else what the buckets tell, else what the message says. */
export const rateLimitWait = (headers: Headers, message: string, now: number): Duration.Duration | undefined =>
  RetryAfter.fromHeaders(headers, now).pipe(
    Option.orElse(() => Option.flatMap(RateLimits.fromHeaders(headers, now), RateLimits.exhaustedFor)),
    Option.orElse(() => inWords(message)),
    Option.getOrUndefined
  )
