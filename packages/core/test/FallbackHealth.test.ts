import { assert, describe, expect, expectTypeOf, it } from "@effect/vitest"
import { type Config, Context, Duration, Effect, Fiber, type Layer, TestClock } from "effect"
import { CircuitBreaker, Fallback, InvalidOption, LlmError, LlmProvider, LlmRequest, Policy, Retry } from "perdure"
import { localOf } from "../src/internal/local.ts"
import { finish, read, settled, streaming, text } from "./support/pool.ts"
import { answer, anthropic, openAi, rateLimited, scripted, type Step, unavailable } from "./support/provider.ts"

const ask = LlmRequest.make("hello")

/** Two targets, the first by a script, the second answering. */
const pair = (steps: readonly [Step, ...Array<Step>], options?: Fallback.Options) => {
  const first = scripted(steps)
  const second = scripted([answer("second", anthropic)], anthropic)
  return { first, second, chain: Fallback.make([first.service, second.service], options) }
}

const times = (chain: LlmProvider.Service, n: number) => Effect.replicateEffect(chain.generate(ask), n)

describe("F3: a target that fails", () => {
  for (
    const error of [
      new LlmError.Unauthenticated(openAi),
      new LlmError.PermissionDenied(openAi),
      new LlmError.ModelNotFound(openAi)
    ]
  ) {
    it.effect(`${error._tag} puts it last at once, for 30 s to the millisecond`, () =>
      Effect.gen(function*() {
        const { chain, first } = pair([error, answer("back")])
        yield* times(chain, 3)
        yield* TestClock.adjust("29999 millis")
        yield* times(chain, 3)
        assert.strictEqual(first.calls.length, 1)
        yield* TestClock.adjust("1 millis")
        assert.strictEqual((yield* chain.generate(ask)).text, "back")
      }))
  }

  it.effect("retries that are spent are one failure, not one for each attempt nor a lasting one", () =>
    Effect.gen(function*() {
      const first = scripted([unavailable()])
      const patient = Policy.retry(Retry.constant("1 millis").pipe(Retry.attempts(2)))
      const second = scripted([answer("second", anthropic)], anthropic)
      const guarded = LlmProvider.withPolicy(first.layer, patient)
      const chain = yield* LlmProvider.LlmProvider.pipe(
        Effect.provide(LlmProvider.orElse(guarded, second.layer, { unhealthyAfter: 3 }))
      )
      for (let i = 0; i < 5; i++) {
        const fiber = yield* Effect.fork(chain.generate(ask))
        yield* TestClock.adjust("1 millis")
        yield* fiber
      }
      assert.strictEqual(first.calls.length, 6)
    }))

  it.effect("what is not its fault never puts it last", () =>
    Effect.gen(function*() {
      const { chain, first } = pair([rateLimited()], { unhealthyAfter: 1 })
      yield* times(chain, 4)
      assert.strictEqual(first.calls.length, 4)
    }))

  it.effect("is still asked when the healthy ones have failed", () =>
    Effect.gen(function*() {
      const first = scripted([unavailable(), answer("after all")])
      const second = scripted([answer("second", anthropic), unavailable()], anthropic)
      const chain = Fallback.make([first.service, second.service], { unhealthyAfter: 1 })
      assert.strictEqual((yield* chain.generate(ask)).text, "second")
      assert.strictEqual((yield* chain.generate(ask)).text, "after all")
    }))

  it.effect("an answer in between begins the count anew", () =>
    Effect.gen(function*() {
      const { chain, first } = pair([unavailable(), answer("up"), unavailable(), unavailable()], { unhealthyAfter: 2 })
      yield* times(chain, 4)
      assert.strictEqual(first.calls.length, 4)
      yield* times(chain, 4)
      assert.strictEqual(first.calls.length, 4)
    }))

  it.effect("E2: a probe that is interrupted leaves the next call to be it", () =>
    Effect.gen(function*() {
      const { chain, first } = pair([unavailable(), Effect.never, answer("back")], {
        unhealthyAfter: 1,
        unhealthyFor: "5 seconds"
      })
      yield* chain.generate(ask)
      yield* TestClock.adjust("5 seconds")
      const probe = yield* Effect.fork(chain.generate(ask))
      yield* settled
      assert.strictEqual((yield* chain.generate(ask)).text, "second")
      yield* Fiber.interrupt(probe)
      assert.strictEqual((yield* chain.generate(ask)).text, "back")
      assert.strictEqual(first.calls.length, 3)
    }))

  it.effect("a probe that fails keeps it last for as long again", () =>
    Effect.gen(function*() {
      const { chain, first } = pair([unavailable(), unavailable(), answer("back")], { unhealthyAfter: 1 })
      yield* chain.generate(ask)
      yield* TestClock.adjust("30 seconds")
      yield* chain.generate(ask)
      yield* TestClock.adjust("29999 millis")
      yield* chain.generate(ask)
      assert.strictEqual(first.calls.length, 2)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* chain.generate(ask)).text, "back")
    }))

  it.effect("a stream that is cut counts, though its first output was an answer", () =>
    Effect.gen(function*() {
      const first = streaming([[text("Hel"), unavailable()]])
      const second = streaming([[text("second"), finish]], anthropic)
      const chain = Fallback.make([first.service, second.service], { unhealthyAfter: 2 })
      for (let i = 0; i < 2; i++) yield* Effect.flip(read(chain))
      assert.strictEqual(yield* read(chain), "second")
      assert.strictEqual(first.calls.length, 2)
    }))

  it.effect("E2: interrupting the reader of a stream leaves the target healthy and asks nobody else", () =>
    Effect.gen(function*() {
      const first = streaming([[text("Hel"), "stall"]])
      const second = streaming([[text("second"), finish]], anthropic)
      const chain = Fallback.make([first.service, second.service], { unhealthyAfter: 1 })
      for (let i = 0; i < 3; i++) {
        yield* Fiber.interrupt(yield* Effect.zipLeft(Effect.fork(read(chain)), settled))
      }
      assert.deepStrictEqual([first.calls.length, second.calls.length], [3, 0])
    }))
})

