import { describe, expect, it } from "@effect/vitest"
import { OpenAi } from "@perdure/providers"
import { Config, ConfigProvider, Duration, Effect, Exit, Layer, Redacted } from "effect"
import { InvalidOption, LlmProvider, LlmRequest } from "perdure"
import { bodyOf, completion, json, recording } from "./support/client.ts"
import { collect, eventStream, finish, sse } from "./support/stream.ts"

type Llm = ReturnType<typeof OpenAi.layer>

/** Asks once, with these configuration values: the exit, and what was sent. */
const ask = (layer: Llm, variables: Record<string, string> = {}, input: LlmRequest.Input = "hello") => {
  const client = recording(() => json(completion()))
  return LlmProvider.generate(input).pipe(
    Effect.provide(layer.pipe(Layer.provide(client.layer))),
    Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables)))),
    Effect.exit,
    Effect.map((exit) => ({
      exit,
      url: client.requests[0]?.url,
      headers: client.requests[0]?.headers,
      body: bodyOf(client.requests[0])
    }))
  )
}

/** Streams once: what was sent. */
const stream = (layer: Llm, input: LlmRequest.Input) => {
  const client = recording(() => eventStream(sse(finish("stop"))))
  return collect(LlmProvider.stream(input)).pipe(
    Effect.provide(layer.pipe(Layer.provide(client.layer))),
    Effect.map(({ parts }) => ({ parts, body: bodyOf(client.requests[0]) }))
  )
}

const apiKey = Redacted.make("sk-given")

describe("Azure", () => {
  const dated = "2024-10-21"
  it.effect.each<readonly [string, Partial<OpenAi.Options>, string, string]>([
    [
      "a resource",
      { azure: { resource: "mine" } },
      "https://mine.openai.azure.com/openai/v1/chat/completions",
      "m"
    ],
    [
      "a resource's Responses API",
      { azure: { resource: "mine" }, api: "responses" },
      "https://mine.openai.azure.com/openai/v1/responses",
      "m"
    ],
    [
      "a deployment",
      { azure: { endpoint: "https://x.azure.com/", deployment: "my gpt" } },
      "https://x.azure.com/openai/v1/chat/completions",
      "my gpt"
    ],
    [
      "an endpoint with the API's path",
      { azure: { endpoint: "https://x.azure.com/openai/v1/" } },
      "https://x.azure.com/openai/v1/chat/completions",
      "m"
    ],
    [
      "a dated API",
      { azure: { resource: "mine", deployment: "my gpt", apiVersion: dated } },
      "https://mine.openai.azure.com/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21",
      "my gpt"
    ],
    [
      "a dated Responses API",
      { azure: { resource: "mine", apiVersion: dated }, api: "responses" },
      "https://mine.openai.azure.com/openai/responses?api-version=2024-10-21",
      "m"
    ]
  ])("%s", ([_, options, url, model]) =>
    Effect.gen(function*() {
      const sent = yield* ask(OpenAi.layer({ model: "m", apiKey, ...options }), {}, {
        messages: [LlmRequest.user("hello")],
        maxOutputTokens: 7
      })
      expect(sent.url).toBe(url)
      expect(sent.headers).toMatchObject({ "api-key": "sk-given" })
      expect(sent.headers).not.toHaveProperty("authorization")
      expect(sent.body).toMatchObject({
        model,
        [options.api === "responses" ? "max_output_tokens" : "max_completion_tokens"]: 7
      })
    }))

  it.effect("its key comes from a configuration value of its own", () =>
    Effect.gen(function*() {
      const sent = yield* ask(OpenAi.layer({ model: "m", azure: { resource: "mine" } }), {
        AZURE_OPENAI_API_KEY: "az",
        OPENAI_API_KEY: "sk",
        OPENAI_BASE_URL: "http://elsewhere/v1"
      })
      expect(sent.headers).toMatchObject({ "api-key": "az" })
      expect(sent.url).toContain("mine.openai.azure.com")
    }))

  it.each<readonly [string, Partial<OpenAi.Options>, string]>([
    ["neither resource nor endpoint", { azure: {} }, "either a resource or an endpoint"],
    ["both", { azure: { resource: "a", endpoint: "https://b" } }, "either a resource or an endpoint"],
    ["a resource that is an address", { azure: { resource: "mine.com/x" } }, "letters, digits and hyphens"],
    ["an endpoint that is no address", { azure: { endpoint: "mine" } }, "azure.endpoint"],
    ["a blank deployment", { azure: { resource: "a", deployment: " " } }, "azure.deployment"],
    ["a blank version", { azure: { resource: "a", apiVersion: "" } }, "azure.apiVersion"],
    ["a base URL as well", { azure: { resource: "a" }, baseUrl: "http://h" }, "no baseUrl beside it"]
  ])("E1: %s is refused", (_, options, words) => {
    const build = () => OpenAi.layer({ model: "m", ...options })
    expect(build).toThrow(InvalidOption)
    expect(build).toThrow(words)
  })
})

