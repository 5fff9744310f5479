/** Layers that are replaced while running: what the policies in them know stays where the keys do. */
import { assert, describe, it } from "@effect/vitest"
import { type Context, Deferred, Duration, Effect, Fiber, Layer, type Scope, TestClock } from "effect"
import {
  Budget,
  Bulkhead,
  CircuitBreaker,
  Fallback,
  KeyPool,
  LlmError,
  LlmProvider,
  LlmRequest,
  ModelPrices,
  PolicyMemory,
  Quota,
  SpendLimit,
  Standard
} from "perdure"
import { down, phaseOf } from "./support/breaker.ts"
import { held, read, settled, streaming, text } from "./support/pool.ts"
import {
  answer,
  anthropic,
  failureOf,
  openAi,
  type Scripted,
  scripted,
  type Step,
  unavailable
} from "./support/provider.ts"
import { settle, status, work } from "./support/work.ts"

const ask = LlmRequest.make("hello")
const refused = new LlmError.Unauthenticated(openAi)

/** How the second layer is built after the first. */
interface Swap {
  readonly build: <A, E>(layer: Layer.Layer<A, E>) => Effect.Effect<Context.Context<A>, E, Scope.Scope>
  /** The name of the second one. */
  readonly name: string | undefined
  readonly kept: boolean
}

const overMemory = Effect.map(
  Layer.build(PolicyMemory.layer),
  (memory): Swap["build"] => (layer) => Layer.build(Layer.provide(layer, Layer.succeedContext(memory)))
)

/** A test for each way in which one layer can follow another. */
const swapping = (what: string, test: (swap: Swap) => Effect.Effect<void, unknown, Scope.Scope>) =>
  describe(`a swap: ${what}`, () => {
    it.scoped("is kept over one memory", () =>
      Effect.flatMap(overMemory, (build) => test({ build, name: undefined, kept: true })))
    it.scoped("is not kept without a memory", () => test({ build: Layer.build, name: undefined, kept: false }))
    it.scoped("is not kept under another name", () =>
      Effect.flatMap(overMemory, (build) => test({ build, name: "other", kept: false })))
  })

/** The service of a layer, built as a swap does it. */
const built = <I, S, I2, E>(swap: Swap, tag: Context.Tag<I, S>, layer: Layer.Layer<I | I2, E>) =>
  Effect.flatMap(swap.build(layer), (context) => Effect.provide(tag, context))

swapping("the phase of a circuit", (swap) =>
  Effect.gen(function*() {
    const tripPolicy = CircuitBreaker.consecutive(1)
    const first = yield* built(swap, CircuitBreaker.CircuitBreaker, CircuitBreaker.layer({ tripPolicy }))
    yield* Effect.exit(first(down))
    const second = yield* built(
      swap,
      CircuitBreaker.CircuitBreaker,
      CircuitBreaker.layer({ tripPolicy, openDuration: "5 minutes", name: swap.name })
    )
    assert.strictEqual(yield* phaseOf(second), swap.kept ? "open" : "closed")
    yield* TestClock.adjust("30 seconds")
    yield* Effect.exit(second(down))
    yield* TestClock.adjust("299999 millis")
    assert.strictEqual(yield* phaseOf(second), "open")
    yield* TestClock.adjust("1 millis")
    assert.strictEqual(yield* phaseOf(second), "halfOpen")
  }))

swapping("what is used of a quota", (swap) =>
  Effect.gen(function*() {
    const first = yield* built(swap, Quota.Quota, Quota.layer({ perMinute: { requests: 10 } }))
    for (let i = 0; i < 4; i++) yield* first(Effect.void)
    const second = yield* built(swap, Quota.Quota, Quota.layer({ perMinute: { requests: 20 }, name: swap.name }))
    const { limits: [limit] } = yield* second.status()
    assert.deepStrictEqual([limit?.capacity, limit?.available], [20, swap.kept ? 16 : 20])
  }))

