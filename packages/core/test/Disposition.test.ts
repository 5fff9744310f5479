import { assert, describe, expect, expectTypeOf, it } from "@effect/vitest"
import { Duration, Record } from "effect"
import * as fc from "effect/FastCheck"
import { Disposition, LlmError } from "perdure"
import { plain, samples } from "./support/errors.ts"

type TargetTag = LlmError.TargetError["_tag"]

interface Row {
  readonly next: Disposition.Next
  readonly blame: Disposition.Blame
  readonly pace?: Disposition.Pace
  /** Whether the provider may have acted on what failed so. */
  readonly acted: boolean
}

/** What each failure deserves; that no failure is missing is for the compiler to check. */
const table: { readonly [K in TargetTag]: Row } = {
  RateLimited: { next: "here", blame: "quota", pace: "rateLimit", acted: false },
  QuotaExhausted: { next: "elsewhereOnly", blame: "quota", acted: false },
  Overloaded: { next: "here", blame: "provider", pace: "overload", acted: false },
  ProviderUnavailable: { next: "here", blame: "provider", pace: "server", acted: true },
  ConnectionFailed: { next: "here", blame: "provider", pace: "connection", acted: false },
  TimedOut: { next: "elsewhereFirst", blame: "provider", pace: "timeout", acted: true },
  StreamInterrupted: { next: "here", blame: "provider", pace: "server", acted: true },
  MalformedResponse: { next: "here", blame: "provider", pace: "server", acted: true },
  InvalidRequest: { next: "stop", blame: "request", acted: false },
  ContextLengthExceeded: { next: "largerContextOnly", blame: "request", acted: false },
  ContentFiltered: { next: "stop", blame: "request", acted: false },
  Unauthenticated: { next: "elsewhereOnly", blame: "key", acted: false },
  PermissionDenied: { next: "elsewhereOnly", blame: "key", acted: false },
  ModelNotFound: { next: "elsewhereOnly", blame: "model", acted: false },
  RequestTooLarge: { next: "stop", blame: "request", acted: false },
  CircuitOpen: { next: "elsewhereFirst", blame: "none", acted: false },
  DeadlineExceeded: { next: "elsewhereOnly", blame: "none", acted: false },
  QuotaExceeded: { next: "elsewhereFirst", blame: "none", acted: false },
  BulkheadFull: { next: "elsewhereFirst", blame: "none", pace: "overload", acted: false },
  NoHealthyKey: { next: "elsewhereFirst", blame: "none", acted: false },
  SpendLimitExceeded: { next: "elsewhereFirst", blame: "none", acted: false }
}
const tags = Record.keys(table)
const repeatable = tags.filter((tag) => table[tag].next === "here" || table[tag].next === "elsewhereFirst")
const final = tags.filter((tag) => !repeatable.includes(tag))

/** A failure of a class that a provider's layer could have made, with some fields changed. */
const failure = (tag: TargetTag, changes: object = {}): LlmError.TargetError => {
  const error = plain[tag]
  const { retryAfter: _, shouldRetry: __, ...fields } = { ...error }
  return new (error.constructor as new(fields: object) => LlmError.TargetError)({ ...fields, ...changes })
}
const chain = (failures: readonly [LlmError.TargetError, ...Array<LlmError.TargetError>], spent = false) =>
  new LlmError.AllTargetsFailed({ failures, spent })

const nextOf = (error: LlmError.LlmError, classify = Disposition.classify) => classify(error).next

describe("the table", () => {
  for (const tag of tags) {
    const { acted, ...row } = table[tag]
    it(`${tag}: ${row.next}, blames the ${row.blame}, ${row.pace === undefined ? "no pace" : `paced as ${row.pace}`}`, () => {
      assert.deepStrictEqual<object>({ ...Disposition.classify(failure(tag)) }, row)
      assert.strictEqual(Disposition.mayRepeat(row), repeatable.includes(tag))
      assert.strictEqual(Disposition.mayHaveActed(failure(tag)), acted)
    })
  }

  it("has one row for every failure of a provider: a new failure does not compile without one", () => {
    type Rows = Parameters<typeof Disposition.override>[0]
    expectTypeOf<keyof Rows>().toEqualTypeOf<TargetTag>()
    expectTypeOf<keyof Rows | "AllTargetsFailed">().toEqualTypeOf<LlmError.Tag>()
    assert.sameMembers(tags, Record.keys(samples).filter((tag) => tag !== "AllTargetsFailed"))
  })

  it("B4: blames the caller's request, key or quota for what is theirs, so that a breaker counts only faults", () => {
    const blamed = tags.filter((tag) => !["provider", "model", "key"].includes(table[tag].blame))
    assert.sameMembers(blamed, [
      "RateLimited",
      "QuotaExhausted",
      "InvalidRequest",
      "ContextLengthExceeded",
      "ContentFiltered",
      "RequestTooLarge",
      "CircuitOpen",
      "DeadlineExceeded",
      "QuotaExceeded",
      "BulkheadFull",
      "NoHealthyKey",
      "SpendLimitExceeded"
    ])
    for (const tag of blamed) assert.strictEqual(Disposition.classify(failure(tag)).blame, table[tag].blame)
  })

  it("is asked without anything being changed, and answers the same twice", () => {
    for (const error of Object.values(samples)) {
      const before = { ...error }
      assert.deepStrictEqual(Disposition.classify(error), Disposition.classify(error))
      assert.deepStrictEqual({ ...error }, before)
    }
  })
})

