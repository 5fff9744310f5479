/**
 * What calls cost, in whole billionths of the currency's unit: a token of the cheapest models is a few dozen of them, and
 * nine million units are still a safe integer, so sums do not drift however many there are.
 */
import type * as Fiber from "effect/Fiber"
import type { Usage } from "../LlmResponse.ts"
import type { Price, Service } from "../ModelPrices.ts"
import type { Target } from "../Receipt.ts"

export const nanosPerUnit = 1e9

/** The counts of a usage. Cached, written and reasoned tokens are parts of the others, by whichever provider. */
export type Tokens = {
  readonly [
    K in "inputTokens" | "outputTokens" | "cachedInputTokens" | "cacheWriteTokens" | "reasoningTokens"
  ]?: Usage[K]
}

type Rates = Omit<Price, "tiers">

/** A price per million tokens is as many billionths a thousand tokens; six decimals of it are told apart. */
const perToken = (price: number): number => Math.round(price * 1e6)

/** Below nine million, where whole numbers end. */
const whole = (picos: number): number => Math.min(Math.round(picos / 1000), Number.MAX_SAFE_INTEGER)

export const nanosOf = (units: number): number => Math.min(Math.round(units * nanosPerUnit), Number.MAX_SAFE_INTEGER)

export const unitsOf = (nanos: number): number => nanos / nanosPerUnit

/** The rates for a request of so many tokens: those of the highest tier that it is above. */
const ratesOf = (price: Price, inputTokens: number): Rates => {
  let rates: Rates = price
  let above = -1
  for (const tier of price.tiers ?? []) {
    if (inputTokens > tier.above && tier.above > above) {
      rates = tier
      above = tier.above
    }
  }
  return rates
}

/** What is left of a count without its parts. Parts that are more than the whole were evidently counted apart from it. */
const rest = (count: number, parts: number): number => parts > count ? count : count - parts

/** What a usage costs, in billionths; nothing where there is no price or a count is missing, since that is not zero. */
export const cost = (usage: Tokens | undefined, price: Price | undefined): number | undefined => {
  if (usage === undefined || price === undefined) return undefined
  const { cacheWriteTokens = 0, cachedInputTokens = 0, inputTokens, outputTokens, reasoningTokens = 0 } = usage
  if (inputTokens === undefined || outputTokens === undefined) return undefined
  const { cacheWrite, cachedInput, input, output, reasoning } = ratesOf(price, inputTokens)
  return whole(
    rest(inputTokens, cachedInputTokens + cacheWriteTokens) * perToken(input) +
      cachedInputTokens * perToken(cachedInput ?? input) +
      cacheWriteTokens * perToken(cacheWrite ?? input) +
      rest(outputTokens, reasoningTokens) * perToken(output) +
      reasoningTokens * perToken(reasoning ?? output)
  )
}

/** The price of the model that answered, by the name the provider gave it, else of the one that was asked. */
export const priceOf = (prices: Service, target: Target, served?: string): Price | undefined =>
  (served === undefined ? undefined : prices.find({ provider: target.provider, model: served })) ?? prices.find(target)

/** What one use of a target costs, in billionths of the prices' currency; nothing where that is not known. */
export const costOf = (
  prices: Service | undefined,
  target: Target,
  usage: Tokens | undefined,
  served?: string
): number | undefined =>
  prices === undefined || usage === undefined ? undefined : cost(usage, priceOf(prices, target, served))

/** The key of the tag, spelled here so that what every call needs does not need the whole module. */
export const pricesKey = "perdure/ModelPrices"

/** The prices that a fiber has in its context, without an effect. */
export const pricesIn = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Service | undefined =>
  fiber.currentContext.unsafeMap.get(pricesKey) as Service | undefined
