import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Stream, SubscriptionRef, TestClock } from "effect"
import { Disposition, Hedge, LlmProvider, LlmRequest, Policy, PolicyMemory, StreamPart } from "perdure"
import { answer, anthropic, failureOf, openAi, rateLimited, run, scripted, unavailable } from "./support/provider.ts"

const third = { provider: "third", model: "m" }

const ask = LlmRequest.make("hello")

/** A target that answers in one time, gives its first output in another, and counts how often it is asked. */
const paced = (target: LlmProvider.TargetInfo, pace: { readonly generate: number; readonly open: number }) => {
  const state = { calls: 0, hangs: false }
  const after = <A>(millis: number, value: A) =>
    Effect.suspend(() => {
      state.calls++
      return state.hangs ? Effect.never : Effect.delay(Effect.succeed(value), millis)
    })
  const parts = Stream.concat(
    Stream.fromEffect(after(pace.open, StreamPart.TextDelta.make({ text: "hi" }))),
    Stream.fromEffect(Effect.delay(Effect.succeed(StreamPart.Finish.make({ finishReason: "stop" })), "10 seconds"))
  )
  const options: LlmProvider.MakeOptions = {
    ...target,
    generate: () => after(pace.generate, answer("hi", target)),
    stream: () => parts
  }
  return Object.assign(state, { layer: LlmProvider.layer(options), service: LlmProvider.make(options) })
}

const generate = LlmProvider.generate(ask)
const open = Stream.runDrain(LlmProvider.stream(ask))
const buffered = LlmProvider.generate(ask, { via: "stream" })

/** So many calls, side by side. */
const times = <A, E, R>(count: number, call: Effect.Effect<A, E, R>) =>
  run(Effect.all(Effect.replicate(call, count), { concurrency: "unbounded" }), "1 minute")

/** At which millisecond of a call another try starts, when the first target does not answer. */
const secondTryAt = <A, E, R>(
  millis: number,
  call: Effect.Effect<A, E, R>,
  ...targets: readonly [ReturnType<typeof paced>, ...Array<ReturnType<typeof paced>>]
) =>
  Effect.gen(function*() {
    const calls = () => targets.reduce((sum, target) => sum + target.calls, 0)
    const before = calls()
    targets[0].hangs = true
    const fiber = yield* Effect.fork(call)
    yield* TestClock.adjust(millis - 1)
    assert.strictEqual(calls() - before, 1, `tries after ${millis - 1} ms`)
    yield* TestClock.adjust(1)
    assert.strictEqual(calls() - before, 2, `tries after ${millis} ms`)
    yield* Fiber.interrupt(fiber)
    targets[0].hangs = false
  })

const learned = { after: { percentile: 90, of: 10, otherwise: "5 seconds" } } as const

