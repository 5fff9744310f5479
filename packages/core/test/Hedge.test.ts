import { assert, describe, expect, expectTypeOf, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, TestClock } from "effect"
import { Budget, Deadline, Hedge, InvalidOption, LlmError, LlmProvider, LlmRequest, Policy, Retry } from "perdure"
import { answer, anthropic, failureOf, rateLimited, run, scripted, unavailable } from "./support/provider.ts"

const ask = LlmRequest.make("hello")
const third = { provider: "third", model: "m" }

/** A try that hangs, and how many of its kind run. */
const hanging = () => {
  const state = { running: 0, left: 0 }
  const effect = Effect.suspend(() => {
    state.running++
    return Effect.onInterrupt(Effect.never, () =>
      Effect.sync(() => {
        state.running--
        state.left++
      }))
  })
  return Object.assign(state, { effect })
}

describe("F6: a hedge with a fixed delay", () => {
  it.effect("starts the second try at the delay and not a millisecond before, and interrupts the loser", () =>
    Effect.gen(function*() {
      const stuck = hanging()
      const provider = scripted([stuck.effect, answer("second")])
      const layer = provider.layer.pipe(LlmProvider.withPolicy(Hedge.make({ after: "2 seconds" })))
      const fiber = yield* Effect.fork(LlmProvider.generate("hello").pipe(Effect.provide(layer)))
      yield* TestClock.adjust("1999 millis")
      assert.strictEqual(provider.calls.length, 1)
      yield* TestClock.adjust("1 millis")
      const { receipt, text } = yield* Fiber.join(fiber)
      assert.strictEqual(text, "second")
      assert.deepStrictEqual([stuck.running, stuck.left], [0, 1])
      assert.deepStrictEqual(
        receipt.attempts.map(({ hedge, outcome }) => [hedge, outcome._tag]),
        [[undefined, "Interrupted"], [true, "Answered"]]
      )
    }))

  it.effect("starts the next one after as long again, and at most so many", () =>
    Effect.gen(function*() {
      const stuck = hanging()
      const fiber = yield* Effect.fork((yield* Hedge.make({ after: "1 second", most: 3 }))(stuck.effect))
      for (const [at, running] of [[999, 1], [1000, 2], [1999, 2], [2000, 3], [60_000, 3]] as const) {
        yield* TestClock.setTime(at)
        yield* Effect.repeatN(Effect.yieldNow(), 10)
        assert.strictEqual(stuck.running, running, `at ${at} ms`)
      }
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      assert.deepStrictEqual([stuck.running, stuck.left], [0, 3])
    }))

  it.effect("starts all at once with a delay of zero, and none beside the first with `most` 1", () =>
    Effect.gen(function*() {
      const stuck = hanging()
      const fiber = yield* Effect.fork((yield* Hedge.make({ after: 0, most: 4 }))(stuck.effect))
      yield* TestClock.adjust(0)
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      assert.strictEqual(stuck.running, 4)
      yield* Fiber.interrupt(fiber)
      const one = yield* Effect.fork((yield* Hedge.make({ after: 0, most: 1 }))(stuck.effect))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(stuck.running, 1)
      yield* Fiber.interrupt(one)
    }))

  it.effect("the first may still win after the second has started", () =>
    Effect.gen(function*() {
      const provider = scripted([Effect.delay(Effect.succeed(answer("first")), "2500 millis"), Effect.never])
      const { elapsed, exit } = yield* run(
        provider.service.generate(ask).pipe(yield* Hedge.make({ after: "2 seconds" }))
      )
      assert(Exit.isSuccess(exit))
      assert.strictEqual(exit.value.text, "first")
      assert.strictEqual(elapsed, 2500)
    }))

  it.effect("of two answers in the same moment one is given, and the receipt names who gave it", () =>
    Effect.gen(function*() {
      const go = yield* Deferred.make<void>()
      const waiting = (text: string, target: LlmProvider.TargetInfo) =>
        scripted([Effect.as(Deferred.await(go), answer(text, target))], target).service
      const pair = Hedge.services([waiting("one", anthropic), waiting("two", third)], { after: "1 second" })
      const fiber = yield* Effect.fork(pair.generate(ask))
      yield* TestClock.adjust("1 second")
      yield* Deferred.succeed(go, undefined)
      const { provider, receipt } = yield* Fiber.join(fiber)
      assert.deepStrictEqual(receipt.attempts.map(({ outcome }) => outcome._tag), ["Answered", "Answered"])
      assert.strictEqual(receipt.served?.provider, provider)
    }))
})

