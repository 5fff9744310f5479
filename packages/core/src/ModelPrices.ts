/**
 * What tokens cost, by provider and model, from a table of your own: prices change too often for a library to know them.
 *
 * A model that is not in the table has no price, and what it costs is not known, which is never the same as nothing.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { instance } from "./internal/copy.ts"
import { costOf, nanosPerUnit, pricesKey } from "./internal/cost.ts"
import { ByModel } from "./internal/modelNames.ts"
import type { Usage } from "./LlmResponse.ts"
import * as Options from "./Options.ts"
import type { Target } from "./Receipt.ts"

/** A bound against slips; a million tokens cost less in every currency. */
const highest = 1e9

const priceWords = `a number from 0 to ${highest.toLocaleString("en")}, for a million tokens`

const amount = Schema.Number.pipe(Schema.between(0, highest)).annotations({
  message: () => ({ message: priceWords, override: true })
})

const count = Schema.Int.pipe(Schema.nonNegative()).annotations({
  message: () => ({ message: "a whole number of tokens", override: true })
})

const rates = {
  /** What input tokens cost that were neither read from a cache nor written into one. */
  input: amount,
  /** Input tokens read from a cache; as `input` where it is left out. */
  cachedInput: Schema.optional(amount),
  /** Input tokens written into a cache; as `input` where it is left out. */
  cacheWrite: Schema.optional(amount),
  /** Output tokens but for reasoning. */
  output: amount,
  /** Output tokens of reasoning; as `output` where it is left out. */
  reasoning: Schema.optional(amount)
}

/**
 * What a million tokens of a model cost, in units of the table's currency, told apart to six decimals. A request with more
 * input tokens than a tier's `above`, cached ones included, costs what that tier says, all of it; of several tiers the
 * highest counts.
 *
 * @since 0.1.0
 * @category models
 */
export const Price = Schema.Struct({
  ...rates,
  tiers: Schema.optional(Schema.Array(Schema.Struct({ above: count, ...rates })))
})

/**
 * @since 0.1.0
 * @category models
 */
export type Price = typeof Price.Type

const name = Schema.String.pipe(Schema.filter((text) => text.trim() !== "")).annotations({
  message: () => ({ message: "a non-empty string", override: true })
})

/**
 * Prices by provider and model, all in one currency. A model's name also stands for its dated versions: `gpt-4o` for
 * `gpt-4o-2024-08-06`, `claude-sonnet-4` for `claude-sonnet-4-20250514`, `gemini-2.0-flash` for `gemini-2.0-flash-001`.
 * A version is a border of `-`, `@` or `:` and then a date, three or four digits, or `latest`; nothing else is, since
 * `gpt-4o-mini` costs not what `gpt-4o` does. An exact name comes before one without its version, and that before a name
 * with a `*` at its end, which stands for all that begin so; of several, the longest.
 *
 * @since 0.1.0
 * @category models
 */
export const Table = Schema.Struct({
  /** @default "USD" */
  currency: Schema.optional(name),
  models: Schema.Record({ key: Schema.String, value: Schema.Record({ key: Schema.String, value: Price }) })
})

/**
 * @since 0.1.0
 * @category models
 */
export type Table = typeof Table.Type

/**
 * Prices to be asked for.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** For example `USD`. */
  readonly currency: string
  /** The price of a model, or nothing where it has none. Pure, and cheap enough for every call. */
  readonly find: (target: Target) => Price | undefined
}

/**
 * The prices that a program has. Spend limits ask for them, and calls made with them in their context know what they cost.
 *
 * @since 0.1.0
 * @category tags
 */
export class ModelPrices extends Context.Tag(pricesKey)<ModelPrices, Service>() {}

/**
 * A table of prices that cannot be used, with everything that is wrong with it.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidPrices extends Data.TaggedError("InvalidPrices")<{
  readonly problems: ReadonlyArray<{
    /** Where, for example `models.openai.gpt-4o.input`; empty for the whole. */
    readonly path: string
    /** For example `a number from 0 to 1,000,000,000, for a million tokens`. */
    readonly allowed: string
  }>
}> {
  override get message(): string {
    return `these prices cannot be used: ${
      this.problems.map(({ allowed, path }) => `${path === "" ? "the table" : path} must be ${allowed}`).join("; ")
    }`
  }
}

/**
 * An amount of money: what a call or several cost.
 *
 * @since 0.1.0
 * @category models
 */
