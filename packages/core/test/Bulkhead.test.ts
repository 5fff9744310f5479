import { assert, describe, expect, expectTypeOf, it } from "@effect/vitest"
import { Cause, type Clock, Duration, Effect, Exit, Fiber, Layer, Scope, Stream, TestClock } from "effect"
import { Bulkhead, type Call, InvalidOption, LlmError, LlmProvider, Policy, type StreamPart } from "perdure"
import { observers } from "../src/internal/observers.ts"
import { withDeadline } from "./support/deadline.ts"
import { answer, anthropic, failureOf, openAi, scripted } from "./support/provider.ts"
import { settle, status, work } from "./support/work.ts"
import { World } from "./support/world.ts"

const within = (millis: number) => <A, E, R>(self: Effect.Effect<A, E, R>) =>
  withDeadline(millis, Duration.millis(millis))(self)

describe("Bulkhead.make", () => {
  it.effect("lets in so many at once, and the others in the order in which they came", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ limit: 2, queue: 3 })
      const { call, end, started } = yield* work
      const fibers = yield* Effect.forEach([0, 1, 2, 3, 4], (id) => Effect.fork(bulkhead(call(id))))
      yield* settle
      assert.deepStrictEqual(started, [0, 1])
      assert.deepStrictEqual(yield* status(bulkhead), [2, 3])
      yield* end(1)
      yield* end(0)
      assert.deepStrictEqual(started, [0, 1, 2, 3])
      yield* end(3)
      yield* end(2)
      yield* end(4)
      assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.join), [0, 1, 2, 3, 4])
      assert.deepStrictEqual(yield* status(bulkhead), [0, 0])
    }))

  it.effect("refuses at once when the queue is full, and says how full", () =>
    Effect.gen(function*() {
      for (const queue of [0, 1]) {
        const bulkhead = yield* Bulkhead.make({ limit: 1, queue })
        yield* Effect.forEach(Array.from({ length: 1 + queue }), () => Effect.fork(bulkhead(Effect.never)))
        yield* settle
        const refused = yield* Effect.flip(bulkhead(Effect.void))
        expect(refused).toMatchObject({ _tag: "BulkheadFull", provider: "unknown", model: "unknown", limit: 1, queue })
        expect(refused.stack?.split("\n").length ?? 1).toBe(1)
      }
    }))

  it.effect("gives the permit back after a success, a failure, a defect and an interruption", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ limit: 1, queue: 0 })
      assert.strictEqual(yield* bulkhead(Effect.succeed(1)), 1)
      assert.strictEqual(yield* Effect.flip(bulkhead(Effect.fail("no"))), "no")
      assert.isTrue(Cause.isDie(yield* Effect.sandbox(Effect.flip(Effect.sandbox(bulkhead(Effect.die("bug")))))))
      const fiber = yield* Effect.fork(bulkhead(Effect.never))
      yield* settle
      assert.strictEqual(yield* bulkhead.inFlight, 1)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* status(bulkhead), [0, 0])
    }))

  it.effect("E2: who is interrupted in the queue leaves it at once, from any place in it", () =>
    Effect.gen(function*() {
      for (const gone of [1, 2, 3]) {
        const bulkhead = yield* Bulkhead.make({ limit: 1 })
        const { call, end, started } = yield* work
        const fibers = yield* Effect.forEach([0, 1, 2, 3], (id) => Effect.fork(bulkhead(call(id))))
        yield* settle
        yield* Fiber.interrupt(fibers[gone] as Fiber.RuntimeFiber<number, unknown>)
        assert.deepStrictEqual(yield* status(bulkhead), [1, 2])
        for (const id of [0, 1, 2, 3]) if (id !== gone) yield* end(id)
        assert.deepStrictEqual(started, [0, 1, 2, 3].filter((id) => id !== gone))
        assert.deepStrictEqual(yield* status(bulkhead), [0, 0])
      }
    }))

  it.effect("E2: who is interrupted when the permit is being handed over passes it on", () =>
    Effect.gen(function*() {
      for (const order of ["granted, then interrupted", "interrupted, then granted"]) {
        const bulkhead = yield* Bulkhead.make({ limit: 1 })
        const { call, end, started } = yield* work
        yield* Effect.fork(bulkhead(call(0)))
        yield* settle
        const unlucky = yield* Effect.fork(bulkhead(call(1)))
        yield* settle
        yield* Effect.fork(bulkhead(call(2)))
        yield* settle
        const grant = () => Effect.runSync(bulkhead.reconfigure({ limit: 2 }))
        const interrupt = () => unlucky.unsafeInterruptAsFork(unlucky.id())
        // In one synchronous step, in which the new holder cannot run.
        yield* Effect.sync(() => {
          const both = [grant, interrupt]
          for (const step of order.startsWith("granted") ? both : both.toReversed()) step()
          assert.deepStrictEqual(Effect.runSync(status(bulkhead)), [2, 1])
        })
        yield* settle
        assert.deepStrictEqual(started, [0, 2])
        yield* end(0)
        yield* end(2)
        assert.deepStrictEqual(yield* status(bulkhead), [0, 0])
      }
    }))

  it.effect("E2: an interruption at any step leaks no permit and loses no place", () =>
    Effect.gen(function*() {
      for (let steps = 0; steps < 60; steps++) {
        for (const first of ["holder", "victim"] as const) {
          const bulkhead = yield* Bulkhead.make({ limit: 1 })
          const holder = yield* Effect.fork(bulkhead(Effect.repeatN(Effect.yieldNow(), 10)))
          const victim = yield* Effect.fork(bulkhead(Effect.repeatN(Effect.yieldNow(), 10)))
          const last = yield* Effect.fork(bulkhead(Effect.succeed("served")))
          yield* Effect.repeatN(Effect.yieldNow(), steps)
          const order = first === "holder" ? [holder, victim] : [victim, holder]
          for (const fiber of order) fiber.unsafeInterruptAsFork(fiber.id())
          assert.strictEqual(yield* Fiber.join(last), "served")
          yield* Fiber.awaitAll([holder, victim])
          assert.deepStrictEqual(yield* status(bulkhead), [0, 0])
        }
      }
    }))

  it.effect("E2: 10,000 fibers, many of them interrupted, never exceed the limit and leave nothing behind", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ limit: 7, queue: 10_000 })
      let inside = 0
      let most = 0
      const call = (id: number) =>
        Effect.acquireUseRelease(
          Effect.sync(() => {
            most = Math.max(most, ++inside)
          }),
          () => Effect.repeatN(Effect.yieldNow(), id % 4),
          () => Effect.sync(() => inside--)
        )
      const fibers = yield* Effect.forEach(
        Array.from({ length: 10_000 }, (_, id) => id),
        (id) => Effect.fork(bulkhead(call(id)))
      )
      yield* Effect.forEach(
        fibers,
        (fiber, id) =>
          id % 3 === 0
            ? Effect.zipRight(id % 5 === 0 ? Effect.yieldNow() : Effect.void, Fiber.interruptFork(fiber))
            : Effect.void
      )
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      assert.strictEqual(most, 7)
      assert.strictEqual(inside, 0)
      assert.isTrue(exits.every((exit, id) => Exit.isSuccess(exit) || id % 3 === 0))
      assert.deepStrictEqual(yield* status(bulkhead), [0, 0])
    }))

  it("10,000 calls in flight and 10,000 in line cost each as many operations as ten times fewer do", () => {
    const operationsOf = (count: number) => {
      const world = new World(Infinity)
      const calls = Effect.gen(function*() {
        const bulkhead = yield* Bulkhead.make({ limit: count / 2, queue: count })
        const fibers = yield* Effect.forEach(Array.from({ length: count }), () => Effect.fork(bulkhead(Effect.never)))
        yield* settle
        assert.deepStrictEqual(yield* status(bulkhead), [count / 2, count / 2])
        // The last ones first, who would have to be looked for.
        yield* Fiber.interruptAll(fibers.toReversed())
        assert.deepStrictEqual(yield* status(bulkhead), [0, 0])
      })
      world.run(world.moment.on(calls))
      return world.moment.passed / count
    }
    assert.closeTo(operationsOf(20_000), operationsOf(2000), 0.1)
  })

  it.effect("refuses who has waited for maxWait, at that millisecond, and lets the others wait on", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ limit: 1, queue: 5, maxWait: "2 seconds" })
      yield* Effect.fork(bulkhead(Effect.never))
      const first = yield* Effect.fork(Effect.flip(bulkhead(Effect.void)))
      yield* TestClock.adjust("1 millis")
      const second = yield* Effect.fork(Effect.flip(bulkhead(Effect.void)))
      yield* TestClock.adjust("1998 millis")
      assert.deepStrictEqual(yield* status(bulkhead), [1, 2])
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(first))._tag, "BulkheadFull")
      assert.deepStrictEqual(yield* status(bulkhead), [1, 1])
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(second))._tag, "BulkheadFull")
    }))

  it.effect("T1: refuses a waiter at the millisecond of the call's deadline, whichever ends first", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ limit: 1, queue: 5, maxWait: "3 seconds" })
      yield* Effect.fork(bulkhead(Effect.never))
      for (const { at, end } of [{ at: 1000, end: 1000 }, { at: 9000, end: 4000 }]) {
        const fiber = yield* Effect.fork(Effect.flip(bulkhead(Effect.void)).pipe(within(at)))
        yield* TestClock.setTime(end - 1)
        assert.isNull(yield* Effect.map(Fiber.poll(fiber), (exit) => exit._tag === "None" ? null : exit))
        yield* TestClock.setTime(end)
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "BulkheadFull")
      }
    }))

  it.effect("begins no wait when the deadline has come, or maxWait is zero, but takes a free permit", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1000)
      const bulkhead = yield* Bulkhead.make({ limit: 1, queue: 5 })
      const none = yield* Bulkhead.make({ limit: 1, queue: 5, maxWait: 0 })
      assert.strictEqual(yield* bulkhead(Effect.succeed(1)).pipe(within(1000)), 1)
      assert.strictEqual(yield* none(Effect.succeed(1)), 1)
      yield* Effect.fork(bulkhead(Effect.never))
      yield* Effect.fork(none(Effect.never))
      yield* settle
      assert.strictEqual((yield* Effect.flip(bulkhead(Effect.void)).pipe(within(1000)))._tag, "BulkheadFull")
      assert.strictEqual((yield* Effect.flip(none(Effect.void)))._tag, "BulkheadFull")
    }))

  it.effect("a permit that comes at the millisecond of the deadline is not lost", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ limit: 1, queue: 5 })
      yield* Effect.fork(bulkhead(Effect.sleep("1 second")))
      yield* settle
      const fiber = yield* Effect.fork(Effect.exit(bulkhead(Effect.void).pipe(within(1000))))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* status(bulkhead), [0, 0])
      assert.strictEqual(yield* bulkhead(Effect.succeed(1)), 1)
    }))

  it.effect("E2: has a timer only for who waits, and none is left when a waiter is served, interrupted or refused", () =>
    Effect.gen(function*() {
      const timers = new Set<() => void>()
      const clock: Clock.Clock = Object.assign(Object.create(yield* Effect.clock), {
        sleep: () =>
          Effect.async<void>((resume) => {
            const fire = () => {
              timers.delete(fire)
              resume(Effect.void)
            }
            timers.add(fire)
            return Effect.sync(() => timers.delete(fire))
          })
      })
      const bulkhead = yield* Bulkhead.make({ limit: 1, queue: 5, maxWait: "2 seconds" })
      const { call, end } = yield* work
      const fork = (id: number) => Effect.fork(Effect.exit(Effect.withClock(bulkhead(call(id)), clock)))
      yield* fork(0)
      yield* settle
      assert.strictEqual(timers.size, 0)
      yield* fork(1)
      const interrupted = yield* fork(2)
      const refused = yield* fork(3)
      yield* settle
      assert.strictEqual(timers.size, 3)
      yield* Fiber.interrupt(interrupted)
      yield* settle
      assert.strictEqual(timers.size, 2)
      yield* end(0)
      assert.strictEqual(timers.size, 1)
      for (const fire of timers) fire()
      assert.strictEqual(failureOf(yield* Fiber.join(refused))._tag, "BulkheadFull")
      assert.strictEqual(timers.size, 0)
      assert.deepStrictEqual(yield* status(bulkhead), [1, 0])
    }))

  it.effect("a new limit cancels nobody when it is lower, and lets in at once who waits when it is higher", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ limit: 3, queue: 10 })
      const { call, end, started } = yield* work
      yield* Effect.forEach([0, 1, 2, 3, 4, 5], (id) => Effect.fork(bulkhead(call(id))))
      yield* settle
      yield* bulkhead.reconfigure({ limit: 1, queue: 1 })
      assert.deepStrictEqual(yield* bulkhead.state("default"), { inFlight: 3, waiting: 3, limit: 1 })
      assert.strictEqual((yield* Effect.flip(bulkhead(Effect.void)))._tag, "BulkheadFull")
      yield* end(0)
      yield* end(1)
      assert.deepStrictEqual(started, [0, 1, 2])
      yield* end(2)
      assert.deepStrictEqual(started, [0, 1, 2, 3])
      yield* bulkhead.reconfigure({ limit: 3, queue: 10 })
      yield* settle
      assert.deepStrictEqual(started, [0, 1, 2, 3, 4, 5])
      assert.strictEqual(Policy.describe(bulkhead), "bulkhead 3 at once, queue 10")
    }))

  it.effect("keeps targets apart, or together by a key", () =>
    Effect.gen(function*() {
      const apart = yield* Bulkhead.make({ limit: 1, queue: 0 })
      const together = yield* Bulkhead.make({ limit: 1, queue: 0, key: () => "all" })
      for (const bulkhead of [apart, together]) {
        const stuck = LlmProvider.withPolicy(scripted([Effect.never]).layer, bulkhead)
        const other = LlmProvider.withPolicy(scripted([answer("hi", anthropic)], anthropic).layer, bulkhead)
        yield* Effect.fork(Effect.provide(LlmProvider.generate("hello"), stuck))
        yield* settle
        const exit = yield* Effect.exit(Effect.provide(LlmProvider.generate("hello"), other))
        if (bulkhead === apart) assert.isTrue(Exit.isSuccess(exit))
        else expect(failureOf(exit)).toMatchObject({ _tag: "BulkheadFull", ...anthropic, limit: 1, queue: 0 })
      }
      assert.deepStrictEqual(yield* apart.state("openai/gpt-4o"), { inFlight: 1, waiting: 0, limit: 1 })
      assert.strictEqual(yield* apart.limit, 2)
      assert.strictEqual((yield* together.state("all")).inFlight, 1)
    }))

  it.effect("forgets keys at rest when there are more than 1,000, and no other", () =>
    Effect.gen(function*() {
      let key = "held"
      const bulkhead = yield* Bulkhead.make({ limit: 1, key: () => key })
      yield* Effect.fork(bulkhead(Effect.never))
      yield* settle
      for (let i = 0; i < 5000; i++) {
        key = `key ${i}`
        yield* bulkhead(Effect.void)
      }
      expect(yield* bulkhead.limit).toBeLessThanOrEqual(1001)
      assert.strictEqual((yield* bulkhead.state("held")).inFlight, 1)
    }))

  it.effect("O1: tells those who observe the call of its refusal", () =>
    Effect.gen(function*() {
      const events: Array<Call.Event> = []
      const bulkhead = yield* Bulkhead.make({ limit: 1, queue: 0 })
      const layer = LlmProvider.withPolicy(scripted([Effect.never]).layer, bulkhead)
      yield* Effect.fork(Effect.provide(LlmProvider.generate("first"), layer))
      yield* settle
      yield* Effect.exit(Effect.provide(LlmProvider.generate("second"), layer)).pipe(
        Effect.locally(observers, [(event: Call.Event) => events.push(event)])
      )
      expect(events.find(({ _tag }) => _tag === "Refused")).toMatchObject({ because: "BulkheadFull", target: openAi })
    }))

  it("E1: refuses options out of range when it is built, and when it is reconfigured", () => {
    for (const limit of [0, -1, 1.5, Number.NaN, Infinity]) {
      expect(() => Bulkhead.make({ limit })).toThrow(InvalidOption)
    }
    for (const queue of [-1, 0.5, Number.NaN, Infinity]) expect(() => Bulkhead.make({ queue })).toThrow(InvalidOption)
    for (const name of ["", " "]) expect(() => Bulkhead.make({ name })).toThrow("Bulkhead.make({ name })")
    for (const maxWait of [-1, Number.NaN, Infinity]) expect(() => Bulkhead.make({ maxWait })).toThrow(InvalidOption)
    expect(() => Effect.runSync(Bulkhead.make()).reconfigure({ limit: 0 })).toThrow("Bulkhead.make({ limit })")
    expect(() => Bulkhead.make({ limit: 1, queue: 0, maxWait: 0 })).not.toThrow()
  })

  it("adds its refusal to the failures of an effect, and nothing else", () => {
    const bulkhead = Effect.runSync(Bulkhead.make())
    expectTypeOf(bulkhead(Effect.fail("no" as const))).toEqualTypeOf<
      Effect.Effect<never, "no" | LlmError.BulkheadFull>
    >()
    // @ts-expect-error the options of the other form
    void Bulkhead.make({ algorithm: "aimd" })
    // @ts-expect-error its limit is not set by hand
    void Bulkhead.adaptive({ limit: 3 })
  })

  it.effect("is a layer, too", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.Bulkhead
      assert.strictEqual(yield* bulkhead(bulkhead.inFlight), 1)
      assert.strictEqual(yield* bulkhead.limit, 4)
      yield* bulkhead.reconfigure({ limit: 5 })
      assert.strictEqual(yield* bulkhead.limit, 5)
      const adaptive = yield* Bulkhead.AdaptiveBulkhead
      yield* adaptive.reconfigure({ max: 7 })
      assert.strictEqual(yield* adaptive.limit, 7)
      // @ts-expect-error the options of the other form
      void (() => adaptive.reconfigure({ limit: 3 }))
      // @ts-expect-error the options of the other form
      void (() => bulkhead.reconfigure({ max: 3 }))
    }).pipe(Effect.provide(Layer.merge(Bulkhead.layer({ limit: 4 }), Bulkhead.layerAdaptive()))))
})

