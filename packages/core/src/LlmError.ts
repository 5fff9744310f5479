/**
 * Everything that can go wrong with a call to a model, one class for each decision a caller could take.
 *
 * The provider layers turn statuses, bodies and broken sockets into these; policies ask {@link module:Disposition} what
 * each deserves and never look at a status code themselves.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import { NodeInspectSymbol, stringifyCircular } from "effect/Inspectable"
import * as Schema from "effect/Schema"
import { copy } from "./internal/copy.ts"
import { redact } from "./internal/redact.ts"
import { Usage } from "./LlmResponse.ts"
import { RateLimits } from "./RateLimits.ts"
import { Receipt } from "./Receipt.ts"

/** What every failure of a provider carries. */
const common = {
  /** The provider's short name, for example `openai`. */
  provider: Schema.String,
  /** The model that was asked for. */
  model: Schema.String,
  /** The HTTP status, where there was one. */
  status: Schema.optional(Schema.Int),
  /** The provider's own code or type for the failure, for example `insufficient_quota`. */
  code: Schema.optional(Schema.String),
  /** The provider's id of the request, for a support ticket. */
  requestId: Schema.optional(Schema.String),
  /** How long the provider asked to wait before another request. */
  retryAfter: Schema.optional(Schema.DurationFromMillis).pipe(Schema.fromKey("retryAfterMs")),
  /** What the provider said about its rate limits. */
  rateLimits: Schema.optional(RateLimits),
  /** The provider's explicit word on whether to retry (`x-should-retry`). */
  shouldRetry: Schema.optional(Schema.Boolean),
  /** The provider's own words, redacted and cut to 2 KiB. Build it with {@link detail}. */
  detail: Schema.optionalWith(Schema.String, { default: () => "" }),
  /** Whether the failed request may be repeated although the provider may have acted on it. */
  idempotent: Schema.optionalWith(Schema.Boolean, { default: () => true }),
  /** The text of the answer that had arrived, of a stream cut after its first output. It is in no message and no log. */
  partial: Schema.optionalWith(Schema.String, { default: () => "" }),
  /** The tokens used until the failure, as far as the provider said. */
  usage: Schema.optional(Usage),
  /** Whether a reader has been given part of the answer; if so, nothing is repeated behind the reader's back. */
  handedOut: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** Whether a retry policy has already given up on this failure, so that no outer one repeats it. */
  spent: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** The story of the call that ended with this failure. */
  receipt: Schema.optional(Receipt)
}

interface Told {
  readonly _tag: string
  readonly provider: string
  readonly model: string
  readonly status?: number | undefined
  readonly detail: string
}

const say = (what: string, error: Told): string =>
  `${error.provider}/${error.model} ${what}` +
  (error.status === undefined ? "" : ` (HTTP ${error.status})`) +
  (error.detail === "" ? "" : `: ${error.detail}`)

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

/** Loggers print a failure by these: with everything but the partial answer, which `Schema.encode` keeps. */
const printing: PropertyDescriptorMap = {
  toJSON: {
    value(this: ProviderError): object {
      const { partial: _, ...rest } = this
      return rest
    }
  },
  [NodeInspectSymbol]: {
    value(this: ProviderError): string {
      return `${this.stack ?? String(this)} ${stringifyCircular(this.toJSON(), 2)}`
    }
  }
}
for (const member of ProviderError.members) Object.defineProperties(member.prototype, printing)

/**
 * A fallback chain ended without an answer. It holds every target's last failure, in the order they happened.
 *
 * @since 0.1.0
 * @category errors
 */
export class AllTargetsFailed extends Schema.TaggedError<AllTargetsFailed>("perdure/AllTargetsFailed")(
  "AllTargetsFailed",
  {
    failures: Schema.NonEmptyArray(ProviderError),
    /** How many targets were left untried because the last failure would have met them too. */
    untried: Schema.optionalWith(Schema.Int, { default: () => 0 }),
    spent: common.spent,
    receipt: common.receipt
  }
) {
  /** The failure that ended the chain. */
  get last(): ProviderError {
    return this.failures[this.failures.length - 1] ?? this.failures[0]
  }
  get provider(): string {
    return this.last.provider
  }
  get model(): string {
    return this.last.model
  }
  get status(): number | undefined {
    return this.last.status
  }
  get requestId(): string | undefined {
    return this.last.requestId
  }
  get detail(): string {
    return this.failures.map((failure) => failure.message).join("; ")
  }
  /** The soonest that any of the targets asked to be tried again. */
  get retryAfter(): Duration.Duration | undefined {
    return this.failures.reduce<Duration.Duration | undefined>(
      (soonest, { retryAfter }) =>
        retryAfter === undefined ? soonest : soonest === undefined ? retryAfter : Duration.min(soonest, retryAfter),
      undefined
    )
  }
  override get message(): string {
    return `no target answered: ${this.detail}`
  }
}

/**
 * Everything that a call through an `LlmProvider` can fail with. It encodes and decodes.
 *
 * @since 0.1.0
 * @category models
 */
export const LlmError = Schema.Union(ProviderError, AllTargetsFailed)

/**
 * @since 0.1.0
 * @category models
 */
export type LlmError = typeof LlmError.Type

/**
 * The `_tag`s of {@link LlmError}.
 *
 * @since 0.1.0
 * @category models
 */
export type Tag = LlmError["_tag"]

/**
 * Whether a value is an {@link LlmError}.
 *
 * @since 0.1.0
 * @category guards
 */
export const is = (u: unknown): u is LlmError => u instanceof Error && classes.some((member) => u instanceof member)

const classes = [...ProviderError.members, AllTargetsFailed]

/**
 * What {@link update} can change.
 *
 * @since 0.1.0
 * @category models
 */
export type Changes = Partial<
  Pick<ProviderError, "receipt" | "spent" | "idempotent" | "partial" | "usage" | "handedOut" | "rateLimits">
>

/**
 * A copy of a failure with some of its bookkeeping changed; the stack stays that of the original.
 *
 * @since 0.1.0
 * @category combinators
 */
export const update = <E extends LlmError>(
  error: E,
  changes: Changes
): E => copy<LlmError>(error, changes) as E

/**
 * Two failures, one after the other, as one that holds them both, flat and in order.
 *
 * @since 0.1.0
 * @category combinators
 */
export const both = (first: LlmError, second: LlmError, untried = 0): AllTargetsFailed => {
  const [head, ...tail] = each(first)
  return new AllTargetsFailed({
    failures: [head, ...tail, ...each(second)],
    untried: untried + (second._tag === "AllTargetsFailed" ? second.untried : 0),
    spent: first.spent || second.spent || [...each(first), ...each(second)].some(({ spent }) => spent)
  })
}

const each = (error: LlmError): AllTargetsFailed["failures"] =>
  error._tag === "AllTargetsFailed" ? error.failures : [error]

/**
 * Prepares a provider's own words for an error: the given secrets and anything shaped like a credential are replaced,
 * and the rest is cut to 2 KiB.
 *
 * @since 0.1.0
 * @category redaction
 */
export const detail: (text: string, secrets?: Iterable<string>) => string = redact
