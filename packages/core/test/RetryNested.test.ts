/** R9: a retry inside a retry is noticed, in every way of running them. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Data, Effect, Exit, Fiber, Schedule, TestClock } from "effect"
import { Budget, Call, LlmError, LlmProvider, LlmRequest, Policy, Retry } from "perdure"
import { answer, failureOf, openAi, run, scripted, unavailable } from "./support/provider.ts"

const ask = LlmRequest.make("hello")

class NotReady extends Data.TaggedError("NotReady") {}

/** Three calls, a second apart. */
const policy = Retry.constant("1 second").pipe(Retry.attempts(3))

type Way = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** All ways of running a policy. */
const ways: Record<"Policy.retry" | "Retry.retry" | "Effect.retry", Way> = {
  "Policy.retry": (self) => Policy.retry(policy)(self),
  "Retry.retry": (self) => Retry.retry(self, policy),
  "Effect.retry": (self) => Effect.retry(self, policy)
}
const schedule = ways["Effect.retry"]
const library: Way = (self) => Policy.retry(policy)(self)

/** An effect that always fails, and when it was run. */
const failing = <E>(error: () => E) => {
  const calls: Array<number> = []
  const effect = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    calls.push(now)
    return Effect.fail(error())
  })
  return { calls, effect }
}

const boom = unavailable()
const notReady = new NotReady()

/** Failures of all kinds: made anew each time, and the same value each time. */
const kinds: Record<string, () => unknown> = {
  "an LlmError": unavailable,
  "an LlmError that is a constant": () => boom,
  "an error of the program's own": () => new NotReady(),
  "an error of the program's own that is a constant": () => notReady,
  "a text": () => "not ready"
}

for (const [outerName, outer] of Object.entries(ways)) {
  for (const [innerName, inner] of Object.entries(ways)) {
    describe(`${innerName} inside ${outerName}`, () => {
      for (const [kind, error] of Object.entries(kinds)) {
        it.effect(`R9: does not multiply the calls that fail with ${kind}`, () =>
          Effect.gen(function*() {
            const dead = failing(error)
            const { exit } = yield* run(dead.effect.pipe(inner, outer))
            assert.deepStrictEqual(dead.calls, [0, 1000, 2000])
            assert.isTrue(Exit.isFailure(exit))
          }))

        it.effect(`R9: begins afresh with the next call that fails with ${kind}`, () =>
          Effect.gen(function*() {
            const dead = failing(error)
            const twice = Effect.zipRight(Effect.exit(dead.effect.pipe(inner)), dead.effect.pipe(outer))
            yield* run(twice)
            assert.strictEqual(dead.calls.length, 6)
          }))
      }

      it.effect("R9: does not multiply the requests to a provider, and all are in the receipt", () =>
        Effect.gen(function*() {
          const provider = scripted([unavailable()])
          const { elapsed, exit } = yield* run(provider.service.generate(ask).pipe(inner, outer, Call.track))
          assert.deepStrictEqual(provider.calls, [0, 1000, 2000])
          assert.strictEqual(elapsed, 2000)
          const failure = failureOf(exit)
          assert.isTrue(failure.spent)
          assert.strictEqual(failure.receipt?.attempts.length, 3)
        }))

      it.effect("R9: nor where each is in a span of its own, or a receipt of its own", () =>
        Effect.gen(function*() {
          const provider = scripted([unavailable()])
          const call = provider.service.generate(ask).pipe(
            Effect.withSpan("request"),
            inner,
            Effect.withSpan("inner"),
            Call.track,
            outer
          )
          yield* run(call)
          assert.deepStrictEqual(provider.calls, [0, 1000, 2000])
        }))

      it.effect("answers as soon as there is an answer", () =>
        Effect.gen(function*() {
          const provider = scripted([unavailable(), unavailable(), answer("hi")])
          const { exit } = yield* run(provider.service.generate(ask).pipe(inner, outer))
          assert(Exit.isSuccess(exit))
          assert.deepStrictEqual(provider.calls, [0, 1000, 2000])
        }))

      it.effect("R9: repeats a failure that was made anew in between, each time in full", () =>
        Effect.gen(function*() {
          const dead = failing(unavailable)
          const anew = Effect.mapError(dead.effect.pipe(inner), () => new NotReady())
          yield* run(anew.pipe(outer))
          assert.strictEqual(dead.calls.length, 9)
        }))
    })
  }
}

