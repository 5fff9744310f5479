import { HttpClient, HttpClientError } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { OpenAi } from "@perdure/providers"
import { Cause, Effect, Exit, Layer, Redacted } from "effect"
import * as fc from "effect/FastCheck"
import { inspect } from "node:util"
import { LlmProvider, LlmRequest } from "perdure"
import { ask, completion, failureOf, json } from "./support/client.ts"
import { delta, eventStream, finish, sse, streamed } from "./support/stream.ts"

const key = "tok-7f3a9c1e5b2d8046aa"
const header = "header-secret-5f1c"
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
    Cause.pretty(cause),
    Cause.pretty(cause, { renderErrorCause: true })
  ]
}

const expectSilence = (exit: Exit.Exit<unknown, unknown>) => {
  for (const told of shown(exit)) {
    for (const secret of [key, header, "Ada Lovelace", "4711-0815"]) expect(told).not.toContain(secret)
  }
}

const options = { apiKey: Redacted.make(key), headers: { "api-key": header } }

/** A server that quotes the key, a header and the prompt wherever there is room. */
const chatty = (status: number) => () =>
  json({
    error: {
      message: `Bad key ${key} or ${header}: ${prompt}`,
      type: `type_${key}`,
      code: key,
      param: prompt,
      metadata: { raw: `upstream said: ${quoted}`, error_type: key }
    }
  }, { status, headers: { "x-request-id": `req-${key}` } })

describe("O3: no failure tells the key, a header or the prompt", () => {
  it.effect.each([200, 307, 400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 503])(
    "an error that quotes them all, with status %i",
    (status) =>
      Effect.gen(function*() {
        const { exit } = yield* ask(prompt, options, chatty(status))
        expectSilence(exit)
      })
  )

  const quotations: ReadonlyArray<readonly [string, string]> = [
    ["whole", JSON.stringify({ error: { message: `You said: ${prompt}` } })],
    ["as JSON in a message", JSON.stringify({ error: { message: `Body: {"content":"${quoted}"}` } })],
    ["in half a JSON body", `{"error":{"message":"You said: ${quoted}`],
    ["cut short", JSON.stringify({ error: { message: `You said: ${prompt.slice(0, 40)}...` } })],
    ["from the middle on", JSON.stringify({ error: { message: `You said: ...${prompt.slice(5)}` } })],
    ["in plain text", `bad gateway for ${prompt} with ${key}`],
    ["in HTML", `<html><body>denied: ${prompt} (${key})</body></html>`],
    ["as the text of an error", JSON.stringify({ error: prompt })],
    ["as Python writes it", JSON.stringify({ detail: `[{'input': {'content': '${prompt.replace("\n", "\\n")}'}}]` })]
  ]
  it.effect.each(quotations)("the prompt %s", ([_, body]) =>
    Effect.gen(function*() {
      const { exit } = yield* ask(prompt, options, () => new Response(body, { status: 400 }))
      expectSilence(exit)
    }))

  it.effect("every text of a request counts", () =>
    Effect.gen(function*() {
      const texts = Array.from({ length: 7 }, (_, i) => `secret text number ${i} of this request`)
      const [system, user, said, reasoned, args, result, extra] = texts as [string, ...Array<string>]
      const { exit } = yield* ask(
        {
          messages: [
            LlmRequest.system(system),
            LlmRequest.user(user ?? ""),
            LlmRequest.assistant([
              LlmRequest.text(said ?? ""),
              LlmRequest.ReasoningPart.make({ text: reasoned ?? "" }),
              LlmRequest.ToolCallPart.make({ id: "c", name: "look", arguments: args ?? "" })
            ]),
            LlmRequest.toolResult({ id: "c", name: "look" }, result ?? "")
          ],
          extras: { openai: { prediction: { content: [extra] } } }
        },
        options,
        () => json({ error: { message: texts.join(" | ") } }, { status: 500 })
      )
      expect(failureOf(exit).detail).toBe(texts.map(() => "<redacted>").join(" | "))
    }))

  it.effect("a prompt longer than an error looks at, quoted from anywhere", () =>
    Effect.gen(function*() {
      const long = Array.from({ length: 20_000 }, (_, i) => i.toString(36)).join(" ")
      for (const start of [0, 1, 30_001]) {
        const { exit } = yield* ask(long, options, () =>
          json({ error: { message: `cannot take ${long.slice(start)}` } }, { status: 400 }))
        expect(failureOf(exit).detail).toMatch(/^cannot take <redacted>…?$/)
      }
    }))

  it.effect("a transport that quotes the request in its own error", () =>
    Effect.gen(function*() {
      const failing = Layer.succeed(
        HttpClient.HttpClient,
        HttpClient.make((request) =>
          Effect.fail(
            new HttpClientError.RequestError({
              request,
              reason: "Transport",
              cause: new TypeError(`Headers.append: "Bearer ${key}" is invalid; ${prompt}; ${header}`)
            })
          )
        )
      )
      const exit = yield* LlmProvider.generate(prompt).pipe(
        Effect.provide(OpenAi.layer({ model: "m", ...options }).pipe(Layer.provide(failing))),
        Effect.exit
      )
      expectSilence(exit)
      expect(failureOf(exit).detail).toContain("is invalid")
    }))

  it.effect("a status that the program's own client makes a failure of is read as ever", () =>
    Effect.gen(function*() {
      const { exit } = yield* ask(prompt, { ...options, transformClient: HttpClient.filterStatusOk }, chatty(429))
      expect(failureOf(exit)).toMatchObject({ _tag: "RateLimited", status: 429 })
      expectSilence(exit)
    }))

  const frames: ReadonlyArray<readonly [string, Partial<OpenAi.Options>, string]> = [
    [
      "an error inside a stream",
      {},
      sse({ error: { message: `${key} ${header} ${prompt}`, code: key, param: prompt } })
    ],
    ["an error line inside a stream", {}, `${JSON.stringify({ error: `${key}: ${prompt}` })}\n\n`],
    ["a frame that is no JSON", {}, sse(delta({ content: "a" }), `${key} ${header} ${quoted}`)],
    ["a frame of another shape", {}, sse(delta({ content: { [key]: prompt } }))],
    ["a line of no format", {}, `${key} ${header} ${quoted}\n\n`],
    ["a refusal in a stream", {}, sse(delta({ refusal: `I cannot say: ${prompt} ${key}` }), finish("stop"))],
    ["a stream that is cut", {}, sse(delta({ content: "a" }))],
    ["an error inside a Responses stream", { api: "responses" }, sse({ type: "error", message: `${key} ${prompt}` })],
    [
      "a failed Responses stream",
      { api: "responses" },
      sse({ type: "response.failed", response: { status: "failed", error: { code: key, message: prompt } } })
    ]
  ]
  it.effect.each(frames)("%s", ([_, more, body]) =>
    Effect.gen(function*() {
      const { exit } = yield* streamed(
        () => eventStream(body, { "x-request-id": `req-${key}` }),
        { ...options, ...more },
        prompt
      )
      expectSilence(exit)
    }))

  it.effect("a request refused before it is sent", () =>
    Effect.gen(function*() {
      const { exit } = yield* ask({ messages: [LlmRequest.user(prompt)], topK: 3 }, options)
      expectSilence(exit)
    }))

  it.effect("an answer that cannot be read", () =>
    Effect.gen(function*() {
      const { exit } = yield* ask(prompt, options, () =>
        json(completion({ choices: [{ message: { content: { prompt } } }] })))
      expectSilence(exit)
    }))
})

