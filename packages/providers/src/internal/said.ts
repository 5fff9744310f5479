/**
 * What an error body says, in Anthropic's wire format or whichever dialect of OpenAI's: nested or flat, a text for an
 * object, a number for a code, a list around it, HTML from a proxy, half of it, or nothing.
 */
import { asCount, asRecord, asText, type JsonRecord, parse } from "./json.ts"
import { isHtml, messageInHalf, pageText } from "./words.ts"

/** The gist of an error body. */
export interface Said {
  /** In the provider's words; empty when there are none. */
  readonly message: string
  /** Everything that names the failure (code, type and the like), in lower case. */
  readonly names: ReadonlySet<string>
  /** The most telling of these, as it was written. */
  readonly code?: string | undefined
  /** A number given for a code: a status. */
  readonly status?: number | undefined
  readonly param?: string | undefined
  /** Whether a moderator gave its reasons. */
  readonly moderated?: boolean | undefined
  /** llama.cpp's own counts. */
  readonly limit?: number | undefined
  readonly requested?: number | undefined
}

/** An error that says nothing. */
export const nothing: Said = { message: "", names: new Set() }

/** Texts that are as good as a name: no blank in them. */
const isName = (text: string): boolean => /^[\w.:-]+$/.test(text) && !/^\d+$/.test(text)

const statusIn = (code: unknown): number | undefined => {
  const status = typeof code === "string" && /^\d{3}$/.test(code) ? Number(code) : code
  return typeof status === "number" && Number.isInteger(status) && status >= 400 && status <= 599 ? status : undefined
}

/** Pydantic's list of complaints, without the input that each repeats. */
const complaints = (list: ReadonlyArray<unknown>): string =>
  list.flatMap((item) => {
    const record = asRecord(item)
    const place = record === undefined || !Array.isArray(record["loc"]) ? "" : `${record["loc"].join(".")}: `
    return asText(record?.["msg"]) === undefined ? [] : [`${place}${record?.["msg"]}`]
  }).join("; ")

const messageOf = (record: JsonRecord): string => {
  for (const field of ["message", "detail", "msg", "error_description"]) {
    const value = record[field]
    const message = Array.isArray(value) ? complaints(value) : asText(value) ?? asText(asRecord(value)?.["message"])
    if (message !== undefined && message !== "") return message
  }
  return ""
}

/** From an object that describes an error. Gateways wrap one error in another, as an object or as its text. */
const fromRecord = (record: JsonRecord, depth: number): Said => {
  const metadata = asRecord(record["metadata"])
  const innererror = asRecord(record["innererror"])
  const message = messageOf(record)
  const wrapped = metadata?.["raw"] ?? (message.trimStart().startsWith("{") ? message : undefined)
  const inner = depth === 0 || wrapped === undefined
    ? nothing
    : typeof wrapped === "string"
    ? fromText(wrapped, depth - 1)
    : fromJson(wrapped, depth - 1) ?? nothing
  const named = [
    record["code"],
    metadata?.["error_type"],
    metadata?.["reason"],
    record["type"],
    innererror?.["code"],
    record["status"]
  ].flatMap((value) => asText(value) ?? []).filter(isName)
  return {
    message: wrapped === message && inner.message !== ""
      ? inner.message
      : [message, inner.message].filter((text) => text !== "").join(": "),
    names: new Set([...named.map((name) => name.toLowerCase()), ...inner.names]),
    code: named[0] ?? inner.code,
    status: statusIn(record["code"]) ?? statusIn(record["status"]) ?? inner.status,
    param: asText(record["param"]) ?? inner.param,
    moderated: metadata !== undefined && (Array.isArray(metadata["reasons"]) || "flagged_input" in metadata),
    limit: asCount(record["n_ctx"]) ?? inner.limit,
    requested: asCount(record["n_prompt_tokens"]) ?? inner.requested
  }
}

/** The error inside a JSON value; nothing when there is none. */
export const fromJson = (value: unknown, depth = 2): Said | undefined => {
  const record = asRecord(Array.isArray(value) ? value[0] : value)
  if (record === undefined) return asText(value) === undefined ? undefined : { ...nothing, message: String(value) }
  const error = record["error"]
  const inside = asRecord(error)
  if (inside !== undefined) return Object.keys(inside).length === 0 ? undefined : fromRecord(inside, depth)
  if (asText(error) !== undefined) {
    const text = String(error)
    const around = fromRecord(record, depth)
    return {
      ...around,
      message: around.message === "" ? text : around.message,
      names: isName(text) ? new Set([...around.names, text.toLowerCase()]) : around.names,
      code: around.code ?? (isName(text) ? text : undefined)
    }
  }
  return record["object"] === "error" || record["type"] === "error" || messageOf(record) !== ""
    ? fromRecord(record, depth)
    : undefined
}

/** What can be made out in JSON that was cut off. */
const salvaged = (text: string): Said => {
  const names = Array.from(
    text.matchAll(/"(?:code|type|error_type)"\s*:\s*"([\w.:-]{1,100})"/g),
    ([, name]) => name ?? ""
  )
  return {
    message: messageInHalf(text),
    names: new Set(names.map((name) => name.toLowerCase())),
    code: names[0]
  }
}

/** The gist of a body's text. */
export const fromText = (text: string, depth = 2): Said => {
  const json = parse(text)
  if (json !== undefined) return fromJson(json.value, depth) ?? { ...nothing, message: text.trim() }
  if (isHtml(text)) return { ...nothing, message: pageText(text) }
  return /^\s*[[{]/.test(text) ? salvaged(text) : { ...nothing, message: text.trim() }
}
