/**
 * A body as it arrives. The responses of the platform's own clients show what they are made of, and reading that is many
 * times cheaper than the `Stream` they make of it; every other response is read by its `Stream`. All three ways behave
 * the same.
 */
import { type HttpClientError, ResponseError } from "@effect/platform/HttpClientError"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { asRecord } from "./json.ts"

/** The end of a body, or what broke. */
export interface End {
  readonly _tag: "End"
  readonly cause: Cause.Cause<HttpClientError> | undefined
}

/** A body that is read bit by bit, by one reader. */
export interface Bytes {
  /** All that has arrived and was not taken yet, or how the body ended; nothing when neither is there. */
  take(): ReadonlyArray<Uint8Array> | End | undefined
  /** Calls back once there may be something to take, and not at once. Whoever no longer waits loses nothing. */
  wait(wake: () => void): void
  /** Takes back the last {@link wait}. */
  forget(): void
  /** Lets go of what is unread. */
  close(): Effect.Effect<void>
}

/** How much is read ahead for one {@link Bytes.take}. */
const enough = 64 * 1024

/** For how many turns of the queue of microtasks a web stream is asked whether more is there. */
const turns = 8

const done: End = { _tag: "End", cause: undefined }

type OnBroken = (cause: unknown) => End

/** One who waits for something to take. */
class Waiter {
  protected waiting: (() => void) | undefined

  forget(): void {
    this.waiting = undefined
  }

  protected wake(): void {
    const wake = this.waiting
    this.waiting = undefined
    wake?.()
  }
}

/** The part of `stream.Readable` that is needed. */
interface Readable {
  readonly destroyed: boolean
  readonly readableEnded: boolean
  readonly read: () => Uint8Array | null
  readonly on: (event: string, listener: (argument: unknown) => void) => unknown
  readonly destroy: () => unknown
}

class OfReadable extends Waiter implements Bytes {
  readonly body: Readable
  end: End | undefined

  /** The listeners stay: the body goes with its request, and an error that nobody hears ends the process. */
  constructor(body: Readable, onBroken: OnBroken) {
    super()
    this.body = body
    body.on("readable", () => this.wake())
    body.on("end", () => this.ended(done))
    body.on("error", (cause) => this.ended(onBroken(cause)))
    body.on("close", () => this.end ?? this.ended(onBroken(new Error("closed before its end"))))
    if (body.readableEnded) this.end = done
    else if (body.destroyed) this.end = onBroken(new Error("closed before it was read"))
  }

  ended(how: End): void {
    this.end ??= how
    this.wake()
  }

  take(): ReadonlyArray<Uint8Array> | End | undefined {
    const piece = this.end === undefined ? this.body.read() : null
    return piece === null ? this.end : [piece]
  }

  wait(wake: () => void): void {
    this.waiting = wake
  }

  close(): Effect.Effect<void> {
    return Effect.sync(() => this.body.destroyed || this.body.destroy())
  }
}

class OfWebStream extends Waiter implements Bytes {
  readonly reader: ReadableStreamDefaultReader<Uint8Array>
  readonly onBroken: OnBroken
  pieces: Array<Uint8Array> = []
  size = 0
  end: End | undefined
  reading = false
  /** For how many turns nothing more has come. */
  lull = 0

  constructor(body: ReadableStream<Uint8Array>, onBroken: OnBroken) {
    super()
    this.reader = body.getReader()
    this.onBroken = onBroken
  }

  read(): void {
    this.reading = true
    this.reader.read().then((result) => this.arrived(result), (cause) => this.ended(this.onBroken(cause)))
  }

  ended(how: End): void {
    this.reading = false
    this.end = how
    this.wake()
  }

  arrived(result: { readonly done: boolean; readonly value?: Uint8Array | undefined }): void {
    this.reading = false
    this.lull = 0
    if (result.value !== undefined) {
      this.pieces.push(result.value)
      this.size += result.value.length
    }
    if (result.done) return this.ended(done)
    if (this.waiting === undefined) return
    if (this.size >= enough) return this.wake()
    this.read()
    // The one look that begins here goes on for as long as pieces come.
    if (this.pieces.length === 1) this.look()
  }

  look(): void {
    if (this.waiting === undefined) return
    if (this.lull++ >= turns) this.wake()
    else Promise.resolve().then(() => this.look())
  }

