/**
 * Gemini, by Google's `generateContent` API.
 *
 * What does not fit the API is refused before anything is sent: `parallelToolCalls: false`, an address whose media type
 * cannot be told, images that are to be looked at more and less closely. System messages are sent as one instruction,
 * wherever they stand. A tool that is `strict` holds the model to the schemas of all tools. The names of files and of
 * schemas have no place in the API and are not sent.
 *
 * The signatures of a model's thoughts come and go as `Reasoning` parts; one without a text, or before a tool call, signs
 * the part that follows it. Signatures of another provider are left out, their text is sent. Newer models refuse a tool
 * call without one: of calls that another model made, they are told that the signature is missing.
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
import * as Failure from "./internal/google/failure.ts"
import * as Service from "./internal/google/service.ts"
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
 * Where the API is, unless an option or `GOOGLE_BASE_URL` says otherwise.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultBaseUrl = "https://generativelanguage.googleapis.com/v1beta"

/**
 * What {@link layer} and {@link make} take.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The model to ask: for example `gemini-2.5-flash`, or with a slash the whole of its resource name. */
  readonly model: string
  /**
   * The key, sent as `x-goog-api-key` and never in the address; `"none"` for a server that wants none, or wants it in
   * another header.
   *
   * @default the configuration value `GOOGLE_API_KEY`, else `GEMINI_API_KEY`
   */
  readonly apiKey?: Redacted.Redacted | "none" | undefined
  /**
   * Where the API is, up to and without `/models/…`, with or without a slash at the end; a query is kept.
   *
   * @default the configuration value `GOOGLE_BASE_URL`, else {@link defaultBaseUrl}
   */
  readonly baseUrl?: string | undefined
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
   * The provider's short name: in failures and receipts, and as the key of a request's `extras`. These are merged into
   * the body, field by field down to the lists, and win. Signatures are marked with it and go back to no layer of another
   * name.
   *
   * @default "google"
   */
  readonly name?: string | undefined
  /** How long the steps of one attempt may take. */
  readonly timeouts?: Timeouts | undefined
  /** Changes the HTTP client that the calls are made with. It sees the finished requests, their keys among the rest. */
  readonly transformClient?: ((client: HttpClient.HttpClient) => HttpClient.HttpClient) | undefined
}

/**
 * A provider that asks one Gemini model.
 *
 * An answer is read in full before it is one: what arrives in part, without a finish reason or with an error inside, is
 * a failure, also in a stream. What a filter held back is `ContentFiltered`. Interrupting a call closes its connection.
 * Every failure is an `LlmError` that holds neither the key nor the prompt.
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
  Service.make(Service.check(options), defaultBaseUrl)

/**
 * A layer of {@link make}.
 *
 * @example
 * ```ts
 * import { FetchHttpClient } from "@effect/platform"
 * import { Google } from "@perdure/providers"
 * import { Effect, Layer } from "effect"
 * import { LlmProvider } from "perdure"
 *
 * const Llm = Google.layer({ model: "gemini-2.5-flash" }).pipe(Layer.provide(FetchHttpClient.layer))
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
   * @default "google"
   */
  readonly provider?: string | undefined
  /** The time on the `Clock` in milliseconds, for dates in `Retry-After`. */
  readonly now: number
  /** What must not be told: the key and the texts of the prompt. They are removed, pieces of the longer ones too. */
  readonly secrets?: Iterable<string> | undefined
}

/**
 * The failure that a response stands for, from its status, headers and body. Pure.
 *
 * A quota of a day, or of nothing at all, is `QuotaExhausted`, with no wait; any other is `RateLimited`. A region that is
 * not served is `PermissionDenied`. An address that redirects or answers 404 is `ModelNotFound`, with the advice to check
 * the base URL when the answer does not speak of a model. A response with a 2xx status is the failure its body names, or
 * else `MalformedResponse`.
 *
 * @since 0.1.0
 * @category failures
 */
export const failure = (options: FailureOptions): LlmError.ProviderError =>
  Failure.fromReply(options.body, {
    status: options.status,
    headers: options.headers,
    model: options.model,
    provider: options.provider ?? "google",
    now: options.now,
    secrets: options.secrets ?? []
  })
