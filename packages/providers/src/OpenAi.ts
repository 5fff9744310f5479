/**
 * OpenAI, and every server that speaks its Chat Completions protocol: Azure, OpenRouter, Mistral, DeepSeek, Groq, vLLM,
 * llama.cpp, Ollama and others, by their base URL.
 *
 * What does not fit the protocol is refused before anything is sent (`topK`, a file by its address). Two things have no
 * place in it and are not sent: the reasoning in earlier answers, which the API does not take back, and the mark that a
 * tool failed, which its content says anyway.
 *
 * @since 0.1.0
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as LlmError from "perdure/LlmError"
import * as LlmProvider from "perdure/LlmProvider"
import type { LlmRequest } from "perdure/LlmRequest"
import type { LlmResponse } from "perdure/LlmResponse"
import * as Http from "./internal/http.ts"
import { defined } from "./internal/json.ts"
import * as ChatRequest from "./internal/openai/chatRequest.ts"
import * as ChatResponse from "./internal/openai/chatResponse.ts"
import * as Failure from "./internal/openai/failure.ts"
import { requestId } from "./internal/openai/hints.ts"
import * as Check from "./internal/options.ts"
import * as Secrets from "./internal/secrets.ts"
import * as Transport from "./internal/transport.ts"

/**
 * Where OpenAI is, unless an option or `OPENAI_BASE_URL` says otherwise.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultBaseUrl = "https://api.openai.com/v1"

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
   * The key, sent as `Authorization: Bearer …`; `"none"` for a server that wants none, or wants it in another header.
   *
   * @default the configuration value `OPENAI_API_KEY`
   */
  readonly apiKey?: Redacted.Redacted | "none" | undefined
  /**
   * Where the API is, up to and without `/chat/completions`, with or without a slash at the end; a query is kept.
   *
   * @default the configuration value `OPENAI_BASE_URL`, else {@link defaultBaseUrl}
   */
  readonly baseUrl?: string | undefined
  /** The organization that the calls count for, where the key belongs to several. */
  readonly organization?: string | undefined
  /** The project that the calls count for. */
  readonly project?: string | undefined
  /** More headers; they win over those this library sets. Their values are taken for secrets. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** How many tokens the model's context window holds, so that a fallback can find one that is large enough. */
  readonly contextWindow?: number | undefined
  /**
   * The provider's short name: in failures and receipts, and as the key of a request's `extras` that are put into the
   * body, over everything else in it.
   *
   * @default "openai"
   */
  readonly name?: string | undefined
  /**
   * The field that `maxOutputTokens` is sent in. OpenAI's newer models take `max_completion_tokens` only; many servers
   * with the same protocol know `max_tokens` only.
   *
   * @default "max_completion_tokens" at openai.com and openai.azure.com, "max_tokens" elsewhere
   */
  readonly maxTokensField?: "max_completion_tokens" | "max_tokens" | undefined
  /** Changes the HTTP client that the calls are made with. It sees the finished requests, their keys among the rest. */
  readonly transformClient?: ((client: HttpClient.HttpClient) => HttpClient.HttpClient) | undefined
}

/** The options, checked. */
interface Checked {
  readonly model: string
  readonly name: string
  readonly apiKey: Redacted.Redacted | "none" | undefined
  readonly baseUrl: URL | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly contextWindow: number | undefined
  readonly maxTokensField: ChatRequest.MaxTokensField | undefined
  readonly transformClient: (client: HttpClient.HttpClient) => HttpClient.HttpClient
}

const check = (options: Options): Checked => {
  const { apiKey, baseUrl, contextWindow, headers, maxTokensField, name, organization, project } = options
  const option = (field: keyof Options) => `OpenAi.layer({ ${field} })`
  if (apiKey !== undefined && apiKey !== "none") Check.key(option("apiKey"), Redacted.value(apiKey))
  return {
    model: Check.text(option("model"), options.model),
    name: name === undefined ? "openai" : Check.text(option("name"), name),
    apiKey,
    baseUrl: baseUrl === undefined ? undefined : Check.address(option("baseUrl"), baseUrl),
    headers: {
      ...(organization === undefined
        ? {}
        : { "openai-organization": Check.header(option("organization"), organization) }),
      ...(project === undefined ? {} : { "openai-project": Check.header(option("project"), project) }),
      ...Check.headers(option("headers"), headers ?? {})
    },
    contextWindow: contextWindow === undefined
      ? undefined
      : Check.integer(option("contextWindow"), contextWindow, 1),
    maxTokensField: maxTokensField === undefined
      ? undefined
      : Check.literal(option("maxTokensField"), maxTokensField, ["max_completion_tokens", "max_tokens"]),
    transformClient: options.transformClient ?? ((client) => client)
  }
}

