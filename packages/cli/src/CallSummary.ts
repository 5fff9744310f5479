/**
 * What is told of a call when it is over.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as LlmError from "perdure/LlmError"
import * as LlmResponse from "perdure/LlmResponse"
import * as Receipt from "perdure/Receipt"
import { Failed } from "./CliError.ts"
import * as Durations from "./Durations.ts"
import type { Io } from "./Io.ts"
import * as Terminal from "./Terminal.ts"
import * as Text from "./Text.ts"
import * as Timeline from "./Timeline.ts"
import * as Words from "./Words.ts"

/**
 * What `--json` prints of an answer.
 *
 * @since 0.1.0
 * @category models
 */
export const Answered = Schema.Struct({
  answer: Schema.String,
  finishReason: LlmResponse.FinishReason,
  usage: LlmResponse.Usage,
  receipt: Receipt.Receipt
})

/**
 * What `--json` prints when there is none: the failure of every target, in order.
 *
 * @since 0.1.0
 * @category models
 */
export const Unanswered = Schema.Struct({
  errors: Schema.NonEmptyArray(LlmError.TargetError),
  receipt: Receipt.Receipt
})

const failuresOf = (error: LlmError.LlmError): readonly [LlmError.TargetError, ...Array<LlmError.TargetError>] =>
  error._tag === "AllTargetsFailed" ? [error.failures[0], ...error.failures.slice(1)] : [error]

const wordsFor = (failure: LlmError.TargetError): string =>
  Text.oneLine(failure.message) +
  (failure.retryAfter === undefined ? "" : ` (asks to wait ${Durations.short(failure.retryAfter)})`)

/** Where a failure ends the call before all targets were asked. */
const notAsked = (targets: ReadonlyArray<Receipt.Target>, { attempts }: Receipt.Receipt): ReadonlyArray<string> => {
  const asked = attempts.map(({ target }) => Words.target(target))
  const names = targets.map(Words.target).filter((name) => !asked.includes(name))
  return names.length === 0 ? [] : [`not asked, since the last failure would have met them too: ${names.join(", ")}`]
}

/** A call that went well at once needs no picture. */
const receiptLines = (receipt: Receipt.Receipt, width: number, usage?: LlmResponse.Usage): ReadonlyArray<Text.Line> => [
  ...(receipt.attempts.length > 1 || receipt.refusals !== undefined ? [...Timeline.lines(receipt, width), []] : []),
  ...Timeline.summary(receipt, width, usage)
]

const hasTokens = ({ inputTokens, outputTokens }: LlmResponse.Usage): boolean =>
  inputTokens !== undefined || outputTokens !== undefined

/**
 * The receipt of a call that was answered, on standard error.
 *
 * @since 0.1.0
 * @category printing
 */
export const summary = (
  { finishReason, receipt, usage }: Pick<LlmResponse.LlmResponse, "finishReason" | "receipt" | "usage">,
  { err }: Io
): void =>
  Terminal.print(err, [
    ...receiptLines(receipt, Terminal.widthOf(err), hasTokens(receipt.usage) ? receipt.usage : usage),
    ...(finishReason === "stop" ? [] : [Timeline.field("finished", Text.span(finishReason, "busy"))])
  ])

/**
 * A complete answer on standard output, and its receipt on standard error; as one object with `json`.
 *
 * @since 0.1.0
 * @category printing
 */
export const answered = (response: LlmResponse.LlmResponse, json: boolean, io: Io): void => {
  const { finishReason, receipt, text, usage } = response
  if (json) {
    io.out.write(`${JSON.stringify(Schema.encodeSync(Answered)({ answer: text, finishReason, usage, receipt }))}\n`)
    return
  }
  io.out.write(`${io.out.interactive ? Text.harmless(text) : text}\n`)
  summary(response, io)
}

/**
 * Tells of a call that was not answered, and gives the failure to end with.
 *
 * @since 0.1.0
 * @category printing
 */
export const unanswered = (
  error: LlmError.LlmError,
  targets: ReadonlyArray<Receipt.Target>,
  json: boolean,
  { err, out }: Io
): Failed => {
  const errors = failuresOf(error)
  const receipt = error.receipt ?? Receipt.empty
  if (json) out.write(`${JSON.stringify(Schema.encodeSync(Unanswered)({ errors, receipt }))}\n`)
  else Terminal.print(err, receiptLines(receipt, Terminal.widthOf(err)))
  return new Failed({ lines: [...errors.map(wordsFor), ...notAsked(targets, receipt)] })
}
