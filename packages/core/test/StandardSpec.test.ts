import { assert, describe, expect, expectTypeOf, it } from "@effect/vitest"
import { ConfigError, ConfigProvider, Duration, Effect, Either, Exit, ParseResult, Schema } from "effect"
import * as fc from "effect/FastCheck"
import { Budget, type Bulkhead, CircuitBreaker, type Fallback, Policy, type Quota, Retry, Standard } from "perdure"
import { isValid, members, type Node } from "./support/jsonSchema.ts"

/** A place in a spec, what may stand there in JSON, and the options that come of it. */
interface Row {
  readonly path: ReadonlyArray<string>
  readonly json: unknown
  readonly options: Standard.LayerOptions
  /** What has to be beside it. */
  readonly beside: object
}

const row = (path: string, json: unknown, options: Standard.LayerOptions, beside: object = {}): Row => ({
  path: path.split("."),
  json,
  options,
  beside
})

const retry = (...changes: ReadonlyArray<(self: Retry.Retry<any>) => Retry.Retry<any>>): Standard.LayerOptions => ({
  retry: changes.reduce((self, change) => change(self), Retry.standard)
})

const trips = (tripPolicy: CircuitBreaker.TripPolicy): Standard.LayerOptions => ({ breaker: { tripPolicy } })

const window = { size: 20, rate: 0.5 }
const times = { duration: "30 seconds", rate: 0.5, minimum: 8 } as const
const slow = { longerThan: "20 seconds", rate: 0.5, minimum: 8 } as const
const limit = { unit: "requests", amount: 5, per: "1 second", burst: 10, name: "by hand" } as const
const paces = ["rateLimit", "overload", "server", "connection", "timeout"] as const
const units = ["requests", "tokens", "inputTokens", "outputTokens"] as const
const buckets = ["target", "process"] as const
const kinds = ["retry", "hedge", "fallback"] as const

