/**
 * The story that the demo tells: what the providers reply in each scene, and what must come of it.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import type * as LlmError from "perdure/LlmError"
import type * as LlmResponse from "perdure/LlmResponse"
import type * as ModelPrices from "perdure/ModelPrices"
import type * as Receipt from "perdure/Receipt"
import * as Retry from "perdure/Retry"
import type * as StreamPart from "perdure/StreamPart"
import * as Durations from "./Durations.ts"
import type * as EmbeddedProvider from "./EmbeddedProvider.ts"
import * as Words from "./Words.ts"

/**
 * How many times faster the demo runs than the retry article.
 *
 * @since 0.1.0
 * @category constants
 */
export const speed = 10

const scaled = (seconds: number): Duration.Duration => Duration.millis((seconds * 1000) / speed)

/** What the article's rate-limited provider asks for, in seconds. */
const askedSeconds = 20

/**
 * The retry article's policy, scaled down: waits of up to 2, 4 and 8 s, cap 30 s, 4 attempts, 60 s.
 *
 * @since 0.1.0
 * @category constants
 */
export const policy: Retry.Retry<LlmError.LlmError> = Retry.exponential(scaled(2)).pipe(
  Retry.capped(scaled(30)),
  Retry.jittered("full"),
  Retry.attempts(4),
  Retry.within(scaled(60)),
  Retry.honoringRetryAfter({ max: scaled(60) }),
  Retry.whileRetryable
)

/**
 * How long a stream may be silent between two pieces of output: 8 s, scaled down.
 *
 * @since 0.1.0
 * @category constants
 */
export const idle: Duration.Duration = scaled(8)

/**
 * @since 0.1.0
 * @category constants
 */
export const primary = { provider: "openai", model: "gpt-4o" } as const satisfies Receipt.Target

/**
 * @since 0.1.0
 * @category constants
 */
export const backup = { provider: "backup", model: "gpt-4o-mini" } as const satisfies Receipt.Target

/**
 * Prices of the stand-ins, made up so that there are costs to show.
 *
 * @since 0.1.0
 * @category constants
 */
export const prices: ModelPrices.Table = {
  currency: "USD",
  models: {
    [primary.provider]: { [primary.model]: { input: 2, output: 8 } },
    [backup.provider]: { [backup.model]: { input: 0.2, output: 0.8 } }
  }
}

/**
 * What is asked in every scene.
 *
 * @since 0.1.0
 * @category constants
 */
export const prompt = "Summarise the benefits of using an LLM gateway."

/**
 * @since 0.1.0
 * @category models
 */
export type Result = Either.Either<LlmResponse.LlmResponse, LlmError.LlmError>

/**
 * @since 0.1.0
 * @category models
 */
export interface Scene {
  readonly title: string
  readonly story: string
  /** What each model replies. */
  readonly script: EmbeddedProvider.Script
  /** Whether the backup stands behind the primary. */
  readonly fallback: boolean
  /** Whether the answer is read as a stream, to be restarted elsewhere when it is cut. */
  readonly streamed: boolean
  /** What must hold of the result and of the parts that were read, in words, with whether it does. */
  readonly expected: (
    result: Result,
    parts: ReadonlyArray<StreamPart.StreamPart>
  ) => ReadonlyArray<readonly [what: string, holds: boolean]>
}

const answer = (text: string) => ({ _tag: "Answer", text } as const)

const failure = (status: number, type: string, message: string) => ({ _tag: "Failure", status, type, message } as const)

const rateLimited = {
  ...failure(429, "requests", "Rate limit reached for gpt-4o: please try again later."),
  code: "rate_limit_exceeded",
  retryAfter: askedSeconds / speed
}
const serverError = failure(500, "server_error", "The server had an error while processing your request.")
const overloaded = failure(503, "server_error", "The engine is currently overloaded.")
const badKey = { ...failure(401, "invalid_request_error", "Incorrect API key provided."), code: "invalid_api_key" }

const stalled = { _tag: "Stall", words: ["One place ", "for keys, ", "limits, "] } as const

const primaryAnswer = "One place for keys, limits, retries, fallbacks and costs."
const backupAnswer = "One key, one bill, and another model when the first is down."

/**
 * @since 0.1.0
 * @category reading
 */
export const receiptOf = (result: Result): Receipt.Receipt | undefined =>
  Either.match(result, { onLeft: (error) => error.receipt, onRight: ({ receipt }) => receipt })

