/**
 * `perdure explain`: what a failure is, what it deserves and why. Nothing is sent.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as LlmError from "perdure/LlmError"
import * as RateLimits from "perdure/RateLimits"
import * as Arguments from "./Arguments.ts"
import * as Clients from "./Clients.ts"
import { type Failed, UsageError } from "./CliError.ts"
import type { ExplainInput } from "./Commands.ts"
import * as Explanation from "./Explanation.ts"
import * as ExplanationPage from "./ExplanationPage.ts"
import type { Io } from "./Io.ts"
import * as Providers from "./Providers.ts"
import * as Terminal from "./Terminal.ts"
import * as Text from "./Text.ts"

type Headers = Readonly<Record<string, string>>

const headerShape = /^([!#$%&'*+.^_`|~\w-]+)\s*:(.*)$/s

/** Header names in lower case; one given several times is one, as in HTTP. */
const headersOf = (given: ReadonlyArray<string>): Either.Either<Headers, UsageError> => {
  const headers: Record<string, string> = {}
  for (const header of given) {
    const [, name, value] = header.match(headerShape) ?? []
    // It is not repeated: it may hold a secret.
    if (name === undefined || value === undefined) {
      return Either.left(
        new UsageError({ line: "--header needs a name, a colon and a value, such as 'retry-after: 20'" })
      )
    }
    const key = name.toLowerCase()
    const before = headers[key]
    headers[key] = before === undefined ? value.trim() : `${before}, ${value.trim()}`
  }
  return Either.right(headers)
}

const statusOf = (value: string): Either.Either<number, UsageError> => {
  const status = /^\d{3}$/.test(value.trim()) ? Number(value) : 0
  return status >= 100 && status <= 599
    ? Either.right(status)
    : Either.left(
      new UsageError({
        line: `--status was given ${Arguments.quote(value)}; allowed: a whole number from 100 to 599`
      })
    )
}

const providerOf = (name: string): Either.Either<Providers.Known, UsageError> =>
  Option.match(Providers.find(name), {
    onNone: () =>
      Either.left(
        new UsageError({
          line: `--provider was given ${Arguments.quote(name)}; allowed: ${Providers.described.join(", ")}`
        })
      ),
    onSome: Either.right
  })

const tagOf = (word: string): Either.Either<Explanation.Tag, UsageError> => {
  const tag = Explanation.tags.find((tag) => tag.toLowerCase() === word.toLowerCase())
  if (tag !== undefined) return Either.right(tag)
  if (word.toLowerCase() === "alltargetsfailed") {
    return Either.left(
      new UsageError({ line: "AllTargetsFailed holds the failure of every target in order; explain the last of them" })
    )
  }
  const hint = /^\d{3}$/.test(word) ? `; did you mean --status ${word}?` : ""
  return Either.left(
    new UsageError({
      line: (Arguments.unknown("failure", word, Explanation.tags) + hint).slice(0, 200)
    })
  )
}

/** The flags that tell of a response, and so have no place beside a failure's name. */
const responseFlags = ({ body, header, model, provider, status }: ExplainInput): ReadonlyArray<string> => [
  ...(Option.isSome(status) ? ["--status"] : []),
  ...(header.length > 0 ? ["--header"] : []),
  ...(Option.isSome(body) ? ["--body"] : []),
  ...(Option.isSome(provider) ? ["--provider"] : []),
  ...(Option.isSome(model) ? ["--model"] : [])
]

/** The failure that a provider's client would make of the response. */
const failureOf = (
  input: ExplainInput,
  given: string,
  stdin: Io["stdin"]
): Effect.Effect<LlmError.ProviderError, UsageError | Failed> =>
  Effect.gen(function*() {
    const status = yield* statusOf(given)
    const headers = yield* headersOf(input.header)
    const provider = yield* providerOf(Option.getOrElse(input.provider, () => "openai"))
    const model = Option.getOrElse(input.model, () => "model")
    if (model.trim() === "") {
      return yield* new UsageError({ line: `--model was given ${Arguments.quote(model)}; allowed: a model's name` })
    }
    const text = Option.getOrElse(input.body, () => "")
    const body = text === "-" ? yield* stdin : text
    const now = yield* Clock.currentTimeMillis
    const error = Clients.failure(provider.dialect, { status, headers, body, model, provider: provider.name, now })
    const rateLimits = error.rateLimits ?? Option.getOrUndefined(RateLimits.fromHeaders(headers, now))
    return rateLimits === undefined ? error : LlmError.update(error, { rateLimits })
  })

const tableNotes = (width: number): ReadonlyArray<Text.Line> =>
  Text.wrap(
    "Every policy asks this table. A wait starts from the backoff base of its class, or lasts as long as the provider " +
      "asks. One failure in full: perdure explain RateLimited, or perdure explain --status 429 --body '{…}'.",
    width
  ).map((line): Text.Line => [Text.span(line, "dim")])

/**
 * Explains a response, a failure by its name, or, with nothing given, all of them in a table.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (input: ExplainInput, { out, stdin }: Io): Effect.Effect<void, Failed | UsageError> =>
  Effect.gen(function*() {
    const width = Terminal.widthOf(out)
    const json = <A, I>(schema: Schema.Schema<A, I>, value: A) =>
      out.write(`${JSON.stringify(Schema.encodeSync(schema)(value))}\n`)
    const one = (explained: Explanation.Explanation) =>
      input.json
        ? json(Explanation.Explanation, explained)
        : Terminal.print(out, ExplanationPage.lines(explained, width))

    const flags = responseFlags(input)
    if (Option.isSome(input.failure)) {
      const tag = yield* tagOf(input.failure.value)
      if (flags.length > 0) {
        return yield* new UsageError({ line: `a failure by its name takes no ${flags.join(" or ")}` })
      }
      return one(yield* Explanation.ofTag(tag))
    }
    if (Option.isSome(input.status)) {
      return one(yield* Effect.flatMap(failureOf(input, input.status.value, stdin), Explanation.ofFailure))
    }
    if (flags.length > 0) {
      return yield* new UsageError({ line: `${flags.join(" and ")} ${flags.length === 1 ? "needs" : "need"} --status` })
    }
    const all = yield* Effect.forEach(Explanation.tags, Explanation.ofTag)
    if (input.json) return json(Schema.Array(Explanation.Explanation), all)
    Terminal.print(out, [...ExplanationPage.table(all), [], ...tableNotes(width)])
  })