  take(): ReadonlyArray<Uint8Array> | End | undefined {
    if (this.pieces.length === 0) return this.end
    const taken = this.pieces
    this.pieces = []
    this.size = 0
    return taken
  }

  wait(wake: () => void): void {
    this.waiting = wake
    if (!this.reading) this.read()
  }

  close(): Effect.Effect<void> {
    return Effect.sync(() => {
      if (this.end === undefined) this.reader.cancel().catch(() => {})
    })
  }
}

type Pull = Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<HttpClientError>>

/** Pulls run on fibers of their own, so that one that is no longer waited for is not lost. */
class OfStream extends Waiter implements Bytes {
  readonly pull: Pull
  readonly scope: Scope.CloseableScope
  readonly runtime: Runtime.Runtime<never>
  pieces: ReadonlyArray<Uint8Array> = []
  end: End | undefined
  pulling: Fiber.RuntimeFiber<Chunk.Chunk<Uint8Array>, Option.Option<HttpClientError>> | undefined

  constructor(pull: Pull, scope: Scope.CloseableScope, runtime: Runtime.Runtime<never>) {
    super()
    this.pull = pull
    this.scope = scope
    this.runtime = runtime
  }

  take(): ReadonlyArray<Uint8Array> | End | undefined {
    if (this.pieces.length === 0) return this.end
    const taken = this.pieces
    this.pieces = []
    return taken
  }

  wait(wake: () => void): void {
    this.waiting = wake
    if (this.pulling !== undefined) return
    this.pulling = Runtime.runFork(this.runtime, this.pull)
    this.pulling.addObserver((exit) => {
      this.pulling = undefined
      if (Exit.isSuccess(exit)) this.pieces = Chunk.toReadonlyArray(exit.value)
      else this.end = endOf(exit.cause)
      this.wake()
    })
  }

  close(): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.zipRight(
        this.pulling === undefined ? Effect.void : Fiber.interrupt(this.pulling),
        Scope.close(this.scope, Exit.void)
      )
    )
  }
}

const endOf = (cause: Cause.Cause<Option.Option<HttpClientError>>): End => {
  const failure = Option.flatten(Cause.failureOption(cause))
  if (Option.isNone(failure)) {
    return Cause.isFailure(cause) ? done : { _tag: "End", cause: Cause.map(cause, Option.getOrThrow) }
  }
  // What the platform calls a body that is not there.
  return failure.value.reason === "EmptyBody" ? done : { _tag: "End", cause: Cause.fail(failure.value) }
}

const ofStream = (stream: HttpClientResponse["stream"]): Effect.Effect<Bytes> =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const pull = yield* Scope.extend(Stream.toPull(stream), scope)
    return new OfStream(pull, scope, yield* Effect.runtime<never>())
  })

const isReadable = (value: unknown): value is Readable => {
  const record = asRecord(value)
  return ["read", "on", "destroy"].every((method) => typeof record?.[method] === "function")
}

const isWebStream = (value: unknown): value is ReadableStream<Uint8Array> =>
  typeof asRecord(value)?.["getReader"] === "function" && asRecord(value)?.["locked"] === false

/** The body of a response, with what is unread let go at the end of the scope. */
export const of = (response: HttpClientResponse, scope: Scope.Scope): Effect.Effect<Bytes> =>
  Effect.flatMap(open(response), (bytes) => Effect.as(Scope.addFinalizer(scope, bytes.close()), bytes))

const open = (response: HttpClientResponse): Effect.Effect<Bytes> => {
  // A response that was made from another one, with a stream of its own, is what that stream says.
  if (Object.hasOwn(response, "source") && !Object.hasOwn(response, "stream")) {
    const source: unknown = Reflect.get(response, "source")
    const body = asRecord(source)?.["body"] ?? source
    const onBroken = (cause: unknown): End => ({
      _tag: "End",
      cause: Cause.fail(new ResponseError({ request: response.request, response, reason: "Decode", cause }))
    })
    if (isReadable(body)) return Effect.succeed(new OfReadable(body, onBroken))
    if (isWebStream(body)) return Effect.succeed(new OfWebStream(body, onBroken))
  }
  return ofStream(response.stream)
}
