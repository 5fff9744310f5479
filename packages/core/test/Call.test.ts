import { assert, describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Option, Schedule, TestClock } from "effect"
import { Call, Deadline, LlmError, LlmProvider, LlmRequest, Policy, Receipt, Retry } from "perdure"
import { answer, anthropic, failureOf, openAi, run, scripted, unavailable } from "./support/provider.ts"
import { collector, lines } from "./support/telemetry.ts"

const ask = LlmRequest.make("hello")
const policy = Policy.retry(Retry.exponential("2 seconds").pipe(Retry.attempts(3)))

describe("the receipt of a call", () => {
  it.effect("O1: tells who was asked, who answered, every attempt and every wait", () =>
    Effect.gen(function*() {
      const provider = scripted([
        Effect.delay(Effect.fail(unavailable()), "300 millis"),
        Effect.delay(Effect.succeed(answer("hi")), "700 millis")
      ])
      const layer = provider.layer.pipe(LlmProvider.withPolicy(policy))
      yield* TestClock.adjust("5 seconds")
      const { exit } = yield* run(LlmProvider.generate("hello").pipe(Effect.provide(layer)))
      assert(Exit.isSuccess(exit))
      const { receipt } = exit.value
      expect(receipt).toMatchObject({
        requested: openAi,
        served: { provider: "openai", model: "gpt-4o-2024-08-06" },
        fallback: false,
        startedAt: 5000,
        duration: Duration.seconds(3)
      })
      expect(receipt.attempts.map(({ duration, outcome, start, wait }) => [
        Duration.toMillis(start),
        Duration.toMillis(wait),
        Duration.toMillis(duration),
        outcome._tag
      ])).toEqual([[0, 0, 300, "Failed"], [2300, 2000, 700, "Answered"]])
      assert.deepStrictEqual(receipt.waited, Duration.seconds(2))
    }))

  it.effect("O1: is on the failure too", () =>
    Effect.gen(function*() {
      const provider = scripted([unavailable()])
      const { exit } = yield* run(provider.service.generate(ask).pipe(policy))
      const { receipt } = failureOf(exit)
      assert.strictEqual(receipt?.attempts.length, 3)
      assert.isUndefined(receipt?.served)
      expect(receipt?.attempts[0]?.outcome).toMatchObject({ error: "ProviderUnavailable", status: 500, detail: "boom" })
    }))

  it.effect("O1: of an interrupted call is told to the observers", () =>
    Effect.gen(function*() {
      const ended: Array<Extract<Call.Event, { _tag: "Ended" }>> = []
      const fiber = yield* scripted([Effect.never]).service.generate(ask).pipe(
        policy,
        Call.observe((event) => {
          if (event._tag === "Ended") ended.push(event)
        }),
        Effect.fork
      )
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(ended.length, 1)
      expect(ended[0]).toMatchObject({ outcome: "Interrupted", at: 1000 })
      expect(ended[0]?.receipt.attempts[0]?.outcome).toEqual({ _tag: "Interrupted" })
    }))

  it.effect("policies applied by hand add to one receipt, and each call inside keeps its own", () =>
    Effect.gen(function*() {
      const provider = scripted([answer("one"), unavailable(), answer("two")])
      const inner: Array<Receipt.Receipt> = []
      const program = Effect.gen(function*() {
        const first = yield* provider.service.generate(ask)
        inner.push(first.receipt)
        return yield* provider.service.generate(ask)
      })
      const { exit } = yield* run(program.pipe(policy))
      assert(Exit.isSuccess(exit))
      assert.deepStrictEqual(inner.map(({ attempts }) => attempts.length), [1, 1])
      assert.strictEqual(exit.value.receipt.attempts.length, 4)
    }))

  it.effect("Call.track gathers what Effect's own retry does", () =>
    Effect.gen(function*() {
      const provider = scripted([unavailable(), answer("hi")])
      const { exit } = yield* run(
        provider.service.generate(ask).pipe(Effect.retry(Schedule.spaced("3 seconds")), Call.track)
      )
      assert(Exit.isSuccess(exit))
      assert.deepStrictEqual(exit.value.receipt.waited, Duration.seconds(3))
    }))

  it.effect("calls made side by side do not mix", () =>
    Effect.gen(function*() {
      const layer = scripted([unavailable(), unavailable(), answer("hi")]).layer.pipe(LlmProvider.withPolicy(policy))
      const { exit } = yield* run(
        Effect.all([LlmProvider.generate("a"), LlmProvider.generate("b")], { concurrency: 2 }).pipe(
          Effect.provide(layer)
        )
      )
      assert(Exit.isSuccess(exit))
      assert.deepStrictEqual(exit.value.map(({ receipt }) => receipt.attempts.length), [2, 2])
    }))

  it.effect("a call made in a finalizer of an interrupted one has a receipt of its own", () =>
    Effect.gen(function*() {
      const after = scripted([answer("bye", anthropic)], anthropic)
      const receipts: Array<Receipt.Receipt> = []
      const fiber = yield* scripted([Effect.never]).service.generate(ask).pipe(
        policy,
        Effect.onInterrupt(() =>
          Effect.map(Effect.orDie(after.service.generate(ask)), ({ receipt }) => receipts.push(receipt))
        ),
        Effect.fork
      )
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      expect(receipts.map(({ attempts, requested }) => [requested.provider, attempts.length])).toEqual([
        ["anthropic", 1]
      ])
    }))

  it.effect("a fiber that outlives the call it was forked in makes calls of its own", () =>
    Effect.gen(function*() {
      const later = scripted([answer("later", anthropic)], anthropic)
      const told: Array<string> = []
      const after = Effect.delay(Effect.ignore(later.service.generate(ask)), "1 second")
      const now = scripted([Effect.as(Effect.forkDaemon(after), answer("now"))])
      const response = yield* now.service.generate(ask).pipe(Call.observe(({ _tag }) => told.push(_tag)))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(response.receipt.attempts.length, 1)
      const once = ["Started", "AttemptStarted", "AttemptEnded", "Ended"]
      assert.deepStrictEqual(told, [...once, ...once])
    }))

  it.effect("a hand-written provider needs no more than the two functions", () =>
    Effect.gen(function*() {
      const byHand = LlmProvider.LlmProvider.of({
        generate: () => Effect.succeed(answer("hi")),
        open: () => Effect.fail(unavailable())
      })
      const response = yield* LlmProvider.generate("hello").pipe(
        Effect.provideService(LlmProvider.LlmProvider, byHand)
      )
      expect(response.receipt.served).toEqual({ provider: "openai", model: "gpt-4o-2024-08-06" })
      assert.strictEqual(response.receipt.attempts.length, 1)
    }))
})

