/** From a dialect, which knows one provider's JSON, to the service that programs see: everything that all dialects share. */
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as Channel from "effect/Channel"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as LlmError from "perdure/LlmError"
import * as LlmProvider from "perdure/LlmProvider"
import type { LlmRequest } from "perdure/LlmRequest"
import { LlmResponse } from "perdure/LlmResponse"
import * as RateLimits from "perdure/RateLimits"
import * as StreamPart from "perdure/StreamPart"
import * as Http from "./http.ts"
import { defined } from "./json.ts"
import * as Secrets from "./secrets.ts"
import * as Sse from "./sse.ts"
import * as Timeouts from "./timeouts.ts"
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
  readonly timeouts: Timeouts.Checked
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
    { headers, status }: Pick<HttpClientResponse, "headers" | "status">,
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
  const send = (request: LlmRequest, who: Transport.Asked, streaming: boolean) => {
    const encoded = dialect.encode(request, streaming)
    if (Either.isLeft(encoded)) return Effect.fail(new LlmError.InvalidRequest({ ...target, ...encoded.left }))
    const head = Effect.catchAllCause(
      Http.execute(client, encoded.right),
      (cause) => Transport.failCause(cause, who)
    )
    const limit = timeouts.headers
    return Effect.timeoutFail(head, {
      duration: limit,
      onTimeout: () => new LlmError.TimedOut({ ...target, phase: "headers", limit })
    })
  }

  /** Reads a whole reply: the answer in it, or the failure it is. */
  const settle = (response: HttpClientResponse, who: Transport.Asked) =>
    Effect.flatMap(
      Http.read(response, timeouts.idle),
      ({ body, end }) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const context = contextOf(response, who, now)
          const limits = limitsOf(context)
          const read = (): Either.Either<LlmResponse, LlmError.ProviderError> => {
            if (!Http.isSuccess(context.status)) return Either.left(dialect.failure(decoder.decode(body), context))
            if (end === "whole") return dialect.answer(body, context)
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
          return Either.mapBoth(read(), {
            onLeft: (error) => withLimits(error, limits),
            onRight: (response) =>
              limits === undefined ? response : new LlmResponse({ ...response, rateLimits: limits }, true)
          })
        })
    )

  const stream = (request: LlmRequest): Stream.Stream<StreamPart.StreamPart, LlmError.LlmError> =>
    Stream.unwrapScoped(Effect.gen(function*() {
      const who = asked(request)
      const response = yield* send(request, who, true)
      // Errors come as JSON even where a stream was asked for, and so do the answers of servers that do not stream.
      if (!Http.isSuccess(response.status) || /^application\/json\b/i.test(response.headers["content-type"] ?? "")) {
        return Stream.fromIterable(StreamPart.fromResponse(yield* settle(response, who)))
      }
      const context = contextOf(response, who, yield* Clock.currentTimeMillis)
      const reader = dialect.events(context)
      const events = Sse.decode(response.stream).pipe(
        Stream.mapError((error) =>
          error._tag === "NotEvents"
            ? new LlmError.MalformedResponse({ ...commonOf(context), detail: error.what })
            : cutBy(error, who, context)
        )
      )
      return Stream.concat(
        Stream.catchTag(readEvents(events, reader), "StreamInterrupted", (error) => closing(reader, error)),
        Stream.suspend(() => closing(reader, cut(context, "the stream ended before the answer was complete")))
      ).pipe(Stream.mapError((error) => withLimits(error, limitsOf(context))))
    }))

  return LlmProvider.make(defined({
    ...target,
    contextWindow,
    limits: Timeouts.ofStreams(timeouts),
    generate: (request: LlmRequest) =>
      Effect.scoped(Effect.suspend(() => {
        const who = asked(request)
        return Effect.flatMap(send(request, who, false), (response) => settle(response, who))
      })),
    stream
  }))
}

const limitsOf = ({ headers, now }: Context) => Option.getOrUndefined(RateLimits.fromHeaders(headers, now))

const withLimits = (error: LlmError.ProviderError, rateLimits: RateLimits.RateLimits | undefined) =>
  rateLimits === undefined ? error : LlmError.update(error, { rateLimits })

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

/** What follows the last event. An end that comes when all that is needed was there has cut nothing, however it came. */
const closing = (
  reader: EventReader,
  error: LlmError.StreamInterrupted
): Stream.Stream<StreamPart.StreamPart, LlmError.ProviderError> => {
  const end = reader.end()
  if (Either.isLeft(end)) return Stream.fail(end.left)
  const parts = Stream.fromIterable(end.right)
  return end.right.some(({ _tag }) => _tag === "Finish") ? parts : Stream.concat(parts, Stream.fail(error))
}

/**
 * The parts of the events, chunk by chunk. What came before a bad event is handed on first. One channel, since a stream
 * put together from a stream for each chunk costs more than reading what is in it.
 */
const readEvents = (
  events: Stream.Stream<Sse.Event, LlmError.ProviderError>,
  reader: EventReader
): Stream.Stream<StreamPart.StreamPart, LlmError.ProviderError> => {
  const read: Channel.Channel<
    Chunk.Chunk<StreamPart.StreamPart>,
    Chunk.Chunk<Sse.Event>,
    LlmError.ProviderError,
    LlmError.ProviderError,
    void,
    unknown
  > = Channel.readWithCause({
    onInput: (chunk: Chunk.Chunk<Sse.Event>) => {
      const parts: Array<StreamPart.StreamPart> = []
      for (const event of chunk) {
        const decoded = reader.event(event)
        if (Either.isRight(decoded)) parts.push(...decoded.right)
        // The end came in the middle of this event, so it is no fault of the format.
        else if (!event.cut) {
          return Channel.zipRight(Channel.write(Chunk.unsafeFromArray(parts)), Channel.fail(decoded.left))
        }
      }
      return Channel.zipRight(Channel.write(Chunk.unsafeFromArray(parts)), read)
    },
    onFailure: Channel.failCause,
    onDone: () => Channel.void
  })
  return Stream.pipeThroughChannel(events, read)
}
