/** From the events of a Chat Completions stream to the parts of an answer, or to the failure that it is. */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as LlmError from "perdure/LlmError"
import * as StreamPart from "perdure/StreamPart"
import { maybe, wrongShape } from "../body.ts"
import { asRecord, defined, parse } from "../json.ts"
import { fromJson } from "../said.ts"
import type { Context, Decoded, EventReader } from "../wire.ts"
import {
  Content,
  failureOf,
  finishReason,
  isMaybeText,
  isPlainMessage,
  refused,
  textsOf,
  usageOf
} from "./chatResponse.ts"
import { commonOf, fromSaid, insideAnswer, malformed, unlessTooDeep } from "./failure.ts"
import * as ToolCalls from "./toolCalls.ts"

const Delta = Schema.Struct({
  content: maybe(Content),
  reasoning: maybe(Schema.String),
  reasoning_content: maybe(Schema.String),
  refusal: maybe(Schema.String),
  tool_calls: maybe(Schema.Array(Schema.Struct({
    index: maybe(Schema.Number),
    id: maybe(Schema.String),
    function: maybe(Schema.Struct({ name: maybe(Schema.String), arguments: maybe(Schema.Unknown) }))
  })))
})

const Chunk = Schema.Struct({
  model: maybe(Schema.String),
  choices: maybe(Schema.Array(Schema.Struct({
    index: maybe(Schema.Number),
    finish_reason: maybe(Schema.String),
    delta: maybe(Delta),
    // Of a server that answers whole where a stream was asked for, and does not say so in a header.
    message: maybe(Delta)
  }))),
  usage: maybe(Schema.Unknown)
})

/** Checks that an event has the shape that is understood. */
export const bySchema = Schema.decodeUnknownEither(Chunk)

const isPlainPiece = (value: unknown): boolean => {
  if (value === undefined || value === null) return true
  const record = asRecord(value)
  return record !== undefined && isPlainMessage(record)
}

/** Whether an event is of the plain kind, as nearly all are: as documented, a piece of text. */
const isPlain = (value: unknown): value is typeof Chunk.Type => {
  const chunk = asRecord(value)
  const choices = chunk?.["choices"]
  return isMaybeText(chunk?.["model"]) && Array.isArray(choices) && choices.every((one) => {
    const choice = asRecord(one)
    const index = choice?.["index"]
    return choice !== undefined && (typeof index === "number" || index === undefined || index === null) &&
      isMaybeText(choice["finish_reason"]) && isPlainPiece(choice["delta"]) && isPlainPiece(choice["message"])
  })
}

/** An event, left to the schema only where a look does not tell that it is one: the schema costs many times as much. */
export const decode = (value: unknown): ReturnType<typeof bySchema> =>
  isPlain(value) ? Either.right(value) : bySchema(value)

/** The most of a refusal's words that is kept. */
const maxRefusal = 8192

/** Groq keeps the usage in a place of its own. */
const usageIn = (value: unknown): unknown => {
  const chunk = asRecord(value)
  return chunk?.["usage"] ?? asRecord(chunk?.["x_groq"])?.["usage"]
}

/** A reader of one stream. */
export const make = (context: Context): EventReader => {
  const calls = ToolCalls.make()
  let model: string | undefined
  let reason: string | undefined
  let refusal = ""
  let told = false

  const read = (delta: typeof Delta.Type, parts: Array<StreamPart.StreamPart>): void => {
    const thought = delta.reasoning_content || delta.reasoning
    if (thought) parts.push({ _tag: "ReasoningDelta", text: thought })
    if (typeof delta.content === "string") {
      if (delta.content !== "") parts.push({ _tag: "TextDelta", text: delta.content })
    } else if (delta.content) {
      for (const part of textsOf(delta.content)) {
        if (part._tag === "Text") parts.push({ _tag: "TextDelta", text: part.text })
        if (part._tag === "Reasoning") parts.push({ _tag: "ReasoningDelta", text: part.text })
      }
    }
    if (delta.tool_calls) {
      for (const { function: call, id, index } of delta.tool_calls) {
        if (call) parts.push(...calls.add({ index, id, name: call.name, arguments: call.arguments }))
      }
    }
    if (delta.refusal && refusal.length < maxRefusal) refusal += delta.refusal
  }

  /** What a stream that has said why it stops comes to. Its usage follows the reason, so failures wait until here too. */
  const conclude = (reason: string): Decoded => {
    const failed = failureOf(reason, context)
    if (failed !== undefined) return Either.left(failed)
    if (refusal.trim() !== "") return Either.left(refused(refusal, context))
    const ends = calls.end()
    if (ends === undefined) return Either.left(malformed("a tool call has no name", context))
    return Either.right([
      ...ends,
      StreamPart.finish(defined({ finishReason: finishReason(reason, calls.some()), model }))
    ])
  }

  const done = (): Decoded =>
    reason === undefined
      ? Either.left(
        new LlmError.StreamInterrupted({ ...commonOf(context), detail: "the stream ended without a finish reason" })
      )
      : conclude(reason)

  const chunk = (value: unknown): Decoded => {
    const decoded = decode(value)
    if (Either.isLeft(decoded)) return Either.left(malformed(wrongShape(decoded.left, "an event"), context))
    const { choices, model: name } = decoded.right
    model = name || model
    const parts: Array<StreamPart.StreamPart> = []
    for (const { delta, finish_reason, index, message } of choices ?? []) {
      // Only one answer is asked for.
      if (index) continue
      const more = delta ?? (told ? undefined : message)
      if (more) read(more, parts)
      told ||= parts.length > 0
      reason = finish_reason || reason
    }
    const usage = usageIn(value)
    if (usage !== undefined && usage !== null) parts.push({ _tag: "Usage", usage: usageOf(usage) })
    return Either.right(parts)
  }

  return {
    event: ({ data, event }) => {
      const text = data.trim()
      if (text === "") return Either.right([])
      if (text === "[DONE]") return done()
      const json = parse(text)
      const said = json === undefined
        ? undefined
        : insideAnswer(json.value) ?? (event === "error" ? fromJson({ error: json.value }) : undefined)
      if (said !== undefined) return Either.left(fromSaid(said, context))
      return json === undefined || asRecord(json.value) === undefined
        ? Either.left(malformed(`an event is not a JSON object (${data.length} characters)`, context))
        : unlessTooDeep(chunk, json.value, context)
    },
    // Some servers end without `[DONE]`: the finish reason is the real end.
    end: () => reason === undefined ? Either.right([]) : conclude(reason)
  }
}
