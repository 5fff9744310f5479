import { HttpClient } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { OpenAi } from "@perdure/providers"
import { ConfigProvider, Effect, Exit, Layer, Redacted, Tracer } from "effect"
import { InvalidOption, LlmProvider, LlmRequest } from "perdure"
import { ask, bodyOf, completion, failureOf, json, key, recording } from "./support/client.ts"

const { assistant, system, text, toolResult, user } = LlmRequest

describe("the body of a request", () => {
  it.effect("a prompt is one message of the user, and nothing else is sent", () =>
    Effect.gen(function*() {
      const { body } = yield* ask("hello")
      expect(body).toEqual({ model: "m", messages: [{ role: "user", content: "hello" }] })
    }))

  it.effect("every role and part has its place", () =>
    Effect.gen(function*() {
      const { body } = yield* ask({
        messages: [
          system("be kind"),
          user([
            text("what is this?"),
            LlmRequest.ImagePart.make({ source: { _tag: "Url", url: "https://x.example/a.png" }, detail: "low" }),
            LlmRequest.ImagePart.make({ source: { _tag: "Base64", data: "AAAA", mediaType: "image/png" } }),
            LlmRequest.FilePart.make({
              source: { _tag: "Base64", data: "BBBB", mediaType: "application/pdf" },
              name: "a.pdf"
            }),
            LlmRequest.FilePart.make({ source: { _tag: "Base64", data: "CCCC", mediaType: "application/pdf" } }),
            LlmRequest.FilePart.make({ source: { _tag: "Url", url: "data:text/plain;base64,DDDD" } })
          ]),
          assistant([
            LlmRequest.ReasoningPart.make({ text: "thinking it over" }),
            text("let me "),
            text("look"),
            LlmRequest.ToolCallPart.make({ id: "c1", name: "look", arguments: "{\"at\":1}" })
          ]),
          toolResult({ id: "c1", name: "look" }, "a cat"),
          assistant([LlmRequest.ToolCallPart.make({ id: "c2", name: "look", arguments: "" })]),
          toolResult({ id: "c2", name: "look" }, "no eyes", { isError: true }),
          assistant([LlmRequest.ReasoningPart.make({ text: "nothing but thoughts" })])
        ]
      })
      expect(body).toEqual({
        model: "m",
        messages: [
          { role: "system", content: "be kind" },
          {
            role: "user",
            content: [
              { type: "text", text: "what is this?" },
              { type: "image_url", image_url: { url: "https://x.example/a.png", detail: "low" } },
              { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
              { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,BBBB" } },
              { type: "file", file: { filename: "file.pdf", file_data: "data:application/pdf;base64,CCCC" } },
              { type: "file", file: { filename: "file", file_data: "data:text/plain;base64,DDDD" } }
            ]
          },
          {
            role: "assistant",
            content: "let me look",
            tool_calls: [{ id: "c1", type: "function", function: { name: "look", arguments: "{\"at\":1}" } }]
          },
          { role: "tool", tool_call_id: "c1", content: "a cat" },
          {
            role: "assistant",
            content: null,
            tool_calls: [{ id: "c2", type: "function", function: { name: "look", arguments: "" } }]
          },
          { role: "tool", tool_call_id: "c2", content: "no eyes" },
          { role: "assistant", content: "" }
        ]
      })
    }))

  it.effect("every option has its field", () =>
    Effect.gen(function*() {
      const schema = { type: "object", properties: {} }
      const { body } = yield* ask({
        messages: [user("hello")],
        tools: [{ name: "look", description: "looks", parameters: schema, strict: true }, {
          name: "go",
          parameters: schema
        }],
        toolChoice: { name: "look" },
        parallelToolCalls: false,
        responseFormat: { _tag: "JsonSchema", name: "cat", schema, strict: true },
        temperature: 0.5,
        topP: 0.9,
        frequencyPenalty: 1,
        presencePenalty: -1,
        stop: ["END"],
        maxOutputTokens: 100,
        seed: 7
      })
      expect(body).toEqual({
        model: "m",
        messages: [{ role: "user", content: "hello" }],
        tools: [
          { type: "function", function: { name: "look", description: "looks", parameters: schema, strict: true } },
          { type: "function", function: { name: "go", parameters: schema } }
        ],
        tool_choice: { type: "function", function: { name: "look" } },
        parallel_tool_calls: false,
        response_format: { type: "json_schema", json_schema: { name: "cat", schema, strict: true } },
        temperature: 0.5,
        top_p: 0.9,
        frequency_penalty: 1,
        presence_penalty: -1,
        stop: ["END"],
        max_completion_tokens: 100,
        seed: 7
      })
    }))

  it.effect("the plain forms of tool choice and response format", () =>
    Effect.gen(function*() {
      const of = (options: Partial<LlmRequest.Options>) =>
        Effect.map(ask({ messages: [user("hello")], ...options }), ({ body }) => body)
      expect(yield* of({ toolChoice: "required" })).toMatchObject({ tool_choice: "required" })
      expect(yield* of({ responseFormat: { _tag: "Json" } })).toMatchObject({
        response_format: { type: "json_object" }
      })
      expect(yield* of({ responseFormat: { _tag: "Text" } })).toMatchObject({ response_format: { type: "text" } })
    }))

  it.each(
    [
      [undefined, undefined, "max_completion_tokens"],
      ["https://eu.api.openai.com/v1", undefined, "max_completion_tokens"],
      ["https://x.openai.azure.com/openai/v1", undefined, "max_completion_tokens"],
      ["https://notopenai.com/v1", undefined, "max_tokens"],
      ["http://localhost:11434/v1", undefined, "max_tokens"],
      ["http://localhost:8000/v1", "max_completion_tokens", "max_completion_tokens"],
      [undefined, "max_tokens", "max_tokens"]
    ] as const
  )("the limit on tokens at %s, told %s, goes into %s", (baseUrl, maxTokensField, field) =>
    Effect.gen(function*() {
      const { body } = yield* ask({ messages: [user("hello")], maxOutputTokens: 5 }, { baseUrl, maxTokensField })
      expect(body).toMatchObject({ [field]: 5 })
    }).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map())), Effect.runPromise))

  it.effect("extras under the provider's name go over the body, those of others stay out", () =>
    Effect.gen(function*() {
      const request = {
        messages: [user("hello")] as const,
        temperature: 1,
        extras: { openai: { temperature: 2, service_tier: "flex" }, groq: { groq: true } }
      }
      expect((yield* ask(request)).body).toEqual({
        model: "m",
        messages: [{ role: "user", content: "hello" }],
        temperature: 2,
        service_tier: "flex"
      })
      expect((yield* ask(request, { name: "groq" })).body).toMatchObject({ temperature: 1, groq: true })
    }))

  it.each<readonly [string, Partial<LlmRequest.Options>, string]>([
    ["top_k, which the API does not have", { topK: 5 }, "topK"],
    [
      "a file by its address",
      {
        messages: [
          user([LlmRequest.FilePart.make({ source: { _tag: "Url", url: "https://x.example/a.pdf" } })])
        ]
      },
      "messages"
    ],
    ["a value that JSON cannot express", { extras: { openai: { n: 1n } } }, "request"],
    ["a stream where a complete answer is asked for", { extras: { openai: { stream: true } } }, "extras.openai.stream"]
  ])("%s is refused before anything is sent", (_, options, param) =>
    Effect.gen(function*() {
      const { exit, requests } = yield* ask({ messages: [user("hello")], ...options })
      expect(failureOf(exit)).toMatchObject({ _tag: "InvalidRequest", param })
      expect(requests).toEqual([])
    }).pipe(Effect.runPromise))
})

