/** From a provider's options, checked, to where its requests go and how they are made. */
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Options from "perdure/Options"
import type * as Anthropic from "../../Anthropic.ts"
import * as Layers from "../layers.ts"
import * as Check from "../options.ts"
import type * as Timeouts from "../timeouts.ts"

export interface Settings {
  readonly model: string
  readonly name: string
  readonly maxOutputTokens: number
  readonly contextWindow: number | undefined
  readonly tools: boolean | undefined
  readonly images: boolean | undefined
  readonly headers: Readonly<Record<string, string>>
  /** The values of the headers that the program gives. */
  readonly secrets: ReadonlyArray<string>
  readonly timeouts: Timeouts.Checked
  readonly transformClient: NonNullable<Anthropic.Options["transformClient"]>
  readonly key: Effect.Effect<Redacted.Redacted | undefined, ConfigError.ConfigError>
  readonly baseUrl: Effect.Effect<URL, ConfigError.ConfigError>
}

/** What holds where an option is left out. */
export interface Defaults {
  readonly name: string
  readonly baseUrl: string
  readonly version: string
  readonly maxOutputTokens: number
}

/** Where messages are sent: the base URL may end with the version of the API, or not. */
export const endpoint = (base: URL): string => {
  const url = new URL(base)
  const path = url.pathname.replace(/\/+$/, "")
  url.pathname = path.endsWith("/v1") ? `${path}/messages` : `${path}/v1/messages`
  return url.href
}

/** Throws `InvalidOption` when an option is out of range. */
export const check = (options: Anthropic.Options, defaults: Defaults): Settings => {
  const { apiKey, baseUrl, beta = [], contextWindow, headers, maxOutputTokens, name, version } = options
  const option = (field: keyof Anthropic.Options) => `Anthropic.layer({ ${field} })`
  if (apiKey !== undefined && apiKey !== "none") Check.key(option("apiKey"), Redacted.value(apiKey))
  const given = Check.headers(option("headers"), headers ?? {})
  const betas = beta.map((one) => {
    Options.check(option("beta"), one, /^[\w.-]+$/.test(one), "names of beta features, such as context-1m-2025-08-07")
    return one
  })
  return {
    model: Options.text(option("model"), options.model),
    name: name === undefined ? defaults.name : Options.text(option("name"), name),
    maxOutputTokens: maxOutputTokens === undefined
      ? defaults.maxOutputTokens
      : Options.integer(option("maxOutputTokens"), maxOutputTokens, 1),
    tools: options.tools,
    images: options.images,
    contextWindow: contextWindow === undefined ? undefined : Options.integer(option("contextWindow"), contextWindow, 1),
    headers: {
      "anthropic-version": Check.header(option("version"), version ?? defaults.version),
      ...(betas.length === 0 ? {} : { "anthropic-beta": betas.join(",") }),
      ...given
    },
    secrets: Object.values(given),
    timeouts: Check.timeouts(option("timeouts"), options.timeouts),
    transformClient: options.transformClient ?? ((client) => client),
    key: apiKey === undefined
      ? Layers.keyFrom("ANTHROPIC_API_KEY")
      : Effect.succeed(apiKey === "none" ? undefined : apiKey),
    baseUrl: baseUrl === undefined
      ? Layers.baseUrlFrom("ANTHROPIC_BASE_URL", defaults.baseUrl)
      : Effect.succeed(Check.address(option("baseUrl"), baseUrl))
  }
}
