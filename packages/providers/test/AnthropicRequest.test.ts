import { HttpClient, HttpClientRequest } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { Anthropic } from "@perdure/providers"
import { Config, ConfigProvider, Duration, Effect, Exit, Fiber, Layer, Option, Redacted, TestClock } from "effect"
import { InvalidOption, LlmProvider, LlmRequest } from "perdure"
import { ask, key, message } from "./support/anthropic.ts"
import { failureOf, json, recording } from "./support/client.ts"

const { assistant, system, text, toolResult, user } = LlmRequest
const hello = [user("hello")] as const
const look = { name: "look", parameters: { type: "object" } }
const tools = [look]
const sent = { tools: [{ name: "look", input_schema: { type: "object" } }] }
const base64 = (data: string, mediaType: string) => ({ _tag: "Base64", data, mediaType }) as const
const url = (url: string) => ({ _tag: "Url", url }) as const
const call = (id: string, json = "{\"at\":1}") => ({ _tag: "ToolCall", id, name: "look", arguments: json }) as const
const said = (role: string, ...content: ReadonlyArray<unknown>) => ({ role, content })
const words = (text: string) => ({ type: "text", text })
const use = (id: string, input: unknown = { at: 1 }) => ({ type: "tool_use", id, name: "look", input })
const result = (id: string, content: string) => ({ type: "tool_result", tool_use_id: id, content })