describe("where and how a request goes", () => {
  it.effect("key, organization and project are headers", () =>
    Effect.gen(function*() {
      const { requests: [request] } = yield* ask("hello", {
        organization: "org_1",
        project: "proj_1",
        headers: { "X-Mine": "1" }
      })
      expect(request?.method).toBe("POST")
      expect(request?.headers).toMatchObject({
        accept: "application/json",
        authorization: `Bearer ${key}`,
        "content-type": "application/json",
        "openai-organization": "org_1",
        "openai-project": "proj_1",
        "x-mine": "1"
      })
    }))

  it.effect("headers of one's own win, whatever the case of their names", () =>
    Effect.gen(function*() {
      const { requests: [request] } = yield* ask("hello", { headers: { Authorization: "Basic abc" } })
      expect(request?.headers["authorization"]).toBe("Basic abc")
    }))

  it.effect("a server without keys gets none", () =>
    Effect.gen(function*() {
      const { requests: [request] } = yield* ask("hello", { apiKey: "none" })
      expect(request?.headers).not.toHaveProperty("authorization")
    }))

  it.each([
    ["http://h:1/v1", "http://h:1/v1/chat/completions"],
    ["http://h:1/v1/", "http://h:1/v1/chat/completions"],
    ["http://h:1", "http://h:1/chat/completions"],
    ["http://h:1/", "http://h:1/chat/completions"],
    ["http://h:1/a?api-version=1", "http://h:1/a/chat/completions?api-version=1"]
  ])("base URL %s", (baseUrl, url) =>
    Effect.gen(function*() {
      const { requests: [request] } = yield* ask("hello", { baseUrl })
      expect(request?.url).toBe(url)
    }).pipe(Effect.runPromise))

  it.effect("no span and no trace header of the HTTP client's own", () =>
    Effect.gen(function*() {
      const spans: Array<string> = []
      const tracer = Tracer.make({
        context: (f) => f(),
        span: (name, parent, context, links, startTime, kind) => {
          spans.push(name)
          return {
            _tag: "Span",
            name,
            spanId: "s",
            traceId: "t",
            parent,
            context,
            links,
            kind,
            sampled: true,
            status: { _tag: "Started", startTime },
            attributes: new Map(),
            attribute: () => {},
            event: () => {},
            addLinks: () => {},
            end: () => {}
          }
        }
      })
      const { requests: [request] } = yield* ask("hello").pipe(Effect.withSpan("mine"), Effect.withTracer(tracer))
      expect(spans).toContain("mine")
      expect(spans.filter((name) => name.startsWith("http"))).toEqual([])
      expect(request?.headers).not.toHaveProperty("traceparent")
      expect(request?.headers).not.toHaveProperty("b3")
    }))

  it.effect("transformClient sees the finished request", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      yield* ask("hello", {
        transformClient: HttpClient.tapRequest((request) => Effect.sync(() => seen.push(request.url, bodyOf(request)))),
        baseUrl: "http://h/v1"
      })
      expect(seen).toEqual(["http://h/v1/chat/completions", expect.objectContaining({ model: "m" })])
    }))
})

