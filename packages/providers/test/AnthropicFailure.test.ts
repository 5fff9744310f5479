import { describe, expect, it } from "@effect/vitest"
import { Anthropic } from "@perdure/providers"
import { Duration } from "effect"
import { Disposition, type LlmError } from "perdure"
import { said } from "./support/anthropic.ts"
import { type Fact, now } from "./support/failures.ts"

const failure = (status: number, body: unknown, headers: Record<string, string> = {}): LlmError.ProviderError =>
  Anthropic.failure({
    status,
    headers,
    body: typeof body === "string" ? body : JSON.stringify(body),
    model: "m",
    now
  })

/** One test for each fact. */
const rows = (facts: ReadonlyArray<Fact>) => {
  for (const [fact, status, body, tag, fields = {}, headers = {}] of facts) {
    it(`${fact}`, () => {
      const error = failure(status, body, headers)
      expect({ ...error, _tag: error._tag }).toMatchObject({
        _tag: tag,
        provider: "anthropic",
        model: "m",
        status,
        ...fields
      })
    })
  }
}

const invalid = (message: string) => said("invalid_request_error", message)
const limited = (error_code?: string) =>
  said("rate_limit_error", "words", error_code === undefined ? {} : { details: { error_code } })

describe("the documented types", () => {
  rows([
    ["400 invalid_request_error", 400, invalid("x"), "InvalidRequest", { code: "invalid_request_error", detail: "x" }],
    ["401 authentication_error", 401, said("authentication_error"), "Unauthenticated"],
    ["402 billing_error", 402, said("billing_error"), "QuotaExhausted", { code: "billing_error" }],
    ["403 permission_error", 403, said("permission_error"), "PermissionDenied"],
    ["404 not_found_error", 404, said("not_found_error", "model: claude-x"), "ModelNotFound", {
      detail: "model: claude-x"
    }],
    ["409 conflict_error is transient", 409, said("conflict_error"), "ProviderUnavailable"],
    ["conflict_error with another status", 400, said("conflict_error"), "ProviderUnavailable"],
    ["413 request_too_large", 413, said("request_too_large"), "RequestTooLarge"],
    ["429 rate_limit_error", 429, limited(), "RateLimited", { code: "rate_limit_error", requestId: "req_body" }],
    ["500 api_error", 500, said("api_error"), "ProviderUnavailable"],
    ["504 timeout_error", 504, said("timeout_error"), "TimedOut", { phase: "provider" }],
    ["529 overloaded_error", 529, said("overloaded_error", "Overloaded"), "Overloaded"],
    ["overloaded_error with another status", 500, said("overloaded_error"), "Overloaded"],
    ["invalid_request_error stands for other statuses too", 413, invalid("x"), "RequestTooLarge"],
    [
      "a file that is not there is the request's fault",
      404,
      said("not_found_error", "File not found: f"),
      "InvalidRequest"
    ]
  ])

  it.each([
    [409, "conflict_error", true],
    [529, "overloaded_error", true],
    [504, "timeout_error", true],
    [400, "invalid_request_error", false],
    [402, "billing_error", false]
  ])("whether a %i %s may be repeated: %s", (status, type, repeated) => {
    expect(Disposition.mayRepeat(Disposition.classify(failure(status, said(type))))).toBe(repeated)
  })
})

describe("billing: waiting does not help", () => {
  rows([
    ...["enforced_spend_limit_reached", "contract_spend_limit_reached", "organization_on_hold"].map((code): Fact => [
      `a 429 ${code}`,
      429,
      limited(code),
      "QuotaExhausted",
      { code }
    ]),
    ["whatever the headers say", 429, limited("enforced_spend_limit_reached"), "QuotaExhausted", {
      retryAfter: Duration.seconds(1),
      shouldRetry: true
    }, { "retry-after": "1", "x-should-retry": "true" }],
    ["a hold on the organization, with another status", 403, {
      type: "error",
      error: { type: "permission_error", message: "x", details: { error_code: "organization_on_hold" } }
    }, "QuotaExhausted"],
    [
      "half a body that names the code",
      429,
      "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"details\":{\"error_code\":\"enforced_spend_limit_reached\"},\"mess",
      "QuotaExhausted",
      { code: "enforced_spend_limit_reached" }
    ],
    [
      "your own limit, a 400",
      400,
      invalid("You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."),
      "QuotaExhausted"
    ],
    [
      "your workspace's limit",
      400,
      invalid("You have reached your specified workspace API usage limits."),
      "QuotaExhausted"
    ],
    [
      "the tier's limit by its words alone",
      429,
      said("rate_limit_error", "You have reached your API usage limits: your organization has crossed its threshold."),
      "QuotaExhausted"
    ],
    ["no credit, a 400", 400, invalid("Your credit balance is too low to access the Anthropic API."), "QuotaExhausted"],
    ["a 402 without a body", 402, "", "QuotaExhausted"],
    [
      "a request that merely speaks of limits is not",
      400,
      invalid("usage: unknown field spend_limit"),
      "InvalidRequest"
    ]
  ])
})