describe("what is sent", () => {
  it.effect("the least: model, the limit on tokens that the API asks for, and the messages", () =>
    Effect.gen(function*() {
      const { body } = yield* ask("hello")
      expect(body).toEqual({ model: "m", max_tokens: 4096, messages: [said("user", words("hello"))] })
    }))

  const facts: ReadonlyArray<readonly [string, LlmRequest.Options, Record<string, unknown>]> = [
    ["the request's limit on tokens", { messages: hello, maxOutputTokens: 5 }, { max_tokens: 5 }],
    ["temperature", { messages: hello, temperature: 1 }, { temperature: 1 }],
    ["topP and topK", { messages: hello, topP: 0.5, topK: 3 }, { top_p: 0.5, top_k: 3 }],
    ["texts that end the answer", { messages: hello, stop: ["a", "b"] }, { stop_sequences: ["a", "b"] }],
    [
      "tools",
      { messages: hello, tools: [{ ...look, description: "d", strict: true }] },
      { tools: [{ name: "look", description: "d", input_schema: { type: "object" }, strict: true }] }
    ],
    ["the choice to call tools or not", { messages: hello, tools, toolChoice: "auto" }, {
      ...sent,
      tool_choice: { type: "auto" }
    }],
    ["the duty to call a tool", { messages: hello, tools, toolChoice: "required" }, {
      ...sent,
      tool_choice: { type: "any" }
    }],
    ["the ban on tools", { messages: hello, tools, toolChoice: "none", parallelToolCalls: false }, {
      ...sent,
      tool_choice: { type: "none" }
    }],
    ["the duty to call one tool", { messages: hello, tools, toolChoice: { name: "look" } }, {
      ...sent,
      tool_choice: { type: "tool", name: "look" }
    }],
    ["one tool at a time", { messages: hello, tools, parallelToolCalls: false }, {
      ...sent,
      tool_choice: { type: "auto", disable_parallel_tool_use: true }
    }],
    [
      "one tool at a time, and at least one",
      { messages: hello, tools, parallelToolCalls: false, toolChoice: "required" },
      { ...sent, tool_choice: { type: "any", disable_parallel_tool_use: true } }
    ],
    [
      "JSON that fits a schema",
      { messages: hello, responseFormat: { _tag: "JsonSchema", name: "n", schema: { type: "object" }, strict: true } },
      { output_config: { format: { type: "json_schema", schema: { type: "object" } } } }
    ],
    [
      "fields of the provider's own, over the rest",
      { messages: hello, temperature: 1, extras: { anthropic: { temperature: 0.5, service_tier: "auto" } } },
      { temperature: 0.5, service_tier: "auto" }
    ],
    [
      "a schema and the provider's own settings of the output",
      {
        messages: hello,
        responseFormat: { _tag: "JsonSchema", name: "n", schema: {}, strict: true },
        extras: { anthropic: { output_config: { effort: "low" } } }
      },
      { output_config: { format: { type: "json_schema", schema: {} }, effort: "low" } }
    ],
    [
      "a choice among tools of the provider's own",
      { messages: hello, toolChoice: "required", extras: { anthropic: { tools: [{ type: "web_search" }] } } },
      { tools: [{ type: "web_search" }], tool_choice: { type: "any" } }
    ]
  ]
  it.effect.each(facts)("%s", ([_, request, fields]) =>
    Effect.gen(function*() {
      const { body } = yield* ask(LlmRequest.make(request))
      expect(body).toEqual({ model: "m", max_tokens: 4096, messages: [said("user", words("hello"))], ...fields })
    }))

  const conversations: ReadonlyArray<
    readonly [string, readonly [LlmRequest.Message, ...Array<LlmRequest.Message>], Record<string, unknown>]
  > = [
    ["system messages, as the system prompt, in their order", [
      system("a"),
      user("b"),
      system("c"),
      user("d")
    ], { system: [words("a"), words("c")], messages: [said("user", words("b"), words("d"))] }],
    ["messages of one role, as one", [user("a"), user("b"), assistant("c"), assistant("d"), user("e")], {
      messages: [
        said("user", words("a"), words("b")),
        said("assistant", words("c"), words("d")),
        said("user", words("e"))
      ]
    }],
    ["tool calls and their results, as one message", [
      user("a"),
      assistant([text("b"), call("1"), call("2", "")]),
      toolResult({ id: "1", name: "look" }, "one"),
      toolResult({ id: "2", name: "look" }, "no", { isError: true }),
      user("c")
    ], {
      messages: [
        said("user", words("a")),
        said("assistant", words("b"), use("1"), use("2", {})),
        said("user", result("1", "one"), { ...result("2", "no"), is_error: true }, words("c"))
      ]
    }],
    ["results of tools before what the user says", [
      user("a"),
      assistant([call("1")]),
      user("c"),
      toolResult({ id: "1", name: "look" }, "one")
    ], {
      messages: [said("user", words("a")), said("assistant", use("1")), said("user", result("1", "one"), words("c"))]
    }],
    ["reasoning with its signature, unchanged, and none without", [
      user("a"),
      assistant([
        { _tag: "Reasoning", text: "hm", signature: "c2ln" },
        { _tag: "Reasoning", text: "", signature: "redacted_thinking:ZGF0YQ==" },
        { _tag: "Reasoning", text: "unsigned" },
        text("b")
      ]),
      user("c")
    ], {
      messages: [
        said("user", words("a")),
        said(
          "assistant",
          { type: "thinking", thinking: "hm", signature: "c2ln" },
          { type: "redacted_thinking", data: "ZGF0YQ==" },
          words("b")
        ),
        said("user", words("c"))
      ]
    }],
    ["no texts that say nothing", [user("a"), assistant([text("")]), user([text(""), text("b")])], {
      messages: [said("user", words("a"), words("b"))]
    }],
    ["images", [user([
      { _tag: "Image", source: url("https://x/a.png"), detail: "low" },
      { _tag: "Image", source: base64("AAAA", "image/png") },
      { _tag: "Image", source: url("data:image/gif;base64,BBBB") }
    ])], {
      messages: [said(
        "user",
        { type: "image", source: { type: "url", url: "https://x/a.png" } },
        { type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } },
        { type: "image", source: { type: "base64", media_type: "image/gif", data: "BBBB" } }
      )]
    }],
    ["files", [user([
      { _tag: "File", source: url("https://x/a.pdf") },
      { _tag: "File", source: base64("AAAA", "application/pdf"), name: "a.pdf" },
      { _tag: "File", source: base64("aMOp", "text/markdown; charset=utf-8") }
    ])], {
      messages: [said(
        "user",
        { type: "document", source: { type: "url", url: "https://x/a.pdf" } },
        { type: "document", source: { type: "base64", media_type: "application/pdf", data: "AAAA" }, title: "a.pdf" },
        { type: "document", source: { type: "text", media_type: "text/plain", data: "hé" } }
      )]
    }]
  ]
  it.effect.each(conversations)("%s", ([_, messages, fields]) =>
    Effect.gen(function*() {
      const { body } = yield* ask({ messages })
      expect(body).toEqual({ model: "m", max_tokens: 4096, ...fields })
    }))

  it.effect("neither a choice nor a ban where there are no tools", () =>
    Effect.gen(function*() {
      const { body } = yield* ask({ messages: hello, toolChoice: "auto", parallelToolCalls: false })
      expect(body).not.toHaveProperty("tool_choice")
    }))

  it.effect("penalties of zero, which are none", () =>
    Effect.gen(function*() {
      const { exit } = yield* ask({ messages: hello, frequencyPenalty: 0, presencePenalty: 0 })
      expect(Exit.isSuccess(exit)).toBe(true)
    }))
})