describe("a bulkhead around a stream", () => {
  const parts = (...texts: ReadonlyArray<string>): ReadonlyArray<StreamPart.StreamPart> => [
    ...texts.map((text) => ({ _tag: "TextDelta", text }) as const),
    { _tag: "Finish", finishReason: "stop" } as StreamPart.StreamPart
  ]
  const provider = (stream: Stream.Stream<StreamPart.StreamPart, LlmError.LlmError>) =>
    LlmProvider.layer({ ...openAi, generate: () => Effect.succeed(answer("hi")), stream: () => stream })

  const opened = (bulkhead: Bulkhead.Service, stream: Stream.Stream<StreamPart.StreamPart, LlmError.LlmError>) =>
    Effect.provide(LlmProvider.open("hello"), LlmProvider.withPolicy(provider(stream), bulkhead))

  it.effect("keeps its permit until the last part", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ limit: 1, queue: 0 })
      const scope = yield* Scope.make()
      const { parts: all } = yield* Scope.extend(opened(bulkhead, Stream.fromIterable(parts("a", "b"))), scope)
      assert.strictEqual(yield* bulkhead.inFlight, 1)
      yield* Stream.runDrain(all)
      assert.strictEqual(yield* bulkhead.inFlight, 0)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* bulkhead.inFlight, 0)
    }))

  it.effect("gives it back when the reader leaves, once", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ limit: 2, queue: 0 })
      yield* Effect.scoped(Effect.gen(function*() {
        yield* opened(bulkhead, Stream.concat(Stream.fromIterable(parts("a").slice(0, 1)), Stream.never))
        assert.strictEqual(yield* bulkhead.inFlight, 1)
      }))
      assert.strictEqual(yield* bulkhead.inFlight, 0)
    }))

  it.effect("gives it back when the stream is cut after its first output", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ limit: 1, queue: 0 })
      yield* Effect.scoped(Effect.gen(function*() {
        const { parts: all } = yield* opened(bulkhead, Stream.fromIterable(parts("a").slice(0, 1)))
        assert.strictEqual(yield* bulkhead.inFlight, 1)
        assert.strictEqual((yield* Effect.flip(Stream.runDrain(all)))._tag, "StreamInterrupted")
        assert.strictEqual(yield* bulkhead.inFlight, 0)
      }))
    }))

  it.effect("gives it back when the stream cannot be opened", () =>
    Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ limit: 1, queue: 0 })
      const failing = Stream.fail(new LlmError.Overloaded(openAi))
      const exit = yield* Effect.exit(Effect.scoped(opened(bulkhead, failing)))
      assert.strictEqual(failureOf(exit)._tag, "Overloaded")
      assert.strictEqual(yield* bulkhead.inFlight, 0)
    }))
})