/** Every field there is. */
const rows: ReadonlyArray<Row> = [
  row("deadline", "30 seconds", { deadline: "30 seconds" }),
  row("attempt", 5000, { attempt: "5 seconds" }),
  row("retry", "off", { retry: false }),
  row("retry.attempts", 4, retry(Retry.attempts(4))),
  row("retry.base", "250 millis", retry((self) => Retry.withBackoff(self, "250 millis"))),
  row("retry.factor", 3.5, retry((self) => Retry.withBackoff(self, "500 millis", 3.5))),
  row("retry.cap", "30 seconds", retry(Retry.capped("30 seconds"))),
  row("retry.within", "1 minute", retry(Retry.within("1 minute"))),
  row("retry.jitter", "equal", retry(Retry.jittered("equal"))),
  row("retry.maxRetryAfter", "2 minutes", retry(Retry.honoringRetryAfter({ max: "2 minutes" }))),
  ...paces.map((pace) => row(`retry.bases.${pace}`, "3 seconds", retry(Retry.bases({ [pace]: "3 seconds" })))),
  row("breaker", "off", { breaker: false }),
  row("breaker.failures", 7, trips(CircuitBreaker.consecutive(7))),
  row("breaker.countWindow.size", 30, trips(CircuitBreaker.countWindow({ ...window, size: 30 })), window),
  row("breaker.countWindow.rate", 1, trips(CircuitBreaker.countWindow({ ...window, rate: 1 })), window),
  row("breaker.countWindow.minimum", 4, trips(CircuitBreaker.countWindow({ ...window, minimum: 4 })), window),
  row("breaker.timeWindow.duration", 9000, trips(CircuitBreaker.timeWindow({ ...times, duration: 9000 })), times),
  row("breaker.timeWindow.rate", 0.25, trips(CircuitBreaker.timeWindow({ ...times, rate: 0.25 })), times),
  row("breaker.timeWindow.minimum", 3, trips(CircuitBreaker.timeWindow({ ...times, minimum: 3 })), times),
  row("breaker.slowCalls.longerThan", 900, trips(CircuitBreaker.slowCalls({ ...slow, longerThan: 900 })), slow),
  row("breaker.slowCalls.rate", 0.25, trips(CircuitBreaker.slowCalls({ ...slow, rate: 0.25 })), slow),
  row("breaker.slowCalls.minimum", 3, trips(CircuitBreaker.slowCalls({ ...slow, minimum: 3 })), slow),
  row("breaker.slowCalls.duration", 9000, trips(CircuitBreaker.slowCalls({ ...slow, duration: 9000 })), slow),
  row("breaker.openFor", "1 minute", { breaker: { openDuration: "1 minute" } }),
  row("breaker.probes", 2, { breaker: { probes: 2 } }),
  row("breaker.probeLease", "3 minutes", { breaker: { probeLease: "3 minutes" } }),
  row("breaker.metricsOnly", true, { breaker: { metricsOnly: true } }),
  row("breaker.name", "shared", { breaker: { name: "shared" } }),
  row("quota", "off", { quota: false }),
  ...units.flatMap((unit) => [
    row(`quota.${unit}PerMinute`, 60, { quota: { perMinute: { [unit]: 60 } } }),
    row(`quota.${unit}PerDay`, 1e12, { quota: { perDay: { [unit]: 1e12 } } })
  ]),
  row("quota.limits", [limit], { quota: { limits: [limit] } }),
  row("quota.learn", "both", { quota: { learn: "both" } }),
  row("quota.countCached", false, { quota: { countCached: false } }),
  row("quota.queue", 0, { quota: { queue: 0 } }),
  row("quota.maxWait", 0, { quota: { maxWait: 0 } }),
  row("quota.name", "shared", { quota: { name: "shared" } }),
  row("bulkhead", "off", { bulkhead: false }),
  row("bulkhead.limit", 3, { bulkhead: { limit: 3 } }),
  row("bulkhead.queue", 0, { bulkhead: { queue: 0 } }),
  row("bulkhead.maxWait", "0 seconds", { bulkhead: { maxWait: 0 } }),
  row("bulkhead.name", "mine", { bulkhead: { name: "mine" } }),
  row("bulkhead.adaptive.name", "mine", { bulkhead: { adaptive: { name: "mine" } } }),
  row("bulkhead.adaptive.algorithm", "aimd", { bulkhead: { adaptive: { algorithm: "aimd" } } }),
  row("bulkhead.adaptive.initial", 20, { bulkhead: { adaptive: { initial: 20 } } }),
  row("bulkhead.adaptive.min", 2, { bulkhead: { adaptive: { min: 2 } } }),
  row("bulkhead.adaptive.max", 50, { bulkhead: { adaptive: { max: 50 } } }),
  row("bulkhead.adaptive.tolerance", 1.5, { bulkhead: { adaptive: { tolerance: 1.5 } } }),
  row("bulkhead.adaptive.backoff", 0.5, { bulkhead: { adaptive: { backoff: 0.5 } } }),
  row("bulkhead.adaptive.queue", 7, { bulkhead: { adaptive: { queue: 7 } } }),
  row("bulkhead.adaptive.maxWait", 0, { bulkhead: { adaptive: { maxWait: 0 } } }),
  row("budget", "grpc", { budget: Budget.grpc }),
  ...buckets.flatMap((bucket) => [
    row(`budget.${bucket}`, "none", { budget: { [bucket]: "none" } }),
    row(`budget.${bucket}.capacity`, 20, { budget: { [bucket]: { capacity: 20 } } }),
    row(`budget.${bucket}.ratio`, 0.5, { budget: { [bucket]: { ratio: 0.5 } } }),
    row(`budget.${bucket}.deposits`, "all", { budget: { [bucket]: { deposits: "all" } } }),
    row(`budget.${bucket}.perSecond`, 0, { budget: { [bucket]: { perSecond: 0 } } }),
    row(`budget.${bucket}.ttl`, "10 seconds", { budget: { [bucket]: { ttl: "10 seconds" } } }),
    row(`budget.${bucket}.blockedAt`, 5, { budget: { [bucket]: { blockedAt: 5 } } }),
    row(`budget.${bucket}.drains`, true, { budget: { [bucket]: { drains: true } } }),
    row(`budget.${bucket}.refunds`, true, { budget: { [bucket]: { refunds: true } } })
  ]),
  ...kinds.flatMap((kind) => [
    row(`budget.costs.${kind}`, 2, { budget: { costs: { [kind]: 2 } } }),
    row(`budget.costs.${kind}.otherwise`, 3, { budget: { costs: { [kind]: { otherwise: 3 } } } }),
    ...paces.map((pace) =>
      row(`budget.costs.${kind}.${pace}`, 0.5, { budget: { costs: { [kind]: { otherwise: 3, [pace]: 0.5 } } } }, {
        otherwise: 3
      })
    )
  ]),
  row("budget.name", "shared", { budget: { name: "shared" } }),
  row("fallback.order", "fastest", { fallback: { order: "fastest" } }),
  row("fallback.weights", [3, 1], { fallback: { weights: [3, 1] } }),
  row("fallback.contentRefusal", "moveOn", { fallback: { contentRefusal: "moveOn" } }),
  row("fallback.unhealthyAfter", 2, { fallback: { unhealthyAfter: 2 } }),
  row("fallback.unhealthyFor", "1 minute", { fallback: { unhealthyFor: "1 minute" } }),
  row("fallback.name", "mine", { fallback: { name: "mine" } }),
  row("fallback.lastResort", "soonest", { fallback: { lastResort: "soonest" } })
]

