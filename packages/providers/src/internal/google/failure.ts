/** From an error on the wire to the failure it is: one table, read from the top; where no row fits, the status tells. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as LlmError from "perdure/LlmError"
import * as RetryAfter from "perdure/RetryAfter"
import * as Failure from "../failure.ts"
import * as Hints from "../hints.ts"
import { defined, parse } from "../json.ts"
import type { Context } from "../wire.ts"
import { readNumber, window } from "../words.ts"
import { fromJson, fromText, type Said } from "./said.ts"

interface Facts {
  readonly said: Said
  /** As far as messages are looked at. */
  readonly message: string
  /** The HTTP status, or the one that the body names when HTTP says that all is well. */
  readonly status: number
}

type Fits = (facts: Facts) => boolean
type Row = readonly [fits: Fits, verdict: Exclude<Failure.Verdict, "ContentFiltered">]

const named = (...names: ReadonlyArray<string>): Fits => ({ said }) =>
  said.status !== undefined && names.includes(said.status)
const because = (...reasons: ReadonlyArray<string>): Fits => ({ said }) =>
  said.reason !== undefined && reasons.includes(said.reason)
const saying = (pattern: RegExp): Fits => ({ message }) => pattern.test(message)
const status = (...codes: ReadonlyArray<number>): Fits => (facts) => codes.includes(facts.status)
const both = (...all: ReadonlyArray<Fits>): Fits => (facts) => all.every((fits) => fits(facts))
const either = (...some: ReadonlyArray<Fits>): Fits => (facts) => some.some((fits) => fits(facts))

/** A quota that does not come back within the minute, or that was never granted: waiting does not help. */
const longQuota: Fits = ({ message, said }) =>
  said.violations.some(({ names, value }) => /per ?(?:day|week|month)/i.test(names) || value === "0") ||
  /\blimit: 0\b(?![.,]?\d)/i.test(message) ||
  /\bcredits? (?:are|is|have been|has been) (?:depleted|exhausted)\b|\bspend(?:ing)? (?:cap|limit)\b/i.test(message)

const tooLong =
  /\binput token count(?: is)?(?: \(?([\d,]+)\)?)? (?:exceeds the maximum number of tokens allowed|but (?:the )?model only supports up to)(?: \(?([\d,]+)\)?)?/i

const aboutModel = saying(/\bmodels?\b/i)

const rows: ReadonlyArray<Row> = [
  // A bad key is a 400, a leaked one and none at all a 403.
  [because("API_KEY_INVALID", "API_KEY_EXPIRED", "CREDENTIALS_MISSING", "ACCESS_TOKEN_EXPIRED"), "Unauthenticated"],
  [
    both(
      status(400, 403),
      saying(/\bAPI key (?:not valid|expired|not found|was reported as leaked)\b|\bunregistered callers\b/i)
    ),
    "Unauthenticated"
  ],

  // Neither billing nor the region is the request's fault, so another provider may do.
  [because("BILLING_DISABLED"), "QuotaExhausted"],
  [both(named("FAILED_PRECONDITION"), saying(/\bnot in an ACTIVE state\b/i)), "InvalidRequest"],
  [both(named("FAILED_PRECONDITION"), saying(/\bbilling\b/i)), "QuotaExhausted"],
  [named("FAILED_PRECONDITION"), "PermissionDenied"],
  [both(status(400), saying(/\blocation is not supported\b/i)), "PermissionDenied"],

  [both(either(status(400), named("INVALID_ARGUMENT")), saying(tooLong)), "ContextLengthExceeded"],
  [both(status(400), saying(/\bpayload size exceeds the limit\b/i)), "RequestTooLarge"],
  [both(status(400), saying(/\bunexpected model name format\b/i)), "ModelNotFound"],

  [both(either(named("RESOURCE_EXHAUSTED"), status(429)), longQuota), "QuotaExhausted"],
  [named("RESOURCE_EXHAUSTED"), "RateLimited"],
  [named("UNAUTHENTICATED"), "Unauthenticated"],
  [named("PERMISSION_DENIED"), "PermissionDenied"],
  [named("NOT_FOUND", "UNIMPLEMENTED"), "ModelNotFound"],
  [named("UNAVAILABLE"), "Overloaded"],
  [named("DEADLINE_EXCEEDED"), "TimedOut"],
  [named("INTERNAL", "UNKNOWN", "DATA_LOSS", "ABORTED", "CANCELLED"), "ProviderUnavailable"],
  [named("INVALID_ARGUMENT", "OUT_OF_RANGE"), "InvalidRequest"],

  // An error without a name of Google's: from a proxy, or cut short. In a 200, nothing tells whose fault it is.
  [({ status }) => status >= 200 && status < 300, "ProviderUnavailable"],
  [status(499), "ProviderUnavailable"]
]

