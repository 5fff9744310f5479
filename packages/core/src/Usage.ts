/**
 * How many tokens were used, for what.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const tokens = Schema.optional(Schema.Int.pipe(Schema.nonNegative()))

/**
 * The tokens a call used, as far as the provider says.
 *
 * @since 0.1.0
 * @category models
 */
export class Usage extends Schema.Class<Usage>("perdure/Usage")({
  /** All tokens read, those from a cache included. */
  inputTokens: tokens,
  /** All tokens written, those of reasoning included. */
  outputTokens: tokens,
  /** The part of `inputTokens` that came from a cache. */
  cachedInputTokens: tokens,
  /** The part of `inputTokens` that was written into a cache. */
  cacheWriteTokens: tokens,
  /** The part of `outputTokens` that was reasoning. */
  reasoningTokens: tokens
}) {
  /** Read and written together, when both are known. */
  get totalTokens(): number | undefined {
    return this.inputTokens === undefined || this.outputTokens === undefined
      ? undefined
      : this.inputTokens + this.outputTokens
  }
}

const fields = ["inputTokens", "outputTokens", "cachedInputTokens", "cacheWriteTokens", "reasoningTokens"] as const

/**
 * The sum of several. A number is there when any of them has it.
 *
 * @since 0.1.0
 * @category combinators
 */
export const sum = (all: Iterable<Usage>): Usage => {
  const total: { -readonly [K in keyof Usage]?: number } = {}
  for (const usage of all) {
    for (const field of fields) {
      const tokens = usage[field]
      if (tokens !== undefined) total[field] = (total[field] ?? 0) + tokens
    }
  }
  return new Usage(total)
}