describe("F6: after a failure", () => {
  it.effect("starts the next target at once, and holds all failures in order", () =>
    Effect.gen(function*() {
      const first = scripted([unavailable()])
      const second = scripted([unavailable()], anthropic)
      const { elapsed, exit } = yield* run(Hedge.services([first.service, second.service]).generate(ask))
      assert.strictEqual(elapsed, 0)
      const failure = failureOf(exit)
      assert(failure._tag === "AllTargetsFailed")
      assert.strictEqual(failure.failures.length, 2)
      assert.strictEqual(second.calls.length, 1)
    }))

  it.effect("the same target is asked again at once, but not when it is rate limited", () =>
    Effect.gen(function*() {
      const down = scripted([unavailable(), answer("hi")])
      const { elapsed, exit } = yield* run(down.service.generate(ask).pipe(yield* Hedge.make()))
      assert(Exit.isSuccess(exit))
      assert.strictEqual(elapsed, 0)
      const limited = scripted([rateLimited("30 seconds"), answer("hi")])
      const refused = yield* run(limited.service.generate(ask).pipe(yield* Hedge.make()))
      assert.strictEqual(failureOf(refused.exit)._tag, "RateLimited")
      assert.strictEqual(limited.calls.length, 1)
    }))

  it.effect("one that another target cannot mend ends the race; any other leaves the rest running", () =>
    Effect.gen(function*() {
      const stuck = hanging()
      const bad = new LlmError.InvalidRequest({ ...anthropic })
      const key = new LlmError.Unauthenticated({ ...anthropic })
      const pair = (failure: LlmError.LlmError) =>
        run(
          Hedge.services([
            scripted([Effect.delay(stuck.effect, 0), Effect.never]).service,
            scripted([failure], anthropic).service
          ], { after: "1 second" }).generate(ask),
          "5 seconds"
        )
      assert.strictEqual(failureOf((yield* pair(bad)).exit)._tag, "InvalidRequest")
      assert.strictEqual(stuck.left, 1)
      assert.isNaN((yield* pair(key)).elapsed)
      assert.strictEqual(stuck.running, 1)
    }))

  it.effect("a defect ends the race as it is", () =>
    Effect.gen(function*() {
      const stuck = hanging()
      let tries = 0
      const dying = Effect.suspend(() => tries++ === 0 ? stuck.effect : Effect.die("boom"))
      const { exit } = yield* run((yield* Hedge.make())(dying))
      assert.deepStrictEqual(exit, Exit.die("boom"))
      assert.strictEqual(stuck.left, 1)
    }))

  it.effect("R9: costs what a hedge costs, and is not made without budget", () =>
    Effect.gen(function*() {
      const budget = yield* Budget.make({ target: { capacity: 1, perSecond: 0, ratio: 0 }, costs: { hedge: 1 } })
      const hedge = yield* Hedge.make({ most: 3 })
      let started = 0
      const failing = Effect.suspend(() => Effect.fail(++started))
      yield* Effect.exit(failing.pipe(Policy.compose(budget, hedge)))
      assert.strictEqual(started, 2)
      const stuck = hanging()
      const fiber = yield* Effect.fork(stuck.effect.pipe(Policy.compose(budget, hedge)))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(stuck.running, 1)
      yield* Fiber.interrupt(fiber)
    }))
})

