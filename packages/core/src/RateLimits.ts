/**
 * What a provider says about its rate limits, read from the headers of any response, good or bad.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as RetryAfter from "./RetryAfter.ts"

const count = Schema.optional(Schema.Int.pipe(Schema.nonNegative()))

/**
 * One limit: how much in all, how much is left, and when it is full again.
 *
 * @since 0.1.0
 * @category models
 */
export class Limit extends Schema.Class<Limit>("perdure/Limit")({
  limit: count,
  remaining: count,
  /** From the moment the response came until the limit is full again. Encoded as `resetMs`. */
  reset: Schema.optional(Schema.DurationFromMillis).pipe(Schema.fromKey("resetMs"))
}) {}

/**
 * The limits that a provider tells of. Absent ones are unknown, not unlimited.
 *
 * @since 0.1.0
 * @category models
 */
export class RateLimits extends Schema.Class<RateLimits>("perdure/RateLimits")({
  requests: Schema.optional(Limit),
  /** Input and output together. */
  tokens: Schema.optional(Limit),
  inputTokens: Schema.optional(Limit),
  outputTokens: Schema.optional(Limit)
}) {}

type Kind = keyof typeof RateLimits.fields

/** Where each dialect keeps each number. */
const dialects: ReadonlyArray<{
  readonly kinds: Partial<Record<Kind, string>>
  readonly header: (kind: string, what: "limit" | "remaining" | "reset") => string
  readonly reset: (value: string, now: number) => Option.Option<Duration.Duration>
}> = [
  {
    // OpenAI and those who follow it: Go durations; Azure sends bare seconds, and 0 or -1 for unknown.
    kinds: { requests: "requests", tokens: "tokens" },
    header: (kind, what) => `x-ratelimit-${what}-${kind}`,
    reset: (value) =>
      Number(value) === 0 ? Option.none() : Option.orElse(RetryAfter.goDuration(value), () => RetryAfter.seconds(value))
  },
  {
    // Anthropic: timestamps.
    kinds: { requests: "requests", tokens: "tokens", inputTokens: "input-tokens", outputTokens: "output-tokens" },
    header: (kind, what) => `anthropic-ratelimit-${kind}-${what}`,
    reset: RetryAfter.rfc3339
  }
]

const whole = (value: string | undefined): number | undefined =>
  value !== undefined && /^\d{1,15}$/.test(value.trim()) ? Number(value) : undefined

/**
 * The limits in a response's headers (lower-case names), in OpenAI's, Azure's or Anthropic's dialect; none where there are
 * none. A number that makes no sense is left out. `now` is the `Clock`'s time in milliseconds.
 *
 * @since 0.1.0
 * @category parsing
 */
export const fromHeaders = (
  headers: Readonly<Record<string, string | undefined>>,
  now: number
): Option.Option<RateLimits> => {
  const found: { [K in Kind]?: Limit } = {}
  for (const { header, kinds, reset } of dialects) {
    for (const [kind, name] of Object.entries(kinds) as ReadonlyArray<[Kind, string]>) {
      const read = {
        limit: whole(headers[header(name, "limit")]),
        remaining: whole(headers[header(name, "remaining")]),
        reset: Option.getOrUndefined(
          Option.flatMap(Option.fromNullable(headers[header(name, "reset")]), (value) => reset(value.trim(), now))
        )
      }
      if (Object.values(read).some((value) => value !== undefined)) found[kind] = new Limit(read)
    }
  }
  return Object.keys(found).length === 0 ? Option.none() : Option.some(new RateLimits(found))
}

/**
 * When every limit that is used up will be full again: the longest of their resets. None where nothing is used up.
 *
 * @since 0.1.0
 * @category reading
 */
export const exhaustedFor = (limits: RateLimits): Option.Option<Duration.Duration> => {
  const resets = [limits.requests, limits.tokens, limits.inputTokens, limits.outputTokens].flatMap((limit) =>
    limit?.remaining === 0 && limit.reset !== undefined ? [limit.reset] : []
  )
  return resets.length === 0 ? Option.none() : Option.some(resets.reduce(Duration.max))
}
