import { assert, describe, expect, expectTypeOf, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Schedule, Stream, TestClock } from "effect"
import { Budget, Fallback, LlmError, LlmProvider, LlmRequest, Policy, Retry, StreamPart } from "perdure"
import { answer, anthropic, failureOf, openAi, rateLimited, run, scripted, unavailable } from "./support/provider.ts"

const ask = LlmRequest.make("hello")

/** So many repeats at once, without a wait. */
const repeats = (n: number) => Policy.retry(Retry.fromSchedule(Schedule.recurs(n)))

/** So many tokens and no more, in one bucket. */
const purse = (capacity: number, options: Budget.Options = {}) =>
  Budget.make({ target: { capacity, ratio: 0, perSecond: 0 }, process: "none", ...options })

/** An effect that always fails, and how often it was run. */
const failing = <E>(error: E) => {
  const state = { count: 0 }
  const effect = Effect.suspend(() => {
    state.count++
    return Effect.fail(error)
  })
  return Object.assign(state, { effect })
}

describe("R9: load on a dead provider, three retries each, 100 calls a second", () => {
  const load = (budget: Policy.Policy, requests = 10_000) =>
    Effect.gen(function*() {
      const dead = failing(unavailable())
      const call = Effect.exit(dead.effect.pipe(Policy.compose(budget, repeats(3))))
      for (let second = 0; second < requests / 100; second++) {
        yield* Effect.repeatN(call, 99)
        yield* TestClock.adjust("1 second")
      }
      return dead.count / requests
    })

  it.effect("is 4.0 times the calls without a budget", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* load(Policy.identity, 1000), 4)
    }))

  it.effect("is at most 1.1 times with the default", () =>
    Effect.gen(function*() {
      const ratio = yield* load(yield* Budget.make())
      // What the bucket began with, and a floor of 0.02 a second for 99 seconds.
      assert.strictEqual(ratio, (10_000 + 35 + 1) / 10_000)
      assert.isAtMost(ratio, 1.1)
    }))

  it.effect("is 1.3 times with Finagle's rule", () =>
    Effect.gen(function*() {
      assert.approximately(yield* load(yield* Budget.make(Budget.finagle)), 1.3, 0.015)
    }))

  it.effect("is 1.0 times with gRPC's and with AWS's", () =>
    Effect.gen(function*() {
      // From 10 tokens down to 5.
      assert.strictEqual(yield* load(yield* Budget.make(Budget.grpc)), 1.0005)
      // 500 tokens at 14 each.
      assert.strictEqual(yield* load(yield* Budget.make(Budget.aws)), 1.0035)
    }))
})

describe("R9: retries do not multiply", () => {
  it.effect("of two retries around one another by hand, the outer one does not repeat what the inner one has spent", () =>
    Effect.gen(function*() {
      const { calls, service } = scripted([unavailable()])
      const { exit } = yield* run(service.generate(ask).pipe(Policy.compose(repeats(2), repeats(2))))
      const failure = failureOf(exit)
      assert.isTrue(failure.spent)
      assert.strictEqual(calls.length, 3)
      assert.strictEqual(failure.receipt?.attempts.length, 3)
    }))

  it.effect("nor on layers, and the inner attempts are in the receipt", () =>
    Effect.gen(function*() {
      const { calls, layer } = scripted([unavailable()])
      const twice = layer.pipe(LlmProvider.withPolicy(repeats(2)), LlmProvider.withPolicy(repeats(2)))
      const { exit } = yield* run(Effect.provide(LlmProvider.generate("hello"), twice))
      assert.strictEqual(calls.length, 3)
      assert.deepStrictEqual(
        failureOf(exit).receipt?.attempts.map(({ outcome }) => outcome._tag),
        ["Failed", "Failed", "Failed"]
      )
    }))

  it.effect("failures made anew in between multiply, until the budget stops them", () =>
    Effect.gen(function*() {
      const anew = Policy.make<string, "mine">([], Effect.mapError(() => "mine" as const) as never)
      const twice = Policy.compose(repeats(2), Policy.compose(anew, repeats(2)))
      const free = failing("theirs" as const)
      yield* Effect.exit(free.effect.pipe(twice))
      assert.strictEqual(free.count, 9)
      const bound = failing("theirs" as const)
      const exit = yield* Effect.exit(bound.effect.pipe(Policy.compose(yield* purse(4), twice)))
      assert.strictEqual(failureOf(exit), "mine")
      assert.strictEqual(bound.count, 5)
    }))

  it.effect("one budget covers retries, hedges and fallbacks of a call tree", () =>
    Effect.gen(function*() {
      const budget = yield* purse(3, { key: () => "one", costs: { fallback: 1 } })
      const primary = scripted([unavailable()])
      const secondary = scripted([unavailable()], anthropic)
      const chain = Fallback.make([primary.service, secondary.service])
      const tree = Effect.provide(
        LlmProvider.generate("hello"),
        LlmProvider.withPolicy(
          Layer.succeed(LlmProvider.LlmProvider, chain),
          Policy.compose(budget, repeats(9))
        )
      )
      const { exit } = yield* run(tree)
      // A first attempt, and three more that are paid for.
      assert.strictEqual(primary.calls.length + secondary.calls.length, 4)
      assert.strictEqual(failureOf(exit).receipt?.attempts.length, 4)
      assert.strictEqual((yield* budget.balance("one")).target, 0)
    }))
})

