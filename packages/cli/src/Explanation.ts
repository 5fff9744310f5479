/**
 * What a failure is, what it deserves and what the policies make of it, as data. Nothing is known here by itself: the
 * classifier, the retries and the fallback rule are asked.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as Schema from "effect/Schema"
import * as Disposition from "perdure/Disposition"
import * as Fallback from "perdure/Fallback"
import * as LlmError from "perdure/LlmError"
import * as Retry from "perdure/Retry"

const millis = (key: string) => Schema.propertySignature(Schema.DurationFromMillis).pipe(Schema.fromKey(key))

/**
 * The range that a wait is drawn from, if every wait before it was the shortest.
 *
 * @since 0.1.0
 * @category models
 */
export const Wait = Schema.Struct({ least: millis("atLeastMs"), most: millis("atMostMs") })

/**
 * What a retry policy makes of a failure that does not go away: one wait for each retry.
 *
 * @since 0.1.0
 * @category models
 */
export const Plan = Schema.Struct({ policy: Schema.String, waits: Schema.Array(Wait) })

/** @since 0.1.0 @category models */
export type Plan = typeof Plan.Type

/**
 * The whole of it; what `--json` prints. `error` and `message` are those of one response, and absent where a failure is
 * explained by its name.
 *
 * @since 0.1.0
 * @category models
 */
export const Explanation = Schema.Struct({
  failure: Schema.String,
  meaning: Schema.String,
  next: Schema.Literal("here", "elsewhereFirst", "elsewhereOnly", "largerContextOnly", "stop"),
  blame: Schema.Literal("request", "key", "quota", "model", "provider", "none"),
  pace: Schema.optional(Schema.Literal("rateLimit", "overload", "server", "connection", "timeout")),
  wait: Schema.optional(Schema.DurationFromMillis).pipe(Schema.fromKey("waitMs")),
  /** Whether the provider may have acted on the request. */
  mayHaveActed: Schema.Boolean,
  /** What each preset of `Retry` would do, with no other target to ask. */
  retries: Schema.Struct({ standard: Plan, article: Plan }),
  /** Whether a fallback asks the next target, once the retries are spent. */
  fallback: Schema.Literal("yes", "largerContextOnly", "no"),
  message: Schema.optional(Schema.String),
  error: Schema.optional(LlmError.ProviderError)
})

/** @since 0.1.0 @category models */
export type Explanation = typeof Explanation.Type

/**
 * The name of a failure of one provider.
 *
 * @since 0.1.0
 * @category models
 */
export type Tag = LlmError.ProviderError["_tag"]

const target = { provider: "provider", model: "model" }

/** One failure of each kind, with nothing known of it but its kind. */
const samples: { readonly [K in Tag]: () => Extract<LlmError.ProviderError, { readonly _tag: K }> } = {
  RateLimited: () => new LlmError.RateLimited(target),
  QuotaExhausted: () => new LlmError.QuotaExhausted(target),
  Overloaded: () => new LlmError.Overloaded(target),
  ProviderUnavailable: () => new LlmError.ProviderUnavailable(target),
  ConnectionFailed: () => new LlmError.ConnectionFailed({ ...target, sent: true }),
  TimedOut: () => new LlmError.TimedOut({ ...target, phase: "attempt" }),
  StreamInterrupted: () => new LlmError.StreamInterrupted(target),
  MalformedResponse: () => new LlmError.MalformedResponse(target),
  ContextLengthExceeded: () => new LlmError.ContextLengthExceeded(target),
  Unauthenticated: () => new LlmError.Unauthenticated(target),
  PermissionDenied: () => new LlmError.PermissionDenied(target),
  ModelNotFound: () => new LlmError.ModelNotFound(target),
  InvalidRequest: () => new LlmError.InvalidRequest(target),
  ContentFiltered: () => new LlmError.ContentFiltered({ ...target, stage: "prompt" }),
  RequestTooLarge: () => new LlmError.RequestTooLarge(target)
}

/**
 * Every failure of a provider by its name, those that are worth another try first.
 *
 * @since 0.1.0
 * @category constants
 */
export const tags: ReadonlyArray<Tag> = Object.values(samples).map((sample) => sample()._tag)