describe("R3: the provider's Retry-After", () => {
  const retryAfter = Duration.seconds(7)
  for (const tag of tags) {
    const { acted: _, ...row } = table[tag]
    const waits = row.next === "here" || row.next === "elsewhereFirst"
    it(`is ${waits ? "the" : "no"} wait after ${tag}, and changes nothing else`, () => {
      const expected = waits ? { ...row, wait: retryAfter } : row
      expect({ ...Disposition.classify(failure(tag, { retryAfter })) }).toEqual(expected)
    })
  }
  it("of zero is a wait of zero, not none", () => {
    assert.deepStrictEqual(
      Disposition.classify(failure("RateLimited", { retryAfter: Duration.zero })).wait,
      Duration.zero
    )
  })
})

describe("R7: what is not idempotent", () => {
  for (const tag of tags) {
    const next = table[tag].acted ? "stop" : table[tag].next
    it(`${tag} of such a request: ${next}`, () => {
      assert.strictEqual(nextOf(failure(tag, { idempotent: false })), next)
      assert.strictEqual(nextOf(failure(tag, { idempotent: false, shouldRetry: true })), next)
    })
  }

  it("a connection that broke after the request was sent stops; a refused one does not", () => {
    for (const [sent, next] of [[true, "stop"], [false, "here"]] as const) {
      const error = failure("ConnectionFailed", { sent, idempotent: false })
      assert.strictEqual(Disposition.mayHaveActed(error), sent)
      assert.strictEqual(nextOf(error), next)
      assert.strictEqual(nextOf(failure("ConnectionFailed", { sent })), "here")
    }
  })

  it("still counts against whom it did", () => {
    const { blame, pace } = Disposition.classify(failure("TimedOut", { idempotent: false }))
    assert.deepStrictEqual([blame, pace], ["provider", "timeout"])
  })
})

describe("R8: the provider's word on retrying", () => {
  for (const tag of repeatable) {
    it(`false forbids ${tag} another try here, but not elsewhere`, () => {
      assert.strictEqual(nextOf(failure(tag, { shouldRetry: false })), "elsewhereOnly")
      assert.strictEqual(nextOf(failure(tag, { shouldRetry: true })), table[tag].next)
    })
  }
  for (const tag of final) {
    it(`neither true nor false makes ${tag} anything but ${table[tag].next}`, () => {
      for (const shouldRetry of [true, false]) {
        assert.strictEqual(nextOf(failure(tag, { shouldRetry })), table[tag].next)
      }
    })
  }
})

describe("R9: what a retry policy has given up on", () => {
  for (const tag of tags) {
    const next = repeatable.includes(tag) ? "elsewhereOnly" : table[tag].next
    it(`${tag}: ${next}`, () => assert.strictEqual(nextOf(failure(tag, { spent: true })), next))
  }
})

describe("what was handed out", () => {
  for (const tag of tags) {
    it(`S3: ${tag} after a reader has begun to read stops, whatever else is said of it`, () => {
      for (const changes of [{}, { shouldRetry: true }, { idempotent: true }, { retryAfter: Duration.seconds(1) }]) {
        assert.strictEqual(nextOf(failure(tag, { handedOut: true, ...changes })), "stop")
        assert.strictEqual(nextOf(failure(tag, { handedOut: false, ...changes })), table[tag].next)
      }
    })
  }
})

