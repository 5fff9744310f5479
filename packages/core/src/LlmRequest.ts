/**
 * What is asked of a model, in one shape for all providers.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * A piece of text.
 *
 * @since 0.1.0
 * @category parts
 */
export const TextPart = Schema.TaggedStruct("Text", { text: Schema.String })

/**
 * Where the bytes of an image or a file come from: an address that the provider fetches, or base64 sent along.
 *
 * @since 0.1.0
 * @category parts
 */
export const Source = Schema.Union(
  Schema.TaggedStruct("Url", { url: Schema.String.pipe(Schema.nonEmptyString()) }),
  Schema.TaggedStruct("Base64", {
    data: Schema.String,
    /** For example `image/png`. */
    mediaType: Schema.String.pipe(Schema.nonEmptyString())
  })
)

/**
 * An image for the model to look at.
 *
 * @since 0.1.0
 * @category parts
 */
export const ImagePart = Schema.TaggedStruct("Image", {
  source: Source,
  /** How closely to look, where the provider knows the difference. */
  detail: Schema.optional(Schema.Literal("auto", "low", "high"))
})

/**
 * A document for the model to read.
 *
 * @since 0.1.0
 * @category parts
 */
export const FilePart = Schema.TaggedStruct("File", { source: Source, name: Schema.optional(Schema.String) })

/**
 * A model's wish to have a tool called.
 *
 * @since 0.1.0
 * @category parts
 */
export const ToolCallPart = Schema.TaggedStruct("ToolCall", {
  /** The provider's id of this call, repeated by the result. */
  id: Schema.String,
  name: Schema.String,
  /** The arguments as JSON text, just as the model wrote them; it may be invalid. */
  arguments: Schema.String
})

/**
 * A model's reasoning, where the provider shows it.
 *
 * @since 0.1.0
 * @category parts
 */
export const ReasoningPart = Schema.TaggedStruct("Reasoning", {
  text: Schema.String,
  /** The provider's proof that it wrote this, to be sent back unchanged. */
  signature: Schema.optional(Schema.String),
  /**
   * Whose signature it is, by the provider's name. No other provider is sent it, since it could only refuse it; without a
   * name, whoever is asked is sent it.
   */
  provider: Schema.optional(Schema.String)
})

/** @since 0.1.0 @category parts */
export const UserPart = Schema.Union(TextPart, ImagePart, FilePart)
/** @since 0.1.0 @category parts */
export type UserPart = typeof UserPart.Type

/** @since 0.1.0 @category parts */
export const AssistantPart = Schema.Union(TextPart, ReasoningPart, ToolCallPart)
/** @since 0.1.0 @category parts */
export type AssistantPart = typeof AssistantPart.Type

/**
 * Instructions that frame the conversation.
 *
 * @since 0.1.0
 * @category messages
 */
export const SystemMessage = Schema.TaggedStruct("System", { text: Schema.String })

/**
 * What the user says and shows.
 *
 * @since 0.1.0
 * @category messages
 */
export const UserMessage = Schema.TaggedStruct("User", { content: Schema.NonEmptyArray(UserPart) })

/**
 * What the model said before.
 *
 * @since 0.1.0
 * @category messages
 */
export const AssistantMessage = Schema.TaggedStruct("Assistant", { content: Schema.NonEmptyArray(AssistantPart) })

/**
 * The result of one tool call.
 *
 * @since 0.1.0
 * @category messages
 */
export const ToolMessage = Schema.TaggedStruct("Tool", {
  /** The `id` of the {@link ToolCallPart} that this answers. */
  toolCallId: Schema.String,
  /** The tool's name; Gemini needs it. */
  name: Schema.String,
  content: Schema.String,
  /** Whether the tool failed and `content` says how. */
  isError: Schema.optionalWith(Schema.Boolean, { default: () => false })
})

/** @since 0.1.0 @category messages */
export const Message = Schema.Union(SystemMessage, UserMessage, AssistantMessage, ToolMessage)
/** @since 0.1.0 @category messages */
export type Message = typeof Message.Type

/** A text part. @since 0.1.0 @category constructors */
export const text = (value: string): typeof TextPart.Type => TextPart.make({ text: value })

/** A system message. @since 0.1.0 @category constructors */
export const system = (value: string): Message => SystemMessage.make({ text: value })

/** A user's message, from text or from parts. @since 0.1.0 @category constructors */
export const user = (content: string | readonly [UserPart, ...Array<UserPart>]): Message =>
  UserMessage.make({ content: typeof content === "string" ? [text(content)] : content })

/** A message of the model, from text or from parts. @since 0.1.0 @category constructors */
export const assistant = (content: string | readonly [AssistantPart, ...Array<AssistantPart>]): Message =>
  AssistantMessage.make({ content: typeof content === "string" ? [text(content)] : content })

/** The result of a tool call. @since 0.1.0 @category constructors */
export const toolResult = (
  call: { readonly id: string; readonly name: string },
  content: string,
  options?: { readonly isError?: boolean | undefined }
): Message => ToolMessage.make({ toolCallId: call.id, name: call.name, content, isError: options?.isError ?? false })

