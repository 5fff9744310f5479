/**
 * What the flags of `ask` mean.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { InvalidOption } from "perdure/InvalidOption"
import type * as LlmError from "perdure/LlmError"
import type * as LlmProvider from "perdure/LlmProvider"
import * as LlmRequest from "perdure/LlmRequest"
import * as Policy from "perdure/Policy"
import type * as Receipt from "perdure/Receipt"
import * as Retry from "perdure/Retry"
import { RetrySpec } from "perdure/RetrySpec"
import * as Arguments from "./Arguments.ts"
import { UsageError } from "./CliError.ts"
import type { AskInput } from "./Commands.ts"
import * as Durations from "./Durations.ts"
import * as Providers from "./Providers.ts"

/**
 * @since 0.1.0
 * @category models
 */
export interface Target extends Receipt.Target {
  readonly provider: Providers.Name
}

/**
 * @since 0.1.0
 * @category models
 */
export interface AskOptions {
  /** The targets in the order in which they are asked. */
  readonly targets: readonly [Target, ...Array<Target>]
  /** What is around each target. */
  readonly policy: Policy.Policy<LlmError.LlmError, LlmError.LlmError>
  /** How the answer is streamed; absent when it is awaited whole. */
  readonly stream?: LlmProvider.StreamOptions | undefined
  /** The request for a prompt. */
  readonly request: (prompt: string) => LlmRequest.LlmRequest
}

const refuse = (flag: string, value: string, allowed: string) =>
  Either.left(new UsageError({ line: `${flag} was given ${Arguments.quote(value)}; allowed: ${allowed}` }))

const target = (flag: string, value: string): Either.Either<Target, UsageError> => {
  const [, provider, model] = value.match(/^([^/\s]+)\/(\S+)$/) ?? []
  if (provider === undefined || model === undefined) {
    return refuse(flag, value, `a provider and a model, such as openai/gpt-4o`)
  }
  return Providers.isAskable(provider)
    ? Either.right({ provider, model })
    : refuse(
      flag,
      value,
      `a model of ${Object.keys(Providers.askable).join(", ")}; there is no provider ${Arguments.quote(provider)}`
    )
}

/** Builds something of the library's with an option, and says of a refusal which flag it came from. */
const built = <A>(flag: string, value: string, build: () => A): Either.Either<A, UsageError> => {
  try {
    return Either.right(build())
  } catch (error) {
    if (error instanceof InvalidOption) return refuse(flag, value, error.allowed)
    throw error
  }
}

type Change<A> = (self: A) => A

/** A change that a duration makes, or none when the flag is absent. */
const byDuration = <A>(
  flag: string,
  value: Option.Option<string>,
  change: (duration: Duration.Duration) => Change<A>
): Either.Either<Change<A>, UsageError> => {
  if (Option.isNone(value)) return Either.right((self) => self)
  const duration = Durations.parse(value.value)
  return Option.isNone(duration)
    ? refuse(flag, value.value, Durations.accepted)
    : built(flag, value.value, () => change(duration.value))
}

const decimal = /^-?\d+(?:\.\d+)?$/
const toNumber = (text: string): number => decimal.test(text.trim()) ? Number(text) : Number.NaN

const byNumber = <A>(
  flag: string,
  value: Option.Option<string>,
  change: (n: number) => Change<A>
): Either.Either<Change<A>, UsageError> =>
  Option.isNone(value)
    ? Either.right((self) => self)
    : built(flag, value.value, () => change(toNumber(value.value)))

/** A number that a field of the request takes; absent when the flag is. */
const field = (
  flag: string,
  value: Option.Option<string>,
  schema: Schema.Schema<number>,
  allowed: string
): Either.Either<number | undefined, UsageError> => {
  if (Option.isNone(value)) return Either.right(undefined)
  const n = toNumber(value.value)
  return Schema.is(schema)(n) ? Either.right(n) : refuse(flag, value.value, allowed)
}

const retryOf = (input: AskInput): Either.Either<Retry.Retry<LlmError.LlmError>, UsageError> =>
  Either.gen(function*() {
    const base = yield* byDuration<RetrySpec>("--retry-base", input.retryBase, (duration) => {
      const { backoff } = Retry.exponential(duration).spec
      return (spec) => new RetrySpec({ ...spec, backoff })
    })
    const cap = yield* byDuration<Retry.Retry>("--retry-cap", input.retryCap, Retry.capped)
    const attempts = yield* byNumber<Retry.Retry>("--attempts", input.attempts, Retry.attempts)
    const within = yield* byDuration<Retry.Retry>("--within", input.within, Retry.within)
    return within(attempts(cap(Retry.fromSpec(base(Retry.article.spec)))))
  })

const policyOf = (input: AskInput): Either.Either<AskOptions["policy"], UsageError> =>
  Either.gen(function*() {
    const retry = Policy.retry(yield* retryOf(input))
    const timeout = yield* byDuration<AskOptions["policy"]>("--timeout", input.timeout, (duration) => {
      const limit = Policy.timeout(duration)
      return (outer) => Policy.compose(outer, limit)
    })
    return timeout(retry)
  })

const whenCuts = ["fail", "restart", "buffer"] as const

const streamOf = ({ stream, whenCut }: AskInput): Either.Either<AskOptions["stream"], UsageError> => {
  if (Option.isNone(whenCut)) return Either.right(stream ? {} : undefined)
  if (!stream) return Either.left(new UsageError({ line: "--when-cut needs --stream" }))
  const found = whenCuts.find((known) => known === whenCut.value)
  return found === undefined
    ? refuse("--when-cut", whenCut.value, whenCuts.join(", "))
    : Either.right({ whenCut: found })
}

const { fields } = LlmRequest.LlmRequest

/**
 * The meaning of what was given, or the one line that says which flag has none.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (input: AskInput): Either.Either<AskOptions, UsageError> =>
  Either.gen(function*() {
    const first = yield* target("--model", input.model)
    const others = yield* Either.all(input.fallback.map((value) => target("--fallback", value)))
    const policy = yield* policyOf(input)
    const stream = yield* streamOf(input)
    const temperature = yield* field(
      "--temperature",
      input.temperature,
      fields.temperature.from,
      "a number from 0 to 2"
    )
    const maxOutputTokens = yield* field(
      "--max-tokens",
      input.maxTokens,
      fields.maxOutputTokens.from,
      "a whole number of at least 1"
    )
    const request = (prompt: string) =>
      LlmRequest.make({
        messages: [LlmRequest.user(prompt)],
        ...(temperature === undefined ? {} : { temperature }),
        ...(maxOutputTokens === undefined ? {} : { maxOutputTokens })
      })
    return {
      targets: [first, ...others],
      policy,
      ...(stream === undefined ? {} : { stream }),
      request: (prompt) => {
        const plain = request(prompt)
        return Option.isNone(input.system)
          ? plain
          : new LlmRequest.LlmRequest({
            ...plain,
            messages: [LlmRequest.system(input.system.value), ...plain.messages]
          })
      }
    }
  })
