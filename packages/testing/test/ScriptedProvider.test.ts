import { describe, expect, it } from "@effect/vitest"
import {
  after,
  always,
  answer,
  never,
  overloaded,
  rateLimited,
  respond,
  ScriptedProvider,
  ScriptError,
  TestTime,
  times
} from "@perdure/testing"
import { Cause, Duration, Effect, Exit, Fiber, type Layer, Option, TestClock } from "effect"
import { type InvalidOption, LlmProvider, LlmRequest, LlmResponse } from "perdure"

const ask = LlmProvider.generate("A secret prompt.")

const playing = (...[script, options]: Parameters<typeof ScriptedProvider.layer>) =>
  Effect.provide(ScriptedProvider.layer(script, options))

/** What a test that provides a script in the ordinary way would end with. */
const defectOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.exit(effect), (exit) => Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined)

const outcomes = Effect.map(ScriptedProvider.calls, (calls) => calls.map(({ outcome }) => outcome._tag))

describe("a script", () => {
  it.effect("is played one step a call, under the provider's own names", () =>
    Effect.gen(function*() {
      const first = yield* Effect.flip(ask)
      const second = yield* ask
      expect(first).toMatchObject({ _tag: "RateLimited", status: 429, provider: "scripted", model: "scripted-model" })
      expect(Option.fromNullable(first.retryAfter)).toEqual(Option.some(Duration.seconds(2)))
      expect(second).toMatchObject({ text: "hi", provider: "scripted", model: "scripted-model", finishReason: "stop" })
      expect(second.receipt.served).toEqual({ provider: "scripted", model: "scripted-model" })
    }).pipe(playing([rateLimited("2 seconds"), answer("hi")])))

  it.effect("is played under the names and with the window that the options say", () =>
    Effect.gen(function*() {
      const { targets } = yield* LlmProvider.LlmProvider
      expect(targets).toEqual([{ provider: "openai", model: "gpt-4o", contextWindow: 128_000 }])
      const { receipt } = yield* ask
      expect(receipt.requested).toEqual({ provider: "openai", model: "gpt-4o" })
    }).pipe(playing([answer("hi")], { provider: "openai", model: "gpt-4o", contextWindow: 128_000 })))

  it.effect("answers with every field that is asked for", () =>
    Effect.gen(function*() {
      const call = LlmRequest.ToolCallPart.make({ id: "1", name: "look", arguments: "{}" })
      const response = yield* ask.pipe(
        playing([
          answer({
            content: [LlmRequest.text("Let me look."), call],
            usage: { inputTokens: 3, outputTokens: 4 },
            id: "resp_1",
            provider: "azure",
            model: "gpt-4o-2024-08-06",
            extras: { tier: "flex" }
          })
        ])
      )
      expect(response).toMatchObject({
        text: "Let me look.",
        toolCalls: [call],
        finishReason: "toolCalls",
        id: "resp_1",
        provider: "azure",
        model: "gpt-4o-2024-08-06",
        extras: { tier: "flex" }
      })
      expect(response.usage).toEqual(new LlmResponse.Usage({ inputTokens: 3, outputTokens: 4 }))
    }))

  it.effect("waits on the clock before a step", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(ask)
      yield* TestClock.adjust(1_999)
      expect(Option.isNone(yield* fiber.poll)).toBe(true)
      yield* TestClock.adjust(1)
      expect((yield* Fiber.join(fiber)).text).toBe("late")
    }).pipe(playing([after("2 seconds", answer("late"))])))

  it.effect("repeats a step n times, and the last one for ever", () =>
    Effect.gen(function*() {
      const tags = yield* Effect.forEach(
        Array.from({ length: 6 }),
        () => Effect.match(ask, { onFailure: ({ _tag }) => _tag, onSuccess: ({ text }) => text })
      )
      expect(tags).toEqual(["Overloaded", "Overloaded", "Overloaded", "hi", "hi", "hi"])
    }).pipe(playing([times(3, overloaded()), always(answer("hi"))])))

  it.effect("can decide by the request and by how many calls came before", () =>
    Effect.gen(function*() {
      expect((yield* ask).text).toBe("0: 1 message")
      expect((yield* Effect.flip(ask))._tag).toBe("Overloaded")
    }).pipe(
      playing([
        always(respond(({ messages }, index) => index === 0 ? answer(`0: ${messages.length} message`) : overloaded()))
      ])
    ))

  it.effect("dies of what the decision throws", () =>
    Effect.gen(function*() {
      const boom = new Error("boom")
      const program = Effect.zipRight(Effect.exit(ask), ScriptedProvider.calls).pipe(
        playing([respond(() => {
          throw boom
        })])
      )
      expect((yield* program).map(({ outcome }) => outcome)).toEqual([{ _tag: "Died", defect: boom }])
    }))

  it.effect("gives calls at the same time one step each", () =>
    Effect.gen(function*() {
      const texts = yield* Effect.all([ask, ask], { concurrency: "unbounded" }).pipe(Effect.fork)
      yield* TestClock.adjust("1 second")
      expect((yield* Fiber.join(texts)).map(({ text }) => text)).toEqual(["slow", "quick"])
      expect(yield* ScriptedProvider.remaining).toBe(0)
    }).pipe(playing([after("1 second", answer("slow")), answer("quick")])))

  it.effect("starts anew each time its layer is built", () =>
    Effect.gen(function*() {
      const layer = ScriptedProvider.layer([answer("hi")])
      expect((yield* Effect.provide(ask, layer)).text).toBe("hi")
      expect((yield* Effect.provide(ask, layer)).text).toBe("hi")
    }))

  it.scoped("goes on where it was in the layer of a made one", () =>
    Effect.gen(function*() {
      const scripted = yield* ScriptedProvider.make([answer("one"), answer("two")])
      expect(yield* scripted.remaining).toBe(2)
      expect((yield* Effect.provide(ask, scripted.layer)).text).toBe("one")
      expect((yield* Effect.provide(ask, scripted.layer)).text).toBe("two")
      expect(yield* Effect.provide(outcomes, scripted.layer)).toEqual(["Answered", "Answered"])
      expect(yield* scripted.remaining).toBe(0)
    }))
})

