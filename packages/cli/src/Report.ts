/**
 * `perdure report`: a file of receipts as one HTML page.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type Failed, UsageError } from "./CliError.ts"
import type { ReportInput } from "./Commands.ts"
import * as Figures from "./Figures.ts"
import type { Io } from "./Io.ts"
import * as Prices from "./Prices.ts"
import * as ReceiptFile from "./ReceiptFile.ts"
import * as ReportPage from "./ReportPage.ts"
import * as Statistics from "./Statistics.ts"
import type * as Terminal from "./Terminal.ts"
import * as Text from "./Text.ts"
import * as Words from "./Words.ts"

/** Stands for standard input, and for standard output. */
const dash = "-"

const told = ({ calls, endings }: Statistics.Statistics): string =>
  [
    Words.count(calls, "call"),
    `${Figures.share(endings.direct + endings.fallback, calls - endings.interrupted)} answered`,
    `${Figures.share(endings.fallback, calls - endings.interrupted)} by a fallback`
  ].join(", ")

/** A line that is not cut, however long the file's name. */
const say = (terminal: Terminal.Terminal, ...line: Text.Line): void =>
  terminal.write(`${Text.render(line, terminal.colour)}\n`)

const none = (name: string, bad: number): UsageError =>
  new UsageError({
    line: bad === 0
      ? `${name} is empty: it has no receipts`
      : `${name} has no receipts: ${
        bad === 1 ? "its only line is none" : `none of its ${Figures.count(bad)} lines is one`
      }`
  })

/**
 * Writes the page, and says in one line what is in it. Lines that hold no receipt are counted and named on standard error.
 * Prices are for attempts that have tokens and no cost.
 *
 * @since 0.1.0
 * @category running
 */
export const run = ({ file, out, prices: priceFile }: ReportInput, io: Io): Effect.Effect<void, Failed | UsageError> =>
  Effect.gen(function*() {
    const prices = yield* Effect.transposeMapOption(priceFile, Prices.read)
    const text = yield* file === dash ? io.stdin : ReceiptFile.read(file)
    const { bad, receipts } = ReceiptFile.parse(text)
    const [first, ...rest] = Option.match(prices, {
      onNone: () => receipts,
      onSome: (prices) => receipts.map((receipt) => Prices.priced(receipt, prices))
    })
    const name = file === dash ? "standard input" : Text.oneLine(file)
    if (first === undefined) return yield* none(name, bad.length)
    const statistics = Statistics.make([first, ...rest])
    const page = ReportPage.render(statistics, { name, bad, prices: Option.getOrUndefined(priceFile) })
    const skipped = ReportPage.leftOut(bad)
    if (skipped !== undefined) say(io.err, Text.span(skipped, "busy"))
    if (out === dash) return io.out.write(page)
    yield* ReceiptFile.write(out, page)
    say(io.out, Text.span(`${Text.oneLine(out)}: `, "accent"), Text.span(told(statistics)))
  })
