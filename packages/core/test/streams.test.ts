import { assert, describe, expect, it } from "@effect/vitest"
import { Chunk, Duration, Effect, Exit, Fiber, Layer, Option, Queue, Stream, TestClock } from "effect"
import {
  Call,
  CircuitBreaker,
  Fallback,
  InvalidOption,
  LlmError,
  LlmProvider,
  LlmRequest,
  LlmResponse,
  Policy,
  type Receipt,
  Retry,
  StreamPart
} from "perdure"
import { answer, anthropic, failureOf, openAi, run } from "./support/provider.ts"
import { collector, metrics } from "./support/telemetry.ts"

const text = (value: string) => StreamPart.TextDelta.make({ text: value })
const usage = (outputTokens: number) => StreamPart.UsagePart.make({ usage: new LlmResponse.Usage({ outputTokens }) })
const finish = StreamPart.Finish.make({ finishReason: "stop", model: "dated" })
type Piece = StreamPart.StreamPart | LlmError.LlmError | Duration.Duration | "stall"

/** A provider that streams the given pieces, one script a call; the last script is repeated. */
const streaming = (
  scripts: readonly [ReadonlyArray<Piece>, ...Array<ReadonlyArray<Piece>>],
  target: LlmProvider.TargetInfo = openAi,
  limits?: LlmProvider.StreamLimits
) => {
  let calls = 0
  let open = 0
  const service = LlmProvider.make({
    ...target,
    ...(limits === undefined ? {} : { limits }),
    generate: () => Effect.dieMessage("only streams"),
    stream: () =>
      Stream.unwrapScoped(Effect.gen(function*() {
        const pieces = scripts[Math.min(calls++, scripts.length - 1)] ?? scripts[0]
        yield* Effect.acquireRelease(Effect.sync(() => open++), () => Effect.sync(() => open--))
        return Stream.flatMap(
          Stream.fromIterable(pieces),
          (piece): Stream.Stream<StreamPart.StreamPart, LlmError.LlmError> => {
            if (piece === "stall") return Stream.never
            if (Duration.isDuration(piece)) return Stream.drain(Stream.fromEffect(Effect.sleep(piece)))
            return LlmError.is(piece) ? Stream.fail(piece) : Stream.succeed(piece)
          }
        )
      }))
  })
  return { service, calls: () => calls, open: () => open }
}

const read = (service: LlmProvider.Service, options?: LlmProvider.StreamOptions) =>
  Stream.runCollect(LlmProvider.stream("hello", options)).pipe(
    Effect.map(Chunk.toReadonlyArray),
    Effect.provideService(LlmProvider.LlmProvider, service)
  )
const texts = (parts: ReadonlyArray<StreamPart.StreamPart>) =>
  parts.map((part) => part._tag === "TextDelta" ? part.text : part._tag)

const overloaded = new LlmError.Overloaded({ ...openAi, status: 529 })
const request = LlmRequest.make("hello")

