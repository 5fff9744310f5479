// The misuses below are there to be rejected; the Effect diagnostics would reject them a second time.
// @effect-diagnostics missingEffectError:off
// @effect-diagnostics missingLayerContext:off
import { assert, describe, expect, expectTypeOf, it } from "@effect/vitest"
import { Config, ConfigError, Context, Duration, Effect, Layer, TestClock } from "effect"
import { Call, Disposition, InvalidOption, KeyPool, LlmError, LlmProvider, LlmRequest, Policy, Retry } from "perdure"
import { answer, failureOf, openAi, rateLimited, scripted, type Step, unavailable } from "./support/provider.ts"

const ask = LlmRequest.make("hello")
const refused = new LlmError.Unauthenticated(openAi)
const exhausted = new LlmError.QuotaExhausted(openAi)

type Entry = readonly [label: string, domain: string | undefined, ...steps: readonly [Step, ...Array<Step>]]

/** A pool over scripts, and how often each key was asked. */
const pooled = (entries: readonly [Entry, ...Array<Entry>], options?: KeyPool.Options) => {
  const keys = entries.map(([label, domain, ...steps]) => ({ label, domain, ...scripted(steps) }))
  const [first, ...others] = keys
  return { pool: KeyPool.make([first!, ...others], options), asked: () => keys.map(({ calls }) => calls.length) }
}

const failure = (pool: LlmProvider.Service) => Effect.flip(pool.generate(ask))

describe("F5: a quota that is used up", () => {
  it.effect("leaves out every key of its domain for 30 s, to the millisecond; other domains answer", () =>
    Effect.gen(function*() {
      const { asked, pool } = pooled([
        ["one", "org", exhausted, answer("one")],
        ["two", "org", answer("two")],
        ["three", undefined, answer("three")]
      ])
      assert.strictEqual((yield* pool.generate(ask)).text, "three")
      yield* TestClock.adjust("29999 millis")
      yield* Effect.replicateEffect(pool.generate(ask), 5)
      assert.deepStrictEqual(asked(), [1, 0, 6])
      yield* TestClock.adjust("1 millis")
      yield* Effect.replicateEffect(pool.generate(ask), 3)
      assert.deepStrictEqual(asked(), [2, 1, 7])
    }))

  it.effect("stays left out for longer where the provider says so", () =>
    Effect.gen(function*() {
      const long = new LlmError.QuotaExhausted({ ...openAi, retryAfter: Duration.hours(1) })
      const { pool } = pooled([["one", "org", long, answer("one")]])
      yield* failure(pool)
      yield* TestClock.adjust("3599999 millis")
      expect(yield* failure(pool)).toMatchObject({ _tag: "NoHealthyKey", retryAfter: Duration.millis(1) })
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* pool.generate(ask)).text, "one")
    }))

  it.effect("a rate limit without a time leaves out nobody for later calls, and none of its domain is asked in this one", () =>
    Effect.gen(function*() {
      const { asked, pool } = pooled([
        ["one", "org", rateLimited(), answer("one")],
        ["two", "org", answer("two")],
        ["three", undefined, answer("three")]
      ])
      assert.strictEqual((yield* pool.generate(ask)).text, "three")
      assert.deepStrictEqual(asked(), [1, 0, 1])
      assert.strictEqual((yield* pool.generate(ask)).text, "two")
    }))

  it.effect("domains of their own are not the domain that has the name of their key", () =>
    Effect.gen(function*() {
      const { pool } = pooled([["one", "two", exhausted], ["two", undefined, answer("two")]])
      assert.strictEqual((yield* pool.generate(ask)).text, "two")
    }))
})

