import { OpenAi } from "@perdure/providers"
import { Effect, Layer, Redacted, Stream } from "effect"
import { LlmProvider, type LlmRequest, type StreamPart } from "perdure"
import { bodyOf, failureOf, key, recording } from "./client.ts"

/** Frames as server-sent events, what is no text as JSON. */
export const sse = (...frames: ReadonlyArray<unknown>): string =>
  frames.map((frame) => `data: ${typeof frame === "string" ? frame : JSON.stringify(frame)}\n\n`).join("")

export const eventStream = (body: string | ReadableStream, headers: Record<string, string> = {}) =>
  new Response(body, { headers: { "content-type": "text/event-stream", ...headers } })

/** A frame of a Chat Completions stream with this delta. */
export const delta = (delta: unknown, finish_reason: string | null = null, fields: Record<string, unknown> = {}) => ({
  id: "chatcmpl-1",
  model: "m-2026",
  choices: [{ index: 0, delta, finish_reason }],
  ...fields
})

export const finish = (reason: string, fields?: Record<string, unknown>) => delta({}, reason, fields)

/** Reads parts for as long as they come: those that came, and the exit. */
export const collect = <E, R>(parts: Stream.Stream<StreamPart.StreamPart, E, R>) =>
  Effect.suspend(() => {
    const seen: Array<StreamPart.StreamPart> = []
    return Stream.runForEach(parts, (part) => Effect.sync(() => seen.push(part))).pipe(
      Effect.exit,
      Effect.map((exit) => ({ parts: seen, exit }))
    )
  })

/** A part as short as a table wants it. */
export const brief = (part: StreamPart.StreamPart): string => {
  switch (part._tag) {
    case "TextDelta":
      return `text ${part.text}`
    case "ReasoningDelta":
      return `reasoning ${part.text}`
    case "ToolCallStart":
      return `call ${part.id} ${part.name}`
    case "ToolCallDelta":
      return `arguments ${part.id} ${part.arguments}`
    case "ToolCallEnd":
      return `end ${part.id}`
    case "Usage":
      return `usage ${part.usage.inputTokens} ${part.usage.outputTokens}`
    case "Finish":
      return `finish ${part.finishReason} ${part.model}`
    case "Restarted":
      return "restarted"
  }
}

/** Streams once from a server that answers so: the parts in brief, the exit, the failure if it is one, the request. */
export const streamed = (
  reply: string | (() => Response),
  options: Partial<OpenAi.Options> = {},
  input: LlmRequest.Input = "hello"
) => {
  const client = recording(() => typeof reply === "string" ? eventStream(reply) : reply())
  return collect(LlmProvider.stream(input)).pipe(
    Effect.provide(
      OpenAi.layer({ model: "m", apiKey: Redacted.make(key), ...options }).pipe(Layer.provide(client.layer))
    ),
    Effect.map(({ exit, parts }) => ({
      parts,
      told: parts.map(brief),
      exit,
      error: exit._tag === "Failure" ? failureOf(exit) : undefined,
      request: client.requests[0],
      body: bodyOf(client.requests[0])
    }))
  )
}