describe("S3: a stream that is cut after its first output", () => {
  const cut = [text("Hel"), text("lo"), usage(2), overloaded]

  it.effect("fails by default, with the error it names, the partial text and the usage", () =>
    Effect.gen(function*() {
      const { calls, service } = streaming([cut])
      const policy = Policy.retry(Retry.standard)
      const seen: Array<string> = []
      const { exit } = yield* run(
        LlmProvider.stream("hello").pipe(
          Stream.runForEach((part) => Effect.sync(() => seen.push(part._tag === "TextDelta" ? part.text : part._tag))),
          policy,
          Effect.provideService(LlmProvider.LlmProvider, service)
        )
      )
      const failure = failureOf(exit)
      assert(failure._tag === "Overloaded")
      expect(failure).toMatchObject({ partial: "Hello", handedOut: true, status: 529, usage: { outputTokens: 2 } })
      assert.strictEqual(calls(), 1, "nothing is repeated behind the reader's back")
      assert.deepStrictEqual(seen, ["Hel", "lo", "Usage"])
    }))

  it.effect("restarts elsewhere when asked to, announced by a Restarted part, under one receipt", () =>
    Effect.gen(function*() {
      const first = streaming([cut])
      const second = streaming([[text("Hi"), finish]], anthropic)
      const chain = Fallback.make([first.service, second.service])
      const parts = yield* read(chain, { whenCut: "restart" })
      assert.deepStrictEqual(texts(parts), ["Hel", "lo", "Usage", "Restarted", "Hi", "Finish"])
      const last = parts.at(-1)
      assert(last?._tag === "Finish")
      expect(last.receipt).toMatchObject({ fallback: true, served: { provider: "anthropic" }, requested: openAi })
      assert.deepStrictEqual(last.receipt.attempts.map(({ outcome }) => outcome._tag), ["Failed", "Answered"])
      assert.strictEqual(StreamPart.toResponse(parts, openAi).text, "Hi")
      assert.deepStrictEqual([first.calls(), first.open(), second.open()], [1, 0, 0])
    }))

  it.effect("does not go back to the target that cut it, even through that target's own policies", () =>
    Effect.gen(function*() {
      const first = streaming([cut])
      const second = streaming([cut], anthropic)
      const chain = Fallback.make([first.service, second.service])
      const { exit } = yield* run(read(chain, { whenCut: "restart" }))
      const failure = failureOf(exit)
      assert(failure._tag === "AllTargetsFailed")
      assert.deepStrictEqual(failure.failures.map(({ partial }) => partial), ["Hello", "Hello"])
      assert.deepStrictEqual([first.calls(), second.calls()], [1, 1])
    }))

  it.effect("restarts once on the same target when there is no other", () =>
    Effect.gen(function*() {
      const only = streaming([cut, [text("Hi"), finish]])
      assert.deepStrictEqual(texts(yield* read(only.service, { whenCut: "restart" })).slice(-3), [
        "Restarted",
        "Hi",
        "Finish"
      ])
      const never = streaming([cut])
      const { exit } = yield* run(read(never.service, { whenCut: "restart" }))
      assert.strictEqual(failureOf(exit)._tag, "AllTargetsFailed")
      assert.strictEqual(never.calls(), 2)
    }))

  it.effect("never restarts after a tool call was handed out", () =>
    Effect.gen(function*() {
      const call = StreamPart.ToolCallStart.make({ id: "1", name: "pay" })
      const { calls, service } = streaming([[call, overloaded], [text("Hi"), finish]])
      const { exit } = yield* run(read(service, { whenCut: "restart" }))
      assert.strictEqual(failureOf(exit)._tag, "Overloaded")
      assert.strictEqual(calls(), 1)
    }))

  it.effect("R7: never restarts a request that is not idempotent", () =>
    Effect.gen(function*() {
      const cutOff = new LlmError.StreamInterrupted(openAi)
      const { calls, service } = streaming([[text("Hi"), cutOff]])
      const parts = LlmProvider.stream({ messages: [LlmRequest.user("pay")], idempotent: false }, {
        whenCut: "restart"
      })
      const { exit } = yield* run(
        Stream.runDrain(parts).pipe(Effect.provideService(LlmProvider.LlmProvider, service))
      )
      const failure = failureOf(exit)
      assert(failure._tag === "StreamInterrupted" && !failure.idempotent)
      assert.strictEqual(calls(), 1)
    }))

  it.effect("O1: a restart elsewhere is a fallback, told before whoever is asked, also where that one cannot be opened", () =>
    Effect.gen(function*() {
      const slow = Duration.seconds(2)
      const third = { provider: "third", model: "m" }
      const refusing =
        streaming([[slow, new LlmError.InvalidRequest({ ...anthropic, status: 400 })]], anthropic).service
      const busy = streaming([[slow, new LlmError.Overloaded({ ...anthropic, status: 529 })]], anthropic).service
      const opening = streaming([[slow, text("Hi"), finish]], third).service
      const stories = []
      for (const rest of [[opening], [refusing], [busy, opening]]) {
        const told: Array<string> = []
        const receipts: Array<Receipt.Receipt> = []
        const chain = Fallback.make([streaming([[text("a"), slow, overloaded]]).service, ...rest])
        yield* run(
          Effect.exit(read(chain, { whenCut: "restart" })).pipe(Call.observe((event) => {
            if (event._tag === "FellBack" || event._tag === "AttemptStarted") told.push(event._tag)
            if (event._tag === "Ended") receipts.push(event.receipt)
          }))
        )
        const [receipt] = receipts
        assert.isTrue(receipt?.fallback)
        stories.push([
          told.join(" "),
          ...receipt?.switches?.map(({ at, because, from, to }) =>
            `${Duration.toMillis(at)} ${from.provider} ${to.provider} ${because}`
          ) ?? []
        ])
      }
      const once = "AttemptStarted FellBack AttemptStarted"
      assert.deepStrictEqual(stories, [
        [once, "2000 openai third Overloaded"],
        [once, "2000 openai anthropic Overloaded"],
        [`${once} FellBack AttemptStarted`, "2000 openai anthropic Overloaded", "4000 anthropic third Overloaded"]
      ])
    }))

  it.effect("O1: a restart elsewhere that a policy there refuses is a fallback too", () =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make()
      yield* breaker.isolate("anthropic/claude")
      const guarded = streaming([[text("b"), finish]], anthropic).service
      const layer = LlmProvider.orElse(
        Layer.succeed(LlmProvider.LlmProvider, streaming([cut]).service),
        LlmProvider.withPolicy(Layer.succeed(LlmProvider.LlmProvider, guarded), breaker)
      )
      const { exit } = yield* run(
        Stream.runDrain(LlmProvider.stream("hello", { whenCut: "restart" })).pipe(Effect.provide(layer))
      )
      const { receipt } = failureOf(exit)
      expect(receipt?.switches).toMatchObject([{ from: openAi, to: anthropic, because: "Overloaded" }])
      expect(receipt?.refusals).toMatchObject([{ target: anthropic, because: "CircuitOpen" }])
      assert.isTrue(receipt?.fallback)
    }))

  it.effect("a restart that cannot be opened does not hide the first failure", () =>
    Effect.gen(function*() {
      const refusal = new LlmError.InvalidRequest({ ...anthropic, status: 400 })
      const chain = Fallback.make([streaming([cut]).service, streaming([[refusal]], anthropic).service])
      const { exit } = yield* run(read(chain, { whenCut: "restart" }))
      const failure = failureOf(exit)
      assert(failure._tag === "AllTargetsFailed")
      assert.deepStrictEqual(failure.failures.map(({ _tag }) => _tag), ["Overloaded", "InvalidRequest"])
      assert.strictEqual(failure.failures[0].partial, "Hello")
    }))

  it.effect("is repeated unseen when the reader buffers", () =>
    Effect.gen(function*() {
      const { calls, service } = streaming([cut, [text("Hi"), finish]])
      const retried = Policy.retry(Retry.standard)
      const { exit } = yield* run(
        Stream.runCollect(LlmProvider.stream("hello", { whenCut: "buffer" })).pipe(
          retried,
          Effect.provideService(LlmProvider.LlmProvider, service)
        )
      )
      assert(Exit.isSuccess(exit))
      assert.deepStrictEqual(texts(Chunk.toReadonlyArray(exit.value)), ["Hi", "Finish"])
      assert.strictEqual(calls(), 2)
    }))

  it("E1: refuses a word that is none of the three", () => {
    expect(() => LlmProvider.stream("hello", { whenCut: "hope" as never })).toThrow(InvalidOption)
    expect(() => LlmProvider.generate("hello", { via: "pigeon" as never })).toThrow(InvalidOption)
  })
})