describe("the record of calls", () => {
  it.effect("has each request, the time, the step and how it ended", () =>
    Effect.gen(function*() {
      const request = LlmRequest.make({ messages: [LlmRequest.user("one")], temperature: 0 })
      const failure = yield* Effect.flip(LlmProvider.generate(request))
      yield* TestClock.adjust("3 seconds")
      yield* ask
      const calls = yield* ScriptedProvider.calls
      expect(calls).toMatchObject([
        { kind: "generate", at: 0, step: "rateLimited", outcome: { _tag: "Failed", error: { _tag: failure._tag } } },
        { kind: "generate", at: 3_000, step: "answer", outcome: { _tag: "Answered" } }
      ])
      expect(calls[0]?.request).toBe(request)
    }).pipe(playing([rateLimited(), answer("hi")])))

  it.effect("E2: says that a hanging call was interrupted, and that it ran before", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(ask)
      yield* TestClock.adjust("1 hour")
      expect(yield* outcomes).toEqual(["Running"])
      expect(Exit.isInterrupted(yield* Fiber.interrupt(fiber))).toBe(true)
      expect(yield* outcomes).toEqual(["Interrupted"])
    }).pipe(playing([never])))

  it.effect("is a picture of the moment, which later calls do not change", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(ask)
      yield* TestClock.adjust(0)
      const before = yield* ScriptedProvider.calls
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      expect(before.map(({ outcome }) => outcome._tag)).toEqual(["Running"])
      expect(yield* outcomes).toEqual(["Answered"])
    }).pipe(playing([after("1 second", answer("hi"))])))
})

describe("a program that does not fit its script", () => {
  it.effect("dies when it asks more often than there are steps, and the message holds no prompt", () =>
    Effect.gen(function*() {
      const defect = yield* defectOf(Effect.repeatN(ask, 2).pipe(playing([answer("a"), answer("b")])))
      expect(defect).toBeInstanceOf(ScriptError.RanOut)
      expect(String(defect)).toContain(
        "the script of scripted/scripted-model has run out: call 3 (generate, 1 message) was made, " +
          "but there are 2 steps"
      )
      expect(JSON.stringify(defect)).not.toContain("secret")
    }))

  it.effect("dies at its first call when the script is empty", () =>
    Effect.map(defectOf(ask.pipe(playing([]))), (defect) => expect(String(defect)).toContain("but there are 0 steps")))

  it.effect("keeps a record of the call for which there was no step", () =>
    Effect.gen(function*() {
      yield* Effect.exit(ask)
      expect(yield* ScriptedProvider.calls).toMatchObject([
        { step: undefined, outcome: { _tag: "Died", defect: { _tag: "RanOut", call: 1 } } }
      ])
    }).pipe(playing([])))

  it.effect("dies in the end when it asks less often, and the message names what is left", () =>
    Effect.gen(function*() {
      const script = [answer("a"), times(3, overloaded()), after("2 seconds", answer("b")), never] as const
      const defect = yield* defectOf(Effect.zipRight(ask, Effect.either(ask)).pipe(playing(script)))
      expect(defect).toBeInstanceOf(ScriptError.NotUsedUp)
      expect(String(defect)).toContain(
        "the script of scripted/scripted-model was not used up: 2 calls were made, but there are 6 steps; " +
          "left: 3–4 overloaded, 5 answer after 2s, 6 never"
      )
    }))

  it.effect("dies when it asks nothing at all", () =>
    Effect.map(
      defectOf(Effect.void.pipe(playing([answer("a")]))),
      (defect) => expect(String(defect)).toContain("0 calls were made, but there is 1 step; left: 1 answer")
    ))

  it.scoped("is told so by a made script too, when its scope closes", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.scoped(ScriptedProvider.make([answer("a")])))
      expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toBeInstanceOf(ScriptError.NotUsedUp)
    }))

  it.effect("is not told of left-over steps when it fails or is interrupted anyway", () =>
    Effect.gen(function*() {
      const failed = yield* Effect.exit(Effect.fail("mine").pipe(playing([answer("a")])))
      expect(failed).toEqual(Exit.fail("mine"))
      const interrupted = yield* Effect.exit(Effect.interrupt.pipe(playing([answer("a")])))
      expect(Exit.match(interrupted, { onSuccess: () => false, onFailure: Cause.isInterruptedOnly })).toBe(true)
    }))

  it.effect("may leave steps over when that is allowed, and an `always` unplayed at any time", () =>
    Effect.gen(function*() {
      expect(yield* Effect.exit(Effect.void.pipe(playing([answer("a")], { unused: "allow" })))).toEqual(Exit.void)
      expect(yield* Effect.exit(Effect.void.pipe(playing([always(answer("a"))])))).toEqual(Exit.void)
    }))

  it.effect("is told of each of two scripts that were left over", () =>
    Effect.gen(function*() {
      const chain: Layer.Layer<LlmProvider.LlmProvider> = ScriptedProvider.layer([answer("a")]).pipe(
        LlmProvider.orElse(ScriptedProvider.layer([answer("b")], { provider: "second" }))
      )
      const exit = yield* Effect.exit(Effect.provide(Effect.void, chain))
      const defects = Exit.isFailure(exit) ? [...Cause.defects(exit.cause)] : []
      expect(defects.map((defect) => defect instanceof ScriptError.NotUsedUp && defect.provider).toSorted())
        .toEqual(["scripted", "second"])
    }))
})