describe("what is refused before anything is sent", () => {
  const facts: ReadonlyArray<readonly [string, string, Partial<LlmRequest.Options>]> = [
    ["a seed", "seed", { seed: 1 }],
    ["a frequency penalty", "frequencyPenalty", { frequencyPenalty: 0.1 }],
    ["a presence penalty", "presencePenalty", { presencePenalty: -0.1 }],
    ["a temperature above 1", "temperature", { temperature: 1.01 }],
    ["JSON without a schema", "responseFormat", { responseFormat: { _tag: "Json" } }],
    ["a tool that must be called where there is none", "toolChoice", { toolChoice: "required" }],
    ["streaming by extras", "extras.anthropic.stream", { extras: { anthropic: { stream: true } } }],
    ["nothing but system messages", "messages", { messages: [system("a")] }],
    ["a conversation that says nothing", "messages", { messages: [user("")] }],
    ["arguments that are not JSON", "messages", { messages: [user("a"), assistant([call("1", "{")])] }],
    ["arguments that are no object", "messages", { messages: [user("a"), assistant([call("1", "[1]")])] }],
    ["a file that is neither PDF nor text", "messages", {
      messages: [user([{ _tag: "File", source: base64("AAAA", "application/zip") }])]
    }],
    ["a text file that is not base64", "messages", {
      messages: [user([{ _tag: "File", source: base64("?", "text/plain") }])]
    }],
    ["a data: address that is not base64", "messages", {
      messages: [user([{ _tag: "Image", source: url("data:image/svg+xml,<svg/>") }])]
    }],
    ["what JSON cannot express", "request", { extras: { anthropic: { x: 1n } } }]
  ]
  it.effect.each(facts)("%s", ([_, param, fields]) =>
    Effect.gen(function*() {
      const { exit, requests } = yield* ask({ messages: hello, ...fields })
      expect(failureOf(exit)).toMatchObject({ _tag: "InvalidRequest", provider: "anthropic", model: "m", param })
      expect(requests).toHaveLength(0)
    }))
})

