import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schedule } from "effect"
import * as fc from "effect/FastCheck"
import { Disposition, InvalidOption, LlmProvider, Policy, Retry, RetrySpec } from "perdure"
import * as Options from "../src/Options.ts"
import { openAi } from "./support/provider.ts"

/** What a caller without types might write. */
type Build = (value: never) => unknown

interface Row {
  /** The option as its refusal names it. */
  readonly option: string
  readonly build: Build
  readonly allowed: string
  /** Refused values, with how they are printed. */
  readonly bad: ReadonlyArray<readonly [value: unknown, printed: string]>
  readonly good: ReadonlyArray<unknown>
}

const plain = Retry.exponential("1 second")
const provider = { ...openAi, generate: () => Effect.dieMessage("not asked") }

const durations = {
  allowed: "a finite duration longer than zero",
  bad: [
    [0, "0"],
    [-1, "-1"],
    [Number.NaN, "NaN"],
    [Infinity, "Infinity"],
    [-Infinity, "-Infinity"],
    [0n, "0"],
    [-5n, "-5"],
    ["0 seconds", "\"0 seconds\""],
    ["-1 seconds", "\"-1 seconds\""],
    ["soon", "\"soon\""],
    ["5", "\"5\""],
    ["", "\"\""],
    [[-1, 0], "[-1,0]"],
    [[1n, 2n], "1,2"],
    [Duration.zero, "0"],
    [Duration.infinity, "Infinity"],
    [null, "null"],
    [undefined, "undefined"],
    [{}, "{}"],
    [true, "true"]
  ],
  good: [1, 0.5, 1n, "1 nanos", "2 seconds", "1.5 seconds", [0, 1], Duration.millis(1), Duration.days(1000)]
} as const satisfies Partial<Row>

/** A duration that may be left out. */
const optionalDurations = { ...durations, bad: durations.bad.filter(([value]) => value !== undefined) }

const text = {
  allowed: "a non-empty string",
  bad: [["", "\"\""], [" \t\n", "\" \\t\\n\""], [undefined, "undefined"], [null, "null"], [5, "5"], [{}, "{}"]],
  good: ["x", " x "]
} as const satisfies Partial<Row>

