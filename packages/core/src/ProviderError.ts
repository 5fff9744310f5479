/**
 * The failures of providers, one class for each decision a caller could take. `LlmError` has them all.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { common, printSafely, say } from "./internal/failure.ts"

/**
 * The provider refuses for now because too much was asked in too short a time (429). Waiting helps.
 *
 * @since 0.1.0
 * @category errors
 */
export class RateLimited extends Schema.TaggedError<RateLimited>("perdure/RateLimited")("RateLimited", common) {
  override get message(): string {
    return say("is rate limiting", this)
  }
}

/**
 * The account's quota, credit or spend limit is used up (some 402s and 429s). Waiting does not help.
 *
 * @since 0.1.0
 * @category errors
 */
export class QuotaExhausted extends Schema.TaggedError<QuotaExhausted>("perdure/QuotaExhausted")(
  "QuotaExhausted",
  common
) {
  override get message(): string {
    return say("has no quota left", this)
  }
}

/**
 * The provider is up but has too much to do (503, 529). Nothing was processed.
 *
 * @since 0.1.0
 * @category errors
 */
export class Overloaded extends Schema.TaggedError<Overloaded>("perdure/Overloaded")("Overloaded", common) {
  override get message(): string {
    return say("is overloaded", this)
  }
}

/**
 * The provider failed on its side (500, 502, 504 and the like).
 *
 * @since 0.1.0
 * @category errors
 */
export class ProviderUnavailable extends Schema.TaggedError<ProviderUnavailable>("perdure/ProviderUnavailable")(
  "ProviderUnavailable",
  common
) {
  override get message(): string {
    return say("is unavailable", this)
  }
}

/**
 * The connection could not be made or broke before an answer came.
 *
 * @since 0.1.0
 * @category errors
 */
export class ConnectionFailed extends Schema.TaggedError<ConnectionFailed>("perdure/ConnectionFailed")(
  "ConnectionFailed",
  {
    ...common,
    /** Whether the request may have reached the provider: false for a refused connection or a failed look-up. */
    sent: Schema.Boolean
  }
) {
  override get message(): string {
    return say("could not be reached", this)
  }
}

/**
 * Which limit was passed: `headers` (nothing came back), `firstOutput`, `idle` (a stream went quiet), `attempt`, `call`,
 * or `provider` when the provider itself gave up (408).
 *
 * @since 0.1.0
 * @category models
 */
export const TimeoutPhase = Schema.Literal("headers", "firstOutput", "idle", "attempt", "call", "provider")

/**
 * @since 0.1.0
 * @category models
 */
export type TimeoutPhase = typeof TimeoutPhase.Type

/**
 * A time limit was passed. The provider may have acted on the request, and may bill for it.
 *
 * @since 0.1.0
 * @category errors
 */
export class TimedOut extends Schema.TaggedError<TimedOut>("perdure/TimedOut")("TimedOut", {
  ...common,
  phase: TimeoutPhase,
  /** The limit that was passed, where it was ours. */
  limit: Schema.optional(Schema.DurationFromMillis).pipe(Schema.fromKey("limitMs"))
}) {
  override get message(): string {
    const after = this.limit === undefined ? "" : ` after ${Duration.format(this.limit)}`
    return say(`timed out${after}, phase ${this.phase}`, this)
  }
}

/**
 * A stream ended without its terminal marker, or broke.
 *
 * @since 0.1.0
 * @category errors
 */
export class StreamInterrupted extends Schema.TaggedError<StreamInterrupted>("perdure/StreamInterrupted")(
  "StreamInterrupted",
  common
) {
  override get message(): string {
    return say("cut the stream", this)
  }
}

/**
 * The answer could not be understood: not JSON, not the documented shape, or empty.
 *
 * @since 0.1.0
 * @category errors
 */
export class MalformedResponse extends Schema.TaggedError<MalformedResponse>("perdure/MalformedResponse")(
  "MalformedResponse",
  common
) {
  override get message(): string {
    return say("sent an answer that could not be read", this)
  }
}

/**
 * The request itself is wrong (most 400s and 422s), or asks for what the provider cannot do.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>("perdure/InvalidRequest")("InvalidRequest", {
  ...common,
  /** The request field that the provider names. */
  param: Schema.optional(Schema.String)
}) {
  override get message(): string {
    return say("refused the request as invalid", this)
  }
}

/**
 * The prompt, with the room kept for the answer, does not fit into the model's context window.
 *
 * @since 0.1.0
 * @category errors
 */
export class ContextLengthExceeded extends Schema.TaggedError<ContextLengthExceeded>("perdure/ContextLengthExceeded")(
  "ContextLengthExceeded",
  {
    ...common,
    /** The model's window in tokens, where the provider says it. */
    limit: Schema.optional(Schema.Int),
    /** The tokens that were asked for, where the provider says it. */
    requested: Schema.optional(Schema.Int)
  }
) {
  override get message(): string {
    return say("has too small a context window", this)
  }
}

/**
 * The prompt or the answer was refused for its content.
 *
 * @since 0.1.0
 * @category errors
 */
export class ContentFiltered extends Schema.TaggedError<ContentFiltered>("perdure/ContentFiltered")("ContentFiltered", {
  ...common,
  /** `prompt` or `output` when a filter stopped it, `refusal` when the model declined. */
  stage: Schema.Literal("prompt", "output", "refusal")
}) {
  override get message(): string {
    return say(`refused the content (${this.stage})`, this)
  }
}

/**
 * The key is missing, wrong or revoked (401).
 *
 * @since 0.1.0
 * @category errors
 */
export class Unauthenticated extends Schema.TaggedError<Unauthenticated>("perdure/Unauthenticated")(
  "Unauthenticated",
  common
) {
  override get message(): string {
    return say("does not accept the key", this)
  }
}

/**
 * The key is good but may not do this (403).
 *
 * @since 0.1.0
 * @category errors
 */
export class PermissionDenied extends Schema.TaggedError<PermissionDenied>("perdure/PermissionDenied")(
  "PermissionDenied",
  common
) {
  override get message(): string {
    return say("does not allow this", this)
  }
}

/**
 * There is no such model for this account (404).
 *
 * @since 0.1.0
 * @category errors
 */
export class ModelNotFound extends Schema.TaggedError<ModelNotFound>("perdure/ModelNotFound")("ModelNotFound", common) {
  override get message(): string {
    return say("does not exist", this)
  }
}

/**
 * The request is larger than the provider ever takes (413, or more tokens than a whole minute's limit).
 *
 * @since 0.1.0
 * @category errors
 */
export class RequestTooLarge extends Schema.TaggedError<RequestTooLarge>("perdure/RequestTooLarge")(
  "RequestTooLarge",
  common
) {
  override get message(): string {
    return say("does not take a request of this size", this)
  }
}

/**
 * A failure of one provider.
 *
 * @since 0.1.0
 * @category models
 */
export const ProviderError = Schema.Union(
  RateLimited,
  QuotaExhausted,
  Overloaded,
  ProviderUnavailable,
  ConnectionFailed,
  TimedOut,
  StreamInterrupted,
  MalformedResponse,
  InvalidRequest,
  ContextLengthExceeded,
  ContentFiltered,
  Unauthenticated,
  PermissionDenied,
  ModelNotFound,
  RequestTooLarge
)

/**
 * @since 0.1.0
 * @category models
 */
export type ProviderError = typeof ProviderError.Type

printSafely(ProviderError.members)
