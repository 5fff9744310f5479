import { describe, expect, it } from "@effect/vitest"
import { Google } from "@perdure/providers"
import { Duration, Schema } from "effect"
import * as fc from "effect/FastCheck"
import { Disposition, LlmError } from "perdure"

/** The time at which the responses come: Monday, 23 November 2026, noon. */
const now = Date.UTC(2026, 10, 23, 12, 0, 0)

const failure = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  Google.failure({ status, headers, body: typeof body === "string" ? body : JSON.stringify(body), model: "m", now })

const type = (name: string) => `type.googleapis.com/google.rpc.${name}`
const info = (reason: string) => ({ "@type": type("ErrorInfo"), reason, domain: "googleapis.com" })
const retryInfo = (retryDelay: string) => ({ "@type": type("RetryInfo"), retryDelay })
const quota = (...violations: ReadonlyArray<Record<string, string>>) => ({ "@type": type("QuotaFailure"), violations })
const said = (status: string, message = "words", ...details: ReadonlyArray<unknown>) => ({
  error: { code: 400, message, status, ...(details.length === 0 ? {} : { details }) }
})

const perMinute = { quotaId: "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", quotaValue: "10" }
const perDay = { quotaId: "GenerateRequestsPerDayPerProjectPerModel-FreeTier", quotaValue: "250" }
const plan = "You exceeded your current quota, please check your plan and billing details."
const tooLong = "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576)."
const seconds = (n: number) => ({ retryAfter: Duration.seconds(n) })
const none = { retryAfter: undefined }

/** A fact about the wire: this status and body, with these headers, is that failure with these fields. */
type Fact = readonly [
  fact: string,
  status: number,
  body: unknown,
  tag: LlmError.Tag,
  fields?: Record<string, unknown>,
  headers?: Record<string, string>
]

const rows = (facts: ReadonlyArray<Fact>) => {
  for (const [fact, status, body, tag, fields = {}, headers = {}] of facts) {
    it(`${fact}`, () => {
      const error = failure(status, body, headers)
      expect({ ...error, _tag: error._tag, retryAfter: error.retryAfter }).toMatchObject({
        _tag: tag,
        provider: "google",
        model: "m",
        ...(status === 200 ? {} : { status }),
        ...fields
      })
    })
  }
}

