import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Cause, Duration, Effect, Logger, Schema } from "effect"
import { inspect } from "node:util"
import { LlmError, Receipt } from "perdure"
import { type ByTag, common, samples } from "./support/errors.ts"
import { anthropic, openAi } from "./support/provider.ts"

const toJson = Schema.encodeSync(Schema.parseJson(LlmError.LlmError))
const fromJson = Schema.decodeUnknownSync(Schema.parseJson(LlmError.LlmError))
const all = Object.values(samples)

describe("encoding", () => {
  for (const error of all) {
    it(`${error._tag} comes back from JSON as it was`, () => {
      const back = fromJson(toJson(error))
      assert.strictEqual(back.constructor, error.constructor)
      assert.deepStrictEqual(structure(back), structure(error))
      assert.strictEqual(back.message, error.message)
      assert.strictEqual(toJson(back), toJson(error))
      // The sample has every field there is.
      assert.sameMembers(Object.keys(error), Object.keys(fieldsOf(error)))
    })
  }

  it("writes durations in milliseconds, under names that say so, and leaves out what is not there", () => {
    const error = new LlmError.TimedOut({
      ...openAi,
      phase: "idle",
      limit: Duration.seconds(2),
      retryAfter: Duration.seconds(1)
    })
    assert.deepStrictEqual(JSON.parse(toJson(error)), {
      _tag: "TimedOut",
      provider: "openai",
      model: "gpt-4o",
      retryAfterMs: 1000,
      detail: "",
      idempotent: true,
      partial: "",
      handedOut: false,
      spent: false,
      phase: "idle",
      limitMs: 2000
    })
  })

  it("keeps a stream's partial answer, which logs leave out", () => {
    assert.include(toJson(samples.StreamInterrupted), "a partial answer")
    assert.include(toJson(samples.AllTargetsFailed), "a partial answer")
  })

  it("fills in the defaults when a writer left them out", () => {
    const error = fromJson("{\"_tag\":\"RateLimited\",\"provider\":\"openai\",\"model\":\"gpt-4o\"}")
    assert.deepInclude({ ...error }, { detail: "", idempotent: true, partial: "", handedOut: false, spent: false })
  })

  const chain = { _tag: "AllTargetsFailed", failures: [{ _tag: "RateLimited", ...openAi }] }
  it("reads a chain of plain fields", () => assert.strictEqual(fromJson(JSON.stringify(chain))._tag, chain._tag))

  const refused: ReadonlyArray<readonly [string, object]> = [
    ["an unknown tag", { _tag: "Sulking", ...openAi }],
    ["a missing provider", { _tag: "RateLimited", model: "gpt-4o" }],
    ["a negative wait", { _tag: "RateLimited", ...openAi, retryAfterMs: -1 }],
    ["an unknown phase", { _tag: "TimedOut", ...openAi, phase: "lunch" }],
    ["a chain without a failure", { _tag: "AllTargetsFailed", failures: [] }],
    ["a chain in a chain", { _tag: "AllTargetsFailed", failures: [chain] }]
  ]
  for (const [what, value] of refused) {
    it(`refuses ${what}`, () => assert.throws(() => fromJson(JSON.stringify(value))))
  }
})

describe("is", () => {
  for (const error of all) it(`knows ${error._tag}`, () => assert.isTrue(LlmError.is(error)))

  const others: ReadonlyArray<readonly [string, unknown]> = [
    ["an Error", new Error("RateLimited")],
    ["an Error with the tag", Object.assign(new Error("no"), { _tag: "RateLimited", ...common })],
    ["an object with the fields", { ...samples.RateLimited }],
    ["the class", LlmError.RateLimited],
    ["the prototype of the class", Object.create(Error.prototype)],
    ["a tag", "RateLimited"],
    ["null", null],
    ["undefined", undefined],
    ["a cause", Cause.fail(samples.RateLimited)]
  ]
  for (const [what, value] of others) it(`does not take ${what} for one`, () => assert.isFalse(LlmError.is(value)))

  it("narrows the type", () => {
    const value: unknown = samples.RateLimited
    assert.isTrue(LlmError.is(value))
    if (LlmError.is(value)) expectTypeOf(value).toEqualTypeOf<LlmError.LlmError>()
  })
})