describe("F6: what a hedge learns", () => {
  it.effect("is of one target: one hedge around two waits for each as long as that one takes", () =>
    Effect.gen(function*() {
      const hedge = yield* Hedge.make(learned)
      const quick = paced(openAi, { generate: 50, open: 50 })
      const slow = paced(anthropic, { generate: 3000, open: 3000 })
      const ofQuick = Effect.provide(generate, LlmProvider.withPolicy(quick.layer, hedge))
      const ofSlow = Effect.provide(generate, LlmProvider.withPolicy(slow.layer, hedge))
      yield* times(100, ofQuick)
      yield* times(100, ofSlow)
      assert.deepStrictEqual([quick.calls, slow.calls], [100, 100])
      yield* secondTryAt(50, ofQuick, quick)
      yield* secondTryAt(3000, ofSlow, slow)
    }))

  it.effect("is of one kind: a complete answer is waited for as one, a stream as long as its first output takes", () =>
    Effect.gen(function*() {
      const hedge = yield* Hedge.make(learned)
      const target = paced(openAi, { generate: 3000, open: 200 })
      const layer = LlmProvider.withPolicy(target.layer, hedge)
      const whole = Effect.provide(generate, layer)
      const stream = Effect.provide(open, layer)
      yield* times(10, stream)
      yield* secondTryAt(5000, whole, target)
      yield* times(10, whole)
      yield* secondTryAt(3000, whole, target)
      yield* secondTryAt(200, stream, target)
    }))

  it.effect("a stream that is buffered is waited for as a complete answer", () =>
    Effect.gen(function*() {
      const hedge = yield* Hedge.make(learned)
      const target = paced(openAi, { generate: 3000, open: 200 })
      const layer = LlmProvider.withPolicy(target.layer, hedge)
      yield* times(10, Effect.provide(open, layer))
      yield* times(10, Effect.provide(buffered, layer))
      yield* secondTryAt(10_200, Effect.provide(buffered, layer), target)
      yield* secondTryAt(200, Effect.provide(open, layer), target)
    }))

  it.effect("of services is by kind as well, and by the first one", () =>
    Effect.gen(function*() {
      const first = paced(openAi, { generate: 3000, open: 200 })
      const second = paced(anthropic, { generate: 10, open: 10 })
      const pair = Hedge.services([first.service, second.service], learned)
      const whole = Effect.provideService(generate, LlmProvider.LlmProvider, pair)
      const stream = Effect.provideService(open, LlmProvider.LlmProvider, pair)
      yield* times(10, whole)
      yield* times(10, stream)
      assert.strictEqual(second.calls, 0)
      yield* secondTryAt(3000, whole, first, second)
      yield* secondTryAt(200, stream, first, second)
    }))

  it.effect("is kept under the key of the call, which is the target's name, by hand `default`, or what `key` says", () =>
    Effect.gen(function*() {
      const hedge = yield* Hedge.make(learned)
      const target = paced(openAi, { generate: 700, open: 700 })
      yield* times(10, Effect.provide(generate, LlmProvider.withPolicy(target.layer, hedge)))
      yield* times(1, hedge(Effect.sleep("1 second")))
      const delay = Duration.millis(700)
      assert.deepStrictEqual(yield* hedge.state("openai/gpt-4o"), { delay, latencies: 10 })
      assert.deepStrictEqual(yield* hedge.state("default"), { delay: Duration.seconds(5), latencies: 1 })
      assert.deepStrictEqual(yield* hedge.state("nobody"), { delay: Duration.seconds(5), latencies: 0 })

      const byProvider = yield* Hedge.make({ ...learned, key: (subject) => subject?.target.provider ?? "by hand" })
      const another = paced({ provider: "openai", model: "gpt-4o-mini" }, { generate: 700, open: 700 })
      yield* times(5, Effect.provide(generate, LlmProvider.withPolicy(target.layer, byProvider)))
      yield* times(5, Effect.provide(generate, LlmProvider.withPolicy(another.layer, byProvider)))
      yield* times(1, byProvider(Effect.void))
      assert.deepStrictEqual(yield* byProvider.state("openai"), { delay, latencies: 10 })
      assert.strictEqual((yield* byProvider.state("by hand")).latencies, 1)
    }))

  it.effect("is kept of 1000 keys", () =>
    Effect.gen(function*() {
      let key = 0
      const hedge = yield* Hedge.make({ ...learned, key: () => String(key) })
      for (; key <= 1000; key++) yield* hedge(Effect.void)
      assert.strictEqual((yield* hedge.state("0")).latencies, 0)
      assert.strictEqual((yield* hedge.state("1")).latencies, 1)
      assert.strictEqual((yield* hedge.state("1000")).latencies, 1)
    }))
})

