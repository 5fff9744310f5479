/** From the options to the service: checked, with what is missing taken from the configuration. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as Options from "perdure/Options"
import type * as Google from "../../Google.ts"
import * as Http from "../http.ts"
import * as Layers from "../layers.ts"
import * as Check from "../options.ts"
import type * as Timeouts from "../timeouts.ts"
import * as Wire from "../wire.ts"
import * as Failure from "./failure.ts"
import * as Request from "./request.ts"
import * as Response from "./response.ts"
import * as Stream from "./stream.ts"

/** The options, checked. */
export interface Settings {
  readonly model: string
  readonly name: string
  readonly apiKey: Redacted.Redacted | "none" | undefined
  readonly baseUrl: URL | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly contextWindow: number | undefined
  readonly tools: boolean | undefined
  readonly images: boolean | undefined
  readonly timeouts: Timeouts.Checked
  readonly transformClient: NonNullable<Google.Options["transformClient"]>
}

/** Throws `InvalidOption` when an option is out of range. */
export const check = (options: Google.Options): Settings => {
  const { apiKey, baseUrl, contextWindow, headers, name } = options
  const option = (field: keyof Google.Options) => `Google.layer({ ${field} })`
  if (apiKey !== undefined && apiKey !== "none") Check.key(option("apiKey"), Redacted.value(apiKey))
  return {
    model: Options.text(option("model"), options.model),
    name: name === undefined ? "google" : Options.text(option("name"), name),
    apiKey,
    baseUrl: baseUrl === undefined ? undefined : Check.address(option("baseUrl"), baseUrl),
    headers: Check.headers(option("headers"), headers ?? {}),
    tools: options.tools,
    images: options.images,
    contextWindow: contextWindow === undefined ? undefined : Options.integer(option("contextWindow"), contextWindow, 1),
    timeouts: Check.timeouts(option("timeouts"), options.timeouts),
    transformClient: options.transformClient ?? ((client) => client)
  }
}

/** A blank variable is as good as none, so that the other one is looked at. */
const keyFrom = (variable: string) =>
  Layers.keyFrom(variable, ConfigError.MissingData([variable], `Expected ${variable} to hold a key`))

const keyConfig = keyFrom("GOOGLE_API_KEY").pipe(
  Config.orElseIf({ if: ConfigError.isMissingDataOnly, orElse: () => keyFrom("GEMINI_API_KEY") })
)

/** The address of a model's method. A name with a slash says itself what it is the name of: `tunedModels/…`. */
const methodOf = (base: URL, model: string, streaming: boolean): string => {
  const url = new URL(base)
  const path = model.includes("/") ? model : `models/${model}`
  url.pathname += `${url.pathname.endsWith("/") ? "" : "/"}${path}:${
    streaming ? "streamGenerateContent" : "generateContent"
  }`
  if (streaming) url.searchParams.set("alt", "sse")
  return url.href
}

export const make = (settings: Settings, defaultBaseUrl: string) =>
  Effect.gen(function*() {
    const { contextWindow, headers, model, name, timeouts } = settings
    const apiKey = settings.apiKey ?? (yield* keyConfig)
    const base = settings.baseUrl ?? (yield* Layers.baseUrlFrom("GOOGLE_BASE_URL", defaultBaseUrl))
    const client = Http.prepare(
      settings.transformClient(yield* HttpClient.HttpClient),
      yield* Effect.serviceOption(FetchHttpClient.RequestInit)
    )

    const key = apiKey === "none" ? undefined : Redacted.value(apiKey)
    const answer = methodOf(base, model, false)
    const stream = methodOf(base, model, true)
    const post = (body: string, streaming: boolean) =>
      HttpClientRequest.post(streaming ? stream : answer, {
        headers: {
          accept: streaming ? "text/event-stream" : "application/json",
          ...(key === undefined ? {} : { "x-goog-api-key": key }),
          ...headers
        }
      }).pipe(HttpClientRequest.bodyText(body, "application/json"))

    return Wire.service({
      encode: (request, streaming) =>
        Either.map(Request.encode(request, { model, name }), (body) => post(body, streaming)),
      answer: Response.read,
      failure: Failure.fromReply,
      events: Stream.events
    }, {
      provider: name,
      model,
      contextWindow,
      tools: settings.tools,
      images: settings.images,
      timeouts,
      url: base,
      client,
      secrets: [key ?? [], Object.values(headers), Array.from(base.searchParams.values())].flat()
    })
  })
