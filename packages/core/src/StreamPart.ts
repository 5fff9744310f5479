/**
 * The pieces of a streamed answer, in one union for all providers.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type { AssistantPart, ReasoningPart } from "./LlmRequest.ts"
import { FinishReason, LlmResponse, Usage } from "./LlmResponse.ts"
import { RateLimits } from "./RateLimits.ts"
import * as Receipt from "./Receipt.ts"

/** More of the answer's text. @since 0.1.0 @category parts */
export const TextDelta = Schema.TaggedStruct("TextDelta", { text: Schema.String })

/** More of the model's reasoning. @since 0.1.0 @category parts */
export const ReasoningDelta = Schema.TaggedStruct("ReasoningDelta", {
  text: Schema.String,
  /** The provider's proof that it wrote this piece of reasoning, to be sent back unchanged; it ends the piece. */
  signature: Schema.optional(Schema.String),
  /** Whose signature it is, by the provider's name: no other provider is sent it. */
  provider: Schema.optional(Schema.String)
})

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
  /** What the provider said about its rate limits, when the stream began. */
  rateLimits: Schema.optional(RateLimits),
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
 * The last part, with its receipt still to come.
 *
 * @since 0.1.0
 * @category constructors
 */
export const finish = (fields: Omit<typeof Finish.Type, "_tag" | "receipt">): typeof Finish.Type => ({
  ...fields,
  _tag: "Finish",
  receipt: Receipt.empty
})

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

/**
 * Content as the parts of a stream: text and reasoning in one part each, a tool call from its start to its end.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromContent = (content: ReadonlyArray<AssistantPart>): ReadonlyArray<StreamPart> =>
  content.flatMap((part): ReadonlyArray<StreamPart> => {
    switch (part._tag) {
      case "Text":
        return [{ _tag: "TextDelta", text: part.text }]
      case "Reasoning":
        return [{ ...part, _tag: "ReasoningDelta" }]
      case "ToolCall":
        return [
          { _tag: "ToolCallStart", id: part.id, name: part.name },
          { _tag: "ToolCallDelta", id: part.id, arguments: part.arguments },
          { _tag: "ToolCallEnd", id: part.id }
        ]
    }
  })

/**
 * A complete answer as the parts of a stream, each piece of content in one part; usage and `Finish` come last.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromResponse = (response: LlmResponse): ReadonlyArray<StreamPart> => [
  ...fromContent(response.content),
  { _tag: "Usage", usage: response.usage },
  finish({
    finishReason: response.finishReason,
    model: response.model,
    ...(response.rateLimits === undefined ? {} : { rateLimits: response.rateLimits })
  })
]

/** Whether a piece of reasoning goes on: it was not signed yet, and nothing says that another provider wrote the rest. */
const goesOn = (before: typeof ReasoningPart.Type, next: typeof ReasoningPart.Type): boolean =>
  before.signature === undefined &&
  (before.provider === undefined || next.provider === undefined || before.provider === next.provider)

/**
 * The complete answer that the parts of a stream make up: deltas joined, tool calls put together, the last usage. What
 * came before a `Restarted` part is left out. A piece of reasoning ends with its signature, and where another provider's
 * begins. The provider is the one given, and so is the model unless the last part names one.
 *
 * @since 0.1.0
 * @category conversions
 */
export const toResponse = (parts: Iterable<StreamPart>, target: Receipt.Target): LlmResponse => {
  let content: Array<AssistantPart> = []
  let usage = new Usage({})
  let finish: typeof Finish.Type | undefined
  const append = (part: AssistantPart) => {
    const last = content.at(-1)
    if (part._tag === "Text" && last?._tag === "Text") {
      content[content.length - 1] = { ...last, text: last.text + part.text }
    } else if (part._tag === "Reasoning" && last?._tag === "Reasoning" && goesOn(last, part)) {
      const provider = part.provider ?? last.provider
      content[content.length - 1] = {
        ...last,
        ...part,
        text: last.text + part.text,
        ...(provider === undefined ? {} : { provider })
      }
    } else content.push(part)
  }
  for (const part of parts) {
    switch (part._tag) {
      case "TextDelta":
        append({ _tag: "Text", text: part.text })
        break
      case "ReasoningDelta":
        append({ ...part, _tag: "Reasoning" })
        break
      case "ToolCallStart":
        content.push({ _tag: "ToolCall", id: part.id, name: part.name, arguments: "" })
        break
      case "ToolCallDelta":
        content = content.map((one) =>
          one._tag === "ToolCall" && one.id === part.id ? { ...one, arguments: one.arguments + part.arguments } : one
        )
        break
      case "ToolCallEnd":
        break
      case "Usage":
        usage = part.usage
        break
      case "Finish":
        finish = part
        break
      case "Restarted":
        content = []
        usage = new Usage({})
    }
  }
  return new LlmResponse({
    provider: target.provider,
    model: finish?.model ?? target.model,
    content: content.filter((part) =>
      part._tag === "ToolCall" || part.text !== "" || (part._tag === "Reasoning" && part.signature !== undefined)
    ),
    finishReason: finish?.finishReason ?? "other",
    usage,
    ...(finish?.rateLimits === undefined ? {} : { rateLimits: finish.rateLimits }),
    ...(finish === undefined ? {} : { receipt: finish.receipt })
  })
}