/** How long Google asks to wait, in the body, in a header or in words; the longest of them, since it must not be shortened. */
const waitOf = ({ message, said }: Facts, headers: Context["headers"], now: number): Duration.Duration | undefined => {
  const header = Option.getOrUndefined(RetryAfter.fromHeaders(headers, now))
  if (said.retryDelay !== undefined) {
    return header === undefined
      ? said.retryDelay
      : Duration.max(said.retryDelay, header)
  }
  const words = /\bretry in ((?:[\d.]+(?:h|ms|m|s))+)/i.exec(message)?.[1]
  return header ?? Option.getOrUndefined(RetryAfter.goDuration(words ?? ""))
}

/** The failure that an error's words and status stand for. */
export const fromSaid = (said: Said, context: Context): LlmError.ProviderError => {
  const headers = Hints.lowerCase(context.headers)
  const inSuccess = context.status >= 200 && context.status < 300
  const status = inSuccess ? said.code ?? context.status : context.status
  const facts: Facts = { said, message: said.message.slice(0, window), status }
  const secrets = Array.from(context.secrets)
  const common = defined({
    ...Failure.commonOf(context, said.requestId ?? idOf(context)),
    status,
    code: Failure.short(said.reason ?? said.status, secrets),
    retryAfter: waitOf(facts, headers, context.now),
    detail: Failure.detailOf(said.message, { status, aboutModel: aboutModel(facts), headers, secrets })
  })
  const verdict = rows.find(([fits]) => fits(facts))?.[1] ?? Failure.byStatus(status)
  switch (verdict) {
    case "QuotaExhausted": {
      // With a day's quota, too, comes a delay of seconds, after which nothing is better.
      const { retryAfter: _, ...rest } = common
      return new LlmError.QuotaExhausted(rest)
    }
    case "ContextLengthExceeded": {
      const [, requested, limit] = tooLong.exec(facts.message) ?? []
      return new LlmError.ContextLengthExceeded(
        defined({ ...common, limit: readNumber(limit), requested: readNumber(requested) })
      )
    }
    case "InvalidRequest":
      return new LlmError.InvalidRequest(defined({ ...common, param: Failure.short(said.field, secrets) }))
    default:
      return Failure.fromVerdict(verdict, common)
  }
}

/** The failure that a reply stands for. A reply that HTTP calls a success is one when it holds an error, or nothing else. */
export const fromReply = (body: string, context: Context): LlmError.ProviderError => {
  if (context.status < 200 || context.status >= 300) return fromSaid(fromText(body), context)
  const said = fromJson(parse(body)?.value)
  return said === undefined ? malformed("an answer was expected, or an error", context) : fromSaid(said, context)
}

const requestIds = ["x-goog-request-id", "x-request-id", "request-id", "x-cloud-trace-context", "cf-ray"]

const idOf = (context: Context): string | undefined => {
  const headers = Hints.lowerCase(context.headers)
  return requestIds.map((name) => headers[name]?.trim()).find((id) => id !== undefined && id !== "")
}

/** What every failure of a reply carries. */
export const commonOf = (context: Context) => Failure.commonOf(context, idOf(context))

/** The failure of an answer that cannot be read. */
export const malformed = (what: string, context: Context) => Failure.malformed(what, context, idOf(context))