swapping("what is spent of a budget", (swap) =>
  Effect.gen(function*() {
    const options = (capacity: number): Budget.Options => ({
      target: { capacity, ratio: 0, perSecond: 0 },
      process: "none"
    })
    const first = yield* built(swap, Budget.Budget, Budget.layer(options(10)))
    for (let i = 0; i < 4; i++) yield* Effect.flip(first(Effect.flip(Budget.withdraw("retry"))))
    const second = yield* built(swap, Budget.Budget, Budget.layer({ ...options(8), name: swap.name }))
    assert.strictEqual((yield* second.balance("default")).target, swap.kept ? 6 : 8)
  }))

swapping("what has been spent of a limit", (swap) =>
  Effect.gen(function*() {
    const prices = ModelPrices.layer({ models: { openai: { "gpt-4o": { input: 1, output: 1 } } } })
    const layer = (options: SpendLimit.Options) => Layer.provide(SpendLimit.layer(options), prices)
    const first = yield* built(swap, SpendLimit.SpendLimit, layer({ total: 1 }))
    const request = LlmRequest.make({ messages: [LlmRequest.user("x".repeat(400))], maxOutputTokens: 100 })
    const timedOut = new LlmError.TimedOut({ ...openAi, phase: "idle" })
    yield* Effect.exit(first(Effect.fail(timedOut), { target: openAi, request, kind: "generate" }))
    const spent = (yield* first.status()).limits[0]?.spent ?? 0
    assert.isAbove(spent, 0)
    const second = yield* built(swap, SpendLimit.SpendLimit, layer({ total: 2, name: swap.name }))
    const { limits: [limit] } = yield* second.status()
    assert.deepStrictEqual([limit?.limit, limit?.spent], [2, swap.kept ? spent : 0])
  }))

swapping("who is under way in a bulkhead, and who waits,", (swap) =>
  Effect.gen(function*() {
    const { call, end, started } = yield* work
    const first = yield* built(swap, Bulkhead.Bulkhead, Bulkhead.layer({ limit: 1 }))
    for (const id of [1, 2, 3]) yield* Effect.zipRight(Effect.fork(first(call(id))), settle)
    const second = yield* built(swap, Bulkhead.Bulkhead, Bulkhead.layer({ limit: 2, queue: 0, name: swap.name }))
    assert.deepStrictEqual(yield* status(second), swap.kept ? [1, 2] : [0, 0])
    const result = yield* Effect.exit(second(Effect.void))
    if (swap.kept) assert.deepInclude({ ...failureOf(result) }, { _tag: "BulkheadFull", limit: 2, queue: 0 })
    yield* settle
    // The higher limit has let in the first of those who waited for the lower one.
    assert.deepStrictEqual(started, swap.kept ? [1, 2] : [1])
    yield* end(1)
    assert.deepStrictEqual(started, swap.kept ? [1, 2, 3] : [1, 2])
    yield* end(2)
    yield* end(3)
    assert.deepStrictEqual(yield* status(second), [0, 0])
  }))

swapping("what an adaptive bulkhead has learned, and who is under way in it,", (swap) =>
  Effect.gen(function*() {
    const { call, end } = yield* work
    const first = yield* built(swap, Bulkhead.AdaptiveBulkhead, Bulkhead.layerAdaptive({ initial: 20 }))
    yield* TestClock.adjust(1)
    yield* Effect.exit(first(Effect.fail(new LlmError.Overloaded(openAi))))
    assert.strictEqual(yield* first.limit, 18)
    yield* Effect.zipRight(Effect.fork(first(call(1))), settle)
    const second = yield* built(
      swap,
      Bulkhead.AdaptiveBulkhead,
      Bulkhead.layerAdaptive({ initial: 12, max: 15, name: swap.name })
    )
    assert.strictEqual(yield* second(second.inFlight), swap.kept ? 2 : 1)
    assert.strictEqual(yield* second.limit, swap.kept ? 15 : 12)
    yield* end(1)
    assert.deepStrictEqual(yield* status(second), [0, 0])
  }))