describe("rate limits", () => {
  rows([
    ["ramping too fast, which waiting helps", 429, limited("ramp_limit_exceeded"), "RateLimited", {
      code: "ramp_limit_exceeded"
    }],
    [
      "ramping too fast, with another status",
      400,
      said("invalid_request_error", "x", { details: { error_code: "ramp_limit_exceeded" } }),
      "RateLimited"
    ],
    ["a 429 without a body", 429, "", "RateLimited"],
    ["Retry-After in seconds", 429, limited(), "RateLimited", { retryAfter: Duration.seconds(20) }, {
      "Retry-After": "20"
    }],
    [
      "without Retry-After, when the last of the empty buckets is full again",
      429,
      limited(),
      "RateLimited",
      { retryAfter: Duration.seconds(90) },
      {
        "anthropic-ratelimit-requests-remaining": "3",
        "anthropic-ratelimit-requests-reset": "2026-11-23T13:00:00Z",
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-23T12:01:30Z",
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": "2026-11-23T12:00:30Z"
      }
    ],
    ["an overload that asks to wait", 529, said("overloaded_error"), "Overloaded", {
      retryAfter: Duration.seconds(3)
    }, { "retry-after": "3" }],
    ["the header's id before the body's, and before a proxy's", 429, limited(), "RateLimited", { requestId: "req_1" }, {
      "request-id": "req_1",
      "x-request-id": "proxy"
    }],
    ["the provider's word on retries", 500, said("api_error"), "ProviderUnavailable", { shouldRetry: false }, {
      "x-should-retry": "false"
    }]
  ])
})

describe("prompts that do not fit", () => {
  rows([
    [
      "a prompt that is too long, with the numbers",
      400,
      invalid("prompt is too long: 210000 tokens > 200000 maximum"),
      "ContextLengthExceeded",
      { requested: 210_000, limit: 200_000 }
    ],
    [
      "the room kept for the answer counts",
      400,
      invalid(
        "input length and `max_tokens` exceed context limit: 195000 + 8192 > 200000, decrease input length or `max_tokens` and try again"
      ),
      "ContextLengthExceeded",
      { requested: 203_192, limit: 200_000 }
    ],
    ["without numbers", 400, invalid("Prompt is too long"), "ContextLengthExceeded"],
    ["as a 413", 413, invalid("Prompt is too long"), "ContextLengthExceeded"],
    ["inside a 200", 200, invalid("prompt is too long: 2 tokens > 1 maximum"), "ContextLengthExceeded", { limit: 1 }]
  ])

  it("numbers that are not there are left out", () => {
    const error = failure(400, invalid("Prompt is too long"))
    expect(error).not.toHaveProperty("limit")
    expect(error).not.toHaveProperty("requested")
  })
})

describe("what only resembles one of these is the request's fault", () => {
  rows([
    ["a field called context", 400, invalid("context_management: Extra inputs are not permitted"), "InvalidRequest", {
      param: "context_management"
    }],
    ["a limit on the answer alone", 400, invalid("max_tokens: 300000 > 64000, the maximum for m"), "InvalidRequest", {
      param: "max_tokens"
    }],
    ["words about a context window", 400, invalid("The 1M context window beta is not enabled for m"), "InvalidRequest"],
    ["a place in the messages", 400, invalid("messages.0.content.1: Field required"), "InvalidRequest", {
      param: "messages.0.content.1"
    }],
    [
      "a long prompt is no cause where the server fails",
      500,
      said("api_error", "prompt is too long"),
      "ProviderUnavailable"
    ]
  ])

  it("words without a field name none", () => {
    expect(failure(400, invalid("All messages must have content"))).not.toHaveProperty("param")
  })
})

describe("content and accounts", () => {
  rows([
    ["a filter on the answer", 400, invalid("Output blocked by content filtering policy"), "ContentFiltered", {
      stage: "output"
    }],
    ["a filter on the prompt", 400, invalid("Input blocked by content filtering policy"), "ContentFiltered", {
      stage: "prompt"
    }],
    ["a disabled organization", 400, invalid("This organization has been disabled."), "PermissionDenied"]
  ])
})

describe("bodies that are not as documented", () => {
  rows([
    ["a proxy's page", 502, "<html><body><h1>502 Bad Gateway</h1></body></html>", "ProviderUnavailable", {
      detail: "502 Bad Gateway"
    }],
    ["nothing, 500", 500, "", "ProviderUnavailable", { detail: "" }],
    ["nothing, 504", 504, "", "ProviderUnavailable"],
    ["nothing, 529", 529, "", "Overloaded"],
    ["nothing, 503", 503, "", "Overloaded"],
    ["nothing, 408", 408, "", "TimedOut", { phase: "provider" }],
    ["nothing, 401", 401, "", "Unauthenticated"],
    ["nothing, 403", 403, "", "PermissionDenied"],
    ["nothing, 413", 413, "", "RequestTooLarge"],
    ["nothing, 418", 418, "", "InvalidRequest"],
    ["nothing, 418, but to be retried", 418, "", "ProviderUnavailable", {}, { "x-should-retry": "true" }],
    [
      "half a body",
      529,
      "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overlo",
      "Overloaded",
      { code: "overloaded_error", detail: "Overlo" }
    ],
    ["a path that is not there", 404, said("not_found_error", "Not Found"), "ModelNotFound", {
      detail: "nothing takes requests at this address; check the base URL: Not Found"
    }],
    ["a redirect", 307, "", "ModelNotFound", {
      detail: "redirects to https://x/, which is not followed; check the base URL"
    }, { location: "https://x/?token=1" }]
  ])
})

describe("S2: errors inside a 200", () => {
  rows([
    ["overload", 200, said("overloaded_error"), "Overloaded"],
    ["rate limit", 200, limited(), "RateLimited"],
    ["billing", 200, limited("enforced_spend_limit_reached"), "QuotaExhausted"],
    ["timeout", 200, said("timeout_error"), "TimedOut"],
    ["the request", 200, invalid("x"), "InvalidRequest"],
    ["the server", 200, said("api_error"), "ProviderUnavailable"],
    ["a kind that is not known", 200, said("new_error"), "ProviderUnavailable", { code: "new_error" }],
    ["neither an error nor an answer", 200, { ok: true }, "MalformedResponse"]
  ])
})
