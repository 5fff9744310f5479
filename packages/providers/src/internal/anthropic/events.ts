/** From the events of a Messages stream to the parts of an answer, or to the failure that it is. */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as LlmError from "perdure/LlmError"
import * as StreamPart from "perdure/StreamPart"
import { maybe, wrongShape } from "../body.ts"
import { asRecord, defined, type JsonRecord, parse } from "../json.ts"
import type { Context, Decoded, EventReader } from "../wire.ts"
import { commonOf, fromEvent, inside, malformed } from "./failure.ts"
import { redacted } from "./reasoning.ts"
import { refusal } from "./response.ts"
import { finishReason, later, usageOf } from "./usage.ts"

const MessageStart = Schema.Struct({
  type: Schema.Literal("message_start"),
  message: maybe(Schema.Struct({ model: maybe(Schema.String), usage: maybe(Schema.Unknown) }))
})
const BlockStart = Schema.Struct({
  type: Schema.Literal("content_block_start"),
  index: Schema.Number,
  content_block: Schema.Struct({
    type: Schema.String,
    text: maybe(Schema.String),
    thinking: maybe(Schema.String),
    data: maybe(Schema.String),
    id: maybe(Schema.String),
    name: maybe(Schema.String),
    input: maybe(Schema.Unknown)
  })
})
const BlockDelta = Schema.Struct({
  type: Schema.Literal("content_block_delta"),
  index: Schema.Number,
  delta: Schema.Union(
    Schema.Struct({ type: Schema.Literal("text_delta"), text: Schema.String }),
    Schema.Struct({ type: Schema.Literal("thinking_delta"), thinking: Schema.String }),
    Schema.Struct({ type: Schema.Literal("signature_delta"), signature: Schema.String }),
    Schema.Struct({ type: Schema.Literal("input_json_delta"), partial_json: Schema.String }),
    // Citations, and kinds that come later.
    Schema.Struct({
      type: Schema.String.pipe(
        Schema.filter((type) => !["text_delta", "thinking_delta", "signature_delta", "input_json_delta"].includes(type))
      ),
      text: Schema.optional(Schema.Unknown)
    })
  )
})
const BlockStop = Schema.Struct({ type: Schema.Literal("content_block_stop"), index: Schema.Number })
const MessageDelta = Schema.Struct({
  type: Schema.Literal("message_delta"),
  delta: maybe(Schema.Struct({ stop_reason: maybe(Schema.String), stop_details: maybe(Schema.Unknown) })),
  usage: maybe(Schema.Unknown)
})
const MessageStop = Schema.Struct({ type: Schema.Literal("message_stop") })

const Known = Schema.Union(MessageStart, BlockStart, BlockDelta, BlockStop, MessageDelta, MessageStop)
const known: ReadonlySet<unknown> = new Set(Known.members.flatMap(({ fields }) => fields.type.literals))

/** Checks that an event has the shape that is understood. */
export const bySchema = Schema.decodeUnknownEither(Known)

/** An event, left to the schema unless it is a piece of text, as nearly all are: the schema costs many times as much. */
export const decode = (event: JsonRecord): ReturnType<typeof bySchema> => {
  const delta = asRecord(event["delta"])
  const index = event["index"]
  const text = delta?.["text"]
  return event["type"] === "content_block_delta" && typeof index === "number" && delta?.["type"] === "text_delta" &&
      typeof text === "string"
    ? Either.right({ type: "content_block_delta", index, delta: { type: "text_delta", text } })
    : bySchema(event)
}

const isText = (value: unknown): boolean => typeof value === "string" && value !== ""

/** Whether skipping an event of an unknown kind would lose text. */
const carriesText = (event: JsonRecord): boolean =>
  [event, asRecord(event["delta"]), asRecord(event["content_block"])].some((place) => isText(place?.["text"]))

/** A tool call whose arguments are coming in. */
interface Call {
  readonly id: string
  /** The arguments that came with its beginning; they count when no others follow. */
  readonly input: unknown
  begun: boolean
}

const none: Decoded = Either.right([])
const one = (part: StreamPart.StreamPart): Decoded => Either.right([part])
const text = (text: string): Decoded => text === "" ? none : one({ _tag: "TextDelta", text })
const reasoning = (text: string): Decoded => text === "" ? none : one({ _tag: "ReasoningDelta", text })

