import { describe, expect, it } from "@effect/vitest"
import { Anthropic } from "@perdure/providers"
import { Cause, Effect, Exit, Layer, Redacted, Stream } from "effect"
import { inspect } from "node:util"
import { LlmProvider, LlmRequest } from "perdure"
import { ask, events, message, sse, textBlock } from "./support/anthropic.ts"
import { failureOf, json, recording } from "./support/client.ts"

const key = "tok-7f3a9c1e5b2d8046aa"
const header = "header-secret-5f1c"
const prompt = "My name is Ada Lovelace, \"born\" in 1815;\nmy account number is 4711-0815."
const options = { apiKey: Redacted.make(key), headers: { "x-gateway-key": header } }

/** None of the ways in which an error may be shown tells a secret. */
const expectSilence = (exit: Exit.Exit<unknown, unknown>) => {
  const error = failureOf(exit)
  const cause = Exit.isFailure(exit) ? exit.cause : Cause.empty
  for (
    const told of [
      inspect(error, { depth: 20, showHidden: true }),
      inspect(exit, { depth: 20 }),
      JSON.stringify(error),
      JSON.stringify(exit),
      String(error),
      error.stack ?? "",
      Cause.pretty(cause, { renderErrorCause: true })
    ]
  ) for (const secret of [key, header, "Ada Lovelace", "4711-0815"]) expect(told).not.toContain(secret)
}

/** An error that quotes the key, a header and the prompt wherever there is room. */
const chatty = (type: string) => ({
  type: "error",
  error: {
    type,
    message: `Bad key ${key} or ${header}: ${prompt}`,
    details: { error_code: `code_${key}` }
  },
  request_id: `req_${key}`
})

describe("O3: no failure tells the key, a header or the prompt", () => {
  it.effect.each([200, 307, 400, 401, 402, 403, 404, 409, 413, 418, 429, 500, 504, 529])(
    "an error that quotes them all, with status %i",
    (status) =>
      Effect.gen(function*() {
        const reply = () => json(chatty(`type_${key}`), { status, headers: { "request-id": `req-${key}` } })
        expectSilence((yield* ask(prompt, options, reply)).exit)
      })
  )

  it.effect.each<readonly [string, string]>([
    ["half of an error", JSON.stringify(chatty("api_error")).slice(0, -30)],
    ["plain text", `bad gateway for ${prompt} with ${key}`],
    ["a page", `<html><body>denied: ${prompt} (${key})</body></html>`],
    ["a field named after the prompt", JSON.stringify({ error: { message: `${key}: bad`, type: prompt } })]
  ])("%s", ([_, body]) =>
    Effect.gen(function*() {
      for (const status of [200, 400, 502]) {
        expectSilence((yield* ask(prompt, options, () => new Response(body, { status }))).exit)
      }
    }))

  it.effect("a refusal that explains itself", () =>
    Effect.gen(function*() {
      const stop_details = { category: key, explanation: `You asked: ${prompt}` }
      const { exit } = yield* ask(prompt, options, () => json(message({ stop_reason: "refusal", stop_details })))
      expect(failureOf(exit)._tag).toBe("ContentFiltered")
      expectSilence(exit)
    }))

  it.effect("a request that cannot be sent", () =>
    Effect.gen(function*() {
      const call = { _tag: "ToolCall", id: "1", name: "look", arguments: `{"said": "${prompt}` } as const
      const { exit } = yield* ask({ messages: [LlmRequest.user(prompt), LlmRequest.assistant([call])] }, options)
      expect(failureOf(exit)._tag).toBe("InvalidRequest")
      expectSilence(exit)
    }))

  it.effect.each<readonly [string, string]>([
    ["an error event", sse(chatty("overloaded_error"))],
    [
      "a refusal",
      sse({
        type: "message_delta",
        delta: { stop_reason: "refusal", stop_details: { explanation: prompt } }
      })
    ],
    ["an event that is not JSON", `event: message_start\ndata: ${key} ${prompt.replace("\n", " ")}\n\n`],
    ["a line that is no event", `${key} ${prompt}\n\n`]
  ])("in a stream: %s", ([_, bad]) =>
    Effect.gen(function*() {
      const body = `${sse(...events(textBlock(0, "hi")).slice(0, -2))}${bad}`
      const client = recording(() => new Response(body, { headers: { "content-type": "text/event-stream" } }))
      const exit = yield* LlmProvider.stream(prompt).pipe(
        Stream.runDrain,
        Effect.provide(Anthropic.layer({ model: "m", ...options }).pipe(Layer.provide(client.layer))),
        Effect.exit
      )
      expectSilence(exit)
    }))
})
