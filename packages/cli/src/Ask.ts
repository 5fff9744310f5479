/**
 * `perdure ask`: one question, with the retries and fallbacks of the command line.
 *
 * @since 0.1.0
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { InvalidOption } from "perdure/InvalidOption"
import * as LlmProvider from "perdure/LlmProvider"
import * as AskOptions from "./AskOptions.ts"
import * as AskStream from "./AskStream.ts"
import * as CallSummary from "./CallSummary.ts"
import * as Clients from "./Clients.ts"
import { type Failed, UsageError } from "./CliError.ts"
import type { AskInput } from "./Commands.ts"
import * as EmbeddedProvider from "./EmbeddedProvider.ts"
import type { Io } from "./Io.ts"
import * as Prices from "./Prices.ts"
import * as Progress from "./Progress.ts"
import * as Providers from "./Providers.ts"
import * as ReceiptFile from "./ReceiptFile.ts"

const given = (text: string): boolean => text.trim() !== ""

const misconfigured = (error: ConfigError.ConfigError): UsageError =>
  new UsageError({
    line: error._op === "InvalidData" ? `${error.path.join("_")} cannot be used: ${error.message}` : error.message
  })

const isSet = (variable: string) =>
  Effect.map(
    Effect.option(Config.redacted(variable)),
    Option.exists((value) => given(Redacted.value(value)))
  )

/** The variables of which one would have to be set; a blank key is as good as none. */
const missingKey = ({ keys }: Providers.Askable): Effect.Effect<ReadonlyArray<string>> =>
  keys.length === 0
    ? Effect.succeed([])
    : Effect.map(Effect.forEach(keys, isSet), (set) => set.includes(true) ? [] : [keys.join(" or ")])

/** The keys are read by the clients themselves. */
const checkKeys = (targets: ReadonlyArray<AskOptions.Target>): Effect.Effect<void, UsageError> => {
  const asked = new Set(targets.map(({ provider }) => provider))
  return Effect.flatMap(Effect.forEach(asked, (name) => missingKey(Providers.askable[name])), (missing) => {
    const names = missing.flat()
    if (names.length === 0) return Effect.void
    const [are, them] = names.length === 1 ? ["is", "it"] : ["are", "them"]
    return new UsageError({
      line: `${names.join(" and ")} ${are} not set; set ${them}, or use --embedded, which needs no key`
    })
  })
}

type Layers = ReturnType<(typeof Clients.layers)["openai"]>

/** The client of a target, at the address in its variable, where there is one. */
const fromEnvironment = ({ model, provider }: AskOptions.Target): Effect.Effect<Layers, UsageError> => {
  const { url } = Providers.askable[provider]
  return Effect.flatMap(Effect.option(Config.string(url)), (address) => {
    const baseUrl = Option.getOrElse(address, () => "").trim()
    try {
      return Effect.succeed(Clients.layers[provider]({ model, ...(baseUrl === "" ? {} : { baseUrl }) }))
    } catch (error) {
      if (!(error instanceof InvalidOption)) throw error
      return new UsageError({ line: `${url} cannot be used: Expected ${error.allowed}` })
    }
  })
}

const clientsOf = (
  targets: AskOptions.AskOptions["targets"],
  embedded: boolean
) =>
  Effect.gen(function*() {
    if (!embedded) {
      yield* checkKeys(targets)
      return yield* Effect.forEach(targets, fromEnvironment)
    }
    const { addressOf } = yield* EmbeddedProvider.echoing
    return targets.map(({ model, provider }) =>
      Clients.layers[provider]({ ...addressOf(Providers.askable[provider].dialect, model), model })
    )
  })

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
    const clients = yield* clientsOf(options.targets, input.embedded)
    const chain = clients
      .map((client) => LlmProvider.withPolicy(client, options.policy))
      .reduce((chain, other) => LlmProvider.orElse(chain, other))
    const request = options.request(prompt)
    const asked = options.stream === undefined
      ? LlmProvider.generate(request).pipe(
        io.err.interactive ? Progress.show(io.err) : (self) => self,
        Effect.map((response) => CallSummary.answered(response, input.json, io))
      )
      : AskStream.run(request, options.stream, input.json, io)
    const result = yield* Effect.either(asked).pipe(
      ReceiptFile.recording(input.receipts),
      Effect.provide(Layer.provide(chain, NodeHttpClient.layerUndici)),
      Effect.mapError((error) => error._tag === "UsageError" || error._tag === "Failed" ? error : misconfigured(error))
    )
    if (Either.isLeft(result)) return yield* CallSummary.unanswered(result.left, options.targets, input.json, io)
  })).pipe(Effect.provide(Prices.layer(input.prices)))