describe("three retries inside one another", () => {
  const threes: Record<string, Way> = {
    "three schedules": (self) => schedule(schedule(schedule(self))),
    "a schedule in a policy in a schedule": (self) => schedule(library(schedule(self))),
    "a policy in a schedule in a policy": (self) => library(schedule(library(self))),
    "three policies": (self) => library(library(library(self)))
  }
  for (const [name, three] of Object.entries(threes)) {
    for (const [kind, error] of Object.entries(kinds)) {
      // The one in the middle cannot tell the value from that of a call before, and asks once more.
      const calls = name === "three schedules" && error() === error() ? 6 : 3
      it.effect(`R9: ${name} make ${calls} calls of 27, with ${kind}`, () =>
        Effect.gen(function*() {
          const dead = failing(error)
          yield* run(three(dead.effect))
          assert.deepStrictEqual(dead.calls, [0, 1000, 2000, 3000, 4000, 5000].slice(0, calls))
          yield* run(three(dead.effect))
          assert.strictEqual(dead.calls.length, 2 * calls)
        }))
    }
  }

  it.effect("R9: two schedules in the loop of a third do not multiply, also when it comes round again", () =>
    Effect.gen(function*() {
      const dead = failing(unavailable)
      const round = Effect.exit(schedule(schedule(dead.effect)))
      yield* run(Effect.repeat(round, Schedule.recurs(2)))
      assert.strictEqual(dead.calls.length, 9)
    }))

  it.effect("R9: a provider's failure that the innermost one gave up on at once is repeated by none", () =>
    Effect.gen(function*() {
      const provider = scripted([unavailable()])
      const once = Effect.retry(provider.service.generate(ask), policy.pipe(Retry.attempts(1)))
      yield* run(schedule(schedule(once)))
      assert.strictEqual(provider.calls.length, 1)
    }))
})

describe("a retry on a fiber of its own inside a retry", () => {
  const inners: ReadonlyArray<Way> = [library, (self) => Call.track(schedule(self))]
  for (const [name, outer] of Object.entries(ways)) {
    it.effect(`R9: is noticed by ${name} where it is a policy, or has a receipt`, () =>
      Effect.gen(function*() {
        for (const inner of inners) {
          const provider = scripted([unavailable()])
          yield* run(outer(Effect.timeoutOption(inner(provider.service.generate(ask)), "1 minute")))
          assert.strictEqual(provider.calls.length, 3)
        }
      }))

    it.effect(`R9: is noticed by ${name} through Policy.timeout`, () =>
      Effect.gen(function*() {
        const provider = scripted([unavailable()])
        const limited = Policy.timeout("1 minute")(schedule(provider.service.generate(ask)))
        yield* run(outer(limited))
        assert.strictEqual(provider.calls.length, 3)
      }))
  }
})

describe("a failure that is the same value again", () => {
  it.effect("R9: is repeated by each of several calls, one after the other, in spans of their own", () =>
    Effect.gen(function*() {
      const dead = failing(() => notReady)
      const one = (name: string) => Effect.exit(Effect.withSpan(schedule(schedule(dead.effect)), name))
      yield* run(Effect.forEach(["a", "b", "c"], one))
      assert.strictEqual(dead.calls.length, 9)
    }))

  it.effect("R9: is repeated by each of several calls side by side", () =>
    Effect.gen(function*() {
      for (const way of Object.values(ways)) {
        const dead = failing(() => boom)
        const all = Effect.forEach([1, 2, 3], () => Effect.exit(dead.effect.pipe(schedule, way)), {
          concurrency: "unbounded"
        })
        yield* run(all)
        assert.strictEqual(dead.calls.length, 9)
        yield* run(Call.track(all))
        assert.strictEqual(dead.calls.length, 18)
      }
    }))

  it.effect("R9: is repeated after it was caught within an attempt that then asked again", () =>
    Effect.gen(function*() {
      const dead = failing(() => notReady)
      const caught = Effect.catchAll(schedule(dead.effect), () => library(Effect.as(Effect.void, "cached")))
      const { exit } = yield* run(schedule(Effect.zipRight(caught, Effect.fail(notReady))))
      assert.strictEqual(failureOf(exit), notReady)
      assert.strictEqual(dead.calls.length, 9)
    }))

  it.effect("R9: is repeated inside a loop of the program's", () =>
    Effect.gen(function*() {
      const dead = failing(() => notReady)
      const call = Effect.exit(schedule(dead.effect))
      yield* run(Effect.repeat(Effect.zipRight(call, Effect.withSpan(call, "again")), Schedule.recurs(1)))
      assert.strictEqual(dead.calls.length, 12)
    }))

  it.effect("R9: is repeated after a schedule of Effect's around a retry has ended with it", () =>
    Effect.gen(function*() {
      const dead = failing(() => notReady)
      yield* run(Effect.exit(Effect.retry(schedule(dead.effect), Schedule.recurs(1))))
      assert.strictEqual(dead.calls.length, 6)
      yield* run(schedule(dead.effect))
      assert.strictEqual(dead.calls.length, 9)
    }))
})

