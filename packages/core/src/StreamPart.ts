/**
 * The pieces of a streamed answer, in one union for all providers.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { FinishReason, Usage } from "./LlmResponse.ts"
import * as Receipt from "./Receipt.ts"

/** More of the answer's text. @since 0.1.0 @category parts */
export const TextDelta = Schema.TaggedStruct("TextDelta", { text: Schema.String })

/** More of the model's reasoning. @since 0.1.0 @category parts */
export const ReasoningDelta = Schema.TaggedStruct("ReasoningDelta", { text: Schema.String })

/** The model begins to ask for a tool. @since 0.1.0 @category parts */
export const ToolCallStart = Schema.TaggedStruct("ToolCallStart", { id: Schema.String, name: Schema.String })

/** More of a tool call's arguments, a piece of JSON text. @since 0.1.0 @category parts */
export const ToolCallDelta = Schema.TaggedStruct("ToolCallDelta", { id: Schema.String, arguments: Schema.String })

/** A tool call is complete. @since 0.1.0 @category parts */
export const ToolCallEnd = Schema.TaggedStruct("ToolCallEnd", { id: Schema.String })

/** The tokens used so far; the last one counts. @since 0.1.0 @category parts */
export const UsagePart = Schema.TaggedStruct("Usage", { usage: Usage })

/** The answer is complete. It is the last part of every stream that succeeds. @since 0.1.0 @category parts */
export const Finish = Schema.TaggedStruct("Finish", {
  finishReason: FinishReason,
  /** The model that answered, by the name the provider gives it. */
  model: Schema.optional(Schema.String),
  /** The story of the call; empty until the stream is read through an `LlmProvider`. */
  receipt: Receipt.Field
})

/** What came before is void: the answer starts again, from another target. @since 0.1.0 @category parts */
export const Restarted = Schema.TaggedStruct("Restarted", { provider: Schema.String, model: Schema.String })

/**
 * A piece of a streamed answer.
 *
 * @since 0.1.0
 * @category models
 */
export const StreamPart = Schema.Union(
  TextDelta,
  ReasoningDelta,
  ToolCallStart,
  ToolCallDelta,
  ToolCallEnd,
  UsagePart,
  Finish,
  Restarted
)

/** @since 0.1.0 @category models */
export type StreamPart = typeof StreamPart.Type

/**
 * Whether a part is output, so that a stream which has handed it out is committed: text, reasoning and tool calls are;
 * usage is not.
 *
 * @since 0.1.0
 * @category guards
 */
export const isOutput = (part: StreamPart): boolean => {
  switch (part._tag) {
    case "TextDelta":
    case "ReasoningDelta":
      return part.text !== ""
    case "ToolCallStart":
    case "ToolCallDelta":
    case "ToolCallEnd":
      return true
    case "Usage":
    case "Finish":
    case "Restarted":
      return false
  }
}
