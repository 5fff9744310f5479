/** Streams that are open, and end in the way of somebody. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Option, Scope, Stream, TestClock } from "effect"
import { Bulkhead, LlmProvider, LlmRequest, Policy, StreamPart } from "perdure"
import { OpenedStream } from "../src/internal/opened.ts"
import { openAi } from "./support/provider.ts"

const ask = LlmRequest.make("hello")

/** Gives one part after a time, and then nothing more; counts how often it was closed. */
const stalling = (wait: `${number} seconds`) => {
  const state = { closed: 0 }
  const closing = Effect.addFinalizer(() => Effect.sync(() => state.closed++))
  const part = Effect.as(Effect.zipRight(closing, Effect.sleep(wait)), StreamPart.TextDelta.make({ text: "a" }))
  const service = LlmProvider.make({
    ...openAi,
    generate: () => Effect.dieMessage("only streams"),
    stream: () => Stream.concat(Stream.scoped(part), Stream.never)
  })
  return { state, service }
}

describe("who listens for the end of a stream", () => {
  const ended = { _tag: "Died" } as const
  const one = () => new OpenedStream(Effect.fail(Option.none()))

  it.effect("E2: is told, whatever becomes of the others, and their defects are not hidden", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const opened = one()
      yield* opened.onEnd(() => Effect.die("first"))
      yield* opened.onEnd(() => {
        throw new Error("second")
      })
      yield* opened.onEnd(() => Effect.zipRight(Effect.yieldNow(), Effect.die("third")))
      yield* opened.onEnd(() => Effect.sync(() => told.push("last")))
      const exit = yield* Effect.exit(opened.end(ended))
      assert.deepStrictEqual(told, ["last"])
      assert(Exit.isFailure(exit))
      assert.strictEqual([...Cause.defects(exit.cause)].length, 3)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(opened.end(ended))))
      assert.deepStrictEqual(told, ["last"])
    }))

  it.effect("E2: is told when the reader is interrupted meanwhile", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const opened = one()
      yield* opened.onEnd(() => Effect.sleep("10 millis"))
      yield* opened.onEnd(() => Effect.sync(() => told.push("last")))
      const fiber = yield* Effect.fork(opened.end(ended))
      yield* TestClock.adjust("1 millis")
      yield* Fiber.interruptFork(fiber)
      yield* TestClock.adjust("9 millis")
      assert.deepStrictEqual(told, ["last"])
    }))
})

describe("a stream whose scope closes", () => {
  it.effect("E2: ends who waits for its next part on another fiber, and who asks for it later", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const opening = yield* Effect.fork(Scope.extend(stalling("1 seconds").service.open(ask), scope))
      yield* TestClock.adjust("1 second")
      const opened = yield* Fiber.join(opening)
      const reader = yield* Effect.forkDaemon(Stream.runDrain(opened.parts))
      yield* TestClock.adjust("1 second")
      assert.isTrue(Option.isNone(yield* Fiber.poll(reader)))
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(reader)))
      assert(opened instanceof OpenedStream)
      assert.isTrue(Exit.isInterrupted(yield* Effect.exit(opened.pull)))
    }))

  it.effect("E2: lets go although it was opened where nothing can be interrupted", () =>
    Effect.gen(function*() {
      const { service, state } = stalling("1 seconds")
      const fiber = yield* Effect.fork(Effect.scoped(Effect.uninterruptible(service.open(ask))))
      yield* TestClock.adjust("1 second")
      assert.isTrue(Option.isSome(yield* Fiber.poll(fiber)))
      assert.strictEqual(state.closed, 1)
    }), 2000)

  it.effect("T2: is closed at once when it opened too late for a limit around it", () =>
    Effect.gen(function*() {
      for (const before of [Effect.void, Effect.fork(Effect.never)]) {
        const { service, state } = stalling("2 seconds")
        const bulkhead = yield* Bulkhead.make({ limit: 5 })
        const guarded = LlmProvider.withPolicy(
          Layer.succeed(LlmProvider.LlmProvider, service),
          Policy.compose(Policy.timeout("1 second"), bulkhead)
        )
        const fiber = yield* Effect.fork(
          Effect.gen(function*() {
            yield* before
            const exit = yield* Effect.exit(Effect.uninterruptible(LlmProvider.open(ask)))
            return [Exit.isFailure(exit), state.closed, yield* bulkhead.inFlight]
          }).pipe(Effect.scoped, Effect.provide(guarded))
        )
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(yield* Fiber.join(fiber), [true, 1, 0])
      }
    }), 2000)
})