describe("S4: generate via a stream", () => {
  it.effect("puts the answer together, and a restart elsewhere is invisible", () =>
    Effect.gen(function*() {
      const first = streaming([[text("Hel"), "stall"]], openAi, { idle: "5 seconds" })
      const second = streaming([[text("Hi "), text("there"), usage(3), finish]], anthropic)
      const chain = Fallback.make([first.service, second.service])
      const { elapsed, exit } = yield* run(
        LlmProvider.generate("hello", { via: "stream" }).pipe(
          Effect.provideService(LlmProvider.LlmProvider, chain)
        )
      )
      assert(Exit.isSuccess(exit))
      expect(exit.value).toMatchObject({
        text: "Hi there",
        provider: "anthropic",
        model: "dated",
        finishReason: "stop"
      })
      assert.strictEqual(exit.value.usage.outputTokens, 3)
      assert.strictEqual(exit.value.receipt.attempts.length, 2)
      assert.strictEqual(elapsed, 5000)
    }))
})

describe("T1: the limits of a stream", () => {
  const stalled = (script: ReadonlyArray<Piece>, limits: LlmProvider.StreamLimits) => {
    const { open, service } = streaming([script], openAi, limits)
    return Effect.gen(function*() {
      const { elapsed, exit } = yield* run(read(service))
      const failure = failureOf(exit)
      assert(failure._tag === "TimedOut")
      assert.strictEqual(open(), 0, "the connection is closed")
      return { elapsed, phase: failure.phase, handedOut: failure.handedOut, partial: failure.partial }
    })
  }

  it.effect("firstOutput is from the request to the first output; usage is none", () =>
    Effect.gen(function*() {
      const result = yield* stalled([Duration.seconds(9), usage(1), "stall"], { firstOutput: "10 seconds" })
      expect(result).toEqual({ elapsed: 10_000, phase: "firstOutput", handedOut: false, partial: "" })
    }))

  it.effect("idle is from one output to the next, and usage does not feed it", () =>
    Effect.gen(function*() {
      const script = [text("a"), Duration.seconds(4), text("b"), Duration.seconds(3), usage(1), "stall"] as const
      const result = yield* stalled(script, { firstOutput: "1 minute", idle: "5 seconds" })
      expect(result).toEqual({ elapsed: 9000, phase: "idle", handedOut: true, partial: "ab" })
    }))

  it.effect("neither passes a millisecond early", () =>
    Effect.gen(function*() {
      const script = [Duration.millis(9999), text("a"), Duration.millis(4999), text("b"), finish]
      const { service } = streaming([script], openAi, { firstOutput: "10 seconds", idle: "5 seconds" })
      const { exit } = yield* run(read(service))
      assert(Exit.isSuccess(exit))
    }))

  it.effect("a slow reader is nobody's fault", () =>
    Effect.gen(function*() {
      const { service } = streaming([[text("a"), text("b"), finish]], openAi, { idle: "5 seconds" })
      const { exit } = yield* run(
        LlmProvider.stream("hello").pipe(
          Stream.rechunk(1),
          Stream.runForEach(() => Effect.sleep("1 minute")),
          Effect.provideService(LlmProvider.LlmProvider, service)
        )
      )
      assert(Exit.isSuccess(exit))
    }))

  it.effect("without limits nothing is watched", () =>
    Effect.gen(function*() {
      const { open, service } = streaming([[text("a"), "stall"]])
      const fiber = yield* Effect.fork(read(service))
      yield* TestClock.adjust("10 days")
      assert.strictEqual(open(), 1)
      assert.strictEqual((yield* TestClock.sleeps()).length, 0)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(open(), 0)
    }))

  it("E1: are refused when they are no finite time", () => {
    expect(() => streaming([[finish]], openAi, { idle: "0 seconds" })).toThrow(InvalidOption)
  })
})

