import { describe, expect, it } from "@effect/vitest"
import { Google } from "@perdure/providers"
import { Config, ConfigProvider, Effect, Exit, Layer, Redacted } from "effect"
import { LlmProvider, LlmRequest } from "perdure"
import { failureOf, json, recording } from "./support/client.ts"
import { answer, ask, askStream, key, sse } from "./support/google.ts"

const { assistant, system, text, toolResult, user } = LlmRequest
const call = (id: string, name: string, args: string) => LlmRequest.ToolCallPart.make({ id, name, arguments: args })
const thought = (words: string, signature?: string) =>
  LlmRequest.ReasoningPart.make({ text: words, ...(signature === undefined ? {} : { signature }) })
const base64 = (mediaType: string) => ({ _tag: "Base64", data: "AAAA", mediaType }) as const
const url = (url: string) => ({ _tag: "Url", url }) as const
const image = (source: typeof LlmRequest.Source.Type, detail?: "auto" | "low" | "high") =>
  LlmRequest.ImagePart.make({ source, ...(detail === undefined ? {} : { detail }) })
const file = (source: typeof LlmRequest.Source.Type) => LlmRequest.FilePart.make({ source })
const look = { name: "look", description: "Looks.", parameters: { type: "object", properties: {} } }
const hi = [user("hi")] as const
const person = (...parts: ReadonlyArray<unknown>) => ({ role: "user", parts })
const model = (...parts: ReadonlyArray<unknown>) => ({ role: "model", parts })