describe("E1: a bad script is refused where it is written", () => {
  const refused = (build: () => unknown): string => {
    try {
      build()
    } catch (error) {
      return `${(error as InvalidOption)._tag}: ${(error as InvalidOption).message}`
    }
    return "accepted"
  }

  it("with the option, its value and what is allowed", () => {
    expect(refused(() => rateLimited(-1))).toBe(
      "InvalidOption: rateLimited(retryAfter) was given -1; allowed: a finite duration of at least zero"
    )
    expect(refused(() => after(Infinity, answer("a")))).toContain("after(duration) was given Infinity")
    expect(refused(() => times(0, answer("a")))).toContain(
      "times(n) was given 0; allowed: a whole number of at least 1"
    )
    expect(refused(() => overloaded({ status: 50.5 }))).toContain("InvalidOption: overloaded(details)")
    expect(refused(() => answer({ usage: { inputTokens: -1 } }))).toContain("InvalidOption: answer(fields)")
  })

  it("when the layer is written, not when it is built", () => {
    expect(refused(() => {
      // @ts-expect-error the types refuse it too
      ScriptedProvider.layer([always(answer("a")), answer("b")])
    })).toBe(
      "InvalidOption: ScriptedProvider.layer(script) was given \"always, as step 1 of 2\"; allowed: always as the last step"
    )
    expect(refused(() => ScriptedProvider.make([], { provider: " " }))).toContain("ScriptedProvider.make({ provider })")
    expect(refused(() => ScriptedProvider.layer([], { model: "" }))).toContain("ScriptedProvider.layer({ model })")
    expect(refused(() => ScriptedProvider.layer([], { contextWindow: 0 }))).toContain("({ contextWindow }) was given 0")
    expect(refused(() => ScriptedProvider.layer([], { unused: "ignore" as "allow" }))).toContain("({ unused })")
  })

  it("but an asked wait of zero is not bad", () => {
    expect(refused(() => rateLimited(0))).toBe("accepted")
  })
})

describe("running without guessing the time", () => {
  it.effect("ends exactly when the effect does", () =>
    Effect.gen(function*() {
      const { elapsed, exit } = yield* TestTime.run(Effect.zipRight(Effect.sleep("1234 millis"), ask))
      expect(elapsed).toBe(1_234 + 500)
      expect(Exit.isSuccess(exit) && exit.value.text).toBe("hi")
      expect(yield* TestClock.currentTimeMillis).toBe(1_734)
    }).pipe(playing([after("500 millis", answer("hi"))])))

  it.effect("gives failures and interruptions as exits", () =>
    Effect.gen(function*() {
      expect(yield* TestTime.run(Effect.fail("no"))).toEqual({ exit: Exit.fail("no"), elapsed: 0 })
      expect(Exit.isInterrupted((yield* TestTime.run(Effect.interrupt)).exit)).toBe(true)
    }))

  it.effect("says when an effect waits for something that no clock brings, and lets go of it", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(TestTime.run(ask))
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain("waits for something that no clock brings")
      expect(yield* outcomes).toEqual(["Interrupted"])
    }).pipe(playing([never])))

  it.effect("interrupts the effect when it is interrupted", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(TestTime.run(ask))
      yield* TestClock.adjust(0)
      yield* Fiber.interrupt(fiber)
      expect(yield* outcomes).toEqual(["Interrupted"])
    }).pipe(playing([never])))
})