/** The spec in which a value stands at its place. */
const at = ({ beside, path }: Row, json: unknown): object =>
  path.toReversed().reduce<unknown>(
    (inner, key, i) => (i === 0 ? { ...beside, [key]: inner } : { [key]: inner }),
    json
  ) as object

const merged = (a: object, b: object): object => {
  const all: Record<string, unknown> = { ...a }
  for (const [key, value] of Object.entries(b)) {
    const before = all[key]
    all[key] = isPlain(before) && isPlain(value) ? merged(before, value) : value
  }
  return all
}

const isPlain = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const durations = ["deadline", "attempt", "openDuration", "probeLease", "per", "maxWait", "ttl", "unhealthyFor"]

/** What is said in options: without functions, without what is left out, with all durations in milliseconds. */
const shown = (value: unknown, key = ""): unknown => {
  if (durations.includes(key) && value !== false) return Duration.toMillis(value as Duration.DurationInput)
  if (key === "retry" && typeof value === "object") return (value as Retry.Retry).spec
  if (key === "tripPolicy") return (value as CircuitBreaker.TripPolicy)[CircuitBreaker.TripPolicyTypeId]
  if (Array.isArray(value)) return value.map((one) => shown(one))
  if (!isPlain(value)) return value
  const said = Object.entries(value).filter(([name, one]) =>
    one !== undefined && !(name.startsWith("per") && isPlain(one) && Object.values(one).every((x) => x === undefined))
  )
  return Object.fromEntries(said.map(([name, one]) => [name, shown(one, name)]))
}

const decoded = (json: unknown): Standard.Spec => Either.getOrThrow(Standard.decode(json))