describe("how a call ended, in its receipt", () => {
  const watching = () => {
    const receipts: Array<Receipt.Receipt> = []
    const install = Call.observe((event) => {
      if (event._tag === "Ended") receipts.push(event.receipt)
    })
    return { install, ends: () => receipts.map(({ error, outcome, served }) => [outcome, error, served?.provider]) }
  }

  it.effect("O1: answered, failed with what class, and interrupted, also where that was in a backoff", () =>
    Effect.gen(function*() {
      const { ends, install } = watching()
      const guarded = (provider: ReturnType<typeof scripted>) =>
        LlmProvider.generate("hello").pipe(Effect.provide(LlmProvider.withPolicy(provider.layer, policy)), install)
      yield* guarded(scripted([answer("hi")]))
      yield* run(Effect.exit(guarded(scripted([unavailable()]))))
      const backingOff = yield* Effect.fork(guarded(scripted([unavailable()])))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(backingOff)
      yield* Effect.exit(guarded(scripted([Effect.die("a bug")])))
      assert.deepStrictEqual(ends(), [
        ["Answered", undefined, "openai"],
        ["Failed", "ProviderUnavailable", undefined],
        ["Interrupted", undefined, undefined],
        ["Failed", "Defect", undefined]
      ])
    }))

  it.effect("O1: failed by a defect before anybody was asked", () =>
    Effect.gen(function*() {
      const { ends, install } = watching()
      const broken = Policy.make([{ name: "broken", settings: "" }], () => Effect.die("a bug"))
      const layer = LlmProvider.withPolicy(scripted([answer("hi")]).layer, broken)
      yield* Effect.exit(LlmProvider.generate("hello").pipe(Effect.provide(layer), install))
      assert.deepStrictEqual(ends(), [["Failed", "Defect", undefined]])
    }))

  it.effect("O1: an answer that is not given on is served by nobody", () =>
    Effect.gen(function*() {
      const { ends, install } = watching()
      const { all, install: logged } = lines()
      const { service } = scripted([answer("hi")])
      const malformed = new LlmError.MalformedResponse(openAi)
      const picky = LlmProvider.LlmProvider.of({
        targets: [openAi],
        generate: (request) => Effect.zipRight(service.generate(request), Effect.fail(malformed)),
        open: service.open
      })
      const call = LlmProvider.generate(ask).pipe(Effect.provideService(LlmProvider.LlmProvider, picky))
      const exit = yield* Effect.exit(call.pipe(install, logged))
      const { receipt } = failureOf(exit)
      assert.deepStrictEqual(receipt?.attempts.map(({ outcome }) => outcome._tag), ["Answered"])
      assert.deepStrictEqual(ends(), [["Failed", "MalformedResponse", undefined]])
      assert.deepStrictEqual(all.map(({ facts, level }) => [level, facts["perdure.served.provider"]]), [
        ["Error", undefined]
      ])
    }))

  it.effect("O1: a policy by hand that fails around an answer has a receipt that failed", () =>
    Effect.gen(function*() {
      const { service } = scripted([answer("hi")])
      const slow = Effect.zipLeft(service.generate(ask), Effect.sleep("3 seconds"))
      const { exit } = yield* run(slow.pipe(Policy.timeout("2 seconds")))
      const { receipt } = failureOf(exit)
      assert.deepStrictEqual(receipt?.attempts.map(({ outcome }) => outcome._tag), ["Answered"])
      assert.deepStrictEqual([receipt?.outcome, receipt?.error, receipt?.served], ["Failed", "TimedOut", undefined])
      const answered = yield* service.generate(ask).pipe(Policy.timeout("2 seconds"))
      assert.deepStrictEqual([answered.receipt.outcome, answered.receipt.error], ["Answered", undefined])
    }))

  it.effect("O1: has no end while the call goes on", () =>
    Effect.gen(function*() {
      const seen: Array<string | undefined> = []
      const look = Effect.map(Receipt.current, (receipt) => {
        seen.push(Option.getOrThrow(receipt).outcome)
        return answer("hi")
      })
      yield* scripted([look]).service.generate(ask)
      assert.deepStrictEqual(seen, [undefined])
    }))
})

