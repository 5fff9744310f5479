/**
 * OpenAI, by its Chat Completions or its Responses API, and every server that speaks one of them: Azure, OpenRouter,
 * Mistral, DeepSeek, Groq, vLLM, llama.cpp, Ollama and others, by their base URL.
 *
 * What does not fit the API is refused before anything is sent (`topK`; for Chat Completions a file by its address; for
 * Responses `stop`, `seed` and the penalties). The mark that a tool failed has no place in either and is not sent, since
 * its content says it anyway; the reasoning in earlier answers goes only where it came from encrypted (Responses), to the
 * provider of the same name.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as LlmError from "perdure/LlmError"
import * as LlmProvider from "perdure/LlmProvider"
import * as Layers from "./internal/layers.ts"
import * as Failure from "./internal/openai/failure.ts"
import * as Servers from "./internal/openai/servers.ts"
import * as Service from "./internal/openai/service.ts"
import * as Settings from "./internal/openai/settings.ts"
import type { Timeouts } from "./internal/timeouts.ts"

export type { Timeouts } from "./internal/timeouts.ts"

/**
 * Where OpenAI is, unless an option or `OPENAI_BASE_URL` says otherwise.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultBaseUrl: string = Servers.openAi.baseUrl

/**
 * The field that `maxOutputTokens` is sent in, of Chat Completions.
 *
 * @since 0.1.0
 * @category models
 */
export type MaxTokensField = "max_completion_tokens" | "max_tokens"

/**
 * Where a model is at Azure. Either `resource` or `endpoint` is needed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Azure {
  /** The resource's name, which stands for `https://{resource}.openai.azure.com`. */
  readonly resource?: string | undefined
  /** The address of the resource, where it has another one. */
  readonly endpoint?: string | undefined
  /**
   * The deployment's name.
   * @default the model
   */
  readonly deployment?: string | undefined
  /**
   * The version of the dated API to use, for example `2024-10-21`.
   * @default none: the `/openai/v1` API, which has no versions
   */
  readonly apiVersion?: string | undefined
}

/**
 * What {@link layer} and {@link make} take.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The model to ask, by the name the server gives it: for example `gpt-4o`. */
  readonly model: string
  /**
   * Which API to speak.
   * @default "chat", Chat Completions, which most servers know
   */
  readonly api?: "chat" | "responses" | undefined
  /**
   * The key, sent as `Authorization: Bearer …`, at Azure as `api-key`; `"none"` for a server that wants none, or wants it
   * in another header.
   *
   * The default does not depend on the `baseUrl`, as in OpenAI's own SDK: whatever server stands there is sent
   * `OPENAI_API_KEY`. Give a server that is neither OpenAI nor your gateway to it its own key, or `"none"`. The layers of
   * other servers ({@link openRouter}, {@link mistral}, {@link ollama}, {@link vllm}) never read `OPENAI_API_KEY`.
   *
   * @default the configuration value `OPENAI_API_KEY`, with `azure` `AZURE_OPENAI_API_KEY`
   */
  readonly apiKey?: Redacted.Redacted | "none" | undefined
  /**
   * Where the API is, up to and without `/chat/completions` or `/responses`, with or without a slash at the end; a query is kept.
   *
   * @default the configuration value `OPENAI_BASE_URL`, else {@link defaultBaseUrl}
   */
  readonly baseUrl?: string | undefined
  /** Where the model is at Azure, instead of a `baseUrl`. */
  readonly azure?: Azure | undefined
  /** The organization that the calls count for, where the key belongs to several. */
  readonly organization?: string | undefined
  /** The project that the calls count for. */
  readonly project?: string | undefined
  /** More headers; they win over those this library sets. Their values are taken for secrets. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** How many tokens the model's context window holds, so that a fallback can find one that is large enough. */
  readonly contextWindow?: number | undefined
  /**
   * Whether the model takes tools. A fallback passes over one that does not, where a request has any.
   * @default not known, and so asked
   */
  readonly tools?: boolean | undefined
  /**
   * Whether the model takes images; as `tools`.
   * @default not known, and so asked
   */
  readonly images?: boolean | undefined
  /**
   * The provider's short name: in failures and receipts, and as the key of a request's `extras` that are put into the
   * body, over everything else in it. Encrypted reasoning is marked with it and goes back to no layer of another name, so
   * give names of their own to servers and organizations that cannot read each other's. With `azure` and without a name,
   * that mark is `azure`.
   *
   * @default "openai"
   */
  readonly name?: string | undefined
  /**
   * The field that `maxOutputTokens` is sent in. OpenAI's newer models take `max_completion_tokens` only; many servers
   * with the same protocol know `max_tokens` only.
   *
   * @default "max_completion_tokens" at openai.com and at Azure, "max_tokens" elsewhere
   */
  readonly maxTokensField?: MaxTokensField | undefined
  /**
   * Whether a stream of Chat Completions asks for its usage (`stream_options.include_usage`); false for servers that
   * refuse the field.
   * @default true
   */
  readonly streamUsage?: boolean | undefined
  /** How long the steps of one attempt may take. */
  readonly timeouts?: Timeouts | undefined
  /** Changes the HTTP client that the calls are made with. It sees the finished requests, their keys among the rest. */
  readonly transformClient?: ((client: HttpClient.HttpClient) => HttpClient.HttpClient) | undefined
}

