import { HttpClient, HttpClientError } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { OpenAi } from "@perdure/providers"
import { Cause, Effect, Exit, Layer, Redacted } from "effect"
import * as fc from "effect/FastCheck"
import { inspect } from "node:util"
import { LlmProvider, LlmRequest } from "perdure"
import * as Anthropic from "./support/anthropic.ts"
import { completion, failureOf, json } from "./support/client.ts"
import * as Google from "./support/google.ts"
import { call, type Options, parts, type Provider, providers } from "./support/providers.ts"
import { delta, eventStream, finish, sse } from "./support/stream.ts"

const key = "tok-7f3a9c1e5b2d8046aa"
const header = "header-secret-5f1c"
const query = "query-secret-77aa"
const prompt = "My name is Ada Lovelace, \"born\" in 1815;\nmy account number is 4711-0815."
const quoted = JSON.stringify(prompt).slice(1, -1)

const options = {
  apiKey: Redacted.make(key),
  headers: { "x-gateway-key": header },
  baseUrl: `http://x.test/v1?token=${query}`
}

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
      Cause.pretty(cause),
      Cause.pretty(cause, { renderErrorCause: true })
    ]
  ) for (const secret of [key, header, query, "Ada Lovelace", "4711-0815"]) expect(told).not.toContain(secret)
}

/** A sentence, the failure that it is, and what the server says. */
type Saying<A> = readonly [name: string, tag: string, said: A]

/** How one wire format may tell a secret. */
interface Dialect extends Provider {
  /** An error that quotes the key, a header, the address and the prompt wherever there is room. */
  readonly chatty: unknown
  /** Answers that are failures. */
  readonly answers: ReadonlyArray<Saying<unknown>>
  /** Streams that are failures. */
  readonly streams: ReadonlyArray<Saying<string>>
  /** Requests that the API has no word for. */
  readonly refused: ReadonlyArray<LlmRequest.Input>
}

const all = `Bad key ${key} or ${header} or ${query}: ${prompt}`

const openAi: Pick<Dialect, "chatty" | "refused"> = {
  chatty: {
    error: {
      message: all,
      type: `type_${key}`,
      code: key,
      param: prompt,
      metadata: { raw: `upstream said: ${quoted}`, error_type: key }
    }
  },
  refused: [{ messages: [LlmRequest.user(prompt)], topK: 3 }]
}

const failed = { status: "failed", error: { code: key, message: prompt } }

const anthropicStream = (bad: string) =>
  `${Anthropic.sse(...Anthropic.events(Anthropic.textBlock(0, "hi")).slice(0, -2))}${bad}`
const anthropicChatty = (type: string) => ({
  type: "error",
  error: { type, message: all, details: { error_code: `code_${key}` } },
  request_id: `req_${key}`
})
const refusal = { stop_reason: "refusal", stop_details: { category: key, explanation: `You asked: ${prompt}` } }

const googleAnswers: ReadonlyArray<Saying<unknown>> = [
  [
    "an answer that was filtered",
    "ContentFiltered",
    Google.answer({ finishReason: "SAFETY", finishMessage: `not this: ${prompt}` })
  ],
  [
    "an answer that ends for a strange reason",
    "MalformedResponse",
    Google.answer({ finishReason: prompt, content: undefined })
  ],
  [
    "a prompt that was blocked",
    "ContentFiltered",
    { promptFeedback: { blockReason: prompt, blockReasonMessage: `${key} said ${prompt}` } }
  ],
  ["an answer that cannot be read", "MalformedResponse", Google.answer({ content: { parts: [{ text: { prompt } }] } })]
]
const toolCall = (args: string) => LlmRequest.ToolCallPart.make({ id: "c", name: "look", arguments: args })

