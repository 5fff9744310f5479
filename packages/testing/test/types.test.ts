// The misuses below are there to be rejected; the Effect diagnostics would reject them a second time.
// @effect-diagnostics floatingEffect:off
import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import {
  always,
  answer,
  overloaded,
  pause,
  rateLimited,
  Script,
  ScriptedProvider,
  stream,
  times
} from "@perdure/testing"
import { Effect, type Layer, type Scope } from "effect"
import { type LlmError, LlmProvider, type LlmResponse, Policy, Retry } from "perdure"

const scripted = ScriptedProvider.layer([answer("hi")])

describe("the types of scripts", () => {
  it("a script is a layer like any other provider", () => {
    type Both = LlmProvider.LlmProvider | ScriptedProvider.ScriptedProvider
    expectTypeOf(scripted).toEqualTypeOf<Layer.Layer<Both>>()
    expectTypeOf(scripted).toExtend<Layer.Layer<LlmProvider.LlmProvider>>()
    expectTypeOf(scripted.pipe(LlmProvider.withPolicy(Policy.retry(Retry.article)))).toEqualTypeOf<Layer.Layer<Both>>()
    expectTypeOf(scripted.pipe(LlmProvider.orElse(scripted))).toEqualTypeOf<Layer.Layer<Both>>()
    expectTypeOf(scripted.pipe(LlmProvider.orElse(LlmProvider.layer({
      provider: "local",
      model: "none",
      generate: () => Effect.never
    })))).toEqualTypeOf<Layer.Layer<Both>>()
  })

  it("a program needs nothing more once it is provided", () => {
    const program = Effect.zipRight(LlmProvider.generate("Hello?"), ScriptedProvider.calls).pipe(
      Effect.provide(scripted)
    )
    expectTypeOf(program).toEqualTypeOf<Effect.Effect<ReadonlyArray<ScriptedProvider.Call>, LlmError.LlmError>>()
    expectTypeOf(LlmProvider.generate("Hello?").pipe(Effect.provide(scripted))).toEqualTypeOf<
      Effect.Effect<LlmResponse.LlmResponse, LlmError.LlmError>
    >()
    expectTypeOf(ScriptedProvider.make([])).toEqualTypeOf<
      Effect.Effect<ScriptedProvider.Scripted, never, Scope.Scope>
    >()
  })

  it("a script may be built by a program", () => {
    const many: ReadonlyArray<Script.Step> = Array.from({ length: 3 }, () => overloaded())
    expectTypeOf([...many, answer("hi")]).toExtend<Script.Script>()
    expect(Script.times(3, overloaded())._tag).toBe("Times")
    expectTypeOf(ScriptedProvider.layer).toBeCallableWith([...many, always(answer("hi"))])
  })

  it("misuses do not compile", () => {
    const misuses = () => {
      // @ts-expect-error an answer is text or fields
      answer(5)
      // @ts-expect-error a finish reason is one of four words
      answer({ finishReason: "done" })
      // @ts-expect-error a wait is a duration
      rateLimited("soon")
      // @ts-expect-error the wait has its own place
      rateLimited("1 second", { retryAfter: "2 seconds" })
      // @ts-expect-error the provider that plays it says who it is
      overloaded({ provider: "openai" })
      // @ts-expect-error a script is a list
      ScriptedProvider.layer(answer("hi"))
      // @ts-expect-error its steps are steps, not texts
      ScriptedProvider.layer(["hi"])
      // @ts-expect-error nothing comes after always
      ScriptedProvider.layer([always(answer("hi")), answer("ho")])
      // @ts-expect-error what is repeated is one step
      times(2, always(answer("hi")))
      // @ts-expect-error a pause is a piece of a stream, not a step
      ScriptedProvider.layer([pause("1 second")])
      // @ts-expect-error an answer is a step, not a piece of a stream
      stream([answer("hi")])
      // @ts-expect-error a provider does not restart
      stream([{ _tag: "Restarted", provider: "a", model: "b" }])
      // @ts-expect-error left-over steps fail or are allowed
      ScriptedProvider.layer([], { unused: "warn" })
    }
    expect(misuses).toBeTypeOf("function")
  })
})
