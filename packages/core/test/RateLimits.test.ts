import { describe, expect, it } from "@effect/vitest"
import { Duration, Option, Schema } from "effect"
import * as fc from "effect/FastCheck"
import { RateLimits } from "perdure"

const now = Date.UTC(2026, 10, 23, 12, 0, 0)
const read = (headers: Record<string, string>) => Option.getOrUndefined(RateLimits.fromHeaders(headers, now))
const limit = (fields: ConstructorParameters<typeof RateLimits.Limit>[0]) => new RateLimits.Limit(fields)

describe("RateLimits.fromHeaders", () => {
  it("reads OpenAI's Go durations", () => {
    expect(read({
      "x-ratelimit-limit-requests": "60",
      "x-ratelimit-remaining-requests": "59",
      "x-ratelimit-reset-requests": "1s",
      "x-ratelimit-limit-tokens": "150000",
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-tokens": "6m0s"
    })).toEqual(
      new RateLimits.RateLimits({
        requests: limit({ limit: 60, remaining: 59, reset: Duration.seconds(1) }),
        tokens: limit({ limit: 150_000, remaining: 0, reset: Duration.minutes(6) })
      })
    )
  })

  it("reads Azure's bare seconds, and takes -1 and 0 for unknown", () => {
    expect(read({ "x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "7" })?.tokens).toEqual(
      limit({ remaining: 5, reset: Duration.seconds(7) })
    )
    expect(read({ "x-ratelimit-limit-tokens": "-1", "x-ratelimit-reset-tokens": "0" })).toBeUndefined()
  })

  it("reads Anthropic's timestamps for each kind of token", () => {
    expect(read({
      "anthropic-ratelimit-requests-remaining": "3",
      "anthropic-ratelimit-requests-reset": "2026-11-23T12:00:30Z",
      "anthropic-ratelimit-input-tokens-limit": "40000",
      "anthropic-ratelimit-output-tokens-remaining": "0"
    })).toEqual(
      new RateLimits.RateLimits({
        requests: limit({ remaining: 3, reset: Duration.seconds(30) }),
        inputTokens: limit({ limit: 40_000 }),
        outputTokens: limit({ remaining: 0 })
      })
    )
  })

  it("is none where no header speaks of limits", () => {
    expect(read({ "content-type": "application/json" })).toBeUndefined()
  })

  it("never throws and never makes a number up, whatever the headers say", () => {
    const names = ["limit", "remaining", "reset"].flatMap((what) => [
      `x-ratelimit-${what}-tokens`,
      `anthropic-ratelimit-requests-${what}`
    ])
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom(...names), fc.oneof(fc.string(), fc.integer().map(String))),
        (headers) => {
          const limits = read(headers)
          if (limits === undefined) return
          // What it makes of them is valid, or encoding would refuse it.
          expect(() => Schema.encodeSync(RateLimits.RateLimits)(limits)).not.toThrow()
        }
      ),
      { numRuns: 3000 }
    )
  })
})

describe("RateLimits.exhaustedFor", () => {
  it("is the longest reset of those that are used up", () => {
    const limits = new RateLimits.RateLimits({
      requests: limit({ remaining: 0, reset: Duration.seconds(2) }),
      tokens: limit({ remaining: 0, reset: Duration.seconds(20) }),
      inputTokens: limit({ remaining: 1, reset: Duration.seconds(99) })
    })
    expect(RateLimits.exhaustedFor(limits)).toEqual(Option.some(Duration.seconds(20)))
  })

  it("is none where something is left of everything", () => {
    expect(RateLimits.exhaustedFor(new RateLimits.RateLimits({ requests: limit({ remaining: 1 }) }))).toEqual(
      Option.none()
    )
  })
})