describe("AllTargetsFailed", () => {
  const rateLimited = (seconds?: number, changes: object = {}) =>
    failure("RateLimited", { ...changes, ...(seconds === undefined ? {} : { retryAfter: Duration.seconds(seconds) }) })

  for (const tag of tags) {
    it(`deserves what its last failure does: ${tag}`, () => {
      const { blame, next, pace } = Disposition.classify(chain([failure("Unauthenticated"), failure(tag)]))
      const { acted: _, ...row } = table[tag]
      assert.deepStrictEqual({ next, blame, ...(pace === undefined ? {} : { pace }) }, row)
    })
  }

  it("waits as long as any of its targets asked, so that none is asked too early", () => {
    assert.deepStrictEqual(Disposition.classify(chain([rateLimited(9), rateLimited(2)])).wait, Duration.seconds(9))
    assert.deepStrictEqual(Disposition.classify(chain([rateLimited(2), rateLimited()])).wait, Duration.seconds(2))
    assert.isUndefined(Disposition.classify(chain([rateLimited(), rateLimited()])).wait)
  })

  it("R9: is not run again once a retry around it, or inside it, has given up", () => {
    assert.strictEqual(nextOf(chain([rateLimited(), rateLimited()], true)), "elsewhereOnly")
    assert.strictEqual(nextOf(chain([rateLimited(), rateLimited(undefined, { spent: true })])), "elsewhereOnly")
    assert.strictEqual(nextOf(chain([rateLimited(), failure("InvalidRequest")], true)), "stop")
  })

  it("R7: is not run again when any of its targets may have acted on a request that is not idempotent", () => {
    const acted = failure("TimedOut", { idempotent: false })
    const refused = rateLimited(undefined, { idempotent: false })
    assert.isTrue(Disposition.mayHaveActed(chain([acted, refused])))
    assert.strictEqual(nextOf(chain([acted, refused])), "stop")
    assert.isFalse(Disposition.mayHaveActed(chain([refused, refused])))
    assert.strictEqual(nextOf(chain([refused, refused])), "here")
    // Nor by a classifier of the caller's.
    const classify = Disposition.override({ TimedOut: { next: "here" }, RateLimited: { next: "elsewhereOnly" } })
    assert.strictEqual(nextOf(chain([acted, refused]), classify), "stop")
  })
})

describe("override", () => {
  it("changes the rows it names, in the columns it names, and no other", () => {
    const classify = Disposition.override({ ContentFiltered: { next: "elsewhereOnly" }, TimedOut: { pace: "server" } })
    for (const tag of tags) {
      const { acted: _, ...row } = table[tag]
      const changed = tag === "ContentFiltered"
        ? { next: "elsewhereOnly" }
        : tag === "TimedOut"
        ? { pace: "server" }
        : {}
      assert.deepStrictEqual<object>({ ...classify(failure(tag)) }, { ...row, ...changed })
    }
    assert.strictEqual(nextOf(failure("ContentFiltered")), "stop")
  })

  it("holds inside a chain too", () => {
    const classify = Disposition.override({ ContentFiltered: { next: "here", pace: "server" } })
    assert.strictEqual(nextOf(chain([failure("RateLimited"), failure("ContentFiltered")]), classify), "here")
  })

  it("may make a final failure worth repeating, until the provider or a policy says otherwise", () => {
    const classify = Disposition.override({ Unauthenticated: { next: "here" } })
    assert.strictEqual(nextOf(failure("Unauthenticated"), classify), "here")
    assert.strictEqual(nextOf(failure("Unauthenticated", { shouldRetry: false }), classify), "elsewhereOnly")
    assert.strictEqual(nextOf(failure("Unauthenticated", { spent: true }), classify), "elsewhereOnly")
  })

  it("R7, S3: cannot repeat what may have acted, nor what was handed out, whatever it says", () => {
    const next = fc.constantFrom<Disposition.Next>(
      "here",
      "elsewhereFirst",
      "elsewhereOnly",
      "largerContextOnly",
      "stop"
    )
    const rows = fc.dictionary(fc.constantFrom(...tags), fc.record({ next }))
    fc.assert(
      fc.property(rows, fc.constantFrom(...tags), fc.boolean(), fc.boolean(), (rows, tag, said, spent) => {
        const classify = Disposition.override(rows)
        const error = failure(tag, { idempotent: false, shouldRetry: said, spent })
        if (table[tag].acted) assert.strictEqual(nextOf(error, classify), "stop")
        const handedOut = failure(tag, { handedOut: true, shouldRetry: said, spent })
        assert.strictEqual(nextOf(handedOut, classify), "stop")
        assert.strictEqual(nextOf(chain([handedOut, failure(tag)]), classify), "stop")
      }),
      { numRuns: 2000 }
    )
  })

  it("does not compile with a row or a column that is not there", () => {
    const misuses = () => {
      // @ts-expect-error no such failure
      Disposition.override({ Sulking: { next: "here" } })
      // @ts-expect-error no such consequence
      Disposition.override({ TimedOut: { next: "nowhere" } })
      // @ts-expect-error the wait is the provider's to say
      Disposition.override({ TimedOut: { wait: Duration.zero } })
      // @ts-expect-error a chain deserves what its failures do
      Disposition.override({ AllTargetsFailed: { next: "stop" } })
    }
    assert.isFunction(misuses)
  })
})
