/** The HTTP client of the exporters, from which nothing secret comes back. */
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"

export type Headers = Redacted.Redacted<Readonly<Record<string, string>>>

/** What the exporter looks at when it decides whether to try again; a `Response` cannot have every status. */
const plain = (request: HttpClientRequest.HttpClientRequest, response: HttpClientResponse.HttpClientResponse) => {
  const after = response.headers["retry-after"]
  return HttpClientResponse.fromWeb(
    request,
    new Response(null, {
      status: response.status >= 200 && response.status <= 599 ? response.status : 502,
      headers: after === undefined ? {} : { "retry-after": after }
    })
  )
}

/**
 * The exporter logs what failed with the request in it. So it gets requests, responses and errors that never had the
 * headers, and each try has a time limit, since it has none itself.
 */
export const guarded = (
  client: HttpClient.HttpClient,
  headers: Headers | undefined,
  timeout: Duration.Duration
): HttpClient.HttpClient =>
  HttpClient.make((request) => {
    const failed = (reason: HttpClientError.RequestError["reason"]) =>
      new HttpClientError.RequestError({ request, reason, description: "The collector could not be asked" })
    const sent = headers === undefined ? request : HttpClientRequest.setHeaders(request, Redacted.value(headers))
    return client.execute(sent).pipe(
      // The body is read so that the connection can be used again.
      Effect.tap((response) => Effect.ignore(response.arrayBuffer)),
      Effect.map((response) => plain(request, response)),
      Effect.mapError((error) => failed(error._tag === "RequestError" ? error.reason : "Transport")),
      Effect.timeoutFail({ duration: timeout, onTimeout: () => failed("Transport") })
    )
  })
