/** What the end of a call means for the quota that it was made under. */
import * as Duration from "effect/Duration"
import { classify, mayHaveActed } from "../Disposition.ts"
import * as LlmError from "../LlmError.ts"
import type { Usage } from "../LlmResponse.ts"
import type { Limit, RateLimits } from "../RateLimits.ts"
import type { Ended } from "./opened.ts"
import { type Unit, units } from "./quota.ts"
import type { Told } from "./quotaLearning.ts"

interface Used {
  readonly requests: number
  readonly input: number | undefined
  readonly output: number | undefined
}

const nothing: Used = { requests: 0, input: 0, output: 0 }

const usedOf = (usage: Usage | undefined, countCached: boolean): Used | undefined => {
  if (usage === undefined) return undefined
  const { cachedInputTokens = 0, inputTokens, outputTokens } = usage
  if (inputTokens === undefined && outputTokens === undefined) return undefined
  return {
    requests: 1,
    input: inputTokens === undefined || countCached ? inputTokens : Math.max(0, inputTokens - cachedInputTokens),
    output: outputTokens
  }
}

/** What a call has used; nothing known, where the estimate must do. */
export const usedBy = (ended: Ended, countCached: boolean): Used | undefined => {
  switch (ended._tag) {
    case "Answered":
      return usedOf(ended.usage, countCached)
    case "Failed":
      return usedOf(ended.usage, countCached) ??
        (LlmError.is(ended.error) && !mayHaveActed(ended.error) ? nothing : undefined)
    case "Died":
    case "Interrupted":
      return undefined
  }
}

/** How long the provider asks to be left alone, where it refused for its limits. */
export const blockOf = (ended: Ended): Duration.Duration | undefined => {
  if (ended._tag !== "Failed" || !LlmError.is(ended.error) || ended.error._tag === "AllTargetsFailed") return undefined
  const { retryAfter } = ended.error
  return retryAfter !== undefined && Duration.isFinite(retryAfter) && classify(ended.error).blame === "quota"
    ? retryAfter
    : undefined
}

const limitOf = ({ limit, remaining, reset }: Limit): Told => ({
  limit,
  remaining,
  reset: reset === undefined || !Duration.isFinite(reset) ? undefined : Duration.toMillis(reset)
})

const toldOf = (limits: RateLimits): { readonly [U in Unit]?: Told | undefined } => {
  const told: { [U in Unit]?: Told } = {}
  for (const unit of units) {
    const limit = limits[unit]
    if (limit !== undefined) told[unit] = limitOf(limit)
  }
  return told
}

/** What the provider told of its limits. */
export const toldBy = (ended: Ended): { readonly [U in Unit]?: Told | undefined } | undefined => {
  const limits = ended._tag === "Answered"
    ? ended.rateLimits
    : ended._tag === "Failed" && LlmError.is(ended.error) && ended.error._tag !== "AllTargetsFailed"
    ? ended.error.rateLimits
    : undefined
  return limits === undefined ? undefined : toldOf(limits)
}
