/**
 * Everything that can go wrong with a call to a model, one class for each decision a caller could take.
 *
 * The provider layers turn statuses, bodies and broken sockets into these; policies ask {@link module:Disposition} what
 * each deserves and never look at a status code themselves.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { copy } from "./internal/copy.ts"
import { common } from "./internal/failure.ts"
import { redact } from "./internal/redact.ts"
import { ProviderError } from "./ProviderError.ts"
import { Refusal } from "./Refusal.ts"

export * from "./ProviderError.ts"
export * from "./Refusal.ts"

/**
 * The failure of one target: what its provider did, or the refusal of a policy in front of it.
 *
 * @since 0.1.0
 * @category models
 */
export const TargetError = Schema.Union(ProviderError, Refusal)

/**
 * @since 0.1.0
 * @category models
 */
export type TargetError = typeof TargetError.Type

/**
 * A fallback chain ended without an answer. It holds every target's last failure, in the order they happened.
 *
 * @since 0.1.0
 * @category errors
 */
export class AllTargetsFailed extends Schema.TaggedError<AllTargetsFailed>("perdure/AllTargetsFailed")(
  "AllTargetsFailed",
  {
    failures: Schema.NonEmptyArray(TargetError),
    /** How many targets were left untried because the last failure would have met them too. */
    untried: Schema.optionalWith(Schema.Int, { default: () => 0 }),
    spent: common.spent,
    receipt: common.receipt
  }
) {
  /** The failure that ended the chain. */
  get last(): TargetError {
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
export const LlmError = Schema.Union(TargetError, AllTargetsFailed)

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

const classes = [...ProviderError.members, ...Refusal.members, AllTargetsFailed]

/**
 * What {@link update} can change.
 *
 * @since 0.1.0
 * @category models
 */
export type Changes = Partial<
  Pick<TargetError, "receipt" | "spent" | "idempotent" | "partial" | "usage" | "handedOut" | "rateLimits">
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