describe("update", () => {
  for (const error of all) {
    it(`changes the bookkeeping of ${error._tag} and keeps class, fields, message and stack`, () => {
      const before = structure(error)
      const fresh = LlmError.update(error, { receipt: Receipt.empty, spent: false })
      assert.notStrictEqual<LlmError.LlmError>(fresh, error)
      assert.strictEqual(fresh.constructor, error.constructor)
      assert.instanceOf(fresh, Error)
      assert.deepStrictEqual(structure(fresh), { ...before, receipt: Receipt.empty, spent: false })
      assert.strictEqual(fresh.stack, error.stack)
      assert.strictEqual(fresh.message, error.message)
      assert.strictEqual(fresh.name, error._tag)
      assert.deepStrictEqual(structure(error), before)
    })
  }

  it("keeps the class in the type", () => {
    expectTypeOf(LlmError.update(samples.TimedOut, { spent: true })).toEqualTypeOf<LlmError.TimedOut>()
  })

  it("leaves the depth of other stacks alone", () => {
    const limit = Error.stackTraceLimit
    LlmError.update(samples.TimedOut, { spent: true })
    assert.strictEqual(Error.stackTraceLimit, limit)
    assert.include(new Error("x").stack ?? "", "LlmError.test.ts")
  })

  it("can be done to a copy, and the copy still fails and is caught as what it is", () => {
    const twice = LlmError.update(LlmError.update(samples.RateLimited, { spent: false }), { idempotent: true })
    const caught = Effect.runSync(twice.pipe(Effect.catchTag("RateLimited", (error) => Effect.succeed(error))))
    assert.strictEqual(caught, twice)
    assert.deepInclude({ ...caught }, { spent: false, idempotent: true, status: 418 })
  })
})

describe("messages", () => {
  const messages: { readonly [K in keyof ByTag]: string } = {
    RateLimited: "openai/gpt-4o is rate limiting (HTTP 418): its own words",
    QuotaExhausted: "openai/gpt-4o has no quota left (HTTP 418): its own words",
    Overloaded: "openai/gpt-4o is overloaded (HTTP 418): its own words",
    ProviderUnavailable: "openai/gpt-4o is unavailable (HTTP 418): its own words",
    ConnectionFailed: "openai/gpt-4o could not be reached (HTTP 418): its own words",
    TimedOut: "openai/gpt-4o timed out after 30s, phase firstOutput (HTTP 418): its own words",
    StreamInterrupted: "openai/gpt-4o cut the stream (HTTP 418): its own words",
    MalformedResponse: "openai/gpt-4o sent an answer that could not be read (HTTP 418): its own words",
    InvalidRequest: "openai/gpt-4o refused the request as invalid (HTTP 418): its own words",
    ContextLengthExceeded: "openai/gpt-4o has too small a context window (HTTP 418): its own words",
    ContentFiltered: "openai/gpt-4o refused the content (refusal) (HTTP 418): its own words",
    Unauthenticated: "openai/gpt-4o does not accept the key (HTTP 418): its own words",
    PermissionDenied: "openai/gpt-4o does not allow this (HTTP 418): its own words",
    ModelNotFound: "openai/gpt-4o does not exist (HTTP 418): its own words",
    RequestTooLarge: "openai/gpt-4o does not take a request of this size (HTTP 418): its own words",
    CircuitOpen:
      "openai/gpt-4o is not asked: circuit openai/gpt-4o is open, again in 1s 500ms (HTTP 418): its own words",
    DeadlineExceeded: "openai/gpt-4o has too little time left of 20s (HTTP 418): its own words",
    QuotaExceeded:
      "openai/gpt-4o is not asked: no permit in tokens per minute, again in 1s 500ms (HTTP 418): its own words",
    BulkheadFull: "openai/gpt-4o is not asked: 10 requests are under way and 100 wait (HTTP 418): its own words",
    NoHealthyKey: "openai/gpt-4o is not asked: none of 3 keys is healthy, again in 1s 500ms (HTTP 418): its own words",
    SpendLimitExceeded: "openai/gpt-4o is not asked: 4.98 of 5 USD per day are spent, and this may cost 0.05, " +
      "again in 1s 500ms (HTTP 418): its own words",
    AllTargetsFailed: "no target answered: openai/gpt-4o is rate limiting (HTTP 418): its own words; " +
      "openai/gpt-4o cut the stream (HTTP 418): its own words; " +
      "openai/gpt-4o has too small a context window (HTTP 418): its own words"
  }
  for (const error of all) {
    it(`${error._tag} says ${JSON.stringify(messages[error._tag])}`, () => {
      assert.strictEqual(error.message, messages[error._tag])
      assert.strictEqual(String(error), `${error._tag}: ${messages[error._tag]}`)
    })
  }

  it("say nothing of a status, words or a limit that are not there", () => {
    assert.strictEqual(new LlmError.RateLimited(openAi).message, "openai/gpt-4o is rate limiting")
    const timedOut = new LlmError.TimedOut({ ...openAi, phase: "provider" })
    assert.strictEqual(timedOut.message, "openai/gpt-4o timed out, phase provider")
  })
})

