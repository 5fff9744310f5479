/**
 * The refusals of policies: a request that was stopped on this side, before or instead of a provider's answer. `LlmError`
 * has them all. None of them captures a stack, since refusing must cost little.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { failure } from "./internal/copy.ts"
import { common, printSafely, say } from "./internal/failure.ts"

/** The fields of {@link common} that a refusal always has, as none of them came over the wire. */
const nothing = { detail: "", idempotent: true, partial: "", handedOut: false, spent: false }

/**
 * A refusal from its own fields, `retryAfter` left out where it is not known. It has no stack and costs a fraction of what
 * its constructor does, which also checks the fields.
 *
 * @since 0.1.0
 * @category constructors
 */
export const refusal = <C extends Refusals>(
  type: C,
  fields: Own<C>
): InstanceType<C> => Object.assign(failure<InstanceType<C>>(type as never, { _tag: type._tag }), nothing, fields)

type Refusals = (typeof Refusal)["members"][number]

/** The fields that only this refusal has, whom it is about, when to come again, and what else there is to say. */
type Own<C extends Refusals> = Omit<
  ConstructorParameters<C>[0],
  Exclude<keyof typeof common, "provider" | "model" | "retryAfter" | "detail" | "shouldRetry">
>

const after = (retryAfter: Duration.Duration | undefined): string =>
  retryAfter === undefined ? "" : `, again in ${Duration.format(retryAfter)}`

/**
 * A circuit breaker keeps requests from a target that has been failing. `retryAfter` is the time until it lets a probe
 * through; it is absent where that is not known: while all probes are under way, and in isolation by hand.
 *
 * @since 0.1.0
 * @category errors
 */
export class CircuitOpen extends Schema.TaggedError<CircuitOpen>("perdure/CircuitOpen")("CircuitOpen", {
  ...common,
  /** The name of the circuit, for example `openai/gpt-4o`. */
  circuit: Schema.String,
  /** `open`; `halfOpen` when all probes are under way; `isolated` when it is held open by hand. */
  state: Schema.Literal("open", "halfOpen", "isolated")
}) {
  override get message(): string {
    return say(`is not asked: circuit ${this.circuit} is ${this.state}${after(this.retryAfter)}`, this)
  }
}

/**
 * The time for the whole call is up (`passed`), or too little is left for this target to answer in (`tooNear`).
 *
 * @since 0.1.0
 * @category errors
 */
export class DeadlineExceeded extends Schema.TaggedError<DeadlineExceeded>("perdure/DeadlineExceeded")(
  "DeadlineExceeded",
  {
    ...common,
    reason: Schema.Literal("passed", "tooNear"),
    /** The time that the call was given. */
    limit: Schema.DurationFromMillis.pipe(Schema.propertySignature, Schema.fromKey("limitMs")),
    /** Whether a request was under way when the time was up, which the provider may have acted on. */
    sent: Schema.Boolean
  }
) {
  override get message(): string {
    const limit = Duration.format(this.limit)
    return say(
      this.reason === "passed"
        ? `did not answer within the ${limit} of the call`
        : `has too little time left of ${limit}`,
      this
    )
  }
}

/**
 * A quota of our own, of requests or tokens in a time, has no permit in time. `retryAfter` is the time until it would.
 *
 * @since 0.1.0
 * @category errors
 */
export class QuotaExceeded extends Schema.TaggedError<QuotaExceeded>("perdure/QuotaExceeded")("QuotaExceeded", {
  ...common,
  /** The name of the limit that has no room, for example `tokens per minute`. */
  quota: Schema.String
}) {
  override get message(): string {
    return say(`is not asked: no permit in ${this.quota}${after(this.retryAfter)}`, this)
  }
}

/**
 * As many requests as allowed are under way, and as many as allowed wait.
 *
 * @since 0.1.0
 * @category errors
 */
export class BulkheadFull extends Schema.TaggedError<BulkheadFull>("perdure/BulkheadFull")("BulkheadFull", {
  ...common,
  /** How many may be under way at once, now. */
  limit: Schema.Number,
  /** How many may wait. */
  queue: Schema.Number
}) {
  override get message(): string {
    return say(`is not asked: ${this.limit} requests are under way and ${this.queue} wait`, this)
  }
}

/**
 * Every key of a pool is benched. `retryAfter` is the time until the first of them is back.
 *
 * @since 0.1.0
 * @category errors
 */
export class NoHealthyKey extends Schema.TaggedError<NoHealthyKey>("perdure/NoHealthyKey")("NoHealthyKey", {
  ...common,
  /** How many keys the pool has. */
  keys: Schema.Int
}) {
  override get message(): string {
    return say(`is not asked: none of ${this.keys} keys is healthy${after(this.retryAfter)}`, this)
  }
}

/**
 * What may be spent is spent, or this request might cost more than is left. `retryAfter` is the time until the window
 * ends; it is absent where waiting does not help: a limit in total, a request that costs more than the whole limit, or one
 * whose price is not known.
 *
 * @since 0.1.0
 * @category errors
 */
export class SpendLimitExceeded extends Schema.TaggedError<SpendLimitExceeded>("perdure/SpendLimitExceeded")(
  "SpendLimitExceeded",
  {
    ...common,
    /** What may be spent in the window, in units of the currency. */
    limit: Schema.Number,
    /** What is spent of it, with the estimates of the calls that are under way. */
    used: Schema.Number,
    /** What this request might have cost; absent where that is not known. */
    estimate: Schema.optional(Schema.Number),
    /** For example `USD`. */
    currency: Schema.String,
    /** For example `day`, or `total`. */
    window: Schema.String
  }
) {
  override get message(): string {
    const window = this.window === "total" ? "in total" : `per ${this.window}`
    const estimate = this.estimate === undefined ? "" : `, and this may cost ${this.estimate}`
    return say(
      `is not asked: ${this.used} of ${this.limit} ${this.currency} ${window} are spent${estimate}${
        after(this.retryAfter)
      }`,
      this
    )
  }
}

/**
 * A refusal of one of this library's policies.
 *
 * @since 0.1.0
 * @category models
 */
export const Refusal = Schema.Union(
  CircuitOpen,
  DeadlineExceeded,
  QuotaExceeded,
  BulkheadFull,
  NoHealthyKey,
  SpendLimitExceeded
)

/**
 * @since 0.1.0
 * @category models
 */
export type Refusal = typeof Refusal.Type

printSafely(Refusal.members)