describe("the numbers of calls and attempts", () => {
  const watching = () => {
    const events: Array<Call.Event> = []
    return { events, install: Call.observe((event) => events.push(event)) }
  }
  const slow = scripted([Effect.delay(Effect.succeed(answer("hi")), "1 second")])

  it.effect("O1: calls side by side under a policy by hand have their own, and share that of the track", () =>
    Effect.gen(function*() {
      const { events, install } = watching()
      const { install: traced, named } = collector()
      const both = Effect.all([slow.service.generate(ask), slow.service.generate(ask)], { concurrency: 2 })
      yield* run(both.pipe(policy, install, traced))
      const started = events.filter(({ _tag }) => _tag === "Started").map(({ call }) => call)
      assert.strictEqual(new Set(started).size, 2)
      for (const number of started) {
        const story = events.filter(({ call }) => call === number)
        assert.deepStrictEqual(story.map(({ _tag }) => _tag), ["Started", "AttemptStarted", "AttemptEnded", "Ended"])
        assert.deepStrictEqual(story.flatMap((event) => "attempt" in event ? [event.attempt] : []), [1, 1])
      }
      const [track, ...others] = new Set(events.map(({ track }) => track))
      assert.isNumber(track)
      assert.deepStrictEqual(others, [])
      assert.notInclude(started, track)
      // The spans have the same numbers.
      assert.deepStrictEqual(named("perdure.call").map(({ attributes }) => attributes.get("perdure.call")), started)
      assert.deepStrictEqual(named("perdure.call").map(({ attributes }) => attributes.get("perdure.track")), [
        track,
        track
      ])
      assert.deepStrictEqual(named("chat gpt-4o").map(({ attributes }) => attributes.get("perdure.attempt")), [1, 1])
    }))

  it.effect("O1: what a policy by hand does between calls has the number of the track", () =>
    Effect.gen(function*() {
      const { events, install } = watching()
      yield* run(scripted([unavailable(), answer("hi")]).service.generate(ask).pipe(policy, install))
      const waiting = events.find(({ _tag }) => _tag === "Waiting")
      assert.isNumber(waiting?.track)
      assert.strictEqual(waiting?.call, waiting?.track)
      assert.strictEqual(new Set(events.map(({ call }) => call)).size, 3)
    }))

  it.effect("O1: a call without anything around it has no track, and one within a call has the number of that", () =>
    Effect.gen(function*() {
      const { events, install } = watching()
      const inner = scripted([answer("hi")]).service
      const outer = LlmProvider.make({ ...anthropic, generate: (request) => inner.generate(request) })
      yield* install(outer.generate(ask))
      assert.strictEqual(new Set(events.map(({ call }) => call)).size, 1)
      assert.isFalse(events.some((event) => "track" in event))
      assert.deepStrictEqual(events.flatMap((event) => event._tag === "AttemptStarted" ? [event.attempt] : []), [1, 2])
    }))

  it.effect("O1: attempts are counted in each call, however many the track around them has seen", () =>
    Effect.gen(function*() {
      const { events, install } = watching()
      const { service } = scripted([answer("hi")])
      const one = Effect.ignore(service.generate(ask))
      const late = LlmProvider.make({ ...openAi, generate: () => Effect.never })
      const program = Effect.gen(function*() {
        yield* Effect.replicateEffect(one, 1005, { discard: true })
        // The limit still finds what is under way inside of it.
        return yield* late.generate(ask).pipe(Deadline.make("1 second"))
      })
      const { exit } = yield* run(install(Call.track(program)))
      const numbers = events.flatMap((event) => event._tag === "AttemptStarted" ? [event.attempt] : [])
      assert.deepStrictEqual([numbers.length, new Set(numbers)], [1006, new Set([1])])
      assert.strictEqual(new Set(events.map(({ call }) => call)).size, 1006)
      const failure = failureOf(exit)
      assert(failure._tag === "DeadlineExceeded")
      assert.isTrue(failure.sent)
      assert.deepStrictEqual(failure.receipt?.attempts.length, 1000)
    }))
})