/** A reader of one stream. */
export const make = (context: Context): EventReader => {
  const calls = new Map<number, Call>()
  let model: string | undefined
  let usage: JsonRecord = {}
  let reason: string | undefined

  const unreadable = (what: string): Decoded => Either.left(malformed(what, context))

  const signed = (signature: string): Decoded =>
    signature === "" ? none : one({ _tag: "ReasoningDelta", text: "", signature, provider: context.provider })

  const count = (value: unknown): Decoded => {
    if (asRecord(value) === undefined) return none
    usage = later(usage, value)
    return one({ _tag: "Usage", usage: usageOf(usage) })
  }

  const begin = ({ content_block: block, index }: typeof BlockStart.Type): Decoded => {
    switch (block.type) {
      case "text":
        return text(block.text ?? "")
      case "thinking":
        return reasoning(block.thinking ?? "")
      case "redacted_thinking":
        return signed(block.data ? redacted(block.data) : "")
      case "tool_use":
        if (!block.id || !block.name) return unreadable("a tool call has no id or no name")
        calls.set(index, { id: block.id, input: block.input ?? {}, begun: false })
        return one({ _tag: "ToolCallStart", id: block.id, name: block.name })
      default:
        return none
    }
  }

  const more = ({ delta, index }: typeof BlockDelta.Type): Decoded => {
    if ("partial_json" in delta) {
      const call = calls.get(index)
      // A tool of the provider's own is none of the reader's business.
      if (call === undefined || delta.partial_json === "") return none
      call.begun = true
      return one({ _tag: "ToolCallDelta", id: call.id, arguments: delta.partial_json })
    }
    if ("thinking" in delta) return reasoning(delta.thinking)
    if ("signature" in delta) return signed(delta.signature)
    if (delta.type === "text_delta") return text(String(delta.text))
    return isText(delta.text) ? unreadable("text came in an event of an unknown kind") : none
  }

  const end = (index: number, { begun, id, input }: Call): ReadonlyArray<StreamPart.StreamPart> => {
    calls.delete(index)
    const last: StreamPart.StreamPart = { _tag: "ToolCallEnd", id }
    return begun ? [last] : [{ _tag: "ToolCallDelta", id, arguments: JSON.stringify(input) }, last]
  }

  const read = (event: typeof Known.Type): Decoded => {
    switch (event.type) {
      case "message_start":
        model = event.message?.model || model
        return count(event.message?.usage)
      case "content_block_start":
        return begin(event)
      case "content_block_delta":
        return more(event)
      case "content_block_stop": {
        const call = calls.get(event.index)
        return call === undefined ? none : Either.right(end(event.index, call))
      }
      case "message_delta": {
        const counted = count(event.usage)
        reason = event.delta?.stop_reason || reason
        return reason === "refusal"
          ? Either.left(refusal(event.delta?.stop_details, usageOf(usage), context))
          : counted
      }
      case "message_stop":
        return Either.right([
          ...Array.from(calls).flatMap(([index, call]) => end(index, call)),
          StreamPart.finish(defined({ finishReason: finishReason(reason ?? ""), model }))
        ])
    }
  }

  return {
    event: ({ data, event }) => {
      const json = parse(data)
      const record = asRecord(json?.value)
      const type = record?.["type"] ?? event
      if (type === "ping") return none
      if (event === "error") return Either.left(fromEvent(data, context))
      if (record === undefined) return unreadable(`an event is not a JSON object (${data.length} characters)`)
      if (known.has(type)) {
        const decoded = decode(record["type"] === type ? record : { ...record, type })
        return Either.isLeft(decoded) ? unreadable(wrongShape(decoded.left, "an event")) : read(decoded.right)
      }
      const error = inside(record, context)
      if (error !== undefined) return Either.left(error)
      return carriesText(record) ? unreadable("text came in an event of an unknown kind") : none
    },
    end: () =>
      Either.left(
        new LlmError.StreamInterrupted({ ...commonOf(context), detail: "the stream ended without message_stop" })
      )
  }
}
