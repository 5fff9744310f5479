/** From the events of a Responses stream to the parts of an answer, or to the failure that it is. */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as LlmError from "perdure/LlmError"
import * as StreamPart from "perdure/StreamPart"
import { maybe, wrongShape } from "../body.ts"
import { asRecord, asText, defined, parse } from "../json.ts"
import { reasoning } from "../reasoning.ts"
import { fromJson } from "../said.ts"
import type { Context, Decoded, EventReader } from "../wire.ts"
import { fromSaid, insideAnswer, malformed, unlessTooDeep } from "./failure.ts"
import * as Answer from "./responsesAnswer.ts"

type Parts = ReadonlyArray<StreamPart.StreamPart>

const Event = Schema.Struct({
  type: maybe(Schema.String),
  output_index: maybe(Schema.Number),
  content_index: maybe(Schema.Number),
  summary_index: maybe(Schema.Number),
  delta: maybe(Schema.String),
  text: maybe(Schema.String),
  arguments: maybe(Schema.String),
  item: maybe(Answer.Item),
  response: maybe(Schema.Unknown)
})

type Event = typeof Event.Type

const decode = Schema.decodeUnknownEither(Event)

interface Call {
  readonly id: string
  /** Whether any of its arguments have come. */
  filled: boolean
  ended: boolean
}

const textDelta = (text: string): Parts => text === "" ? [] : [{ _tag: "TextDelta", text }]
const reasoningDelta = (text: string): Parts => text === "" ? [] : [{ _tag: "ReasoningDelta", text }]

