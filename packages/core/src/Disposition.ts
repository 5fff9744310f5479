/**
 * What each failure deserves: try here again, try elsewhere, or stop; at what pace; and whom it counts against.
 *
 * This is the one table of its kind. Retries, fallbacks, breakers and key pools ask it, so none of them has a list of
 * status codes of its own, and changing one answer here changes all of them alike.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type { AllTargetsFailed, LlmError, TargetError } from "./LlmError.ts"
import * as Options from "./Options.ts"

/**
 * What to do next.
 *
 * - `here`: the same target may be asked again.
 * - `elsewhereFirst`: another target is better; the same one again when there is no other.
 * - `elsewhereOnly`: the same target would fail again; another may not.
 * - `largerContextOnly`: only a target with a larger context window can answer.
 * - `stop`: every target would fail, or it is not safe to repeat the request anywhere.
 *
 * @since 0.1.0
 * @category models
 */
export type Next = "here" | "elsewhereFirst" | "elsewhereOnly" | "largerContextOnly" | "stop"

/**
 * Whom a failure counts against. Only `key`, `model` and `provider` are faults that a circuit breaker should count; a
 * refusal of a policy of ours says nothing about anybody, `none`.
 *
 * @since 0.1.0
 * @category models
 */
export type Blame = "request" | "key" | "quota" | "model" | "provider" | "none"

/**
 * The classes of failure that may have backoff bases of their own.
 *
 * @since 0.1.0
 * @category models
 */
export type Pace = "rateLimit" | "overload" | "server" | "connection" | "timeout"

/**
 * The consequences of one failure.
 *
 * @since 0.1.0
 * @category models
 */
export interface Disposition {
  readonly next: Next
  readonly blame: Blame
  /** Which backoff base a wait for this failure starts from; absent where no wait helps. */
  readonly pace?: Pace | undefined
  /** The least time to wait before asking the same target again, where that helps and the provider named one. */
  readonly wait?: Duration.Duration | undefined
}

/**
 * From a failure to its consequences. {@link classify} is the default; {@link override} makes another.
 *
 * @since 0.1.0
 * @category models
 */
export type Classifier = (error: LlmError) => Disposition

type Consequence = Omit<Disposition, "wait">

const table = {
  RateLimited: { next: "here", blame: "quota", pace: "rateLimit" },
  QuotaExhausted: { next: "elsewhereOnly", blame: "quota" },
  Overloaded: { next: "here", blame: "provider", pace: "overload" },
  ProviderUnavailable: { next: "here", blame: "provider", pace: "server" },
  ConnectionFailed: { next: "here", blame: "provider", pace: "connection" },
  TimedOut: { next: "elsewhereFirst", blame: "provider", pace: "timeout" },
  StreamInterrupted: { next: "here", blame: "provider", pace: "server" },
  MalformedResponse: { next: "here", blame: "provider", pace: "server" },
  InvalidRequest: { next: "stop", blame: "request" },
  ContextLengthExceeded: { next: "largerContextOnly", blame: "request" },
  ContentFiltered: { next: "stop", blame: "request" },
  Unauthenticated: { next: "elsewhereOnly", blame: "key" },
  PermissionDenied: { next: "elsewhereOnly", blame: "key" },
  ModelNotFound: { next: "elsewhereOnly", blame: "model" },
  RequestTooLarge: { next: "stop", blame: "request" },
  CircuitOpen: { next: "elsewhereFirst", blame: "none" },
  DeadlineExceeded: { next: "elsewhereOnly", blame: "none" },
  QuotaExceeded: { next: "elsewhereFirst", blame: "none" },
  BulkheadFull: { next: "elsewhereFirst", blame: "none", pace: "overload" },
  NoHealthyKey: { next: "elsewhereFirst", blame: "none" },
  SpendLimitExceeded: { next: "elsewhereFirst", blame: "none" }
} as const satisfies Record<TargetError["_tag"], Consequence>

/**
 * Whether the same target may be asked again.
 *
 * @since 0.1.0
 * @category guards
 */
export const mayRepeat = ({ next }: Disposition): boolean => next === "here" || next === "elsewhereFirst"

/**
 * Whether the provider may have acted on the failed request, so that repeating it could act twice. A refusal (a rate
 * limit, an overload, a connection never made) certainly did nothing.
 *
 * @since 0.1.0
 * @category guards
 */