/** Every option of every constructor and combinator. */
const rows: ReadonlyArray<Row> = [
  { option: "Retry.exponential(base)", build: Retry.exponential, ...durations },
  {
    option: "Retry.exponential(factor)",
    build: (factor) => Retry.exponential("1 second", factor),
    allowed: "a finite number of at least 1",
    bad: [[0, "0"], [0.999, "0.999"], [-2, "-2"], [Number.NaN, "NaN"], [Infinity, "Infinity"], ["2", "\"2\""], [
      null,
      "null"
    ]],
    good: [1, 1.5, 2, 1e300]
  },
  { option: "Retry.constant(delay)", build: Retry.constant, ...durations },
  {
    option: "Retry.fromSchedule(name)",
    build: (name) => Retry.fromSchedule(Schedule.forever, name),
    ...text,
    bad: text.bad.filter(([value]) => value !== undefined)
  },
  { option: "Retry.capped(cap)", build: Retry.capped, ...durations },
  {
    option: "Retry.jittered(jitter)",
    build: Retry.jittered,
    allowed: "\"none\", \"full\", \"equal\", \"decorrelated\"",
    bad: [["some", "\"some\""], ["Full", "\"Full\""], ["", "\"\""], [undefined, "undefined"], [true, "true"]],
    good: ["none", "full", "equal", "decorrelated"]
  },
  {
    option: "Retry.attempts(n)",
    build: Retry.attempts,
    allowed: "a whole number of at least 1",
    bad: [
      [0, "0"],
      [-1, "-1"],
      [1.5, "1.5"],
      [Number.NaN, "NaN"],
      [Infinity, "Infinity"],
      [2 ** 53, "9007199254740992"],
      ["3", "\"3\""],
      [3n, "3"],
      [null, "null"],
      [undefined, "undefined"]
    ],
    good: [1, 2, 2 ** 53 - 1]
  },
  { option: "Retry.within(duration)", build: Retry.within, ...durations },
  {
    option: "Retry.honoringRetryAfter({ max })",
    build: (max) => Retry.honoringRetryAfter({ max }),
    ...optionalDurations
  },
  ...(["rateLimit", "overload", "server", "connection", "timeout"] as const).map((pace): Row => ({
    option: `Retry.bases({ ${pace} })`,
    build: (base) => Retry.bases({ [pace]: base }),
    ...optionalDurations
  })),
  {
    option: "Retry.bases(…)",
    build: (retry) => Retry.bases({ server: "1 second" })(retry),
    allowed: "no bases together with Retry.fromSchedule, whose schedule has no base to replace",
    bad: [[Retry.fromSchedule(Schedule.forever), "\"a base\""]],
    good: [plain]
  },
  {
    option: "Retry.fromSpec(spec.backoff)",
    build: Retry.fromSpec,
    allowed: "Exponential",
    bad: [[Retry.fromSchedule(Schedule.forever).spec, "\"FromSchedule\""]],
    good: [plain.spec]
  },
  {
    option: "Retry.fromSpec(spec.classifier)",
    build: Retry.fromSpec,
    allowed: "default",
    bad: [[plain.pipe(Retry.classifiedBy(Disposition.override({}))).spec, "\"custom\""]],
    good: [plain.spec, Retry.article.spec, new RetrySpec.RetrySpec(plain.spec)]
  },
  { option: "Policy.timeout(duration)", build: Policy.timeout, ...durations },
  {
    option: "LlmProvider.make({ provider })",
    build: (name) => LlmProvider.make({ ...provider, provider: name }),
    ...text
  },
  { option: "LlmProvider.make({ model })", build: (model) => LlmProvider.make({ ...provider, model }), ...text },
  {
    option: "LlmProvider.make({ contextWindow })",
    build: (contextWindow) => LlmProvider.make({ ...provider, contextWindow }),
    allowed: "a whole number of at least 1",
    bad: [[0, "0"], [-1, "-1"], [1.5, "1.5"], [Number.NaN, "NaN"], [Infinity, "Infinity"], ["8k", "\"8k\""], [
      null,
      "null"
    ]],
    good: [1, 128_000, undefined]
  },
  {
    option: "LlmProvider.make({ model })",
    build: (model) => LlmProvider.layer({ ...provider, model }),
    ...text
  },
  {
    option: "Disposition.override(rows)",
    build: (tag: never) => Disposition.override({ [tag]: { next: "here" } }),
    allowed: "\"RateLimited\", \"QuotaExhausted\", \"Overloaded\", \"ProviderUnavailable\", \"ConnectionFailed\", " +
      "\"TimedOut\", \"StreamInterrupted\", \"MalformedResponse\", \"InvalidRequest\", \"ContextLengthExceeded\", " +
      "\"ContentFiltered\", \"Unauthenticated\", \"PermissionDenied\", \"ModelNotFound\", \"RequestTooLarge\", " +
      "\"CircuitOpen\", \"DeadlineExceeded\", \"QuotaExceeded\", \"BulkheadFull\", \"NoHealthyKey\", \"SpendLimitExceeded\"",
    bad: [["Sulking", "\"Sulking\""], ["rateLimited", "\"rateLimited\""], ["AllTargetsFailed", "\"AllTargetsFailed\""]],
    good: ["RateLimited", "RequestTooLarge"]
  },
  {
    option: "Disposition.override({ TimedOut: { next } })",
    build: (next) => Disposition.override({ TimedOut: { next } }),
    allowed: "\"here\", \"elsewhereFirst\", \"elsewhereOnly\", \"largerContextOnly\", \"stop\"",
    bad: [["nowhere", "\"nowhere\""], [true, "true"], [null, "null"]],
    good: ["here", "elsewhereFirst", "elsewhereOnly", "largerContextOnly", "stop"]
  },
  {
    option: "Disposition.override({ TimedOut: { blame } })",
    build: (blame) => Disposition.override({ TimedOut: { blame } }),
    allowed: "\"request\", \"key\", \"quota\", \"model\", \"provider\", \"none\"",
    bad: [["you", "\"you\""]],
    good: ["request", "key", "quota", "model", "provider", "none"]
  },
  {
    option: "Disposition.override({ TimedOut: { pace } })",
    build: (pace) => Disposition.override({ TimedOut: { pace } }),
    allowed: "\"rateLimit\", \"overload\", \"server\", \"connection\", \"timeout\"",
    bad: [["slow", "\"slow\""]],
    good: ["rateLimit", "overload", "server", "connection", "timeout"]
  }
]