describe("F5: a key that is refused", () => {
  for (const error of [refused, new LlmError.PermissionDenied(openAi)]) {
    it.effect(`${error._tag} leaves out the key and not its domain, for as long as it is told`, () =>
      Effect.gen(function*() {
        const { asked, pool } = pooled(
          [["one", "org", error, answer("one")], ["two", "org", answer("two")]],
          { benchedFor: "5 seconds" }
        )
        assert.strictEqual((yield* pool.generate(ask)).text, "two")
        yield* TestClock.adjust("4999 millis")
        yield* Effect.replicateEffect(pool.generate(ask), 4)
        assert.deepStrictEqual(asked(), [1, 5])
        yield* TestClock.adjust("1 millis")
        yield* Effect.replicateEffect(pool.generate(ask), 2)
        assert.deepStrictEqual(asked(), [2, 6])
      }))
  }

  it.effect("F4: when all are, the error holds the failure of each in order", () =>
    Effect.gen(function*() {
      const { pool } = pooled([["one", undefined, refused], ["two", undefined, exhausted]])
      const all = yield* failure(pool)
      assert(all._tag === "AllTargetsFailed")
      assert.deepStrictEqual(all.failures.map(({ _tag }) => _tag), ["Unauthenticated", "QuotaExhausted"])
      assert.strictEqual(all.receipt?.attempts.length, 2)
    }))

  it.effect("every failure that is no key's fault ends the call as it is, and leaves out nobody", () =>
    Effect.gen(function*() {
      const others: ReadonlyArray<LlmError.ProviderError> = [
        unavailable(),
        new LlmError.Overloaded(openAi),
        new LlmError.TimedOut({ ...openAi, phase: "headers" }),
        new LlmError.ConnectionFailed({ ...openAi, sent: true }),
        new LlmError.InvalidRequest(openAi),
        new LlmError.ContentFiltered({ ...openAi, stage: "prompt" })
      ]
      for (const other of others) {
        const { asked, pool } = pooled([["one", undefined, other], ["two", undefined, answer("two")]])
        assert.strictEqual((yield* failure(pool))._tag, other._tag)
        yield* pool.generate(ask)
        assert.strictEqual((yield* failure(pool))._tag, other._tag)
        assert.deepStrictEqual(asked(), [2, 1])
      }
    }))

  const missing = new LlmError.ModelNotFound(openAi)

  it.effect("a key that has not the model goes on to the next, and is left out once that one is answered", () =>
    Effect.gen(function*() {
      const { asked, pool } = pooled([["one", "org", missing, answer("one")], ["two", "org", answer("two")]])
      assert.strictEqual((yield* pool.generate(ask)).text, "two")
      yield* TestClock.adjust("29999 millis")
      yield* Effect.replicateEffect(pool.generate(ask), 4)
      assert.deepStrictEqual(asked(), [1, 5])
      yield* TestClock.adjust("1 millis")
      yield* Effect.replicateEffect(pool.generate(ask), 2)
      assert.deepStrictEqual(asked(), [2, 6])
    }))

  it.effect("a model that no key has leaves out nobody, and the failure says that it is missing", () =>
    Effect.gen(function*() {
      const { asked, pool } = pooled([["one", undefined, missing], ["two", undefined, missing]])
      for (let i = 1; i < 4; i++) {
        const all = yield* failure(pool)
        assert(all._tag === "AllTargetsFailed")
        assert.deepStrictEqual(all.failures.map(({ _tag }) => _tag), ["ModelNotFound", "ModelNotFound"])
        assert.strictEqual(Disposition.classify(all).next, "elsewhereOnly")
        assert.deepStrictEqual(asked(), [i, i])
      }
      const alone = pooled([["one", undefined, missing]])
      for (let i = 0; i < 2; i++) assert.strictEqual((yield* failure(alone.pool))._tag, "ModelNotFound")
    }))

  it.effect("a key that has not the model is not left out when the next one fails", () =>
    Effect.gen(function*() {
      const { asked, pool } = pooled([["one", undefined, missing], ["two", undefined, unavailable()]])
      assert.strictEqual((yield* failure(pool))._tag, "AllTargetsFailed")
      assert.strictEqual((yield* failure(pool))._tag, "ProviderUnavailable")
      yield* failure(pool)
      assert.deepStrictEqual(asked(), [2, 3])
    }))

  it.effect("a key whose trial finds the model missing is left out for as long again", () =>
    Effect.gen(function*() {
      const { asked, pool } = pooled([["one", undefined, missing], ["two", undefined, answer("two")]])
      yield* pool.generate(ask)
      yield* TestClock.adjust("30 seconds")
      yield* Effect.replicateEffect(pool.generate(ask), 4)
      assert.deepStrictEqual(asked(), [2, 5])
      yield* TestClock.adjust("29999 millis")
      yield* Effect.replicateEffect(pool.generate(ask), 4)
      assert.deepStrictEqual(asked(), [2, 9])
    }))

  it.effect("a missing model ends the call where the classifier says so", () =>
    Effect.gen(function*() {
      const classify = Disposition.override({ ModelNotFound: { next: "stop" } })
      const { asked, pool } = pooled([["one", undefined, missing], ["two", undefined, answer("two")]], { classify })
      assert.strictEqual((yield* failure(pool))._tag, "ModelNotFound")
      assert.deepStrictEqual(asked(), [1, 0])
    }))

  it.effect("what counts as a key's fault is for the classifier to say", () =>
    Effect.gen(function*() {
      const classify = Disposition.override({ ProviderUnavailable: { blame: "key", next: "elsewhereOnly" } })
      const { pool } = pooled([["one", undefined, unavailable()], ["two", undefined, answer("two")]], { classify })
      assert.strictEqual((yield* pool.generate(ask)).text, "two")
    }))

  it.effect("R7: a request that must not be repeated goes on after a refusal, as nothing was done", () =>
    Effect.gen(function*() {
      const { pool } = pooled([["one", undefined, refused], ["two", undefined, answer("two")]])
      const pay = LlmRequest.make({ messages: [LlmRequest.user("pay")], idempotent: false })
      assert.strictEqual((yield* pool.generate(pay)).text, "two")
    }))

  it.effect("a retry around the pool waits until the first key is back, and asks again", () =>
    Effect.gen(function*() {
      const { asked, pool } = pooled([["one", undefined, refused, answer("back")]], { benchedFor: "5 seconds" })
      yield* failure(pool)
      const fiber = yield* Effect.fork(
        pool.generate(ask).pipe(Policy.retry(Retry.constant("1 second").pipe(Retry.attempts(2))))
      )
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(asked(), [1])
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* fiber).text, "back")
    }))
})