describe("AllTargetsFailed", () => {
  const asks = (retryAfter?: Duration.DurationInput) =>
    new LlmError.RateLimited({
      ...openAi,
      ...(retryAfter === undefined ? {} : { retryAfter: Duration.decode(retryAfter) })
    })
  const chain = (...failures: [LlmError.ProviderError, ...Array<LlmError.ProviderError>]) =>
    new LlmError.AllTargetsFailed({ failures })

  it("asks to be tried again as soon as the soonest of its targets", () => {
    assert.deepStrictEqual(
      chain(asks("9 seconds"), asks(), asks("2 seconds"), asks("5 seconds")).retryAfter,
      Duration.seconds(2)
    )
    assert.deepStrictEqual(chain(asks(), asks(0)).retryAfter, Duration.zero)
    assert.isUndefined(chain(asks(), asks()).retryAfter)
  })

  it("F4: holds every failure in order and speaks for the last", () => {
    const last = new LlmError.Unauthenticated({ ...anthropic, status: 401, requestId: "req_2" })
    const error = chain(asks("1 second"), last)
    assert.deepStrictEqual(error.failures.map(({ _tag }) => _tag), ["RateLimited", "Unauthenticated"])
    assert.strictEqual<LlmError.TargetError>(error.last, last)
    assert.deepStrictEqual(
      [error.provider, error.model, error.status, error.requestId],
      ["anthropic", "claude", 401, "req_2"]
    )
    assert.strictEqual(error.untried, 0)
  })
})

describe("O3: what arrived of an answer is in no log", () => {
  const secret = samples.StreamInterrupted.partial
  const printed: Record<string, (error: LlmError.LlmError) => string> = {
    "its message": (error) => error.message,
    "String": String,
    "its stack": (error) => error.stack ?? "",
    "util.inspect": (error) => inspect(error, { depth: 10 }),
    "util.inspect of what holds it": (error) => inspect({ errors: [error] }, { depth: 10 }),
    "JSON.stringify": (error) => JSON.stringify({ error }),
    "Cause.pretty": (error) => Cause.pretty(Cause.fail(error), { renderErrorCause: true }),
    "util.inspect of its cause": (error) => inspect(Cause.fail(error), { depth: 10 })
  }
  for (const [how, print] of Object.entries(printed)) {
    it(`printed by ${how}`, () => {
      for (const error of all) {
        const text = print(error)
        assert.isFalse(text.includes(secret), text)
        // It is not that nothing is printed.
        assert.include(text, "its own words")
      }
    })
  }

  const loggers = {
    jsonLogger: Logger.jsonLogger,
    logfmtLogger: Logger.logfmtLogger,
    stringLogger: Logger.stringLogger,
    structuredLogger: Logger.map(Logger.structuredLogger, (entry) => inspect(entry, { depth: 10 }))
  }
  for (const [name, logger] of Object.entries(loggers)) {
    it.effect(`logged through ${name}`, () =>
      Effect.gen(function*() {
        const lines: Array<string> = []
        yield* Effect.logError("failed", samples.StreamInterrupted, Cause.fail(samples.AllTargetsFailed)).pipe(
          Effect.annotateLogs({ error: samples.StreamInterrupted }),
          Effect.provide(Logger.replace(Logger.defaultLogger, Logger.map(logger, (line) => void lines.push(line))))
        )
        assert.strictEqual(lines.length, 1)
        assert.include(lines.join(), "its own words")
        assert.isFalse(lines.join().includes(secret), lines.join())
      }))
  }

  it("while what helps to find the cause is still printed", () => {
    const text = inspect(samples.StreamInterrupted)
    for (const part of ["req_1", "some_code", "handedOut", "StreamInterrupted: openai/gpt-4o cut the stream", "at "]) {
      assert.include(text, part)
    }
  })
})