describe("a stream and its call", () => {
  it.effect("E2: leaving it early closes it at once and ends the attempt before the call", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const { open, service } = streaming([[text("a"), "stall"]])
      yield* LlmProvider.stream("hello").pipe(
        Stream.take(1),
        Stream.runDrain,
        Call.observe((event) => told.push(event._tag === "Ended" ? event.outcome : event._tag)),
        Effect.provideService(LlmProvider.LlmProvider, service)
      )
      assert.strictEqual(open(), 0)
      assert.deepStrictEqual(told, ["Started", "AttemptStarted", "FirstOutput", "AttemptEnded", "Interrupted"])
    }))

  it.effect("ends at its Finish, though the connection stays open", () =>
    Effect.gen(function*() {
      const { open, service } = streaming([[text("a"), finish, "stall"]])
      const { elapsed, exit } = yield* run(read(service))
      assert(Exit.isSuccess(exit))
      assert.strictEqual(elapsed, 0)
      assert.strictEqual(open(), 0)
    }))

  it.effect("a defect in the middle is recorded as one", () =>
    Effect.gen(function*() {
      const outcomes: Array<string> = []
      const service = LlmProvider.make({
        ...openAi,
        generate: () => Effect.dieMessage("only streams"),
        stream: () => Stream.concat(Stream.make(text("a")), Stream.dieMessage("bug"))
      })
      const { exit } = yield* run(
        read(service).pipe(Call.observe((event) => {
          if (event._tag === "Ended") {
            outcomes.push(
              event.outcome,
              ...event.receipt.attempts.map(({ outcome }) => outcome._tag)
            )
          }
        }))
      )
      assert(Exit.isFailure(exit))
      assert.deepStrictEqual(outcomes, ["Failed", "Failed"])
    }))

  it.effect("the parts of an opened stream can be read only once", () =>
    Effect.gen(function*() {
      const { service } = streaming([[text("a"), finish]])
      const twice = Effect.scoped(Effect.flatMap(service.open(request), ({ parts }) =>
        Effect.zipRight(Stream.runDrain(parts), Stream.runDrain(parts))))
      const { exit } = yield* run(twice)
      assert(Exit.isFailure(exit) && exit.cause._tag === "Die")
    }))

  it.effect("a wrapper written by hand around a service adds no attempt of its own", () =>
    Effect.gen(function*() {
      const { service } = streaming([[text("a"), finish]])
      const wrapper = LlmProvider.LlmProvider.of({ generate: service.generate, open: (asked) => service.open(asked) })
      const last = (yield* read(wrapper)).at(-1)
      assert(last?._tag === "Finish")
      assert.deepStrictEqual(last.receipt.attempts.map(({ target }) => target), [openAi])
      assert.isFalse(last.receipt.fallback)
    }))
})