swapping("the health of keys", (swap) =>
  Effect.gen(function*() {
    const bad = scripted([refused])
    const good = scripted([answer("good")])
    const layer = (options: KeyPool.Options) =>
      KeyPool.layer([{ label: "bad", layer: bad.layer }, { label: "good", layer: good.layer }], options)
    const first = yield* built(swap, LlmProvider.LlmProvider, layer({}))
    yield* first.generate(ask)
    const second = yield* built(swap, KeyPool.KeyPool, layer({ benchedFor: "5 seconds", name: swap.name }))
    yield* TestClock.adjust("29999 millis")
    assert.deepStrictEqual(
      (yield* second.state)[0]?.retryAfter,
      swap.kept ? Duration.millis(1) : undefined
    )
    for (let i = 0; i < 2; i++) yield* second.generate(ask)
    assert.strictEqual(bad.calls.length, swap.kept ? 1 : 2)
    yield* TestClock.adjust("1 millis")
    for (let i = 0; i < 2; i++) yield* second.generate(ask)
    assert.strictEqual(bad.calls.length, 2)
    // From now on by the new options.
    yield* TestClock.adjust("4999 millis")
    const asked = bad.calls.length
    for (let i = 0; i < 2; i++) yield* second.generate(ask)
    assert.strictEqual(bad.calls.length, swap.kept ? asked : asked + 1)
    yield* TestClock.adjust("1 millis")
    for (let i = 0; i < 2; i++) yield* second.generate(ask)
    assert.strictEqual(bad.calls.length, 3)
  }))

/** Answers after a while. */
const slow = (wait: Duration.DurationInput, target: LlmProvider.TargetInfo): Step =>
  Effect.delay(Effect.succeed(answer("hi", target)), wait)

/** Runs an effect on a fiber of its own while the clock is moved on. */
const during = <A, E>(wait: Duration.DurationInput, self: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fork(self)
    yield* TestClock.adjust(wait)
    return yield* Fiber.join(fiber)
  })

swapping("how long keys take", (swap) =>
  Effect.gen(function*() {
    const keys = [scripted([slow(300, openAi)]), scripted([slow(100, openAi)])] as const
    const layer = (options: KeyPool.Options) =>
      KeyPool.layer([{ label: "a", layer: keys[0].layer }, { label: "b", layer: keys[1].layer }], options)
    const first = yield* built(swap, LlmProvider.LlmProvider, layer({}))
    yield* during("400 millis", Effect.replicateEffect(first.generate(ask), 2))
    const second = yield* built(swap, LlmProvider.LlmProvider, layer({ order: "fastest", name: swap.name }))
    yield* during("300 millis", second.generate(ask))
    assert.deepStrictEqual(keys.map(({ calls }) => calls.length), swap.kept ? [1, 2] : [2, 1])
  }))

swapping("how many requests each key has under way", (swap) =>
  Effect.gen(function*() {
    const keys = [held(), held()] as const
    const [a, b] = keys.map(({ service }, i) => ({
      label: `${i}`,
      layer: Layer.succeed(LlmProvider.LlmProvider, service)
    }))
    const layer = (name?: string) => KeyPool.layer([a!, b!], { order: "leastInFlight", name })
    const first = yield* built(swap, LlmProvider.LlmProvider, layer())
    const begin = (service: LlmProvider.Service) => Effect.zipRight(Effect.fork(service.generate(ask)), settled)
    yield* begin(first)
    const second = yield* built(swap, KeyPool.KeyPool, layer(swap.name))
    yield* begin(second)
    assert.deepStrictEqual(keys.map(({ inFlight }) => inFlight()), swap.kept ? [1, 1] : [2, 0])
    yield* keys[0].end()
    assert.strictEqual((yield* second.state)[0]?.inFlight, swap.kept ? 0 : 1)
  }))

