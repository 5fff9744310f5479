/** What the end of a call means for the limit that it was made under. */
import type * as Exit from "effect/Exit"
import { mayHaveActed } from "../Disposition.ts"
import * as LlmError from "../LlmError.ts"
import { LlmResponse } from "../LlmResponse.ts"
import type { Service as Prices } from "../ModelPrices.ts"
import type { Target } from "../Receipt.ts"
import { cost, priceOf, type Tokens } from "./cost.ts"
import type { Ended } from "./opened.ts"
import type { Estimate } from "./spendOptions.ts"
import { charactersPerToken } from "./tokens.ts"

/** What was used, with the estimate for what the provider has not told; nothing where it told nothing. */
const known = (usage: Tokens | undefined, estimate: Estimate | undefined): Tokens | undefined =>
  usage === undefined || (usage.inputTokens === undefined && usage.outputTokens === undefined)
    ? undefined
    : { ...estimate, ...usage }

/**
 * What a failed call has used. Anthropic tells of the first output tokens when a stream begins and of all at its end, so
 * that of a stream cut in between only the text says how many there were.
 */
const cutShort = (error: LlmError.LlmError, usage: Tokens | undefined): Tokens | undefined => {
  if (usage === undefined || error._tag === "AllTargetsFailed" || error.partial === "") return usage
  const seen = Math.ceil(error.partial.length / charactersPerToken)
  return { ...usage, outputTokens: Math.max(usage.outputTokens ?? 0, seen) }
}

/** Who answered, where the answer or the failure says so. */
export const answeredBy = (exit: Exit.Exit<unknown, unknown>): Target | undefined => {
  if (exit._tag === "Success") return exit.value instanceof LlmResponse ? exit.value : undefined
  return exit.cause._tag === "Fail" && LlmError.is(exit.cause.error) ? exit.cause.error : undefined
}

/** What a call has cost, in billionths; nothing where that is not known, and the estimate must do. */
export const actual = (
  prices: Prices,
  target: Target | undefined,
  by: Target | undefined,
  estimate: Estimate | undefined,
  ended: Ended
): number | undefined => {
  const price = (served: string | undefined) =>
    (by === undefined ? undefined : prices.find(by)) ??
      (target === undefined ? undefined : priceOf(prices, target, served))
  switch (ended._tag) {
    case "Answered":
      return cost(known(ended.usage, estimate), price(ended.model))
    case "Failed": {
      const { error } = ended
      if (!LlmError.is(error)) return undefined
      const usage = known(cutShort(error, ended.usage), estimate)
      if (usage !== undefined) return cost(usage, price(undefined))
      return mayHaveActed(error) ? undefined : 0
    }
    case "Died":
    case "Interrupted":
      return undefined
  }
}
