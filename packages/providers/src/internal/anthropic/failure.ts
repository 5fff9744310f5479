/** From an error on the wire to the failure it is: one table, read from the top; where no row fits, the status tells. */
import * as Option from "effect/Option"
import * as LlmError from "perdure/LlmError"
import * as RetryAfter from "perdure/RetryAfter"
import * as Failure from "../failure.ts"
import * as Hints from "../hints.ts"
import * as Http from "../http.ts"
import { asRecord, asText, defined, parse } from "../json.ts"
import { fromJson, fromText, type Said } from "../said.ts"
import type { Context } from "../wire.ts"
import { readNumber, window } from "../words.ts"

/** What an error body says. */
interface Told {
  /** In the provider's words; empty when there are none. */
  readonly message: string
  /** Everything that names the failure, in lower case: its type, and `error.details.error_code`, which tells more. */
  readonly names: ReadonlySet<string>
  /** The most telling of these. */
  readonly code: string | undefined
  readonly requestId: string | undefined
}

interface Facts extends Told {
  readonly status: number
}

type Fits = (facts: Facts) => boolean

const status = (...codes: ReadonlyArray<number>): Fits => (facts) => codes.includes(facts.status)
const named = (...names: ReadonlyArray<string>): Fits => (facts) => names.some((name) => facts.names.has(name))
const says = (pattern: RegExp): Fits => ({ message }) => pattern.test(message.slice(0, window))
const all = (...conditions: ReadonlyArray<Fits>): Fits => (facts) => conditions.every((fits) => fits(facts))
const any = (...conditions: ReadonlyArray<Fits>): Fits => (facts) => conditions.some((fits) => fits(facts))

/** The error came in a 200, so that only its words can tell. */
const onlyWords: Fits = ({ status }) => status >= 200 && status < 300

/** The status or the type of a request that is at fault; a message means the request only there. */
const blamesRequest = any(status(400, 413, 422), all(onlyWords, named("invalid_request_error")))

