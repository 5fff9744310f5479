import { assert, describe, expect, it } from "@effect/vitest"
import { Cause, Clock, Deferred, Duration, Effect, Exit, Fiber, Random, Schedule, Schema, TestClock } from "effect"
import * as Equal from "effect/Equal"
import * as fc from "effect/FastCheck"
import {
  Call,
  Disposition,
  InvalidOption,
  LlmError,
  LlmProvider,
  LlmRequest,
  LlmResponse,
  Policy,
  Retry,
  RetrySpec
} from "perdure"
import { answer, failureOf, openAi, rateLimited, run, scripted, unavailable } from "./support/provider.ts"

/** The gaps between calls, in milliseconds. */
const gaps = (calls: ReadonlyArray<number>) => calls.slice(1).map((call, i) => call - (calls[i] ?? 0))

const plain = Retry.exponential("2 seconds")
const ask = LlmRequest.make("hello")

/** Both ways of running a policy. */
const ways = [
  [
    "Retry.retry",
    <In>(policy: Retry.Retry<In>) => <A, E extends In, R>(self: Effect.Effect<A, E, R>) => Retry.retry(self, policy)
  ],
  [
    "Effect.retry",
    <In>(policy: Retry.Retry<In>) => <A, E extends In, R>(self: Effect.Effect<A, E, R>) => Effect.retry(self, policy)
  ]
] as const