describe("what a service built by hand may rely on", () => {
  const base = LlmProvider.make({
    ...openAi,
    generate: () => Effect.succeed(answer("hi")),
    stream: () => Stream.make(text("a"), finish)
  })

  it.effect("what it adds to one of ours is not passed over by policies and fallbacks, and no attempt is told twice", () =>
    Effect.gen(function*() {
      let audited = 0
      const audit = Effect.sync(() => audited++)
      const wrapped: LlmProvider.Service = { ...base, generate: (asked) => Effect.tap(base.generate(asked), audit) }
      const layer = Layer.succeed(LlmProvider.LlmProvider, wrapped).pipe(
        LlmProvider.withPolicy(Policy.identity),
        LlmProvider.orElse(Layer.succeed(LlmProvider.LlmProvider, base))
      )
      const response = yield* LlmProvider.generate("hello").pipe(Effect.provide(layer))
      assert.strictEqual(audited, 1)
      assert.strictEqual(response.receipt.attempts.length, 1)
    }))

  it.effect("S1: its stream without a Finish is cut, not short", () =>
    Effect.gen(function*() {
      const short = LlmProvider.LlmProvider.of({
        generate: base.generate,
        open: () => Effect.succeed({ parts: Stream.make(text("a")) })
      })
      const viaStream = LlmProvider.generate("hello", { via: "stream" }).pipe(
        Effect.provideService(LlmProvider.LlmProvider, short)
      )
      assert.strictEqual(failureOf((yield* run(viaStream)).exit)._tag, "StreamInterrupted")
      const { exit } = yield* run(read(short))
      expect(failureOf(exit)).toMatchObject({ _tag: "StreamInterrupted", partial: "a", handedOut: true })
    }))
})