describe("F6: a learned delay", () => {
  const learned = () => Hedge.make({ after: { percentile: 90, of: 10, otherwise: "5 seconds" } })
  const slow = (millis: number) => Effect.delay(Effect.void, millis)

  /** When the second try of a call that hangs starts. */
  const delayOf = (hedge: Policy.Policy) =>
    Effect.gen(function*() {
      const stuck = hanging()
      const fiber = yield* Effect.fork(hedge(stuck.effect))
      let waited = 0
      while (stuck.running < 2 && waited < 10_000) {
        yield* TestClock.adjust("100 millis")
        waited += 100
      }
      yield* Fiber.interrupt(fiber)
      return waited
    })

  it.effect(
    "is the percentile of the latencies, and until there are enough of them the other one",
    () =>
      Effect.gen(function*() {
        const hedge = yield* learned()
        for (let i = 1; i <= 9; i++) yield* run(hedge(slow(i * 100)), "1 second")
        assert.strictEqual(yield* delayOf(hedge), 5000)
        yield* run(hedge(slow(1000)), "1 second")
        assert.strictEqual(yield* delayOf(hedge), 900)
      }),
    20_000
  )

  it.effect("does not sink because hedging cuts the slow ones short", () =>
    Effect.gen(function*() {
      const hedge = yield* learned()
      // One in five hangs, and is answered by the second try in a moment.
      let calls = 0
      for (let i = 0; i < 60; i++) {
        let tries = 0
        const call = Effect.suspend(() => tries++ === 0 && calls++ % 5 === 0 ? Effect.never : slow(100))
        yield* run(hedge(call), "6 seconds")
      }
      assert.isAtLeast(yield* delayOf(hedge), 5000)
    }), 20_000)
})

describe("time limits", () => {
  it.effect("a timeout inside each try ends its own attempt only", () =>
    Effect.gen(function*() {
      const provider = scripted([Effect.never, Effect.delay(Effect.succeed(answer("hi")), "2500 millis")])
      const layer = provider.layer.pipe(
        LlmProvider.withPolicy(Policy.timeout("3 seconds")),
        LlmProvider.withPolicy(Hedge.make({ after: "2 seconds" }))
      )
      const { elapsed, exit } = yield* run(Effect.provide(LlmProvider.generate("hello"), layer))
      assert(Exit.isSuccess(exit))
      assert.strictEqual(elapsed, 4500)
      const [first, second] = exit.value.receipt.attempts
      expect(first?.outcome).toMatchObject({ _tag: "Failed", error: "TimedOut" })
      assert.deepStrictEqual(first?.duration, Duration.seconds(3))
      assert.isUndefined(first?.hedge)
      assert.strictEqual(second?.outcome._tag, "Answered")
      assert.isTrue(second?.hedge)
    }))

  it.effect("a timeout inside each try says nothing of the others", () =>
    Effect.gen(function*() {
      const provider = scripted([Effect.never, Effect.never, answer("hi")])
      const layer = provider.layer.pipe(
        LlmProvider.withPolicy(Policy.timeout("3 seconds")),
        LlmProvider.withPolicy(Hedge.make({ after: "2 seconds", most: 3 }))
      )
      const { exit } = yield* run(Effect.provide(LlmProvider.generate("hello"), layer))
      assert(Exit.isSuccess(exit))
      assert.deepStrictEqual(
        exit.value.receipt.attempts.map(({ outcome }) => outcome._tag === "Failed" ? outcome.error : outcome._tag),
        ["TimedOut", "Interrupted", "Answered"]
      )
    }))

  it.effect("a retry inside an extra try makes extra attempts", () =>
    Effect.gen(function*() {
      const provider = scripted([Effect.never, unavailable(), answer("hi")])
      const layer = provider.layer.pipe(
        LlmProvider.withPolicy(Policy.retry(Retry.constant("1 second").pipe(Retry.attempts(2)))),
        LlmProvider.withPolicy(Hedge.make({ after: "2 seconds" }))
      )
      const { exit } = yield* run(Effect.provide(LlmProvider.generate("hello"), layer))
      assert(Exit.isSuccess(exit))
      assert.deepStrictEqual(exit.value.receipt.attempts.map(({ hedge }) => hedge), [undefined, true, true])
    }))

  it.effect("no try starts at the deadline or past it", () =>
    Effect.gen(function*() {
      const tries = (limit: Duration.DurationInput) =>
        Effect.gen(function*() {
          const stuck = hanging()
          const { elapsed, exit } = yield* run(
            stuck.effect.pipe(Policy.compose(Deadline.make(limit), yield* Hedge.make({ after: "2 seconds" })))
          )
          assert.strictEqual(failureOf(exit)._tag, "DeadlineExceeded")
          assert.strictEqual(stuck.running, 0)
          return [elapsed, stuck.left]
        })
      assert.deepStrictEqual(yield* tries("2 seconds"), [2000, 1])
      assert.deepStrictEqual(yield* tries("2001 millis"), [2001, 2])
    }))

  it.effect("nor after a failure in that very moment", () =>
    Effect.gen(function*() {
      let tries = 0
      const late = Effect.suspend(() => {
        tries++
        return Effect.delay(Effect.fail("late"), "2 seconds")
      })
      yield* run(late.pipe(Policy.compose(Deadline.make("2 seconds"), yield* Hedge.make({ after: "1 hour" }))))
      assert.strictEqual(tries, 1)
    }))

  it.effect("R7: a request that is not idempotent is never asked twice", () =>
    Effect.gen(function*() {
      const first = scripted([Effect.never])
      const second = scripted([answer("hi", anthropic)], anthropic)
      const once = LlmRequest.make({ messages: ask.messages, idempotent: false })
      yield* run(Hedge.services([first.service, second.service]).generate(once))
      const layer = first.layer.pipe(LlmProvider.withPolicy(Hedge.make()))
      yield* run(Effect.provide(LlmProvider.generate(once), layer))
      assert.strictEqual(first.calls.length, 2)
      assert.strictEqual(second.calls.length, 0)
    }))
})