for (const [name, retryWith] of ways) {
  describe(`a policy run by ${name}`, () => {
    it.effect("waits 2, 4, 8, 16 s and then the cap of 30 s", () =>
      Effect.gen(function*() {
        const provider = scripted([unavailable()])
        yield* run(
          provider.service.generate(ask).pipe(
            retryWith(plain.pipe(Retry.capped("30 seconds"), Retry.attempts(7)))
          )
        )
        assert.deepStrictEqual(gaps(provider.calls), [2000, 4000, 8000, 16_000, 30_000, 30_000])
      }))

    it.effect("starts the next call at the millisecond its wait ends, and not one before", () =>
      Effect.gen(function*() {
        const provider = scripted([unavailable(), answer("hi")])
        const fiber = yield* Effect.fork(provider.service.generate(ask).pipe(retryWith(plain)))
        yield* TestClock.adjust("1999 millis")
        assert.strictEqual(provider.calls.length, 1)
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(provider.calls.length, 2)
        assert.strictEqual((yield* Fiber.join(fiber)).text, "hi")
      }))

    for (const n of [1, 2, 4]) {
      it.effect(`R1: attempts(${n}) makes ${n} call${n === 1 ? "" : "s"}, the first included`, () =>
        Effect.gen(function*() {
          const provider = scripted([unavailable()])
          const { exit } = yield* run(provider.service.generate(ask).pipe(retryWith(plain.pipe(Retry.attempts(n)))))
          assert.strictEqual(provider.calls.length, n)
          assert.strictEqual(failureOf(exit)._tag, "ProviderUnavailable")
        }))
    }

    it.effect("R2: jitter goes down from the cap and survives at it", () =>
      Effect.gen(function*() {
        const provider = scripted([unavailable()])
        const policy = plain.pipe(Retry.capped("5 seconds"), Retry.jittered("full"), Retry.attempts(60))
        yield* run(provider.service.generate(ask).pipe(retryWith(policy)), "1 hour")
        const waits = gaps(provider.calls)
        assert.strictEqual(waits.length, 59)
        assert.isTrue(waits.every((wait) => wait <= 5000), `above the cap: ${waits.join()}`)
        assert.isAbove(new Set(waits).size, 40, "no jitter left at the cap")
        assert.isAbove(Math.max(...waits), 4000)
        assert.isBelow(Math.min(...waits), 1000)
      }))

    it.effect("R3: Retry-After is a floor: the next call is not a millisecond earlier than asked", () =>
      Effect.gen(function*() {
        const provider = scripted([rateLimited("20 seconds"), answer("hi")])
        const policy = plain.pipe(Retry.capped("3 seconds"))
        yield* Effect.fork(provider.service.generate(ask).pipe(retryWith(policy)))
        yield* TestClock.adjust("19999 millis")
        assert.strictEqual(provider.calls.length, 1)
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(provider.calls.length, 2)
      }))

    it.effect("R3: callers who were told the same Retry-After spread upwards from it", () =>
      Effect.gen(function*() {
        const policy = plain.pipe(Retry.jittered("full"))
        const callers = Array.from({ length: 50 }, () => scripted([rateLimited("20 seconds"), answer("hi")]))
        yield* run(Effect.forEach(callers, (caller) => caller.service.generate(ask).pipe(retryWith(policy)), {
          concurrency: "unbounded"
        }))
        const waits = callers.flatMap(({ calls }) => gaps(calls))
        assert.strictEqual(waits.length, 50)
        assert.isTrue(waits.every((wait) => wait >= 20_000 && wait < 22_000), waits.join())
        assert.isAbove(new Set(waits).size, 40)
      }))

    it.effect("R3: a Retry-After longer than the maximum fails at once with the failure that carries it", () =>
      Effect.gen(function*() {
        const provider = scripted([rateLimited("60001 millis"), answer("hi")])
        const { elapsed, exit } = yield* run(provider.service.generate(ask).pipe(retryWith(plain)))
        assert.strictEqual(elapsed, 0)
        const failure = failureOf(exit)
        assert(failure._tag === "RateLimited")
        assert.deepStrictEqual(failure.retryAfter, Duration.millis(60_001))

        const patient = scripted([rateLimited("60 seconds"), answer("hi")])
        const result = yield* run(patient.service.generate(ask).pipe(retryWith(plain)))
        assert.strictEqual(result.elapsed, 60_000)
      }))

    it.effect("R3: a Retry-After that does not fit into the time left fails at once", () =>
      Effect.gen(function*() {
        const provider = scripted([rateLimited("10 seconds"), answer("hi")])
        const policy = plain.pipe(Retry.within("10 seconds"))
        const { elapsed, exit } = yield* run(provider.service.generate(ask).pipe(retryWith(policy)))
        assert.strictEqual(elapsed, 0)
        assert.strictEqual(failureOf(exit)._tag, "RateLimited")
      }))

    it.effect("ignores Retry-After only when told to", () =>
      Effect.gen(function*() {
        const provider = scripted([rateLimited("20 seconds"), answer("hi")])
        yield* run(provider.service.generate(ask).pipe(retryWith(plain.pipe(Retry.ignoringRetryAfter))))
        assert.deepStrictEqual(gaps(provider.calls), [2000])
      }))

    it.effect("R5: interrupting a wait ends at once and starts no further call", () =>
      Effect.gen(function*() {
        const provider = scripted([unavailable()])
        const fiber = yield* Effect.fork(provider.service.generate(ask).pipe(retryWith(plain)))
        yield* TestClock.adjust("500 millis")
        const exit = yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* Clock.currentTimeMillis, 500)
        assert(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause))
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(provider.calls.length, 1)
      }))

    it.effect("R6: a rate limit starts from a base of its own", () =>
      Effect.gen(function*() {
        const policy = plain.pipe(Retry.bases({ rateLimit: "5 seconds", connection: "100 millis" }), Retry.attempts(4))
        const provider = scripted([
          rateLimited(),
          new LlmError.ConnectionFailed({ ...openAi, sent: false }),
          unavailable()
        ])
        yield* run(provider.service.generate(ask).pipe(retryWith(policy)))
        assert.deepStrictEqual(gaps(provider.calls), [5000, 200, 8000])
      }))

    const mayHaveActed: ReadonlyArray<LlmError.ProviderError> = [
      new LlmError.TimedOut({ ...openAi, phase: "headers" }),
      new LlmError.ConnectionFailed({ ...openAi, sent: true }),
      unavailable(),
      new LlmError.MalformedResponse(openAi)
    ]
    const didNotAct: ReadonlyArray<LlmError.ProviderError> = [
      new LlmError.ConnectionFailed({ ...openAi, sent: false }),
      rateLimited(),
      new LlmError.Overloaded({ ...openAi, status: 503 })
    ]
    for (const failure of [...mayHaveActed, ...didNotAct]) {
      const repeated = didNotAct.includes(failure)
      const sent = failure._tag === "ConnectionFailed" ? ` (sent: ${failure.sent})` : ""
      it.effect(`R7: a request that is not idempotent is ${repeated ? "" : "not "}repeated after ${failure._tag}${sent}`, () =>
        Effect.gen(function*() {
          const provider = scripted([failure, answer("hi")])
          const request = LlmRequest.make({ messages: [LlmRequest.user("pay")], idempotent: false })
          yield* run(provider.service.generate(request).pipe(retryWith(plain)))
          assert.strictEqual(provider.calls.length, repeated ? 2 : 1)

          const again = scripted([failure, answer("hi")])
          yield* run(again.service.generate(ask).pipe(retryWith(plain)))
          assert.strictEqual(again.calls.length, 2, "an idempotent one is repeated")
        }))
    }

    const hopeless: ReadonlyArray<LlmError.ProviderError> = [
      new LlmError.QuotaExhausted({ ...openAi, status: 429, shouldRetry: true }),
      new LlmError.InvalidRequest({ ...openAi, status: 400, shouldRetry: true }),
      new LlmError.Unauthenticated({ ...openAi, status: 401, shouldRetry: true }),
      new LlmError.PermissionDenied({ ...openAi, status: 403, shouldRetry: true }),
      new LlmError.ModelNotFound({ ...openAi, status: 404, shouldRetry: true }),
      new LlmError.RequestTooLarge({ ...openAi, status: 413, shouldRetry: true }),
      new LlmError.ContentFiltered({ ...openAi, stage: "prompt", shouldRetry: true }),
      new LlmError.ContextLengthExceeded({ ...openAi, shouldRetry: true })
    ]
    for (const failure of hopeless) {
      it.effect(`R8: ${failure._tag} is never retried, even when x-should-retry says so`, () =>
        Effect.gen(function*() {
          const provider = scripted([failure, answer("hi")])
          const { elapsed, exit } = yield* run(provider.service.generate(ask).pipe(retryWith(plain)))
          assert.strictEqual(provider.calls.length, 1)
          assert.strictEqual(elapsed, 0)
          assert.strictEqual(failureOf(exit)._tag, failure._tag)
        }))
    }

    it.effect("R8: x-should-retry: false wins over a status that is otherwise retried", () =>
      Effect.gen(function*() {
        const provider = scripted([new LlmError.ProviderUnavailable({ ...openAi, status: 500, shouldRetry: false })])
        yield* run(provider.service.generate(ask).pipe(retryWith(plain)))
        assert.strictEqual(provider.calls.length, 1)
      }))

    it.effect("repeats failures that are no LlmError, and reads a retryAfter of theirs", () =>
      Effect.gen(function*() {
        const times: Array<number> = []
        const flaky = Effect.flatMap(Clock.currentTimeMillis, (now) => {
          times.push(now)
          return times.length < 3 ? Effect.fail({ retryAfter: Duration.seconds(7) }) : Effect.succeed("done")
        })
        const { exit } = yield* run(flaky.pipe(retryWith(plain)))
        assert.deepStrictEqual(exit, Exit.succeed("done"))
        assert.deepStrictEqual(gaps(times), [7000, 7000])
      }))

    it.effect("never repeats a defect", () =>
      Effect.gen(function*() {
        let calls = 0
        const broken: Effect.Effect<never> = Effect.suspend(() => {
          calls++
          return Effect.die("bug")
        })
        const { exit } = yield* run(broken.pipe(retryWith(plain)))
        assert.strictEqual(calls, 1)
        assert.deepStrictEqual(exit, Exit.die("bug"))
      }))

    it.effect("takes its delays from any Effect schedule, under the cap, and ends where it ends", () =>
      Effect.gen(function*() {
        const schedule = Schedule.fibonacci("1 second").pipe(Schedule.intersect(Schedule.recurs(5)))
        const provider = scripted([unavailable()])
        const policy = Retry.fromSchedule(schedule, "fibonacci").pipe(Retry.capped("4 seconds"))
        yield* run(provider.service.generate(ask).pipe(retryWith(policy)))
        assert.deepStrictEqual(gaps(provider.calls), [1000, 1000, 2000, 3000, 4000])
      }))

    it.effect("is as good as new for every call it is used for", () =>
      Effect.gen(function*() {
        const policy = plain.pipe(Retry.attempts(3), Retry.within("1 minute"))
        for (const _ of [1, 2]) {
          const provider = scripted([unavailable()])
          yield* run(provider.service.generate(ask).pipe(retryWith(policy)))
          assert.deepStrictEqual(gaps(provider.calls), [2000, 4000])
        }
      }))
  })
}

