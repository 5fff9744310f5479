/**
 * Short words for what happened, the same in the progress line, the timeline and the receipt.
 *
 * @since 0.1.0
 */
import type * as CircuitBreaker from "perdure/CircuitBreaker"
import type * as LlmError from "perdure/LlmError"
import type * as Receipt from "perdure/Receipt"
import * as Text from "./Text.ts"

const failures: Readonly<Record<LlmError.Tag, string>> = {
  RateLimited: "rate limited",
  QuotaExhausted: "no quota left",
  Overloaded: "overloaded",
  ProviderUnavailable: "unavailable",
  ConnectionFailed: "no connection",
  TimedOut: "timed out",
  StreamInterrupted: "stream cut",
  MalformedResponse: "unreadable",
  InvalidRequest: "bad request",
  ContextLengthExceeded: "too long",
  ContentFiltered: "refused",
  Unauthenticated: "bad key",
  PermissionDenied: "not allowed",
  ModelNotFound: "no such model",
  RequestTooLarge: "too large",
  CircuitOpen: "circuit open",
  DeadlineExceeded: "out of time",
  QuotaExceeded: "no permit",
  BulkheadFull: "no room",
  NoHealthyKey: "no key",
  SpendLimitExceeded: "spend limit",
  AllTargetsFailed: "all failed"
}

const isTag = (error: string): error is LlmError.Tag => Object.hasOwn(failures, error)

/**
 * A failure by its `_tag`: `rate limited`. A name that is not ours stays as it is.
 *
 * @since 0.1.0
 * @category words
 */
export const failure = (error: string): string => isTag(error) ? failures[error] : error

/**
 * How an attempt ended: `answered`, `429 rate limited`. Yellow for a provider that asks for patience, red for the rest.
 *
 * @since 0.1.0
 * @category words
 */
export const outcome = (outcome: Receipt.Outcome): Text.Span => {
  switch (outcome._tag) {
    case "Answered":
      return Text.span("answered", "good")
    case "Interrupted":
      return Text.span("interrupted", "dim")
    case "Failed": {
      const words = failure(outcome.error)
      const patience = outcome.error === "RateLimited" || outcome.error === "Overloaded"
      return Text.span(outcome.status === undefined ? words : `${outcome.status} ${words}`, patience ? "busy" : "bad")
    }
  }
}

const phases: Readonly<Record<CircuitBreaker.Phase, string>> = {
  closed: "closed",
  halfOpen: "half open",
  open: "open",
  isolated: "isolated"
}

/**
 * Where a circuit is: `half open`.
 *
 * @since 0.1.0
 * @category words
 */
export const phase = (phase: CircuitBreaker.Phase): string => phases[phase]

/**
 * @since 0.1.0
 * @category words
 */
export const target = ({ model, provider }: Receipt.Target): string => Text.oneLine(`${provider}/${model}`)

/**
 * @since 0.1.0
 * @category words
 */
export const count = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`