/** A chain over two targets, as a layer with each of its constructors. */
const chains = {
  "Fallback.layer": (first: Scripted, second: Scripted, options: Fallback.Options) =>
    Fallback.layer([first.layer, second.layer], options),
  "LlmProvider.orElse": (first: Scripted, second: Scripted, options: Fallback.Options) =>
    LlmProvider.orElse(first.layer, second.layer, options),
  "Standard.layer": (first: Scripted, second: Scripted, options: Fallback.Options) =>
    Standard.layer([first.layer, second.layer], { breaker: false, retry: false, fallback: options })
} as const

for (const [how, layer] of Object.entries(chains)) {
  swapping(`the health of targets of ${how}`, (swap) =>
    Effect.gen(function*() {
      const first = scripted([unavailable()])
      const second = scripted([answer("second", anthropic)], anthropic)
      const before = yield* built(
        swap,
        LlmProvider.LlmProvider,
        layer(first, second, { unhealthyAfter: 2 })
      )
      for (let i = 0; i < 2; i++) yield* before.generate(ask)
      const after = yield* built(
        swap,
        LlmProvider.LlmProvider,
        layer(first, second, { unhealthyAfter: 1, unhealthyFor: "5 seconds", name: swap.name })
      )
      yield* TestClock.adjust("29999 millis")
      for (let i = 0; i < 2; i++) yield* after.generate(ask)
      assert.strictEqual(first.calls.length, swap.kept ? 2 : 3)
      yield* TestClock.adjust("1 millis")
      for (let i = 0; i < 2; i++) yield* after.generate(ask)
      assert.strictEqual(first.calls.length, 3)
      yield* TestClock.adjust("5 seconds")
      for (let i = 0; i < 2; i++) yield* after.generate(ask)
      assert.strictEqual(first.calls.length, 4)
    }))
}

swapping("how many failures in a row a target has", (swap) =>
  Effect.gen(function*() {
    const first = scripted([unavailable()])
    const second = scripted([answer("second", anthropic)], anthropic)
    const layer = (options: Fallback.Options) => Fallback.layer([first.layer, second.layer], options)
    const before = yield* built(swap, LlmProvider.LlmProvider, layer({}))
    for (let i = 0; i < 2; i++) yield* before.generate(ask)
    const after = yield* built(swap, LlmProvider.LlmProvider, layer({ unhealthyAfter: 3, name: swap.name }))
    for (let i = 0; i < 9; i++) yield* after.generate(ask)
    assert.strictEqual(first.calls.length, swap.kept ? 3 : 5)
  }))

swapping("how long targets take", (swap) =>
  Effect.gen(function*() {
    const first = scripted([slow(300, openAi)])
    const second = scripted([slow(100, anthropic)], anthropic)
    const layer = (options: Fallback.Options) => Fallback.layer([first.layer, second.layer], options)
    const before = yield* built(swap, LlmProvider.LlmProvider, layer({ order: "weighted", weights: [1, 0] }))
    const reversed = yield* built(swap, LlmProvider.LlmProvider, layer({ order: "weighted", weights: [0, 1] }))
    yield* during("300 millis", before.generate(ask))
    yield* during("100 millis", reversed.generate(ask))
    const after = yield* built(swap, LlmProvider.LlmProvider, layer({ order: "fastest", name: swap.name }))
    yield* during("300 millis", after.generate(ask))
    assert.deepStrictEqual([first.calls.length, second.calls.length], swap.kept ? [1, 2] : [2, 1])
  }))

swapping("which targets have streams under way", (swap) =>
  Effect.gen(function*() {
    const first = streaming([[text("a"), "stall"]])
    const second = streaming([[text("b"), "stall"]], anthropic)
    const layer = (name?: string) =>
      Fallback.layer([
        Layer.succeed(LlmProvider.LlmProvider, first.service),
        Layer.succeed(LlmProvider.LlmProvider, second.service)
      ], { order: "leastInFlight", name })
    const before = yield* built(swap, LlmProvider.LlmProvider, layer())
    const reading = yield* Effect.zipLeft(Effect.fork(read(before)), settled)
    const after = yield* built(swap, Fallback.Fallback, layer(swap.name))
    yield* Effect.zipRight(Effect.fork(read(after)), settled)
    assert.deepStrictEqual([first.calls.length, second.calls.length], swap.kept ? [1, 1] : [2, 0])
    yield* Fiber.interrupt(reading)
    assert.deepStrictEqual((yield* after.state).map(({ inFlight }) => inFlight), swap.kept ? [0, 1] : [1, 0])
  }))