describe("R4: the time limit", () => {
  /** Fails after half a second of work, each time. */
  const slow = () => scripted([Effect.delay(Effect.fail(unavailable()), "500 millis")])
  const constant = Retry.constant("1 second")

  it.effect("counts from the start of the first call when the library runs the policy", () =>
    Effect.gen(function*() {
      // Failures at 500, 2000, 3500; a wait of 1 s from 3500 would end at 4500.
      const tooShort = slow()
      yield* run(Retry.retry(tooShort.service.generate(ask), constant.pipe(Retry.within("4500 millis"))))
      assert.deepStrictEqual(tooShort.calls, [0, 1500, 3000])

      const enough = slow()
      yield* run(
        Retry.retry(enough.service.generate(ask), constant.pipe(Retry.within("4501 millis"), Retry.attempts(4)))
      )
      assert.strictEqual(enough.calls.length, 4)
    }))

  it.effect("counts from the first failure as a plain schedule, to the millisecond", () =>
    Effect.gen(function*() {
      // The schedule is first asked at 500, and its waits end 1000, 2500, 4000 after that.
      const tooShort = slow()
      yield* run(
        Effect.retry(
          tooShort.service.generate(ask),
          constant.pipe(Retry.within("4 seconds"))
        )
      )
      assert.strictEqual(tooShort.calls.length, 3)

      const enough = slow()
      yield* run(
        Effect.retry(enough.service.generate(ask), constant.pipe(Retry.within("4001 millis"), Retry.attempts(4)))
      )
      assert.strictEqual(enough.calls.length, 4)
    }))

  it.effect("does not start a sleep that would end at the limit", () =>
    Effect.gen(function*() {
      const provider = scripted([unavailable()])
      const { elapsed } = yield* run(Retry.retry(provider.service.generate(ask), plain.pipe(Retry.within("6 seconds"))))
      assert.deepStrictEqual(gaps(provider.calls), [2000])
      assert.strictEqual(elapsed, 2000)
    }))

  it.effect("shrinks the spread above a Retry-After rather than give up", () =>
    Effect.gen(function*() {
      const policy = Retry.exponential("1 minute").pipe(Retry.jittered("full"), Retry.within("10001 millis"))
      const provider = scripted([rateLimited("10 seconds"), answer("hi")])
      const { elapsed, exit } = yield* run(Retry.retry(provider.service.generate(ask), policy))
      assert(Exit.isSuccess(exit))
      assert.strictEqual(elapsed, 10_000)
    }))
})