/**
 * A JSON Schema, or any other JSON object.
 *
 * @since 0.1.0
 * @category models
 */
export const JsonObject = Schema.Record({ key: Schema.String, value: Schema.Unknown })

/**
 * A function that the model may ask to have called.
 *
 * @since 0.1.0
 * @category models
 */
export const Tool = Schema.Struct({
  name: Schema.String.pipe(Schema.nonEmptyString()),
  description: Schema.optional(Schema.String),
  /** The arguments, as a JSON Schema of type `object`. */
  parameters: JsonObject,
  /** Whether the provider must keep exactly to the schema, where it can. */
  strict: Schema.optional(Schema.Boolean)
})

/**
 * Whether the model may, must or must not call tools, or which one it must call.
 *
 * @since 0.1.0
 * @category models
 */
export const ToolChoice = Schema.Union(
  Schema.Literal("auto", "required", "none"),
  Schema.Struct({ name: Schema.String })
)

/**
 * The form of the answer: prose, any JSON, or JSON that fits a schema.
 *
 * @since 0.1.0
 * @category models
 */
export const ResponseFormat = Schema.Union(
  Schema.TaggedStruct("Text", {}),
  Schema.TaggedStruct("Json", {}),
  Schema.TaggedStruct("JsonSchema", {
    name: Schema.String.pipe(Schema.nonEmptyString()),
    schema: JsonObject,
    strict: Schema.optionalWith(Schema.Boolean, { default: () => true })
  })
)

const share = Schema.Number.pipe(Schema.between(0, 1))
const penalty = Schema.Number.pipe(Schema.between(-2, 2))

/**
 * A request to a model. Which model, at which provider, is the layer's affair, so that a fallback can send the same
 * request elsewhere. A field that a provider cannot honour is an `InvalidRequest` before anything is sent.
 *
 * Building one with a value outside its range throws a `ParseError` that names the field.
 *
 * @example
 * ```ts
 * import { LlmRequest } from "perdure"
 *
 * const request = LlmRequest.make({
 *   messages: [LlmRequest.system("Answer in one sentence."), LlmRequest.user("Why is the sky blue?")],
 *   temperature: 0.2,
 *   maxOutputTokens: 200
 * })
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export class LlmRequest extends Schema.Class<LlmRequest>("perdure/LlmRequest")({
  messages: Schema.NonEmptyArray(Message),
  tools: Schema.optionalWith(Schema.Array(Tool), { default: () => [] }),
  toolChoice: Schema.optional(ToolChoice),
  /** Whether the model may ask for several tools at once. */
  parallelToolCalls: Schema.optional(Schema.Boolean),
  responseFormat: Schema.optional(ResponseFormat),
  /** From 0 (steady) to 2 (wild). */
  temperature: Schema.optional(Schema.Number.pipe(Schema.between(0, 2))),
  /** Sample from the likeliest tokens that make up this share of the probability, 0 to 1. */
  topP: Schema.optional(share),
  /** Sample from this many likeliest tokens. */
  topK: Schema.optional(Schema.Int.pipe(Schema.positive())),
  frequencyPenalty: Schema.optional(penalty),
  presencePenalty: Schema.optional(penalty),
  /** Texts that end the answer when the model writes them. */
  stop: Schema.optionalWith(Schema.Array(Schema.String.pipe(Schema.nonEmptyString())), { default: () => [] }),
  /** The most tokens the answer may have. */
  maxOutputTokens: Schema.optional(Schema.Int.pipe(Schema.positive())),
  /** Makes sampling repeatable, where the provider can. */
  seed: Schema.optional(Schema.Int),
  /**
   * Whether it does no harm when the provider acts on this request twice. True for plain generation, which changes
   * nothing but the bill; set it to false when the provider runs tools with side effects. A request that is not
   * idempotent is repeated only when the provider certainly did not act on it.
   */
  idempotent: Schema.optionalWith(Schema.Boolean, { default: () => true }),
  /** Fields of one provider's own API, by the provider's name, put into its request body as they are. */
  extras: Schema.optionalWith(Schema.Record({ key: Schema.String, value: JsonObject }), { default: () => ({}) })
}) {}

/**
 * What {@link make} takes.
 *
 * @since 0.1.0
 * @category models
 */
export type Options = ConstructorParameters<typeof LlmRequest>[0]

/**
 * Anything that can be asked: a prompt, the fields of a request, or a request.
 *
 * @since 0.1.0
 * @category models
 */
export type Input = string | Options | LlmRequest

/**
 * A request from a prompt or from its fields. Throws a `ParseError` that names the field when a value is out of range.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (input: Input): LlmRequest => {
  if (input instanceof LlmRequest) return input
  if (typeof input !== "string") return new LlmRequest(input)
  // A prompt is valid as it is, and checking it would cost more than everything else on the way.
  return new LlmRequest({ messages: [{ _tag: "User", content: [{ _tag: "Text", text: input }] }] }, true)
}
