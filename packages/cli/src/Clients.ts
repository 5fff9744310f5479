/**
 * The clients of the known providers.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Anthropic from "@perdure/providers/anthropic"
import * as Google from "@perdure/providers/google"
import * as OpenAi from "@perdure/providers/openai"
import type * as ConfigError from "effect/ConfigError"
import type * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as LlmError from "perdure/LlmError"
import type * as LlmProvider from "perdure/LlmProvider"
import type * as Providers from "./Providers.ts"

/**
 * What a client is made of: a key and an address where they do not come from the environment.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly model: string
  readonly apiKey?: Redacted.Redacted | undefined
  readonly baseUrl?: string | undefined
}

type Client = (
  options: Options
) => Layer.Layer<LlmProvider.LlmProvider, ConfigError.ConfigError, HttpClient.HttpClient>

/**
 * The layer of a model at a provider. Throws `InvalidOption` when the address cannot be used.
 *
 * @since 0.1.0
 * @category constructors
 */
export const layers: Readonly<Record<Providers.Name, Client>> = {
  openai: OpenAi.layer,
  anthropic: Anthropic.layer,
  google: Google.layer,
  openrouter: OpenAi.openRouter,
  mistral: OpenAi.mistral,
  ollama: OpenAi.ollama,
  vllm: OpenAi.vllm
}

/**
 * A response that failed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Response {
  readonly status: number
  /** The names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly provider: string
  readonly model: string
  /** The time in milliseconds, for dates in the headers. */
  readonly now: number
}

const failures: Readonly<Record<Providers.Dialect, (response: Response) => LlmError.ProviderError>> = {
  openai: OpenAi.failure,
  anthropic: Anthropic.failure,
  google: Google.failure
}

/**
 * The failure that a response stands for, read as the provider's client would read it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const failure = (dialect: Providers.Dialect, response: Response): LlmError.ProviderError =>
  failures[dialect](response)