describe("the configuration", () => {
  const build = (variables: Record<string, string>, options: Partial<OpenAi.Options> = {}) => {
    const client = recording(() => json(completion()))
    return LlmProvider.generate("hello").pipe(
      Effect.provide(OpenAi.layer({ model: "m", ...options }).pipe(Layer.provide(client.layer))),
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables)))),
      Effect.exit,
      Effect.map((exit) => ({ exit, request: client.requests[0] }))
    )
  }

  it.effect("key and base URL come from it", () =>
    Effect.gen(function*() {
      const { request } = yield* build({ OPENAI_API_KEY: " sk-from-env\n", OPENAI_BASE_URL: "http://env/v1/" })
      expect(request?.headers["authorization"]).toBe("Bearer sk-from-env")
      expect(request?.url).toBe("http://env/v1/chat/completions")
    }))

  it.each([{}, { OPENAI_BASE_URL: "" }])(
    "without a base URL it is OpenAI's: %o",
    (variables) =>
      Effect.gen(function*() {
        const { request } = yield* build({ OPENAI_API_KEY: "sk-from-env", ...variables })
        expect(request?.url).toBe("https://api.openai.com/v1/chat/completions")
      }).pipe(Effect.runPromise)
  )

  it.effect("options win over it", () =>
    Effect.gen(function*() {
      const { request } = yield* build({ OPENAI_API_KEY: "sk-from-env", OPENAI_BASE_URL: "http://env/v1" }, {
        apiKey: Redacted.make("sk-option"),
        baseUrl: "http://option"
      })
      expect(request?.headers["authorization"]).toBe("Bearer sk-option")
      expect(request?.url).toBe("http://option/chat/completions")
    }))

  it.each([
    ["no key", {}, "OPENAI_API_KEY"],
    ["a blank key", { OPENAI_API_KEY: " " }, "Expected visible ASCII"],
    ["a key of two lines", { OPENAI_API_KEY: "sk-first\nsk-second" }, "Expected visible ASCII"],
    ["a base URL that is none", { OPENAI_API_KEY: "sk", OPENAI_BASE_URL: "api.openai.com" }, "OPENAI_BASE_URL"]
  ])("%s is a ConfigError that does not tell the key", (_, variables, words) =>
    Effect.gen(function*() {
      const { exit, request } = yield* build(variables)
      expect(Exit.isFailure(exit)).toBe(true)
      expect(String(exit)).toContain(words)
      expect(String(exit)).not.toContain("sk-first")
      expect(request).toBeUndefined()
    }).pipe(Effect.runPromise))
})

