import { describe, expect, it } from "@effect/vitest"
import { OpenAi } from "@perdure/providers"
import { Duration } from "effect"
import { code, type Fact, failure, now, rows, said, text } from "./support/failures.ts"

describe("billing: waiting does not help", () => {
  rows([
    ...[
      "insufficient_quota",
      "credit_balance_exhausted",
      "organization_spend_limit_exceeded",
      "project_spend_limit_exceeded",
      "organization_usage_limit_exceeded"
    ].map((name): Fact => [`a 429 with the code ${name}`, 429, code(name), "QuotaExhausted", { code: name }]),
    [
      "a 429 with only the type of a billing failure",
      429,
      code("other", { type: "insufficient_quota" }),
      "QuotaExhausted"
    ],
    [
      "a billing failure that names a wait is one all the same",
      429,
      code("insufficient_quota"),
      "QuotaExhausted",
      { retryAfter: Duration.seconds(1) },
      { "retry-after": "1" }
    ],
    [
      "a billing failure that asks to be retried is one all the same",
      429,
      code("insufficient_quota"),
      "QuotaExhausted",
      { shouldRetry: true },
      { "x-should-retry": "true" }
    ],
    [
      "DeepSeek's 402, whatever its code says",
      402,
      code("invalid_request_error", { message: "Insufficient Balance" }),
      "QuotaExhausted"
    ],
    ["a 402 without a body", 402, "", "QuotaExhausted"],
    [
      "OpenRouter's 402 with Retry-After is a rate limit",
      402,
      { error: { code: 402, message: "x", metadata: { reason: "in_flight_budget_exhausted" } } },
      "RateLimited",
      { retryAfter: Duration.seconds(5), code: "in_flight_budget_exhausted" },
      { "retry-after": "5" }
    ]
  ])
})