describe("a retry without a grant", () => {
  it.effect("gives up at once with the failure it has, marked as spent", () =>
    Effect.gen(function*() {
      const { calls, service } = scripted([rateLimited("30 seconds")])
      const retry = Policy.retry(Retry.constant("1 second").pipe(Retry.attempts(5)))
      const { elapsed, exit } = yield* run(service.generate(ask).pipe(Policy.compose(yield* purse(1), retry)))
      const failure = failureOf(exit)
      assert.strictEqual(failure._tag, "RateLimited")
      assert.isTrue(failure.spent)
      assert.strictEqual(calls.length, 2)
      // The one wait that was paid for, and none that was not.
      assert.strictEqual(elapsed, calls[1])
    }))

  it.effect("is one also where the schedule is Effect's to run", () =>
    Effect.gen(function*() {
      const dead = failing(unavailable())
      const policy = Retry.constant("1 second").pipe(Retry.attempts(5))
      yield* run(Effect.retry(dead.effect, policy).pipe(yield* purse(2)))
      assert.strictEqual(dead.count, 3)
    }))

  it.effect("moves on to another target", () =>
    Effect.gen(function*() {
      const primary = scripted([unavailable()])
      const secondary = scripted([answer("hi", anthropic)], anthropic)
      const chain = LlmProvider.orElse(
        primary.layer.pipe(LlmProvider.withPolicy(repeats(3))),
        secondary.layer
      ).pipe(LlmProvider.withPolicy(yield* purse(1)))
      const { exit } = yield* run(Effect.provide(LlmProvider.generate("hello"), chain))
      assert(Exit.isSuccess(exit))
      assert.strictEqual(exit.value.receipt.served?.provider, "anthropic")
      assert.strictEqual(primary.calls.length, 2)
    }))

  it.effect("R5: interrupting the wait that was paid for ends at once, and is not paid back", () =>
    Effect.gen(function*() {
      const budget = yield* purse(2)
      const dead = failing("mine" as const)
      const retry = Policy.retry(Retry.constant("1 minute"))
      const fiber = yield* Effect.fork(dead.effect.pipe(Policy.compose(budget, retry)))
      yield* TestClock.adjust("1 second")
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      assert.strictEqual(dead.count, 1)
      assert.strictEqual((yield* budget.balance("default")).target, 1)
    }))
})

describe("a fallback", () => {
  it.effect("costs nothing by default, also when there is nothing left", () =>
    Effect.gen(function*() {
      const chain = Fallback.make([
        scripted([unavailable()]).service,
        scripted([answer("hi", anthropic)], anthropic).service
      ])
      const empty = yield* purse(1, { costs: { retry: 1 } })
      yield* empty(Budget.withdraw("retry", openAi))
      yield* empty(Budget.withdraw("retry", anthropic))
      assert.isTrue(Exit.isSuccess((yield* run(chain.generate(ask).pipe(empty))).exit))
    }))

  it.effect("that costs and is not granted ends the chain with its failures, and is not in the receipt", () =>
    Effect.gen(function*() {
      const second = scripted([unavailable()], anthropic)
      const third = scripted([answer("hi")], { provider: "third", model: "m" })
      const chain = Fallback.make([scripted([unavailable()]).service, second.service, third.service])
      const budget = yield* purse(1, { costs: { fallback: 1 }, key: () => "all" })
      const { exit } = yield* run(chain.generate(ask).pipe(budget))
      const failure = failureOf(exit)
      assert(failure._tag === "AllTargetsFailed")
      assert.strictEqual(failure.failures.length, 2)
      assert.strictEqual(failure.untried, 1)
      assert.strictEqual(third.calls.length, 0)
      assert.strictEqual(failure.receipt?.switches?.length, 1)
    }))
})

