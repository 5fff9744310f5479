import type { HttpClientRequest } from "@effect/platform"
import { Google } from "@perdure/providers"
import { Effect, Layer, Redacted, Stream } from "effect"
import { LlmProvider, type LlmRequest } from "perdure"
import { bodyOf, json, recording } from "./client.ts"

export const key = "AIzaSyTest-0123456789abcdefghijklmnop"

/** What an answer that says `hi` looks like on the wire. */
export const answer = (candidate: Record<string, unknown> = {}, fields: Record<string, unknown> = {}) => ({
  candidates: [{ index: 0, finishReason: "STOP", content: { role: "model", parts: [{ text: "hi" }] }, ...candidate }],
  modelVersion: "m-2026",
  responseId: "r-1",
  ...fields
})

/** An answer of these parts. */
export const parts = (...parts: ReadonlyArray<unknown>) => answer({ content: { role: "model", parts } })

/** Events as they come over the wire. */
export const sse = (...events: ReadonlyArray<unknown>) =>
  new Response(
    events.map((event) => `data: ${typeof event === "string" ? event : JSON.stringify(event)}\r\n\r\n`).join(""),
    {
      headers: { "content-type": "text/event-stream" }
    }
  )

type Reply = (request: HttpClientRequest.HttpClientRequest) => Response

const provide = (options: Partial<Google.Options>, reply: Reply) => {
  const client = recording(reply)
  const layer = Google.layer({ model: "m", apiKey: Redacted.make(key), ...options }).pipe(Layer.provide(client.layer))
  return { layer, requests: client.requests }
}

/** Asks once and gives the exit, the requests that were sent and the body of the first. */
export const ask = (
  input: LlmRequest.Input,
  options: Partial<Google.Options> = {},
  reply: Reply = () => json(answer())
) => {
  const { layer, requests } = provide(options, reply)
  return LlmProvider.generate(input).pipe(
    Effect.provide(layer),
    Effect.exit,
    Effect.map((exit) => ({ exit, requests, body: bodyOf(requests[0]) }))
  )
}

/** Streams once and gives the exit with all parts, and the requests that were sent. */
export const askStream = (input: LlmRequest.Input, options: Partial<Google.Options>, reply: Reply) => {
  const { layer, requests } = provide(options, reply)
  return Stream.runCollect(LlmProvider.stream(input)).pipe(
    Effect.provide(layer),
    Effect.map((all) => Array.from(all)),
    Effect.exit,
    Effect.map((exit) => ({ exit, requests }))
  )
}