describe("E1: options", () => {
  const one = scripted([answer("hi")]).service
  const bad: Record<string, () => unknown> = {
    "Hedge.make({ after }) was given -1; allowed: a finite duration of at least zero": () => Hedge.make({ after: -1 }),
    "Hedge.make({ after }) was given Infinity; allowed: a finite duration of at least zero": () =>
      Hedge.make({ after: Infinity }),
    "Hedge.make({ most }) was given 0; allowed: a whole number of at least 1": () => Hedge.make({ most: 0 }),
    "Hedge.services({ most }) was given 1.5; allowed: a whole number of at least 1": () =>
      Hedge.services([one], { most: 1.5 }),
    "Hedge.make({ after: { percentile } }) was given 0; allowed: above 0, up to 100": () =>
      Hedge.make({ after: { percentile: 0 } }),
    "Hedge.make({ after: { percentile } }) was given 101; allowed: above 0, up to 100": () =>
      Hedge.make({ after: { percentile: 101 } }),
    "Hedge.layers({ most }) was given 0; allowed: a whole number of at least 1": () =>
      Hedge.layers([scripted([answer("hi")]).layer], { most: 0 }),
    "Hedge.make({ name }) was given \"\"; allowed: a non-empty string": () => Hedge.make({ name: "" }),
    "Hedge.make({ after: { of } }) was given 129; allowed: a whole number from 1 to 128": () =>
      Hedge.make({ after: { percentile: 95, of: 129 } })
  }
  for (const [message, build] of Object.entries(bad)) {
    it(`refused: ${message}`, () => {
      expect(build).toThrow(InvalidOption)
      expect(build).toThrow(message)
    })
  }

  it.effect("a hedge says what it is, adds no failure, and is a policy or a provider", () =>
    Effect.gen(function*() {
      const said = (options?: Hedge.Options) => Effect.map(Hedge.make(options), Policy.describe)
      assert.strictEqual(yield* said(), "hedge after 2s, at most 2 tries")
      assert.strictEqual(
        yield* said({ after: { percentile: 99.9 }, most: 1 }),
        "hedge after percentile 99.9, at most 1 try"
      )
      expectTypeOf(Hedge.make()).toEqualTypeOf<Effect.Effect<Hedge.Service>>()
      expectTypeOf<Hedge.Service>().toExtend<Policy.Policy>()
      expectTypeOf(Hedge.services([one])).toEqualTypeOf<LlmProvider.Service>()
      const misuses = () => {
        // @ts-expect-error there is at least one
        Hedge.services([])
        // @ts-expect-error a percentile is a number
        return Hedge.make({ after: { percentile: "95" } })
      }
      assert.isFunction(misuses)
    }))
})
