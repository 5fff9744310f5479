import { assert, describe, it } from "@effect/vitest"
import { Chunk, Duration, Effect, Fiber, Stream, TestClock } from "effect"
import { Call, CallEvents, CircuitBreaker, type LlmError, LlmProvider, LlmRequest, StreamPart } from "perdure"
import { circuitChanged, live } from "../src/internal/call.ts"
import { down, ok, touchy } from "./support/breaker.ts"
import { answer, openAi, run, scripted, unavailable } from "./support/provider.ts"
import { collector } from "./support/telemetry.ts"

const ask = LlmRequest.make("hello")
const circuit = "openai/gpt-4o"
type Changed = Extract<Call.Event, { readonly _tag: "CircuitChanged" }>

/** What is told of what happens in an effect, in short. */
const watching = () => {
  const events: Array<Call.Event> = []
  return {
    events,
    install: Call.observe((event) => events.push(event)),
    changes: () => events.filter((event): event is Changed => event._tag === "CircuitChanged"),
    story: () =>
      events.splice(0).map((event) =>
        event._tag === "CircuitChanged" ? `${event.at} ${event.from} → ${event.to}` : `${event.at} ${event._tag}`
      )
  }
}

describe("the events of circuits", () => {
  it.effect("O2: tell of every change, at its millisecond, in the call that made it", () =>
    Effect.gen(function*() {
      const watch = watching()
      const breaker = yield* touchy({ name: "eu" })
      const { layer } = scripted([
        Effect.delay(Effect.fail(unavailable()), "250 millis"),
        Effect.delay(Effect.succeed(answer("hi")), "100 millis")
      ])
      const guarded = LlmProvider.withPolicy(layer, breaker)
      const call = watch.install(Effect.exit(LlmProvider.generate(ask).pipe(Effect.provide(guarded))))

      yield* run(call, "250 millis")
      const numbers = watch.changes().map(({ call }) => call)
      assert.deepStrictEqual(watch.changes(), [{
        _tag: "CircuitChanged",
        at: 250,
        call: watch.events[0]?.call,
        breaker: "eu",
        circuit,
        from: "closed",
        to: "open",
        openFor: Duration.seconds(10)
      }])
      assert.deepStrictEqual(watch.story(), [
        "0 Started",
        "0 AttemptStarted",
        "250 AttemptEnded",
        "250 closed → open",
        "250 Ended"
      ])

      yield* TestClock.adjust("9999 millis")
      yield* call
      assert.deepStrictEqual(watch.story(), ["10249 Started", "10249 Refused", "10249 Ended"])

      yield* TestClock.adjust("1 millis")
      yield* run(call, "100 millis")
      const changes = watch.changes()
      assert.deepStrictEqual(new Set(changes.map(({ call }) => call)), new Set([watch.events[0]?.call]))
      assert.notDeepEqual(changes.map(({ call }) => call), numbers)
      assert.isFalse(changes.some((change) => "openFor" in change))
      assert.deepStrictEqual(watch.story(), [
        "10250 Started",
        "10250 open → halfOpen",
        "10250 AttemptStarted",
        "10350 AttemptEnded",
        "10350 halfOpen → closed",
        "10350 Ended"
      ])
    }))

  it.effect("O2: a stream that is cut changes its circuit in its own call, long after it was opened", () =>
    Effect.gen(function*() {
      const watch = watching()
      const { install, named } = collector()
      const breaker = yield* touchy()
      const later = <A>(value: Effect.Effect<A, LlmError.LlmError>) =>
        Stream.fromEffect(Effect.delay(value, "3 seconds"))
      const first = Stream.make(StreamPart.TextDelta.make({ text: "hi" }))
      const streams = [
        Stream.concat(first, later(Effect.fail(unavailable()))),
        Stream.concat(first, later(Effect.succeed(StreamPart.Finish.make({ finishReason: "stop" }))))
      ]
      const service = LlmProvider.layer({
        ...openAi,
        generate: () => Effect.dieMessage("only streams"),
        stream: () => Stream.suspend(() => streams.shift() ?? Stream.never)
      })
      const read = LlmProvider.stream("hello").pipe(
        Stream.runDrain,
        Effect.exit,
        Effect.provide(LlmProvider.withPolicy(service, breaker)),
        watch.install,
        install
      )
      yield* run(read, "3 seconds")
      const numbers = new Set(watch.events.map(({ call }) => call))
      assert.strictEqual(numbers.size, 1)
      assert.deepStrictEqual(watch.story().slice(-3), ["3000 AttemptEnded", "3000 closed → open", "3000 Ended"])
      assert.deepStrictEqual(named("perdure.call")[0]?.events.map(([name, at]) => [name, at]), [[
        "perdure.breaker",
        3000
      ]])
      yield* TestClock.adjust("10 seconds")
      yield* run(read, "3 seconds")
      assert.deepStrictEqual(watch.story(), [
        "13000 Started",
        "13000 open → halfOpen",
        "13000 AttemptStarted",
        "13000 FirstOutput",
        "16000 AttemptEnded",
        "16000 halfOpen → closed",
        "16000 Ended"
      ])
    }))

  it.scoped("O2: reach those who watch all calls, also by hand and where no provider is asked, with no call's number", () =>
    Effect.gen(function*() {
      const watch = watching()
      const { events } = yield* CallEvents.subscribe()
      const breaker = yield* touchy()
      yield* Effect.exit(breaker(down))
      yield* TestClock.adjust("10 seconds")
      yield* breaker(ok)
      yield* watch.install(breaker.isolate("default"))
      yield* breaker.reset("default")
      const all = Chunk.toReadonlyArray(yield* Stream.runCollect(Stream.take(events, 5)))
      const outside = { _tag: "CircuitChanged", call: undefined, breaker: "default", circuit: "default" } as const
      assert.deepStrictEqual(all, [
        { ...outside, at: 0, from: "closed", to: "open", openFor: Duration.seconds(10) },
        { ...outside, at: 10_000, from: "open", to: "halfOpen" },
        { ...outside, at: 10_000, from: "halfOpen", to: "closed" },
        { ...outside, at: 10_000, from: "closed", to: "isolated" },
        { ...outside, at: 10_000, from: "isolated", to: "closed" }
      ])
      assert.deepStrictEqual(watch.story(), ["10000 closed → isolated"])
    }))

  it.effect("O2: a circuit that is isolated from within a call changes in that call", () =>
    Effect.gen(function*() {
      const watch = watching()
      const breaker = yield* CircuitBreaker.make()
      const { service } = scripted([Effect.as(breaker.isolate(circuit), answer("hi"))])
      yield* watch.install(service.generate(ask))
      assert.deepStrictEqual(new Set(watch.events.map(({ call }) => call)).size, 1)
      assert.deepStrictEqual(watch.story(), [
        "0 Started",
        "0 AttemptStarted",
        "0 closed → isolated",
        "0 AttemptEnded",
        "0 Ended"
      ])
    }))

  it.effect("an observer that throws keeps no circuit from changing", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make()
      yield* breaker.isolate(circuit).pipe(Call.observe(() => {
        throw new Error("observer")
      }))
      assert.strictEqual((yield* breaker.state(circuit)).phase, "isolated")
    }))

  it.effect("belong to no call where that has ended before: a fiber may outlive it", () =>
    Effect.gen(function*() {
      const watch = watching()
      const breaker = yield* CircuitBreaker.make()
      const late = Effect.zipRight(Effect.sleep("1 second"), breaker.isolate(circuit))
      const { service } = scripted([Effect.as(Effect.forkDaemon(late), answer("hi"))])
      yield* watch.install(service.generate(ask))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(watch.changes().map(({ at, call }) => [at, call]), [[1000, undefined]])
    }))

  it.scoped("nor to a track that a stream outlives", () =>
    Effect.gen(function*() {
      const watch = watching()
      const breaker = yield* touchy()
      const service = LlmProvider.make({
        ...openAi,
        generate: () => Effect.dieMessage("only streams"),
        stream: () => Stream.concat(Stream.make(StreamPart.TextDelta.make({ text: "hi" })), Stream.fail(unavailable()))
      })
      const { parts } = yield* watch.install(Call.track(breaker(service.open(ask))))
      yield* watch.install(Effect.exit(Stream.runDrain(parts)))
      assert.deepStrictEqual(watch.changes().map(({ call, to }) => [call, to]), [[undefined, "open"]])
    }))

  it.effect("cost nothing where nobody watches: none is built", () =>
    Effect.gen(function*() {
      let reads = 0
      const transition: CircuitBreaker.Transition = {
        get circuit() {
          reads += 1
          return circuit
        },
        at: 0,
        from: "closed",
        to: "open"
      }
      const change = Effect.withFiberRuntime<void>((fiber) =>
        Effect.sync(() => circuitChanged(fiber, live(fiber), "default", transition))
      )
      const inside = scripted([Effect.as(change, answer("hi"))]).service.generate(ask)
      yield* Effect.zipRight(change, inside)
      assert.strictEqual(reads, 0)
      const watch = watching()
      yield* watch.install(Effect.zipRight(change, inside))
      assert.deepStrictEqual([reads, watch.changes().length], [2, 2])
    }))
})

it.effect("O2: a probe that fails opens its circuit again, for as long as the event says", () =>
  Effect.gen(function*() {
    const watch = watching()
    const breaker = yield* touchy()
    yield* Effect.exit(breaker(down))
    yield* TestClock.adjust("10 seconds")
    const probe = yield* Effect.fork(watch.install(Effect.exit(breaker(Effect.delay(down, "1 second")))))
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(probe)
    assert.deepStrictEqual(watch.changes().map(({ openFor }) => openFor), [undefined, Duration.seconds(10)])
    assert.deepStrictEqual(watch.story(), ["10000 open → halfOpen", "11000 halfOpen → open"])
  }))
