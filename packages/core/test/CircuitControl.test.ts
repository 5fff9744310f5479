import { assert, describe, it } from "@effect/vitest"
import { Chunk, Deferred, Duration, Effect, Exit, Fiber, Option, Schedule, Stream, TestClock } from "effect"
import { CircuitBreaker, InvalidOption, type LlmError, LlmProvider, type Policy, StreamPart } from "perdure"
import { OpenedStream } from "../src/internal/opened.ts"
import { down, halfOpen, ok, phaseOf, touchy, watching } from "./support/breaker.ts"
import { failureOf, openAi, unavailable } from "./support/provider.ts"

const target = { target: openAi } as Policy.Subject

describe("B6: by hand", () => {
  it.effect("isolate holds it open until reset, with no time at which to come again", () =>
    Effect.gen(function*() {
      const breaker = yield* touchy()
      yield* breaker.isolate("default")
      yield* TestClock.adjust("365 days")
      const refusal = failureOf(yield* Effect.exit(breaker(ok)))
      assert.strictEqual(refusal.state, "isolated")
      assert.isUndefined(refusal.retryAfter)
      assert.strictEqual(yield* phaseOf(breaker), "isolated")
      yield* breaker.reset("default")
      assert.strictEqual(yield* breaker(ok), "ok")
    }))

  it.effect("what becomes of calls under way when it is isolated or reset says nothing", () =>
    Effect.gen(function*() {
      const breaker = yield* touchy()
      const end = yield* Deferred.make<never, LlmError.LlmError>()
      const fiber = yield* Effect.fork(breaker(Deferred.await(end)))
      yield* Effect.yieldNow()
      yield* breaker.isolate("default")
      yield* breaker.reset("default")
      yield* Deferred.fail(end, unavailable())
      yield* Fiber.await(fiber)
      assert.strictEqual(yield* phaseOf(breaker), "closed")
    }))

  it.effect("reset forgets the failures seen and the openings counted", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({
        tripPolicy: CircuitBreaker.consecutive(2),
        openDuration: Schedule.exponential("10 seconds")
      })
      yield* Effect.exit(breaker(down))
      yield* breaker.reset("default")
      yield* Effect.exit(breaker(down))
      assert.strictEqual(yield* phaseOf(breaker), "closed")
      yield* Effect.exit(breaker(down))
      yield* TestClock.adjust("10 seconds")
      yield* Effect.exit(breaker(down))
      assert.deepStrictEqual((yield* breaker.state("default")).retryAfter, Duration.seconds(20))
      yield* breaker.reset("default")
      yield* Effect.repeatN(Effect.exit(breaker(down)), 1)
      assert.deepStrictEqual(yield* breaker.state("default"), {
        phase: "open",
        openings: 1,
        probing: 0,
        retryAfter: Duration.seconds(10)
      })
    }))

  it.effect("one circuit is not another's", () =>
    Effect.gen(function*() {
      const breaker = yield* touchy()
      yield* breaker.isolate("openai/gpt-4o")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(breaker(ok, target))))
      assert.strictEqual(yield* breaker(ok), "ok")
      assert.strictEqual(yield* phaseOf(breaker, "nobody/asked"), "closed")
    }))

  it.scoped("transitions tells of every change of phase, once and in order", () =>
    Effect.gen(function*() {
      const breaker = yield* touchy()
      const seen = yield* watching(breaker)
      yield* breaker(ok)
      yield* Effect.exit(breaker(down))
      yield* Effect.exit(breaker(ok))
      yield* TestClock.adjust("10 seconds")
      yield* breaker(ok)
      yield* breaker.isolate("default")
      yield* breaker.isolate("default")
      yield* breaker.reset("default")
      yield* breaker.reset("default")
      assert.deepStrictEqual(yield* seen, [
        { circuit: "default", at: 0, from: "closed", to: "open", openFor: Duration.seconds(10) },
        { circuit: "default", at: 10_000, from: "open", to: "halfOpen" },
        { circuit: "default", at: 10_000, from: "halfOpen", to: "closed" },
        { circuit: "default", at: 10_000, from: "closed", to: "isolated" },
        { circuit: "default", at: 10_000, from: "isolated", to: "closed" }
      ])
    }))

  it.scoped("a reader of transitions that does not read harms nobody, and finds the last 256", () =>
    Effect.gen(function*() {
      const breaker = yield* touchy()
      const gate = yield* Deferred.make<void>()
      const reader = yield* breaker.transitions.pipe(
        Stream.tap(() => Deferred.await(gate)),
        Stream.rechunk(1),
        Stream.takeUntil(({ to }) => to === "isolated"),
        Stream.runCollect,
        Effect.forkScoped
      )
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      yield* Effect.repeatN(Effect.zipRight(Effect.exit(breaker(down)), breaker.reset("default")), 999)
      yield* breaker.isolate("default")
      yield* Deferred.succeed(gate, undefined)
      const all = Chunk.toReadonlyArray(yield* Fiber.join(reader))
      assert.isAtMost(all.length, 258)
      assert.strictEqual(all.at(-1)?.to, "isolated")
    }))

  it.scoped("metrics-only changes phases and tells of them, but rejects nothing", () =>
    Effect.gen(function*() {
      const breaker = yield* touchy({ metricsOnly: true })
      const seen = yield* watching(breaker)
      yield* Effect.exit(breaker(down))
      assert.strictEqual(yield* phaseOf(breaker), "open")
      assert.strictEqual(yield* breaker(ok), "ok")
      assert.strictEqual(yield* phaseOf(breaker), "open")
      yield* TestClock.adjust("10 seconds")
      yield* breaker(ok)
      yield* breaker.isolate("default")
      assert.strictEqual(yield* breaker(ok), "ok")
      assert.deepStrictEqual((yield* seen).map(({ to }) => to), ["open", "halfOpen", "closed", "isolated"])
    }))
})