const rows: ReadonlyArray<readonly [string, LlmRequest.Input, Record<string, unknown>, string?]> = [
  ["a prompt is the user's one message", "hi", { contents: [person({ text: "hi" })] }],
  [
    "system messages are one instruction, wherever they stand",
    { messages: [system("Be kind."), user("hi"), system("Be brief.")] },
    { systemInstruction: { parts: [{ text: "Be kind." }, { text: "Be brief." }] }, contents: [person({ text: "hi" })] }
  ],
  [
    "a conversation",
    { messages: [user("hi"), assistant("hello"), user("how?")] },
    { contents: [person({ text: "hi" }), model({ text: "hello" }), person({ text: "how?" })] }
  ],
  [
    "bytes are sent along",
    { messages: [user([text("see"), image(base64("image/png")), file(base64("application/pdf"))])] },
    {
      contents: [person(
        { text: "see" },
        { inlineData: { mimeType: "image/png", data: "AAAA" } },
        { inlineData: { mimeType: "application/pdf", data: "AAAA" } }
      )]
    }
  ],
  [
    "addresses are fetched, their media types told by their ends",
    { messages: [user([image(url("https://x.test/a.JPG?size=2#top")), file(url("gs://b/c.pdf"))])] },
    {
      contents: [person(
        { fileData: { mimeType: "image/jpeg", fileUri: "https://x.test/a.JPG?size=2#top" } },
        { fileData: { mimeType: "application/pdf", fileUri: "gs://b/c.pdf" } }
      )]
    }
  ],
  [
    "what Google keeps needs no media type",
    {
      messages: [user([
        file(url("https://generativelanguage.googleapis.com/v1beta/files/abc")),
        file(url("https://www.youtube.com/watch?v=1"))
      ])]
    },
    {
      contents: [person(
        { fileData: { fileUri: "https://generativelanguage.googleapis.com/v1beta/files/abc" } },
        { fileData: { fileUri: "https://www.youtube.com/watch?v=1" } }
      )]
    }
  ],
  [
    "a data URL is bytes",
    { messages: [user([image(url("data:image/gif;base64,R0lG"))])] },
    { contents: [person({ inlineData: { mimeType: "image/gif", data: "R0lG" } })] }
  ],
  [
    "tool calls, and their results in one message",
    {
      messages: [
        user("hi"),
        assistant([text("One moment."), call("a", "look", "{\"at\":1}"), call("b", "look", " ")]),
        toolResult({ id: "a", name: "look" }, "red"),
        system("Careful."),
        toolResult({ id: "b", name: "look" }, "broken", { isError: true }),
        user("well?")
      ]
    },
    {
      systemInstruction: { parts: [{ text: "Careful." }] },
      contents: [
        person({ text: "hi" }),
        model(
          { text: "One moment." },
          { functionCall: { id: "a", name: "look", args: { at: 1 } } },
          { functionCall: { id: "b", name: "look", args: {} } }
        ),
        person(
          { functionResponse: { id: "a", name: "look", response: { output: "red" } } },
          { functionResponse: { id: "b", name: "look", response: { error: "broken" } } }
        ),
        person({ text: "well?" })
      ]
    }
  ],
  [
    "calls without ids have none",
    { messages: [user("hi"), assistant([call("", "look", "{}")]), toolResult({ id: "", name: "look" }, "red")] },
    {
      contents: [
        person({ text: "hi" }),
        model({ functionCall: { name: "look", args: {} } }),
        person({ functionResponse: { name: "look", response: { output: "red" } } })
      ]
    }
  ],
  [
    "thoughts go back with their signatures",
    { messages: [user("hi"), assistant([thought("hm", "s1"), thought("so"), thought("", "s2"), text("yes")])] },
    {
      contents: [
        person({ text: "hi" }),
        model(
          { text: "hm", thought: true, thoughtSignature: "s1" },
          { text: "so", thought: true },
          { text: "yes", thoughtSignature: "s2" }
        )
      ]
    }
  ],
  [
    "a signature without a text signs the call after it",
    { messages: [user("hi"), assistant([thought("", "s"), call("a", "look", "{}"), call("b", "look", "{}")])] },
    {
      contents: [
        person({ text: "hi" }),
        model(
          { functionCall: { id: "a", name: "look", args: {} }, thoughtSignature: "s" },
          { functionCall: { id: "b", name: "look", args: {} } }
        )
      ]
    },
    "gemini-3-pro-preview"
  ],
  [
    "a signature at the end has a part of its own",
    { messages: [user("hi"), assistant([text("yes"), text(""), thought("", "s")])] },
    { contents: [person({ text: "hi" }), model({ text: "yes" }, { text: "", thoughtSignature: "s" })] }
  ],
  [
    "newer models are told of a call whose signature is missing",
    { messages: [user("hi"), assistant([text("so"), call("a", "look", "{}"), call("b", "look", "{}")])] },
    {
      contents: [
        person({ text: "hi" }),
        model(
          { text: "so" },
          { functionCall: { id: "a", name: "look", args: {} }, thoughtSignature: "skip_thought_signature_validator" },
          { functionCall: { id: "b", name: "look", args: {} } }
        )
      ]
    },
    "models/gemini-3-flash"
  ],
  [
    "tools by their JSON Schema",
    { messages: hi, tools: [look, { name: "bare", parameters: { type: "object" } }] },
    {
      contents: [person({ text: "hi" })],
      tools: [{
        functionDeclarations: [
          { name: "look", description: "Looks.", parametersJsonSchema: { type: "object", properties: {} } },
          { name: "bare", parametersJsonSchema: { type: "object" } }
        ]
      }]
    }
  ],
  [
    "every setting has its place",
    {
      messages: hi,
      temperature: 0,
      topP: 0.5,
      topK: 40,
      maxOutputTokens: 100,
      stop: ["END"],
      seed: 7,
      presencePenalty: 1,
      frequencyPenalty: -1
    },
    {
      contents: [person({ text: "hi" })],
      generationConfig: {
        temperature: 0,
        topP: 0.5,
        topK: 40,
        maxOutputTokens: 100,
        stopSequences: ["END"],
        seed: 7,
        presencePenalty: 1,
        frequencyPenalty: -1
      }
    }
  ],
  [
    "extras are merged into the body, down to the lists",
    {
      messages: hi,
      temperature: 1,
      stop: ["a", "b"],
      extras: {
        google: {
          generationConfig: { thinkingConfig: { thinkingBudget: 0 }, stopSequences: ["c"] },
          safetySettings: []
        },
        openai: { user: "u" }
      }
    },
    {
      contents: [person({ text: "hi" })],
      generationConfig: { temperature: 1, stopSequences: ["c"], thinkingConfig: { thinkingBudget: 0 } },
      safetySettings: []
    }
  ]
]

const formats: ReadonlyArray<readonly [typeof LlmRequest.ResponseFormat.Type, Record<string, unknown>]> = [
  [{ _tag: "Text" }, { responseMimeType: "text/plain" }],
  [{ _tag: "Json" }, { responseMimeType: "application/json" }],
  [
    { _tag: "JsonSchema", name: "n", schema: { type: "object" }, strict: true },
    { responseMimeType: "application/json", responseJsonSchema: { type: "object" } }
  ]
]

