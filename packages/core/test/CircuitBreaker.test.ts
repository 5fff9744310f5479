import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Schedule, TestClock } from "effect"
import { CircuitBreaker, Disposition, LlmError, LlmProvider, Policy } from "perdure"
import { down, halfOpen, ok, phaseOf, touchy } from "./support/breaker.ts"
import { plain } from "./support/errors.ts"
import { answer, anthropic, failureOf, rateLimited, run, scripted, unavailable } from "./support/provider.ts"

/** Whether a breaker lets a call through, by making one that says nothing. */
const lets = (breaker: CircuitBreaker.Service) =>
  Effect.map(Effect.exit(breaker(Effect.fail(plain.InvalidRequest))), (exit) => failureOf(exit)._tag !== "CircuitOpen")

const times = <A, E>(n: number, effect: Effect.Effect<A, E>) => Effect.repeatN(Effect.exit(effect), n - 1)

/** A call that is under way until it is told how to end. */
const pending = <E = never>(breaker: CircuitBreaker.Service) =>
  Effect.gen(function*() {
    const end = yield* Deferred.make<string, E>()
    const fiber = yield* Effect.fork(breaker(Deferred.await(end)))
    yield* Effect.yieldNow()
    return { end, fiber }
  })

describe("B1: when it opens", () => {
  it.effect("at the fifth failure in a row, by default", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make()
      yield* times(4, breaker(down))
      assert.isTrue(yield* lets(breaker))
      yield* times(1, breaker(down))
      assert.isFalse(yield* lets(breaker))
    }))

  it.effect("a success begins the count anew", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make()
      yield* times(4, breaker(down))
      yield* breaker(ok)
      yield* times(4, breaker(down))
      assert.isTrue(yield* lets(breaker))
    }))

  it.effect("at exactly the rate of a count window, and only on a failure", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({
        tripPolicy: CircuitBreaker.countWindow({ size: 10, rate: 0.3, minimum: 4 })
      })
      yield* times(3, breaker(down))
      // With it the minimum is reached, at more than the rate; but it is a success.
      yield* breaker(ok)
      assert.strictEqual(yield* phaseOf(breaker), "closed")
      // The failures leave the window.
      yield* times(9, breaker(ok))
      yield* times(2, breaker(down))
      assert.strictEqual(yield* phaseOf(breaker), "closed")
      yield* times(1, breaker(down))
      assert.strictEqual(yield* phaseOf(breaker), "open")
    }))

  it.effect("at the rate of a time window once it has seen the minimum", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({
        tripPolicy: CircuitBreaker.timeWindow({ duration: "30 seconds", rate: 0.5, minimum: 4 })
      })
      yield* times(2, breaker(ok))
      yield* times(1, breaker(down))
      assert.strictEqual(yield* phaseOf(breaker), "closed")
      yield* times(1, breaker(down))
      assert.strictEqual(yield* phaseOf(breaker), "open")
    }))

  it.effect("by either of two policies", () =>
    Effect.gen(function*() {
      const tripPolicy = CircuitBreaker.consecutive(3).pipe(
        CircuitBreaker.or(CircuitBreaker.countWindow({ size: 4, rate: 0.5 }))
      )
      const first = yield* CircuitBreaker.make({ tripPolicy })
      yield* times(3, first(down))
      assert.strictEqual(yield* phaseOf(first), "open")
      const second = yield* CircuitBreaker.make({ tripPolicy })
      for (const call of [down, ok, ok, down]) yield* Effect.exit(second(call))
      assert.strictEqual(yield* phaseOf(second), "open")
    }))

  it.effect("by slow calls, answered or failed; one that takes exactly the time is not slow", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({
        tripPolicy: CircuitBreaker.slowCalls({ longerThan: "10 seconds", rate: 1, minimum: 2 })
      })
      yield* run(breaker(Effect.delay(ok, "10 seconds")), "10 seconds")
      yield* TestClock.adjust("5 minutes")
      yield* run(breaker(Effect.delay(ok, 10_001)), 10_001)
      assert.strictEqual(yield* phaseOf(breaker), "closed")
      yield* run(breaker(Effect.delay(down, 10_001)), 10_001)
      assert.strictEqual(yield* phaseOf(breaker), "open")
    }))

  it.effect("what waits inside the breaker before the request is not the target's slowness", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({
        tripPolicy: CircuitBreaker.slowCalls({ longerThan: "10 seconds", rate: 1, minimum: 1 })
      })
      const queue = Policy.make([], (self) => Effect.delay(self, "1 minute"))
      const { layer } = scripted([Effect.delay(Effect.succeed(answer("hi")), "10 seconds")])
      const llm = layer.pipe(LlmProvider.withPolicy(queue), LlmProvider.withPolicy(breaker))
      const { elapsed } = yield* run(LlmProvider.generate("hello").pipe(Effect.provide(llm)))
      assert.strictEqual(elapsed, 70_000)
      assert.strictEqual((yield* breaker.state("openai/gpt-4o")).phase, "closed")
    }))
})