describe("streams", () => {
  const fresh = () => new OpenedStream(Effect.fail(Option.none()))

  it.effect("B3: a probe is under way until the stream has ended, not until it has opened", () =>
    Effect.gen(function*() {
      const breaker = yield* halfOpen()
      const stream = yield* breaker(Effect.sync(fresh))
      assert.deepStrictEqual(yield* breaker.state("default"), { phase: "halfOpen", openings: 1, probing: 1 })
      yield* stream.end({ _tag: "Answered", usage: undefined })
      assert.strictEqual(yield* phaseOf(breaker), "closed")
    }))

  it.effect("B3: a cut after the first output is a failure, in a probe and in a closed circuit", () =>
    Effect.gen(function*() {
      for (const make of [touchy(), halfOpen()]) {
        const breaker = yield* make
        const stream = yield* breaker(Effect.sync(fresh))
        yield* stream.end({ _tag: "Failed", error: unavailable(), usage: undefined })
        assert.strictEqual(yield* phaseOf(breaker), "open")
      }
    }))

  it.effect("B3: a reader who leaves after output is neither failure nor success", () =>
    Effect.gen(function*() {
      const breaker = yield* halfOpen()
      const stream = yield* breaker(Effect.sync(fresh))
      yield* stream.end({ _tag: "Interrupted", streamed: true })
      assert.deepStrictEqual(yield* breaker.state("default"), { phase: "halfOpen", openings: 1, probing: 0 })
    }))

  it.effect("B3: around a provider, a cut counts when it comes, a complete answer when it is read", () =>
    Effect.gen(function*() {
      const breaker = yield* touchy({ tripPolicy: CircuitBreaker.consecutive(2) })
      const text = StreamPart.TextDelta.make({ text: "hi" })
      const cut = Stream.concat(Stream.make(text), Stream.fail(unavailable()))
      const whole = Stream.make(text, StreamPart.Finish.make({ finishReason: "stop" }))
      const ask = (stream: Stream.Stream<StreamPart.StreamPart, LlmError.LlmError>) =>
        LlmProvider.stream("hello").pipe(
          Stream.runDrain,
          Effect.provide(
            LlmProvider.layer({ ...openAi, generate: () => Effect.dieMessage("not asked"), stream: () => stream }).pipe(
              LlmProvider.withPolicy(breaker)
            )
          ),
          Effect.exit
        )
      for (const stream of [cut, whole, cut]) yield* ask(stream)
      assert.strictEqual(yield* phaseOf(breaker, "openai/gpt-4o"), "closed")
      yield* ask(cut)
      assert.strictEqual(yield* phaseOf(breaker, "openai/gpt-4o"), "open")
    }))

  it.effect("B1: a stream is as slow as its first output, however long it lasts", () =>
    Effect.gen(function*() {
      const tripPolicy = CircuitBreaker.slowCalls({ longerThan: "5 seconds", rate: 1, minimum: 1 })
      for (const [first, phase] of [[5000, "closed"], [5001, "open"]] as const) {
        const breaker = yield* CircuitBreaker.make({ tripPolicy })
        const fiber = yield* Effect.fork(breaker(Effect.delay(Effect.sync(fresh), first)))
        yield* TestClock.adjust(first)
        const stream = yield* Fiber.join(fiber)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* phaseOf(breaker), "closed")
        yield* stream.end({ _tag: "Answered", usage: undefined })
        assert.strictEqual(yield* phaseOf(breaker), phase)
      }
    }))
})