describe("types", () => {
  it("the union is that of the failures of one provider and the chain's", () => {
    expectTypeOf<LlmError.LlmError>().toEqualTypeOf<
      LlmError.ProviderError | LlmError.Refusal | LlmError.AllTargetsFailed
    >()
    expectTypeOf<LlmError.Tag>().toEqualTypeOf<keyof typeof samples>()
    assert.strictEqual(
      new Set(all.map(({ _tag }) => _tag)).size,
      LlmError.ProviderError.members.length + LlmError.Refusal.members.length + 1
    )
  })

  it("a chain holds at least one failure, and never a chain", () => {
    expectTypeOf(samples.AllTargetsFailed.failures[0]).toEqualTypeOf<LlmError.TargetError>()
  })
})

describe("constructors", () => {
  const wrong: ReadonlyArray<readonly [string, () => unknown]> = [
    ["status", () => new LlmError.RateLimited({ ...openAi, status: 429.5 })],
    ["limit", () => new LlmError.ContextLengthExceeded({ ...openAi, limit: Number.NaN })],
    ["failures", () => new LlmError.AllTargetsFailed({ failures: [] as never })]
  ]
  for (const [field, build] of wrong) {
    it(`refuse a bad ${field} by name`, () => assert.throws(build, new RegExp(`\\["${field}"\\]`)))
  }
})

/** The fields that the error's class declares. */
const fieldsOf = ({ _tag }: LlmError.LlmError) =>
  [...LlmError.ProviderError.members, ...LlmError.Refusal.members, LlmError.AllTargetsFailed].find((member) =>
    member._tag === _tag
  )?.fields ?? {}

/** The own fields of an error as plain data, to compare with another's. */
function structure(error: LlmError.LlmError): object {
  const fields: Record<string, unknown> = { ...error }
  return error._tag === "AllTargetsFailed" ? { ...fields, failures: error.failures.map(structure) } : fields
}

describe("refusals", () => {
  it("are built from their own fields, whole but for a stack, and nothing less compiles", () => {
    const cheap = LlmError.refusal(LlmError.CircuitOpen, { ...openAi, circuit: "c", state: "open" })
    const whole = new LlmError.CircuitOpen({ ...openAi, circuit: "c", state: "open" })
    assert.deepStrictEqual({ ...cheap }, { ...whole })
    assert.strictEqual(cheap.message, whole.message)
    assert.instanceOf(cheap, Error)
    assert.notInclude(cheap.stack ?? "", "\n    at ")
    expectTypeOf(cheap).toEqualTypeOf<LlmError.CircuitOpen>()
    // @ts-expect-error the state is missing
    LlmError.refusal(LlmError.CircuitOpen, { ...openAi, circuit: "c" })
    // @ts-expect-error this refusal has no circuit
    LlmError.refusal(LlmError.QuotaExceeded, { ...openAi, quota: "q", circuit: "c" })
  })
})