describe("what is left of a provider's words", () => {
  const detail = (message: string, secrets: ReadonlyArray<string>) =>
    OpenAi.failure({ status: 500, headers: {}, body: message, model: "m", now: 0, secrets }).detail

  it("all but the quotation", () => {
    expect(detail(`Invalid content '${prompt}' in messages[0]`, [prompt])).toBe(
      "Invalid content '<redacted>' in messages[0]"
    )
  })

  it("all but a short quotation, as text and inside JSON", () => {
    expect(detail("a \"b\" cd, {\"x\":\"a \\\"b\\\" cd\"}", ["a \"b\" cd"])).toBe("<redacted>, {\"x\":\"<redacted>\"}")
  })

  it("all, where it shares no more than a few words with the prompt", () => {
    const words = "The model is overloaded with other requests"
    expect(detail(words, ["Explain why the model is overloaded today"])).toBe(words)
  })

  it("no 24 characters of any secret, wherever they stand", () => {
    const text = fc.string({ minLength: 24, maxLength: 300, unit: "grapheme-ascii" })
    fc.assert(
      fc.property(text, fc.nat(), fc.nat(), fc.string(), fc.string(), (secret, from, size, before, after) => {
        const start = from % (secret.length - 23)
        const piece = secret.slice(start, start + 24 + size % (secret.length - start - 23))
        const told = detail(`x${before}${piece}${after}`, [secret])
        for (let at = 0; at + 24 <= piece.length; at++) expect(told).not.toContain(piece.slice(at, at + 24))
      }),
      { numRuns: 2000 }
    )
  })

  it("is found in time that grows with the prompt and no faster", () => {
    const start = performance.now()
    detail("a".repeat(60_000), ["a".repeat(2_000_000)])
    detail(" lorem ipsum".repeat(5_000), ["lorem ipsum dolor ".repeat(100_000)])
    expect(performance.now() - start).toBeLessThan(10_000)
  }, 20_000)
})
