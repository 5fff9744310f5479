/**
 * The failures that a script can play, one function for each class of `LlmError.ProviderError`. Each has the status that
 * providers usually send with it; the provider's and the model's name are those of the provider that plays it.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import { LlmError } from "perdure"
import type { LlmResponse, Receipt } from "perdure"
import { Options } from "perdure"
import { built } from "./internal/options.ts"
import type { Broken, Fail } from "./Script.ts"

/**
 * What every failure can be given.
 *
 * @since 0.1.0
 * @category models
 */
export interface Details {
  /** The HTTP status; `undefined` for none. */
  readonly status?: number | undefined
  /** The provider's own code or type for the failure. */
  readonly code?: string | undefined
  readonly requestId?: string | undefined
  /** How long the provider asks to wait. */
  readonly retryAfter?: Duration.DurationInput | undefined
  /** The provider's explicit word on whether to retry. */
  readonly shouldRetry?: boolean | undefined
  /** The provider's own words; redacted and cut to 2 KiB, as those of a real one are. */
  readonly detail?: string | undefined
}

interface Common {
  readonly status?: number | undefined
  readonly code?: string | undefined
  readonly requestId?: string | undefined
  readonly retryAfter?: Duration.Duration | undefined
  readonly shouldRetry?: boolean | undefined
  readonly detail: string
}

/** A failure whose fields are checked now and not when it is played. */
const failure = <A extends Details>(
  name: string,
  given: A,
  error: (fields: Common & Receipt.Target, where: Broken) => LlmError.ProviderError
): Fail => {
  const { code, detail = "", requestId, retryAfter, shouldRetry, status } = given
  const common: Common = {
    status,
    code,
    requestId,
    shouldRetry,
    detail: LlmError.detail(detail),
    retryAfter: retryAfter === undefined ? undefined : Options.duration(`${name}(retryAfter)`, retryAfter, "zero")
  }
  const build: Fail["error"] = (where) => error({ ...where.by, ...common }, where)
  built(`${name}(details)`, given, () => build(nowhere))
  return { _tag: "Fail", name, error: build }
}

const nowhere: Broken = { by: { provider: "", model: "" }, partial: "", usage: undefined }

/**
 * Any failure, played as it is.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fail = (error: LlmError.LlmError): Fail => ({ _tag: "Fail", name: error._tag, error: () => error })

/**
 * `RateLimited` (429), with the time that the provider asks to wait, if any.
 *
 * @since 0.1.0
 * @category failures
 */
export const rateLimited = (retryAfter?: Duration.DurationInput, details: Omit<Details, "retryAfter"> = {}): Fail =>
  failure("rateLimited", { status: 429, ...details, retryAfter }, (fields) => new LlmError.RateLimited(fields))

/**
 * `QuotaExhausted` (429, `insufficient_quota`).
 *
 * @since 0.1.0
 * @category failures
 */
export const quotaExhausted = (details: Details = {}): Fail =>
  failure(
    "quotaExhausted",
    { status: 429, code: "insufficient_quota", ...details },
    (fields) => new LlmError.QuotaExhausted(fields)
  )

/**
 * `Overloaded` (503).
 *
 * @since 0.1.0
 * @category failures
 */
export const overloaded = (details: Details = {}): Fail =>
  failure("overloaded", { status: 503, ...details }, (fields) => new LlmError.Overloaded(fields))

/**
 * `ProviderUnavailable` (500).
 *
 * @since 0.1.0
 * @category failures
 */
export const unavailable = (details: Details = {}): Fail =>
  failure("unavailable", { status: 500, ...details }, (fields) => new LlmError.ProviderUnavailable(fields))

/**
 * `ConnectionFailed`: refused, unless `sent` says that the request may have reached the provider.
 *
 * @since 0.1.0
 * @category failures
 */
export const connectionFailed = (details: Details & { readonly sent?: boolean | undefined } = {}): Fail =>
  failure(
    "connectionFailed",
    details,
    (fields) => new LlmError.ConnectionFailed({ ...fields, sent: details.sent ?? false })
  )

/**
 * `TimedOut`, at once: no headers came, unless `phase` says otherwise. For one that takes its time, put it in `after`;
 * to see a policy time out, play `never`.
 *
 * @since 0.1.0
 * @category failures
 */