describe("F3: when no key may be asked", () => {
  const both = (options?: KeyPool.Options) =>
    pooled([["one", undefined, rateLimited("9 seconds"), answer("one")], [
      "two",
      undefined,
      rateLimited("4 seconds"),
      answer("two")
    ]], options)

  it.effect("the refusal names the target, the number of keys and when the first one is back; nobody is asked", () =>
    Effect.gen(function*() {
      const { asked, pool } = both()
      yield* failure(pool)
      const events: Array<string> = []
      const none = yield* failure(pool).pipe(Call.observe(({ _tag }) => events.push(_tag)))
      expect(none).toMatchObject({ ...openAi, _tag: "NoHealthyKey", keys: 2, retryAfter: Duration.seconds(4) })
      expect(none.receipt).toMatchObject({ attempts: [], refusals: [{ because: "NoHealthyKey" }] })
      assert.include(events, "Refused")
      assert.deepStrictEqual(asked(), [1, 1])
    }))

  it.effect("the one that is back first is asked all the same, where that is wanted", () =>
    Effect.gen(function*() {
      const { asked, pool } = both({ lastResort: "soonest" })
      yield* failure(pool)
      assert.strictEqual((yield* pool.generate(ask)).text, "two")
      assert.deepStrictEqual(asked(), [1, 2])
    }))

  it.effect("a last resort that fails is the failure, and asks no other", () =>
    Effect.gen(function*() {
      const { asked, pool } = pooled([["one", undefined, refused], ["two", undefined, refused]], {
        lastResort: "soonest"
      })
      yield* failure(pool)
      assert.strictEqual((yield* failure(pool))._tag, "Unauthenticated")
      assert.strictEqual(asked().reduce((a, b) => a + b), 3)
    }))
})

describe("O3: the key itself", () => {
  it.effect("is in no error and in no receipt; its label is", () =>
    Effect.gen(function*() {
      const { pool } = pooled([["team a", undefined, refused], ["team b", undefined, refused]])
      const said = JSON.stringify(yield* failure(pool))
      assert.include(said, "team a")
      assert.include(said, "team b")
    }))
})

class Region extends Context.Tag("test/Region")<Region, string>() {}