export class Cost extends Schema.Class<Cost>("perdure/Cost")({
  /** Billionths of the currency's unit, a whole number so that sums are exact. A call is rounded to the nearest. */
  nanos: Schema.Int.pipe(Schema.nonNegative()),
  /** For example `USD`. */
  currency: Schema.String
}) {
  /** In units of the currency: to show, not to add up. */
  get amount(): number {
    return this.nanos / nanosPerUnit
  }
  /** For example `0.0123 USD`. */
  override toString(): string {
    return `${this.amount.toFixed(9).replace(/\.?0+$/, "")} ${this.currency}`
  }
}

const decode = Schema.decodeUnknownEither(Table, { errors: "all", onExcessProperty: "error" })

const fromTable = ({ currency = "USD", models }: Table): Service => {
  const providers = new Map(
    Object.entries(models).map(([provider, prices]) => [provider, new ByModel(Object.entries(prices))] as const)
  )
  return { currency, find: ({ model, provider }) => providers.get(provider)?.find(model) }
}

/** What is wrong, and where. */
const issuesOf = (error: ParseResult.ParseError) =>
  ParseResult.ArrayFormatter.formatErrorSync(error).map(({ _tag, message, path }) => ({
    path,
    allowed: _tag === "Missing"
      ? "a value, which is missing"
      : _tag === "Unexpected"
      ? "nothing: no field has this name"
      : message.startsWith("Expected")
      ? "an object"
      : message
  }))

/**
 * Prices from a table in the program. A table that is not what its type says throws `InvalidOption`.
 *
 * @example
 * ```ts
 * import { ModelPrices } from "perdure"
 *
 * const prices = ModelPrices.make({
 *   models: {
 *     openai: { "gpt-4o": { input: 2.5, cachedInput: 1.25, output: 10 } },
 *     anthropic: { "claude-sonnet-4": { input: 3, cachedInput: 0.3, cacheWrite: 3.75, output: 15 } }
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (table: Table): Service => {
  const decoded = decode(table)
  if (Either.isRight(decoded)) return fromTable(decoded.right)
  const [first = { path: [], allowed: "an object" }] = issuesOf(decoded.left)
  return Options.refuse(
    first.path.length === 0 ? "ModelPrices.make(table)" : `ModelPrices.make({ ${first.path.join(".")} })`,
    first.path.reduce<unknown>((value, key) => (value as { readonly [K in PropertyKey]: unknown })[key], table),
    first.allowed
  )
}

/**
 * A layer of {@link make}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (table: Table): Layer.Layer<ModelPrices> => Layer.sync(ModelPrices, () => make(table))

/**
 * Prices from JSON: a text as a file has it, or a value that was parsed already. Fails with `InvalidPrices`, which names
 * everything that is wrong, a misspelt field included.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromJson = (json: unknown): Effect.Effect<Service, InvalidPrices> =>
  Effect.suspend(() => {
    const value = typeof json === "string" ? parse(json) : Either.right(json)
    return Either.match(Either.flatMap(value, (value) => Either.mapLeft(decode(value), told)), {
      onLeft: (problems) => new InvalidPrices({ problems }),
      onRight: (table) => Effect.succeed(fromTable(table))
    })
  })

const told = (error: ParseResult.ParseError): InvalidPrices["problems"] =>
  issuesOf(error).map(({ allowed, path }) => ({ path: path.join("."), allowed }))

/** The parser's own words are left out: they quote the text, whatever it was. */
const parse = (text: string): Either.Either<unknown, InvalidPrices["problems"]> =>
  Either.try({ try: () => JSON.parse(text) as unknown, catch: () => [{ path: "", allowed: "JSON" }] })

/**
 * A layer of {@link fromJson}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerJson = (json: unknown): Layer.Layer<ModelPrices, InvalidPrices> =>
  Layer.effect(ModelPrices, fromJson(json))

/**
 * What a usage costs, by the price of the model that answered where it is given and has one, else of the one asked.
 * Nothing where neither has a price, or where the usage lacks its input or its output tokens.
 *
 * @since 0.1.0
 * @category reading
 */
export const cost = (prices: Service, target: Target, usage: Usage, served?: string): Cost | undefined => {
  const nanos = costOf(prices, target, usage, served)
  return nanos === undefined ? undefined : instance(Cost, { nanos, currency: prices.currency })
}