/** The outcomes of all attempts in order: statuses, and the name of the provider that answered. */
const outcomes = (result: Result): string =>
  (receiptOf(result)?.attempts ?? []).map(({ outcome, target }) => {
    switch (outcome._tag) {
      case "Answered":
        return target.provider
      case "Failed":
        return String(outcome.status ?? outcome.error)
      case "Interrupted":
        return "interrupted"
    }
  }).join(", ")

/**
 * What was read of a stream before it was restarted; absent where it was not.
 *
 * @since 0.1.0
 * @category reading
 */
export const discarded = (parts: ReadonlyArray<StreamPart.StreamPart>): string | undefined => {
  const at = parts.findLastIndex(({ _tag }) => _tag === "Restarted")
  return at === -1
    ? undefined
    : parts.slice(0, at).map((part) => part._tag === "TextDelta" ? part.text : "").join("")
}

const went = (result: Result, story: string) =>
  [`the attempts come out as ${story}, not ${outcomes(result) || "none"}`, outcomes(result) === story] as const

const says = (result: Result, text: string) =>
  [`the answer is the one of the script`, Either.isRight(result) && result.right.text === text] as const

const waitBefore = (result: Result, attempt: number): number =>
  Duration.toMillis(receiptOf(result)?.attempts[attempt - 1]?.wait ?? Duration.zero)

/**
 * @since 0.1.0
 * @category constants
 */
export const scenes: ReadonlyArray<Scene> = [
  {
    title: "A rate limit, then an error, then an answer",
    story: `The first reply is a 429 with "Retry-After: ${rateLimited.retryAfter}", the second a 500. ` +
      "The server's wish is a floor, so the first wait is at least that long; the second is plain backoff.",
    script: { [primary.model]: [rateLimited, serverError, answer(primaryAnswer)] },
    fallback: false,
    streamed: false,
    expected: (result) => [
      went(result, `429, 500, ${primary.provider}`),
      ["the Retry-After is waited for in full", waitBefore(result, 2) >= rateLimited.retryAfter * 1000],
      ["no fallback is tried", receiptOf(result)?.fallback === false],
      says(result, primaryAnswer)
    ]
  },
  {
    title: "A provider that stays down, and one that does not",
    story: `${Words.target(primary)} replies 503 every time. When its retries are spent, ` +
      `${Words.target(backup)} is asked and answers.`,
    script: { [primary.model]: [overloaded], [backup.model]: [answer(backupAnswer)] },
    fallback: true,
    streamed: false,
    expected: (result) => [
      went(result, `503, 503, 503, 503, ${backup.provider}`),
      ["the fallback is in the receipt", receiptOf(result)?.fallback === true],
      says(result, backupAnswer)
    ]
  },
  {
    title: "A stream that goes quiet",
    story: `${Words.target(primary)} begins to answer and then sends nothing more, its connection still open. After ` +
      `${Durations.short(idle)} of silence the connection is closed, ${
        Words.target(backup)
      } starts the answer again, ` +
      "and a Restarted part tells the reader to discard what came before.",
    script: { [primary.model]: stalled, [backup.model]: [answer(backupAnswer)] },
    fallback: true,
    streamed: true,
    expected: (result, parts) => [
      went(result, `TimedOut, ${backup.provider}`),
      ["the reader is given the first words before the silence", discarded(parts) === stalled.words.join("")],
      [
        "a Restarted part names the backup",
        parts.some((part) => part._tag === "Restarted" && part.provider === backup.provider)
      ],
      ["the fallback is in the receipt", receiptOf(result)?.fallback === true],
      says(result, backupAnswer)
    ]
  },
  {
    title: "A bad key",
    story: "A 401 does not get better by asking again, so nothing is asked again and nobody waits.",
    script: { [primary.model]: [badKey] },
    fallback: false,
    streamed: false,
    expected: (result) => [
      went(result, "401"),
      ["the call fails as Unauthenticated", Either.isLeft(result) && result.left._tag === "Unauthenticated"]
    ]
  }
]

/**
 * What did not come out as told, in words; empty when all did.
 *
 * @since 0.1.0
 * @category checking
 */
export const surprises = (
  scene: Scene,
  result: Result,
  parts: ReadonlyArray<StreamPart.StreamPart> = []
): ReadonlyArray<string> => scene.expected(result, parts).filter(([, holds]) => !holds).map(([what]) => what)