describe("F6: whom a hedge asks", () => {
  it.effect("no more than `most` of the services, after a delay and after a failure", () =>
    Effect.gen(function*() {
      const hanging = [openAi, anthropic, third].map((target) => scripted([Effect.never], target))
      const [first, second, last] = hanging.map(({ service }) => service)
      assert(first !== undefined && second !== undefined && last !== undefined)
      const stuck = yield* run(Hedge.services([first, second, last], { after: "1 second", most: 2 }).generate(ask))
      assert.isNaN(stuck.elapsed)
      assert.deepStrictEqual(hanging.map(({ calls }) => calls.length), [1, 1, 0])

      const failing = [openAi, anthropic, third].map((target) => scripted([unavailable()], target))
      const layers = Hedge.layers([failing[0]!.layer, failing[1]!.layer, failing[2]!.layer], { most: 2 })
      const failure = failureOf((yield* run(Effect.provide(generate, layers))).exit)
      assert.strictEqual(failure._tag === "AllTargetsFailed" && failure.failures.length, 2)
      assert.deepStrictEqual(failing.map(({ calls }) => calls.length), [1, 1, 0])
    }))

  it.effect("what `classify` says: nobody after a failure that stops, the same target after one that is worth it", () =>
    Effect.gen(function*() {
      const classify = Disposition.override({
        ProviderUnavailable: { next: "stop" },
        RateLimited: { next: "here", pace: "timeout" }
      })
      const down = scripted([unavailable()])
      const other = scripted([answer("hi", anthropic)], anthropic)
      const pair = Hedge.services([down.service, other.service], { classify })
      assert.strictEqual(failureOf((yield* run(pair.generate(ask))).exit)._tag, "ProviderUnavailable")
      assert.strictEqual(other.calls.length, 0)
      const limited = scripted([rateLimited(), answer("hi")])
      const hedged = limited.layer.pipe(LlmProvider.withPolicy(Hedge.make({ classify })))
      const { elapsed, exit } = yield* run(Effect.provide(generate, hedged))
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(elapsed, 0)
    }))
})

describe("a hedge whose options change", () => {
  it.scoped("follows them and keeps what it has learned", () =>
    Effect.gen(function*() {
      const hedge = yield* Hedge.make()
      const options = yield* SubscriptionRef.make<Hedge.Options>(learned)
      yield* Policy.follow(hedge, options)
      yield* TestClock.adjust(0)
      const target = paced(openAi, { generate: 700, open: 700 })
      const call = Effect.provide(generate, LlmProvider.withPolicy(target.layer, hedge))
      yield* times(10, call)
      yield* secondTryAt(700, call, target)
      const set = (changed: Hedge.Options) =>
        Effect.zipRight(SubscriptionRef.set(options, changed), TestClock.adjust(0))

      yield* set({ after: "300 millis", most: 3 })
      assert.strictEqual(Policy.describe(hedge), "hedge after 300ms, at most 3 tries")
      yield* secondTryAt(300, call, target)
      yield* set({ after: { percentile: 90, of: 30 } })
      yield* secondTryAt(2000, call, target)
      yield* set(learned)
      yield* secondTryAt(700, call, target)
    }))

  it.effect("a race under way ends as it began", () =>
    Effect.gen(function*() {
      const hedge = yield* Hedge.make({ after: "1 second", most: 3 })
      let tries = 0
      const fiber = yield* Effect.fork(hedge(Effect.zipRight(Effect.sync(() => tries++), Effect.never)))
      yield* TestClock.adjust("500 millis")
      yield* hedge.reconfigure({ after: 0, most: 9 })
      for (const [millis, expected] of [[499, 1], [1, 2], [999, 2], [1, 3], [60_000, 3]] as const) {
        yield* TestClock.adjust(millis)
        assert.strictEqual(tries, expected)
      }
      yield* Fiber.interrupt(fiber)
    }))

  it.effect("options that are refused change nothing", () =>
    Effect.gen(function*() {
      const hedge = yield* Hedge.make()
      assert.throws(
        () => hedge.reconfigure({ most: 0 }),
        "Hedge.make({ most }) was given 0; allowed: a whole number of at least 1"
      )
      assert.strictEqual(Policy.describe(hedge), "hedge after 2s, at most 2 tries")
    }))
})

