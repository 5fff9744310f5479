/** What policies are put around, and the two ways of doing it over and over. */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as LlmProvider from "perdure/LlmProvider"
import * as LlmRequest from "perdure/LlmRequest"
import { LlmResponse } from "perdure/LlmResponse"
import type * as Measure from "./Measure.ts"

const response = new LlmResponse({
  provider: "p",
  model: "m",
  content: [LlmRequest.text("hi")],
  finishReason: "stop"
})

const value = { text: "hi" }

/** It answers at once, but not synchronously: with a value that has no place for a receipt, as the peers write none. */
export const operation = () => Promise.resolve(value)
export const effect = Effect.promise(operation)

/** Providers that do the same with an answer. */
const answer = Effect.promise(() => Promise.resolve(response))
export const provider = LlmProvider.layer({ provider: "p", model: "m", generate: () => answer })
export const other = LlmProvider.layer({ provider: "q", model: "m", generate: () => answer })

const request = LlmRequest.make("hi")

/** One call of the provider that a layer makes. */
export const callOf = (layer: Layer.Layer<LlmProvider.LlmProvider>): Effect.Effect<unknown, unknown> =>
  Effect.runSync(
    Effect.map(Effect.provide(LlmProvider.LlmProvider, layer), (service) => service.generate(request))
  )

/** One fiber, in which an effect is run over and over; `within` is put around all of it. */
export const inFiber = <E>(
  name: string,
  self: Effect.Effect<unknown, E>,
  within: <A, E>(all: Effect.Effect<A, E>) => Effect.Effect<A, E> = (all) => all
): Measure.Contestant => ({
  name,
  run: (times) => {
    let left = times
    return Effect.runPromise(within(Effect.whileLoop({ while: () => left-- > 0, body: () => self, step: () => {} })))
  }
})

/** A promise for each. */
export const inPromises = (name: string, one: () => Promise<unknown>): Measure.Contestant => ({
  name,
  run: async (times) => {
    for (let i = 0; i < times; i++) await one()
  }
})
