import type { HttpClient } from "@effect/platform"
import { Anthropic, Google, OpenAi } from "@perdure/providers"
import { type ConfigError, Effect, Layer, Redacted, Stream } from "effect"
import { LlmProvider, type LlmRequest } from "perdure"
import * as AnthropicWire from "./anthropic.ts"
import { bodyOf, completion, recording } from "./client.ts"
import * as GoogleWire from "./google.ts"
import * as OpenAiWire from "./stream.ts"

/** What the options of all providers have in common. */
export type Options = Partial<
  Pick<OpenAi.Options, "model" | "apiKey" | "baseUrl" | "headers" | "name" | "transformClient">
>

/** One wire format: the layer that speaks it, and a short answer in it. */
export interface Provider {
  /** The name in a test's title. */
  readonly title: string
  readonly layer: (
    options?: Options
  ) => Layer.Layer<LlmProvider.LlmProvider, ConfigError.ConfigError, HttpClient.HttpClient>
  /** The body of an answer that says `hi`. */
  readonly answer: unknown
  /** The events of a stream that says `hi`. */
  readonly stream: string
}

const fill = (options: Options) => ({ model: "m", apiKey: Redacted.make("key-0123456789abcdef"), ...options })

const response = {
  id: "resp_1",
  model: "m-2026",
  status: "completed",
  output: [{ type: "message", content: [{ type: "output_text", text: "hi" }] }]
}

const chat: Provider = {
  title: "OpenAI's Chat Completions",
  layer: (options = {}) => OpenAi.layer(fill(options)),
  answer: completion(),
  stream: OpenAiWire.sse(OpenAiWire.delta({ content: "hi" }), OpenAiWire.finish("stop"), "[DONE]")
}

const responses: Provider = {
  title: "OpenAI's Responses",
  layer: (options = {}) => OpenAi.layer({ ...fill(options), api: "responses" }),
  answer: response,
  stream: OpenAiWire.sse(
    { type: "response.output_text.delta", output_index: 0, content_index: 0, delta: "hi" },
    { type: "response.completed", response }
  )
}

const anthropic: Provider = {
  title: "Anthropic",
  layer: (options = {}) => Anthropic.layer(fill(options)),
  answer: AnthropicWire.message(),
  stream: AnthropicWire.sse(...AnthropicWire.events(AnthropicWire.textBlock(0, "hi")))
}

const google: Provider = {
  title: "Google",
  layer: (options = {}) => Google.layer(fill(options)),
  answer: GoogleWire.answer(),
  stream: `data: ${JSON.stringify(GoogleWire.answer())}\n\n`
}

export const providers = { chat, responses, anthropic, google }

/** Calls a provider whose server answers so, and gives the exit and the body that was sent. */
export const call = <A, E>(
  layer: ReturnType<Provider["layer"]>,
  reply: () => Response,
  effect: Effect.Effect<A, E, LlmProvider.LlmProvider>
) => {
  const client = recording(reply)
  return effect.pipe(
    Effect.provide(layer.pipe(Layer.provide(client.layer))),
    Effect.exit,
    Effect.map((exit) => ({ exit, requests: client.requests, body: bodyOf(client.requests[0]) }))
  )
}

/** All parts of a stream. */
export const parts = (input: LlmRequest.Input) =>
  Effect.map(Stream.runCollect(LlmProvider.stream(input)), (all) => Array.from(all))