describe("B2: what is forgotten", () => {
  it.effect("an idle gap empties a time window, to the millisecond", () =>
    Effect.gen(function*() {
      const tripPolicy = CircuitBreaker.timeWindow({ duration: "10 seconds", rate: 1, minimum: 2 })
      for (const [gap, phase] of [[9999, "open"], [10_000, "closed"]] as const) {
        yield* TestClock.setTime(60_000)
        const breaker = yield* CircuitBreaker.make({ tripPolicy })
        yield* times(1, breaker(down))
        yield* TestClock.adjust(gap)
        yield* times(1, breaker(down))
        assert.strictEqual(yield* phaseOf(breaker), phase, `${gap} ms`)
      }
    }))

  for (const late of ["success", "failure"] as const) {
    it.effect(`the late ${late} of a call from before the trip changes nothing after it`, () =>
      Effect.gen(function*() {
        const breaker = yield* touchy()
        const before = yield* pending<LlmError.LlmError>(breaker)
        yield* Effect.exit(breaker(down))
        yield* TestClock.adjust("10 seconds")
        const probe = yield* pending(breaker)
        yield* late === "success" ? Deferred.succeed(before.end, "late") : Deferred.fail(before.end, unavailable())
        yield* Fiber.await(before.fiber)
        assert.deepStrictEqual(yield* breaker.state("default"), { phase: "halfOpen", openings: 1, probing: 1 })
        yield* Deferred.succeed(probe.end, "in time")
        yield* Fiber.await(probe.fiber)
        assert.strictEqual(yield* phaseOf(breaker), "closed")
      }))
  }
})

describe("B3: half-open", () => {
  it.effect("at exactly the end of the open time the next call is a probe", () =>
    Effect.gen(function*() {
      const breaker = yield* touchy()
      yield* Effect.exit(breaker(down))
      yield* TestClock.adjust(9999)
      assert.strictEqual(yield* phaseOf(breaker), "open")
      assert.isFalse(yield* lets(breaker))
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* phaseOf(breaker), "halfOpen")
      assert.strictEqual(yield* breaker(ok), "ok")
      assert.strictEqual(yield* phaseOf(breaker), "closed")
    }))

  it.effect("lets as many probes through as asked, rejects the rest, and closes when all have succeeded", () =>
    Effect.gen(function*() {
      const breaker = yield* halfOpen({ probes: 3 })
      const probes = yield* Effect.all([pending(breaker), pending(breaker), pending(breaker)])
      const refusal = failureOf(yield* Effect.exit(breaker(ok)))
      assert(refusal._tag === "CircuitOpen")
      assert.strictEqual(refusal.state, "halfOpen")
      assert.isUndefined(refusal.retryAfter)
      for (const [i, { end, fiber }] of probes.entries()) {
        assert.deepStrictEqual(yield* breaker.state("default"), { phase: "halfOpen", openings: 1, probing: 3 - i })
        // The permit of a probe that has succeeded is spent.
        assert.isFalse(yield* lets(breaker))
        yield* Deferred.succeed(end, "ok")
        yield* Fiber.await(fiber)
      }
      assert.strictEqual(yield* phaseOf(breaker), "closed")
    }))

  it.effect("one failed probe opens it again, for the whole time", () =>
    Effect.gen(function*() {
      const breaker = yield* halfOpen({ probes: 2 })
      yield* breaker(ok)
      yield* Effect.exit(breaker(down))
      yield* TestClock.adjust(9999)
      assert.strictEqual(yield* phaseOf(breaker), "open")
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* breaker.state("default"), { phase: "halfOpen", openings: 2, probing: 0 })
    }))

  const quiet: Record<string, Effect.Effect<never, LlmError.LlmError>> = {
    "a caller's bad request": Effect.fail(plain.InvalidRequest),
    "a rate limit": Effect.fail(rateLimited("1 second")),
    "a refusal of a policy inside": Effect.fail(plain.BulkheadFull),
    "a defect": Effect.die("a bug"),
    "an interruption": Effect.interrupt
  }
  for (const [what, probe] of Object.entries(quiet)) {
    it.effect(`${what} in a probe gives its permit back, and neither closes nor opens`, () =>
      Effect.gen(function*() {
        const breaker = yield* halfOpen()
        yield* Effect.exit(breaker(probe))
        assert.deepStrictEqual(yield* breaker.state("default"), { phase: "halfOpen", openings: 1, probing: 0 })
        yield* breaker(ok)
        assert.strictEqual(yield* phaseOf(breaker), "closed")
      }))
  }

  it.effect("a slow probe opens it again", () =>
    Effect.gen(function*() {
      const breaker = yield* halfOpen({
        tripPolicy: CircuitBreaker.or(
          CircuitBreaker.consecutive(1),
          CircuitBreaker.slowCalls({ longerThan: "1 second", rate: 1, minimum: 100 })
        )
      })
      yield* run(breaker(Effect.delay(ok, 1001)), 1001)
      assert.strictEqual(yield* phaseOf(breaker), "open")
    }))

  it.effect("a probe that hangs gives up its permit when its lease is over, and what becomes of it says nothing", () =>
    Effect.gen(function*() {
      const breaker = yield* halfOpen({ probeLease: "1 minute" })
      const hung = yield* pending<LlmError.LlmError>(breaker)
      yield* TestClock.adjust(59_999)
      assert.isFalse(yield* lets(breaker))
      yield* TestClock.adjust(1)
      const next = yield* pending(breaker)
      yield* Deferred.fail(hung.end, unavailable())
      yield* Fiber.await(hung.fiber)
      assert.deepStrictEqual(yield* breaker.state("default"), { phase: "halfOpen", openings: 1, probing: 1 })
      yield* Deferred.succeed(next.end, "ok")
      yield* Fiber.await(next.fiber)
      assert.strictEqual(yield* phaseOf(breaker), "closed")
    }))
})

