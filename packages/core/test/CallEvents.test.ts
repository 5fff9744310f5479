import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Chunk, Context, Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { type Call, CallEvents, InvalidOption, LlmRequest } from "perdure"
import { answer, scripted, unavailable } from "./support/provider.ts"
import { metrics } from "./support/telemetry.ts"

const ask = LlmRequest.make("hello")
const { service } = scripted([answer("hi")])
const once = ["Started", "AttemptStarted", "AttemptEnded", "Ended"]
const tags = (events: Iterable<Call.Event>) => Array.from(events, ({ _tag }) => _tag)

describe("the events of all calls", () => {
  it.scoped("are those of every fiber from the subscription on, each once and in order", () =>
    Effect.gen(function*() {
      yield* service.generate(ask)
      const { dropped, events } = yield* CallEvents.subscribe()
      const outside = yield* Effect.forkDaemon(service.generate(ask))
      yield* Fiber.join(outside)
      yield* Effect.exit(scripted([unavailable()]).service.generate(ask))
      const all = Chunk.toReadonlyArray(yield* Stream.runCollect(Stream.take(events, 8)))
      assert.deepStrictEqual(tags(all), [...once, ...once])
      assert.strictEqual(new Set(all.slice(0, 4).map(({ call }) => call)).size, 1)
      const last = all.at(-1)
      assert(last?._tag === "Ended")
      assert.deepStrictEqual([last.outcome, last.error], ["Failed", "ProviderUnavailable"])
      assert.strictEqual(yield* dropped, 0)
    }))

  it.scoped("wait for nobody: of those that are not read in time the oldest are dropped, and counted", () =>
    Effect.gen(function*() {
      const before = metrics("{event}")["perdure.events.dropped"] ?? 0
      const { dropped, events } = yield* CallEvents.subscribe({ capacity: 6 })
      yield* Effect.replicateEffect(service.generate(ask), 1000)
      assert.strictEqual(yield* dropped, 3994)
      assert.strictEqual((metrics("{event}")["perdure.events.dropped"] ?? 0) - before, 3994)
      const kept = yield* Stream.runCollect(Stream.take(events, 6))
      assert.deepStrictEqual(tags(kept), [...once.slice(2), ...once])
      const rest = yield* Effect.fork(Stream.runCollect(Stream.take(events, 4)))
      yield* Effect.yieldNow()
      yield* service.generate(ask)
      assert.deepStrictEqual(tags(yield* Fiber.join(rest)), once)
    }))

  it.effect("go on for the others when one reader is interrupted or its scope is closed", () =>
    Effect.gen(function*() {
      const read = CallEvents.stream().pipe(Stream.take(4), Stream.runCollect)
      const [left, stays] = yield* Effect.all([Effect.fork(read), Effect.fork(read)])
      const scope = yield* Scope.make()
      const { events } = yield* Scope.extend(CallEvents.subscribe(), scope)
      const ends = yield* Effect.fork(Stream.runCollect(events))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(left)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(tags(yield* Fiber.join(ends)), [])
      yield* service.generate(ask)
      assert.deepStrictEqual(tags(yield* Fiber.join(stays)), once)
    }))

  it.scoped("are not lost with a reader that is interrupted while it waits", () =>
    Effect.gen(function*() {
      const { events } = yield* CallEvents.subscribe()
      const left = yield* Effect.fork(Stream.runDrain(events))
      yield* Effect.repeatN(Effect.yieldNow(), 5)
      yield* Fiber.interrupt(left)
      yield* service.generate(ask)
      assert.deepStrictEqual(tags(yield* Stream.runCollect(Stream.take(events, 4))), once)
    }))

  it.effect("an exporter that fails, dies or is slow harms no call, and gets the next event", () =>
    Effect.gen(function*() {
      const exported: Array<string> = []
      const exporter = CallEvents.layer((event) => {
        exported.push(event._tag)
        if (event._tag === "Started") return Effect.fail("started")
        if (event._tag === "AttemptStarted") throw new Error("attempt")
        return event._tag === "AttemptEnded" ? Effect.interrupt : Effect.never
      })
      const response = yield* Effect.zipRight(
        Effect.yieldNow(),
        Effect.zipLeft(service.generate(ask), Effect.yieldNow().pipe(Effect.repeatN(20)))
      ).pipe(Effect.provide(exporter))
      assert.strictEqual(response.text, "hi")
      assert.deepStrictEqual(exported, once)
    }))

  it.effect("an exporter is done with its layer", () =>
    Effect.gen(function*() {
      let exported = 0
      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(CallEvents.layer(() => Effect.sync(() => exported++)), scope)
      yield* Effect.yieldNow()
      yield* service.generate(ask)
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      assert.strictEqual(exported, 4)
      yield* Scope.close(scope, Exit.void)
      yield* service.generate(ask)
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      assert.strictEqual(exported, 4)
    }))

  it("say in their types what an exporter needs, and that its failures go nowhere", () => {
    class Sink extends Context.Tag("Sink")<Sink, { readonly send: Effect.Effect<void, "full"> }>() {}
    const exporter = CallEvents.layer(() => Effect.flatMap(Sink, ({ send }) => send))
    expectTypeOf(exporter).toEqualTypeOf<Layer.Layer<never, never, Sink>>()
    expectTypeOf(CallEvents.stream()).toEqualTypeOf<Stream.Stream<Call.Event>>()
    expectTypeOf(CallEvents.subscribe()).toEqualTypeOf<Effect.Effect<CallEvents.Subscription, never, Scope.Scope>>()
    // @ts-expect-error an exporter is an effect
    CallEvents.layer((event) => event._tag)
  })

  it("E1: refuse a capacity that is none", () => {
    for (const capacity of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => CallEvents.subscribe({ capacity }), InvalidOption, /CallEvents\.subscribe\(\{ capacity \}\)/)
      assert.throws(() => CallEvents.stream({ capacity }), InvalidOption, /CallEvents\.stream\(\{ capacity \}\)/)
      assert.throws(() => CallEvents.layer(() => Effect.void, { capacity }), InvalidOption, /CallEvents\.layer/)
    }
  })
})