const meanings: Readonly<Record<Tag, string>> = {
  RateLimited: "Too much was asked in too short a time (429). It was not processed, and waiting helps.",
  QuotaExhausted: "The quota, the credit or the spend limit is used up (402, some 429). Waiting does not help.",
  Overloaded: "The provider is up but has too much to do (503, 529). It was not processed.",
  ProviderUnavailable: "The provider failed on its side (500, 502, 504 and the like). The next try may succeed.",
  ConnectionFailed:
    "The connection could not be made, or broke before an answer came. A refused one certainly reached nobody.",
  TimedOut: "A time limit was passed, ours or the provider's own (408). The provider may still bill for it.",
  StreamInterrupted: "The stream ended without saying that the answer is complete, or broke.",
  MalformedResponse: "The answer could not be understood: not JSON, not the documented shape, or empty.",
  InvalidRequest: "The request itself is wrong (most 400, 422). Every provider would refuse it.",
  ContextLengthExceeded: "The prompt, with the room kept for the answer, does not fit into the model's context window.",
  ContentFiltered: "The prompt or the answer was refused for its content. Another provider is asked only on request.",
  Unauthenticated: "The key is missing, wrong or revoked (401).",
  PermissionDenied: "The key is good but may not do this (403).",
  ModelNotFound: "There is no such model for this account, or nothing takes requests at this address (404).",
  RequestTooLarge: "The request is larger than the provider ever takes (413, or more than a whole minute's limit)."
}

const presets = { standard: Retry.standard, article: Retry.article }

/** Asks the policy itself, with chance held at both of its ends. */
const planOf = (policy: Retry.Retry<LlmError.LlmError>, failure: LlmError.ProviderError): Effect.Effect<Plan> =>
  Effect.gen(function*() {
    const waits: Array<typeof Wait.Type> = []
    let state: unknown = policy.initial
    let now = 0
    while (true) {
      const step = policy.step(now, failure, state)
      const [next, least, decision] = yield* Effect.withRandom(step, Random.fixed([0]))
      if (ScheduleDecision.isDone(decision)) return { policy: Retry.describe(policy), waits }
      const [, most] = yield* Effect.withRandom(step, Random.fixed([1]))
      waits.push({ least, most })
      state = next
      now += Duration.toMillis(least)
    }
  })

const fallbackOf = (failure: LlmError.ProviderError): Explanation["fallback"] => {
  const window = failure._tag === "ContextLengthExceeded" ? failure.limit ?? 1 : 1
  const requested = failure._tag === "ContextLengthExceeded" ? failure.requested ?? 0 : 0
  const from = { provider: failure.provider, model: failure.model, contextWindow: window }
  const moves = Fallback.movesOn(Disposition.classify)
  if (moves(failure, { from, to: target })) return "yes"
  return moves(failure, { from, to: { ...target, contextWindow: window + requested + 1 } }) ? "largerContextOnly" : "no"
}

const about = (failure: LlmError.ProviderError): Effect.Effect<Explanation> =>
  Effect.map(
    Effect.all({ standard: planOf(presets.standard, failure), article: planOf(presets.article, failure) }),
    (retries) => ({
      ...Disposition.classify(failure),
      failure: failure._tag,
      meaning: meanings[failure._tag],
      mayHaveActed: Disposition.mayHaveActed(failure),
      retries,
      fallback: fallbackOf(failure)
    })
  )

/**
 * Explains one failure.
 *
 * @since 0.1.0
 * @category constructors
 */
export const ofFailure = (error: LlmError.ProviderError): Effect.Effect<Explanation> =>
  Effect.map(about(error), (explanation) => ({ ...explanation, message: error.message, error }))

/**
 * Explains a failure by its name.
 *
 * @since 0.1.0
 * @category constructors
 */
export const ofTag = (tag: Tag): Effect.Effect<Explanation> => about(samples[tag]())

/**
 * Why a policy retries no more often than it would, in words; absent when only the number of its attempts ends it.
 *
 * @since 0.1.0
 * @category reading
 */
export const stopped = (explanation: Explanation, name: keyof typeof presets): string | undefined => {
  const { attempts, maxRetryAfter, within } = presets[name].spec
  const { waits } = explanation.retries[name]
  const { wait } = explanation
  if (waits.length === (attempts ?? Number.POSITIVE_INFINITY) - 1) return undefined
  if (!Disposition.mayRepeat(explanation)) {
    return explanation.error?.shouldRetry === false
      ? "the provider says not to (x-should-retry: false)"
      : "asking it again would end the same"
  }
  if (wait !== undefined && maxRetryAfter !== undefined && Duration.greaterThan(wait, maxRetryAfter)) {
    return `the wait asked for is longer than the ${Duration.format(maxRetryAfter)} it takes at most`
  }
  return within === undefined ? undefined : `its ${Duration.format(within)} would be over`
}