describe("B4: which failures count", () => {
  const counting = [
    "Overloaded",
    "ProviderUnavailable",
    "ConnectionFailed",
    "TimedOut",
    "StreamInterrupted",
    "MalformedResponse",
    "Unauthenticated",
    "PermissionDenied",
    "ModelNotFound"
  ]
  for (const error of Object.values(plain)) {
    const counts = counting.includes(error._tag)
    it.effect(`${error._tag} ${counts ? "counts" : "does not count"}`, () =>
      Effect.gen(function*() {
        const breaker = yield* touchy()
        yield* Effect.exit(breaker(Effect.fail(error)))
        assert.strictEqual(yield* phaseOf(breaker), counts ? "open" : "closed")
      }))
  }

  it.effect("rate limits and requests count when they are asked for", () =>
    Effect.gen(function*() {
      for (const [error, blame] of [[rateLimited(), "quota"], [plain.InvalidRequest, "request"]] as const) {
        const breaker = yield* touchy({ counts: CircuitBreaker.blaming(["provider", blame]) })
        yield* Effect.exit(breaker(Effect.fail(error)))
        assert.strictEqual(yield* phaseOf(breaker), "open")
      }
    }))

  it.effect("the blame is that of the classifier given", () =>
    Effect.gen(function*() {
      const classify = Disposition.override({ ContentFiltered: { blame: "model" } })
      const breaker = yield* touchy({ counts: CircuitBreaker.blaming(["model"], classify) })
      yield* Effect.exit(breaker(Effect.fail(plain.ContentFiltered)))
      assert.strictEqual(yield* phaseOf(breaker), "open")
    }))

  it.effect("a failure that is no LlmError counts, as nothing is known of it", () =>
    Effect.gen(function*() {
      const breaker = yield* touchy()
      yield* Effect.exit(breaker(Effect.fail("anything")))
      assert.strictEqual(yield* phaseOf(breaker), "open")
    }))

  it.effect("a predicate that throws is a defect of the call, and leaks no permit", () =>
    Effect.gen(function*() {
      let broken = false
      const breaker = yield* halfOpen({
        counts: () => {
          if (broken) throw new Error("broken")
          return true
        }
      })
      broken = true
      const exit = yield* Effect.exit(breaker(down))
      assert(Exit.isFailure(exit) && exit.cause._tag === "Die")
      assert.deepStrictEqual(yield* breaker.state("default"), { phase: "halfOpen", openings: 1, probing: 0 })
    }))
})

