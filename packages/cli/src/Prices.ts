/**
 * Prices from a file, for the calls of a command or for receipts that have no cost.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as ModelPrices from "perdure/ModelPrices"
import * as Receipt from "perdure/Receipt"
import { UsageError } from "./CliError.ts"
import * as Figures from "./Figures.ts"
import * as ReceiptFile from "./ReceiptFile.ts"
import * as Text from "./Text.ts"
import * as Words from "./Words.ts"

/** So many problems are named; more are only counted. */
const mostNamed = 3
/** The longest that the name of a field is shown, with all that it is inside of. */
const longestPath = 120

type Problems = ModelPrices.InvalidPrices["problems"]

/** A field that may be left out is told of twice, and so is what it is in: as wrong, and as not left out. */
const once = (problems: Problems): Problems =>
  problems.filter(({ path }, index) =>
    !problems.slice(0, index).some((before) => before.path === path || before.path.startsWith(`${path}.`))
  )

const told = (error: ModelPrices.InvalidPrices): string => {
  const problems = once(error.problems)
  const more = problems.length - mostNamed
  return [
    ...problems.slice(0, mostNamed).map(({ allowed, path }) =>
      `${path === "" ? "it" : Figures.cut(path, longestPath)} must be ${allowed}`
    ),
    ...(more > 0 ? [Words.count(more, "more problem")] : [])
  ].join("; ")
}

/**
 * The prices in a file. It fails with one line, which names the file and the fields that are wrong.
 *
 * @since 0.1.0
 * @category reading
 */
export const read = (path: string): Effect.Effect<ModelPrices.Service, UsageError> =>
  Effect.flatMap(ReceiptFile.read(path), (text) =>
    Effect.mapError(
      ModelPrices.fromJson(text),
      (error) => new UsageError({ line: `${Text.oneLine(path)} cannot be used: ${told(error)}` })
    ))

/**
 * The prices in a file for the calls inside of an effect. Without a file they have those of a table, or none.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  path: Option.Option<string>,
  otherwise?: ModelPrices.Table
): Layer.Layer<never, UsageError> =>
  Option.match(path, {
    onNone: () => otherwise === undefined ? Layer.empty : ModelPrices.layer(otherwise),
    onSome: (path) => Layer.effect(ModelPrices.ModelPrices, read(path))
  })

const pricedAttempt = (attempt: Receipt.Attempt, prices: ModelPrices.Service): Receipt.Attempt => {
  const { cost, outcome, target, usage } = attempt
  if (cost !== undefined || usage === undefined) return attempt
  const served = outcome._tag === "Answered" ? outcome.model : undefined
  const found = ModelPrices.cost(prices, target, usage, served)
  return found === undefined ? attempt : new Receipt.Attempt({ ...attempt, cost: found }, { disableValidation: true })
}

/**
 * A receipt with a cost for each attempt whose tokens have a price. A cost that an attempt has already stays.
 *
 * @since 0.1.0
 * @category pricing
 */
export const priced = (receipt: Receipt.Receipt, prices: ModelPrices.Service): Receipt.Receipt =>
  new Receipt.Receipt(
    { ...receipt, attempts: receipt.attempts.map((attempt) => pricedAttempt(attempt, prices)) },
    { disableValidation: true }
  )