export const timedOut = (
  details: Details & {
    readonly phase?: LlmError.TimeoutPhase | undefined
    /** The limit that was passed. */
    readonly limit?: Duration.DurationInput | undefined
  } = {}
): Fail => {
  const limit = details.limit === undefined ? undefined : Options.duration("timedOut({ limit })", details.limit, "zero")
  return failure(
    "timedOut",
    details,
    (fields) => new LlmError.TimedOut({ ...fields, phase: details.phase ?? "headers", limit })
  )
}

/**
 * `StreamInterrupted`. What came before it in the stream is its partial text and usage, unless they are set. In a stream
 * it is `handedOut` once it comes after the first output; as a step it is not, unless that is set.
 *
 * @since 0.1.0
 * @category failures
 */
export const streamInterrupted = (
  details: Details & {
    readonly partial?: string | undefined
    readonly usage?: LlmResponse.Usage | undefined
    readonly handedOut?: boolean | undefined
  } = {}
): Fail =>
  failure("streamInterrupted", details, (fields, where) =>
    new LlmError.StreamInterrupted({
      ...fields,
      partial: details.partial ?? where.partial,
      usage: details.usage ?? where.usage,
      handedOut: details.handedOut ?? false
    }))

/**
 * `MalformedResponse` (200).
 *
 * @since 0.1.0
 * @category failures
 */
export const malformed = (details: Details = {}): Fail =>
  failure("malformed", { status: 200, ...details }, (fields) => new LlmError.MalformedResponse(fields))

/**
 * `InvalidRequest` (400).
 *
 * @since 0.1.0
 * @category failures
 */
export const invalidRequest = (
  details: Details & {
    /** The request field that the provider names. */
    readonly param?: string | undefined
  } = {}
): Fail =>
  failure(
    "invalidRequest",
    { status: 400, ...details },
    (fields) => new LlmError.InvalidRequest({ ...fields, param: details.param })
  )

/**
 * `ContextLengthExceeded` (400, `context_length_exceeded`).
 *
 * @since 0.1.0
 * @category failures
 */
export const contextLengthExceeded = (
  details: Details & {
    /** The model's window in tokens. */
    readonly limit?: number | undefined
    /** The tokens that were asked for. */
    readonly requested?: number | undefined
  } = {}
): Fail =>
  failure(
    "contextLengthExceeded",
    { status: 400, code: "context_length_exceeded", ...details },
    (fields) => new LlmError.ContextLengthExceeded({ ...fields, limit: details.limit, requested: details.requested })
  )

/**
 * `ContentFiltered` (400): the prompt, unless `stage` says otherwise.
 *
 * @since 0.1.0
 * @category failures
 */
export const contentFiltered = (
  details: Details & { readonly stage?: LlmError.ContentFiltered["stage"] | undefined } = {}
): Fail =>
  failure(
    "contentFiltered",
    { status: 400, ...details },
    (fields) => new LlmError.ContentFiltered({ ...fields, stage: details.stage ?? "prompt" })
  )

/**
 * `Unauthenticated` (401).
 *
 * @since 0.1.0
 * @category failures
 */
export const unauthenticated = (details: Details = {}): Fail =>
  failure("unauthenticated", { status: 401, ...details }, (fields) => new LlmError.Unauthenticated(fields))

/**
 * `PermissionDenied` (403).
 *
 * @since 0.1.0
 * @category failures
 */
export const permissionDenied = (details: Details = {}): Fail =>
  failure("permissionDenied", { status: 403, ...details }, (fields) => new LlmError.PermissionDenied(fields))

/**
 * `ModelNotFound` (404).
 *
 * @since 0.1.0
 * @category failures
 */
export const modelNotFound = (details: Details = {}): Fail =>
  failure("modelNotFound", { status: 404, ...details }, (fields) => new LlmError.ModelNotFound(fields))

/**
 * `RequestTooLarge` (413).
 *
 * @since 0.1.0
 * @category failures
 */
export const requestTooLarge = (details: Details = {}): Fail =>
  failure("requestTooLarge", { status: 413, ...details }, (fields) => new LlmError.RequestTooLarge(fields))