describe("F3: when every circuit is open", () => {
  const open = (circuit: string, millis: number | undefined, last: Step = answer(circuit)) => {
    let used = 0
    const { calls, service } = scripted([
      Effect.withFiberRuntime((fiber) => {
        const { lastResort } = localOf(fiber)
        if (lastResort?.circuit === circuit && !lastResort.used) {
          lastResort.used = true
          used += 1
          return last instanceof Object && Effect.isEffect(last) ? last : Effect.succeed(answer(circuit))
        }
        const retryAfter = millis === undefined ? {} : { retryAfter: Duration.millis(millis) }
        return Effect.fail(new LlmError.CircuitOpen({ ...openAi, circuit, state: "open", ...retryAfter }))
      })
    ])
    return { calls, service, used: () => used }
  }

  it.effect("the one that reopens first gets one attempt, and only where that is wanted", () =>
    Effect.gen(function*() {
      const [a, b, c] = [open("a", 900), open("b", 400), open("c", 700)]
      const services = [a.service, b.service, c.service] as const
      const response = yield* Fallback.make(services, { lastResort: "soonest" }).generate(ask)
      assert.strictEqual(response.text, "b")
      assert.deepStrictEqual([a.used(), b.used(), c.used()], [0, 1, 0])
      const failure = yield* Effect.flip(Fallback.make(services).generate(ask))
      assert(failure._tag === "AllTargetsFailed")
      assert.deepStrictEqual(failure.retryAfter, Duration.millis(400))
      assert.deepStrictEqual([a.used(), b.used(), c.used()], [0, 1, 0])
    }))

  it.effect("its failure is the last one in the error, and nobody is asked after it", () =>
    Effect.gen(function*() {
      const a = open("a", 400, Effect.fail(unavailable()))
      const b = open("b", 900)
      const failure = yield* Effect.flip(
        Fallback.make([a.service, b.service], { lastResort: "soonest" }).generate(ask)
      )
      assert(failure._tag === "AllTargetsFailed")
      assert.deepStrictEqual(failure.failures.map(({ _tag }) => _tag), [
        "CircuitOpen",
        "CircuitOpen",
        "ProviderUnavailable"
      ])
      assert.strictEqual(b.used(), 0)
    }))

  it.effect("a circuit that nobody knows the time of, as one isolated by hand, is not asked", () =>
    Effect.gen(function*() {
      const a = open("a", undefined)
      yield* Effect.flip(Fallback.make([a.service], { lastResort: "soonest" }).generate(ask))
      assert.strictEqual(a.used(), 0)
    }))

  it.effect("when one of the targets failed in another way there is no last resort", () =>
    Effect.gen(function*() {
      const a = open("a", 400)
      const down = scripted([unavailable()], anthropic)
      yield* Effect.flip(Fallback.make([a.service, down.service], { lastResort: "soonest" }).generate(ask))
      assert.strictEqual(a.used(), 0)
    }))

  it.effect("with real breakers: the call is let through, and its answer is the probe's", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({
        tripPolicy: CircuitBreaker.consecutive(1),
        openDuration: "20 seconds"
      })
      const first = scripted([unavailable(), answer("first")])
      const second = scripted([unavailable(), answer("second", anthropic)], anthropic)
      const layer = LlmProvider.withPolicy(first.layer, breaker).pipe(
        LlmProvider.orElse(LlmProvider.withPolicy(second.layer, breaker), { lastResort: "soonest" })
      )
      const chain = yield* LlmProvider.LlmProvider.pipe(Effect.provide(layer))
      yield* Effect.flip(chain.generate(ask))
      const response = yield* chain.generate(ask)
      assert.strictEqual(response.text, "first")
      assert.deepStrictEqual([first.calls.length, second.calls.length], [2, 1])
      assert.strictEqual((yield* breaker.state("openai/gpt-4o")).phase, "closed")
      assert.strictEqual((yield* breaker.state("anthropic/claude")).phase, "open")
    }))
})

