/** The tokens used, and why the model stopped. */
import { type FinishReason, Usage } from "perdure/LlmResponse"
import { asCount, asRecord, defined, type JsonRecord } from "../json.ts"

/**
 * The tokens used, as far as the numbers make sense. Anthropic counts what was read from a cache and what was written
 * into one apart from `input_tokens`.
 */
export const usageOf = (value: unknown): Usage => {
  const usage = asRecord(value)
  const fresh = asCount(usage?.["input_tokens"])
  const cached = asCount(usage?.["cache_read_input_tokens"])
  const written = asCount(usage?.["cache_creation_input_tokens"])
  return new Usage(
    defined({
      inputTokens: fresh === undefined ? undefined : fresh + (cached ?? 0) + (written ?? 0),
      outputTokens: asCount(usage?.["output_tokens"]),
      cachedInputTokens: cached,
      cacheWriteTokens: written,
      reasoningTokens: asCount(asRecord(usage?.["output_tokens_details"])?.["thinking_tokens"])
    }),
    true
  )
}

/** Later counts over earlier ones: they are totals, and a count that is left out or null has not changed. */
export const later = (before: JsonRecord, value: unknown): JsonRecord => ({
  ...before,
  ...Object.fromEntries(Object.entries(asRecord(value) ?? {}).filter(([, count]) => count !== null))
})

/** `pause_turn` and whatever comes later are for the program to look into: the answer's `extras` name them. */
export const finishReason = (reason: string): FinishReason => {
  switch (reason) {
    case "end_turn":
    case "stop_sequence":
      return "stop"
    case "max_tokens":
    case "model_context_window_exceeded":
      return "length"
    case "tool_use":
      return "toolCalls"
    default:
      return "other"
  }
}
