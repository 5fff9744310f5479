/**
 * Anthropic's Messages API, and every server that speaks it.
 *
 * All system messages become the one system prompt that the API has, in their order, wherever they stood in the
 * conversation. Consecutive messages of one role become one, with the results of tools first. Texts that say nothing are
 * left out, since the API refuses them, and so is reasoning without a signature or with that of another provider, since it
 * takes back only its own; a signature is sent back unchanged. Files are PDFs, by address or as base64, or base64 text of any kind.
 *
 * What the API has no word for is refused with `InvalidRequest` before anything is sent: a seed, penalties, a temperature
 * above 1, JSON without a schema, and arguments of an earlier tool call that are not a JSON object. Two hints have no
 * place in it and are not sent: how closely to look at an image, and the name of a JSON schema. A schema is always kept
 * to strictly, by the models that know `output_config`; older ones refuse it.
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
import * as Failure from "./internal/anthropic/failure.ts"
import * as Service from "./internal/anthropic/service.ts"
import * as Settings from "./internal/anthropic/settings.ts"
import * as Layers from "./internal/layers.ts"
import type { Timeouts } from "./internal/timeouts.ts"

export type {
  /**
   * How long the steps of one attempt may take.
   *
   * @since 0.1.0
   * @category models
   */
  Timeouts
} from "./internal/timeouts.ts"

/**
 * Where Anthropic is, unless an option or `ANTHROPIC_BASE_URL` says otherwise.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultBaseUrl = "https://api.anthropic.com"

/**
 * The version of the API that is spoken, unless an option says otherwise.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultVersion = "2023-06-01"

/**
 * The most tokens of an answer, unless the request or an option says otherwise: the API asks for a number. Every Claude
 * model from 3 on can write as many.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultMaxOutputTokens = 4096

/**
 * What {@link layer} and {@link make} take.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The model to ask, by Anthropic's name for it: for example `claude-sonnet-4-5`. */
  readonly model: string
  /**
   * The key, sent as `x-api-key`; `"none"` for a server that wants none, or wants it in another header.
   *
   * @default the configuration value `ANTHROPIC_API_KEY`
   */
  readonly apiKey?: Redacted.Redacted | "none" | undefined
  /**
   * Where the API is, up to and without `/v1/messages`, with or without a slash or `/v1` at the end; a query is kept.
   *
   * @default the configuration value `ANTHROPIC_BASE_URL`, else {@link defaultBaseUrl}
   */
  readonly baseUrl?: string | undefined
  /**
   * The version of the API, sent as `anthropic-version`.
   * @default {@link defaultVersion}
   */
  readonly version?: string | undefined
  /**
   * The beta features to use, sent as `anthropic-beta`.
   * @default none
   */
  readonly beta?: ReadonlyArray<string> | undefined
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
   * body, over everything else in it. Only `output_config` is put together, field by field. Signatures are
   * marked with it and go back to no layer of another name, so give a name of its own to a server that is not Anthropic's.
   *
   * @default "anthropic"
   */
  readonly name?: string | undefined
  /**
   * The most tokens of an answer, where the request does not say.
   * @default {@link defaultMaxOutputTokens}
   */
  readonly maxOutputTokens?: number | undefined
  /** How long the steps of one attempt may take. */
  readonly timeouts?: Timeouts | undefined
  /** Changes the HTTP client that the calls are made with. It sees the finished requests, their keys among the rest. */
  readonly transformClient?: ((client: HttpClient.HttpClient) => HttpClient.HttpClient) | undefined
}

const defaults: Settings.Defaults = {
  name: "anthropic",
  baseUrl: defaultBaseUrl,
  version: defaultVersion,
  maxOutputTokens: defaultMaxOutputTokens
}

/**
 * A provider that asks one of Anthropic's models.
 *
 * An answer is read in full before it is one: what arrives in part, without a stop reason or with an error inside, is a
 * failure, and so is a stream that ends without `message_stop`. A model that declines to answer fails with
 * `ContentFiltered`. A turn that the API has paused finishes with `other`, its `stop_reason` in the answer's `extras`.
 * Interrupting a call closes its connection. Every failure is an `LlmError` that holds neither the key nor the prompt.
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
  Service.make(Settings.check(options, defaults))

/**
 * A layer of {@link make}.
 *
 * @example
 * ```ts
 * import { FetchHttpClient } from "@effect/platform"
 * import { Anthropic } from "@perdure/providers"
 * import { Effect, Layer } from "effect"
 * import { LlmProvider } from "perdure"
 *
 * const Llm = Anthropic.layer({ model: "claude-sonnet-4-5" }).pipe(Layer.provide(FetchHttpClient.layer))
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
  /** The response's body as text: JSON, HTML, half of either, or nothing. */
  readonly body: string
  /** The model that was asked. */
  readonly model: string
  /**
   * The provider's short name.
   *
   * @default "anthropic"
   */
  readonly provider?: string | undefined
  /** The time on the `Clock` in milliseconds, for dates in `Retry-After` and the resets of rate limits. */
  readonly now: number
  /** What must not be told: the key and the texts of the prompt. They are removed, pieces of the longer ones too. */
  readonly secrets?: Iterable<string> | undefined
}

/**
 * The failure that a response stands for, from its status, headers and body. Pure.
 *
 * An address that redirects or answers 404 is `ModelNotFound`, with the advice to check the base URL when the answer does
 * not name what is missing. A response with a 2xx status is the failure its body names, or else `MalformedResponse`.
 *
 * @since 0.1.0
 * @category failures
 */
export const failure = (options: FailureOptions): LlmError.ProviderError =>
  Failure.fromReply(options.body, {
    ...options,
    provider: options.provider ?? "anthropic",
    secrets: options.secrets ?? []
  })
