/** From a dialect, which knows one provider's JSON, to the service that programs see: everything that all dialects share. */
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as LlmError from "perdure/LlmError"
import * as LlmProvider from "perdure/LlmProvider"
import type { LlmRequest } from "perdure/LlmRequest"
import { LlmResponse } from "perdure/LlmResponse"
import * as RateLimits from "perdure/RateLimits"
import * as StreamPart from "perdure/StreamPart"
import * as Bytes from "./bytes.ts"
import * as Http from "./http.ts"
import { defined } from "./json.ts"
import * as Parts from "./parts.ts"
import * as Secrets from "./secrets.ts"
import type * as Sse from "./sse.ts"
import * as Timeouts from "./timeouts.ts"
import * as Timer from "./timer.ts"
import * as Transport from "./transport.ts"

/** Whose reply it is, and how it came. */
export interface Context {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly model: string
  readonly provider: string
  /** The `Clock`'s time in milliseconds. */
  readonly now: number
  /** What must not be told; gathered when it is read, which only a failure does. */
  readonly secrets: Iterable<string>
}

/** Why a request cannot be sent in a dialect. */
export interface Refusal {
  /** The field that cannot be expressed. */
  readonly param: string
  readonly detail: string
}

/** What one piece of a stream amounts to. */
export type Decoded = Either.Either<ReadonlyArray<StreamPart.StreamPart>, LlmError.ProviderError>

/** Reads the events of one stream. It may keep state from one to the next. */
export interface EventReader {
  readonly event: (event: Sse.Event) => Decoded
  /**
   * What follows when the connection ends: a `Finish`, where the dialect allows an end without a marker of its own and
   * all that is needed was there. Without a `Finish` the stream counts as cut.
   */
  readonly end: () => Decoded
}

/** One provider's JSON. Everything in it is pure. */
export interface Dialect {
  /** The request to send, for a complete answer or a stream. */
  readonly encode: (
    request: LlmRequest,
    streaming: boolean
  ) => Either.Either<HttpClientRequest.HttpClientRequest, Refusal>
  /** The answer in a reply that HTTP calls a success, or the failure it is. */
  readonly answer: (body: Uint8Array, context: Context) => Either.Either<LlmResponse, LlmError.ProviderError>
  /** The failure that any other reply is. */
  readonly failure: (body: string, context: Context) => LlmError.ProviderError
  readonly events: (context: Context) => EventReader
}

export interface Options {
  readonly provider: string
  readonly model: string
  readonly contextWindow: number | undefined
  readonly tools: boolean | undefined
  readonly images: boolean | undefined
  readonly timeouts: Timeouts.Checked
  /** Where the requests go. */
  readonly url: URL
  readonly client: Http.Client
  /** The keys and whatever else must not be told. */
  readonly secrets: ReadonlyArray<string>
}

const decoder = new TextDecoder()