const dialects: ReadonlyArray<Dialect> = [
  {
    ...providers.chat,
    ...openAi,
    answers: [[
      "an answer that cannot be read",
      "MalformedResponse",
      completion({ choices: [{ message: { content: { prompt } } }] })
    ]],
    streams: [
      [
        "an error inside a stream",
        "ProviderUnavailable",
        sse({ error: { message: all, code: key, param: prompt } })
      ],
      [
        "an error line inside a stream",
        "ProviderUnavailable",
        `${JSON.stringify({ error: `${key}: ${prompt}` })}\n\n`
      ],
      ["a frame that is no JSON", "MalformedResponse", sse(delta({ content: "a" }), `${key} ${header} ${quoted}`)],
      ["a frame of another shape", "MalformedResponse", sse(delta({ content: { [key]: prompt } }))],
      ["a line of no format", "MalformedResponse", `${key} ${header} ${quoted}\n\n`],
      [
        "a refusal in a stream",
        "ContentFiltered",
        sse(delta({ refusal: `I cannot say: ${prompt} ${key}` }), finish("stop"))
      ],
      ["a stream that is cut", "StreamInterrupted", sse(delta({ content: "a" }))]
    ]
  },
  {
    ...providers.responses,
    ...openAi,
    answers: [["a failed answer", "ProviderUnavailable", { output: [], ...failed }]],
    streams: [
      ["an error inside a stream", "ProviderUnavailable", sse({ type: "error", message: `${key} ${prompt}` })],
      ["a failed answer in a stream", "ProviderUnavailable", sse({ type: "response.failed", response: failed })]
    ]
  },
  {
    ...providers.anthropic,
    chatty: anthropicChatty(`type_${key}`),
    answers: [["a refusal that explains itself", "ContentFiltered", Anthropic.message(refusal)]],
    streams: [
      ["an error event", "Overloaded", anthropicStream(Anthropic.sse(anthropicChatty("overloaded_error")))],
      [
        "a refusal in a stream",
        "ContentFiltered",
        anthropicStream(Anthropic.sse({ type: "message_delta", delta: refusal }))
      ],
      [
        "an event that is not JSON",
        "MalformedResponse",
        anthropicStream(`event: message_start\ndata: ${key} ${prompt.replace("\n", " ")}\n\n`)
      ],
      ["a line that is no event", "MalformedResponse", anthropicStream(`${key} ${prompt}\n\n`)]
    ],
    refused: [{ messages: [LlmRequest.user(prompt), LlmRequest.assistant([toolCall(`{"said": "${prompt}`)])] }]
  },
  {
    ...providers.google,
    chatty: {
      error: {
        code: 400,
        message: all,
        status: key,
        details: [
          { "@type": "x/google.rpc.ErrorInfo", reason: "KEY", metadata: { key } },
          { "@type": "x/google.rpc.BadRequest", fieldViolations: [{ field: prompt, description: quoted }] },
          { "@type": "x/google.rpc.RequestInfo", requestId: `req-${key}` }
        ]
      }
    },
    answers: googleAnswers,
    streams: googleAnswers.map(([name, tag, answer]) => [`${name}, in a stream`, tag, sse(answer)]),
    refused: [
      { messages: [LlmRequest.user(prompt), LlmRequest.assistant([toolCall(prompt)])] },
      {
        messages: [
          LlmRequest.user([LlmRequest.ImagePart.make({ source: { _tag: "Url", url: `https://x.test/${query}` } })])
        ]
      }
    ]
  }
]