describe("KeyPool.layer", () => {
  const one: Layer.Layer<LlmProvider.LlmProvider, ConfigError.ConfigError> = Layer.unwrapEffect(
    Effect.map(Config.string("KEY"), () => scripted([refused]).layer)
  )
  const two: Layer.Layer<LlmProvider.LlmProvider, never, Region> = Layer.unwrapEffect(
    Effect.map(Region, (region) => scripted([answer(region)]).layer)
  )

  it.effect("is a pool over the services of layers, which are built once", () =>
    Effect.gen(function*() {
      let built = 0
      const counted = (layer: Layer.Layer<LlmProvider.LlmProvider>) =>
        Layer.tap(layer, () => Effect.sync(() => built++))
      const pool = KeyPool.layer([
        { label: "a", layer: counted(scripted([refused]).layer) },
        { label: "b", layer: counted(scripted([answer("hi")]).layer) }
      ])
      const texts = yield* Effect.provide(Effect.replicateEffect(LlmProvider.generate("hello"), 3), pool)
      assert.deepStrictEqual(texts.map((one) => one.text), ["hi", "hi", "hi"])
      assert.strictEqual(built, 2)
    }))

  it("needs and fails with what its layers do", () => {
    expectTypeOf(KeyPool.layer([{ label: "two", layer: two }])).toEqualTypeOf<
      Layer.Layer<LlmProvider.LlmProvider | KeyPool.KeyPool, never, Region>
    >()
    expectTypeOf(KeyPool.layer([{ label: "one", layer: one }])).toEqualTypeOf<
      Layer.Layer<LlmProvider.LlmProvider | KeyPool.KeyPool, ConfigError.ConfigError>
    >()
    expectTypeOf(KeyPool.layer([{ label: "one", layer: one }, { label: "two", layer: two }])).toEqualTypeOf<
      Layer.Layer<LlmProvider.LlmProvider | KeyPool.KeyPool, ConfigError.ConfigError, Region>
    >()
    expectTypeOf(KeyPool.make([{ label: "one", service: scripted([refused]).service }])).toEqualTypeOf<
      KeyPool.Pool
    >()
  })
})

describe("E1: options of a pool", () => {
  const { service } = scripted([answer("hi")])
  const wrong: ReadonlyArray<readonly [string, () => unknown]> = [
    ["label", () => KeyPool.make([{ label: "", service }])],
    ["label", () => KeyPool.make([{ label: "a", service }, { label: "a", service }])],
    ["domain", () => KeyPool.make([{ label: "a", domain: "", service }])],
    ["weight", () => KeyPool.make([{ label: "a", weight: -1, service }])],
    ["weight", () => KeyPool.make([{ label: "a", weight: Number.NaN, service }])],
    ["weight", () => KeyPool.make([{ label: "a", weight: 0, service }, { label: "b", weight: 0, service }])],
    ["name", () => KeyPool.make([{ label: "a", service }], { name: " " })],
    ["benchedFor", () => KeyPool.make([{ label: "a", service }], { benchedFor: 0 })],
    ["benchedFor", () => KeyPool.make([{ label: "a", service }], { benchedFor: Infinity })],
    ["order", () => KeyPool.make([{ label: "a", service }], { order: "random" as "weighted" })],
    ["lastResort", () => KeyPool.make([{ label: "a", service }], { lastResort: "first" as "none" })],
    ["keys", () => KeyPool.make([] as unknown as readonly [KeyPool.Key])],
    ["keys", () => KeyPool.layer([] as unknown as readonly [KeyPool.KeyLayer])],
    ["label", () => KeyPool.layer([{ label: "", layer: scripted([answer("hi")]).layer }])]
  ]
  for (const [name, make] of wrong) {
    it(`a wrong ${name} is refused by its name, when the pool is built: ${make.toString().slice(6, 90)}`, () => {
      let thrown: unknown
      try {
        make()
      } catch (error) {
        thrown = error
      }
      assert(thrown instanceof InvalidOption)
      assert.include(thrown.message, name)
    })
  }

  it("misuses do not compile", () => {
    const misuses = () => {
      // @ts-expect-error a pool has at least one key
      KeyPool.make([])
      // @ts-expect-error a key has a label
      KeyPool.make([{ service }])
      // @ts-expect-error an order is one of four
      KeyPool.make([{ label: "a", service }], { order: "given" })
      // @ts-expect-error the layer's services have the needs of its keys, not none
      const pool: Layer.Layer<LlmProvider.LlmProvider> = KeyPool.layer([{ label: "two", layer: two() }])
      return pool
    }
    const two = (): Layer.Layer<LlmProvider.LlmProvider, never, Region> => Layer.fresh(scripted([answer("x")]).layer)
    expect(misuses).toBeTypeOf("function")
  })
})

it.effect("F5: a key may have any label, also one that objects have by nature", () =>
  Effect.gen(function*() {
    const service = scripted([new LlmError.Unauthenticated(openAi), answer("hi")]).service
    const pool = KeyPool.make([{ label: "constructor", service }])
    assert.strictEqual(failureOf(yield* Effect.exit(pool.generate(LlmRequest.make("x"))))._tag, "Unauthenticated")
    yield* TestClock.adjust("30 seconds")
    yield* pool.generate(LlmRequest.make("x"))
    yield* pool.generate(LlmRequest.make("x"))
  }))