describe("where and how", () => {
  it.effect("by default, with the key in a header of its own", () =>
    Effect.gen(function*() {
      const { requests: [request] } = yield* ask("hello")
      expect(request).toMatchObject({ method: "POST", url: "https://api.anthropic.com/v1/messages" })
      expect(request?.headers).toMatchObject({
        "x-api-key": key,
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
        accept: "application/json"
      })
      expect(request?.headers).not.toHaveProperty("anthropic-beta")
      expect(request?.headers).not.toHaveProperty("authorization")
    }))

  it.effect("version, beta features, headers of one's own, and no key", () =>
    Effect.gen(function*() {
      const { requests: [request] } = yield* ask("hello", {
        apiKey: "none",
        version: "2099-01-01",
        beta: ["a-1", "b-2"],
        headers: { Authorization: "Bearer x", Accept: "application/x" }
      })
      expect(request?.headers).toMatchObject({
        "anthropic-version": "2099-01-01",
        "anthropic-beta": "a-1,b-2",
        authorization: "Bearer x",
        accept: "application/x"
      })
      expect(request?.headers).not.toHaveProperty("x-api-key")
    }))

  it.effect.each(
    [
      ["https://x.test", "https://x.test/v1/messages"],
      ["https://x.test/a/?q=1", "https://x.test/a/v1/messages?q=1"],
      ["https://x.test/v1/", "https://x.test/v1/messages"]
    ] as const
  )("the base URL %s", ([baseUrl, url]) =>
    Effect.gen(function*() {
      const { requests } = yield* ask("hello", { baseUrl })
      expect(requests[0]?.url).toBe(url)
    }))

  it.effect("the option's limit on tokens, which the request's goes before", () =>
    Effect.gen(function*() {
      expect((yield* ask("hello", { maxOutputTokens: 9 })).body).toMatchObject({ max_tokens: 9 })
      expect((yield* ask({ messages: hello, maxOutputTokens: 5 }, { maxOutputTokens: 9 })).body).toMatchObject({
        max_tokens: 5
      })
    }))

  it.effect("a name of one's own is that of failures, and of the extras", () =>
    Effect.gen(function*() {
      const { body, exit } = yield* ask(
        { messages: hello, extras: { mine: { x: 1 }, anthropic: { y: 1 } } },
        { name: "mine" },
        () => json({}, { status: 500 })
      )
      expect(failureOf(exit)).toMatchObject({ provider: "mine" })
      expect(body).toHaveProperty("x")
      expect(body).not.toHaveProperty("y")
    }))

  it.effect("a client transformed by the program", () =>
    Effect.gen(function*() {
      const { requests } = yield* ask("hello", {
        transformClient: HttpClient.mapRequest(HttpClientRequest.setHeader("x-mine", "1"))
      })
      expect(requests[0]?.headers).toMatchObject({ "x-mine": "1", "x-api-key": key })
    }))

  it.effect("T1: the limit on the wait for the headers", () =>
    Effect.gen(function*() {
      const silent = Layer.succeed(HttpClient.HttpClient, HttpClient.make(() => Effect.never))
      const fiber = yield* LlmProvider.generate("hello").pipe(
        Effect.provide(
          Layer.provide(Anthropic.layer({ model: "m", apiKey: "none", timeouts: { headers: "3 seconds" } }), silent)
        ),
        Effect.exit,
        Effect.fork
      )
      yield* TestClock.adjust("2999 millis")
      expect(Option.isNone(yield* Fiber.poll(fiber))).toBe(true)
      yield* TestClock.adjust("1 millis")
      expect(failureOf(yield* Fiber.join(fiber))).toMatchObject({
        _tag: "TimedOut",
        phase: "headers",
        limit: Duration.seconds(3)
      })
    }))

  it.effect("the window is known to fallbacks", () =>
    Effect.gen(function*() {
      const service = yield* Anthropic.make({ model: "m", apiKey: "none", contextWindow: 200_000 }).pipe(
        Effect.provide(recording(() => json(message())).layer)
      )
      expect(service.targets).toMatchObject([{ provider: "anthropic", model: "m", contextWindow: 200_000 }])
    }))
})

