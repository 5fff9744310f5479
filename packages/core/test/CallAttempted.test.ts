/** The requests that the code of a provider makes by itself, as an SDK does that repeats. */
import { assert, describe, expect, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Layer, Stream, TestClock } from "effect"
import { Budget, Call, Hedge, LlmError, LlmProvider, LlmRequest, LlmResponse, Policy, Retry, StreamPart } from "perdure"
import { answer, anthropic, failureOf, openAi, rateLimited, run, unavailable } from "./support/provider.ts"
import { collector, metrics } from "./support/telemetry.ts"

const ask = LlmRequest.make("hello")

/** Repeats its requests so often by itself: each takes 100 ms, and it waits 1 s before the next. */
const sdk = (
  fails: number,
  options: {
    readonly retries?: number
    readonly target?: { readonly provider: string; readonly model: string }
    readonly spent?: boolean
  } = {}
) => {
  const { retries = 3, spent = true, target = openAi } = options
  const calls: Array<number> = []
  let uses = 0
  const generate = Effect.suspend(() => {
    uses += 1
    const requests: Array<{ startedAt: number; endedAt?: number; failure?: LlmError.LlmError }> = []
    const attempt = (n: number): Effect.Effect<LlmResponse.LlmResponse, LlmError.LlmError> =>
      Effect.gen(function*() {
        const request: (typeof requests)[number] = { startedAt: yield* Clock.currentTimeMillis }
        requests.push(request)
        calls.push(request.startedAt)
        yield* Effect.sleep("100 millis")
        request.endedAt = yield* Clock.currentTimeMillis
        if (calls.length > fails) return answer("hi", target)
        const failure = new LlmError.Overloaded({ ...target, status: 529, spent: spent && n === retries })
        request.failure = failure
        if (n === retries) return yield* failure
        yield* Effect.sleep("1 second")
        return yield* attempt(n + 1)
      })
    return Effect.onExit(attempt(0), () => Call.attempted(requests))
  })
  const service = LlmProvider.make({ ...target, generate: () => generate })
  return { calls, uses: () => uses, generate, service }
}

const purse = (capacity: number, options: Budget.Options = {}) =>
  Budget.make({ target: { capacity, ratio: 0, perSecond: 0 }, process: "none", ...options })

const left = (budget: Budget.Service) => Effect.map(budget.balance("openai/gpt-4o"), ({ target }) => target)

const story = ({ receipt }: { readonly receipt?: LlmResponse.LlmResponse["receipt"] | undefined }) =>
  receipt?.attempts.map(({ duration, outcome, start, wait }) => [
    Duration.toMillis(start),
    Duration.toMillis(wait),
    Duration.toMillis(duration),
    outcome._tag === "Failed" ? outcome.error : outcome._tag
  ])

const three = Retry.constant("10 seconds").pipe(Retry.attempts(3))
const patient = Policy.retry(three)

/** With a second try beside the first, in the same call. */
const hedged = (service: LlmProvider.Service) =>
  Effect.provide(
    LlmProvider.generate("hello"),
    LlmProvider.withPolicy(Layer.succeed(LlmProvider.LlmProvider, service), Hedge.make({ after: "500 millis" }))
  )