describe("restarting", () => {
  it.effect("T2: closes the connection that was cut before it opens another", () =>
    Effect.gen(function*() {
      const first = streaming([[text("a"), "stall"]], openAi, { idle: "5 seconds" })
      const open: Array<number> = []
      const second = LlmProvider.make({
        ...anthropic,
        generate: () => Effect.dieMessage("only streams"),
        stream: () => {
          open.push(first.open())
          return Stream.make(text("b"), finish)
        }
      })
      const { exit } = yield* run(read(Fallback.make([first.service, second]), { whenCut: "restart" }))
      assert(Exit.isSuccess(exit))
      assert.deepStrictEqual(open, [0])
    }))

  it.effect("R3: waits as long as the target asked when it is the same one again, which is no fallback", () =>
    Effect.gen(function*() {
      const limited = new LlmError.RateLimited({ ...openAi, retryAfter: Duration.seconds(30) })
      const { service } = streaming([[text("a"), limited], [text("b"), finish]])
      const { elapsed, exit } = yield* run(read(service, { whenCut: "restart" }))
      assert(Exit.isSuccess(exit))
      assert.strictEqual(elapsed, 30_000)
      const last = exit.value.at(-1)
      assert(last?._tag === "Finish" && !last.receipt.fallback)
    }))

  it.effect("O2: its wait is told as a retry's is: as an event, on the span and in the metrics", () =>
    Effect.gen(function*() {
      const target = { provider: "openai", model: "waits for a restart" }
      const limited = new LlmError.RateLimited({ ...target, retryAfter: Duration.seconds(30) })
      const { service } = streaming([[text("a"), Duration.seconds(2), limited], [text("b"), finish]], target)
      const told: Array<string> = []
      const { install, named } = collector()
      const fiber = yield* read(service, { whenCut: "restart" }).pipe(
        Call.observe((event) => {
          const why = event._tag === "Waiting" ? ` ${Duration.format(event.wait)} ${event.because}` : ""
          told.push(`${event.at} ${event._tag}${why}`)
        }),
        install,
        Effect.fork
      )
      yield* TestClock.adjust("31999 millis")
      assert.deepStrictEqual(told.splice(0), [
        "0 Started",
        "0 AttemptStarted",
        "0 FirstOutput",
        "2000 AttemptEnded",
        "2000 Waiting 30s RateLimited"
      ])
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(told, [
        "32000 AttemptStarted",
        "32000 FirstOutput",
        "32000 AttemptEnded",
        "32000 Ended"
      ])
      const [call] = named("perdure.call")
      assert.deepStrictEqual(call?.events, [
        ["perdure.wait", 2000, { "perdure.wait": 30, "error.type": "RateLimited" }]
      ])
      assert.strictEqual(call?.attributes.get("perdure.waited"), 30)
      assert.strictEqual(metrics(target.model)["perdure.wait.duration openai RateLimited"], 30)
    }))

  it.effect("of a wait of nothing says nothing, nor where another target is asked instead", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const observed = Call.observe((event) => told.push(event._tag))
      const limited = (retryAfter: Duration.DurationInput) =>
        new LlmError.RateLimited({ ...openAi, retryAfter: Duration.decode(retryAfter) })
      const now = streaming([[text("a"), limited(0)], [text("b"), finish]])
      const first = streaming([[text("a"), limited("30 seconds")]])
      const second = streaming([[text("b"), finish]], anthropic)
      for (const service of [now.service, Fallback.make([first.service, second.service])]) {
        const { elapsed, exit } = yield* run(observed(read(service, { whenCut: "restart" })))
        assert(Exit.isSuccess(exit))
        assert.strictEqual(elapsed, 0)
      }
      assert.notInclude(told, "Waiting")
      assert.strictEqual(told.filter((tag) => tag === "AttemptStarted").length, 4)
    }))

  it.effect("O2: unseen, in a buffered stream, the wait is that of the retry and told by it", () =>
    Effect.gen(function*() {
      const waits: Array<readonly [at: number, wait: number]> = []
      const limited = new LlmError.RateLimited({ ...openAi, retryAfter: Duration.seconds(30) })
      const { service } = streaming([[text("a"), Duration.seconds(2), limited], [text("b"), finish]])
      const layer = LlmProvider.withPolicy(
        Layer.succeed(LlmProvider.LlmProvider, service),
        Policy.retry(Retry.constant("1 second"))
      )
      const { elapsed, exit } = yield* run(
        Stream.runCollect(LlmProvider.stream("hello", { whenCut: "buffer" })).pipe(
          Effect.provide(layer),
          Call.observe((event) => {
            if (event._tag === "Waiting") waits.push([event.at, Duration.toMillis(event.wait)])
          })
        )
      )
      assert(Exit.isSuccess(exit))
      assert.deepStrictEqual([waits, elapsed], [[[2000, 30_000]], 32_000])
    }))

  it.effect("goes only where the chain's own rule lets it", () =>
    Effect.gen(function*() {
      const first = streaming([[text("a"), overloaded], [text("b"), finish]])
      const second = streaming([[text("c"), finish]], anthropic)
      const chain = Fallback.make([first.service, second.service], { movesOn: () => false })
      assert.deepStrictEqual(texts(yield* read(chain, { whenCut: "restart" })), ["a", "Restarted", "b", "Finish"])
    }))

  it("the usage of what is void is not that of the answer", () => {
    const parts = [text("a"), usage(99), StreamPart.Restarted.make(anthropic), text("b"), finish]
    assert.isUndefined(StreamPart.toResponse(parts, openAi).usage.outputTokens)
  })

  it("a piece of reasoning ends with its signature", () => {
    const thought = (value: string, signature?: string) =>
      StreamPart.ReasoningDelta.make(signature === undefined ? { text: value } : { text: value, signature })
    const parts = [thought("one"), thought("", "s1"), thought("two"), thought("", "s2"), text("so"), finish]
    expect(StreamPart.toResponse(parts, openAi).content).toEqual([
      { _tag: "Reasoning", text: "one", signature: "s1" },
      { _tag: "Reasoning", text: "two", signature: "s2" },
      { _tag: "Text", text: "so" }
    ])
  })
})

