/** From an error on the wire to the failure it is: one table, read from the top; where no row fits, the status tells. */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as LlmError from "perdure/LlmError"
import * as RetryAfter from "perdure/RetryAfter"
import * as Failure from "../failure.ts"
import * as Hints from "../hints.ts"
import { requestId } from "../http.ts"
import { asRecord, defined, parse } from "../json.ts"
import { fromJson, fromText, nothing, type Said } from "../said.ts"
import type { Context, Decoded } from "../wire.ts"
import { readNumber, window } from "../words.ts"
import * as ContextLength from "./contextLength.ts"

interface Facts {
  readonly said: Said
  /** The HTTP status, or the one that the body names when HTTP says that all is well. */
  readonly status: number
  readonly waitAsked: boolean
}

type Row = readonly [fits: (facts: Facts) => boolean, verdict: Failure.Verdict]

const named = (...names: ReadonlyArray<string>) => ({ said }: Facts): boolean =>
  names.some((name) => said.names.has(name))

const message = (pattern: RegExp) => ({ said }: Facts): boolean => pattern.test(said.message.slice(0, window))

const status = (...codes: ReadonlyArray<number>) => (facts: Facts): boolean => codes.includes(facts.status)

const both = (a: (facts: Facts) => boolean, b: (facts: Facts) => boolean) => (facts: Facts): boolean =>
  a(facts) && b(facts)

/** The error came in a 200 and names no status: only its words can tell. */
const onlyWords = ({ status }: Facts): boolean => status >= 200 && status < 300

/** `Limit 10000, Requested 12000`: more than a whole minute's share, so it would never be let through. */
const largerThanLimit = ({ said }: Facts): boolean => {
  const found = /\blimit:? ([\d,]+)[^]{0,80}?\brequested:? ([\d,]+)/i.exec(said.message.slice(0, window))
  const limit = readNumber(found?.[1])
  const requested = readNumber(found?.[2])
  return limit !== undefined && requested !== undefined && requested > limit
}

const aboutModel = message(/\b(?:model|deployment|endpoints?)\b/i)

const rows: ReadonlyArray<Row> = [
  // Billing comes first: it wears the status of a rate limit, and waiting does not help.
  [
    named(
      "insufficient_quota",
      "credit_balance_exhausted",
      "organization_spend_limit_exceeded",
      "project_spend_limit_exceeded",
      "organization_usage_limit_exceeded",
      "billing_hard_limit_reached",
      "billing_not_active"
    ),
    "QuotaExhausted"
  ],
  [({ status, waitAsked }) => status === 402 && waitAsked, "RateLimited"],
  [status(402), "QuotaExhausted"],

  [
    named("content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked"),
    "ContentFiltered"
  ],
  [({ said }) => said.moderated === true, "ContentFiltered"],
  [both(status(403), message(/\b(?:moderation|flagged)\b/i)), "ContentFiltered"],
  [both(named("invalid_prompt"), message(/\b(?:flagged|usage polic(?:y|ies))\b/i)), "ContentFiltered"],

  [named("context_length_exceeded", "exceed_context_size_error"), "ContextLengthExceeded"],
  [
    ({ said, status }) => [400, 413, 422, 500].includes(status) && ContextLength.says(said.message),
    "ContextLengthExceeded"
  ],
  [both(onlyWords, ({ said }) => ContextLength.says(said.message)), "ContextLengthExceeded"],

  [both(status(429), largerThanLimit), "RequestTooLarge"],
  [
    named(
      "server_is_overloaded",
      "overloaded_error",
      "provider_overloaded",
      "engine_overloaded",
      "engine_overloaded_error"
    ),
    "Overloaded"
  ],

  // Servers that answer 400 for what others have a status for.
  [both(status(400), named("model_not_found", "invalid_model")), "ModelNotFound"],
  [both(status(400), message(/\bmodel not exist\b|\bis not a valid model id\b/i)), "ModelNotFound"],
  [both(status(400), named("invalid_api_key", "authentication_error")), "Unauthenticated"],
  [both(status(400), message(/^incorrect api key provided\b/i)), "Unauthenticated"],
  [both(status(404), ({ said }) => said.param !== undefined && said.param !== "model"), "InvalidRequest"],

  [both(onlyWords, named("rate_limit_exceeded", "rate_limit_error", "slow_down", "too_many_requests")), "RateLimited"],
  [both(onlyWords, named("timeout", "timeout_error", "request_timeout")), "TimedOut"],
  [both(onlyWords, named("invalid_request_error", "invalid_request", "badrequesterror")), "InvalidRequest"],
  [both(onlyWords, named("invalid_api_key", "authentication_error", "unauthorized")), "Unauthenticated"],
  [both(onlyWords, named("permission_error", "permission_denied", "forbidden")), "PermissionDenied"],
  [both(onlyWords, named("model_not_found", "not_found_error", "notfounderror")), "ModelNotFound"],
  [both(onlyWords, named("request_too_large")), "RequestTooLarge"],
  [onlyWords, "ProviderUnavailable"]
]