/** The variables that say the same as a spec. */
const variablesOf = (json: object, name = "PERDURE"): ReadonlyArray<readonly [string, string]> =>
  Object.entries(json).flatMap(([key, value]) => {
    const variable = `${name}_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? variablesOf(value, variable)
      : [[variable, typeof value === "string" ? value : JSON.stringify(value)] as const]
  })

const provider = (variables: Iterable<readonly [string, string]>) =>
  ConfigProvider.fromMap(new Map(variables), { pathDelim: "_" })

const configured = (variables: Iterable<readonly [string, string]>) =>
  Effect.withConfigProvider(Standard.config(), provider(variables))

const schema = Standard.jsonSchema as unknown as Node

/** All places of a JSON Schema at which something other than an object may stand. */
const places = (node: Node): ReadonlyArray<string> =>
  members(schema, node).flatMap(({ properties = {} }) =>
    Object.entries(properties as Record<string, Node>).flatMap(([key, of]) => [
      ...members(schema, of).some(({ type }) => type !== "object") ? [key] : [],
      ...places(of).map((inner) => `${key}.${inner}`)
    ])
  )

describe("each field of a spec", () => {
  it("is in the table of this test", () => {
    assert.sameMembers([...places(schema)], rows.map(({ path }) => path.join(".")))
  })

  for (const one of rows) {
    it.effect(`${one.path.join(".")} is an option, from JSON and from the environment`, () =>
      Effect.gen(function*() {
        const json = at(one, one.json)
        const spec = decoded(json)
        expect(shown(Standard.fromSpec(spec))).toEqual(shown(one.options))
        expect(shown(one.options)).not.toEqual(shown({}))
        expect(yield* configured(variablesOf(json))).toEqual(spec)
        expect(decoded(JSON.parse(JSON.stringify(Schema.encodeSync(Standard.Spec)(spec))))).toEqual(spec)
        assert.isTrue(isValid(schema, json))
      }))
  }

  it("is there for every option that is no function", () => {
    type Group<K extends keyof Standard.Spec> = Extract<Standard.Spec[K], object>
    type Adaptive = NonNullable<Group<"bulkhead">["adaptive"]>
    type Bucket = Extract<Group<"budget">["target"], object>
    expectTypeOf<keyof Standard.Spec>().toEqualTypeOf<keyof Standard.LayerOptions>()
    expectTypeOf<keyof Adaptive>().toEqualTypeOf<Exclude<keyof Bulkhead.AdaptiveOptions, "key" | "overloads">>()
    expectTypeOf<Exclude<keyof Group<"bulkhead">, "adaptive">>().toEqualTypeOf<Exclude<keyof Bulkhead.Options, "key">>()
    expectTypeOf<keyof Bucket>().toEqualTypeOf<keyof Budget.Rule>()
    expectTypeOf<keyof Group<"budget">>().toEqualTypeOf<Exclude<keyof Budget.Options, "key">>()
    expectTypeOf<keyof Group<"fallback">>().toEqualTypeOf<
      Exclude<keyof Fallback.Options, "movesOn" | "classify" | "memory">
    >()
    expectTypeOf<Exclude<keyof Group<"quota">, `${keyof Quota.Amounts}Per${string}`>>().toEqualTypeOf<
      Exclude<keyof Quota.Options, "perMinute" | "perDay" | "estimate" | "key">
    >()
    expectTypeOf<
      Exclude<keyof Group<"breaker">, "failures" | "countWindow" | "timeWindow" | "slowCalls" | "openFor">
    >().toEqualTypeOf<Exclude<keyof CircuitBreaker.Options, "tripPolicy" | "openDuration" | "counts" | "key">>()
  })
})

describe("a spec", () => {
  it("of several trip policies opens by any of them; hints may be ignored; presets have names", () => {
    const { breaker, budget, retry } = Standard.fromSpec(decoded({
      breaker: { failures: 3, timeWindow: times },
      budget: "aws",
      retry: { maxRetryAfter: "ignore" }
    }))
    assert(breaker !== undefined && breaker !== false && breaker.tripPolicy !== undefined)
    assert.strictEqual(
      CircuitBreaker.describeTripPolicy(breaker.tripPolicy),
      "3 in a row or 50% in 30s of at least 8 calls"
    )
    assert.strictEqual(budget, Budget.aws)
    assert(retry !== undefined && retry !== false)
    assert.isUndefined(retry.spec.maxRetryAfter)
    for (const [name, options] of [["default", {}], ["finagle", Budget.finagle], ["off", false]] as const) {
      assert.deepStrictEqual(Standard.fromSpec(decoded({ budget: name })).budget, options)
    }
  })

  it("with a longer base keeps a rate limit's base longer still, unless that is given", () => {
    const baseOf = (retry: object) => {
      const options = Standard.fromSpec(decoded({ retry })).retry
      assert(options !== undefined && options !== false)
      const { rateLimit } = options.spec.bases
      return rateLimit === undefined ? undefined : Duration.toMillis(rateLimit)
    }
    assert.strictEqual(baseOf({ base: "4 seconds" }), 8000)
    assert.strictEqual(baseOf({ base: "600 millis" }), 1200)
    assert.strictEqual(baseOf({ base: "100 millis" }), 1000)
    assert.strictEqual(baseOf({ factor: 3 }), 1000)
    assert.strictEqual(baseOf({ base: "4 seconds", bases: { rateLimit: "2 seconds" } }), 2000)
    assert.strictEqual(baseOf({ base: "4 seconds", bases: { overload: "2 seconds" } }), 8000)
  })

  it("comes back from JSON, durations as text", () => {
    const spec = decoded({ deadline: "30 seconds", retry: { attempts: 4 }, breaker: "off" })
    assert.deepStrictEqual(spec.deadline, Duration.seconds(30))
    const json = JSON.parse(JSON.stringify(Schema.encodeSync(Standard.Spec)(spec)))
    assert.deepStrictEqual(json, { deadline: "30000 millis", retry: { attempts: 4 }, breaker: "off" })
  })

  const misspelt = [
    ["deadlin", { deadlin: "1 minute" }],
    ["retry.atempts", { retry: { atempts: 9 } }],
    ["retry.bases.rateLimits", { retry: { bases: { rateLimits: 9 } } }],
    ["breaker.countWindow.sizes", { breaker: { countWindow: { ...window, sizes: 9 } } }],
    ["bulkhead.adaptive.limit", { bulkhead: { adaptive: { limit: 9 } } }],
    ["budget.costs.retries", { budget: { costs: { retries: 9 } } }],
    ["budget.costs.retry.rateLimits", { budget: { costs: { retry: { otherwise: 1, rateLimits: 9 } } } }],
    ["quota.limits.0.amounts", { quota: { limits: [{ ...limit, amounts: 9 }] } }],
    ["fallback.ordre", { fallback: { ordre: "given" } }]
  ] as const
  for (const [path, json] of misspelt) {
    it(`refuses a field that does not exist, by its path: ${path}`, () => {
      for (const decode of [Standard.decode, Schema.decodeUnknownEither(Standard.Spec)]) {
        const issues = Either.match(decode(json), {
          onLeft: (error) => ParseResult.ArrayFormatter.formatErrorSync(error),
          onRight: () => []
        })
        assert.include(issues.map(({ path }) => path.join(".")), path)
      }
      assert.isFalse(isValid(schema, json))
    })
  }

  it("agrees with its JSON Schema in each field by itself, but for limits that a schema cannot say", () => {
    const strange = [0, 1, -1, 1.5, 1e13, 2e6, 20_000, "", " ", "x", "0", "5", "-1 seconds", "0 seconds", "1.5 hours"]
    const others = ["soon", "5seconds", "off", "on", "none", "ignore", "aimd", true, false, null, {}, [], [1], { a: 1 }]
    for (const one of rows) {
      for (const value of [...strange, ...others]) {
        const json = at(one, value)
        const taken = Either.isRight(Standard.decode(json))
        const narrower = ["initial", "ttl", "blockedAt"].includes(one.path.at(-1) ?? "")
        assert.isTrue(taken ? isValid(schema, json) : narrower || !isValid(schema, json), JSON.stringify(json))
      }
    }
  })

  it("that is taken is valid by its JSON Schema", () => {
    const values = fc.oneof(fc.jsonValue(), fc.constantFrom("off", "1 minute", "none", 0, 1, 0.5, 5, true))
    const some = fc.array(fc.tuple(fc.constantFrom(...rows), fc.option(values, { freq: 3, nil: undefined })), {
      maxLength: 4
    })
    fc.assert(
      fc.property(some, (chosen) => {
        const json: object = chosen.reduce(
          (all, [one, value]) => merged(all, at(one, value === undefined ? one.json : value)),
          {}
        )
        assert.isTrue(Either.isLeft(Standard.decode(json)) || isValid(schema, json), JSON.stringify(json))
      }),
      { numRuns: 1000 }
    )
  })
})

describe("E1: a bad variable is a ConfigError with its name", () => {
  const bad: ReadonlyArray<readonly [name: string, value: string, beside?: Record<string, string>]> = [
    ["DEADLINE", "soon"],
    ["DEADLINE", "-1 seconds"],
    ["DEADLINE", "-1"],
    ["DEADLINE", ""],
    ["ATTEMPT", "0"],
    ["ATTEMPT", "Infinity"],
    ["ATTEMPT", `${Number.MAX_SAFE_INTEGER + 1}`],
    ["DEADLINE", "9".repeat(300)],
    ["RETRY", "of"],
    ["RETRY_ATTEMPTS", "0"],
    ["RETRY_ATTEMPTS", "many"],
    ["RETRY_ATTEMPTS", "9007199254740993"],
    ["RETRY_JITTER", "some"],
    ["RETRY_FACTOR", "Infinity"],
    ["RETRY_FACTOR", "1e999"],
    ["RETRY_BASES_RATE_LIMIT", "0"],
    ["BREAKER_COUNT_WINDOW_SIZE", "10001", { BREAKER_COUNT_WINDOW_RATE: "1" }],
    ["BREAKER_COUNT_WINDOW_RATE", "1.1", { BREAKER_COUNT_WINDOW_SIZE: "10" }],
    ["BREAKER_COUNT_WINDOW_MINIMUM", "11", { BREAKER_COUNT_WINDOW_SIZE: "10", BREAKER_COUNT_WINDOW_RATE: "1" }],
    ["BREAKER_METRICS_ONLY", "maybe"],
    ["BREAKER_NAME", " "],
    ["BULKHEAD_LIMIT", "1.5"],
    ["BULKHEAD_LIMIT", "5", { BULKHEAD_ADAPTIVE: "on" }],
    ["BULKHEAD_ADAPTIVE", "off"],
    ["BULKHEAD_ADAPTIVE_BACKOFF", "1"],
    ["BULKHEAD_ADAPTIVE_INITIAL", "201"],
    ["BULKHEAD_ADAPTIVE_MIN", "9", { BULKHEAD_ADAPTIVE_MAX: "8" }],
    ["QUOTA_REQUESTS_PER_MINUTE", "10000000000000"],
    ["QUOTA_LIMITS", "5 per second"],
    ["QUOTA_LIMITS", `[{"unit":"requests","amount":1,"per":"1.5 millis"}]`],
    ["QUOTA_LIMITS", JSON.stringify([limit, limit])],
    ["QUOTA_LIMITS", JSON.stringify([{ ...limit, name: "requests per minute" }]), { QUOTA_REQUESTS_PER_MINUTE: "5" }],
    ["QUOTA_MAX_WAIT", "-1"],
    ["BUDGET", "mine"],
    ["BUDGET", "grpc", { BUDGET_TARGET_CAPACITY: "20" }],
    ["BUDGET_TARGET_CAPACITY", "0"],
    ["BUDGET_TARGET_BLOCKED_AT", "35"],
    ["BUDGET_PROCESS_PER_SECOND", "0.0001"],
    ["BUDGET_PROCESS_TTL", "1 millis"],
    ["FALLBACK_WEIGHTS", "[0,0]"],
    ["FALLBACK_ORDER", "random"]
  ]
  for (const [name, value, beside = {}] of bad) {
    it.effect(`${name}=${value}`, () =>
      Effect.gen(function*() {
        const variables = Object.entries({ ...beside, [name]: value }).map(([key, one]) =>
          [`PERDURE_${key}`, one] as const
        )
        const error = yield* Effect.flip(Effect.withConfigProvider(Policy.fromConfig(), provider(variables)))
        assert(error._op === "InvalidData")
        assert.strictEqual(error.path.join("_"), `PERDURE_${name}`)
        assert.notStrictEqual(error.message, "")
      }))
  }

  it.effect("a missing one that another needs is named, too", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(configured([["PERDURE_BREAKER_TIME_WINDOW_RATE", "0.5"]]))
      assert(error._op === "InvalidData")
      assert.strictEqual(error.path.join("_"), "PERDURE_BREAKER_TIME_WINDOW_DURATION")
    }))

  it("and whatever is given, nothing is a defect", async () => {
    const names = rows.flatMap((one) => variablesOf(at(one, one.json)).map(([name]) => name))
    const texts = fc.oneof(
      fc.string(),
      fc.double().map(String),
      fc.integer().map(String),
      fc.json(),
      fc.constantFrom("on", "off", "none", "0", "1", "1e999", "1 minute", "0.1 nanos", "1e12", "999999999 weeks")
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom(...names), texts), { minLength: 1, maxLength: 4 }),
        async (all) => {
          const exit = await Effect.runPromiseExit(Effect.withConfigProvider(Policy.fromConfig(), provider(all)))
          if (Exit.isSuccess(exit)) return
          assert(exit.cause._tag === "Fail" && ConfigError.isConfigError(exit.cause.error), String(exit.cause))
        }
      ),
      { numRuns: 300 }
    )
  }, 60_000)
})

describe("variables", () => {
  it.effect("`on` is a policy with its defaults, `off` goes before the fields of one", () =>
    Effect.gen(function*() {
      expect(
        yield* configured([
          ["PERDURE_QUOTA", "on"],
          ["PERDURE_BULKHEAD_ADAPTIVE", "on"],
          ["PERDURE_RETRY", "on"],
          ["PERDURE_RETRY_ATTEMPTS", "4"],
          ["PERDURE_BREAKER", "off"],
          ["PERDURE_BREAKER_FAILURES", "4"]
        ])
      ).toEqual(decoded({ quota: {}, bulkhead: { adaptive: {} }, retry: { attempts: 4 }, breaker: "off" }))
    }))

  it.effect("are read by a provider of nested JSON as well", () =>
    Effect.gen(function*() {
      const nested = ConfigProvider.fromJson({ APP: { RETRY: { ATTEMPTS: 4 }, BREAKER: { METRICS_ONLY: true } } })
      expect(yield* Effect.withConfigProvider(Standard.config("APP"), nested)).toEqual(
        decoded({ retry: { attempts: 4 }, breaker: { metricsOnly: true } })
      )
    }))
})