const rows: ReadonlyArray<readonly [fits: Fits, verdict: Failure.Verdict]> = [
  // Billing comes first: it wears the status of a rate limit or of a bad request, and waiting does not help.
  [named("enforced_spend_limit_reached", "contract_spend_limit_reached", "organization_on_hold"), "QuotaExhausted"],
  [named("ramp_limit_exceeded"), "RateLimited"],
  [any(named("billing_error"), status(402)), "QuotaExhausted"],
  [
    all(
      any(blamesRequest, status(403, 429), named("rate_limit_error")),
      says(
        /\byou(?:r organization)? ha(?:ve|s) reached your (?:specified )?(?:workspace )?(?:API )?(?:usage|spend(?:ing)?) limits?\b/i
      )
    ),
    "QuotaExhausted"
  ],
  [all(any(blamesRequest, status(403)), says(/\byour credit balance is too low\b/i)), "QuotaExhausted"],

  [
    all(
      blamesRequest,
      says(
        /\bprompt is too long\b|\binput length and [`'"]?max_tokens[`'"]? exceed (?:the )?context (?:limit|window)\b/i
      )
    ),
    "ContextLengthExceeded"
  ],
  [says(/^(?:output|input|prompt|request) blocked by (?:our )?content filter/i), "ContentFiltered"],
  [all(status(400, 401, 403), says(/\borganization has been disabled\b/i)), "PermissionDenied"],

  [named("overloaded_error"), "Overloaded"],
  [named("rate_limit_error"), "RateLimited"],
  [named("authentication_error"), "Unauthenticated"],
  [named("permission_error"), "PermissionDenied"],
  [named("request_too_large"), "RequestTooLarge"],
  [named("timeout_error"), "TimedOut"],
  [named("conflict_error"), "ProviderUnavailable"],
  // What is missing may be something that the request names.
  [all(named("not_found_error"), says(/^(?:file|container|skill|message batch)\b/i)), "InvalidRequest"],
  [named("not_found_error"), "ModelNotFound"],
  [all(onlyWords, named("invalid_request_error")), "InvalidRequest"],
  [onlyWords, "ProviderUnavailable"]
]

const aboutModel = ({ message, names }: Facts): boolean =>
  names.has("not_found_error") && message !== "" && !/^not found\.?$/i.test(message)

/** The window and the tokens asked for, where the message has them. */
const numbers = (message: string): { readonly limit?: number | undefined; readonly requested?: number | undefined } => {
  const text = message.slice(0, window)
  const prompt = /([\d,]+) tokens? > ([\d,]+)/i.exec(text)
  if (prompt !== null) return { requested: readNumber(prompt[1]), limit: readNumber(prompt[2]) }
  const sum = /context (?:limit|window):? ([\d,]+) \+ ([\d,]+) > ([\d,]+)/i.exec(text)
  const [input, output] = [readNumber(sum?.[1]), readNumber(sum?.[2])]
  return {
    requested: input === undefined || output === undefined ? undefined : input + output,
    limit: readNumber(sum?.[3])
  }
}

/** The field that a message begins with: `messages.0.content: …`. */
const paramIn = (message: string): string | undefined => /^[a-z][\w-]*(?:\.[\w-]+)*(?=: )/.exec(message)?.[0]

const told = (said: Said, json: unknown, code?: string): Told => {
  const record = asRecord(json)
  const named = asText(asRecord(asRecord(record?.["error"])?.["details"])?.["error_code"]) ?? code
  const names = Array.from(said.names).filter((name) => name !== "error")
  return {
    message: said.message,
    names: new Set(named === undefined ? names : [named.toLowerCase(), ...names]),
    code: named ?? names[0],
    requestId: asText(record?.["request_id"])
  }
}

/** What a text says that is an error, of whatever it is made. */
const fromBody = (body: string): Told => {
  const json = parse(body)
  // Half a body still names the failure.
  const code = json === undefined ? /"error_code"\s*:\s*"([\w.-]{1,100})"/.exec(body.slice(0, window))?.[1] : undefined
  return told(fromText(body), json?.value, code)
}

/** In a header, or else in the body. */
const idOf = (context: Context, inBody?: string) => {
  const headers = Hints.lowerCase(context.headers)
  return asText(headers["request-id"]) ?? Http.requestId(headers) ?? inBody
}

/** What every failure of a reply carries. */
export const commonOf = (context: Context) => Failure.commonOf(context, idOf(context))

/** The failure of an answer that cannot be read. */
export const malformed = (what: string, context: Context) => Failure.malformed(what, context, idOf(context))

const fromTold = (error: Told, context: Context): LlmError.ProviderError => {
  const headers = Hints.lowerCase(context.headers)
  const secrets = Array.from(context.secrets)
  const { status } = context
  const facts: Facts = { ...error, status }
  const common = defined({
    ...Failure.commonOf(context, idOf(context, error.requestId)),
    code: Failure.short(error.code, secrets),
    retryAfter: Option.getOrUndefined(RetryAfter.fromHeaders(headers, context.now)),
    detail: Failure.detailOf(error.message, { status, aboutModel: aboutModel(facts), headers, secrets })
  })
  const verdict = rows.find(([fits]) => fits(facts))?.[1] ?? Failure.byStatus(status, common.shouldRetry)
  switch (verdict) {
    case "RateLimited":
      return new LlmError.RateLimited(
        defined({ ...common, retryAfter: Hints.rateLimitWait(headers, error.message, context.now) })
      )
    case "ContextLengthExceeded":
      return new LlmError.ContextLengthExceeded(defined({ ...common, ...numbers(error.message) }))
    case "InvalidRequest":
      return new LlmError.InvalidRequest(defined({ ...common, param: Failure.short(paramIn(error.message), secrets) }))
    case "ContentFiltered":
      return new LlmError.ContentFiltered({ ...common, stage: /^output\b/i.test(error.message) ? "output" : "prompt" })
    default:
      return Failure.fromVerdict(verdict, common)
  }
}

/** The failure that a JSON value inside a 200 names; nothing when it names none. */
export const inside = (value: unknown, context: Context): LlmError.ProviderError | undefined => {
  const record = asRecord(value)
  if (record === undefined || (!record["error"] && (record["type"] !== "error" && record["type"] !== undefined))) {
    return undefined
  }
  const said = fromJson(value)
  return said === undefined ? undefined : fromTold(told(said, value), context)
}

/** The failure that an `error` event is. */
export const fromEvent = (data: string, context: Context): LlmError.ProviderError => fromTold(fromBody(data), context)

/** The failure that a reply stands for. A reply that HTTP calls a success is one when it holds an error, or nothing else. */
export const fromReply = (body: string, context: Context): LlmError.ProviderError =>
  Http.isSuccess(context.status)
    ? inside(parse(body)?.value, context) ?? malformed("an answer was expected, or an error", context)
    : fromTold(fromBody(body), context)