describe("bulkheads of one name", () => {
  it.scoped("a later one has the say over the limit of a key, and an earlier one that is still called has not", () =>
    Effect.gen(function*() {
      const build = yield* overMemory
      const swap: Swap = { build, name: undefined, kept: true }
      const { call, end, started } = yield* work
      const first = yield* built(swap, Bulkhead.Bulkhead, Bulkhead.layer({ limit: 3 }))
      const second = yield* built(swap, Bulkhead.Bulkhead, Bulkhead.layer({ limit: 1 }))
      yield* second(Effect.void)
      for (const id of [1, 2]) yield* Effect.zipRight(Effect.fork(first(call(id))), settle)
      assert.deepStrictEqual(started, [1])
      yield* first.reconfigure({ limit: 2 })
      yield* Effect.zipRight(Effect.fork(first(call(3))), settle)
      assert.deepStrictEqual(started, [1, 2])
      yield* end(1)
      assert.deepStrictEqual(started, [1, 2, 3])
    }))

  it.scoped("a key that the other has never guarded keeps its own limit", () =>
    Effect.gen(function*() {
      const build = yield* overMemory
      const swap: Swap = { build, name: undefined, kept: true }
      const of = (key: string, limit: number) =>
        built(swap, Bulkhead.Bulkhead, Bulkhead.layer({ key: () => key, limit }))
      const ones = yield* of("one", 1)
      yield* ones(Effect.void)
      const twos = yield* of("two", 2)
      yield* twos(Effect.void)
      yield* ones(Effect.void)
      assert.deepStrictEqual(
        [(yield* twos.state("one")).limit, (yield* ones.state("two")).limit, yield* ones.limit],
        [1, 2, 3]
      )
      yield* twos.reconfigure({ key: () => "two", limit: 5 })
      assert.deepStrictEqual([(yield* twos.state("one")).limit, (yield* twos.state("two")).limit], [1, 5])
    }))

  it.scoped("permits are kept when one that finds its limit takes the place of one with a fixed limit, and back", () =>
    Effect.gen(function*() {
      const build = yield* overMemory
      const swap: Swap = { build, name: undefined, kept: true }
      const { call, end } = yield* work
      const fixed = yield* built(swap, Bulkhead.Bulkhead, Bulkhead.layer({ limit: 3 }))
      yield* Effect.zipRight(Effect.fork(fixed(call(1))), settle)
      const adaptive = yield* built(swap, Bulkhead.AdaptiveBulkhead, Bulkhead.layerAdaptive({ initial: 20 }))
      assert.deepStrictEqual(yield* adaptive(Effect.all([adaptive.inFlight, adaptive.limit])), [2, 20])
      const overload = yield* Deferred.make<never, LlmError.Overloaded>()
      yield* Effect.zipRight(Effect.fork(adaptive(Deferred.await(overload))), settle)
      yield* Effect.zipRight(Effect.fork(adaptive(call(2))), settle)
      const again = yield* built(swap, Bulkhead.Bulkhead, Bulkhead.layer({ limit: 4 }))
      assert.deepStrictEqual(yield* again(Effect.all([again.inFlight, again.limit])), [4, 4])
      // What a call of the adaptive one learns does not move a limit that is fixed.
      yield* TestClock.adjust(1)
      yield* Deferred.fail(overload, new LlmError.Overloaded(openAi))
      yield* end(1)
      assert.deepStrictEqual(yield* again(Effect.all([again.inFlight, again.limit])), [2, 4])
      yield* end(2)
      assert.deepStrictEqual(yield* status(again), [0, 0])
      // What was learned of the key is still known.
      const last = yield* built(swap, Bulkhead.AdaptiveBulkhead, Bulkhead.layerAdaptive({ initial: 5 }))
      assert.strictEqual(yield* last(last.limit), 20)
    }))
})