describe.each(dialects)("O3: no failure of $title tells the key, a header, the address or the prompt", (dialect) => {
  const { answers, chatty, layer, refused, streams } = dialect
  const generated = (reply: () => Response, input: LlmRequest.Input = prompt, more: Options = {}) =>
    Effect.map(call(layer({ ...options, ...more }), reply, LlmProvider.generate(input)), ({ exit }) => exit)
  const streamed = (reply: () => Response) => Effect.map(call(layer(options), reply, parts(prompt)), ({ exit }) => exit)
  const error = (status: number) => () =>
    json(chatty, {
      status,
      headers: { "x-request-id": `req-${key}`, "request-id": `req-${key}`, location: `/${key}` }
    })

  it.effect.each([200, 302, 307, 400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 499, 500, 503, 504, 529])(
    "an error that quotes them all, with status %i",
    (status) =>
      Effect.gen(function*() {
        expectSilence(yield* generated(error(status)))
        expectSilence(yield* streamed(error(status)))
      })
  )

  it.effect.each<readonly [string, string]>([
    ["whole", JSON.stringify({ error: { message: `You said: ${prompt}` } })],
    ["as JSON in a message", JSON.stringify({ error: { message: `Body: {"content":"${quoted}"}` } })],
    ["in the error inside a message", JSON.stringify({ error: { message: JSON.stringify(chatty) } })],
    ["in a list", JSON.stringify([chatty])],
    ["in half an error", JSON.stringify(chatty).slice(0, -30)],
    ["in half a message", `{"error":{"message":"You said: ${quoted}`],
    ["cut short", JSON.stringify({ error: { message: `You said: ${prompt.slice(0, 40)}...` } })],
    ["from the middle on", JSON.stringify({ error: { message: `You said: ...${prompt.slice(5)}` } })],
    ["as the name of an error", JSON.stringify({ error: { message: `${key}: bad`, type: prompt } })],
    ["in plain text", `bad gateway for ${prompt} with ${key}`],
    ["in HTML", `<html><body>denied: ${prompt} (${key})</body></html>`],
    ["as the text of an error", JSON.stringify({ error: prompt })],
    ["as Python writes it", JSON.stringify({ detail: `[{'input': {'content': '${prompt.replace("\n", "\\n")}'}}]` })]
  ])("the prompt %s", ([_, body]) =>
    Effect.gen(function*() {
      for (const status of [200, 400, 502]) {
        expectSilence(yield* generated(() => new Response(body, { status })))
        expectSilence(yield* streamed(() => new Response(body, { status })))
      }
    }))

  it.effect.each(answers)("%s", ([_, tag, answer]) =>
    Effect.gen(function*() {
      const exit = yield* generated(() => json(answer))
      expect(failureOf(exit)._tag).toBe(tag)
      expectSilence(exit)
    }))

  it.effect.each(streams)("%s", ([_, tag, body]) =>
    Effect.gen(function*() {
      const exit = yield* streamed(() => eventStream(body, { "x-request-id": `req-${key}` }))
      expect(failureOf(exit)._tag).toBe(tag)
      expectSilence(exit)
    }))

  it.effect.each(refused)("a request refused before it is sent", (input) =>
    Effect.gen(function*() {
      const exit = yield* generated(() => json(dialect.answer), input)
      expect(failureOf(exit)._tag).toBe("InvalidRequest")
      expectSilence(exit)
    }))

  it.effect("a prompt longer than an error looks at, quoted from anywhere", () =>
    Effect.gen(function*() {
      const long = Array.from({ length: 20_000 }, (_, i) => i.toString(36)).join(" ")
      for (const start of [0, 1, 30_001]) {
        const body = { error: { message: `cannot take ${long.slice(start)}` } }
        const exit = yield* generated(() => json(body, { status: 400 }), long)
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
        Effect.provide(layer(options).pipe(Layer.provide(failing))),
        Effect.exit
      )
      expectSilence(exit)
      expect(failureOf(exit).detail).toContain("is invalid")
    }))

  it.effect("a status that the program's own client makes a failure of is read as ever", () =>
    Effect.gen(function*() {
      const exit = yield* generated(error(429), prompt, { transformClient: HttpClient.filterStatusOk })
      expect(failureOf(exit)).toMatchObject({ _tag: "RateLimited", status: 429 })
      expectSilence(exit)
    }))
})

describe("what is left of a provider's words", () => {
  it.effect("every text of a request counts", () =>
    Effect.gen(function*() {
      const texts = Array.from({ length: 7 }, (_, i) => `secret text number ${i} of this request`)
      const [system, user, said, reasoned, args, result, extra] = texts as [string, ...Array<string>]
      const input: LlmRequest.Input = {
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
      }
      const reply = () => json({ error: { message: texts.join(" | ") } }, { status: 500 })
      const { exit } = yield* call(providers.chat.layer(options), reply, LlmProvider.generate(input))
      expect(failureOf(exit).detail).toBe(texts.map(() => "<redacted>").join(" | "))
    }))

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
