/** Reading the body of a reply that should be an answer, and what to say of it when it is none. */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { parse } from "./json.ts"
import type { Context } from "./wire.ts"
import { pageText } from "./words.ts"

/** A field that may be missing, or null, which is the same. */
export const maybe = <A, I>(schema: Schema.Schema<A, I>) => Schema.optional(Schema.NullOr(schema))

/** What is wrong with a body that is not JSON. */
const notJson = (body: string, { headers }: Context): string => {
  if (body.trim() === "") return "the body is empty"
  const page = /^\s*</.test(body) ? `: ${pageText(body).slice(0, 200)}` : ""
  return `the body is not JSON (${headers["content-type"] ?? "no content type"}, ${body.length} characters)${page}`
}

const strict = new TextDecoder("utf-8", { fatal: true })

/** The JSON in a body, or what is wrong with it. */
export const jsonOf = (bytes: Uint8Array, context: Context): Either.Either<unknown, string> => {
  let body: string
  try {
    body = strict.decode(bytes)
  } catch {
    return Either.left("the body is not UTF-8")
  }
  const json = parse(body)
  return json === undefined ? Either.left(notJson(body, context)) : Either.right(json.value)
}

/** Where a body, or an event, is not what the API's documentation says. */
export const wrongShape = (error: ParseResult.ParseError, what = "the body"): string => {
  const places = ParseResult.ArrayFormatter.formatErrorSync(error).map(({ path }) => path.join(".") || "the whole")
  return `${what} has another shape than documented at ${Array.from(new Set(places)).slice(0, 5).join(", ")}`
}