describe("the observers of a call", () => {
  it.effect("are told everything once, in order", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const first = scripted([unavailable()])
      const second = scripted([answer("hi", anthropic)], anthropic)
      const layer = first.layer.pipe(
        LlmProvider.withPolicy(Policy.retry(Retry.exponential("1 second").pipe(Retry.attempts(2)))),
        LlmProvider.orElse(second.layer)
      )
      yield* run(
        LlmProvider.generate("hello").pipe(
          Effect.provide(layer),
          Call.observe(({ _tag, at }) => told.push(`${at} ${_tag}`))
        )
      )
      assert.deepStrictEqual(told, [
        "0 Started",
        "0 AttemptStarted",
        "0 AttemptEnded",
        "0 Waiting",
        "1000 AttemptStarted",
        "1000 AttemptEnded",
        "1000 GaveUp",
        "1000 FellBack",
        "1000 AttemptStarted",
        "1000 AttemptEnded",
        "1000 Ended"
      ])
    }))

  it.effect("are told of each of several calls made one after the other", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const { service } = scripted([answer("hi"), unavailable(), answer("hi")])
      yield* Effect.forEach([1, 2, 3], () => Effect.ignore(service.generate(ask))).pipe(
        Call.observe(({ _tag }) => told.push(_tag))
      )
      assert.deepStrictEqual(told.filter((tag) => tag === "Started" || tag === "Ended"), [
        "Started",
        "Ended",
        "Started",
        "Ended",
        "Started",
        "Ended"
      ])
    }))

  it.effect("add up, and one that throws harms neither the call nor the others", () =>
    Effect.gen(function*() {
      let told = 0
      const response = yield* scripted([answer("hi")]).service.generate(ask).pipe(
        Call.observe(() => {
          throw new Error("observer")
        }),
        Call.observe(() => told++)
      )
      assert.strictEqual(response.text, "hi")
      assert.strictEqual(told, 4)
    }))
})