describe("other servers", () => {
  it.effect.each<readonly [string, (options: OpenAi.ServerOptions) => Llm, string, string | undefined]>([
    ["openrouter", OpenAi.openRouter, "https://openrouter.ai/api/v1/chat/completions", "OPENROUTER_API_KEY"],
    ["mistral", OpenAi.mistral, "https://api.mistral.ai/v1/chat/completions", "MISTRAL_API_KEY"],
    ["ollama", OpenAi.ollama, "http://localhost:11434/v1/chat/completions", undefined],
    ["vllm", OpenAi.vllm, "http://localhost:8000/v1/chat/completions", undefined]
  ])("%s", ([name, layer, url, variable]) =>
    Effect.gen(function*() {
      const variables = { OPENAI_API_KEY: "sk-openai", OPENAI_BASE_URL: "http://elsewhere/v1" }
      const sent = yield* ask(
        layer({ model: "m" }),
        variable === undefined ? variables : { ...variables, [variable]: "sk-of-its-own" },
        {
          messages: [LlmRequest.user("hello")],
          maxOutputTokens: 7,
          extras: { [name]: { top_k: 3 }, openai: { top_k: 4 } }
        }
      )
      expect(sent.exit).toMatchObject({ value: { provider: name } })
      expect(sent.url).toBe(url)
      expect(sent.headers?.["authorization"]).toBe(variable === undefined ? undefined : "Bearer sk-of-its-own")
      expect(sent.body).toMatchObject({ max_tokens: 7, top_k: 3 })
      if (variable === undefined) return
      const without = yield* ask(layer({ model: "m" }), variables)
      expect(String(without.exit)).toContain(variable)
    }))

  it.effect("their defaults give way to options", () =>
    Effect.gen(function*() {
      const sent = yield* ask(
        OpenAi.vllm({
          model: "m",
          apiKey,
          baseUrl: "https://gpu/v1",
          name: "gpu",
          maxTokensField: "max_completion_tokens"
        }),
        {},
        { messages: [LlmRequest.user("hello")], maxOutputTokens: 7 }
      )
      expect(sent.exit).toMatchObject({ value: { provider: "gpu" } })
      expect(sent).toMatchObject({
        url: "https://gpu/v1/chat/completions",
        headers: { authorization: "Bearer sk-given" },
        body: { max_completion_tokens: 7 }
      })
    }))

  it.effect("Mistral is sent no field that it does not know", () =>
    Effect.gen(function*() {
      const { body } = yield* stream(OpenAi.mistral({ model: "m", apiKey }), {
        messages: [LlmRequest.user("hello")],
        seed: 1
      })
      expect(body).toEqual({
        model: "m",
        messages: [{ role: "user", content: "hello" }],
        random_seed: 1,
        stream: true
      })
    }))

  it("E1: a bad option is named after the function that was called", () => {
    expect(() => OpenAi.mistral({ model: "" })).toThrow("OpenAi.mistral({ model })")
  })
})

describe("options from the configuration", () => {
  const layer = OpenAi.layerConfig({
    model: Config.string("MODEL"),
    apiKey: Config.redacted("KEY"),
    baseUrl: Config.string("URL").pipe(Config.withDefault(undefined)),
    contextWindow: Config.integer("WINDOW").pipe(Config.withDefault(undefined)),
    timeouts: Config.all({ idle: Config.duration("IDLE").pipe(Config.withDefault(Duration.seconds(9))) })
  })

  it.effect("are those of the layer", () =>
    Effect.gen(function*() {
      const sent = yield* ask(layer, { MODEL: "gpt", KEY: "sk-secret", URL: "http://h/v1" })
      expect(sent).toMatchObject({
        url: "http://h/v1/chat/completions",
        headers: { authorization: "Bearer sk-secret" },
        body: { model: "gpt" }
      })
    }))

  it.effect.each<readonly [string, Record<string, string>, string]>([
    ["a missing one", { KEY: "sk-secret" }, "MODEL"],
    ["one out of range", { MODEL: "gpt", KEY: "sk-secret", WINDOW: "0" }, "contextWindow"],
    ["a key that cannot be sent", { MODEL: "gpt", KEY: "sk-secret\n" }, "apiKey"]
  ])("E1: %s is a ConfigError that does not tell the key", ([_, variables, words]) =>
    Effect.gen(function*() {
      const { exit } = yield* ask(layer, variables)
      expect(Exit.isFailure(exit) && exit.cause._tag).toBe("Fail")
      expect(String(exit)).toContain(words)
      expect(String(exit)).not.toContain("sk-secret")
    }))
})