/** The service of one model, spoken to in a dialect. */
export const service = (dialect: Dialect, options: Options): LlmProvider.Service => {
  const { client, contextWindow, model, provider, timeouts } = options
  const target = { provider, model }

  const asked = (request: LlmRequest): Transport.Asked => ({
    ...target,
    secrets: () => [...options.secrets, ...Secrets.ofRequest(request)]
  })

  const contextOf = (
    { headers, status }: Http.Head,
    who: Transport.Asked,
    now: number
  ): Context => ({
    ...target,
    status,
    headers,
    now,
    get secrets() {
      return who.secrets()
    }
  })

  /** Sends the request and waits for the head of the reply, no longer than it may take. */
  const send = (request: LlmRequest, who: Transport.Asked, streaming: boolean, scope: Scope.Scope) => {
    const encoded = dialect.encode(request, streaming)
    if (Either.isLeft(encoded)) return Effect.fail(new LlmError.InvalidRequest({ ...target, ...encoded.left }))
    const limit = timeouts.headers
    return Timer.within(
      Effect.catchAllCause(Http.execute(client, encoded.right), (cause) => Transport.failCause(cause, who)),
      Http.surroundings(client, scope),
      limit,
      () => new LlmError.TimedOut({ ...target, phase: "headers", limit })
    )
  }

  /** Reads a whole reply: the answer in it, or the failure it is. */
  const settle = (head: Http.Head, bytes: Bytes.Bytes, who: Transport.Asked, over: () => void) =>
    Effect.flatMap(
      Http.read(head, bytes, timeouts.idle),
      ({ body, end }) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const context = contextOf(head, who, now)
          const limits = limitsOf(context)
          const read = (): Either.Either<LlmResponse, LlmError.ProviderError> => {
            if (!Http.isSuccess(context.status)) return Either.left(dialect.failure(decoder.decode(body), context))
            if (end === "whole") {
              over()
              return dialect.answer(body, context)
            }
            if (end === "stalled") {
              return Either.left(
                new LlmError.TimedOut({ ...commonOf(context), phase: "idle", limit: timeouts.idle })
              )
            }
            if (end !== "cut") return Either.left(Transport.toLlmError(end, who, replyOf(context)))
            return Either.left(
              new LlmError.MalformedResponse({
                ...commonOf(context),
                detail: `the body is larger than ${Http.maxAnswerBytes} bytes`
              })
            )
          }
          const outcome = read()
          if (limits === undefined) return outcome
          return Either.mapBoth(outcome, {
            onLeft: (error) => withLimits(error, limits),
            onRight: (response) => new LlmResponse({ ...response, rateLimits: limits }, true)
          })
        })
    )

  const source = (request: LlmRequest) =>
    Effect.flatMap(Effect.scope, (scope) => {
      const who = asked(request)
      return Effect.flatMap(send(request, who, true, scope), (response) => {
        const head = Http.headOf(response)
        return Effect.flatMap(Bytes.of(response, scope), (bytes) => {
          // Errors come as JSON even where a stream was asked for, and so do the answers of servers that do not stream.
          if (!Http.isSuccess(head.status) || /^application\/json\b/i.test(head.headers["content-type"] ?? "")) {
            return Effect.map(
              settle(head, bytes, who, () => {}),
              (response) => Parts.all(StreamPart.fromResponse(response))
            )
          }
          return Effect.map(Clock.currentTimeMillis, (now) => {
            const context = contextOf(head, who, now)
            return Parts.of(bytes, tellingLimits(dialect.events(context), context), {
              cut: (detail) => cut(context, detail),
              malformed: (detail) => new LlmError.MalformedResponse({ ...commonOf(context), detail }),
              broken: (error) => cutBy(error, who, context),
              last: (error) => withLimits(error, limitsOf(context))
            })
          })
        })
      })
    })

  return LlmProvider.make(defined({
    ...target,
    contextWindow,
    tools: options.tools,
    images: options.images,
    server: serverOf(options.url),
    limits: Timeouts.ofStreams(timeouts),
    generate: (request: LlmRequest) =>
      Http.exchange((scope, over) => {
        const who = asked(request)
        return Effect.flatMap(send(request, who, false, scope), (response) =>
          Effect.flatMap(Bytes.of(response, scope), (bytes) =>
            settle(Http.headOf(response), bytes, who, over)))
      }),
    source
  }))
}

const serverOf = ({ hostname, port, protocol }: URL): LlmProvider.Server => ({
  address: hostname,
  port: port === "" ? (protocol === "http:" ? 80 : 443) : Number(port)
})

/** Most servers say nothing, and then a look at the names costs less than looking for each of them. */
const limitsOf = ({ headers, now }: Context): RateLimits.RateLimits | undefined => {
  for (const name in headers) {
    if (name.includes("ratelimit")) return Option.getOrUndefined(RateLimits.fromHeaders(headers, now))
  }
  return undefined
}

const withLimits = (error: LlmError.ProviderError, rateLimits: RateLimits.RateLimits | undefined) =>
  rateLimits === undefined ? error : LlmError.update(error, { rateLimits })

/** The reader, with what the head of the reply said about rate limits in the last part. */
const tellingLimits = (reader: EventReader, context: Context): EventReader => {
  const tell = (decoded: Decoded): Decoded => {
    if (Either.isLeft(decoded)) return decoded
    const last = decoded.right.at(-1)
    if (last?._tag !== "Finish") return decoded
    const rateLimits = limitsOf(context)
    return rateLimits === undefined ? decoded : Either.right([...decoded.right.slice(0, -1), { ...last, rateLimits }])
  }
  return { event: (event) => tell(reader.event(event)), end: () => tell(reader.end()) }
}

const replyOf = ({ headers, status }: Context) => ({ status, requestId: Http.requestId(headers) })

/** What every failure tells of the reply. */
const commonOf = (context: Context) => {
  const { requestId, status } = replyOf(context)
  return defined({
    provider: context.provider,
    model: context.model,
    status,
    requestId: requestId === undefined ? undefined : Secrets.conceal(requestId, context.secrets)
  })
}

const cut = (context: Context, detail: string): LlmError.StreamInterrupted =>
  new LlmError.StreamInterrupted({ ...commonOf(context), detail })

/** A connection that breaks in the middle of a stream has cut it, whatever the reason; a limit that passed says so. */
const cutBy = (error: Parameters<typeof Transport.toLlmError>[0], who: Transport.Asked, context: Context) => {
  const failure = Transport.toLlmError(error, who, replyOf(context))
  return failure._tag === "ConnectionFailed" ? cut(context, failure.detail) : failure
}