describe("the retries of an SDK", () => {
  it.effect("R9: are in the receipt with their waits, and what they have spent is not repeated", () =>
    Effect.gen(function*() {
      const { calls, service } = sdk(Infinity)
      const { elapsed, exit } = yield* run(service.generate(ask).pipe(patient))
      assert.deepStrictEqual(calls, [0, 1100, 2200, 3300])
      assert.strictEqual(elapsed, 3400)
      assert.deepStrictEqual(story(failureOf(exit)), [
        [0, 0, 100, "Overloaded"],
        [1100, 1000, 100, "Overloaded"],
        [2200, 1000, 100, "Overloaded"],
        [3300, 1000, 100, "Overloaded"]
      ])
      assert.isTrue(failureOf(exit).spent)
    }))

  it.effect("O1: are in the receipt of an answer, which the last request gave", () =>
    Effect.gen(function*() {
      const { exit } = yield* run(sdk(2).service.generate(ask))
      assert(Exit.isSuccess(exit))
      assert.deepStrictEqual(story(exit.value), [
        [0, 0, 100, "Overloaded"],
        [1100, 1000, 100, "Overloaded"],
        [2200, 1000, 100, "Answered"]
      ])
      expect(exit.value.receipt.served).toEqual({ provider: "openai", model: "gpt-4o-2024-08-06" })
      assert.deepStrictEqual(exit.value.receipt.waited, Duration.seconds(2))
    }))

  it.effect("O1: one request alone is what it was without telling of it", () =>
    Effect.gen(function*() {
      const { exit } = yield* run(sdk(0).service.generate(ask))
      assert(Exit.isSuccess(exit))
      assert.deepStrictEqual(story(exit.value), [[0, 0, 100, "Answered"]])
    }))

  it.effect("R9: are paid for by every budget around, each but the first request", () =>
    Effect.gen(function*() {
      const inner = yield* purse(10)
      const outer = yield* purse(20)
      yield* run(sdk(Infinity).service.generate(ask).pipe(inner, outer))
      assert.strictEqual(yield* left(inner), 7)
      assert.strictEqual(yield* left(outer), 17)
      yield* run(sdk(0).service.generate(ask).pipe(inner, outer))
      assert.strictEqual(yield* left(inner), 7)
    }))

  it.effect("R9: leave less for the retries around, which are refused earlier", () =>
    Effect.gen(function*() {
      const budget = yield* purse(5)
      const { calls, service, uses } = sdk(Infinity, { spent: false })
      const { exit } = yield* run(service.generate(ask).pipe(patient, budget))
      // Three repeats inside and one around leave one token, which pays for a part of the next three.
      assert.strictEqual(uses(), 2)
      assert.strictEqual(calls.length, 8)
      assert.strictEqual(yield* left(budget), 0)
      const failure = failureOf(exit)
      assert.isTrue(failure.spent)
      assert.strictEqual(failure.receipt?.attempts.length, 8)
    }))

  it.effect("R9: cost what the pace of the failure before them costs", () =>
    Effect.gen(function*() {
      const budget = yield* purse(20, { costs: { retry: { otherwise: 1, overload: 2, rateLimit: 5 } } })
      yield* run(sdk(2).service.generate(ask).pipe(budget))
      assert.strictEqual(yield* left(budget), 16)
      yield* budget(Call.track(Call.attempted([
        { startedAt: 0, failure: rateLimited(), target: openAi },
        { startedAt: 0, target: openAi }
      ])))
      assert.strictEqual(yield* left(budget), 11)
    }))

  it.effect("R9: are paid for once the call has made its deposit, and paid back where that is the rule", () =>
    Effect.gen(function*() {
      const all = yield* purse(10, { target: { capacity: 10, ratio: 0.5, deposits: "all", perSecond: 0 } })
      yield* run(sdk(Infinity, { retries: 1 }).service.generate(ask).pipe(all))
      assert.strictEqual(yield* left(all), 9)
      yield* run(sdk(Infinity, { retries: 1 }).service.generate(ask).pipe(all))
      assert.strictEqual(yield* left(all), 8.5)
      const aws = yield* Budget.make(Budget.aws)
      yield* run(sdk(2).service.generate(ask).pipe(aws))
      assert.strictEqual(yield* left(aws), 486)
      const poor = yield* Budget.make({ ...Budget.aws, target: { ...Budget.aws.target as Budget.Rule, capacity: 10 } })
      yield* run(sdk(2).service.generate(ask).pipe(poor))
      assert.strictEqual(yield* left(poor), 1)
    }))

  it.effect("O2: are told as events of the time at which they happened", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      yield* TestClock.adjust("5 seconds")
      yield* run(
        sdk(1).service.generate(ask).pipe(Call.observe((event) => {
          told.push(`${event.at} ${event._tag}${"attempt" in event ? ` ${event.attempt}` : ""}`)
        }))
      )
      assert.deepStrictEqual(told, [
        "5000 Started",
        "5000 AttemptStarted 1",
        "5100 AttemptEnded 1",
        "6100 AttemptStarted 2",
        "6200 AttemptEnded 2",
        "6200 Ended"
      ])
    }))

  it.effect("O2: are counted, and have spans beside one another", () =>
    Effect.gen(function*() {
      const { install, named } = collector()
      const target = { provider: "counted-sdk", model: "m" }
      yield* run(sdk(2, { target }).service.generate(ask).pipe(install))
      const counted = metrics("counted-sdk")
      assert.strictEqual(
        counted["perdure.attempts m failed Overloaded"] ?? counted["perdure.attempts failed Overloaded m"],
        2
      )
      const [call] = named("perdure.call")
      const spans = named("chat m")
      assert.deepStrictEqual(spans.map(({ end, start }) => [start, end]), [[0, 100], [1100, 1200], [2200, 2300]])
      assert.deepStrictEqual(spans.map(({ ends, parent }) => [ends, parent]), spans.map(() => [1, call?.id]))
      assert.deepStrictEqual(
        spans.map(({ attributes }) => [attributes.get("perdure.attempt"), attributes.get("error.type")]),
        [[1, "Overloaded"], [2, "Overloaded"], [3, undefined]]
      )
      assert.strictEqual(call?.attributes.get("perdure.attempts"), 3)
    }))

  it.effect("R5: an interrupted one leaves what it has made in the receipt", () =>
    Effect.gen(function*() {
      const ended: Array<Call.Ended> = []
      const { calls, service } = sdk(Infinity)
      const fiber = yield* service.generate(ask).pipe(
        Call.observe((event) => {
          if (event._tag === "Ended") ended.push(event)
        }),
        Effect.fork
      )
      yield* TestClock.adjust("1150 millis")
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(calls.length, 2)
      assert.deepStrictEqual(ended.map(story), [[[0, 0, 100, "Overloaded"], [1100, 1000, 50, "Interrupted"]]])
    }))

  it.effect("R5: one that takes too long has run into the time limit with its last request", () =>
    Effect.gen(function*() {
      const { exit } = yield* run(sdk(Infinity).service.generate(ask).pipe(Policy.timeout("1150 millis")))
      const failure = failureOf(exit)
      assert.strictEqual(failure._tag, "TimedOut")
      assert.deepStrictEqual(story(failure), [[0, 0, 100, "Overloaded"], [1100, 1000, 50, "TimedOut"]])
    }))

  it.effect("R5: one that is cut in a wait of its own has failed before it", () =>
    Effect.gen(function*() {
      const { exit } = yield* run(sdk(Infinity).service.generate(ask).pipe(Policy.timeout("1999 millis")))
      const failure = failureOf(exit)
      assert.strictEqual(failure._tag, "TimedOut")
      assert.deepStrictEqual(story(failure), [[0, 0, 100, "Overloaded"], [1100, 1000, 100, "Overloaded"]])
      assert.deepStrictEqual(failure.receipt?.duration, Duration.millis(1999))
      const first = yield* run(sdk(Infinity).service.generate(ask).pipe(Policy.timeout("999 millis")))
      assert.deepStrictEqual(story(failureOf(first.exit)), [[0, 0, 100, "Overloaded"]])
    }))

  it.effect("are in the receipt of a service that was written by hand", () =>
    Effect.gen(function*() {
      const byHand = LlmProvider.LlmProvider.of({
        generate: () => sdk(2).generate,
        open: () => Effect.fail(unavailable())
      })
      const { exit } = yield* run(
        Effect.provideService(LlmProvider.generate("hello"), LlmProvider.LlmProvider, byHand)
      )
      assert(Exit.isSuccess(exit))
      assert.deepStrictEqual(story(exit.value)?.map(([start, _, __, outcome]) => [start, outcome]), [
        [0, "Overloaded"],
        [1100, "Overloaded"],
        [2200, "Answered"]
      ])
      assert.strictEqual(exit.value.receipt.served?.provider, "openai")
    }))

  it.effect("of two tries side by side are in the order in which they began", () =>
    Effect.gen(function*() {
      const { exit } = yield* run(hedged(sdk(3).service))
      assert(Exit.isSuccess(exit))
      // The first try asks at 0 and 1100, the second at 500 and 1600, which is answered.
      assert.deepStrictEqual(
        exit.value.receipt.attempts.map(({ hedge, outcome, start }) => [Duration.toMillis(start), hedge, outcome._tag]),
        [[0, undefined, "Failed"], [500, true, "Failed"], [1100, undefined, "Failed"], [1600, true, "Answered"]]
      )
    }))

  it.effect("of two tries side by side are each of its own try, whichever tells of them first", () =>
    Effect.gen(function*() {
      const { exit } = yield* run(hedged(sdk(Infinity, { retries: 1, spent: false }).service))
      const { receipt } = failureOf(exit)
      assert.deepStrictEqual(receipt?.attempts.map(({ hedge }) => hedge), [undefined, true, undefined, true])
      assert.deepStrictEqual(story({ receipt }), [
        [0, 0, 100, "Overloaded"],
        [500, 400, 100, "Overloaded"],
        [1100, 500, 100, "Overloaded"],
        [1600, 400, 100, "Overloaded"]
      ])
    }))
})