const choices: ReadonlyArray<readonly [typeof LlmRequest.ToolChoice.Type | undefined, boolean, unknown]> = [
  [undefined, false, undefined],
  [undefined, true, { mode: "VALIDATED" }],
  ["auto", false, { mode: "AUTO" }],
  ["auto", true, { mode: "VALIDATED" }],
  ["required", true, { mode: "ANY" }],
  ["none", true, { mode: "NONE" }],
  [{ name: "look" }, false, { mode: "ANY", allowedFunctionNames: ["look"] }]
]

describe("the body of a request", () => {
  it.effect.each(rows)("%s", ([_, input, body, model = "m"]) =>
    Effect.gen(function*() {
      expect((yield* ask(input, { model })).body).toEqual(body)
    }))

  it.effect.each(formats)("the format %o", ([format, config]) =>
    Effect.gen(function*() {
      expect((yield* ask({ messages: hi, responseFormat: format })).body).toMatchObject({ generationConfig: config })
    }))

  it.effect.each(choices)(
    "the choice of a tool is $0, strict: $1",
    ([toolChoice, strict, config]) =>
      Effect.gen(function*() {
        const { body } = yield* ask({ messages: hi, tools: [{ ...look, strict }], ...(toolChoice && { toolChoice }) })
        expect((body as { toolConfig?: { functionCallingConfig: unknown } }).toolConfig?.functionCallingConfig).toEqual(
          config
        )
      })
  )

  it.effect.each(
    [["low", "MEDIA_RESOLUTION_LOW"], ["high", "MEDIA_RESOLUTION_HIGH"], ["auto", undefined]] as const
  )("images looked at with detail %s", ([detail, resolution]) =>
    Effect.gen(function*() {
      const { body } = yield* ask({
        messages: [user([image(base64("image/png"), detail)]), user([image(base64("image/png"), detail)])]
      })
      expect((body as { generationConfig?: { mediaResolution: unknown } }).generationConfig?.mediaResolution).toBe(
        resolution
      )
    }))
})

const refusals: ReadonlyArray<readonly [string, LlmRequest.Options, string, string]> = [
  ["one tool at a time", { messages: hi, parallelToolCalls: false }, "parallelToolCalls", "several tools"],
  ["an address without a known end", { messages: [user([image(url("https://x.test/a"))])] }, "messages", "media type"],
  ["an address with a strange end", { messages: [user([file(url("https://x.test/a.xyz"))])] }, "messages", "base64"],
  [
    "images of unlike detail",
    { messages: [user([image(base64("image/png"), "low"), image(base64("image/png"))])] },
    "messages",
    "resolution"
  ],
  [
    "arguments that are no object",
    { messages: [user("hi"), assistant([call("a", "look", "[1")])] },
    "messages",
    "arguments"
  ],
  ["a result without a name", { messages: [toolResult({ id: "a", name: "" }, "red")] }, "messages", "name"],
  ["nothing but a system message", { messages: [system("Be kind.")] }, "messages", "besides"],
  ["what JSON cannot express", { messages: hi, extras: { google: { n: 1n } } }, "request", "JSON"]
]

describe("what the API cannot do is refused before anything is sent", () => {
  it.effect.each(refusals)("%s", ([_, input, param, detail]) =>
    Effect.gen(function*() {
      const { exit, requests } = yield* ask(input)
      expect(failureOf(exit)).toMatchObject({ _tag: "InvalidRequest", param, detail: expect.stringContaining(detail) })
      expect(requests).toEqual([])
    }))
})

