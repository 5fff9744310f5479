import { assert, describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Random, TestClock } from "effect"
import { Deadline, Fallback, LlmError, LlmProvider, LlmRequest } from "perdure"
import { finish, held, read, settled, streaming, text } from "./support/pool.ts"
import { answer, anthropic, openAi, scripted, type Step, unavailable } from "./support/provider.ts"

const ask = LlmRequest.make("hello")
const mistral = { provider: "mistral", model: "large" }
const targets = [openAi, anthropic, mistral] as const
const names = targets.map(({ provider }) => provider)

/** A chain of three that all answer. */
const answering = (options: Fallback.Options) => {
  const [a, b, c] = targets.map((target) => scripted([answer("hi", target)], target).service)
  return Fallback.make([a!, b!, c!], options)
}

const count = (all: ReadonlyArray<string>) => names.map((name) => all.filter((one) => one === name).length)

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

const provider = (self: Effect.Effect<{ readonly provider: string }, LlmError.LlmError>) =>
  Effect.map(self, ({ provider }) => provider)

describe("the order by weight", () => {
  it.effect("gives each target its share of the first requests, and none to one without weight", () =>
    Effect.gen(function*() {
      const all = yield* Effect.replicateEffect(
        provider(answering({ order: "weighted", weights: [3, 1, 0] }).generate(ask)),
        4000
      )
      const [a = 0, b = 0, c] = count(all)
      assert.strictEqual(c, 0)
      assert.approximately(b / (a + b), 0.25, 4 * Math.sqrt(0.25 * 0.75 / 4000))
    }).pipe(Effect.withRandom(Random.make("a seed"))))

  it.effect("falls back in the drawn order, each target once, and the first that was asked is the requested one", () =>
    Effect.gen(function*() {
      const broken = targets.map((target) => scripted([unavailable()], target))
      const [a, b, c] = broken.map(({ service }) => service)
      const chain = Fallback.make([a!, b!, c!], { order: "weighted", weights: [1, 1, 5] })
      const firsts = new Set<string>()
      for (let i = 0; i < 30; i++) {
        const { receipt } = yield* Effect.flip(chain.generate(ask))
        const asked = receipt?.attempts.map(({ target }) => target.provider) ?? []
        assert.sameMembers([...asked], names)
        assert.strictEqual(receipt?.requested.provider, asked[0])
        if (asked[0] !== undefined) firsts.add(asked[0])
      }
      assert.isAbove(firsts.size, 1)
    }).pipe(Effect.withRandom(Random.make("a seed"))))
})

describe("the order by requests under way", () => {
  it.effect("spreads 3,000 calls evenly, and counts them down again when they are interrupted", () =>
    Effect.gen(function*() {
      const all = targets.map((target) => held(target))
      const [a, b, c] = all.map(({ service }) => service)
      const chain = Fallback.make([a!, b!, c!], { order: "leastInFlight" })
      const fibers = yield* Effect.replicateEffect(Effect.fork(chain.generate(ask)), 3000)
      yield* settled
      assert.deepStrictEqual(all.map(({ inFlight }) => inFlight()), [1000, 1000, 1000])
      yield* Fiber.interruptAll(fibers)
      yield* Effect.replicateEffect(Effect.zipRight(Effect.fork(chain.generate(ask)), settled), 3)
      assert.deepStrictEqual(all.map(({ inFlight }) => inFlight()), [1, 1, 1])
      yield* all[1]!.end()
      yield* Effect.zipRight(Effect.fork(chain.generate(ask)), settled)
      assert.deepStrictEqual(all.map(({ inFlight }) => inFlight()), [1, 1, 1])
    }))

  it.effect("counts a stream until its reader has left", () =>
    Effect.gen(function*() {
      const first = streaming([[text("a"), "stall"]])
      const second = streaming([[text("b"), finish]], anthropic)
      const chain = Fallback.make([first.service, second.service], { order: "leastInFlight" })
      const fiber = yield* Effect.fork(read(chain))
      yield* settled
      assert.strictEqual(yield* read(chain), "b")
      yield* Fiber.interrupt(fiber)
      yield* Fiber.interrupt(yield* Effect.zipLeft(Effect.fork(read(chain)), settled))
      assert.deepStrictEqual([first.calls.length, second.calls.length], [2, 1])
    }))
})

