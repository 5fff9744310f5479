/** From the bytes of a stream to the parts of an answer, a batch at a time: all that has arrived. */
import type { HttpClientError } from "@effect/platform/HttpClientError"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as LlmError from "perdure/LlmError"
import type { Result, Source } from "perdure/LlmProvider"
import type { StreamPart } from "perdure/StreamPart"
import type * as Bytes from "./bytes.ts"
import * as Sse from "./sse.ts"
import type { EventReader } from "./wire.ts"

/** What the ways in which a stream may fail are called. */
export interface Failures {
  readonly cut: (detail: string) => LlmError.ProviderError
  readonly malformed: (detail: string) => LlmError.ProviderError
  readonly broken: (error: HttpClientError) => LlmError.ProviderError
  /** What is to be added to whichever it is. */
  readonly last: (error: LlmError.ProviderError) => LlmError.ProviderError
}

const over: Result = Exit.fail(Option.none())

/** A source of parts that are there already. */
export const all = (parts: ReadonlyArray<StreamPart>): Source => {
  let rest: Result = Exit.succeed(Chunk.fromIterable(parts))
  return {
    next: (done) => {
      const result = rest
      rest = over
      done(result)
    }
  }
}

/** The parts of a stream. What came before a bad event is handed on first. */
export const of = (bytes: Bytes.Bytes, reader: EventReader, failures: Failures): Source =>
  new Parts(bytes, reader, failures)

class Parts implements Source {
  readonly bytes: Bytes.Bytes
  readonly reader: EventReader
  readonly failures: Failures
  readonly decoder: Sse.Decoder
  parts: Array<StreamPart> = []
  /** How the stream ends, once that is known. */
  end: Result | undefined

  constructor(bytes: Bytes.Bytes, reader: EventReader, failures: Failures) {
    this.bytes = bytes
    this.reader = reader
    this.failures = failures
    this.decoder = Sse.make((event) => this.read(event))
  }

  next(done: (result: Result) => void): void {
    const result = this.ready()
    if (result === undefined) this.bytes.wait(() => this.next(done))
    else done(result)
  }

  /** All that has arrived, decoded, or how the stream ended; nothing when there is nothing yet. */
  private ready(): Result | undefined {
    // Nobody but the caller would hear of what is thrown here, and that may be the socket.
    try {
      while (this.end === undefined && this.parts.length === 0) {
        const taken = this.bytes.take()
        if (taken === undefined) return undefined
        if ("_tag" in taken) this.finish(taken)
        else this.feed(taken)
      }
    } catch (thrown) {
      this.end = Exit.die(thrown)
    }
    if (this.parts.length === 0) return this.end
    const batch = Chunk.unsafeFromArray(this.parts)
    this.parts = []
    return Exit.succeed(batch)
  }

  private feed(pieces: ReadonlyArray<Uint8Array>): void {
    for (const piece of pieces) {
      this.check(this.decoder.feed(piece))
      if (this.end !== undefined) return
    }
  }

  private read(event: Sse.Event): void {
    if (this.end !== undefined) return
    const decoded = this.reader.event(event)
    if (Either.isRight(decoded)) { for (const part of decoded.right) this.parts.push(part) }
    // The end came in the middle of this event, so it is no fault of the format.
    else if (!event.cut) this.conclude(decoded.left)
  }

  private check(wrong: string | undefined): void {
    if (wrong !== undefined) this.fail(this.failures.malformed(wrong))
  }

  private fail(error: LlmError.ProviderError): void {
    this.end ??= Exit.fail(Option.some(this.failures.last(error)))
  }

  /** An end that comes when all that is needed was there has cut nothing, however it came. */
  private conclude(error: LlmError.ProviderError): void {
    if (error._tag !== "StreamInterrupted") return this.fail(error)
    const last = this.reader.end()
    if (Either.isLeft(last)) return this.fail(last.left)
    for (const part of last.right) this.parts.push(part)
    if (last.right.some(({ _tag }) => _tag === "Finish")) this.end ??= over
    else this.fail(error)
  }

  private finish({ cause }: Bytes.End): void {
    if (cause === undefined) {
      this.check(this.decoder.end())
      if (this.end === undefined) {
        this.conclude(this.failures.cut("the stream ended before the answer was complete"))
      }
      return
    }
    const failure = Cause.failureOrCause(cause)
    if (Either.isLeft(failure)) this.conclude(this.failures.broken(failure.left))
    else this.end = Exit.failCause(failure.right)
  }
}
