/** From an error on the wire to the failure it is: one table, read from the top, in which the first row that fits counts. */
import * as Option from "effect/Option"
import * as LlmError from "perdure/LlmError"
import * as RetryAfter from "perdure/RetryAfter"
import * as Http from "../http.ts"
import { asRecord, asText, defined, parse } from "../json.ts"
import * as ContextLength from "../openai/contextLength.ts"
import * as Hints from "../openai/hints.ts"
import { fromJson, fromText, type Said } from "../openai/said.ts"
import { conceal } from "../secrets.ts"
import type { Context } from "../wire.ts"

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
  readonly shouldRetry: boolean | undefined
}

type Verdict = Exclude<LlmError.ProviderError["_tag"], "ConnectionFailed" | "StreamInterrupted" | "MalformedResponse">
type Fits = (facts: Facts) => boolean

/** How much of a message is looked at. */
const window = 8192

const status = (...codes: ReadonlyArray<number>): Fits => (facts) => codes.includes(facts.status)
const named = (...names: ReadonlyArray<string>): Fits => (facts) => names.some((name) => facts.names.has(name))
const says = (pattern: RegExp): Fits => ({ message }) => pattern.test(message.slice(0, window))
const all = (...conditions: ReadonlyArray<Fits>): Fits => (facts) => conditions.every((fits) => fits(facts))
const any = (...conditions: ReadonlyArray<Fits>): Fits => (facts) => conditions.some((fits) => fits(facts))

/** The error came in a 200, so that only its words can tell. */
const onlyWords: Fits = ({ status }) => status >= 200 && status < 300

/** The status or the type of a request that is at fault; a message means the request only there. */
const blamesRequest = any(status(400, 413, 422), all(onlyWords, named("invalid_request_error")))

const rows: ReadonlyArray<readonly [fits: Fits, verdict: Verdict]> = [
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
  [onlyWords, "ProviderUnavailable"],

  // An address that redirects, or takes no POST, is not where a model is. (A browser hides a redirect behind status 0.)
  [({ status }) => status < 400, "ModelNotFound"],
  [status(404, 405, 410), "ModelNotFound"],
  [status(400, 422), "InvalidRequest"],
  [status(401), "Unauthenticated"],
  [status(403), "PermissionDenied"],
  [status(408), "TimedOut"],
  [status(409, 425), "ProviderUnavailable"],
  [status(413), "RequestTooLarge"],
  [status(429), "RateLimited"],
  [status(503, 529), "Overloaded"],
  [({ status }) => status >= 500, "ProviderUnavailable"],
  [({ shouldRetry }) => shouldRetry === true, "ProviderUnavailable"],
  [() => true, "InvalidRequest"]
]

/** What a person should look at when it is the address that is wrong. */
const hint = ({ message, names, status }: Facts, headers: Hints.Headers): string => {
  if (status < 200 || (status >= 300 && status < 400)) {
    const to = headers["location"]?.split("?")[0]
    return `redirects${to === undefined ? "" : ` to ${to}`}, which is not followed; check the base URL`
  }
  const aboutModel = names.has("not_found_error") && message !== "" && !/^not found\.?$/i.test(message)
  return status === 405 || (status === 404 && !aboutModel)
    ? "nothing takes requests at this address; check the base URL"
    : ""
}

/** The window and the tokens asked for, where the message has them. */
const numbers = (message: string): { readonly limit?: number | undefined; readonly requested?: number | undefined } => {
  const text = message.slice(0, window)
  const read = ContextLength.readNumber
  const prompt = /([\d,]+) tokens? > ([\d,]+)/i.exec(text)
  if (prompt !== null) return { requested: read(prompt[1]), limit: read(prompt[2]) }
  const sum = /context (?:limit|window):? ([\d,]+) \+ ([\d,]+) > ([\d,]+)/i.exec(text)
  const [input, output] = [read(sum?.[1]), read(sum?.[2])]
  return {
    requested: input === undefined || output === undefined ? undefined : input + output,
    limit: read(sum?.[3])
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

/** A name or an id; a server may put anything there. */
const short = (text: string | undefined, secrets: Iterable<string>): string | undefined =>
  text === undefined ? undefined : conceal(text, secrets).slice(0, 200)

/** What every failure of a reply carries. */
export const commonOf = (context: Context, requestId?: string) => {
  const headers = Hints.lowerCase(context.headers)
  return defined({
    provider: context.provider,
    model: context.model,
    status: context.status,
    requestId: short(asText(headers["request-id"]) ?? Http.requestId(headers) ?? requestId, context.secrets),
    shouldRetry: Hints.shouldRetry(headers)
  })
}

/** The failure of an answer that cannot be read. It says what is wrong and quotes nothing: the rest may be an answer. */
export const malformed = (what: string, context: Context): LlmError.MalformedResponse =>
  new LlmError.MalformedResponse({ ...commonOf(context), detail: conceal(what, context.secrets) })

const fromTold = (error: Told, context: Context): LlmError.ProviderError => {
  const headers = Hints.lowerCase(context.headers)
  const secrets = Array.from(context.secrets)
  const facts: Facts = { ...error, status: context.status, shouldRetry: Hints.shouldRetry(headers) }
  const common = defined({
    ...commonOf(context, error.requestId),
    code: short(error.code, secrets),
    retryAfter: Option.getOrUndefined(RetryAfter.fromHeaders(headers, context.now)),
    detail: conceal([hint(facts, headers), error.message].filter((text) => text !== "").join(": "), secrets)
  })
  const verdict = rows.find(([fits]) => fits(facts))?.[1] ?? "InvalidRequest"
  switch (verdict) {
    case "RateLimited":
      return new LlmError.RateLimited(
        defined({ ...common, retryAfter: Hints.rateLimitWait(headers, error.message, context.now) })
      )
    case "ContextLengthExceeded":
      return new LlmError.ContextLengthExceeded(defined({ ...common, ...numbers(error.message) }))
    case "InvalidRequest":
      return new LlmError.InvalidRequest(defined({ ...common, param: short(paramIn(error.message), secrets) }))
    case "ContentFiltered":
      return new LlmError.ContentFiltered({ ...common, stage: /^output\b/i.test(error.message) ? "output" : "prompt" })
    case "TimedOut":
      return new LlmError.TimedOut({ ...common, phase: "provider" })
    case "QuotaExhausted":
      return new LlmError.QuotaExhausted(common)
    case "Overloaded":
      return new LlmError.Overloaded(common)
    case "ProviderUnavailable":
      return new LlmError.ProviderUnavailable(common)
    case "Unauthenticated":
      return new LlmError.Unauthenticated(common)
    case "PermissionDenied":
      return new LlmError.PermissionDenied(common)
    case "ModelNotFound":
      return new LlmError.ModelNotFound(common)
    case "RequestTooLarge":
      return new LlmError.RequestTooLarge(common)
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