describe("the order by speed", () => {
  const make = (waits: readonly [number, number]) => {
    const first = scripted([slow(waits[0], openAi)])
    const second = scripted([slow(waits[1], anthropic)], anthropic)
    return { first, second, chain: Fallback.make([first.service, second.service], { order: "fastest" }) }
  }

  it.effect("finds out about each one with one call at a time, and then asks the fastest", () =>
    Effect.gen(function*() {
      const { chain, first, second } = make([300, 100])
      // The first call finds out about the first target, the second one about the second, the others are not kept waiting.
      yield* during("1 second", Effect.all(Effect.replicate(chain.generate(ask), 2), { concurrency: "unbounded" }))
      assert.deepStrictEqual([first.calls.length, second.calls.length], [1, 1])
      yield* during("1 second", Effect.all(Effect.replicate(chain.generate(ask), 50), { concurrency: "unbounded" }))
      assert.deepStrictEqual([first.calls.length, second.calls.length], [1, 51])
    }))

  it.effect("forgets after 60 s, to the millisecond, and finds out again", () =>
    Effect.gen(function*() {
      const { chain, first } = make([300, 100])
      const call = during("300 millis", chain.generate(ask))
      yield* call
      yield* call
      // The first was last seen at 300 ms.
      yield* TestClock.adjust("59699 millis")
      yield* Effect.zipRight(Effect.fork(chain.generate(ask)), settled)
      assert.strictEqual(first.calls.length, 1)
      yield* TestClock.adjust("1 millis")
      yield* Effect.zipRight(Effect.fork(chain.generate(ask)), settled)
      assert.strictEqual(first.calls.length, 2)
    }))

  it.effect("a target that fails slowly is slow, one that fails fast is not fast", () =>
    Effect.gen(function*() {
      const failing = (wait: number): Step => Effect.delay(Effect.fail(unavailable()), wait)
      for (const [wait, firsts] of [[10_000, 2], [1, 3]] as const) {
        const first = scripted([slow(100, openAi), failing(wait), slow(100, openAi)])
        const second = scripted([slow(300, anthropic)], anthropic)
        const chain = Fallback.make([first.service, second.service], { order: "fastest" })
        for (let i = 0; i < 4; i++) yield* during("11 seconds", chain.generate(ask))
        assert.strictEqual(first.calls.length, firsts)
      }
    }))

  it.effect("a stream is as fast as its first output", () =>
    Effect.gen(function*() {
      const first = streaming([[text("a"), finish]])
      const second = streaming([[text("b"), finish]], anthropic)
      const chain = Fallback.make([first.service, second.service], { order: "fastest" })
      assert.strictEqual(yield* read(chain), "a")
      assert.strictEqual(yield* read(chain), "b")
      assert.strictEqual(yield* read(chain), "a")
    }))
})

describe("F1: what a target takes", () => {
  const picture = LlmRequest.make({
    messages: [
      LlmRequest.user([
        LlmRequest.text("what is it?"),
        LlmRequest.ImagePart.make({ source: { _tag: "Url", url: "https://example.com/a.png" } })
      ])
    ]
  })
  const tools = LlmRequest.make({ messages: [LlmRequest.user("x")], tools: [{ name: "f", parameters: {} }] })

  for (
    const [what, request, info] of [
      ["images", picture, { ...openAi, images: false }],
      ["tools", tools, { ...openAi, tools: false }]
    ] as const
  ) {
    it.effect(`a target that takes no ${what} is asked for everything else`, () =>
      Effect.gen(function*() {
        const bare = scripted([answer("bare")], info)
        const able = scripted([answer("able", anthropic)], anthropic)
        const chain = Fallback.make([bare.service, able.service])
        const response = yield* chain.generate(request)
        assert.strictEqual(response.text, "able")
        assert.strictEqual(response.receipt.attempts.length, 1)
        assert.isTrue(response.receipt.fallback)
        assert.strictEqual((yield* chain.generate(ask)).text, "bare")
      }))

    it.effect(`when none takes ${what}, the failure says so and nobody is asked`, () =>
      Effect.gen(function*() {
        const bare = scripted([answer("bare")], info)
        const alone = yield* Effect.flip(Fallback.make([bare.service]).generate(request))
        expect(alone).toMatchObject({ ...openAi, _tag: "InvalidRequest", param: what })
        const other = scripted([answer("no")], { ...anthropic, images: false, tools: false })
        const both = yield* Effect.flip(Fallback.make([bare.service, other.service]).generate(request))
        assert(both._tag === "AllTargetsFailed")
        assert.deepStrictEqual(both.failures.map(({ _tag }) => _tag), ["InvalidRequest", "InvalidRequest"])
        assert.deepStrictEqual([bare.calls.length, other.calls.length], [0, 0])
      }))
  }

  it.effect("what is not known counts as yes", () =>
    Effect.gen(function*() {
      const first = scripted([answer("first")])
      const chain = Fallback.make([first.service, scripted([answer("no")], { ...anthropic, tools: false }).service])
      assert.strictEqual((yield* chain.generate(tools)).text, "first")
      assert.strictEqual((yield* chain.generate(picture)).text, "first")
    }))
})