class Region extends Context.Tag("test/Region")<Region, string>() {}

describe("Fallback.layer", () => {
  it.effect("asks one layer's service after another's", () =>
    Effect.gen(function*() {
      const first = scripted([unavailable()])
      const second = scripted([answer("hi", anthropic)], anthropic)
      const response = yield* LlmProvider.generate("hello").pipe(
        Effect.provide(Fallback.layer([first.layer, second.layer], { order: "leastInFlight" }))
      )
      assert.strictEqual(response.receipt.served?.provider, "anthropic")
    }))

  it("needs and fails with what its layers do", () => {
    type Of<E, R> = Layer.Layer<LlmProvider.LlmProvider, E, R>
    const build = (a: Of<Config.Config<string>, never>, b: Of<Error, Region>) => Fallback.layer([a, b])
    expectTypeOf(build).returns.toEqualTypeOf<
      Layer.Layer<LlmProvider.LlmProvider | Fallback.Fallback, Config.Config<string> | Error, Region>
    >()
    expectTypeOf(build).returns.toExtend<Of<Config.Config<string> | Error, Region>>()
    // @ts-expect-error a chain has at least one target
    const none = () => Fallback.layer([])
    expect(none).toBeTypeOf("function")
  })
})

describe("E1: options of a fallback", () => {
  const { service } = scripted([answer("hi")])
  const wrong: ReadonlyArray<readonly [keyof Fallback.Options, Fallback.Options]> = [
    ["order", { order: "random" as "given" }],
    ["lastResort", { lastResort: "first" as "none" }],
    ["contentRefusal", { contentRefusal: "ignore" as "stop" }],
    ["weights", { weights: [1] }],
    ["weights", { weights: [1, -1] }],
    ["weights", { weights: [1, Number.NaN] }],
    ["weights", { weights: [0, 0] }],
    ["unhealthyAfter", { unhealthyAfter: 0 }],
    ["unhealthyAfter", { unhealthyAfter: 1.5 }],
    ["unhealthyFor", { unhealthyFor: 0 }],
    ["unhealthyFor", { unhealthyFor: Infinity }]
  ]
  for (const [name, options] of wrong) {
    it(`${JSON.stringify(options)} is refused by the name ${name}, when the chain is built`, () => {
      let thrown: unknown
      try {
        Fallback.make([service, service], options)
      } catch (error) {
        thrown = error
      }
      assert(thrown instanceof InvalidOption)
      expect(thrown.message).toContain(name)
    })
  }
})