describe("what pools and chains of one memory share", () => {
  it.effect("pools of other targets keep apart what they know of labels that are the same", () =>
    Effect.gen(function*() {
      const memory = yield* PolicyMemory.make
      const pool = (target: LlmProvider.TargetInfo, ...steps: [Step, ...Array<Step>]) =>
        KeyPool.make([{ label: "one", service: scripted(steps, target).service }], { memory })
      yield* Effect.flip(pool(openAi, refused).generate(ask))
      assert.strictEqual((yield* pool(anthropic, answer("hi")).generate(ask)).text, "hi")
      assert.strictEqual((yield* Effect.flip(pool(openAi, answer("hi")).generate(ask)))._tag, "NoHealthyKey")
    }))

  it.effect("a domain stays left out when its keys are others", () =>
    Effect.gen(function*() {
      const memory = yield* PolicyMemory.make
      const pool = (label: string, ...steps: [Step, ...Array<Step>]) =>
        KeyPool.make([{ label, domain: "org", service: scripted(steps).service }], { memory })
      yield* Effect.flip(pool("old", new LlmError.QuotaExhausted(openAi)).generate(ask))
      assert.strictEqual((yield* Effect.flip(pool("new", answer("hi")).generate(ask)))._tag, "NoHealthyKey")
    }))

  it.effect("targets of one provider and model in a chain are told apart by their places, however they are nested", () =>
    Effect.gen(function*() {
      const services = () =>
        [unavailable(), answer("b"), answer("c")].map((step) => scripted([step, step]).service) as [
          LlmProvider.Service,
          LlmProvider.Service,
          LlmProvider.Service
        ]
      const nested = {
        flat: (memory: PolicyMemory.Service) => {
          const [a, b, c] = services()
          return Fallback.make([a, b, c], { memory, unhealthyAfter: 1 })
        },
        left: (memory: PolicyMemory.Service) => {
          const [a, b, c] = services()
          const options = { memory, unhealthyAfter: 1 }
          return Fallback.make([Fallback.make([a, b], options), c], options)
        },
        right: (memory: PolicyMemory.Service) => {
          const [a, b, c] = services()
          const options = { memory, unhealthyAfter: 1 }
          return Fallback.make([a, Fallback.make([b, c], options)], options)
        }
      }
      for (const make of Object.values(nested)) {
        const memory = yield* PolicyMemory.make
        yield* make(memory).generate(ask)
        assert.deepStrictEqual((yield* make(memory).state).map(({ health }) => health), [
          "unhealthy",
          "healthy",
          "healthy"
        ])
      }
    }))

  it.effect("a chain in a chain is not taken for its first target, even behind a policy", () =>
    Effect.gen(function*() {
      const wrappers = [
        (inner: Fallback.Chain) => inner,
        // What a wrapper asks is not known to be a chain.
        (inner: Fallback.Chain): LlmProvider.Service => ({ ...inner })
      ]
      for (const wrap of wrappers) {
        const memory = yield* PolicyMemory.make
        const down = [scripted([unavailable()]), scripted([unavailable()], { ...openAi, model: "small" })] as const
        const inner = Fallback.make([down[0].service, down[1].service], { memory, unhealthyAfter: 3 })
        const outer = Fallback.make([wrap(inner), scripted([answer("hi", anthropic)], anthropic).service], { memory })
        const healths = (chain: Fallback.Chain) => Effect.map(chain.state, (all) => all.map(({ health }) => health))
        for (let i = 0; i < 2; i++) yield* outer.generate(ask)
        assert.deepStrictEqual(yield* healths(inner), ["healthy", "healthy"])
        yield* outer.generate(ask)
        assert.deepStrictEqual(yield* healths(inner), ["unhealthy", "unhealthy"])
        assert.deepStrictEqual(yield* healths(outer), ["healthy", "healthy"])
      }
    }))
})