describe("a stream of an SDK that repeats", () => {
  it.effect("has the first output with its last request", () =>
    Effect.gen(function*() {
      const service = LlmProvider.make({
        ...openAi,
        generate: () => Effect.dieMessage("only streams"),
        stream: () =>
          Stream.unwrap(
            Effect.sleep("2 seconds").pipe(
              Effect.zipRight(Call.attempted([
                { startedAt: 200, endedAt: 500, failure: unavailable() },
                { startedAt: 1500 }
              ])),
              Effect.as(Stream.make(
                StreamPart.TextDelta.make({ text: "hi" }),
                StreamPart.Finish.make({ finishReason: "stop", model: "dated" })
              ))
            )
          )
      })
      const { exit } = yield* run(
        LlmProvider.generate("hello", { via: "stream" }).pipe(
          Effect.provideService(LlmProvider.LlmProvider, service)
        )
      )
      assert(Exit.isSuccess(exit))
      assert.deepStrictEqual(story(exit.value), [[200, 200, 300, "ProviderUnavailable"], [1500, 1000, 500, "Answered"]])
      assert.deepStrictEqual(exit.value.receipt.attempts.map(({ firstOutput }) => firstOutput), [
        undefined,
        Duration.millis(500)
      ])
    }))
})

describe("requests that are told of", () => {
  it.effect("outside of a provider are added to the receipt around", () =>
    Effect.gen(function*() {
      const other = Effect.zipRight(
        Effect.sleep("3 seconds"),
        Call.attempted([
          { startedAt: 500, endedAt: 1000, target: anthropic },
          { startedAt: 2000, endedAt: 2500, target: anthropic }
        ])
      )
      const program = Effect.zipRight(other, Effect.fail(unavailable()))
      const { exit } = yield* run(Call.track(program))
      assert.deepStrictEqual(story(failureOf(exit)), [[500, 500, 500, "Interrupted"], [2000, 1000, 500, "Answered"]])
      expect(failureOf(exit).receipt).toMatchObject({ outcome: "Failed", error: "ProviderUnavailable" })
      assert.isTrue(Exit.isSuccess((yield* run(other)).exit))
    }))

  it.effect("outside of a provider do not take the place of an attempt beside them", () =>
    Effect.gen(function*() {
      const beside = Effect.zipRight(
        Effect.sleep("50 millis"),
        Call.attempted([{ startedAt: 10, endedAt: 20, failure: rateLimited(), target: anthropic }])
      )
      const program = Effect.zip(sdk(0).service.generate(ask), beside, { concurrent: true })
      const { exit } = yield* run(Call.track(Effect.zipRight(program, Effect.fail(unavailable()))))
      assert.deepStrictEqual(story(failureOf(exit)), [[0, 0, 100, "Answered"], [10, 0, 10, "RateLimited"]])
    }))

  it.effect("count from the border of the attempt where their times are outside of it", () =>
    Effect.gen(function*() {
      const service = LlmProvider.make({
        ...openAi,
        generate: () =>
          Effect.zipRight(
            Effect.sleep("1 second"),
            Effect.as(
              Call.attempted([
                { startedAt: -5000, endedAt: -4000, failure: rateLimited() },
                { startedAt: 600, endedAt: 200, failure: rateLimited() },
                { startedAt: 99_000 }
              ]),
              answer("hi")
            )
          )
      })
      const { exit } = yield* run(service.generate(ask))
      assert(Exit.isSuccess(exit))
      assert.deepStrictEqual(story(exit.value), [
        [0, 0, 0, "RateLimited"],
        [600, 600, 0, "RateLimited"],
        [1000, 400, 0, "Answered"]
      ])
    }))

  it.effect("may be none", () =>
    Effect.gen(function*() {
      const service = LlmProvider.make({ ...openAi, generate: () => Effect.as(Call.attempted([]), answer("hi")) })
      const { receipt } = yield* service.generate(ask)
      assert.strictEqual(receipt.attempts.length, 1)
    }))
})

