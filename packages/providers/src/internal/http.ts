/** One request and its whole reply, over whatever `HttpClient` is given. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import type { HttpClientRequest } from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FiberRef from "effect/FiberRef"
import { constTrue } from "effect/Function"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type * as Bytes from "./bytes.ts"
import * as Timer from "./timer.ts"

/** A client made ready by {@link prepare}. */
export interface Client {
  readonly client: HttpClient.HttpClient.With<HttpClientError, Scope.Scope>
  /** What `fetch` is told, where the call does not come with options of its own. */
  readonly fetchOptions: globalThis.RequestInit
}

/** The most bytes of an answer that are read: 64 MiB. */
export const maxAnswerBytes = 64 * 1024 * 1024

/** The most bytes of an error that are read: 64 KiB. */
export const maxErrorBytes = 64 * 1024

const RequestInit = FetchHttpClient.RequestInit

const withoutRedirects = (options: globalThis.RequestInit | undefined): globalThis.RequestInit => ({
  ...options,
  redirect: "manual"
})

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
): Client => ({
  client: HttpClient.withScope(client),
  fetchOptions: withoutRedirects(Option.getOrUndefined(fetchOptions))
})

/** The head of a reply, read once: the platform's responses make their headers anew each time they are asked. */
export interface Head {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
}

export const headOf = ({ headers, status }: HttpClientResponse): Head => ({ headers, status })

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

/** Sends a request and gives the head of the reply, with the end of the scope for the end of the connection. */
export const execute = (
  { client }: Client,
  request: HttpClientRequest
): Effect.Effect<HttpClientResponse, HttpClientError, Scope.Scope> =>
  Effect.catchIf(
    // It runs on a fiber of its own, so there is nothing to set back.
    Effect.zipRight(FiberRef.set(HttpClient.currentTracerDisabledWhen, constTrue), client.execute(request)),
    // A status that the program's own client made a failure of is still a reply.
    (error) => error._tag === "ResponseError" && error.reason === "StatusCode",
    (error) => error._tag === "ResponseError" ? Effect.succeed(error.response) : Effect.fail(error)
  )

/** What {@link execute} finds around it, from what is there. */
export const surroundings =
  ({ fetchOptions }: Client, scope: Scope.Scope) => (own: Context.Context<never>): Context.Context<Scope.Scope> => {
    const options = Context.getOption(own, RequestInit)
    // A copy of its own, since adding to a context copies it each time.
    const services = new Map(own.unsafeMap)
    services.set(RequestInit.key, Option.isNone(options) ? fetchOptions : withoutRedirects(options.value))
    services.set(Scope.Scope.key, scope)
    return Context.unsafeMake(services)
  }

/**
 * Runs one exchange, with a scope that holds its connection. When the answer was read to its end there is nothing left to
 * close, and the scope is left alone: closing it would abort a request that is over, which costs a stack trace.
 */
export const exchange = <A, E>(
  use: (scope: Scope.Scope, over: () => void) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.flatMap(Scope.make(), (scope) => {
    let isOver = false
    return Effect.onExit(
      use(scope, () => {
        isOver = true
      }),
      (exit) => isOver ? Effect.void : Scope.close(scope, exit)
    )
  })

/**
 * Reads a body in full, that of an error only as far as it is worth reading.
 *
 * @param idle how long one piece of it may take
 */
export const read = (
  { headers, status }: Head,
  bytes: Bytes.Bytes,
  idle: Duration.Duration
): Effect.Effect<Body> =>
  Effect.suspend(() => {
    const reading = new Reading(bytes, isSuccess(status) ? maxAnswerBytes : maxErrorBytes)
    if (isSuccess(status) && Number(headers["content-length"]) > maxAnswerBytes) return reading.upTo("cut")
    return reading.more() ?? Effect.flatMap(Effect.clock, (clock) =>
      Effect.async<Body>((resume) => {
        reading.wait(clock, idle, resume)
        return Effect.sync(() => reading.stop())
      }))
  })

/** A body that is being read. */
class Reading {
  readonly bytes: Bytes.Bytes
  readonly limit: number
  readonly pieces: Array<Uint8Array> = []
  size = 0
  heard = 0
  cancel: (() => void) | undefined

  constructor(bytes: Bytes.Bytes, limit: number) {
    this.bytes = bytes
    this.limit = limit
  }

  upTo(end: Body["end"]): Effect.Effect<Body> {
    return Effect.succeed({ body: join(this.pieces, Math.min(this.size, this.limit)), end })
  }

  /** Takes what is there; gives the outcome when that was all. */
  more(): Effect.Effect<Body> | undefined {
    for (let taken = this.bytes.take(); taken !== undefined; taken = this.bytes.take()) {
      if ("_tag" in taken) return this.ended(taken)
      for (const piece of taken) {
        this.pieces.push(piece)
        this.size += piece.length
      }
      if (this.size > this.limit) return this.upTo("cut")
    }
    return undefined
  }

  ended({ cause }: Bytes.End): Effect.Effect<Body> {
    if (cause === undefined) return this.upTo("whole")
    const failure = Cause.failureOrCause(cause)
    return Either.isLeft(failure) ? this.upTo(failure.left) : Effect.failCause(failure.right)
  }

  /** Reads on as bytes come, for as long as none of them is late. */
  wait(clock: Clock.Clock, idle: Duration.Duration, resume: (outcome: Effect.Effect<Body>) => void): void {
    this.heard = clock.unsafeCurrentTimeMillis()
    this.watch(clock, idle, Duration.toMillis(idle), resume)
    this.listen(clock, resume)
  }

  listen(clock: Clock.Clock, resume: (outcome: Effect.Effect<Body>) => void): void {
    this.bytes.wait(() => {
      this.heard = clock.unsafeCurrentTimeMillis()
      const outcome = this.more()
      if (outcome === undefined) return this.listen(clock, resume)
      this.stop()
      resume(outcome)
    })
  }

  /** One timer for the whole body, set again only when it went off too early. */
  watch(
    clock: Clock.Clock,
    idle: Duration.Duration,
    left: number,
    resume: (outcome: Effect.Effect<Body>) => void
  ): void {
    this.cancel = Timer.after(clock, Duration.millis(left), () => {
      const left = this.heard + Duration.toMillis(idle) - clock.unsafeCurrentTimeMillis()
      if (left > 0) return this.watch(clock, idle, left, resume)
      this.stop()
      resume(this.upTo("stalled"))
    })
  }

  stop(): void {
    this.bytes.forget()
    this.cancel?.()
  }
}

const join = (pieces: ReadonlyArray<Uint8Array>, size: number): Uint8Array => {
  const [first] = pieces
  if (pieces.length === 1 && first?.length === size) return first
  const whole = new Uint8Array(size)
  let at = 0
  for (const piece of pieces) {
    whole.set(piece.subarray(0, size - at), at)
    at += piece.length
    if (at >= size) break
  }
  return whole
}
