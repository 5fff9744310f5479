/** What an error body of Google says: a `google.rpc.Status` in JSON, a list around it, a page of a proxy, half of it, or nothing. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as RetryAfter from "perdure/RetryAfter"
import { asRecord, asText, type JsonRecord, parse } from "../json.ts"
import { isHtml, messageInHalf, pageText } from "../words.ts"

/** One quota that was passed. */
export interface Violation {
  /** Everything that names the quota: its id, its metric, its description. */
  readonly names: string
  /** The quota's value, where it is given. */
  readonly value: string | undefined
}

/** The gist of an error body. */
export interface Said {
  /** In Google's words; empty when there are none. */
  readonly message: string
  /** The canonical name: `RESOURCE_EXHAUSTED`. */
  readonly status?: string | undefined
  /** A number given for a code: a status of HTTP. */
  readonly code?: number | undefined
  /** The reason in `ErrorInfo`: `API_KEY_INVALID`. */
  readonly reason?: string | undefined
  readonly violations: ReadonlyArray<Violation>
  /** What `RetryInfo` asks for. */
  readonly retryDelay?: Duration.Duration | undefined
  /** The field that `BadRequest` names. */
  readonly field?: string | undefined
  readonly requestId?: string | undefined
}

const nothing: Said = { message: "", violations: [] }

const listOf = (value: unknown): ReadonlyArray<JsonRecord> =>
  Array.isArray(value) ? value.map(asRecord).filter((item) => item !== undefined) : []

const statusIn = (code: unknown): number | undefined =>
  typeof code === "number" && Number.isInteger(code) && code >= 400 && code <= 599 ? code : undefined

/** Canonical names are in capitals, and so are reasons; anything else in their place is not one. */
const nameIn = (value: unknown): string | undefined =>
  typeof value === "string" && /^[A-Z][A-Z0-9_]{2,99}$/.test(value) ? value : undefined

const fromError = (error: JsonRecord, depth: number): Said => {
  const message = asText(error["message"]) ?? ""
  // Gateways put Google's body, as text, where the message belongs.
  const inner = depth > 0 && message.trimStart().startsWith("{")
    ? fromJson(parse(message)?.value, depth - 1)
    : undefined
  if (inner !== undefined) return inner
  const details = listOf(error["details"])
  const ofType = (type: string) =>
    details.filter((detail) => asText(detail["@type"])?.endsWith(`google.rpc.${type}`) === true)
  const text = (type: string, field: string) => {
    for (const detail of ofType(type)) if (asText(detail[field]) !== undefined) return asText(detail[field])
    return undefined
  }
  return {
    message,
    status: nameIn(error["status"]),
    code: statusIn(error["code"]),
    reason: nameIn(text("ErrorInfo", "reason")),
    violations: ofType("QuotaFailure").flatMap((detail) => listOf(detail["violations"])).map((violation) => ({
      names: ["quotaId", "quotaMetric", "description"].flatMap((field) => asText(violation[field]) ?? []).join(" "),
      value: asText(violation["quotaValue"])
    })),
    retryDelay: Option.getOrUndefined(RetryAfter.retryDelay(text("RetryInfo", "retryDelay") ?? "")),
    field: listOf(ofType("BadRequest")[0]?.["fieldViolations"]).flatMap(({ field }) => asText(field) ?? [])[0],
    requestId: text("RequestInfo", "requestId")
  }
}

/** The error in a JSON value that is one or holds one; nothing when there is none. */
export const fromJson = (value: unknown, depth = 1): Said | undefined => {
  const record = asRecord(Array.isArray(value) ? value[0] : value)
  if (record === undefined) return undefined
  const inside = asRecord(record["error"])
  if (inside !== undefined) return fromError(inside, depth)
  const error = asText(record["error"])
  if (error !== undefined) return { ...nothing, message: asText(record["error_description"]) ?? error }
  return asText(record["message"]) === undefined || record["candidates"] !== undefined
    ? undefined
    : fromError(record, depth)
}

/** What can be made out in JSON that was cut off. */
const salvaged = (text: string): Said => {
  return {
    ...nothing,
    message: messageInHalf(text),
    status: nameIn(/"status"\s*:\s*"(\w+)"/.exec(text)?.[1]),
    reason: nameIn(/"reason"\s*:\s*"(\w+)"/.exec(text)?.[1]),
    violations: Array.from(
      text.matchAll(/"quotaId"\s*:\s*"([\w-]+)"/g),
      ([, names = ""]) => ({ names, value: undefined })
    ),
    retryDelay: Option.getOrUndefined(RetryAfter.retryDelay(/"retryDelay"\s*:\s*"([\d.]+s)"/.exec(text)?.[1] ?? ""))
  }
}

/** The gist of a body's text. */
export const fromText = (text: string): Said => {
  const json = parse(text)
  if (json !== undefined) return fromJson(json.value) ?? { ...nothing, message: text.trim() }
  if (isHtml(text)) return { ...nothing, message: pageText(text) }
  return /^\s*[[{]/.test(text) ? salvaged(text) : { ...nothing, message: text.trim() }
}
