/**
 * The story of one call: who was asked, who answered, whether a fallback was triggered, every attempt and every wait.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"

/**
 * A model at a provider, as it was asked for.
 *
 * @since 0.1.0
 * @category models
 */
export const Target = Schema.Struct({
  /** The provider's short name, for example `openai`. */
  provider: Schema.String,
  /** The model's name at that provider. */
  model: Schema.String
})

/**
 * @since 0.1.0
 * @category models
 */
export type Target = typeof Target.Type

const millis = (key: string) => Schema.propertySignature(Schema.DurationFromMillis).pipe(Schema.fromKey(key))

/**
 * How one attempt ended: with an answer, with a typed failure, or interrupted before either.
 *
 * @since 0.1.0
 * @category models
 */
export const Outcome = Schema.Union(
  Schema.TaggedStruct("Answered", {
    /** The model that the provider says it used; often a dated name of the one asked for. */
    model: Schema.String
  }),
  Schema.TaggedStruct("Failed", {
    /** The `_tag` of the failure, for example `RateLimited`. */
    error: Schema.String,
    /** The HTTP status, where there was one. */
    status: Schema.optional(Schema.Int),
    /** The provider's own words, redacted and cut to 2 KiB. */
    detail: Schema.String,
    /** How long the provider asked to wait. */
    retryAfter: Schema.optional(Schema.DurationFromMillis).pipe(Schema.fromKey("retryAfterMs"))
  }),
  Schema.TaggedStruct("Interrupted", {})
)

/**
 * @since 0.1.0
 * @category models
 */
export type Outcome = typeof Outcome.Type

/**
 * One request sent to one target.
 *
 * @since 0.1.0
 * @category models
 */
export class Attempt extends Schema.Class<Attempt>("perdure/Attempt")({
  target: Target,
  /** From the start of the call to the start of this attempt. Encoded as `startMs`. */
  start: millis("startMs"),
  /** How long nothing was running before this attempt: a backoff, an obeyed `Retry-After`, a queue. Encoded as `waitMs`. */
  wait: millis("waitMs"),
  /** How long the attempt ran; for a stream, until it ended. Encoded as `durationMs`. */
  duration: millis("durationMs"),
  outcome: Outcome
}) {}

/**
 * What happened during one call. It is on the response, on the error, and on the last part of a stream.
 *
 * It holds no prompt, no answer and no key. It encodes to JSON with durations in milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export class Receipt extends Schema.Class<Receipt>("perdure/Receipt")({
  /** The target the call was meant for: the first of a fallback chain. */
  requested: Target,
  /** The target whose answer was returned, with the model name the provider gave; absent when none answered. */
  served: Schema.optional(Target),
  /** Whether a target other than the requested one was tried, successfully or not. */
  fallback: Schema.Boolean,
  /** Every attempt, in the order in which they started. */
  attempts: Schema.Array(Attempt),
  /** When the call started, in milliseconds since the epoch. */
  startedAt: Schema.Number,
  /** From the start of the call to its end. Encoded as `durationMs`. */
  duration: millis("durationMs")
}) {
  /** The sum of all waits before attempts. */
  get waited(): Duration.Duration {
    return this.attempts.reduce((sum, attempt) => Duration.sum(sum, attempt.wait), Duration.zero)
  }
}

/**
 * The receipt of a value that no call has returned yet: nothing asked, nothing attempted.
 *
 * @since 0.1.0
 * @category constructors
 */
export const empty: Receipt = new Receipt({
  requested: { provider: "", model: "" },
  fallback: false,
  attempts: [],
  startedAt: 0,
  duration: Duration.zero
})

/**
 * A receipt as the field of a response: always there, empty until the call that returns the response fills it in.
 *
 * @since 0.1.0
 * @category models
 */
export const Field = Schema.propertySignature(Receipt).pipe(Schema.withConstructorDefault(() => empty))
