import { assert, describe, it } from "@effect/vitest"
import { Cause, Chunk, Effect, Exit, Fiber, Layer, Logger, LogLevel, Stream, TestClock } from "effect"
import { Hedge, LlmError, LlmProvider, LlmRequest, Policy, StreamPart } from "perdure"
import { InterruptAt } from "./support/interruptAt.ts"
import { anthropic, failureOf, openAi, run, scripted } from "./support/provider.ts"

const text = (value: string) => StreamPart.TextDelta.make({ text: value })
const finish = StreamPart.Finish.make({ finishReason: "stop" })

/** A provider that streams so many parts, after a time or never, and how many of its connections are open. */
const streaming = (target: LlmProvider.TargetInfo, wait: number, parts: ReadonlyArray<StreamPart.StreamPart>) => {
  const state = { open: 0, opened: 0 }
  const service = LlmProvider.make({
    ...target,
    generate: () => Effect.dieMessage("only streams"),
    stream: () =>
      Stream.unwrapScoped(Effect.acquireRelease(
        Effect.sync(() => {
          state.open++
          state.opened++
          return Stream.concat(
            Stream.drain(Stream.fromEffect(Effect.sleep(wait))),
            Stream.flatMap(Stream.fromIterable(parts), (part) => Stream.succeed(part))
          )
        }),
        () => Effect.sync(() => state.open--)
      ))
  })
  return Object.assign(state, { service })
}

const hours = 3_600_000

describe("F6: a hedged stream", () => {
  it.effect("is the one whose first output is first: the loser's connection is closed, the winner's lives until its end", () =>
    Effect.gen(function*() {
      const stuck = streaming(openAi, hours, [])
      const quick = streaming(anthropic, 100, [text("a"), text("b"), finish])
      const pair = Hedge.services([stuck.service, quick.service], { after: "1 second" })
      const seen: Array<readonly [string, number, number]> = []
      const reading = yield* Effect.fork(
        LlmProvider.stream("hello").pipe(
          Stream.tap((part) => Effect.sync(() => seen.push([part._tag, stuck.open, quick.open]))),
          Stream.runCollect,
          Effect.provideService(LlmProvider.LlmProvider, pair)
        )
      )
      yield* TestClock.adjust("1099 millis")
      assert.deepStrictEqual([stuck.open, quick.open, seen.length], [1, 1, 0])
      yield* TestClock.adjust("1 millis")
      const parts = Chunk.toReadonlyArray(yield* Fiber.join(reading))
      assert.deepStrictEqual(seen, [["TextDelta", 0, 1], ["TextDelta", 0, 1], ["Finish", 0, 1]])
      assert.deepStrictEqual([stuck.open, quick.open], [0, 0])
      const last = parts.at(-1)
      assert(last?._tag === "Finish")
      assert.strictEqual(last.receipt.served?.provider, "anthropic")
      assert.deepStrictEqual(
        last.receipt.attempts.map(({ hedge, outcome }) => [hedge, outcome._tag]),
        [[undefined, "Interrupted"], [true, "Answered"]]
      )
    }))

  it.effect("closes all connections when its reader leaves, before the first output and after it", () =>
    Effect.gen(function*() {
      for (const wait of [500, 1500, 2500]) {
        const first = streaming(openAi, hours, [])
        const second = streaming(anthropic, 1000, [text("a"), text("b"), finish])
        const pair = Hedge.services([first.service, second.service], { after: "1 second" })
        const reading = yield* Effect.fork(
          LlmProvider.stream("hello").pipe(
            Stream.tap(() => Effect.never),
            Stream.runDrain,
            Effect.provideService(LlmProvider.LlmProvider, pair)
          )
        )
        yield* TestClock.adjust(wait)
        assert.strictEqual(first.open + second.open, wait === 1500 ? 2 : 1)
        yield* Fiber.interrupt(reading)
        assert.deepStrictEqual([first.open, second.open], [0, 0])
      }
    }))

  it.effect("a try that fails closes its connection at once, while the other goes on", () =>
    Effect.gen(function*() {
      const failing = streaming(openAi, 100, [])
      const slow = streaming(anthropic, 5000, [text("a"), finish])
      const pair = Hedge.services([failing.service, slow.service])
      const reading = yield* Effect.fork(
        Stream.runDrain(LlmProvider.stream("hello")).pipe(Effect.provideService(LlmProvider.LlmProvider, pair))
      )
      yield* TestClock.adjust("101 millis")
      assert.deepStrictEqual([failing.open, slow.open], [0, 1])
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(reading)
    }))
})

