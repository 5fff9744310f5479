/**
 * What a retry policy is made of, as data: to print, to compare, to keep in a file.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const millis = (key: string) => Schema.propertySignature(Schema.DurationFromMillis).pipe(Schema.fromKey(key))
const optionalMillis = (key: string) => Schema.optional(Schema.DurationFromMillis).pipe(Schema.fromKey(key))

/**
 * Delays that grow by a factor each time.
 *
 * @since 0.1.0
 * @category models
 */
export class Exponential extends Schema.TaggedClass<Exponential>("perdure/Exponential")("Exponential", {
  base: millis("baseMs"),
  factor: Schema.Number
}) {}

/**
 * Delays that come from an Effect `Schedule`. It is a function, so only its name is remembered, and a spec with it
 * cannot be turned back into a policy.
 *
 * @since 0.1.0
 * @category models
 */
export class FromSchedule extends Schema.TaggedClass<FromSchedule>("perdure/FromSchedule")("FromSchedule", {
  name: Schema.String
}) {}

/**
 * Backoff bases by class of failure, in place of the general one.
 *
 * @since 0.1.0
 * @category models
 */
export class Bases extends Schema.Class<Bases>("perdure/Bases")({
  rateLimit: optionalMillis("rateLimitMs"),
  overload: optionalMillis("overloadMs"),
  server: optionalMillis("serverMs"),
  connection: optionalMillis("connectionMs"),
  timeout: optionalMillis("timeoutMs")
}) {}

/**
 * How the delays are spread: `none`; `full`, anywhere below the delay; `equal`, its upper half; `decorrelated`, between
 * the base and three times the wait before.
 *
 * @since 0.1.0
 * @category models
 */
export const Jitter = Schema.Literal("none", "full", "equal", "decorrelated")

/**
 * @since 0.1.0
 * @category models
 */
export type Jitter = typeof Jitter.Type

/**
 * What a retry policy was made of. Equal specs are `Equal`; it encodes to JSON with durations in milliseconds, and
 * `Retry.fromSpec` turns it back into a policy.
 *
 * @since 0.1.0
 * @category models
 */
export class RetrySpec extends Schema.Class<RetrySpec>("perdure/RetrySpec")({
  backoff: Schema.Union(Exponential, FromSchedule),
  /** The most a backoff waits. No cap when absent. */
  cap: optionalMillis("capMs"),
  jitter: Jitter,
  /** The most calls, the first included. No limit when absent. */
  attempts: Schema.optional(Schema.Int.pipe(Schema.positive())),
  /** The most time from the start of the first call to the start of the last. No limit when absent. */
  within: optionalMillis("withinMs"),
  /** The longest `Retry-After` that is waited for. Hints are not read at all when absent. */
  maxRetryAfter: optionalMillis("maxRetryAfterMs"),
  bases: Bases,
  /** Whether failures that are not an `LlmError` are repeated too. */
  repeats: Schema.Literal("anything", "llmErrors"),
  /** Whether the default `Disposition.classify` decides, or one of the caller's. */
  classifier: Schema.Literal("default", "custom")
}) {}
