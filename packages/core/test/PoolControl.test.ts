/** What can be asked of pools and chains while they are at work, and what can be changed. */
import { assert, describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Random, TestClock } from "effect"
import { Disposition, Fallback, InvalidOption, KeyPool, LlmError, LlmProvider, LlmRequest } from "perdure"
import { finish, held, read, settled, streaming, text } from "./support/pool.ts"
import { answer, anthropic, openAi, rateLimited, scripted, type Step, unavailable } from "./support/provider.ts"

const ask = LlmRequest.make("hello")
const refused = new LlmError.Unauthenticated(openAi)
const mistral = { provider: "mistral", model: "large" }

/** Answers after a while. */
const slow = (wait: Duration.DurationInput, target: LlmProvider.TargetInfo = openAi): Step =>
  Effect.delay(Effect.succeed(answer("hi", target)), wait)

const during = <A, E>(wait: Duration.DurationInput, self: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fork(self)
    yield* TestClock.adjust(wait)
    return yield* Fiber.join(fiber)
  })

describe("the state of a key pool", () => {
  it.effect("names for each key, in order, whether and until when it is left out, for itself or with its domain", () =>
    Effect.gen(function*() {
      const pool = KeyPool.make([
        { label: "revoked", service: scripted([refused]).service },
        { label: "limited", domain: "org", service: scripted([rateLimited("7 seconds")]).service },
        { label: "its sister", domain: "org", service: scripted([answer("never")]).service },
        { label: "used up", service: scripted([new LlmError.QuotaExhausted(openAi)]).service },
        { label: "good", service: scripted([answer("hi")]).service }
      ])
      const healths = Effect.map(
        pool.state,
        (all) => all.map(({ health, retryAfter }) => [health, retryAfter] as const)
      )
      assert.deepStrictEqual((yield* pool.state)[0], { label: "revoked", health: "healthy", inFlight: 0 })
      yield* pool.generate(ask)
      const benched = (seconds: number) => ["unhealthy", Duration.seconds(seconds)] as const
      const due = ["due", undefined] as const
      const well = ["healthy", undefined] as const
      assert.deepStrictEqual(yield* healths, [benched(30), benched(7), benched(7), benched(30), well])
      yield* TestClock.adjust("7 seconds")
      assert.deepStrictEqual(yield* healths, [benched(23), well, well, benched(23), well])
      yield* TestClock.adjust("23 seconds")
      assert.deepStrictEqual(yield* healths, [due, well, well, due, well])
    }))

  it.effect("says what is under way and how long answers and first outputs usually take, for a minute", () =>
    Effect.gen(function*() {
      const pool = KeyPool.make([{ label: "one", service: scripted([slow(300), slow(1100), Effect.never]).service }])
      yield* during("300 millis", pool.generate(ask))
      yield* during("1100 millis", pool.generate(ask))
      const fiber = yield* Effect.zipLeft(Effect.fork(pool.generate(ask)), settled)
      assert.deepStrictEqual(yield* pool.state, [
        { label: "one", health: "healthy", inFlight: 1, answer: Duration.millis(400) }
      ])
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* pool.state, [{ label: "one", health: "healthy", inFlight: 0 }])
      const streams = KeyPool.make([{ label: "one", service: streaming([[text("a"), finish]]).service }])
      yield* read(streams)
      assert.deepStrictEqual((yield* streams.state)[0]?.firstOutput, Duration.zero)
    }))
})

describe("the state of a chain", () => {
  it.effect("names for each target, in order, its health, what is under way and how long it usually takes", () =>
    Effect.gen(function*() {
      const busy = held(mistral)
      const chain = Fallback.make([
        scripted([slow(200), unavailable()]).service,
        scripted([refused, refused], anthropic).service,
        busy.service
      ], { unhealthyAfter: 2 })
      yield* during("200 millis", chain.generate(ask))
      yield* Effect.zipRight(Effect.fork(chain.generate(ask)), settled)
      const state = yield* chain.state
      assert.deepStrictEqual(state, [
        { target: openAi, health: "healthy", inFlight: 0, answer: Duration.millis(200) },
        { target: anthropic, health: "unhealthy", retryAfter: Duration.seconds(30), inFlight: 0 },
        { target: mistral, health: "healthy", inFlight: 1 }
      ])
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual((yield* chain.state)[1]?.health, "due")
    }))
})

