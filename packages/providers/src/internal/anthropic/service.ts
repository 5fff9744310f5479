/** From checked settings to the service. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as Http from "../http.ts"
import * as Wire from "../wire.ts"
import * as Events from "./events.ts"
import * as Failure from "./failure.ts"
import * as Request from "./request.ts"
import * as Response from "./response.ts"
import { endpoint, type Settings } from "./settings.ts"

export const make = (settings: Settings) =>
  Effect.gen(function*() {
    const { contextWindow, headers, maxOutputTokens, model, name, secrets, timeouts } = settings
    const redacted = yield* settings.key
    const base = yield* settings.baseUrl
    const client = Http.prepare(
      settings.transformClient(yield* HttpClient.HttpClient),
      yield* Effect.serviceOption(FetchHttpClient.RequestInit)
    )
    const key = redacted === undefined ? undefined : Redacted.value(redacted)
    const url = endpoint(base)
    const post = (body: string, streaming: boolean) =>
      HttpClientRequest.post(url, {
        headers: {
          accept: streaming ? "text/event-stream" : "application/json",
          ...(key === undefined ? {} : { "x-api-key": key }),
          ...headers
        }
      }).pipe(HttpClientRequest.bodyText(body, "application/json"))

    return Wire.service({
      encode: (request, streaming) =>
        Either.map(
          Request.encode(request, streaming, { model, name, maxOutputTokens }),
          (body) => post(body, streaming)
        ),
      answer: Response.read,
      failure: Failure.fromReply,
      events: Events.make
    }, {
      provider: name,
      model,
      contextWindow,
      tools: settings.tools,
      images: settings.images,
      timeouts,
      url: base,
      client,
      secrets: [key ?? [], secrets, Array.from(base.searchParams.values())].flat()
    })
  })