/** A reader of one stream. */
export const make = (context: Context, signer: string): EventReader => {
  const calls = new Map<number, Call>()
  /** The pieces of which something was handed out, so that the whole that follows is not told twice. */
  const told = new Set<string>()
  /** The items whose reasoning was handed out, for the same reason. */
  const thought = new Set<number>()
  let spoke = false

  /** What comes in deltas, and after them whole: the whole counts only where there was no delta. */
  const once = (event: Event, kind: string, whole: boolean, part: (text: string) => Parts): Parts => {
    const key = `${kind} ${event.output_index ?? 0} ${event.summary_index ?? event.content_index ?? 0}`
    const text = (whole ? event.text : event.delta) ?? ""
    if (text === "" || (whole && told.has(key))) return []
    told.add(key)
    return part(text)
  }

  const filling = (call: Call, text: string): Parts => {
    if (text === "") return []
    call.filled = true
    return [{ _tag: "ToolCallDelta", id: call.id, arguments: text }]
  }

  /** A call begins; or it is only now that it is heard of. */
  const started = (item: typeof Answer.Item.Type, index: number): Parts => {
    if (calls.has(index)) return []
    const call: Call = { id: item.call_id || item.id || `call_${index}`, filled: false, ended: false }
    calls.set(index, call)
    return [{ _tag: "ToolCallStart", id: call.id, name: item.name ?? "" }, ...argumentsOf(call, item.arguments)]
  }

  const argumentsOf = (call: Call, whole: unknown): Parts =>
    call.filled || whole === undefined || whole === null
      ? []
      : filling(call, typeof whole === "string" ? whole : JSON.stringify(whole))

  const end = (call: Call): Parts => {
    if (call.ended) return []
    call.ended = true
    return [{ _tag: "ToolCallEnd", id: call.id }]
  }

  const saying = (event: Event, whole: boolean): Parts => {
    const parts = once(event, "text", whole, textDelta)
    spoke ||= parts.length > 0
    return parts
  }

  const thinking = (event: Event, kind: string, whole: boolean): Parts => {
    const parts = once(event, kind, whole, reasoningDelta)
    if (parts.length > 0) thought.add(event.output_index ?? 0)
    return parts
  }

  /** The signature comes when the reasoning is done, and the words with it where they had not come before. */
  const thoughtOut = (item: typeof Answer.Item.Type, index: number): Parts => {
    const { signature, words } = Answer.reasoningOf(item)
    const text = thought.has(index) ? "" : words
    if (text === "" && signature === undefined) return []
    thought.add(index)
    return StreamPart.fromContent([reasoning(text, signature, signer)])
  }

  const finished = (response: unknown): Decoded => {
    const answer = Answer.fromValue(response, context, signer)
    const spent = asRecord(asRecord(response)?.["usage"])
    const usage = spent === undefined ? undefined : Answer.usageOf(spent)
    if (Either.isLeft(answer)) {
      return Either.left(usage === undefined ? answer.left : LlmError.update(answer.left, { usage }))
    }
    const known = new Set(Array.from(calls.values(), ({ id }) => id))
    const silent = !spoke && calls.size === 0
    const { content, finishReason, model } = answer.right
    return Either.right([
      ...Array.from(calls.values()).flatMap(end),
      // A server may send the answer, or what it wants called, only here.
      ...StreamPart.fromContent(content.filter((part) => {
        switch (part._tag) {
          case "Text":
            return silent
          case "Reasoning":
            return silent && thought.size === 0
          case "ToolCall":
            return !known.has(part.id)
        }
      })),
      ...(usage === undefined ? [] : [{ _tag: "Usage", usage } as const]),
      StreamPart.finish({
        finishReason: finishReason === "stop" && calls.size > 0 ? "toolCalls" : finishReason,
        model
      })
    ])
  }

  const partsOf = (event: Event, type: string | undefined): Decoded => {
    const index = event.output_index ?? 0
    const { item } = event
    const call = calls.get(index)
    switch (type) {
      case "response.output_text.delta":
      case "response.output_text.done":
        return Either.right(saying(event, type.endsWith("done")))
      case "response.reasoning_text.delta":
      case "response.reasoning_text.done":
        return Either.right(thinking(event, "reasoning", type.endsWith("done")))
      case "response.reasoning_summary_text.delta":
      case "response.reasoning_summary_text.done":
        return Either.right(thinking(event, "summary", type.endsWith("done")))
      case "response.reasoning_summary_part.added":
        return Either.right(event.summary_index ? reasoningDelta(Answer.betweenSummaries) : [])
      case "response.output_item.added":
      case "response.output_item.done": {
        if (item?.type === "reasoning" && type === "response.output_item.done") {
          return Either.right(thoughtOut(item, index))
        }
        if (item?.type !== "function_call") return Either.right([])
        if (!item.name && call === undefined) return Either.left(malformed("a tool call has no name", context))
        const begun = started(item, index)
        const mine = calls.get(index)
        return Either.right(
          type === "response.output_item.added" || mine === undefined
            ? begun
            : [...begun, ...argumentsOf(mine, item.arguments), ...end(mine)]
        )
      }
      case "response.function_call_arguments.delta":
      case "response.function_call_arguments.done": {
        if (call === undefined) return Either.left(malformed("arguments came without a tool call", context))
        return Either.right(
          type === "response.function_call_arguments.delta"
            ? filling(call, event.delta ?? "")
            : argumentsOf(call, event.arguments)
        )
      }
      case "response.completed":
      case "response.incomplete":
      case "response.failed":
      case "response.cancelled":
        return finished(defined({ status: type.slice("response.".length), ...asRecord(event.response) }))
      default:
        // Progress, annotations, and what the future may bring.
        return Either.right([])
    }
  }

  return {
    event: ({ data, event: name }) => {
      const text = data.trim()
      if (text === "" || text === "[DONE]") return Either.right([])
      const value = asRecord(parse(text)?.value)
      if (value === undefined) {
        return Either.left(malformed(`an event is not a JSON object (${data.length} characters)`, context))
      }
      const type = asText(value["type"]) ?? name
      const said = type === "error" ? fromJson(value) ?? fromJson({ error: value }) : insideError(value)
      if (said !== undefined) return Either.left(fromSaid(said, context))
      const decoded = decode(value)
      return Either.isLeft(decoded)
        ? Either.left(malformed(wrongShape(decoded.left, "an event"), context))
        : unlessTooDeep((event) => partsOf(event, type), decoded.right, context)
    },
    // The last event says that it is the last.
    end: () => Either.right([])
  }
}

/** An error where an event was expected. */
const insideError = (value: Readonly<Record<string, unknown>>) =>
  value["error"] || asText(value["type"]) === undefined ? insideAnswer(value) : undefined
