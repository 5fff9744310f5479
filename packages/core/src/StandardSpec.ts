/**
 * The options of the standard policies as data: in JSON, in the environment. `Standard` has all of this.
 *
 * @since 0.1.0
 */
import type * as Either from "effect/Either"
import * as JSONSchema from "effect/JSONSchema"
import type * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type { Pace } from "./Disposition.ts"
import * as Internal from "./internal/spec.ts"
import {
  fields,
  Flag,
  from,
  list,
  Off,
  Part,
  policy,
  positive,
  Text,
  Time,
  Wait,
  whole,
  words
} from "./internal/written.ts"
import { Jitter } from "./RetrySpec.ts"
import type { LayerOptions } from "./Standard.ts"

/** The most that a quota takes as a limit. */
const units = whole(1, 1e12)

const share = positive(1)

/** The most calls that a count window remembers. */
const calls = whole(1, 10_000)

/** The most that a bucket of a budget holds. */
const tokens = from(0, 1e6)

const paces = <A, I>(value: Schema.Schema<A, I>) =>
  ({
    rateLimit: value,
    overload: value,
    server: value,
    connection: value,
    timeout: value
  }) as const satisfies { readonly [K in Pace]: unknown }

const Rule = fields({
  capacity: positive(1e6),
  ratio: tokens,
  deposits: words(["served", "all"]),
  perSecond: tokens,
  ttl: Time,
  blockedAt: tokens,
  drains: Flag,
  refunds: Flag
})

const Bucket = Schema.Union(words(["none"], " or options"), Rule)

const Cost = Schema.Union(
  tokens,
  Schema.extend(Schema.Struct({ otherwise: tokens }), fields(paces(tokens)))
)

const Limit = Schema.Struct({
  unit: words(["requests", "tokens", "inputTokens", "outputTokens"]),
  amount: units,
  per: Time,
  burst: Schema.optional(units),
  name: Schema.optional(Text)
})

const Weights = list(from(0)).pipe(
  Schema.filter((weights) => weights.some((weight) => weight > 0) || "expected at least one weight above 0"),
  Schema.annotations({ jsonSchema: { minItems: 1 } })
)

const queue = { queue: whole(0), maxWait: Wait }

const Written = fields({
  deadline: Schema.Union(Time, Off),
  attempt: Schema.Union(Time, Off),
  retry: policy({
    attempts: whole(1),
    base: Time,
    factor: from(1),
    cap: Time,
    within: Time,
    jitter: Jitter,
    maxRetryAfter: Schema.Union(Time, words(["ignore"])),
    bases: fields(paces(Time))
  }),
  breaker: policy({
    failures: whole(1),
    countWindow: Schema.Struct({ size: calls, rate: share, minimum: Schema.optional(calls) }),
    timeWindow: Schema.Struct({ duration: Time, rate: share, minimum: whole(1) }),
    slowCalls: Schema.Struct({
      longerThan: Time,
      rate: share,
      minimum: whole(1),
      duration: Schema.optional(Time)
    }),
    openFor: Time,
    probes: whole(1),
    probeLease: Time,
    metricsOnly: Flag,
    name: Text
  }),
  quota: policy({
    requestsPerMinute: units,
    tokensPerMinute: units,
    inputTokensPerMinute: units,
    outputTokensPerMinute: units,
    requestsPerDay: units,
    tokensPerDay: units,
    inputTokensPerDay: units,
    outputTokensPerDay: units,
    limits: list(Limit),
    learn: words(["never", "lower", "both"]),
    countCached: Flag,
    ...queue,
    name: Text
  }),
  bulkhead: policy({
    limit: whole(1),
    ...queue,
    name: Text,
    adaptive: fields({
      algorithm: words(["aimd", "gradient"]),
      initial: whole(1),
      min: whole(1),
      max: whole(1),
      tolerance: from(1),
      backoff: Part,
      ...queue,
      name: Text
    })
  }),
  budget: Schema.Union(
    words(["default", "finagle", "grpc", "aws", "off"], " or options"),
    fields({
      target: Bucket,
      process: Bucket,
      costs: fields({ retry: Cost, hedge: Cost, fallback: Cost }),
      name: Text
    })
  ),
  fallback: fields({
    order: words(["given", "weighted", "leastInFlight", "fastest"]),
    weights: Weights,
    contentRefusal: words(["stop", "moveOn"]),
    unhealthyAfter: whole(1),
    unhealthyFor: Time,
    lastResort: words(["soonest", "none"]),
    name: Text
  })
})

/**
 * The options that can be written down. Durations are texts such as `30 seconds`, or milliseconds; `"off"` leaves a policy
 * out; what is absent has the default of `Standard.Options`. A field that is not here is refused.
 *
 * Fields have the names of the options, but for these:
 *
 * - `breaker.failures`, `countWindow`, `timeWindow` and `slowCalls` are the trip policies of `CircuitBreaker`. Any of those
 *   given opens a circuit. `openFor` is `openDuration`.
 * - `quota.requestsPerMinute` and the like are the amounts of `perMinute` and `perDay`. A quota without limits has those
 *   that the provider tells of.
 * - `retry` is `Retry.standard` with what is said otherwise. `maxRetryAfter: "ignore"` is `Retry.ignoringRetryAfter`. With a
 *   longer `base`, a rate limit begins with a longer wait in proportion, unless `bases` has one for it.
 * - `budget` is the name of a preset or a budget of one's own.
 * - `fallback` is for `Standard.layer` and `Standard.layerConfig`; one policy alone has no use for it.
 *
 * Functions cannot be written down, so there is no `key`, `counts`, `classify`, `movesOn`, `estimate` or `overloads` here, no
 * classifier for retries, and no schedule for retries or for the time that a circuit stays open: add them to what
 * {@link fromSpec} gives.
 *
 * @since 0.1.0
 * @category models
 */
export const Spec: Schema.Schema<Spec, typeof Written.Encoded> = Written.pipe(
  Schema.filter((spec) => Internal.refusalOf(spec)),
  Schema.annotations({
    identifier: "StandardPolicy",
    jsonSchema: {},
    parseOptions: { onExcessProperty: "error" }
  })
)

/**
 * @since 0.1.0
 * @category models
 */
export interface Spec extends Schema.Schema.Type<typeof Written> {}

/**
 * The JSON Schema of {@link Spec}, for editors and for those who check their configuration elsewhere. Whatever
 * {@link decode} takes is valid by it; it does not know of limits between two fields.
 *
 * @since 0.1.0
 * @category reading
 */
export const jsonSchema: JSONSchema.JsonSchema7Root = JSONSchema.make(Spec)

/**
 * Reads a spec from what `JSON.parse` gives. It fails with the path of what is out of its range, and of every field that
 * does not exist.
 *
 * @example
 * ```ts
 * import { Either } from "effect"
 * import { Policy, Standard } from "perdure"
 *
 * const policy = Either.map(
 *   Standard.decode({ deadline: "30 seconds", retry: { attempts: 4 }, breaker: "off" }),
 *   (spec) => Policy.standard(Standard.fromSpec(spec))
 * )
 * ```
 *
 * @since 0.1.0
 * @category reading
 */
export const decode: (json: unknown) => Either.Either<Spec, ParseResult.ParseError> = Schema.decodeUnknownEither(Spec)

/**
 * The options that a spec describes, for `Standard.layer` and for `Policy.standard`, which does not read `fallback`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromSpec = (spec: Spec): LayerOptions => Internal.optionsOf(spec)
