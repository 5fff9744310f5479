/**
 * The story of one call: who was asked, who answered, whether a fallback was triggered, every attempt and every wait.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Event } from "./Call.ts"
import { localOf } from "./internal/local.ts"
import { replay } from "./internal/replay.ts"
import { Cost } from "./ModelPrices.ts"
import { sum, Usage } from "./Usage.ts"

export { Cost } from "./ModelPrices.ts"

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
const optionalMillis = (key: string) => Schema.optional(Schema.DurationFromMillis).pipe(Schema.fromKey(key))

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
  outcome: Outcome,
  /** The label of the key that was used, never the key. Absent where no key pool chose one. */
  key: Schema.optional(Schema.String),
  /** Whether it was begun while another was still running, to be the sooner of the two. */
  hedge: Schema.optional(Schema.Literal(true)),
  /** Whether it has an answer that was not given on, since another beside it was sooner. */
  discarded: Schema.optional(Schema.Literal(true)),
  /** From the start of the attempt to its first output; only of streams. Encoded as `firstOutputMs`. */
  firstOutput: optionalMillis("firstOutputMs"),
  /** The tokens it used, as far as the provider said, also where it failed or was interrupted. */
  usage: Schema.optional(Usage),
  /** What the tokens cost; absent where the tokens or the price are not known. See `ModelPrices`. */
  cost: Schema.optional(Cost)
}) {}

/**
 * A fallback that moved from one target to another.
 *
 * @since 0.1.0
 * @category models
 */
export const Switch = Schema.Struct({
  /** From the start of the call. Encoded as `atMs`. */
  at: millis("atMs"),
  from: Target,
  to: Target,
  /** The `_tag` of the failure that was the reason. */
  because: Schema.String
})

/**
 * @since 0.1.0
 * @category models
 */
export type Switch = typeof Switch.Type

/**
 * A policy on this side that let nothing through: an open circuit, a quota, a full bulkhead, a deadline.
 *
 * @since 0.1.0
 * @category models
 */
export const Refused = Schema.Struct({
  /** From the start of the call. Encoded as `atMs`. */
  at: millis("atMs"),
  target: Target,
  /** The `_tag` of the refusal, for example `CircuitOpen`. */
  because: Schema.String,
  /** When it would let something through. Encoded as `retryAfterMs`. */
  retryAfter: optionalMillis("retryAfterMs")
})

/**
 * @since 0.1.0
 * @category models
 */
export type Refused = typeof Refused.Type

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
  /** The target whose answer was returned, with the model name the provider gave; absent when none was. */
  served: Schema.optional(Target),
  /**
   * How the call ended, with all policies around its attempts. Absent while it goes on, and in receipts from before there
   * was this field.
   */
  outcome: Schema.optional(Schema.Literal("Answered", "Failed", "Interrupted")),
  /** The `_tag` of the failure it ended with: `Defect` for a defect, `_OTHER` for a failure that has none of ours. */
  error: Schema.optional(Schema.String),
  /** Whether a target other than the requested one was tried, successfully or not. */
  fallback: Schema.Boolean,
  /** Every attempt, in the order in which they started. */
  attempts: Schema.Array(Attempt),
  /** When the call started, in milliseconds since the epoch. */
  startedAt: Schema.Number,
  /** From the start of the call to its end. Encoded as `durationMs`. */
  duration: millis("durationMs"),
  /** Every step of a fallback, in order. Absent when there was none. */
  switches: Schema.optional(Schema.Array(Switch)),
  /** Every refusal of a policy on this side, in order. Absent when there was none. */
  refusals: Schema.optional(Schema.Array(Refused))
}) {
  /** The sum of all waits before attempts. */
  get waited(): Duration.Duration {
    return this.attempts.reduce((sum, attempt) => Duration.sum(sum, attempt.wait), Duration.zero)
  }

  /** From the start of the call to the first output of the attempt that answered; only of streams. */
  get firstOutput(): Duration.Duration | undefined {
    const answered = this.attempts.findLast(({ discarded, outcome }) => outcome._tag === "Answered" && !discarded)
    return answered?.firstOutput === undefined ? undefined : Duration.sum(answered.start, answered.firstOutput)
  }

  /** The tokens of all attempts together, as far as the providers said. */
  get usage(): Usage {
    return sum(this.attempts.flatMap(({ usage }) => usage ?? []))
  }

  /**
   * What all attempts cost together; absent when nothing was, when the cost of one that used tokens is not known, and when
   * they are of different currencies: a sum that leaves something out is no sum.
   */
  get cost(): Cost | undefined {
    const used = this.attempts.filter(({ cost, usage }) => usage !== undefined || cost !== undefined)
    const currency = used[0]?.cost?.currency
    if (currency === undefined) return undefined
    let nanos = 0
    for (const { cost } of used) {
      if (cost?.currency !== currency) return undefined
      nanos += cost.nanos
    }
    return new Cost({ nanos, currency })
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

/**
 * The receipt of a call from its events, as `Call.observe` or `CallEvents` tell of them: the same that `Ended` brings. Of
 * the events of several calls it is that of the first one that begins among them. Where its `Ended` is not there, it is the
 * receipt so far, up to the last event; nothing where no call begins.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromEvents = (events: Iterable<Event>): Option.Option<Receipt> => Option.fromNullable(replay(events))

/**
 * The receipt so far of the call that the current fiber works for: what is over of it, not the attempt under way. Nothing
 * outside of a call.
 *
 * @since 0.1.0
 * @category reading
 */
export const current: Effect.Effect<Option.Option<Receipt>> = Effect.withFiberRuntime((fiber) => {
  const { call } = localOf(fiber)
  if (call === undefined || call.ended) return Effect.succeedNone
  const now = Context.get(fiber.currentDefaultServices, Clock.Clock).unsafeCurrentTimeMillis()
  return Effect.succeed(Option.some(call.receipt(now)))
})