describe("other options for a key pool", () => {
  it.effect("hold from the next call on; who is left out stays so for as long as was said", () =>
    Effect.gen(function*() {
      const bad = scripted([refused])
      const good = scripted([answer("good")])
      const pool = KeyPool.make([{ label: "bad", service: bad.service }, { label: "good", service: good.service }])
      yield* pool.generate(ask)
      yield* pool.reconfigure({ benchedFor: "5 seconds" })
      yield* TestClock.adjust("29999 millis")
      yield* Effect.replicateEffect(pool.generate(ask), 2)
      assert.strictEqual(bad.calls.length, 1)
      yield* TestClock.adjust("1 millis")
      yield* Effect.replicateEffect(pool.generate(ask), 2)
      assert.strictEqual(bad.calls.length, 2)
      yield* TestClock.adjust("4999 millis")
      yield* Effect.replicateEffect(pool.generate(ask), 2)
      assert.strictEqual(bad.calls.length, 2)
      yield* TestClock.adjust("1 millis")
      yield* Effect.replicateEffect(pool.generate(ask), 2)
      assert.strictEqual(bad.calls.length, 3)
    }))

  it.effect("a request that is under way ends by those that it began with", () =>
    Effect.gen(function*() {
      const key = scripted([Effect.delay(Effect.fail(refused), "1 second"), answer("hi")])
      const pool = KeyPool.make([{ label: "one", service: key.service }])
      const fiber = yield* Effect.zipLeft(Effect.fork(Effect.exit(pool.generate(ask))), settled)
      yield* pool.reconfigure({ benchedFor: "5 seconds", lastResort: "soonest" })
      yield* TestClock.adjust("1 second")
      yield* fiber
      assert.deepStrictEqual((yield* pool.state)[0]?.retryAfter, Duration.seconds(30))
      assert.strictEqual((yield* pool.generate(ask)).text, "hi")
    }))

  it.effect("a call that is under way goes on to other keys by those that it began with", () =>
    Effect.gen(function*() {
      const first = scripted([Effect.delay(Effect.fail(refused), "1 second")])
      const second = scripted([answer("hi")])
      const pool = KeyPool.make([{ label: "a", service: first.service }, { label: "b", service: second.service }])
      const fiber = yield* Effect.zipLeft(Effect.fork(Effect.exit(pool.generate(ask))), settled)
      yield* pool.reconfigure({
        classify: Disposition.override({ Unauthenticated: { next: "stop", blame: "request" } })
      })
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* fiber)._tag, "Success")
      assert.strictEqual(second.calls.length, 1)
    }))

  it.effect("change what a call does that was put together before and is run after", () =>
    Effect.gen(function*() {
      const [a, b] = ["a", "b"].map((label) => ({ label, service: scripted([answer(label)]).service }))
      const texts = (service: LlmProvider.Service) => Effect.map(service.generate(ask), ({ text }) => text)
      const random = <A, E>(call: Effect.Effect<A, E>) =>
        Effect.map(Effect.replicateEffect(call, 40), (all) => [...new Set(all)].toSorted())
      const pool = KeyPool.make([a!, b!], { order: "leastInFlight" })
      const chain = Fallback.make([a!.service, b!.service])
      const [ofPool, ofChain] = [texts(pool), texts(chain)]
      assert.deepStrictEqual([yield* ofPool, yield* ofPool, yield* ofPool], ["a", "b", "a"])
      assert.deepStrictEqual(yield* random(ofChain), ["a"])
      yield* pool.reconfigure({ order: "weighted" })
      yield* chain.reconfigure({ order: "weighted" })
      const turns = yield* Effect.replicateEffect(ofPool, 40)
      // Nobody is asked in turn any more.
      assert.isTrue(turns.some((label, i) => label === turns[i - 1]))
      assert.deepStrictEqual([...new Set(turns)].toSorted(), ["a", "b"])
      assert.deepStrictEqual(yield* random(ofChain), ["a", "b"])
    }).pipe(Effect.withRandom(Random.make("a seed"))))

  it("E1: that are out of their range are refused and change nothing", () => {
    const { service } = scripted([answer("hi")])
    const pool = KeyPool.make([{ label: "one", service }])
    expect(() => pool.reconfigure({ benchedFor: 0 })).toThrow(InvalidOption)
    const chain = Fallback.make([service, service])
    expect(() => chain.reconfigure({ weights: [1] })).toThrow(InvalidOption)
    expect(() => Fallback.make([service], { name: "" })).toThrow("Fallback.make({ name })")
  })
})