describe("a layer of a hedge", () => {
  it.effect("is one hedge for all who use it", () =>
    Effect.gen(function*() {
      const target = paced(openAi, { generate: 700, open: 700 })
      const here = Effect.provide(generate, LlmProvider.withPolicy(target.layer, Hedge.Hedge))
      const there = Effect.provide(generate, LlmProvider.withPolicy(target.layer, Hedge.Hedge))
      yield* Effect.zipRight(times(10, here), secondTryAt(700, there, target)).pipe(
        Effect.provide(Hedge.layer(learned))
      )
    }))

  it.effect("over layers asks the next one beside the first, and builds each once", () =>
    Effect.gen(function*() {
      let built = 0
      const counted = (target: ReturnType<typeof paced>) => Layer.tap(target.layer, () => Effect.sync(() => built++))
      const first = paced(openAi, { generate: 700, open: 700 })
      const second = paced(anthropic, { generate: 700, open: 700 })
      const call = Effect.provide(generate, Hedge.layers([counted(first), counted(second)], { after: "2 seconds" }))
      yield* secondTryAt(2000, call, first, second)
      assert.strictEqual(built, 2)
    }))
})

describe("a hedge that is replaced", () => {
  type Llm = Layer.Layer<LlmProvider.LlmProvider>

  const hedged = (options: Hedge.Options = {}) => (first: Llm): Llm =>
    LlmProvider.withPolicy(first, Hedge.make({ ...learned, ...options }))

  const shared = (options: Hedge.Options = {}) => (first: Llm): Llm =>
    Layer.provide(LlmProvider.withPolicy(first, Hedge.Hedge), Hedge.layer({ ...learned, ...options }))

  const second = paced(anthropic, { generate: 700, open: 700 })

  const several = (options: Hedge.Options = {}) => (first: Llm): Llm =>
    Hedge.layers([first, second.layer], { ...learned, ...options })

  /** Ten calls with one layer, and at which millisecond the other one starts a second try after that. */
  const swap = (before: (first: Llm) => Llm, after: (first: Llm) => Llm, millis: number) =>
    Effect.gen(function*() {
      const first = paced(openAi, { generate: 700, open: 700 })
      yield* times(10, Effect.provide(generate, before(first.layer)))
      yield* secondTryAt(millis, Effect.provide(generate, after(first.layer)), first, second)
    })

  it.effect("goes on from what the one before it has learned, where both are in one memory and have one name", () =>
    Effect.gen(function*() {
      yield* swap(hedged(), hedged(), 700)
      yield* swap(hedged({ name: "mine" }), hedged({ name: "mine", after: { percentile: 50, of: 5 } }), 700)
    }).pipe(Effect.provide(PolicyMemory.layer)))

  it.effect("so it does as a layer of its own, and over layers", () =>
    Effect.gen(function*() {
      yield* swap(shared({ name: "a" }), shared({ name: "a" }), 700)
      yield* swap(several({ name: "b" }), several({ name: "b" }), 700)
    }).pipe(Effect.provide(PolicyMemory.layer)))

  it.effect("knows nothing of one with another name, nor one over layers of one around a layer", () =>
    Effect.gen(function*() {
      yield* swap(hedged({ name: "a" }), hedged({ name: "b" }), 5000)
      yield* swap(several({ name: "a" }), several({ name: "b" }), 5000)
      yield* swap(hedged({ name: "c" }), several({ name: "c" }), 5000)
      yield* swap(several({ name: "d" }), hedged({ name: "d" }), 5000)
    }).pipe(Effect.provide(PolicyMemory.layer)))

  it.effect("begins anew without a memory, and in another one", () =>
    Effect.gen(function*() {
      yield* swap(hedged(), hedged(), 5000)
      yield* swap(several(), several(), 5000)
      const ownMemory = (make: (first: Llm) => Llm) => (first: Llm) => Layer.provide(make(first), PolicyMemory.layer)
      yield* swap(ownMemory(hedged()), ownMemory(hedged()), 5000)
    }))
})