describe("limits and a reader who comes back", () => {
  const queued = (limits: LlmProvider.StreamLimits) =>
    Effect.gen(function*() {
      const queue = yield* Queue.unbounded<StreamPart.StreamPart>()
      const service = LlmProvider.make({
        ...openAi,
        limits,
        generate: () => Effect.dieMessage("only streams"),
        stream: () => Stream.fromQueue(queue)
      })
      yield* Queue.offer(queue, text("a"))
      const { parts } = yield* service.open(request)
      return { queue, pull: yield* Stream.toPull(parts) }
    })

  it.scoped("loses nothing when one pull is given up and another follows", () =>
    Effect.gen(function*() {
      const { pull, queue } = yield* queued({ idle: "1 minute" })
      yield* pull
      const impatient = Effect.fork(Effect.timeoutOption(pull, "1 second"))
      const first = yield* impatient
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(first), Option.none())
      const second = yield* impatient
      yield* Queue.offer(queue, text("b"))
      yield* TestClock.adjust("1 millis")
      const got = yield* Fiber.join(second)
      assert(Option.isSome(got))
      assert.deepStrictEqual(texts(Chunk.toReadonlyArray(got.value)), ["b"])
    }))

  it.scoped("do not count the time in which the reader is away", () =>
    Effect.gen(function*() {
      const { pull, queue } = yield* queued({ idle: "10 seconds" })
      yield* pull
      const first = yield* Effect.fork(Effect.timeoutOption(pull, "1 second"))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(first)
      yield* TestClock.adjust("1 minute")
      yield* Queue.offer(queue, text("b"))
      const second = yield* Effect.fork(pull)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(texts(Chunk.toReadonlyArray(yield* Fiber.join(second))), ["b"])
    }))

  it.scoped("passes to the millisecond after a wait in two pieces", () =>
    Effect.gen(function*() {
      const { pull, queue } = yield* queued({ idle: "10 seconds" })
      yield* pull
      const first = yield* Effect.fork(pull)
      yield* TestClock.adjust("9 seconds")
      yield* Queue.offer(queue, usage(1))
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(first)
      yield* TestClock.adjust("2 seconds")
      const second = yield* Effect.fork(Effect.flip(pull))
      yield* TestClock.adjust("998 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(second)))
      yield* TestClock.adjust("2 millis")
      const failure = yield* Fiber.join(second)
      assert(Option.isSome(failure) && failure.value._tag === "TimedOut" && failure.value.phase === "idle")
    }))
})