export const mayHaveActed = (error: LlmError): boolean => {
  switch (error._tag) {
    case "TimedOut":
    case "StreamInterrupted":
    case "MalformedResponse":
    case "ProviderUnavailable":
      return true
    case "ConnectionFailed":
    case "DeadlineExceeded":
      return error.sent
    case "AllTargetsFailed":
      return error.failures.some(mayHaveActed)
    case "RateLimited":
    case "QuotaExhausted":
    case "Overloaded":
    case "InvalidRequest":
    case "ContextLengthExceeded":
    case "ContentFiltered":
    case "Unauthenticated":
    case "PermissionDenied":
    case "ModelNotFound":
    case "RequestTooLarge":
    case "CircuitOpen":
    case "QuotaExceeded":
    case "BulkheadFull":
    case "NoHealthyKey":
    case "SpendLimitExceeded":
      return false
  }
}

/** What no classifier may change: an act is not repeated, what a reader has seen is not, and no time is left after the end. */
const mustStop = (error: TargetError): boolean =>
  (!error.idempotent && mayHaveActed(error)) || error.handedOut ||
  (error._tag === "DeadlineExceeded" && error.reason === "passed")

/** What stands above the table: what is not safe, what was said, what is spent. */
const refine = (error: TargetError, consequence: Consequence): Disposition => {
  if (mustStop(error)) return { ...consequence, next: "stop" }
  if (!mayRepeat(consequence)) return consequence
  if (error.spent || error.shouldRetry === false) return { ...consequence, next: "elsewhereOnly" }
  return error.retryAfter === undefined ? consequence : { ...consequence, wait: error.retryAfter }
}

/**
 * A chain deserves what its last failure does, with three exceptions: it stops when any of its targets must not be asked
 * again; it is not run again once a retry policy inside it or around it has given up, or retries would multiply; and it
 * waits as long as any target asked that may be asked again.
 */
const ofChain = (error: AllTargetsFailed, each: ReadonlyArray<Disposition>): Disposition => {
  const last = each[each.length - 1] ?? { next: "stop", blame: "provider" }
  const wait = each.filter(mayRepeat).reduce<Duration.Duration | undefined>(
    (longest, { wait }) => wait === undefined ? longest : longest === undefined ? wait : Duration.max(longest, wait),
    undefined
  )
  if (error.failures.some(mustStop)) return { ...last, next: "stop" }
  if (!mayRepeat(last)) return last
  return error.spent ? { ...last, next: "elsewhereOnly" } : { ...last, wait }
}

const words = {
  next: ["here", "elsewhereFirst", "elsewhereOnly", "largerContextOnly", "stop"],
  blame: ["request", "key", "quota", "model", "provider", "none"],
  pace: ["rateLimit", "overload", "server", "connection", "timeout"]
} as const satisfies { readonly [K in keyof Consequence]-?: ReadonlyArray<NonNullable<Consequence[K]>> }

const checkRow = (tag: string, row: Partial<Consequence>): void => {
  Options.literal("Disposition.override(rows)", tag, Object.keys(table))
  for (const key of ["next", "blame", "pace"] as const) {
    const value = row[key]
    if (value !== undefined) Options.literal<string>(`Disposition.override({ ${tag}: { ${key} } })`, value, words[key])
  }
}

/**
 * A classifier that differs from the default in some rows. Three things cannot be overridden, because they are promises
 * to the caller: a request that is not idempotent is never repeated once the provider may have acted, a stream that was
 * handed out is never repeated behind its reader's back, and nothing is begun when the time of the call is up.
 *
 * @example
 * ```ts
 * import { Disposition } from "perdure"
 *
 * // Let another provider answer what the first one refused for its content.
 * const classify = Disposition.override({ ContentFiltered: { next: "elsewhereOnly" } })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const override = (
  rows: { readonly [K in keyof typeof table]?: Partial<Consequence> }
): Classifier => {
  for (const [tag, row = {}] of Object.entries(rows)) checkRow(tag, row)
  const classifyOne = (error: TargetError) => refine(error, { ...table[error._tag], ...rows[error._tag] })
  const classifyWith: Classifier = (error) =>
    error._tag === "AllTargetsFailed" ? ofChain(error, error.failures.map(classifyOne)) : classifyOne(error)
  return classifyWith
}

/**
 * The default consequences of a failure. Pure; it looks at nothing but the failure.
 *
 * Of the provider's own word (`x-should-retry`), `false` forbids another try at the same target; `true` adds nothing to
 * what is retried anyway, and never makes a refusal that cannot change (quota, key, model, content, a bad request) worth
 * repeating.
 *
 * @since 0.1.0
 * @category constructors
 */
export const classify: Classifier = override({})