describe("B5: the rejection and the open time", () => {
  it.effect("a rejection says which circuit, and when to come again, and has no stack", () =>
    Effect.gen(function*() {
      const breaker = yield* touchy()
      const { calls, layer } = scripted([unavailable()])
      const ask = LlmProvider.generate("hello").pipe(
        Effect.provide(layer.pipe(LlmProvider.withPolicy(breaker))),
        Effect.exit
      )
      yield* ask
      yield* TestClock.adjust("4 seconds")
      const refusal = failureOf(yield* ask)
      assert(refusal._tag === "CircuitOpen")
      assert.strictEqual(refusal.circuit, "openai/gpt-4o")
      assert.deepStrictEqual([refusal.provider, refusal.model, refusal.state], ["openai", "gpt-4o", "open"])
      assert.deepStrictEqual(refusal.retryAfter, Duration.seconds(6))
      assert.notInclude(refusal.stack ?? "", "\n    at ")
      assert.strictEqual(calls.length, 1)
    }))

  it.effect("the target of each call has a circuit of its own, and a fallback moves on at once", () =>
    Effect.gen(function*() {
      const breaker = yield* touchy()
      const first = scripted([unavailable()])
      const second = scripted([answer("hi", anthropic)], anthropic)
      const guarded = LlmProvider.withPolicy(breaker)
      const llm = guarded(first.layer).pipe(LlmProvider.orElse(guarded(second.layer)))
      const ask = LlmProvider.generate("hello").pipe(Effect.provide(llm))
      yield* ask
      assert.strictEqual((yield* ask).provider, "anthropic")
      assert.strictEqual(first.calls.length, 1)
      assert.strictEqual((yield* breaker.state("anthropic/claude")).phase, "closed")
    }))

  const openTimes = (breaker: CircuitBreaker.Service, count: number) =>
    Effect.forEach(Array.from({ length: count }), () =>
      Effect.gen(function*() {
        yield* Effect.exit(breaker(down))
        const { retryAfter = Duration.zero } = yield* breaker.state("default")
        yield* TestClock.adjust(retryAfter)
        return Duration.toSeconds(retryAfter)
      }))

  it.effect("it is 30 s by default", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1) })
      assert.deepStrictEqual(yield* openTimes(breaker, 3), [30, 30, 30])
    }))

  it.effect("a schedule backs off while probes fail, and begins anew when the circuit has closed", () =>
    Effect.gen(function*() {
      const openDuration = Schedule.exponential("10 seconds").pipe(Schedule.union(Schedule.spaced("1 minute")))
      const breaker = yield* touchy({ openDuration })
      assert.deepStrictEqual(yield* openTimes(breaker, 5), [10, 20, 40, 60, 60])
      yield* breaker(ok)
      assert.deepStrictEqual(yield* openTimes(breaker, 2), [10, 20])
    }))

  it.effect("the schedule is given the number of the opening, and its last delay goes on where it ends", () =>
    Effect.gen(function*() {
      const seen: Array<number> = []
      const openDuration = Schedule.recurs(2).pipe(
        Schedule.addDelay((n) => Duration.seconds(n + 1)),
        Schedule.tapInput((n: number) => Effect.sync(() => seen.push(n)))
      )
      assert.deepStrictEqual(yield* openTimes(yield* touchy({ openDuration }), 4), [1, 2, 2, 2])
      assert.deepStrictEqual(seen, [1, 2, 3, 4])
    }))

  it.effect("a schedule that throws does not keep the circuit from opening", () =>
    Effect.gen(function*() {
      const openDuration = Schedule.spaced("1 second").pipe(Schedule.addDelay(() => {
        throw new Error("broken")
      }))
      assert.deepStrictEqual(yield* openTimes(yield* touchy({ openDuration }), 1), [30])
    }))
})

describe("beside other policies", () => {
  it.effect("B2 B3: it does the same as a part of a longer policy", () =>
    Effect.gen(function*() {
      const breaker = yield* touchy()
      const both = Policy.compose(breaker, Policy.timeout("1 second"))
      assert.strictEqual(failureOf((yield* run(both(Effect.never), "1 second")).exit)._tag, "TimedOut")
      yield* TestClock.adjust(9999)
      assert.strictEqual(failureOf(yield* Effect.exit(both(ok)))._tag, "CircuitOpen")
      yield* TestClock.adjust(1)
      const probe = yield* Effect.fork(both(Effect.never))
      yield* Effect.yieldNow()
      assert.deepStrictEqual(yield* breaker.state("default"), { phase: "halfOpen", openings: 1, probing: 1 })
      yield* Fiber.interrupt(probe)
      assert.deepStrictEqual(yield* breaker.state("default"), { phase: "halfOpen", openings: 1, probing: 0 })
      assert.strictEqual(yield* both(ok), "ok")
      assert.strictEqual(yield* phaseOf(breaker), "closed")
    }))
})

describe("the types", () => {
  it("a breaker adds CircuitOpen and nothing else", () => {
    const guard = (breaker: CircuitBreaker.Service) => breaker(Effect.fail("mine" as const))
    expectTypeOf(guard).returns.toEqualTypeOf<Effect.Effect<never, "mine" | LlmError.CircuitOpen>>()
    expectTypeOf(CircuitBreaker.make()).toEqualTypeOf<Effect.Effect<CircuitBreaker.Service>>()
    const both = (breaker: CircuitBreaker.Service) => Policy.compose(breaker, Policy.timeout("1 second"))
    expectTypeOf(both).returns.toEqualTypeOf<Policy.Policy<unknown, LlmError.CircuitOpen | LlmError.TimedOut>>()
    // @ts-expect-error a trip policy is built by its constructors
    const misuse = () => CircuitBreaker.make({ tripPolicy: { rules: [] } })
    assert.isFunction(misuse)
  })
})