/** The failure that an error's words and status stand for. */
export const fromSaid = (said: Said, context: Context): LlmError.ProviderError => {
  const headers = Hints.lowerCase(context.headers)
  const wait = RetryAfter.fromHeaders(headers, context.now)
  const status = context.status >= 200 && context.status < 300 ? said.status ?? context.status : context.status
  const facts: Facts = { said, status, waitAsked: Option.isSome(wait) }
  const secrets = Array.from(context.secrets)
  const common = defined({
    ...commonOf(context),
    status,
    code: Failure.short(said.code, secrets),
    retryAfter: Option.getOrUndefined(wait),
    detail: Failure.detailOf(said.message, { status, aboutModel: aboutModel(facts), headers, secrets })
  })
  const verdict = rows.find(([fits]) => fits(facts))?.[1] ?? Failure.byStatus(status, common.shouldRetry)
  switch (verdict) {
    case "RateLimited":
      return new LlmError.RateLimited(
        defined({ ...common, retryAfter: Hints.rateLimitWait(headers, said.message, context.now) })
      )
    case "ContextLengthExceeded": {
      const { limit, requested } = ContextLength.numbers(said.message)
      return new LlmError.ContextLengthExceeded(
        defined({ ...common, limit: said.limit ?? limit, requested: said.requested ?? requested })
      )
    }
    case "InvalidRequest":
      return new LlmError.InvalidRequest(defined({ ...common, param: Failure.short(said.param, secrets) }))
    case "ContentFiltered":
      return new LlmError.ContentFiltered({ ...common, stage: "prompt" })
    default:
      return Failure.fromVerdict(verdict, common)
  }
}

/** The error that a body of a 200 holds; nothing when it holds none. An answer has no message of its own at the top. */
export const insideAnswer = (value: unknown): Said | undefined => {
  const record = asRecord(value)
  if (record === undefined) return Array.isArray(value) && asRecord(value[0])?.["error"] ? fromJson(value) : undefined
  const choices = record["choices"]
  const first = Array.isArray(choices) ? asRecord(choices[0]) : undefined
  if (first?.["error"] !== undefined && first["error"] !== null) return fromJson(first) ?? nothing
  if (first?.["finish_reason"] === "error") return fromJson({ error: record["error"] }) ?? nothing
  return first === undefined || record["error"] ? fromJson(record) : undefined
}

/** The failure that a reply stands for. A reply that HTTP calls a success is one when it holds an error, or nothing else. */
export const fromReply = (body: string, context: Context): LlmError.ProviderError => {
  if (context.status < 200 || context.status >= 300) return fromSaid(fromText(body), context)
  const said = insideAnswer(parse(body)?.value)
  return said === undefined ? malformed("an answer was expected, or an error", context) : fromSaid(said, context)
}

const idOf = ({ headers }: Context) => requestId(Hints.lowerCase(headers))

/** What every failure of a reply carries. */
export const commonOf = (context: Context) => Failure.commonOf(context, idOf(context))

/** The failure of an answer that cannot be read. */
export const malformed = (what: string, context: Context) => Failure.malformed(what, context, idOf(context))

/** The outcome of reading an event, which may hold JSON that parses and is too deep to be written again. */
export const unlessTooDeep = <A>(read: (value: A) => Decoded, value: A, context: Context): Decoded => {
  try {
    return read(value)
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown
    return Either.left(malformed("an event is nested too deeply", context))
  }
}