describe("quotas and rate limits", () => {
  rows([
    [
      "a quota of a minute passes, after the delay that is asked for",
      429,
      said("RESOURCE_EXHAUSTED", plan, quota(perMinute), retryInfo("34s")),
      "RateLimited",
      { code: "RESOURCE_EXHAUSTED", detail: plan, ...seconds(34) }
    ],
    [
      "a delay may be fractional",
      429,
      said("RESOURCE_EXHAUSTED", plan, retryInfo("1.5s")),
      "RateLimited",
      seconds(1.5)
    ],
    [
      "a delay that makes no sense is none",
      429,
      said("RESOURCE_EXHAUSTED", "", retryInfo("soon")),
      "RateLimited",
      none
    ],
    ["a header asks as well", 429, said("RESOURCE_EXHAUSTED"), "RateLimited", seconds(7), { "Retry-After": "7" }],
    [
      "R3: of a delay and a header the longer counts",
      429,
      said("RESOURCE_EXHAUSTED", "", retryInfo("3s")),
      "RateLimited",
      seconds(7),
      { "retry-after": "7" }
    ],
    [
      "the words tell the delay for want of anything better",
      429,
      said("RESOURCE_EXHAUSTED", `${plan}\nPlease retry in 34.074824224s.`),
      "RateLimited",
      { retryAfter: Duration.millis(34075) }
    ],
    [
      "a quota of a day does not come back, whatever delay is asked for",
      429,
      said("RESOURCE_EXHAUSTED", plan, quota(perDay), retryInfo("27s")),
      "QuotaExhausted",
      none
    ],
    [
      "one quota of a day among those of a minute is enough",
      429,
      said("RESOURCE_EXHAUSTED", plan, quota(perMinute, perDay)),
      "QuotaExhausted"
    ],
    [
      "a quota of a day by its description",
      429,
      said("RESOURCE_EXHAUSTED", plan, quota({ description: "Requests per day" })),
      "QuotaExhausted"
    ],
    [
      "a quota of nothing was never granted",
      429,
      said("RESOURCE_EXHAUSTED", plan, quota({ ...perMinute, quotaValue: "0" })),
      "QuotaExhausted"
    ],
    [
      "a limit of 0 in the words",
      429,
      said("RESOURCE_EXHAUSTED", `${plan}\n* Quota exceeded for metric: free_tier_requests, limit: 0, model: m`),
      "QuotaExhausted"
    ],
    [
      "a limit that only begins with 0 is one, near miss",
      429,
      said("RESOURCE_EXHAUSTED", "Quota exceeded for metric: m, limit: 0.5"),
      "RateLimited"
    ],
    ["a limit of 20 ends with 0, near miss", 429, said("RESOURCE_EXHAUSTED", "limit: 20, model: m"), "RateLimited"],
    ["credits used up", 429, said("RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), "QuotaExhausted"],
    [
      "a spending cap",
      429,
      said("RESOURCE_EXHAUSTED", "The project exceeded its monthly spending cap."),
      "QuotaExhausted"
    ],
    [
      "no details at all",
      429,
      said("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
      "RateLimited"
    ],
    ["a 429 of a proxy", 429, "slow down", "RateLimited", { detail: "slow down" }],
    ["402", 402, "", "QuotaExhausted"]
  ])
})

describe("keys and permissions", () => {
  rows([
    [
      "a bad key is a 400",
      400,
      said("INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", info("API_KEY_INVALID")),
      "Unauthenticated",
      { code: "API_KEY_INVALID" }
    ],
    ["a bad key by its reason", 400, said("INVALID_ARGUMENT", "No.", info("API_KEY_INVALID")), "Unauthenticated"],
    ["a bad key by its words", 400, said("INVALID_ARGUMENT", "API key expired. Please renew it."), "Unauthenticated"],
    [
      "an argument named key, near miss",
      400,
      said("INVALID_ARGUMENT", "The API key field is unknown."),
      "InvalidRequest"
    ],
    ["a leaked key", 403, said("PERMISSION_DENIED", "Your API key was reported as leaked."), "Unauthenticated"],
    [
      "no key",
      403,
      said("PERMISSION_DENIED", "Method doesn't allow unregistered callers. Please use API Key."),
      "Unauthenticated"
    ],
    ["UNAUTHENTICATED", 401, said("UNAUTHENTICATED"), "Unauthenticated"],
    ["PERMISSION_DENIED", 403, said("PERMISSION_DENIED", "", info("SERVICE_DISABLED")), "PermissionDenied"],
    ["a project without billing", 403, said("PERMISSION_DENIED", "", info("BILLING_DISABLED")), "QuotaExhausted"],
    [
      "a region that is not served",
      400,
      said("FAILED_PRECONDITION", "User location is not supported for the API use."),
      "PermissionDenied"
    ],
    [
      "billing that is not enabled",
      400,
      said("FAILED_PRECONDITION", "Gemini API free tier is not available in your country. Please enable billing."),
      "QuotaExhausted"
    ],
    [
      "a file that is not ready is the request's fault, near miss",
      400,
      said("FAILED_PRECONDITION", "The File abc is not in an ACTIVE state and usage is not allowed."),
      "InvalidRequest"
    ]
  ])

  it("F1: what is not the request's fault moves on to another provider", () => {
    for (const message of ["User location is not supported for the API use.", "Please enable billing.", "words"]) {
      expect(Disposition.classify(failure(400, said("FAILED_PRECONDITION", message))).next).toBe("elsewhereOnly")
    }
  })
})

describe("requests", () => {
  rows([
    [
      "a bad argument, by its field",
      400,
      said("INVALID_ARGUMENT", "bad", { "@type": type("BadRequest"), fieldViolations: [{ field: "contents[0]" }] }),
      "InvalidRequest",
      { param: "contents[0]", code: "INVALID_ARGUMENT" }
    ],
    ["too long, with its numbers", 400, said("INVALID_ARGUMENT", tooLong), "ContextLengthExceeded", {
      limit: 1048576,
      requested: 1048577
    }],
    [
      "too long, without the count",
      400,
      said("INVALID_ARGUMENT", "The input token count exceeds the maximum number of tokens allowed (1,048,576)."),
      "ContextLengthExceeded",
      { limit: 1048576 }
    ],
    [
      "too long, in Vertex's words",
      400,
      said("INVALID_ARGUMENT", "the input token count is 32770 but model only supports up to 32768."),
      "ContextLengthExceeded",
      { limit: 32768, requested: 32770 }
    ],
    [
      "an output limit out of range, near miss",
      400,
      said("INVALID_ARGUMENT", "max_output_tokens must be within the maximum number of tokens allowed (65536)."),
      "InvalidRequest"
    ],
    ["too long for a minute, near miss", 429, said("RESOURCE_EXHAUSTED", tooLong), "RateLimited"],
    [
      "a payload too large",
      400,
      said("INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."),
      "RequestTooLarge"
    ],
    ["413", 413, "", "RequestTooLarge"],
    ["NOT_FOUND", 404, said("NOT_FOUND", "models/x is not found for API version v1beta"), "ModelNotFound", {
      detail: "models/x is not found for API version v1beta"
    }],
    [
      "no name of a model",
      400,
      said("INVALID_ARGUMENT", "GenerateContentRequest.model: unexpected model name format"),
      "ModelNotFound"
    ],
    ["UNIMPLEMENTED", 501, said("UNIMPLEMENTED"), "ModelNotFound"],
    ["OUT_OF_RANGE", 400, said("OUT_OF_RANGE"), "InvalidRequest"]
  ])
})

describe("trouble at the provider", () => {
  rows([
    ["UNAVAILABLE", 503, said("UNAVAILABLE", "The model is overloaded."), "Overloaded"],
    ["INTERNAL", 500, said("INTERNAL"), "ProviderUnavailable"],
    ["UNKNOWN", 500, said("UNKNOWN"), "ProviderUnavailable"],
    ["DEADLINE_EXCEEDED", 504, said("DEADLINE_EXCEEDED"), "TimedOut", { phase: "provider" }],
    ["CANCELLED", 499, said("CANCELLED"), "ProviderUnavailable"],
    ["ABORTED", 409, said("ABORTED"), "ProviderUnavailable"],
    ["a 504 of a proxy", 504, "<html><body><h1>504 Gateway Time-out</h1></body></html>", "ProviderUnavailable", {
      detail: "504 Gateway Time-out"
    }],
    ["408", 408, "", "TimedOut"],
    ["502 with nothing", 502, "", "ProviderUnavailable", { detail: "" }],
    ["a redirect", 302, "", "ModelNotFound", { detail: expect.stringContaining("https://x.test/login, which") }, {
      location: "https://x.test/login?k=1"
    }],
    ["a page that is not there", 404, "<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>", "ModelNotFound", {
      detail: expect.stringContaining("check the base URL: Error 404")
    }],
    ["418", 418, "", "InvalidRequest"]
  ])
})

describe("bodies", () => {
  rows([
    ["a list around the error", 503, [said("UNAVAILABLE", "busy")], "Overloaded", { detail: "busy" }],
    [
      "an error inside the message of another",
      503,
      { error: { message: JSON.stringify(said("RESOURCE_EXHAUSTED", "inner", retryInfo("2s"))), code: 503 } },
      "RateLimited",
      { detail: "inner", ...seconds(2) }
    ],
    ["a flat error", 400, { message: "flat", status: "FAILED_PRECONDITION" }, "PermissionDenied", { detail: "flat" }],
    ["a text for an error", 401, { error: "invalid_token", error_description: "expired" }, "Unauthenticated", {
      detail: "expired"
    }],
    [
      "half of the JSON",
      429,
      JSON.stringify(said("RESOURCE_EXHAUSTED", "daily \"limit\"", quota(perDay))).slice(0, -12),
      "QuotaExhausted",
      { detail: "daily \"limit\"" }
    ],
    ["the beginning of the JSON", 500, "{\"error\":{\"message\":\"half a wo", "ProviderUnavailable", {
      detail: "half a wo"
    }],
    ["JSON that says nothing", 500, "[]", "ProviderUnavailable", { detail: "[]" }],
    ["S2: an error in a 200", 200, { error: { code: 503, status: "UNAVAILABLE", message: "busy" } }, "Overloaded", {
      status: 503
    }],
    ["S2: an error in a 200 without a name", 200, { error: { message: "odd" } }, "ProviderUnavailable", {
      status: 200
    }],
    ["a 200 that is an answer", 200, { candidates: [], message: "hi" }, "MalformedResponse"]
  ])

  it("the request's id, from the details or a header", () => {
    const details = said("INTERNAL", "", { "@type": type("RequestInfo"), requestId: "in-details" })
    expect(failure(500, details, { "X-Request-Id": "in-header" }).requestId).toBe("in-details")
    expect(failure(500, "", { "X-Request-Id": "in-header" }).requestId).toBe("in-header")
  })

  it("the word of x-should-retry is passed on", () => {
    expect(failure(500, "", { "x-should-retry": "false" }).shouldRetry).toBe(false)
    expect(failure(500, "", { "x-should-retry": "TRUE" }).shouldRetry).toBe(true)
    expect(failure(500, "").shouldRetry).toBeUndefined()
  })

  it("any body with any status is a failure that can be encoded", () => {
    const encode = Schema.encodeSync(LlmError.LlmError)
    fc.assert(fc.property(
      fc.integer({ min: 100, max: 599 }),
      fc.oneof(fc.string(), fc.json(), fc.object().map((error) => JSON.stringify({ error }))),
      (status, body) => {
        const error = failure(status, body)
        expect(Schema.decodeSync(LlmError.LlmError)(encode(error))).toMatchObject({
          _tag: error._tag,
          detail: error.detail
        })
      }
    ))
  })
})