const keyConfig = Config.redacted("OPENAI_API_KEY").pipe(
  Config.mapOrFail((redacted) => {
    const key = Redacted.value(redacted).trim()
    return Check.isKey(key)
      ? Either.right(Redacted.make(key))
      : Either.left(ConfigError.InvalidData(["OPENAI_API_KEY"], `Expected ${Check.keyAllowed}`))
  })
)

const baseUrlConfig = Config.string("OPENAI_BASE_URL").pipe(
  Config.withDefault(""),
  Config.mapOrFail((value) =>
    Either.fromNullable(
      // A blank variable is as good as none.
      Check.baseUrl(value.trim() === "" ? defaultBaseUrl : value),
      () => ConfigError.InvalidData(["OPENAI_BASE_URL"], `Expected ${Check.baseUrlAllowed}`)
    )
  )
)

const isOpenAi = ({ hostname }: URL): boolean => /(?:^|\.)openai\.(?:azure\.)?com$/.test(hostname)

const endpoint = (base: URL, path: string): string => {
  const url = new URL(base)
  url.pathname += url.pathname.endsWith("/") ? path.slice(1) : path
  return url.href
}

/**
 * A provider that asks one OpenAI model, or one model of a compatible server.
 *
 * An answer is read in full before it is one: what arrives in part, without a finish reason or with an error inside, is
 * a failure. Interrupting a call closes its connection. Every failure is an `LlmError` that holds neither the key nor
 * the prompt. Streams are refused with `InvalidRequest`.
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
): Effect.Effect<LlmProvider.Service, ConfigError.ConfigError, HttpClient.HttpClient> => fromChecked(check(options))

const fromChecked = (checked: Checked) =>
  Effect.gen(function*() {
    const apiKey = checked.apiKey ?? (yield* keyConfig)
    const base = checked.baseUrl ?? (yield* baseUrlConfig)
    const { model, name } = checked
    const client = Http.prepare(
      checked.transformClient(yield* HttpClient.HttpClient),
      yield* Effect.serviceOption(FetchHttpClient.RequestInit)
    )

    const key = apiKey === "none" ? undefined : Redacted.value(apiKey)
    const secrets = [key ?? [], Object.values(checked.headers), Array.from(base.searchParams.values())].flat()
    const encoding: ChatRequest.Options = {
      model,
      name,
      maxTokensField: checked.maxTokensField ?? (isOpenAi(base) ? "max_completion_tokens" : "max_tokens")
    }
    const post = HttpClientRequest.post(endpoint(base, "/chat/completions"), {
      headers: {
        accept: "application/json",
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        ...checked.headers
      }
    })

    const generate = (request: LlmRequest): Effect.Effect<LlmResponse, LlmError.LlmError> => {
      const asked = { provider: name, model, secrets: () => [...secrets, ...Secrets.ofRequest(request)] }
      const body = ChatRequest.encode(request, encoding)
      if (Either.isLeft(body)) return new LlmError.InvalidRequest({ provider: name, model, ...body.left })
      return Http.exchange(client, HttpClientRequest.bodyText(post, body.right, "application/json")).pipe(
        Effect.catchAllCause((cause) => Transport.failCause(cause, asked)),
        Effect.flatMap((reply) => Effect.flatMap(Clock.currentTimeMillis, (now) => read(reply, asked, now)))
      )
    }

    return LlmProvider.make(defined({ provider: name, model, contextWindow: checked.contextWindow, generate }))
  })

const decoder = new TextDecoder()

const read = (
  { body, end, headers, status }: Http.Reply,
  asked: Transport.Asked,
  now: number
): Either.Either<LlmResponse, LlmError.ProviderError> => {
  const { model, provider } = asked
  // The secrets are gathered only when there is a failure to clean.
  const context = {
    status,
    headers,
    model,
    provider,
    now,
    get secrets() {
      return asked.secrets()
    }
  }
  if (!Http.isSuccess(status)) return Either.left(Failure.fromReply(decoder.decode(body), context))
  if (end === "whole") return ChatResponse.read(body, context)
  if (end === "cut") {
    return Either.left(Failure.malformed(`the body is larger than ${Http.maxAnswerBytes} bytes`, context))
  }
  return Either.left(Transport.toLlmError(end, asked, { status, requestId: requestId(headers) }))
}

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
    status: options.status,
    headers: options.headers,
    model: options.model,
    provider: options.provider ?? "openai",
    now: options.now,
    secrets: options.secrets ?? []
  })
