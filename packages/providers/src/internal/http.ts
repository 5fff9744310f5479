/** One request and its whole reply, over whatever `HttpClient` is given. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import type { HttpClientRequest } from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** A client made ready by {@link prepare}. Its responses live as long as the scope. */
export type Client = HttpClient.HttpClient.With<HttpClientError, Scope.Scope>

/** The most bytes of an answer that are read: 64 MiB. */
export const maxAnswerBytes = 64 * 1024 * 1024

/** The most bytes of an error that are read: 64 KiB. */
export const maxErrorBytes = 64 * 1024

const RequestInit = FetchHttpClient.RequestInit

/**
 * A client as every provider here wants it.
 *
 * It makes no spans and sends no trace headers, since a call has spans of its own and a provider is a stranger. `fetch`
 * does not follow redirects, since it would carry keys in headers of their own to another host; the other clients never
 * do. And a request ends with its scope, so that its socket is let go at whatever point the call is left.
 */
export const prepare = (
  client: HttpClient.HttpClient,
  fetchOptions: Option.Option<globalThis.RequestInit>
): Client =>
  client.pipe(
    HttpClient.transformResponse(
      Effect.mapInputContext((context: Context.Context<never>) => {
        const options = Option.orElse(Context.getOption(context, RequestInit), () => fetchOptions)
        return Context.add(context, RequestInit, { ...Option.getOrUndefined(options), redirect: "manual" })
      })
    ),
    HttpClient.withTracerDisabledWhen(() => true),
    HttpClient.withScope
  )

/** A body as far as it was read. */
export interface Body {
  readonly body: Uint8Array
  /** How it ended: with its end, at the limit of size or of time, or with the connection. */
  readonly end: "whole" | "cut" | "stalled" | HttpClientError
}

export const isSuccess = (status: number): boolean => status >= 200 && status < 300

const requestIds = ["x-request-id", "apim-request-id", "request-id", "x-ms-request-id", "cf-ray"]

/** The provider's id of the request, and a proxy's where it has none. */
export const requestId = (headers: Readonly<Record<string, string | undefined>>): string | undefined => {
  for (const name of requestIds) {
    const id = headers[name]?.trim()
    if (id !== undefined && id !== "") return id
  }
  return undefined
}

/** Sends a request and gives the head of the reply; closing the scope closes the connection if its body is unread. */
export const execute = (
  client: Client,
  request: HttpClientRequest
): Effect.Effect<HttpClientResponse, HttpClientError, Scope.Scope> =>
  Effect.catchIf(
    client.execute(request),
    // A status that the program's own client made a failure of is still a reply.
    (error) => error._tag === "ResponseError" && error.reason === "StatusCode",
    (error) => error._tag === "ResponseError" ? Effect.succeed(error.response) : Effect.fail(error)
  )

/**
 * Reads a body in full, that of an error only as far as it is worth reading.
 *
 * @param idle how long one piece of it may take
 */
export const read = (response: HttpClientResponse, idle: Duration.Duration): Effect.Effect<Body> =>
  Effect.suspend(() => {
    const limit = isSuccess(response.status) ? maxAnswerBytes : maxErrorBytes
    const chunks: Array<Uint8Array> = []
    let size = 0
    const upTo = (end: Body["end"]): Body => ({ body: join(chunks, Math.min(size, limit)), end })
    if (isSuccess(response.status) && Number(response.headers["content-length"]) > limit) {
      return Effect.succeed(upTo("cut"))
    }
    const most = Duration.toMillis(idle)
    let heard = 0
    const reading = Stream.runForEachWhile(response.stream, (chunk) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        heard = now
        chunks.push(chunk)
        size += chunk.length
        return size <= limit
      }))
    // One watcher for the whole body: a timer for each piece costs more than all else that a call does.
    const stalled: Effect.Effect<"stalled"> = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const left = heard + most - now
      return left <= 0 ? Effect.succeed("stalled") : Effect.zipRight(Effect.sleep(left), stalled)
    })
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      heard = now
      return Effect.raceFirst(
        Effect.match(reading, {
          onSuccess: () => upTo(size > limit ? "cut" : "whole"),
          onFailure: (error) => upTo(error.reason === "EmptyBody" ? "whole" : error)
        }),
        Effect.map(stalled, upTo)
      )
    })
  })

const join = (chunks: ReadonlyArray<Uint8Array>, size: number): Uint8Array => {
  const whole = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk.subarray(0, size - at), at)
    at += chunk.length
    if (at >= size) break
  }
  return whole
}
