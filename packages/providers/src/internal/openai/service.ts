/** From checked settings to the service, in one of the two APIs. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as Http from "../http.ts"
import * as Wire from "../wire.ts"
import * as ChatRequest from "./chatRequest.ts"
import * as ChatResponse from "./chatResponse.ts"
import * as ChatStream from "./chatStream.ts"
import * as Failure from "./failure.ts"
import * as ResponsesAnswer from "./responsesAnswer.ts"
import * as ResponsesRequest from "./responsesRequest.ts"
import * as ResponsesStream from "./responsesStream.ts"
import type { Settings } from "./settings.ts"

export const make = (settings: Settings) =>
  Effect.gen(function*() {
    const { api, contextWindow, headers, model, name, seedField, signer, streamUsage, timeouts } = settings
    const redacted = yield* settings.key
    const { keyHeader, maxTokensField, model: asked, secrets, url } = yield* settings.address
    const client = Http.prepare(
      settings.transformClient(yield* HttpClient.HttpClient),
      yield* Effect.serviceOption(FetchHttpClient.RequestInit)
    )

    const key = redacted === undefined ? undefined : Redacted.value(redacted)
    const post = (body: string, streaming: boolean) =>
      HttpClientRequest.post(url, {
        headers: {
          accept: streaming ? "text/event-stream" : "application/json",
          ...(key === undefined ? {} : { [keyHeader]: keyHeader === "authorization" ? `Bearer ${key}` : key }),
          ...headers
        }
      }).pipe(HttpClientRequest.bodyText(body, "application/json"))

    const { answer, encode, events } = api === "chat"
      ? {
        encode: ChatRequest.encode,
        answer: ChatResponse.read,
        events: ChatStream.make
      }
      : {
        encode: ResponsesRequest.encode,
        answer: (body: Uint8Array, context: Wire.Context) => ResponsesAnswer.read(body, context, signer),
        events: (context: Wire.Context) => ResponsesStream.make(context, signer)
      }
    const encoding: ChatRequest.Options = { model: asked, name, signer, maxTokensField, seedField, streamUsage }

    return Wire.service({
      encode: (request, streaming) => Either.map(encode(request, streaming, encoding), (body) => post(body, streaming)),
      answer,
      failure: Failure.fromReply,
      events
    }, {
      provider: name,
      model,
      contextWindow,
      tools: settings.tools,
      images: settings.images,
      timeouts,
      url: new URL(url),
      client,
      secrets: [key ?? [], Object.values(headers), secrets].flat()
    })
  })
