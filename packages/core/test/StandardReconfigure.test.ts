// The misuses below are there to be rejected; the Effect diagnostics would reject them a second time.
// @effect-diagnostics missingEffectError:off
/** A standard policy that is given other options while it is at work. */
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, SubscriptionRef, TestClock } from "effect"
import {
  type Budget,
  Bulkhead,
  type CircuitBreaker,
  InvalidOption,
  LlmProvider,
  LlmRequest,
  Policy,
  type Quota,
  Retry,
  Standard
} from "perdure"
import { answer, anthropic, failureOf, run, scripted, unavailable } from "./support/provider.ts"

const twice = Retry.constant("1 second").pipe(Retry.attempts(2))
const tagOf = (exit: Exit.Exit<unknown, { readonly _tag: string }>) => failureOf(exit)._tag
const namesOf = (policy: Policy.Policy<never, unknown>) => policy.steps.map(({ name }) => name)

const refused = (reconfigure: () => unknown) => {
  try {
    reconfigure()
  } catch (error) {
    assert.instanceOf(error, InvalidOption)
    return error.option
  }
  return assert.fail("nothing was refused")
}

describe("Standard.reconfigure", () => {
  it.effect("gives the next call another time, and leaves the one under way the time that it has", () =>
    Effect.gen(function*() {
      const policy = yield* Policy.standard({ deadline: "10 seconds", attempt: false })
      const before = yield* Effect.fork(Effect.exit(policy(Effect.never)))
      yield* Effect.yieldNow()
      yield* policy.reconfigure({ deadline: "2 seconds", attempt: false })
      const after = yield* Effect.fork(Effect.exit(policy(Effect.never)))
      yield* TestClock.adjust("1999 millis")
      assert.strictEqual((yield* Fiber.poll(after))._tag, "None")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(tagOf(yield* Fiber.join(after)), "DeadlineExceeded")
      yield* TestClock.adjust("7999 millis")
      assert.strictEqual((yield* Fiber.poll(before))._tag, "None")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(tagOf(yield* Fiber.join(before)), "DeadlineExceeded")
    }))

  it.effect("gives the next attempt of a call under way another limit", () =>
    Effect.gen(function*() {
      const policy = yield* Policy.standard({ deadline: false, attempt: "10 seconds", retry: twice })
      const fiber = yield* Effect.fork(Effect.exit(policy(Effect.never)))
      yield* Effect.yieldNow()
      yield* policy.reconfigure({ deadline: false, attempt: "3 seconds", retry: twice })
      yield* TestClock.adjust("13999 millis")
      assert.strictEqual((yield* Fiber.poll(fiber))._tag, "None")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(tagOf(yield* Fiber.join(fiber)), "TimedOut")
    }))

  it.effect("keeps what the policies know: an open circuit stays open, a permit that is out stays out", () =>
    Effect.gen(function*() {
      const policy = yield* Policy.standard({ retry: false, bulkhead: { limit: 1, queue: 0 } })
      const holding = yield* Effect.fork(policy(Effect.never))
      yield* Effect.yieldNow()
      yield* policy.reconfigure({ retry: false, bulkhead: { limit: 1, queue: 0 }, deadline: "1 minute" })
      assert.strictEqual(tagOf(yield* Effect.exit(policy(Effect.void))), "BulkheadFull")
      yield* Fiber.interrupt(holding)
      yield* Effect.replicateEffect(Effect.exit(policy(Effect.fail(unavailable()))), 5)
      yield* policy.reconfigure({ retry: false, deadline: "2 minutes" })
      assert.strictEqual(tagOf(yield* Effect.exit(policy(Effect.void))), "CircuitOpen")
      yield* policy.breaker.reset("default")
      yield* policy(Effect.void)
      assert.strictEqual(yield* policy.bulkhead.limit, Bulkhead.defaults.limit)
    }))

  it.effect("takes a policy out with false, and brings it back with what it knew", () =>
    Effect.gen(function*() {
      const policy = yield* Policy.standard({ retry: false, quota: { perMinute: { requests: 5 }, maxWait: 0 } })
      yield* Effect.replicateEffect(Effect.exit(policy(Effect.fail(unavailable()))), 5)
      assert.strictEqual(tagOf(yield* Effect.exit(policy(Effect.void))), "CircuitOpen")
      yield* policy.reconfigure({ retry: false, breaker: false, budget: false, bulkhead: false, attempt: false })
      assert.deepStrictEqual(namesOf(policy), ["deadline"])
      yield* policy(Effect.void)
      yield* policy.reconfigure({ retry: false, quota: { perMinute: { requests: 5 }, maxWait: 0 } })
      assert.deepStrictEqual(namesOf(policy), ["deadline", "budget", "breaker", "quota", "bulkhead", "timeout"])
      assert.strictEqual(tagOf(yield* Effect.exit(policy(Effect.void))), "CircuitOpen")
      yield* policy.breaker.reset("default")
      assert.strictEqual(tagOf(yield* Effect.exit(policy(Effect.void))), "QuotaExceeded")
    }))

  it.effect("E1: changes nothing where one of the options is refused", () =>
    Effect.gen(function*() {
      const policy = yield* Policy.standard()
      const before = policy.steps
      assert.include(refused(() => policy.reconfigure({ deadline: "1 second", bulkhead: { limit: 0 } })), "limit")
      assert.include(refused(() => policy.reconfigure({ breaker: { probes: 9 }, attempt: -1 })), "duration")
      assert.include(refused(() => policy.reconfigure({ bulkhead: { adaptive: {} } })), "bulkhead")
      assert.deepStrictEqual(policy.steps, before)
      const adaptive = yield* Policy.standard({ bulkhead: { adaptive: { max: 9 } } })
      assert.include(refused(() => adaptive.reconfigure({ bulkhead: { limit: 3 } })), "bulkhead")
      yield* adaptive.reconfigure({ bulkhead: { adaptive: { max: 7 } } })
      assert.include(Policy.describe(adaptive), "3 to 7 at once")
      yield* adaptive.reconfigure({})
      assert.include(Policy.describe(adaptive), `3 to ${Bulkhead.defaults.max} at once`)
    }))

  it("E1: refuses a deadline that is no duration as such, before anything is made of it", () => {
    for (const deadline of ["1e3 millis", "soon millis"] as ReadonlyArray<any>) {
      assert.include(refused(() => Policy.standard({ deadline })), "Deadline.make")
    }
  })

  it.effect("E1: leaves out what was left out when it was made, as its refusal is in no type", () =>
    Effect.gen(function*() {
      const policy = yield* Policy.standard({ breaker: false })
      const widened: { readonly reconfigure: (options: any) => unknown } = policy
      assert.include(refused(() => widened.reconfigure({ breaker: {} })), "breaker")
      assert.include(refused(() => widened.reconfigure({ quota: {} })), "quota")
      yield* policy.reconfigure({})
      assert.deepStrictEqual(namesOf(policy), ["deadline", "budget", "retry", "bulkhead", "timeout"])
      const misuses = () => {
        // @ts-expect-error it was left out
        void policy.reconfigure({ breaker: {} })
        // @ts-expect-error there was none
        void policy.reconfigure({ quota: {} })
        // @ts-expect-error a circuit that is not there
        void policy.breaker.reset("default")
      }
      assert.isFunction(misuses)
    }))

  it.scoped("follows a reference", () =>
    Effect.gen(function*() {
      const first: Standard.Options = { deadline: "1 minute" }
      const options = yield* SubscriptionRef.make(first)
      const policy = yield* Policy.standard(first)
      yield* Policy.follow(policy, options)
      assert.include(Policy.describe(policy), "deadline 1m")
      for (let i = 0; i < 9; i++) yield* Effect.yieldNow()
      yield* SubscriptionRef.set(options, { deadline: "2 minutes" })
      for (let i = 0; i < 9; i++) yield* Effect.yieldNow()
      assert.include(Policy.describe(policy), "deadline 2m")
    }))

  it.scoped("follows a reference as a layer: the policies of each target, and the fallback over them", () =>
    Effect.gen(function*() {
      const first = scripted([Effect.never])
      const second = scripted([answer("hi", anthropic)], anthropic)
      const options = yield* SubscriptionRef.make<Standard.LayerOptions>({ deadline: "10 seconds", retry: false })
      const provider = yield* Effect.provide(
        LlmProvider.LlmProvider,
        yield* Layer.build(Standard.layerFollowing([first.layer, second.layer], options))
      )
      const elapsed = Effect.map(run(provider.generate(LlmRequest.make("hello"))), ({ elapsed, exit }) => {
        assert.isTrue(Exit.isSuccess(exit))
        return elapsed
      })
      assert.strictEqual(yield* elapsed, 4000)
      yield* SubscriptionRef.set(options, { deadline: "5 seconds", retry: false, breaker: { probes: 0 } })
      for (let i = 0; i < 9; i++) yield* Effect.yieldNow()
      assert.strictEqual(yield* elapsed, 4000)
      yield* SubscriptionRef.set(options, {
        deadline: "5 seconds",
        retry: false,
        fallback: { order: "weighted", weights: [0, 1] }
      })
      for (let i = 0; i < 9; i++) yield* Effect.yieldNow()
      assert.strictEqual(yield* elapsed, 0)
      assert.include(LlmProvider.describe(provider), "fallback  weighted 0:1")
      const context = yield* Layer.build(Standard.layerFollowing([first.layer, second.layer], options))
      assert.deepStrictEqual([...context.unsafeMap.keys()], [LlmProvider.LlmProvider.key])
    }))

  it("has the parts that there are, in its type", () => {
    const types = (options: Standard.Options) => ({
      all: Policy.standard({ quota: {} }),
      none: Policy.standard({ breaker: false, budget: false, bulkhead: false }),
      maybe: Policy.standard(options),
      unknown: Policy.standard({ breaker: options as any }),
      undefined: Policy.standard({ quota: undefined })
    })
    type Made<K extends keyof ReturnType<typeof types>> = Effect.Effect.Success<ReturnType<typeof types>[K]>
    expectTypeOf<Made<"all">["quota"]>().toEqualTypeOf<Quota.Service>()
    expectTypeOf<Made<"all">["breaker"]>().toEqualTypeOf<CircuitBreaker.Service>()
    expectTypeOf<Made<"none">["quota"]>().toEqualTypeOf<undefined>()
    expectTypeOf<Made<"none">["breaker"]>().toEqualTypeOf<undefined>()
    expectTypeOf<Made<"none">["bulkhead"]>().toEqualTypeOf<undefined>()
    expectTypeOf<Made<"unknown">["breaker"]>().toEqualTypeOf<CircuitBreaker.Service | undefined>()
    expectTypeOf<Made<"undefined">["quota"]>().toEqualTypeOf<undefined>()
    expectTypeOf<Parameters<Made<"undefined">["reconfigure"]>[0]["quota"]>().toEqualTypeOf<false | undefined>()
    expectTypeOf<Made<"maybe">["budget"]>().toEqualTypeOf<Budget.Service | undefined>()
    expectTypeOf<Made<"maybe">["quota"]>().toEqualTypeOf<Quota.Service | undefined>()
  })
})