describe("E1: bad options are refused when the layer is built", () => {
  it.each<readonly [string, Partial<OpenAi.Options>, string]>([
    ["model", { model: " " }, "OpenAi.layer({ model }) was given \" \"; allowed: a non-empty string"],
    ["name", { name: "" }, "name"],
    ["apiKey", { apiKey: Redacted.make("") }, "OpenAi.layer({ apiKey }) was given <redacted>"],
    ["apiKey with a line end", { apiKey: Redacted.make("sk-secret\n") }, "<redacted>"],
    ["baseUrl", { baseUrl: "localhost" }, "an http or https URL"],
    ["baseUrl of another protocol", { baseUrl: "ftp://x" }, "ftp://x"],
    ["baseUrl with a password", { baseUrl: "http://u:sk-secret@x" }, "<redacted>"],
    ["organization", { organization: "" }, "organization"],
    ["project", { project: "a\nb" }, "project"],
    ["a header's name", { headers: { "a b": "1" } }, "\"a b\""],
    ["a header's value", { headers: { "api-key": "sk-secret\n" } }, "headers })[\"api-key\"] was given <redacted>"],
    ["a time limit", { timeouts: { idle: 0 } }, "OpenAi.layer({ timeouts }).idle was given 0"],
    ["contextWindow", { contextWindow: 0 }, "contextWindow }) was given 0; allowed: a whole number of at least 1"]
  ])("%s", (_, options, words) => {
    const build = () => OpenAi.layer({ model: "m", ...options })
    expect(build).toThrow(InvalidOption)
    expect(build).toThrow(words)
    expect(build).not.toThrow("sk-secret")
  })

  it("maxTokensField", () => {
    // @ts-expect-error a name that is not one of the two
    const build = () => OpenAi.layer({ model: "m", maxTokensField: "maxTokens" })
    expect(build).toThrow("allowed: \"max_completion_tokens\", \"max_tokens\"")
  })

  it.effect("the context window is told to fallbacks", () =>
    Effect.gen(function*() {
      const service = yield* OpenAi.make({ model: "m", apiKey: "none", name: "local", contextWindow: 8192 })
      expect(service.targets).toEqual([{ provider: "local", model: "m", contextWindow: 8192 }])
    }).pipe(Effect.provide(recording(() => json({})).layer)))
})