describe("a retry in the code of a provider", () => {
  const inside = (idempotent: boolean) => {
    const dead = failing(() => new LlmError.Overloaded({ ...openAi, status: 529 }))
    const options: LlmProvider.MakeOptions = { ...openAi, generate: () => schedule(dead.effect) }
    const request = LlmRequest.make({ messages: [LlmRequest.user("hello")], idempotent })
    return { dead, layer: LlmProvider.layer(options), request }
  }

  for (const idempotent of [true, false]) {
    it.effect(`R9: is noticed on its layer and around the call, ${idempotent ? "" : "not "}idempotent`, () =>
      Effect.gen(function*() {
        const { dead, layer, request } = inside(idempotent)
        const retried = layer.pipe(
          LlmProvider.withPolicy(Policy.retry(policy)),
          LlmProvider.withPolicy(Policy.make<LlmError.LlmError, never>([], schedule))
        )
        const { exit } = yield* run(schedule(LlmProvider.generate(request)).pipe(Effect.provide(retried)))
        assert.isTrue(failureOf(exit).spent)
        assert.deepStrictEqual(dead.calls, [0, 1000, 2000])
      }))
  }

  it.effect("R9: a fallback moves on, and a retry around all of it does not begin again", () =>
    Effect.gen(function*() {
      const first = inside(true)
      const second = scripted([unavailable()], { provider: "second", model: "m" })
      const chain = LlmProvider.orElse(first.layer, second.layer).pipe(LlmProvider.withPolicy(Policy.retry(policy)))
      const { exit } = yield* run(Effect.provide(LlmProvider.generate(first.request), chain))
      assert.strictEqual(failureOf(exit)._tag, "AllTargetsFailed")
      assert.strictEqual(first.dead.calls.length, 3)
      assert.strictEqual(second.calls.length, 1)
    }))
})

describe("what a retry further out does with a failure that is spent", () => {
  it.effect("R9: it does not ask the budget for it", () =>
    Effect.gen(function*() {
      const budget = yield* Budget.make({ target: { capacity: 10, ratio: 0, perSecond: 0 }, process: "none" })
      const dead = failing(() => notReady)
      yield* run(dead.effect.pipe(schedule, library, schedule, budget))
      assert.strictEqual(dead.calls.length, 3)
      assert.strictEqual((yield* budget.balance("default")).target, 8)
    }))

  it.effect("R9: a budget that refused the inner one is not asked again by the outer one", () =>
    Effect.gen(function*() {
      const budget = yield* Budget.make({ target: { capacity: 1, ratio: 0, perSecond: 0 }, process: "none" })
      const dead = failing(() => notReady)
      yield* run(dead.effect.pipe(schedule, schedule, budget))
      assert.deepStrictEqual(dead.calls, [0, 1000])
    }))

  it.effect("it repeats what the inner one was never to repeat", () =>
    Effect.gen(function*() {
      const dead = failing(() => notReady)
      const never = dead.effect as Effect.Effect<never, LlmError.LlmError | NotReady>
      const inner = Effect.retry(never, Retry.whileRetryable(policy) as Retry.Retry)
      yield* run(schedule(inner))
      assert.strictEqual(dead.calls.length, 3)
    }))

  it.effect("R5: interrupting the inner wait ends both, at once", () =>
    Effect.gen(function*() {
      const dead = failing(() => notReady)
      const fiber = yield* Effect.fork(schedule(schedule(dead.effect)))
      yield* TestClock.adjust("1999 millis")
      assert.strictEqual(dead.calls.length, 2)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(dead.calls.length, 2)
    }))
})