describe("E1: an option outside its range is refused where the value is built", () => {
  for (const { allowed, bad, build, good, option } of rows) {
    for (const [value, printed] of bad) {
      it(`${option} refuses ${printed}`, () => {
        const error = thrown(() => build(value as never))
        assert.instanceOf(error, InvalidOption)
        assert.deepInclude(error, { _tag: "InvalidOption", option, value: printed, allowed })
        assert.strictEqual(error.message, `${option} was given ${printed}; allowed: ${allowed}`)
      })
    }
    it(`${option} takes the values at the edge of its range`, () => {
      for (const value of good) assert.isUndefined(thrown(() => build(value as never)))
    })
  }

  it("and the first of several that are out of range is the one named", () => {
    const error = thrown(() => Retry.exponential(-1, 0))
    assert.instanceOf(error, InvalidOption)
    assert.strictEqual(error.option, "Retry.exponential(base)")
  })
})

describe("what is refused and what is taken", () => {
  it("of numbers: exactly the whole ones in the range", () => {
    const number = fc.oneof(fc.double(), fc.integer({ min: -5, max: 15 }))
    fc.assert(
      fc.property(number, (n) => {
        const refused = thrown(() => Options.integer("x", n, 1, 10)) !== undefined
        assert.strictEqual(refused, !(Number.isInteger(n) && n >= 1 && n <= 10))
      }),
      { numRuns: 2000 }
    )
    const error = thrown(() => Options.integer("x", 11, 1, 10))
    assert.instanceOf(error, InvalidOption)
    assert.strictEqual(error.allowed, "a whole number from 1 to 10")
  })

  it("of durations: exactly those above zero and below 2^53 ms, and they come out as they went in", () => {
    fc.assert(
      fc.property(fc.oneof(fc.double(), fc.integer(), fc.double({ min: 0, max: 1e12 })), (millis) => {
        const refused = thrown(() => Options.duration("x", millis)) !== undefined
        const taken = Duration.toMillis(millis)
        assert.strictEqual(refused, !(millis > 0 && taken > 0 && taken < 2 ** 53))
        if (!refused) assert.deepStrictEqual(Options.duration("x", millis), Duration.decode(millis))
      }),
      { numRuns: 2000 }
    )
  })

  it("of durations that may be zero: zero too, and nothing below it", () => {
    assert.deepStrictEqual(Options.duration("x", 0, "zero"), Duration.zero)
    for (const bad of [-1, Number.NaN, Infinity, "-1 seconds" as const]) {
      const error = thrown(() => Options.duration("x", bad, "zero"))
      assert.instanceOf(error, InvalidOption)
      assert.strictEqual(error.allowed, "a finite duration of at least zero")
    }
  })

  it("of durations: none whose milliseconds are no longer told apart", () => {
    assert.isDefined(Options.duration("x", 2 ** 53 - 1))
    for (const bad of [2 ** 53, 1e17, Number.MAX_VALUE, "1000000000000 days", 10n ** 30n] as const) {
      const error = thrown(() => Options.duration("x", bad))
      assert.instanceOf(error, InvalidOption)
      assert.strictEqual(error.allowed, "at most 9007199254740991 ms")
    }
  })

  it("whatever is given, the refusal is an InvalidOption and not an accident of printing it", () => {
    const circular: Record<string, unknown> = {}
    circular["self"] = circular
    const strange = [circular, Symbol("s"), () => 1, [1n], new Map(), Object.create(null), new Date(Number.NaN), /x/]
    for (const value of strange) {
      for (const { build, option } of rows.filter(({ bad }) => bad.some(([value]) => value === null))) {
        const error = thrown(() => build(value as never))
        assert.instanceOf(error, InvalidOption, option)
        assert.notStrictEqual(error.value, "")
      }
    }
    fc.assert(
      fc.property(
        fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true }),
        (value) => {
          const error = thrown(() => Retry.attempts(value as never))
          assert.isTrue(error === undefined ? Number.isInteger(value) : error instanceof InvalidOption)
        }
      ),
      { numRuns: 2000 }
    )
  })
})

/** What a function throws; `undefined` when it does not. */
function thrown(f: () => unknown): unknown {
  try {
    f()
    return undefined
  } catch (error) {
    return error
  }
}