describe("with Effect's own schedules", () => {
  it.effect("intersect with recurs bounds the retries", () =>
    Effect.gen(function*() {
      const provider = scripted([unavailable()])
      yield* run(Effect.retry(provider.service.generate(ask), Schedule.intersect(plain, Schedule.recurs(2))))
      assert.deepStrictEqual(gaps(provider.calls), [2000, 4000])
    }))

  it.effect("union takes the shorter of the two waits", () =>
    Effect.gen(function*() {
      const provider = scripted([unavailable()])
      const policy = Schedule.union(plain.pipe(Retry.attempts(4)), Schedule.spaced("3 seconds")).pipe(
        Schedule.intersect(Schedule.recurs(4))
      )
      yield* run(Effect.retry(provider.service.generate(ask), policy))
      assert.deepStrictEqual(gaps(provider.calls), [2000, 3000, 3000, 3000])
    }))

  it.effect("upTo bounds the time", () =>
    Effect.gen(function*() {
      const provider = scripted([unavailable()])
      yield* run(Effect.retry(provider.service.generate(ask), Schedule.upTo(Retry.constant("1 second"), "5 seconds")))
      assert.isAtLeast(provider.calls.length, 5)
      assert.isAtMost(provider.calls.length, 7)
    }))

  it.effect("outputs its waits", () =>
    Effect.gen(function*() {
      const waits = yield* Schedule.run(plain.pipe(Retry.attempts(4)), 0, [1, 2, 3])
      assert.deepStrictEqual([...waits].map(Duration.toMillis), [2000, 4000, 8000])
    }))
})