describe("where a request goes", () => {
  const addresses: ReadonlyArray<readonly [string, string | undefined, string]> = [
    ["m", undefined, "https://generativelanguage.googleapis.com/v1beta/models/m:"],
    ["m 1", "http://x.test/v1/", "http://x.test/v1/models/m%201:"],
    ["tunedModels/t", "http://x.test", "http://x.test/tunedModels/t:"]
  ]
  it.effect.each(addresses)("the model %s at %s", ([model, baseUrl, url]) =>
    Effect.gen(function*() {
      const whole = yield* ask("hi", { model, baseUrl })
      expect(whole.requests[0]?.url).toBe(`${url}generateContent`)
      const streamed = yield* askStream("hi", { model, baseUrl }, () => sse(answer()))
      expect(streamed.requests[0]?.url).toBe(`${url}streamGenerateContent?alt=sse`)
    }).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map()))))

  it.effect("a query is kept, and the key is in a header alone", () =>
    Effect.gen(function*() {
      const { requests } = yield* askStream("hi", { baseUrl: "http://x.test?a=1" }, () => sse(answer()))
      expect(requests[0]?.url).toBe("http://x.test/models/m:streamGenerateContent?a=1&alt=sse")
      expect(requests[0]?.headers).toMatchObject({ "x-goog-api-key": key, accept: "text/event-stream" })
      expect(requests[0]?.headers["authorization"]).toBeUndefined()
    }))

  it.effect("headers win, and a key of none is not sent", () =>
    Effect.gen(function*() {
      const { requests } = yield* ask("hi", { apiKey: "none", headers: { Authorization: "Bearer t", Accept: "x/y" } })
      expect(requests[0]?.headers).toMatchObject({ authorization: "Bearer t", accept: "x/y" })
      expect(requests[0]?.headers["x-goog-api-key"]).toBeUndefined()
    }))
})

describe("configuration", () => {
  const asked = (values: Record<string, string>, layer = Google.layer({ model: "m" })) => {
    const client = recording(() => json(answer()))
    return LlmProvider.generate("hi").pipe(
      Effect.provide(layer.pipe(Layer.provide(client.layer))),
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(values)))),
      Effect.exit,
      Effect.map((exit) => ({ exit, request: client.requests.at(-1) }))
    )
  }

  const keys: ReadonlyArray<readonly [Record<string, string>, string]> = [
    [{ GOOGLE_API_KEY: "one", GEMINI_API_KEY: "two" }, "one"],
    [{ GEMINI_API_KEY: " two\n" }, "two"],
    [{ GOOGLE_API_KEY: " ", GEMINI_API_KEY: "two" }, "two"]
  ]
  it.effect.each(keys)("the key out of %o", ([values, key]) =>
    Effect.gen(function*() {
      expect((yield* asked(values)).request?.headers["x-goog-api-key"]).toBe(key)
    }))

  it.effect("the base URL", () =>
    Effect.gen(function*() {
      const { request } = yield* asked({ GOOGLE_API_KEY: "k", GOOGLE_BASE_URL: "http://x.test/v9" })
      expect(request?.url).toBe("http://x.test/v9/models/m:generateContent")
    }))

  it.effect.each([{}, { GOOGLE_API_KEY: "a b" }, { GOOGLE_API_KEY: "k", GOOGLE_BASE_URL: "nowhere" }])(
    "%o is a ConfigError that shows no key",
    (values) =>
      Effect.gen(function*() {
        const { exit } = yield* asked(values)
        expect(Exit.isFailure(exit) && exit.cause._tag === "Fail" && exit.cause.error).toMatchObject({
          _op: expect.stringMatching(/Data|Or/)
        })
        expect(String(exit)).not.toContain("a b")
      })
  )

  it.effect("all options can come from the configuration", () =>
    Effect.gen(function*() {
      const layer = Google.layerConfig({
        model: Config.string("MODEL"),
        apiKey: Config.redacted("KEY"),
        contextWindow: Config.integer("WINDOW")
      })
      const { request } = yield* asked({ MODEL: "g", KEY: "k", WINDOW: "10" }, layer)
      expect(request?.url).toContain("/models/g:")
      expect(request?.headers["x-goog-api-key"]).toBe("k")
      const { exit } = yield* asked({ MODEL: "g", KEY: "k", WINDOW: "0" }, layer)
      expect(Exit.isFailure(exit) && exit.cause._tag).toBe("Fail")
      expect(String(exit)).toContain("contextWindow")
    }))

  it("E1: bad options are refused when the layer is built", () => {
    const bad: ReadonlyArray<readonly [keyof Google.Options, Partial<Google.Options>]> = [
      ["model", { model: "" }],
      ["apiKey", { apiKey: Redacted.make("a b") }],
      ["baseUrl", { baseUrl: "ftp://x" }],
      ["headers", { headers: { "a b": "c" } }],
      ["contextWindow", { contextWindow: 0 }],
      ["name", { name: " " }],
      ["timeouts", { timeouts: { idle: -1 } }]
    ]
    for (const [field, options] of bad) {
      expect(() => Google.layer({ model: "m", ...options })).toThrow(new RegExp(`Google\\.layer\\(\\{ ${field}`))
    }
  })
})
