/** What the failures of all providers' replies have in common, from the reading of the reply to the failure's class. */
import type * as Duration from "effect/Duration"
import * as LlmError from "perdure/LlmError"
import * as Hints from "./hints.ts"
import { defined } from "./json.ts"
import { conceal } from "./secrets.ts"
import type { Context } from "./wire.ts"

/** What an error in a reply can be. */
export type Verdict = Exclude<
  LlmError.ProviderError["_tag"],
  "ConnectionFailed" | "StreamInterrupted" | "MalformedResponse"
>

/** The verdicts that tell more than every failure does. */
type Telling = "ContentFiltered" | "ContextLengthExceeded" | "InvalidRequest"

/** A name or an id; a server may put anything there. */
export const short = (text: string | undefined, secrets: Iterable<string>): string | undefined =>
  text === undefined ? undefined : conceal(text, secrets).slice(0, 200)

/** What every failure of a reply carries. */
export const commonOf = (context: Context, requestId: string | undefined) =>
  defined({
    provider: context.provider,
    model: context.model,
    status: context.status,
    requestId: short(requestId, context.secrets),
    shouldRetry: Hints.shouldRetry(Hints.lowerCase(context.headers))
  })

/** The failure of an answer that cannot be read. It says what is wrong and quotes nothing: the rest may be an answer. */
export const malformed = (
  what: string,
  context: Context,
  requestId: string | undefined
): LlmError.MalformedResponse =>
  new LlmError.MalformedResponse({ ...commonOf(context, requestId), detail: conceal(what, context.secrets) })

/** What a status means where the words of the error decide nothing. */
const meanings: ReadonlyMap<number, Exclude<Verdict, "ContentFiltered" | "ContextLengthExceeded">> = new Map([
  [400, "InvalidRequest"],
  [401, "Unauthenticated"],
  [402, "QuotaExhausted"],
  [403, "PermissionDenied"],
  [404, "ModelNotFound"],
  [405, "ModelNotFound"],
  [408, "TimedOut"],
  [409, "ProviderUnavailable"],
  [410, "ModelNotFound"],
  [413, "RequestTooLarge"],
  [422, "InvalidRequest"],
  [425, "ProviderUnavailable"],
  [429, "RateLimited"],
  [503, "Overloaded"],
  [529, "Overloaded"]
])

/** The verdict where only the status can tell. */
export const byStatus = (status: number, shouldRetry = false) => {
  // An address that redirects, or takes no POST, is not where a model is. (A browser hides a redirect behind status 0.)
  if (status < 400) return "ModelNotFound"
  return meanings.get(status) ?? (status >= 500 || shouldRetry ? "ProviderUnavailable" : "InvalidRequest")
}

/** The words of an error; before them, when it is the address that is wrong, what a person should look at. */
export const detailOf = (
  message: string,
  { aboutModel, headers, secrets, status }: {
    readonly status: number
    /** Whether the message says that it is the model that is not there. */
    readonly aboutModel: boolean
    readonly headers: Hints.Headers
    readonly secrets: Iterable<string>
  }
): string => conceal([hint(status, aboutModel, headers), message].filter((text) => text !== "").join(": "), secrets)

const hint = (status: number, aboutModel: boolean, headers: Hints.Headers): string => {
  if (status < 200 || (status >= 300 && status < 400)) {
    const to = headers["location"]?.split("?")[0]
    return `redirects${to === undefined ? "" : ` to ${to}`}, which is not followed; check the base URL`
  }
  return status === 405 || (status === 404 && !aboutModel)
    ? "nothing takes requests at this address; check the base URL"
    : ""
}

/** What a failure is made of that tells no more than others do. */
type Fields = ReturnType<typeof commonOf> & {
  readonly code: string | undefined
  readonly retryAfter: Duration.Duration | undefined
  readonly detail: string
}

/** The failure of a verdict that tells no more than others do. */
export const fromVerdict = (verdict: Exclude<Verdict, Telling>, fields: Fields): LlmError.ProviderError => {
  switch (verdict) {
    case "RateLimited":
      return new LlmError.RateLimited(fields)
    case "TimedOut":
      return new LlmError.TimedOut({ ...fields, phase: "provider" })
    case "QuotaExhausted":
      return new LlmError.QuotaExhausted(fields)
    case "Overloaded":
      return new LlmError.Overloaded(fields)
    case "ProviderUnavailable":
      return new LlmError.ProviderUnavailable(fields)
    case "Unauthenticated":
      return new LlmError.Unauthenticated(fields)
    case "PermissionDenied":
      return new LlmError.PermissionDenied(fields)
    case "ModelNotFound":
      return new LlmError.ModelNotFound(fields)
    case "RequestTooLarge":
      return new LlmError.RequestTooLarge(fields)
  }
}