/**
 * A provider that asks one OpenAI model, or one model of a compatible server.
 *
 * An answer is read in full before it is one: what arrives in part, without a finish reason or with an error inside, is
 * a failure, also in a stream. Interrupting a call closes its connection. Every failure is an `LlmError` that holds
 * neither the key nor the prompt.
 *
 * Throws `InvalidOption` when an option is out of range; fails with a `ConfigError` when the key is to come from the
 * configuration and is not there.
 *
 * With `FetchHttpClient`, redirects are not followed. A `FetchHttpClient.RequestInit` of your own is kept when it is
 * provided to this effect or to the call; one provided to `FetchHttpClient.layer` alone is not seen.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<LlmProvider.Service, ConfigError.ConfigError, HttpClient.HttpClient> =>
  Service.make(Settings.check(options, Servers.openAi))

/**
 * A layer of {@link make}.
 *
 * @example
 * ```ts
 * import { FetchHttpClient } from "@effect/platform"
 * import { OpenAi } from "@perdure/providers"
 * import { Effect, Layer } from "effect"
 * import { LlmProvider } from "perdure"
 *
 * const Llm = OpenAi.layer({ model: "gpt-4o" }).pipe(Layer.provide(FetchHttpClient.layer))
 *
 * const program = LlmProvider.generate("Why is the sky blue?").pipe(
 *   Effect.map((response) => response.text),
 *   Effect.provide(Llm)
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<LlmProvider.LlmProvider, ConfigError.ConfigError, HttpClient.HttpClient> =>
  Layer.effect(LlmProvider.LlmProvider, make(options))

/**
 * {@link Options}, each of them a `Config`; `transformClient` as it is.
 *
 * @since 0.1.0
 * @category models
 */
export type ConfigOptions =
  & { readonly [K in keyof Omit<Options, "transformClient">]: Config.Config<Options[K]> }
  & Pick<Options, "transformClient">

/**
 * A layer of {@link make} with options from the configuration. What is missing or out of range is a `ConfigError`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  { transformClient, ...configs }: ConfigOptions
): Layer.Layer<LlmProvider.LlmProvider, ConfigError.ConfigError, HttpClient.HttpClient> =>
  Layers.fromConfig(Config.all(configs), (options) => make({ ...options, transformClient }))

/**
 * What the layers of other servers take. Defaults that differ from those of {@link Options} are told by each.
 *
 * @since 0.1.0
 * @category models
 */
export type ServerOptions = Omit<Options, "azure" | "organization" | "project">

const serverLayer = (server: Settings.Server) =>
(
  options: ServerOptions
): Layer.Layer<LlmProvider.LlmProvider, ConfigError.ConfigError, HttpClient.HttpClient> =>
  Layer.effect(LlmProvider.LlmProvider, Service.make(Settings.check(options, server)))

/**
 * A model by way of OpenRouter, named `openrouter`, with the key in `OPENROUTER_API_KEY`; the headers by which it tells
 * programs apart (`HTTP-Referer`, `X-Title`) are yours to set. Throws `InvalidOption` when an option is out of range.
 *
 * @since 0.1.0
 * @category servers
 */
export const openRouter = serverLayer(Servers.openRouter)

/**
 * A model at Mistral, named `mistral`, with the key in `MISTRAL_API_KEY`. Usage comes with every stream and is not asked
 * for, and a seed goes by the name of `random_seed`: the API refuses fields that it does not know. Throws `InvalidOption`
 * when an option is out of range.
 *
 * @since 0.1.0
 * @category servers
 */
export const mistral = serverLayer(Servers.mistral)

/**
 * A model of an Ollama on this machine, port 11434, named `ollama`, without a key. Throws `InvalidOption` when an option
 * is out of range.
 *
 * @since 0.1.0
 * @category servers
 */
export const ollama = serverLayer(Servers.ollama)

/**
 * A model of a vLLM server on this machine, port 8000, named `vllm`, without a key. Throws `InvalidOption` when an option
 * is out of range.
 *
 * @since 0.1.0
 * @category servers
 */
export const vllm = serverLayer(Servers.vllm)

/**
 * What {@link failure} takes.
 *
 * @since 0.1.0
 * @category models
 */
export interface FailureOptions {
  /** The HTTP status. */
  readonly status: number
  /** The response's headers, their names in upper or lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** The response's body as text: JSON of any dialect, HTML, half of either, or nothing. */
  readonly body: string
  /** The model that was asked. */
  readonly model: string
  /**
   * The provider's short name.
   *
   * @default "openai"
   */
  readonly provider?: string | undefined
  /** The time on the `Clock` in milliseconds, for dates in `Retry-After`. */
  readonly now: number
  /** What must not be told: the key and the texts of the prompt. They are removed, pieces of the longer ones too. */
  readonly secrets?: Iterable<string> | undefined
}

/**
 * The failure that a response stands for, from its status, headers and body, in the dialect of any server that speaks
 * this protocol. Pure.
 *
 * An address that redirects or answers 404 is `ModelNotFound`, with the advice to check the base URL when the answer does
 * not speak of a model. A response with a 2xx status is the failure its body names, or else `MalformedResponse`.
 *
 * @since 0.1.0
 * @category failures
 */
export const failure = (options: FailureOptions): LlmError.ProviderError =>
  Failure.fromReply(options.body, {
    ...options,
    provider: options.provider ?? "openai",
    secrets: options.secrets ?? []
  })