describe("E2: a hedge that is interrupted", () => {
  it("at any moment leaves no try running and nothing open", async () => {
    const hedge = Effect.runSync(Hedge.make({ after: 0, most: 3 }))
    let interrupted = 0
    let completed = 0
    for (let step = 1; step < 2000; step++) {
      const scheduler = new InterruptAt(step)
      let running = 0
      let open = 0
      let tries = 0
      const resource = Effect.acquireRelease(Effect.sync(() => open++), () => Effect.sync(() => open--))
      const attempt = Effect.acquireUseRelease(
        Effect.sync(() => {
          running++
          return ++tries
        }),
        (number) =>
          Effect.zipRight(
            resource,
            number === 1
              ? Effect.zipRight(Effect.yieldNow(), Effect.fail("worth another"))
              : number === 2
              ? Effect.never
              : Effect.zipRight(Effect.yieldNow(), Effect.succeed(number))
          ),
        () => Effect.sync(() => running--)
      )
      let openAfter = -1
      const effect = Effect.scoped(
        Effect.uninterruptibleMask((restore) =>
          Effect.tap(Effect.exit(restore(hedge(attempt))), (exit) =>
            Effect.sync(() => {
              openAfter = open
              // Of those that are left the winner's is still open.
              assert.strictEqual(open, Exit.isSuccess(exit) ? 1 : 0, `step ${step}`)
              assert.strictEqual(running, 0, `step ${step}`)
            }))
        )
      )
      const fiber = Effect.runFork(scheduler.on(Effect.asVoid(effect)))
      const exit = await Effect.runPromise(Fiber.await(fiber))
      if (Exit.isInterrupted(exit)) interrupted++
      else assert(Exit.isSuccess(exit), String(exit))
      assert.deepStrictEqual([running, open], [0, 0], `step ${step}, ${openAfter} open`)
      if (!scheduler.reached && ++completed === 3) break
    }
    assert.isAbove(interrupted, 50)
    assert.strictEqual(completed, 3)
  }, 30_000)

  it.effect("waits until all have let go", () =>
    Effect.gen(function*() {
      let left = 0
      const slow = Effect.onInterrupt(Effect.never, () =>
        Effect.zipRight(Effect.sleep("3 seconds"), Effect.sync(() => left++)))
      const fiber = yield* Effect.fork((yield* Hedge.make({ after: "1 second" }))(slow))
      yield* TestClock.adjust("1 second")
      const interrupting = yield* Effect.fork(Fiber.interrupt(fiber))
      yield* TestClock.adjust("2999 millis")
      assert.isTrue((yield* Fiber.poll(interrupting))._tag === "None")
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(interrupting)
      assert.strictEqual(left, 2)
    }))
})

describe("F6: concurrency", () => {
  it.effect("1,000 fibers share a hedge, and each has its own race", () =>
    Effect.gen(function*() {
      const hedge = yield* Hedge.make({ after: "1 second" })
      let running = 0
      let most = 0
      const call = (id: number) => {
        let tries = 0
        const attempt = Effect.acquireUseRelease(
          Effect.sync(() => {
            most = Math.max(most, ++running)
            return ++tries
          }),
          (number) => id % 2 === 0 && number === 1 ? Effect.never : Effect.as(Effect.yieldNow(), id),
          () => Effect.sync(() => running--)
        )
        return Effect.map(hedge(attempt), (answer) => [answer, tries] as const)
      }
      const ids = Array.from({ length: 1000 }, (_, id) => id)
      const { elapsed, exit } = yield* run(Effect.forEach(ids, call, { concurrency: "unbounded" }))
      assert(Exit.isSuccess(exit))
      assert.deepStrictEqual(exit.value, ids.map((id) => [id, id % 2 === 0 ? 2 : 1] as const))
      assert.strictEqual(elapsed, 1000)
      assert.strictEqual(running, 0)
      assert.isAtLeast(most, 500)
    }), 20_000)
})

describe("defects of losers", () => {
  const dyingWhenInterrupted = Effect.onInterrupt(Effect.never, () => Effect.die("boom"))

  it.effect("are logged by Effect where another has answered; mere failures are not", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.make(({ cause, logLevel, message }) => {
        lines.push(`${logLevel.label} ${String(message)} ${Cause.pretty(cause)}`)
      })
      const steps = [dyingWhenInterrupted, Effect.fail("again"), Effect.succeed("hi")]
      let tries = 0
      const call = Effect.suspend(() => steps[tries++] ?? Effect.never)
      const { exit } = yield* run(
        call.pipe(
          yield* Hedge.make({ most: 3 }),
          Effect.provide(
            Layer.merge(Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(LogLevel.Debug))
          )
        )
      )
      assert.deepStrictEqual(exit, Exit.succeed("hi"))
      assert.strictEqual(lines.length, 1)
      assert.match(lines[0] ?? "", /^DEBUG .*boom/s)
    }))

  it.effect("are part of the cause where none has, and where the hedge is interrupted", () =>
    Effect.gen(function*() {
      let tries = 0
      const call = Effect.suspend(() =>
        tries++ === 0 ? dyingWhenInterrupted : Effect.fail(new LlmError.InvalidRequest(openAi))
      )
      const { exit } = yield* run((yield* Hedge.make())(call))
      assert(Exit.isFailure(exit))
      assert.deepStrictEqual(Chunk.toReadonlyArray(Cause.defects(exit.cause)), ["boom"])
      assert.strictEqual(Chunk.size(Cause.failures(exit.cause)), 1)
      const fiber = yield* Effect.fork((yield* Hedge.make())(dyingWhenInterrupted))
      yield* TestClock.adjust("1 second")
      const left = yield* Fiber.interrupt(fiber)
      assert(Exit.isFailure(left) && Cause.isInterrupted(left.cause))
      assert.deepStrictEqual(Chunk.toReadonlyArray(Cause.defects(left.cause)), ["boom"])
    }))
})

it.effect("a hedge inside a hedge interrupts all tries, and a timeout around both cuts every attempt", () =>
  Effect.gen(function*() {
    const provider = scripted([Effect.never])
    const nested = provider.layer.pipe(
      LlmProvider.withPolicy(Hedge.make({ after: "1 second" })),
      LlmProvider.withPolicy(Hedge.make({ after: "2 seconds" })),
      LlmProvider.withPolicy(Policy.timeout("10 seconds"))
    )
    const { exit } = yield* run(Effect.provide(LlmProvider.generate(LlmRequest.make("hello")), nested))
    const failure = failureOf(exit)
    assert.strictEqual(failure._tag, "TimedOut")
    assert.strictEqual(provider.calls.length, 4)
    const outcomes = failure.receipt?.attempts.map(({ outcome }) => outcome._tag === "Failed" && outcome.error)
    assert.deepStrictEqual(outcomes, ["TimedOut", "TimedOut", "TimedOut", "TimedOut"])
  }))
