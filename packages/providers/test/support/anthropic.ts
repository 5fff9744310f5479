import type { HttpClientRequest } from "@effect/platform"
import { Anthropic } from "@perdure/providers"
import { Effect, Layer, Redacted } from "effect"
import { LlmProvider, type LlmRequest } from "perdure"
import { bodyOf, json, recording } from "./client.ts"

export const key = "sk-ant-test-0123456789abcdef"

/** What an answer that says `hi` looks like on the wire. */
export const message = (fields: Record<string, unknown> = {}) => ({
  id: "msg_1",
  type: "message",
  role: "assistant",
  model: "claude-2026",
  content: [{ type: "text", text: "hi" }],
  stop_reason: "end_turn",
  stop_sequence: null,
  usage: { input_tokens: 10, output_tokens: 2 },
  ...fields
})

/** An error body as Anthropic writes it. */
export const said = (type: string, message = "words", fields: Record<string, unknown> = {}) => ({
  type: "error",
  error: { type, message, ...fields },
  request_id: "req_body"
})

/** Asks once and gives the exit, the requests that were sent and the body of the first. */
export const ask = (
  input: LlmRequest.Input,
  options: Partial<Anthropic.Options> = {},
  reply: (request: HttpClientRequest.HttpClientRequest) => Response = () => json(message())
) => {
  const client = recording(reply)
  return LlmProvider.generate(input).pipe(
    Effect.provide(
      Anthropic.layer({ model: "m", apiKey: Redacted.make(key), ...options }).pipe(Layer.provide(client.layer))
    ),
    Effect.exit,
    Effect.map((exit) => ({ exit, requests: client.requests, body: bodyOf(client.requests[0]) }))
  )
}

/** An event as it comes over the wire. */
export interface WireEvent {
  readonly type: string
  readonly [field: string]: unknown
}

/** The events as they come over the wire. */
export const sse = (...events: ReadonlyArray<WireEvent>): string =>
  events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join("")

/** The events of a stream, from its beginning to its end; `middle` is what is said. */
export const events = (
  middle: ReadonlyArray<WireEvent>,
  stop: Record<string, unknown> = { stop_reason: "end_turn" }
): ReadonlyArray<WireEvent> => [
  { type: "message_start", message: message({ content: [], usage: { input_tokens: 10, output_tokens: 1 } }) },
  ...middle,
  { type: "message_delta", delta: stop, usage: { output_tokens: 7 } },
  { type: "message_stop" }
]

const block = (index: number, content_block: unknown, deltas: ReadonlyArray<unknown>): ReadonlyArray<WireEvent> => [
  { type: "content_block_start", index, content_block },
  ...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
  { type: "content_block_stop", index }
]

export const textBlock = (index: number, ...texts: ReadonlyArray<string>) =>
  block(index, { type: "text", text: "" }, texts.map((text) => ({ type: "text_delta", text })))

export const thinkingBlock = (index: number, ...texts: ReadonlyArray<string>) =>
  block(index, { type: "thinking", thinking: "", signature: "" }, [
    ...texts.map((thinking) => ({ type: "thinking_delta", thinking })),
    { type: "signature_delta", signature: "c2ln" }
  ])

export const toolBlock = (index: number, name: string, ...pieces: ReadonlyArray<string>) =>
  block(
    index,
    { type: "tool_use", id: `toolu_${index}`, name, input: {} },
    pieces.map((partial_json) => ({ type: "input_json_delta", partial_json }))
  )