describe("other options for a chain", () => {
  it.effect("hold from the next call on, and what is known of its targets stays", () =>
    Effect.gen(function*() {
      const first = scripted([unavailable()])
      const second = scripted([answer("second", anthropic)], anthropic)
      const chain = Fallback.make([first.service, second.service], { unhealthyAfter: 2 })
      yield* chain.generate(ask)
      yield* chain.reconfigure({ unhealthyAfter: 2, unhealthyFor: "5 seconds" })
      yield* Effect.replicateEffect(chain.generate(ask), 3)
      assert.strictEqual(first.calls.length, 2)
      yield* TestClock.adjust("4999 millis")
      yield* chain.generate(ask)
      assert.strictEqual(first.calls.length, 2)
      yield* TestClock.adjust("1 millis")
      yield* chain.generate(ask)
      assert.strictEqual(first.calls.length, 3)
    }))

  it.effect("with another order, the requested target is the one that is asked first, or again the first one", () =>
    Effect.gen(function*() {
      const first = scripted([answer("first")])
      const second = scripted([answer("second", anthropic)], anthropic)
      const chain = Fallback.make([first.service, second.service])
      const requested = Effect.suspend(() => chain.generate(ask)).pipe(
        Effect.map(({ receipt }) => [receipt.requested.provider, receipt.fallback])
      )
      assert.deepStrictEqual(yield* requested, ["openai", false])
      yield* chain.reconfigure({ order: "weighted", weights: [0, 1] })
      assert.deepStrictEqual(yield* requested, ["anthropic", false])
      yield* chain.reconfigure({})
      assert.deepStrictEqual(yield* requested, ["openai", false])
    }))

  it.effect("a call that is under way goes on by those that it began with", () =>
    Effect.gen(function*() {
      const first = scripted([Effect.delay(Effect.fail(unavailable()), "1 second"), unavailable()])
      const second = scripted([answer("second", anthropic)], anthropic)
      const chain = Fallback.make([first.service, second.service])
      const fiber = yield* Effect.zipLeft(Effect.fork(chain.generate(ask)), settled)
      yield* chain.reconfigure({ movesOn: () => false })
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* fiber).text, "second")
      assert.strictEqual((yield* Effect.flip(chain.generate(ask)))._tag, "ProviderUnavailable")
    }))
})

describe("a chain in a chain whose options change", () => {
  const chain = (options: Fallback.Options = {}) => {
    const a = scripted([unavailable()])
    const b = scripted([new LlmError.InvalidRequest(anthropic)], anthropic)
    const c = scripted([answer("c", mistral)], mistral)
    const inner = Fallback.make([a.service, b.service], options)
    const middle = Fallback.make([inner], options)
    const outer = Fallback.make([middle, c.service], options)
    return { a, b, c, inner, outer, asked: () => [a, b, c].map(({ calls }) => calls.length) }
  }

  const targets = (one: Fallback.Chain) => Effect.map(one.state, (all) => all.map(({ target }) => target.provider))

  it.effect("is one of several targets then, and a part of one longer chain again under the same options", () =>
    Effect.gen(function*() {
      const { inner, outer } = chain()
      assert.deepStrictEqual(yield* targets(outer), ["openai", "anthropic", "mistral"])
      yield* inner.reconfigure({ unhealthyAfter: 1 })
      assert.deepStrictEqual(yield* targets(outer), ["openai", "mistral"])
      yield* outer.reconfigure({ unhealthyAfter: 1 })
      // The one between them still has other options than both.
      assert.deepStrictEqual(yield* targets(outer), ["openai", "mistral"])
      yield* inner.reconfigure({})
      yield* outer.reconfigure({})
      assert.deepStrictEqual(yield* targets(outer), ["openai", "anthropic", "mistral"])
    }))

  it.effect("goes by its own options: what it does not move on from is not asked of its other targets", () =>
    Effect.gen(function*() {
      const { asked, inner, outer } = chain()
      assert.strictEqual((yield* Effect.flip(outer.generate(ask)))._tag, "AllTargetsFailed")
      assert.deepStrictEqual(asked(), [1, 1, 0])
      yield* inner.reconfigure({ movesOn: () => false })
      assert.strictEqual((yield* outer.generate(ask)).text, "c")
      assert.deepStrictEqual(asked(), [2, 1, 1])
    }))

  it.effect("its targets keep the health that they had as a part of the longer one", () =>
    Effect.gen(function*() {
      const { asked, inner, outer } = chain({ unhealthyAfter: 1 })
      yield* Effect.exit(outer.generate(ask))
      const classify = Disposition.override({ InvalidRequest: { next: "elsewhereOnly", blame: "provider" } })
      yield* inner.reconfigure({ unhealthyAfter: 1, classify })
      assert.strictEqual((yield* outer.generate(ask)).text, "c")
      // The first was put last when the chains were one, and so the second is asked before it.
      assert.deepStrictEqual(asked(), [2, 2, 1])
      assert.deepStrictEqual((yield* inner.state).map(({ health }) => health), ["unhealthy", "unhealthy"])
    }))
})
