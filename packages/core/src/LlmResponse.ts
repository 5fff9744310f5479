/**
 * What a model answered, in one shape for all providers.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { AssistantPart, JsonObject, type ToolCallPart } from "./LlmRequest.ts"
import { RateLimits } from "./RateLimits.ts"
import * as Receipt from "./Receipt.ts"
import { Usage } from "./Usage.ts"

export { Usage } from "./Usage.ts"

/**
 * Why the model stopped: it was done (`stop`), ran into the token limit (`length`), wants tools called (`toolCalls`), or
 * for a reason of the provider's own (`other`). An answer stopped by a content filter is a `ContentFiltered` failure.
 *
 * @since 0.1.0
 * @category models
 */
export const FinishReason = Schema.Literal("stop", "length", "toolCalls", "other")

/** @since 0.1.0 @category models */
export type FinishReason = typeof FinishReason.Type

/**
 * A complete answer.
 *
 * @since 0.1.0
 * @category models
 */
export class LlmResponse extends Schema.Class<LlmResponse>("perdure/LlmResponse")({
  /** The provider's id of the answer. */
  id: Schema.optional(Schema.String),
  /** The provider that answered. */
  provider: Schema.String,
  /** The model that answered, by the name the provider gives it. */
  model: Schema.String,
  /** Text, reasoning and tool calls, in the order the model wrote them. */
  content: Schema.Array(AssistantPart),
  finishReason: FinishReason,
  usage: Schema.optionalWith(Usage, { default: () => new Usage({}) }),
  /** What the provider said about its rate limits. */
  rateLimits: Schema.optional(RateLimits),
  /** Fields of the provider's answer that have no place of their own here, just as they came. */
  extras: Schema.optionalWith(JsonObject, { default: () => ({}) }),
  /** The story of the call; empty on a response that was built by hand and not returned by a call. */
  receipt: Receipt.Field
}) {
  /** The answer's text without reasoning and tool calls; empty when the model only asked for tools. */
  get text(): string {
    let text = ""
    for (const part of this.content) if (part._tag === "Text") text += part.text
    return text
  }

  /** The tools that the model wants called. */
  get toolCalls(): ReadonlyArray<typeof ToolCallPart.Type> {
    return this.content.filter((part) => part._tag === "ToolCall")
  }
}