describe("a policy remembers what it was made of", () => {
  const combinators = [
    Retry.capped("9 seconds"),
    Retry.jittered("full"),
    Retry.attempts(6),
    Retry.within("1 minute"),
    Retry.honoringRetryAfter({ max: "30 seconds" }),
    Retry.bases({ rateLimit: "3 seconds" })
  ]
  const built = (order: ReadonlyArray<(typeof combinators)[number]>) =>
    order.reduce<Retry.Retry>((policy, combinator) => combinator(policy), plain)

  it("the order of combinators does not change the meaning", () => {
    fc.assert(fc.property(fc.shuffledSubarray(combinators, { minLength: combinators.length }), (order) => {
      expect(Equal.equals(built(order).spec, built(combinators).spec)).toBe(true)
    }))
  })

  it.effect("policies with equal specs wait equally, whatever the order they were built in", () =>
    Effect.gen(function*() {
      const waits = (policy: Retry.Retry) =>
        Effect.gen(function*() {
          const provider = scripted([unavailable(), rateLimited("4 seconds"), unavailable()])
          yield* run(Retry.retry(provider.service.generate(ask), policy)).pipe(Effect.withRandom(Random.make(7)))
          return gaps(provider.calls)
        })
      const expected = yield* waits(built(combinators))
      assert.isAbove(expected.length, 3)
      assert.deepStrictEqual(yield* waits(built(combinators.toReversed())), expected)
    }))

  it("of the same combinator used twice, the last counts", () => {
    expect(Retry.standard.pipe(Retry.attempts(9)).spec.attempts).toBe(9)
  })

  it("naming one base keeps the others", () => {
    const { bases } = plain.pipe(Retry.bases({ rateLimit: "3 seconds" }), Retry.bases({ server: "1 second" })).spec
    expect(bases.rateLimit).toEqual(Duration.seconds(3))
    expect(bases.server).toEqual(Duration.seconds(1))
  })

  it("a spec survives JSON, and the policy made from it is equal", () => {
    const json = JSON.parse(JSON.stringify(Schema.encodeSync(RetrySpec.RetrySpec)(Retry.article.spec)))
    expect(json).toMatchObject({ capMs: 30_000, attempts: 4, withinMs: 60_000, jitter: "full" })
    const back = Retry.fromSpec(Schema.decodeUnknownSync(RetrySpec.RetrySpec)(json))
    expect(Equal.equals(back.spec, Retry.article.spec)).toBe(true)
  })

  it("E1: a spec that remembers a function only by name is refused", () => {
    expect(() => Retry.fromSpec(Retry.fromSchedule(Schedule.forever).spec)).toThrow(InvalidOption)
    const custom = plain.pipe(Retry.classifiedBy(Disposition.override({ RateLimited: { next: "stop" } })))
    expect(() => Retry.fromSpec(custom.spec)).toThrow(InvalidOption)
  })

  it("E1: bases and a schedule's own delays do not mix, in either order", () => {
    expect(() => Retry.fromSchedule(Schedule.forever).pipe(Retry.bases({ server: "1 second" }))).toThrow(InvalidOption)
  })

  it("prints itself", () => {
    expect(Retry.describe(Retry.article)).toBe(
      "2s → 4s → 8s, cap 30s, full jitter, 4 attempts, within 1m, Retry-After up to 1m"
    )
    expect(Retry.describe(plain)).toBe("2s → 4s → 8s → 16s → 32s → …, Retry-After up to 1m")
    expect(Retry.describe(plain.pipe(Retry.attempts(1)))).toBe("no retries, 1 attempt, Retry-After up to 1m")
    expect(Retry.describe(Retry.fromSchedule(Schedule.forever, "forever").pipe(Retry.ignoringRetryAfter))).toBe(
      "forever, Retry-After ignored"
    )
  })

  it("lists its delays", () => {
    expect(Retry.delays(plain.pipe(Retry.capped("5 seconds")), 4).map(Duration.toMillis)).toEqual([
      2000,
      4000,
      5000,
      5000
    ])
  })
})