describe("E1: options are checked when the layer is made", () => {
  const bad: ReadonlyArray<readonly [keyof Anthropic.Options, Partial<Anthropic.Options>]> = [
    ["model", { model: "" }],
    ["apiKey", { apiKey: Redacted.make("two words") }],
    ["baseUrl", { baseUrl: "ftp://x" }],
    ["version", { version: "a\nb" }],
    ["beta", { beta: ["a,b"] }],
    ["headers", { headers: { "a b": "c" } }],
    ["name", { name: "" }],
    ["contextWindow", { contextWindow: 0 }],
    ["maxOutputTokens", { maxOutputTokens: 1.5 }],
    ["timeouts", { timeouts: { idle: -1 } }]
  ]
  it.each(bad)("%s", (option, fields) => {
    const build = () => Anthropic.layer({ model: "m", apiKey: "none", ...fields })
    expect(build).toThrow(InvalidOption)
    expect(build).toThrow(`Anthropic.layer({ ${option}`)
    expect(build).not.toThrow("two words")
  })
})

describe("options from the configuration", () => {
  const asked = (
    layer: Layer.Layer<LlmProvider.LlmProvider, unknown, HttpClient.HttpClient>,
    values: Record<string, string>
  ) => {
    const client = recording(() => json(message()))
    return LlmProvider.generate("hello").pipe(
      Effect.provide(layer.pipe(Layer.provide(client.layer))),
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(values)))),
      Effect.exit,
      Effect.map((exit) => ({ exit, request: client.requests[0] }))
    )
  }
  const plain = Anthropic.layer({ model: "m" })

  it.effect("key and base URL, where no option gives them", () =>
    Effect.gen(function*() {
      const { request } = yield* asked(plain, { ANTHROPIC_API_KEY: " k ", ANTHROPIC_BASE_URL: "http://x.test/" })
      expect(request?.url).toBe("http://x.test/v1/messages")
      expect(request?.headers["x-api-key"]).toBe("k")
    }))

  it.effect("a blank base URL is none", () =>
    Effect.gen(function*() {
      const { request } = yield* asked(plain, { ANTHROPIC_API_KEY: "k", ANTHROPIC_BASE_URL: " " })
      expect(request?.url).toBe("https://api.anthropic.com/v1/messages")
    }))

  it.effect.each<readonly [string, Record<string, string>]>([
    ["no key", {}],
    ["a key that cannot be sent", { ANTHROPIC_API_KEY: "two words" }],
    ["a base URL that is none", { ANTHROPIC_API_KEY: "k", ANTHROPIC_BASE_URL: "x" }]
  ])("%s is a ConfigError", ([_, values]) =>
    Effect.gen(function*() {
      const { exit } = yield* asked(plain, values)
      expect(String(exit)).toMatch(/ANTHROPIC_(?:API_KEY|BASE_URL)/)
      expect(String(exit)).not.toContain("two words")
    }))

  const all = Anthropic.layerConfig({
    model: Config.string("MODEL"),
    apiKey: Config.redacted("KEY"),
    baseUrl: Config.string("URL").pipe(Config.withDefault(undefined)),
    maxOutputTokens: Config.integer("MAX").pipe(Config.withDefault(undefined)),
    transformClient: HttpClient.mapRequest(HttpClientRequest.setHeader("x-mine", "1"))
  })

  it.effect("each of the options", () =>
    Effect.gen(function*() {
      const { request } = yield* asked(all, { MODEL: "from-config", KEY: "k", URL: "http://x.test" })
      expect(request?.url).toBe("http://x.test/v1/messages")
      expect(request?.headers).toMatchObject({ "x-api-key": "k", "x-mine": "1" })
    }))

  it.effect.each([["MODEL", {}], ["maxOutputTokens", { MODEL: "m", KEY: "k", MAX: "0" }]] as const)(
    "E1: %s missing or out of range is a ConfigError",
    ([named, values]) =>
      Effect.gen(function*() {
        const { exit, request } = yield* asked(all, values)
        expect(String(exit)).toContain(named)
        expect(Exit.isFailure(exit) && exit.cause._tag).toBe("Fail")
        expect(request).toBe(undefined)
      })
  )
})
