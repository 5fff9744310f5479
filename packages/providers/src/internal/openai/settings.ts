/** From a provider's options, checked, to where its requests go and how they are made. */
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Options from "perdure/Options"
import type * as OpenAi from "../../OpenAi.ts"
import * as Layers from "../layers.ts"
import * as Check from "../options.ts"
import type * as Timeouts from "../timeouts.ts"

/** What is known of a server before any option is given. */
export interface Server {
  /** The function that takes the options, as messages name it. */
  readonly caller: string
  readonly name: string
  readonly baseUrl: string
  /** The configuration values that hold the base URL and the key, where the server has any. */
  readonly baseUrlVariable?: string
  readonly keyVariable?: string
  readonly maxTokensField?: OpenAi.MaxTokensField
  readonly seedField?: "random_seed"
  readonly streamUsage: boolean
}

/** Where requests go. */
export interface Address {
  readonly url: string
  /** What the body calls the model. */
  readonly model: string
  readonly maxTokensField: OpenAi.MaxTokensField
  readonly keyHeader: "authorization" | "api-key"
  readonly secrets: ReadonlyArray<string>
}

export interface Settings {
  readonly model: string
  readonly name: string
  /** The name under which reasoning is signed. Azure takes back only its own, also where it goes by OpenAI's name. */
  readonly signer: string
  readonly api: "chat" | "responses"
  readonly contextWindow: number | undefined
  readonly tools: boolean | undefined
  readonly images: boolean | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly streamUsage: boolean
  readonly seedField: "seed" | "random_seed"
  readonly timeouts: Timeouts.Checked
  readonly transformClient: NonNullable<OpenAi.Options["transformClient"]>
  readonly key: Effect.Effect<Redacted.Redacted | undefined, ConfigError.ConfigError>
  readonly address: Effect.Effect<Address, ConfigError.ConfigError>
}

const paths = { chat: "chat/completions", responses: "responses" } as const

const isOpenAi = ({ hostname }: URL): boolean => /(?:^|\.)openai\.(?:azure\.)?com$/.test(hostname)

const within = (base: URL, path: string): URL => {
  const url = new URL(base)
  url.pathname += `${url.pathname.endsWith("/") ? "" : "/"}${path}`
  return url
}

const azureAddress = (
  option: (field: string) => string,
  { apiVersion, deployment, endpoint, resource }: OpenAi.Azure,
  model: string,
  api: "chat" | "responses"
): Pick<Address, "url" | "model"> => {
  Options.check(
    option("azure"),
    { resource, endpoint },
    (resource === undefined) !== (endpoint === undefined),
    "either a resource or an endpoint"
  )
  if (resource !== undefined) {
    Options.check(option("azure.resource"), resource, /^[A-Za-z\d-]+$/.test(resource), "letters, digits and hyphens")
  }
  const base = Check.address(option("azure.endpoint"), endpoint ?? `https://${resource}.openai.azure.com`)
  base.pathname = base.pathname.replace(/\/openai(?:\/v1)?$/, "")
  const name = deployment === undefined ? model : Options.text(option("azure.deployment"), deployment)
  if (apiVersion === undefined) return { url: within(base, `openai/v1/${paths[api]}`).href, model: name }
  const path = api === "chat"
    ? `openai/deployments/${encodeURIComponent(name)}/${paths.chat}`
    : `openai/${paths.responses}`
  const url = within(base, path)
  url.searchParams.set("api-version", Options.text(option("azure.apiVersion"), apiVersion))
  return { url: url.href, model: name }
}

/** Throws `InvalidOption` when an option is out of range. */
export const check = (options: OpenAi.Options, server: Server): Settings => {
  const { apiKey, azure, baseUrl, contextWindow, headers, maxTokensField, organization, project } = options
  const option = (field: string) => `OpenAi.${server.caller}({ ${field} })`
  if (apiKey !== undefined && apiKey !== "none") Check.key(option("apiKey"), Redacted.value(apiKey))
  const model = Options.text(option("model"), options.model)
  const api = Options.literal(option("api"), options.api ?? "chat", ["chat", "responses"])
  const field = maxTokensField === undefined
    ? server.maxTokensField
    : Options.literal(option("maxTokensField"), maxTokensField, ["max_completion_tokens", "max_tokens"])
  const name = options.name === undefined ? server.name : Options.text(option("name"), options.name)
  const keyVariable = azure === undefined ? server.keyVariable : "AZURE_OPENAI_API_KEY"

  const addressOf = (base: URL): Address => ({
    url: within(base, paths[api]).href,
    model,
    maxTokensField: field ?? (isOpenAi(base) ? "max_completion_tokens" : "max_tokens"),
    keyHeader: "authorization",
    secrets: Array.from(base.searchParams.values())
  })
  const address = (): Settings["address"] => {
    if (azure !== undefined) {
      Options.check(option("azure"), "<an address>", baseUrl === undefined, "no baseUrl beside it")
      return Effect.succeed({
        ...azureAddress(option, azure, model, api),
        maxTokensField: field ?? "max_completion_tokens",
        keyHeader: "api-key",
        secrets: []
      })
    }
    if (baseUrl !== undefined) return Effect.succeed(addressOf(Check.address(option("baseUrl"), baseUrl)))
    return server.baseUrlVariable === undefined
      ? Effect.succeed(addressOf(new URL(server.baseUrl)))
      : Effect.map(Layers.baseUrlFrom(server.baseUrlVariable, server.baseUrl), addressOf)
  }

  return {
    model,
    name,
    signer: options.name === undefined && azure !== undefined ? "azure" : name,
    api,
    tools: options.tools,
    images: options.images,
    contextWindow: contextWindow === undefined ? undefined : Options.integer(option("contextWindow"), contextWindow, 1),
    headers: {
      ...(organization === undefined
        ? {}
        : { "openai-organization": Check.header(option("organization"), organization) }),
      ...(project === undefined ? {} : { "openai-project": Check.header(option("project"), project) }),
      ...Check.headers(option("headers"), headers ?? {})
    },
    streamUsage: options.streamUsage ?? server.streamUsage,
    seedField: server.seedField ?? "seed",
    timeouts: Check.timeouts(option("timeouts"), options.timeouts),
    transformClient: options.transformClient ?? ((client) => client),
    key: apiKey === "none" || (apiKey === undefined && keyVariable === undefined)
      ? Effect.succeed(undefined)
      : apiKey === undefined && keyVariable !== undefined
      ? Layers.keyFrom(keyVariable)
      : Effect.succeed(apiKey),
    address: address()
  }
}
