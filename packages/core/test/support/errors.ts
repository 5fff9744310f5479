/** One failure of every class, with every field that it can have. */
import { Duration } from "effect"
import { LlmError, LlmResponse, RateLimits, Receipt } from "perdure"
import { anthropic, openAi } from "./provider.ts"

export const receipt = new Receipt.Receipt({
  requested: openAi,
  served: { provider: "anthropic", model: "claude-dated" },
  fallback: true,
  attempts: [
    new Receipt.Attempt({
      target: openAi,
      start: Duration.zero,
      wait: Duration.zero,
      duration: Duration.millis(120),
      outcome: {
        _tag: "Failed",
        error: "RateLimited",
        status: 429,
        detail: "slow down",
        retryAfter: Duration.seconds(2)
      }
    }),
    new Receipt.Attempt({
      target: openAi,
      start: Duration.millis(2120),
      wait: Duration.seconds(2),
      duration: Duration.millis(80),
      outcome: { _tag: "Interrupted" }
    }),
    new Receipt.Attempt({
      target: anthropic,
      start: Duration.millis(2700),
      wait: Duration.millis(500),
      duration: Duration.millis(900),
      outcome: { _tag: "Answered", model: "claude-dated" }
    })
  ],
  startedAt: Date.UTC(2026, 10, 15),
  duration: Duration.millis(3600)
})

export const rateLimits = new RateLimits.RateLimits({
  requests: new RateLimits.Limit({ limit: 60, remaining: 0, reset: Duration.seconds(1) }),
  tokens: new RateLimits.Limit({ limit: 150_000, remaining: 149_000 })
})

/** What every class has. */
export const common = {
  ...openAi,
  status: 418,
  code: "some_code",
  requestId: "req_1",
  retryAfter: Duration.millis(1500),
  shouldRetry: true,
  detail: "its own words",
  idempotent: false,
  partial: "a partial answer",
  usage: new LlmResponse.Usage({ inputTokens: 7, outputTokens: 3 }),
  handedOut: true,
  spent: true,
  rateLimits,
  receipt
}

export type ByTag = { readonly [K in LlmError.Tag]: Extract<LlmError.LlmError, { readonly _tag: K }> }

const provider = (fields: Omit<typeof common, "receipt"> & { readonly receipt?: Receipt.Receipt }) => ({
  RateLimited: new LlmError.RateLimited(fields),
  QuotaExhausted: new LlmError.QuotaExhausted(fields),
  Overloaded: new LlmError.Overloaded(fields),
  ProviderUnavailable: new LlmError.ProviderUnavailable(fields),
  ConnectionFailed: new LlmError.ConnectionFailed({ ...fields, sent: true }),
  TimedOut: new LlmError.TimedOut({ ...fields, phase: "firstOutput", limit: Duration.seconds(30) }),
  StreamInterrupted: new LlmError.StreamInterrupted(fields),
  MalformedResponse: new LlmError.MalformedResponse(fields),
  InvalidRequest: new LlmError.InvalidRequest({ ...fields, param: "temperature" }),
  ContextLengthExceeded: new LlmError.ContextLengthExceeded({ ...fields, limit: 8192, requested: 9000 }),
  ContentFiltered: new LlmError.ContentFiltered({ ...fields, stage: "refusal" }),
  Unauthenticated: new LlmError.Unauthenticated(fields),
  PermissionDenied: new LlmError.PermissionDenied(fields),
  ModelNotFound: new LlmError.ModelNotFound(fields),
  RequestTooLarge: new LlmError.RequestTooLarge(fields)
})

const refusal = (fields: Omit<typeof common, "receipt"> & { readonly receipt?: Receipt.Receipt }) => ({
  CircuitOpen: new LlmError.CircuitOpen({ ...fields, circuit: "openai/gpt-4o", state: "open" }),
  DeadlineExceeded: new LlmError.DeadlineExceeded({
    ...fields,
    reason: "tooNear",
    limit: Duration.seconds(20),
    sent: false
  }),
  QuotaExceeded: new LlmError.QuotaExceeded({ ...fields, quota: "tokens per minute" }),
  BulkheadFull: new LlmError.BulkheadFull({ ...fields, limit: 10, queue: 100 }),
  NoHealthyKey: new LlmError.NoHealthyKey({ ...fields, keys: 3 }),
  SpendLimitExceeded: new LlmError.SpendLimitExceeded({
    ...fields,
    limit: 5,
    used: 4.98,
    estimate: 0.05,
    currency: "USD",
    window: "day"
  })
})

const { receipt: _, ...bare } = common
const each = provider(bare)
const own = { ...bare, partial: "", handedOut: false, idempotent: true, spent: false }

/** One of every class; that it has every tag is for the compiler to check. */
export const samples: ByTag = {
  ...provider(common),
  ...refusal(common),
  AllTargetsFailed: new LlmError.AllTargetsFailed({
    failures: [LlmError.update(each.RateLimited, { receipt }), each.StreamInterrupted, each.ContextLengthExceeded],
    untried: 2,
    spent: true,
    receipt
  })
}

/** Failures as they come from a provider's layer: safe to repeat, with no word on retrying, and no policy has seen them. */
export const plain = {
  ...provider(own),
  ...refusal(own),
  ConnectionFailed: new LlmError.ConnectionFailed({ ...openAi, sent: false })
}