describe("the presets", () => {
  it.effect("article gives up after 4 calls", () =>
    Effect.gen(function*() {
      const provider = scripted([unavailable()])
      yield* run(Retry.retry(provider.service.generate(ask), Retry.article))
      const waits = gaps(provider.calls)
      assert.strictEqual(waits.length, 3)
      waits.forEach((wait, i) => assert.isAtMost(wait, [2000, 4000, 8000][i] ?? 0))
    }))

  it.effect("article gives up when 60 s have passed", () =>
    Effect.gen(function*() {
      const provider = scripted([Effect.delay(Effect.fail(unavailable()), "31 seconds")])
      yield* run(Retry.retry(provider.service.generate(ask), Retry.article))
      assert.strictEqual(provider.calls.length, 2)
    }))

  it.effect("standard makes 3 calls", () =>
    Effect.gen(function*() {
      const provider = scripted([unavailable()])
      yield* run(Retry.retry(provider.service.generate(ask), Retry.standard))
      assert.strictEqual(provider.calls.length, 3)
    }))
})

describe("Retry.retry", () => {
  it.effect("a failure it gave up on is repeated by no policy further out", () =>
    Effect.gen(function*() {
      const provider = scripted([unavailable()])
      const inner = Retry.retry(provider.service.generate(ask), plain.pipe(Retry.attempts(2)))
      const { exit } = yield* run(Retry.retry(inner, plain.pipe(Retry.attempts(5))))
      assert.strictEqual(provider.calls.length, 2)
      const failure = failureOf(exit)
      assert(failure._tag === "ProviderUnavailable" && failure.spent)
    }))

  it.effect("tells of every wait before it begins", () =>
    Effect.gen(function*() {
      const provider = scripted([unavailable(), rateLimited("3 seconds"), answer("hi")])
      const told: Array<readonly [number, number, string]> = []
      const watched = Retry.retry(provider.service.generate(ask), plain).pipe(Call.observe((event) => {
        if (event._tag === "Waiting") told.push([event.at, Duration.toMillis(event.wait), event.because])
      }))
      yield* run(watched)
      assert.deepStrictEqual(told, [[0, 2000, "ProviderUnavailable"], [2000, 4000, "RateLimited"]])
    }))

  it.effect("E2: interrupting the call itself is not a failure to repeat", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      let calls = 0
      const stuck = Effect.zipRight(
        Effect.sync(() => calls++),
        Effect.zipRight(Deferred.succeed(started, undefined), Effect.never)
      )
      const fiber = yield* Effect.fork(Retry.retry(stuck, plain))
      yield* Deferred.await(started)
      const exit = yield* Fiber.interrupt(fiber)
      assert(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(calls, 1)
    }))

  it.effect("does nothing but the call when it succeeds", () =>
    Effect.gen(function*() {
      const provider = scripted([answer("hi")])
      const { elapsed, exit } = yield* run(Retry.retry(provider.service.generate(ask), Retry.article))
      assert(Exit.isSuccess(exit) && exit.value instanceof LlmResponse.LlmResponse)
      assert.strictEqual(elapsed, 0)
    }))

  it.effect("decides by a classifier of the caller's", () =>
    Effect.gen(function*() {
      const provider = scripted([new LlmError.Unauthenticated({ ...openAi, status: 401 }), answer("hi")])
      const policy = plain.pipe(
        Retry.classifiedBy(Disposition.override({ Unauthenticated: { next: "here" } }))
      )
      yield* run(Retry.retry(provider.service.generate(ask), policy))
      assert.strictEqual(provider.calls.length, 2)
    }))

  it.effect("whileRetryable repeats nothing that is no LlmError", () =>
    Effect.gen(function*() {
      let calls = 0
      const other: Effect.Effect<never, LlmError.LlmError> = Effect.suspend(() => {
        calls++
        return Effect.fail(new Error("not of the union") as never)
      })
      yield* run(Retry.retry(other, plain.pipe(Retry.whileRetryable)))
      assert.strictEqual(calls, 1)
    }))

  it.effect("works through a layer", () =>
    Effect.gen(function*() {
      const provider = scripted([unavailable(), answer("hi")])
      const layer = provider.layer.pipe(LlmProvider.withPolicy(Policy.retry(Retry.article)))
      const { exit } = yield* run(LlmProvider.generate("hello").pipe(Effect.provide(layer)))
      assert(Exit.isSuccess(exit))
      assert.strictEqual(exit.value.receipt.attempts.length, 2)
    }))
})
