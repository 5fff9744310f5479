/** From an answer's text to a value that fits a schema. */
import * as Effect from "effect/Effect"
import * as JSONSchema from "effect/JSONSchema"
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { MalformedResponse } from "../LlmError.ts"
import { LlmRequest, type ResponseFormat } from "../LlmRequest.ts"
import type { LlmResponse } from "../LlmResponse.ts"

/**
 * Whether providers that keep exactly to a schema can be made to: every object names all its fields, requires each and
 * allows no others. Where that is not so they would refuse the request.
 */
const isExact = (schema: unknown): boolean => {
  if (Array.isArray(schema)) return schema.every(isExact)
  if (!Predicate.isRecord(schema)) return true
  if (schema["type"] === "object") {
    const required = Array.isArray(schema["required"]) ? schema["required"] : []
    const fields = Predicate.isRecord(schema["properties"]) ? Object.keys(schema["properties"]) : []
    if (schema["additionalProperties"] !== false || fields.some((field) => !required.includes(field))) return false
  }
  return Object.values(schema).every(isExact)
}

/** The form that a schema asks an answer to have. */
export const formatOf = <A, I, R>(schema: Schema.Schema<A, I, R>, name: string): typeof ResponseFormat.Type => {
  const { $schema: _, ...json } = JSONSchema.make(schema)
  return { _tag: "JsonSchema", name, schema: json, strict: isExact(json) }
}

/** A request with another form of answer. */
export const withFormat = (request: LlmRequest, responseFormat: typeof ResponseFormat.Type): LlmRequest =>
  new LlmRequest({ ...request, responseFormat })

/** Models that were not held to JSON like to put it into a code block. */
const unfenced = (text: string): string => /^\s*```(?:json)?\s*\n([\s\S]*?)\n?\s*```\s*$/.exec(text)?.[1] ?? text

/** The value in an answer. What is wrong with it is told by its place, not by its text, which is the answer's. */
export const decode = <A, I, R>(
  response: LlmResponse,
  request: LlmRequest,
  schema: Schema.Schema<A, I, R>
): Effect.Effect<A, MalformedResponse, R> => {
  const malformed = (what: string) =>
    new MalformedResponse({
      provider: response.provider,
      model: response.model,
      usage: response.usage,
      idempotent: request.idempotent,
      receipt: response.receipt,
      detail: response.finishReason === "length" ? `${what}; it was cut by the limit on output tokens` : what
    })
  return Effect.try({
    try: (): unknown => JSON.parse(unfenced(response.text)),
    catch: () => malformed("the answer is not JSON")
  })
    .pipe(
      Effect.flatMap((json) =>
        Effect.mapError(Schema.decodeUnknown(schema)(json), (error) => {
          const places = ParseResult.ArrayFormatter.formatErrorSync(error).map(({ path }) =>
            path.join(".") || "the whole"
          )
          return malformed(`the answer does not fit the schema at ${[...new Set(places)].slice(0, 5).join(", ")}`)
        })
      )
    )
}