describe("reconfiguration", () => {
  it.effect("keeps the phase of a circuit and what its rules have seen", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(5) })
      yield* Effect.repeatN(Effect.exit(breaker(down)), 1)
      yield* breaker.reconfigure({ tripPolicy: CircuitBreaker.consecutive(3), openDuration: "1 minute" })
      yield* Effect.exit(breaker(down))
      assert.deepStrictEqual((yield* breaker.state("default")).retryAfter, Duration.minutes(1))
      yield* breaker.reconfigure({})
      assert.strictEqual(yield* phaseOf(breaker), "open")
      assert.deepStrictEqual(breaker.steps, [{ name: "breaker", settings: "5 in a row, open 30s, 1 probe" }])
    }))

  it.effect("a window that takes the place of a rule counts the answers from then on", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(5) })
      yield* Effect.repeatN(breaker(ok), 1)
      yield* breaker.reconfigure({ tripPolicy: CircuitBreaker.countWindow({ size: 4, rate: 0.5 }) })
      yield* Effect.repeatN(breaker(ok), 1)
      yield* Effect.exit(breaker(down))
      assert.strictEqual(yield* phaseOf(breaker), "closed")
      yield* Effect.exit(breaker(down))
      assert.strictEqual(yield* phaseOf(breaker), "open")
    }))

  it.effect("a layer is one breaker for all who ask for it", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.CircuitBreaker
      yield* breaker.isolate("default")
      const same = yield* CircuitBreaker.CircuitBreaker
      assert.strictEqual(yield* phaseOf(same), "isolated")
    }).pipe(Effect.provide(CircuitBreaker.layer())))
})

describe("E1: options", () => {
  const { consecutive, countWindow, make, slowCalls, timeWindow } = CircuitBreaker
  const bad: Record<string, () => unknown> = {
    "CircuitBreaker.consecutive(n) was given 0; allowed: a whole number of at least 1": () => consecutive(0),
    "CircuitBreaker.countWindow({ size }) was given 0; allowed: a whole number from 1 to 10000": () =>
      countWindow({ size: 0, rate: 0.5 }),
    "CircuitBreaker.countWindow({ rate }) was given 0; allowed: a number above 0 and at most 1": () =>
      countWindow({ size: 10, rate: 0 }),
    "CircuitBreaker.countWindow({ minimum }) was given 11; allowed: a whole number from 1 to 10": () =>
      countWindow({ size: 10, rate: 0.5, minimum: 11 }),
    "CircuitBreaker.timeWindow({ rate }) was given 1.1; allowed: a number above 0 and at most 1": () =>
      timeWindow({ duration: "1 minute", rate: 1.1, minimum: 1 }),
    "CircuitBreaker.timeWindow({ duration }) was given 0; allowed: a finite duration longer than zero": () =>
      timeWindow({ duration: 0, rate: 0.5, minimum: 1 }),
    "CircuitBreaker.timeWindow({ minimum }) was given 0; allowed: a whole number of at least 1": () =>
      timeWindow({ duration: 1, rate: 0.5, minimum: 0 }),
    "CircuitBreaker.slowCalls({ rate }) was given NaN; allowed: a number above 0 and at most 1": () =>
      slowCalls({ longerThan: 1, rate: NaN, minimum: 1 }),
    "CircuitBreaker.slowCalls({ longerThan }) was given -1; allowed: a finite duration longer than zero": () =>
      slowCalls({ longerThan: -1, rate: 1, minimum: 1 }),
    "CircuitBreaker.make({ probes }) was given 0; allowed: a whole number of at least 1": () => make({ probes: 0 }),
    "CircuitBreaker.make({ openDuration }) was given Infinity; allowed: a finite duration longer than zero": () =>
      make({ openDuration: Infinity }),
    "CircuitBreaker.make({ probeLease }) was given 0; allowed: a finite duration longer than zero": () =>
      make({ probeLease: 0 }),
    "CircuitBreaker.make({ name }) was given \"\"; allowed: a non-empty string": () => make({ name: "" })
  }
  for (const [message, build] of Object.entries(bad)) {
    it(`refused: ${message}`, () => {
      try {
        build()
        assert.fail("was accepted")
      } catch (error) {
        assert.instanceOf(error, InvalidOption)
        assert.strictEqual((error as InvalidOption).message, message)
      }
    })
  }

  it.effect("the borders are accepted", () =>
    Effect.gen(function*() {
      const tripPolicy = countWindow({ size: 1, rate: 1, minimum: 1 })
      const breaker = yield* make({ probes: 1, openDuration: 1, tripPolicy })
      yield* Effect.exit(breaker(down))
      assert.strictEqual(yield* phaseOf(breaker), "open")
      assert.isDefined(countWindow({ size: 10_000, rate: Number.MIN_VALUE }))
    }))

  it("say what they are in one line", () => {
    const policy = consecutive(5).pipe(
      CircuitBreaker.or(countWindow({ size: 100, rate: 0.5 })),
      CircuitBreaker.or(timeWindow({ duration: "30 seconds", rate: 0.125, minimum: 10 })),
      CircuitBreaker.or(slowCalls({ longerThan: "1 minute", rate: 1, minimum: 5 }))
    )
    assert.strictEqual(
      CircuitBreaker.describeTripPolicy(policy),
      "5 in a row or 50% of 100 calls or 12.5% in 30s of at least 10 calls or 100% slower than 1m in 5m of at least 5 calls"
    )
  })
})

it.effect("a breaker that is reconfigured keeps its name, and so its circuits", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ name: "eu" })
    yield* breaker.isolate("c")
    yield* breaker.reconfigure({ probes: 2 })
    assert.strictEqual((yield* breaker.state("c")).phase, "isolated")
  }))