describe("deposits", () => {
  const earning = (options: Budget.Options = {}) =>
    Effect.tap(
      Budget.make({ target: { capacity: 10, ratio: 0.1, perSecond: 0 }, process: "none", ...options }),
      (budget) => budget(Effect.replicateEffect(Budget.withdraw("retry"), 10))
    )

  it.effect("ten calls that are served pay for one repeat; nine do not, nor do calls that failed", () =>
    Effect.gen(function*() {
      const budget = yield* earning()
      yield* Effect.repeatN(budget(Effect.void), 8)
      yield* Effect.repeatN(Effect.exit(budget(Effect.fail("no"))), 50)
      yield* Effect.exit(budget(Effect.die("no")))
      // The one in which it was emptied, and nine more.
      assert.strictEqual((yield* budget.balance("default")).target, 1)
      assert.isTrue(yield* Budget.withdraw("retry").pipe(budget))
      assert.isFalse(yield* Budget.withdraw("retry").pipe(budget))
    }))

  it.effect("a call that is interrupted deposits nothing", () =>
    Effect.gen(function*() {
      const budget = yield* earning()
      const before = yield* budget.balance("default")
      const fiber = yield* Effect.fork(budget(Effect.never))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* budget.balance("default"), before)
    }))

  it.effect("go to the target that has answered", () =>
    Effect.gen(function*() {
      const budget = yield* Budget.make({ target: { capacity: 10, ratio: 1, perSecond: 0 }, process: "none" })
      yield* budget(Budget.withdraw("retry", openAi))
      yield* budget(Budget.withdraw("retry", anthropic))
      const chain = Fallback.make([
        scripted([unavailable()]).service,
        scripted([answer("hi", anthropic)], anthropic).service
      ])
      yield* chain.generate(ask).pipe(budget)
      assert.strictEqual((yield* budget.balance("openai/gpt-4o")).target, 9)
      assert.strictEqual((yield* budget.balance("anthropic/claude")).target, 10)
    }))

  it.effect("a stream deposits at its last part and not at its opening", () =>
    Effect.gen(function*() {
      const budget = yield* Budget.make({ target: { capacity: 10, ratio: 1, perSecond: 0 }, process: "none" })
      yield* budget(Budget.withdraw("retry", openAi))
      const layer = LlmProvider.layer({
        ...openAi,
        generate: () => Effect.dieMessage("only streams"),
        stream: () =>
          Stream.concat(
            Stream.succeed(StreamPart.TextDelta.make({ text: "hi" })),
            Stream.succeed(StreamPart.Finish.make({ finishReason: "stop" }))
          )
      })
      const seen: Array<number | undefined> = []
      yield* LlmProvider.stream("hello").pipe(
        Stream.tap(() => Effect.map(budget.balance("openai/gpt-4o"), ({ target }) => seen.push(target))),
        Stream.runDrain,
        Effect.provide(layer.pipe(LlmProvider.withPolicy(budget)))
      )
      assert.strictEqual(seen[0], 9)
      assert.strictEqual((yield* budget.balance("openai/gpt-4o")).target, 10)
    }))

  it.effect("of all calls are made also where they fail, once each", () =>
    Effect.gen(function*() {
      const budget = yield* Budget.make({
        target: { capacity: 10, ratio: 0.5, perSecond: 0, ttl: "10 seconds", deposits: "all" },
        process: "none"
      })
      yield* Effect.repeatN(Effect.exit(budget(Effect.fail("no"))), 3)
      assert.strictEqual((yield* budget.balance("default")).target, 2)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* budget.balance("default")).target, 0)
    }))

  it.effect("AWS's are 1, or what the last retry has cost, which is less after a rate limit", () =>
    Effect.gen(function*() {
      const budget = yield* Budget.make(Budget.aws)
      const left = Effect.map(budget.balance("openai/gpt-4o"), ({ target }) => target)
      const { service } = scripted([unavailable(), rateLimited(), answer("hi"), answer("hi"), unavailable()])
      const retry = Policy.compose(budget, repeats(2))
      yield* service.generate(ask).pipe(retry)
      // 500 - 14 - 5 + 5.
      assert.strictEqual(yield* left, 486)
      yield* service.generate(ask).pipe(retry)
      assert.strictEqual(yield* left, 487)
      yield* Effect.exit(service.generate(ask).pipe(retry))
      assert.strictEqual(yield* left, 459)
    }))
})

describe("types", () => {
  it("a budget adds no failure and needs nothing", () => {
    const check = (budget: Budget.Service, mine: Effect.Effect<number, "mine", "need">) => {
      expectTypeOf(mine.pipe(budget)).toEqualTypeOf<Effect.Effect<number, "mine", "need">>()
      expectTypeOf(Policy.compose(budget, Policy.retry(Retry.standard))).toEqualTypeOf<
        Policy.Policy<LlmError.LlmError>
      >()
      expectTypeOf(Budget.make()).toEqualTypeOf<Effect.Effect<Budget.Service>>()
      expectTypeOf(Budget.layer()).toEqualTypeOf<Layer.Layer<Budget.Budget>>()
      // @ts-expect-error a pace is one of five
      const pace = Budget.make({ costs: { retry: { otherwise: 1, slow: 2 } } })
      // @ts-expect-error what is otherwise has to be said
      const otherwise = Budget.make({ costs: { retry: { rateLimit: 2 } } })
      // @ts-expect-error a kind is one of three
      const kind = Budget.make({ costs: { again: 1 } })
      return [pace, otherwise, kind]
    }
    expect(check).toBeTypeOf("function")
  })

  it.effect("a layer of a provider takes one, also one from the context", () =>
    Effect.gen(function*() {
      const { calls, layer } = scripted([unavailable(), answer("hi")])
      const Llm = layer.pipe(
        LlmProvider.withPolicy(repeats(3)),
        LlmProvider.withPolicy(Budget.Budget),
        Layer.provide(Budget.layer())
      )
      yield* Effect.provide(LlmProvider.generate("hello"), Llm)
      assert.strictEqual(calls.length, 2)
    }))
})
