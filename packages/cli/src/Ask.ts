/**
 * `perdure ask`: one question, with the retries and fallbacks of the command line.
 *
 * @since 0.1.0
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as OpenAi from "@perdure/providers/openai"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as LlmError from "perdure/LlmError"
import * as LlmProvider from "perdure/LlmProvider"
import * as LlmResponse from "perdure/LlmResponse"
import * as Receipt from "perdure/Receipt"
import * as AskOptions from "./AskOptions.ts"
import { Failed, UsageError } from "./CliError.ts"
import type { AskInput } from "./Commands.ts"
import * as Durations from "./Durations.ts"
import * as EmbeddedProvider from "./EmbeddedProvider.ts"
import * as Progress from "./Progress.ts"
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
  errors: Schema.NonEmptyArray(LlmError.ProviderError),
  receipt: Receipt.Receipt
})

/**
 * Where a command reads and writes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Io {
  readonly out: Terminal.Terminal
  readonly err: Terminal.Terminal
  /** All of standard input. */
  readonly stdin: Effect.Effect<string, Failed>
}

const given = (text: string): boolean => text.trim() !== ""

const noKey = new UsageError({
  line: "OPENAI_API_KEY is not set; set it, or use --embedded, which needs no key"
})

const misconfigured = (error: ConfigError.ConfigError): UsageError => {
  if (ConfigError.isMissingDataOnly(error)) return noKey
  return new UsageError({
    line: error._op === "InvalidData" ? `${error.path.join("_")} cannot be used: ${error.message}` : error.message
  })
}

/** A key and a server from the environment are read by the provider itself; a blank key is as good as none. */
const environment: Effect.Effect<Partial<EmbeddedProvider.Address>, UsageError> = Effect.flatMap(
  Effect.option(Config.redacted("OPENAI_API_KEY")),
  (key) => Option.exists(key, (key) => given(Redacted.value(key))) ? Effect.succeed({}) : noKey
)

const layerOf = (
  { policy, targets: [first, ...others] }: AskOptions.AskOptions,
  address: Partial<EmbeddedProvider.Address>
) => {
  const one = ({ model, provider }: AskOptions.Target) =>
    OpenAi.layer({ ...address, model, name: provider }).pipe(LlmProvider.withPolicy(policy))
  return others.reduce((chain, other) => LlmProvider.orElse(chain, one(other)), one(first)).pipe(
    Layer.provide(NodeHttpClient.layerUndici)
  )
}

const failuresOf = (error: LlmError.LlmError): readonly [LlmError.ProviderError, ...Array<LlmError.ProviderError>] =>
  error._tag === "AllTargetsFailed" ? [error.failures[0], ...error.failures.slice(1)] : [error]

const wordsFor = (failure: LlmError.ProviderError): string =>
  Text.oneLine(failure.message) +
  (failure.retryAfter === undefined ? "" : ` (asks to wait ${Durations.short(failure.retryAfter)})`)

/** Where a failure ends the call before all targets were asked. */
const notAsked = (targets: ReadonlyArray<Receipt.Target>, { attempts }: Receipt.Receipt): ReadonlyArray<string> => {
  const asked = attempts.map(({ target }) => Words.target(target))
  const names = targets.map(Words.target).filter((name) => !asked.includes(name))
  return names.length === 0 ? [] : [`not asked, since the last failure would have met them too: ${names.join(", ")}`]
}

const receiptLines = (receipt: Receipt.Receipt, width: number): ReadonlyArray<Text.Line> => [
  ...(receipt.attempts.length > 1 ? [...Timeline.lines(receipt, width), []] : []),
  ...Timeline.summary(receipt, width)
]

const tokens = ({ inputTokens, outputTokens }: LlmResponse.Usage): ReadonlyArray<Text.Line> =>
  inputTokens === undefined || outputTokens === undefined
    ? []
    : [Timeline.field("tokens", Text.span(`${inputTokens} in, ${outputTokens} out`))]

const answered = (response: LlmResponse.LlmResponse, json: boolean, { err, out }: Io) => {
  const { finishReason, receipt, text, usage } = response
  if (json) {
    out.write(`${JSON.stringify(Schema.encodeSync(Answered)({ answer: text, finishReason, usage, receipt }))}\n`)
    return
  }
  out.write(`${out.interactive ? Text.harmless(text) : text}\n`)
  Terminal.print(err, [
    ...receiptLines(receipt, Terminal.widthOf(err)),
    ...tokens(usage),
    ...(finishReason === "stop" ? [] : [Timeline.field("finished", Text.span(finishReason, "busy"))])
  ])
}

const unanswered = (
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

/**
 * Asks, and prints the answer and nothing else on standard output. The progress goes to standard error where a person is
 * watching, the receipt in any case; with `json` the receipt is in the object instead.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (input: AskInput, io: Io): Effect.Effect<void, Failed | UsageError> =>
  Effect.scoped(Effect.gen(function*() {
    const options = yield* AskOptions.make(input)
    const prompt = input.prompt === "-" ? (yield* io.stdin).trimEnd() : input.prompt
    if (!given(prompt)) return yield* new UsageError({ line: "the prompt is empty" })
    const address = input.embedded ? yield* EmbeddedProvider.echoing : yield* environment
    const result = yield* LlmProvider.generate(options.request(prompt)).pipe(
      io.err.interactive ? Progress.show(io.err) : (self) => self,
      Effect.either,
      Effect.provide(layerOf(options, address)),
      Effect.mapError(misconfigured)
    )
    if (Either.isLeft(result)) return yield* unanswered(result.left, options.targets, input.json, io)
    answered(result.right, input.json, io)
  }))