describe("F1: content that is refused", () => {
  const refused = new LlmError.ContentFiltered({ ...openAi, stage: "prompt" })
  const pair = (options: Fallback.Options) => {
    const first = scripted([refused])
    const second = scripted([answer("why not", anthropic)], anthropic)
    return { first, second, chain: Fallback.make([first.service, second.service], options) }
  }

  it.effect("is asked elsewhere where that is wanted, and says nothing about the target's health", () =>
    Effect.gen(function*() {
      const { chain, first } = pair({ contentRefusal: "moveOn", unhealthyAfter: 1 })
      for (let i = 0; i < 3; i++) assert.strictEqual((yield* chain.generate(ask)).text, "why not")
      assert.strictEqual(first.calls.length, 3)
    }))

  it.effect("adds to a rule of your own nothing but refused content", () =>
    Effect.gen(function*() {
      const options: Fallback.Options = { contentRefusal: "moveOn", movesOn: () => false }
      assert.strictEqual((yield* pair(options).chain.generate(ask)).text, "why not")
      const down = scripted([unavailable()])
      const other = scripted([answer("no", anthropic)], anthropic)
      const failure = yield* Effect.flip(Fallback.make([down.service, other.service], options).generate(ask))
      assert.strictEqual(failure._tag, "ProviderUnavailable")
    }))

  it.effect("ends the call otherwise; a bad request always does", () =>
    Effect.gen(function*() {
      const { chain, second } = pair({ contentRefusal: "stop" })
      assert.strictEqual((yield* Effect.flip(chain.generate(ask)))._tag, "ContentFiltered")
      assert.strictEqual(second.calls.length, 0)
      const bad = scripted([new LlmError.InvalidRequest(openAi)])
      const other = scripted([answer("no", anthropic)], anthropic)
      const lenient = Fallback.make([bad.service, other.service], { contentRefusal: "moveOn" })
      assert.strictEqual((yield* Effect.flip(lenient.generate(ask)))._tag, "InvalidRequest")
      assert.strictEqual(other.calls.length, 0)
    }))
})

describe("T1: a target that is too slow for the time left", () => {
  /** A chain in which each target has been seen to take so long. */
  const known = (waits: readonly [number, number], then: readonly [Step, Step]) =>
    Effect.gen(function*() {
      const first = scripted([slow(waits[0], openAi), then[0]])
      const second = scripted([slow(waits[1], anthropic), then[1]], anthropic)
      const chain = Fallback.make([first.service, second.service], { order: "fastest" })
      yield* during("1 minute", Effect.all(Effect.replicate(chain.generate(ask), 2), { concurrency: "unbounded" }))
      return { first, second, chain }
    }).pipe(Effect.map((all) => ({ ...all, asked: () => [all.first.calls.length - 1, all.second.calls.length - 1] })))

  /** One chain in the order given that has learned how long its first target takes. */
  const learned = (took: number, second: Step) =>
    Effect.gen(function*() {
      const first = scripted([slow(took, openAi), answer("first")])
      const other = scripted([second], anthropic)
      const chain = Fallback.make([first.service, other.service])
      yield* during(took, chain.generate(ask))
      return { chain, first, other }
    })

  it.effect("is passed over for a faster one, to the millisecond", () =>
    Effect.gen(function*() {
      const { chain, first } = yield* learned(10_000, answer("second", anthropic))
      assert.strictEqual((yield* chain.generate(ask).pipe(Deadline.make("9999 millis"))).text, "second")
      assert.strictEqual(first.calls.length, 1)
      assert.strictEqual((yield* chain.generate(ask).pipe(Deadline.make("10 seconds"))).text, "first")
    }))

  it.effect("is in the error as too near, and was not asked", () =>
    Effect.gen(function*() {
      const { chain, first } = yield* learned(10_000, new LlmError.Overloaded(anthropic))
      const failure = yield* Effect.flip(chain.generate(ask).pipe(Deadline.make("5 seconds")))
      assert(failure._tag === "AllTargetsFailed")
      expect(failure.failures).toMatchObject([
        { ...openAi, _tag: "DeadlineExceeded", reason: "tooNear", sent: false, limit: Duration.seconds(5) },
        { ...anthropic, _tag: "Overloaded" }
      ])
      expect(failure.receipt?.refusals).toMatchObject([{ because: "DeadlineExceeded", target: openAi }])
      assert.strictEqual(first.calls.length, 1)
    }))

  it.effect("is asked all the same when it is the fastest and nobody was asked yet", () =>
    Effect.gen(function*() {
      const { asked, chain } = yield* known([10_000, 20_000], [answer("first"), answer("second", anthropic)])
      assert.strictEqual((yield* chain.generate(ask).pipe(Deadline.make("5 seconds"))).text, "first")
      assert.deepStrictEqual(asked(), [1, 0])
    }))

  it.effect("is not asked after another has failed, when the time left is too short by then", () =>
    Effect.gen(function*() {
      const { asked, chain } = yield* known([1000, 4000], [
        Effect.delay(Effect.fail(unavailable()), "2 seconds"),
        answer("second", anthropic)
      ])
      const failing = Effect.flip(chain.generate(ask).pipe(Deadline.make("5 seconds")))
      const failure = yield* during("2 seconds", failing)
      assert(failure._tag === "AllTargetsFailed")
      assert.deepStrictEqual(failure.failures.map(({ _tag }) => _tag).toSorted(), [
        "DeadlineExceeded",
        "ProviderUnavailable"
      ])
      assert.deepStrictEqual(asked(), [1, 0])
    }))

  it.effect("is asked where there is no deadline", () =>
    Effect.gen(function*() {
      const { chain } = yield* learned(10_000, answer("second", anthropic))
      assert.strictEqual((yield* chain.generate(ask)).text, "first")
    }))
})