describe("a failure that a provider calls spent", () => {
  const provider = (spent: boolean) => {
    let uses = 0
    const service = LlmProvider.make({
      ...openAi,
      generate: () =>
        Effect.suspend(() => {
          uses += 1
          return Effect.fail(new LlmError.RateLimited({ ...openAi, status: 429, spent }))
        })
    })
    return { service, uses: () => uses }
  }

  const ways: Record<
    string,
    <A, R>(self: Effect.Effect<A, LlmError.LlmError, R>) => Effect.Effect<A, LlmError.LlmError, R>
  > = {
    "Policy.retry": (self) => patient(self),
    "Retry.retry": (self) => Retry.retry(self, three),
    "Effect.retry": (self) => Effect.retry(self, three)
  }
  for (const [name, way] of Object.entries(ways)) {
    it.effect(`R9: is repeated by no ${name}, and asks no budget`, () =>
      Effect.gen(function*() {
        const budget = yield* purse(5)
        const spent = provider(true)
        yield* run(spent.service.generate(ask).pipe(way, budget))
        assert.strictEqual(spent.uses(), 1)
        assert.strictEqual(yield* left(budget), 5)
        const other = provider(false)
        yield* run(other.service.generate(ask).pipe(way, budget))
        assert.strictEqual(other.uses(), 3)
        assert.strictEqual(yield* left(budget), 3)
      }))
  }
})