describe("rate limits", () => {
  const limited = code("rate_limit_exceeded", { type: "requests" })
  const none = Duration.millis
  rows([
    ["a 429", 429, limited, "RateLimited", { code: "rate_limit_exceeded" }],
    ["a 429 slow_down", 429, code("slow_down"), "RateLimited"],
    ["a 429 without a body", 429, "", "RateLimited"],
    [
      "Mistral's flat body",
      429,
      { object: "error", message: "x", type: "rate_limit_error", param: null, code: null },
      "RateLimited",
      { code: "rate_limit_error", detail: "x" }
    ],
    [
      "a list around the error, as Gemini's compatible API sends it",
      429,
      [{ error: { code: 429, message: "x", status: "RESOURCE_EXHAUSTED" } }],
      "RateLimited",
      { code: "RESOURCE_EXHAUSTED" }
    ],
    ["Ollama's text for an error", 429, { error: "too many requests" }, "RateLimited", { detail: "too many requests" }],
    ["Retry-After in seconds", 429, limited, "RateLimited", { retryAfter: Duration.seconds(20) }, {
      "Retry-After": "20"
    }],
    ["Retry-After as a date", 429, limited, "RateLimited", { retryAfter: Duration.seconds(90) }, {
      "retry-after": "Mon, 23 Nov 2026 12:01:30 GMT"
    }],
    ["retry-after-ms wins", 429, limited, "RateLimited", { retryAfter: none(250) }, {
      "retry-after": "20",
      "retry-after-ms": "250"
    }],
    [
      "without Retry-After, the reset of the empty bucket",
      429,
      limited,
      "RateLimited",
      { retryAfter: Duration.minutes(6) },
      {
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6m0s"
      }
    ],
    [
      "of two empty buckets, the later reset",
      429,
      limited,
      "RateLimited",
      { retryAfter: Duration.seconds(7) },
      {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "7s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "28ms"
      }
    ],
    ["Azure's reset in bare seconds", 429, limited, "RateLimited", { retryAfter: Duration.seconds(12) }, {
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-tokens": "12"
    }],
    [
      "the wait in the words, where no header has it",
      429,
      text("Rate limit reached for m. Please try again in 1.2s. Visit x"),
      "RateLimited",
      { retryAfter: none(1200) }
    ],
    ["the wait in Azure's words", 429, text("Please retry after 26 seconds."), "RateLimited", {
      retryAfter: Duration.seconds(26)
    }],
    [
      "a request within the limit that is passed for now",
      429,
      text("Rate limit reached on tokens per min (TPM): Limit 10000, Used 9000, Requested 2000."),
      "RateLimited"
    ],
    [
      "a request larger than a whole minute's limit never gets through",
      429,
      text("Request too large on tokens per min (TPM): Limit 10000, Requested 12000."),
      "RequestTooLarge"
    ],
    ["the same with thousands separators", 429, text("Limit: 10,000, Requested: 12,000"), "RequestTooLarge"]
  ])

  it.each([
    ["Azure's -1", { "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "-1" }],
    ["Azure's 0", { "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "0" }],
    ["a remaining of -1", { "x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "6m0s" }],
    ["the reset of a bucket that is not empty", {
      "x-ratelimit-remaining-tokens": "7",
      "x-ratelimit-reset-tokens": "6m0s"
    }],
    ["a Retry-After that makes no sense", { "retry-after": "soon" }]
  ])("%s is no wait", (_, headers) => {
    expect(failure(429, limited, headers).retryAfter).toBeUndefined()
  })

  it("a reset says nothing about a failure that is not a rate limit", () => {
    const headers = { "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s" }
    expect(failure(500, text("x"), headers).retryAfter).toBeUndefined()
  })
})

describe("keys, models and addresses", () => {
  rows([
    ["a 401", 401, code("invalid_api_key"), "Unauthenticated", { code: "invalid_api_key" }],
    ["a 401 in plain text", 401, "Unauthorized", "Unauthenticated", { detail: "Unauthorized" }],
    ["xAI's 400 for a wrong key", 400, { code: "x", error: "Incorrect API key provided: xx." }, "Unauthenticated"],
    ["a 403 for an unsupported country", 403, code("unsupported_country_region_territory"), "PermissionDenied"],
    ["a 403 for a model that the project may not use", 403, code("model_not_found"), "PermissionDenied"],
    ["a 404 for a model", 404, code("model_not_found", { message: "The model `m` does not exist" }), "ModelNotFound", {
      detail: "The model `m` does not exist"
    }],
    ["Ollama's 404", 404, { error: "model 'm' not found" }, "ModelNotFound", { detail: "model 'm' not found" }],
    ["DeepSeek's 400 for a model", 400, code("invalid_request_error", { message: "Model Not Exist" }), "ModelNotFound"],
    ["Mistral's 400 for a model", 400, {
      object: "error",
      message: "Invalid model: m",
      type: "invalid_model",
      code: "1500"
    }, "ModelNotFound"],
    [
      "OpenRouter's 400 for a model",
      400,
      { error: { code: 400, message: "m is not a valid model ID" } },
      "ModelNotFound"
    ],
    [
      "a 404 for something else in the request",
      404,
      said({ message: "No such File object", param: "id" }),
      "InvalidRequest",
      { param: "id" }
    ],
    [
      "a 404 that knows of no model is a wrong address",
      404,
      "<html><head><title>404 Not Found</title></head><body></body></html>",
      "ModelNotFound",
      { detail: "nothing takes requests at this address; check the base URL: 404 Not Found" }
    ],
    ["a 405 is a wrong address", 405, "", "ModelNotFound", {
      detail: "nothing takes requests at this address; check the base URL"
    }],
    ["a redirect is a wrong address", 308, "", "ModelNotFound", {
      detail: "redirects to https://x.example/v1, which is not followed; check the base URL"
    }, { location: "https://x.example/v1?key=1" }]
  ])
})

describe("the other statuses", () => {
  const none = ""
  rows([
    ["400", 400, said({ message: "m", param: "temperature" }), "InvalidRequest", { param: "temperature", detail: "m" }],
    [
      "422, with FastAPI's list of complaints but not the input in it",
      422,
      { detail: [{ loc: ["body", "n"], msg: "not a number", input: "secret" }] },
      "InvalidRequest",
      { detail: "body.n: not a number" }
    ],
    ["408", 408, none, "TimedOut", { phase: "provider" }],
    ["413", 413, none, "RequestTooLarge"],
    ["418", 418, none, "InvalidRequest"],
    ["418 that asks to be retried", 418, none, "ProviderUnavailable", { shouldRetry: true }, {
      "x-should-retry": "true"
    }],
    ["400 that asks to be retried", 400, none, "InvalidRequest", { shouldRetry: true }, { "X-Should-Retry": "TRUE" }],
    ["500 that asks not to be retried", 500, none, "ProviderUnavailable", { shouldRetry: false }, {
      "x-should-retry": "false"
    }],
    ...[409, 425, 500, 501, 502, 504, 520, 524, 599].map((
      status
    ): Fact => [`${status}`, status, none, "ProviderUnavailable"]),
    ...[503, 529].map((status): Fact => [`${status}`, status, none, "Overloaded"]),
    ["503 slow_down", 503, code("slow_down"), "Overloaded"],
    ["503 with Retry-After", 503, none, "Overloaded", { retryAfter: Duration.seconds(3) }, { "retry-after": "3" }],
    ["server_is_overloaded, whatever the status", 500, code("server_is_overloaded"), "Overloaded"],
    [
      "OpenRouter's provider_overloaded",
      502,
      { error: { code: 502, message: "x", metadata: { error_type: "provider_overloaded" } } },
      "Overloaded",
      { code: "provider_overloaded" }
    ]
  ])
})

describe("what else is told", () => {
  it.each([
    ["x-request-id", { "x-request-id": "req_1", "cf-ray": "ray" }, "req_1"],
    ["Azure's own id", { "APIM-Request-Id": "a" }, "a"],
    ["a proxy's id for want of a better one", { "cf-ray": "ray" }, "ray"]
  ])("the request id: %s", (_, headers, id) => {
    expect(failure(500, "", headers).requestId).toBe(id)
  })

  it("the detail is cut to 2 KiB", () => {
    expect(new TextEncoder().encode(failure(500, text("ä".repeat(9000))).detail).length).toBeLessThanOrEqual(2048)
  })

  it("the provider's name is the one given", () => {
    expect(OpenAi.failure({ status: 500, headers: {}, body: "", model: "m", provider: "groq", now }).provider).toBe(
      "groq"
    )
  })
})
