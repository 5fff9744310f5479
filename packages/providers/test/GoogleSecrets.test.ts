import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Redacted } from "effect"
import { inspect } from "node:util"
import { LlmRequest } from "perdure"
import { failureOf, json } from "./support/client.ts"
import { answer, ask, askStream, sse } from "./support/google.ts"

const key = "AIzaSy7f3a9c1e5b2d8046aa"
const header = "header-secret-5f1c"
const query = "query-secret-77aa"
const prompt = "My name is Ada Lovelace, \"born\" in 1815;\nmy account number is 4711-0815."
const quoted = JSON.stringify(prompt).slice(1, -1)

/** Every way in which an error may be shown. */
const shown = (exit: Exit.Exit<unknown, unknown>): ReadonlyArray<string> => {
  const error = failureOf(exit)
  const cause = Exit.isFailure(exit) ? exit.cause : Cause.empty
  return [
    inspect(error, { depth: 20, showHidden: true }),
    inspect(exit, { depth: 20 }),
    JSON.stringify(error),
    JSON.stringify(exit),
    String(error),
    error.stack ?? "",
    Cause.pretty(cause, { renderErrorCause: true })
  ]
}

const expectSilence = (exit: Exit.Exit<unknown, unknown>) => {
  for (const told of shown(exit)) {
    for (const secret of [key, header, query, "Ada Lovelace", "4711-0815"]) expect(told).not.toContain(secret)
  }
}

const options = {
  apiKey: Redacted.make(key),
  headers: { "x-goog-user-project": header },
  baseUrl: `http://x.test/v1?token=${query}`
}

/** An error that quotes them all wherever there is room. */
const chatty = {
  error: {
    code: 400,
    message: `Bad key ${key} or ${header} or ${query}: ${prompt}`,
    status: key,
    details: [
      { "@type": "x/google.rpc.ErrorInfo", reason: "KEY", metadata: { key } },
      { "@type": "x/google.rpc.BadRequest", fieldViolations: [{ field: prompt, description: quoted }] },
      { "@type": "x/google.rpc.RequestInfo", requestId: `req-${key}` }
    ]
  }
}

describe("O3: no failure tells the key, a header or the prompt", () => {
  it.effect.each([200, 302, 400, 401, 403, 404, 413, 429, 499, 500, 503, 504])(
    "an error that quotes them all, with status %i",
    (status) =>
      Effect.gen(function*() {
        const reply = () => json(chatty, { status, headers: { "x-request-id": `req-${key}`, location: `/${key}` } })
        expectSilence((yield* ask(prompt, options, reply)).exit)
        expectSilence((yield* askStream(prompt, options, reply)).exit)
      })
  )

  const quotations: ReadonlyArray<readonly [string, string]> = [
    ["in half a JSON body", `{"error":{"message":"You said: ${quoted}`],
    ["in the error inside a message", JSON.stringify({ error: { message: JSON.stringify(chatty) } })],
    ["in a list", JSON.stringify([chatty])],
    ["in plain text", `bad gateway for ${prompt} with ${key}`],
    ["in HTML", `<html><body>denied: ${prompt} (${key})</body></html>`],
    ["as the text of an error", JSON.stringify({ error: prompt })]
  ]
  it.effect.each(quotations)("the prompt %s", ([_, body]) =>
    Effect.gen(function*() {
      expectSilence((yield* ask(prompt, options, () => new Response(body, { status: 400 }))).exit)
      expectSilence((yield* ask(prompt, options, () => new Response(body))).exit)
    }))

  it.effect("an answer that was filtered, blocked, or cannot be read", () =>
    Effect.gen(function*() {
      const bodies = [
        answer({ finishReason: "SAFETY", finishMessage: `not this: ${prompt}` }),
        answer({ finishReason: prompt, content: undefined }),
        { promptFeedback: { blockReason: prompt, blockReasonMessage: `${key} said ${prompt}` } },
        answer({ content: { parts: [{ text: { prompt } }] } })
      ]
      for (const body of bodies) {
        expectSilence((yield* ask(prompt, options, () => json(body))).exit)
        expectSilence((yield* askStream(prompt, options, () => sse(body))).exit)
      }
    }))

  it.effect("a request refused before it is sent", () =>
    Effect.gen(function*() {
      const call = LlmRequest.ToolCallPart.make({ id: "c", name: "look", arguments: prompt })
      const messages = [LlmRequest.user(prompt), LlmRequest.assistant([call])] as const
      expectSilence((yield* ask({ messages }, options)).exit)
      const image = LlmRequest.ImagePart.make({ source: { _tag: "Url", url: `https://x.test/${query}` } })
      expectSilence((yield* ask({ messages: [LlmRequest.user([image])] }, options)).exit)
    }))
})
