import { HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Option, Queue, Stream } from "effect"
import * as fc from "effect/FastCheck"
import { Readable } from "node:stream"
import * as Bytes from "../src/internal/bytes.ts"

const request = HttpClientRequest.post("http://127.0.0.1/")
const bytes = (text: string) => new TextEncoder().encode(text)
const later = () => new Promise((resolve) => setImmediate(resolve))

/** The other end of a body. */
interface Far {
  readonly send: (text: string) => void
  readonly end: () => void
  readonly breakOff: (error: Error) => void
  /** How many bytes were asked of an endless one. */
  readonly given: () => number
  readonly isClosed: () => boolean
  readonly response: HttpClientResponse.HttpClientResponse
}

/** A response as the platform's clients make it: what matters is what it shows. */
const responseOf = (source: unknown): HttpClientResponse.HttpClientResponse =>
  Object.assign(Object.create(HttpClientResponse.fromWeb(request, new Response())), { source })

const readable = (wrap: (body: Readable) => unknown) => (endless: boolean): Far => {
  let given = 0
  const body = new Readable({
    highWaterMark: 64 * 1024,
    read: () => {
      if (!endless) return
      given += 1024
      body.push(new Uint8Array(1024))
    }
  })
  return {
    send: (text) => body.push(bytes(text)),
    end: () => body.push(null),
    breakOff: (error) => body.destroy(error),
    given: () => given,
    isClosed: () => body.destroyed,
    response: responseOf(wrap(body))
  }
}

const web = (endless: boolean): Far => {
  let given = 0
  let closed = false
  let controller: ReadableStreamDefaultController<Uint8Array>
  const body = new ReadableStream<Uint8Array>({
    start: (one) => {
      controller = one
    },
    pull: () => {
      if (!endless) return
      given += 1024
      controller.enqueue(new Uint8Array(1024))
    },
    cancel: () => {
      closed = true
    }
  })
  return {
    send: (text) => controller.enqueue(bytes(text)),
    end: () => controller.close(),
    breakOff: (error) => controller.error(error),
    given: () => given,
    isClosed: () => closed,
    response: HttpClientResponse.fromWeb(request, new Response(body))
  }
}

/** The same, with nothing to be seen but its `Stream`. */
const veiled = (endless: boolean): Far => {
  const far = web(endless)
  return { ...far, response: Object.create(far.response) }
}

const sources: ReadonlyArray<readonly [string, (endless: boolean) => Far]> = [
  ["the body of undici", readable((body) => ({ body }))],
  ["the message of node:http", readable((body) => body)],
  ["the body of fetch", web],
  ["the stream of any other response", veiled]
]

/** Waits until there is something, and takes it as text, or tells how it ended. */
const next = (body: Bytes.Bytes) =>
  Effect.map(
    Effect.async<ReadonlyArray<Uint8Array> | Bytes.End>((resume) => {
      const look = () => {
        const taken = body.take()
        if (taken === undefined) body.wait(look)
        else resume(Effect.succeed(taken))
      }
      look()
    }),
    (taken) => "_tag" in taken ? taken : Buffer.concat(taken).toString()
  )

const rest = (body: Bytes.Bytes): Effect.Effect<readonly [string, Bytes.End]> =>
  Effect.flatMap(next(body), (taken) =>
    typeof taken === "string"
      ? Effect.map(rest(body), ([text, end]) => [taken + text, end] as const)
      : Effect.succeed(["", taken] as const))

const open = ({ response }: Far) => Effect.flatMap(Effect.scope, (scope) => Bytes.of(response, scope))

for (const [name, make] of sources) {
  describe(`by ${name}`, () => {
    it("gives all bytes in their order, and then the end, however they are cut and whenever they come", () =>
      fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(fc.string({ minLength: 1, unit: "grapheme-ascii" }), fc.boolean()), { maxLength: 20 }),
          (pieces) =>
            Effect.gen(function*() {
              const far = make(false)
              const body = yield* open(far)
              void (async () => {
                for (const [text, waits] of pieces) {
                  if (waits) await later()
                  far.send(text)
                }
                far.end()
              })()
              const [text, end] = yield* rest(body)
              expect(text).toBe(pieces.map(([text]) => text).join(""))
              expect(end.cause).toBeUndefined()
              expect(body.take()).toBe(end)
            }).pipe(Effect.scoped, Effect.runPromise)
        ),
        { numRuns: 200 }
      ))

    it.scopedLive("gives nothing while nothing has come, and waits for nothing else once something has", () =>
      Effect.gen(function*() {
        const far = make(false)
        const body = yield* open(far)
        expect(body.take()).toBeUndefined()
        far.send("a")
        expect(yield* next(body)).toBe("a")
        expect(body.take()).toBeUndefined()
      }))

    it.scopedLive("gives up with what broke, after what had come", () =>
      Effect.gen(function*() {
        const far = make(false)
        const body = yield* open(far)
        far.send("a")
        expect(yield* next(body)).toBe("a")
        const broken = new Error("broken")
        far.breakOff(broken)
        const [text, { cause }] = yield* rest(body)
        expect(text).toBe("")
        expect(Option.getOrThrow(Cause.failureOption(cause ?? Cause.empty))).toMatchObject({
          _tag: "ResponseError",
          cause: broken
        })
      }))

    it.scopedLive("E2: whoever no longer waits loses nothing", () =>
      Effect.gen(function*() {
        const far = make(false)
        const body = yield* open(far)
        let woken = false
        body.wait(() => {
          woken = true
        })
        body.forget()
        yield* Effect.promise(later)
        // Whoever comes next waits for what was asked for already.
        body.wait(() => {})
        body.forget()
        far.send("a")
        yield* Effect.promise(later)
        far.send("b")
        yield* Effect.promise(later)
        far.end()
        expect((yield* rest(body))[0]).toBe("ab")
        expect(woken).toBe(false)
      }))

    it.scopedLive("E2: the end of the scope lets go of what is unread, also while someone waits", () =>
      Effect.gen(function*() {
        for (const waits of [true, false]) {
          const far = make(false)
          far.send("a")
          yield* Effect.scoped(Effect.gen(function*() {
            const body = yield* open(far)
            yield* next(body)
            if (waits) body.wait(() => {})
          }))
          yield* Effect.promise(later)
          expect(far.isClosed()).toBe(true)
        }
      }))

    it.scopedLive("an endless one is not read ahead without a bound", () =>
      Effect.gen(function*() {
        const far = make(true)
        const body = yield* open(far)
        yield* next(body)
        for (let turn = 0; turn < 20; turn++) yield* Effect.promise(later)
        expect(far.given()).toBeLessThan(256 * 1024)
      }))

    it.scopedLive("one that is over before it is read has ended", () =>
      Effect.gen(function*() {
        const far = make(false)
        far.end()
        const [text, { cause }] = yield* rest(yield* open(far))
        expect([text, cause]).toEqual(["", undefined])
      }))
  })
}

describe("a body of Node.js", () => {
  it.scopedLive("that is closed before its end, without an error, is broken and no hang", () =>
    Effect.gen(function*() {
      const source = new Readable({ read: () => {} })
      const body = yield* open({ ...web(false), response: responseOf({ body: source }) })
      source.push(bytes("a"))
      expect(yield* next(body)).toBe("a")
      source.destroy()
      expect((yield* rest(body))[1].cause).toBeDefined()
    }))

  it.scopedLive("that was destroyed before it is read is broken", () =>
    Effect.gen(function*() {
      const source = new Readable({ read: () => {} })
      source.destroy()
      const body = yield* open({ ...web(false), response: responseOf({ body: source }) })
      expect((yield* rest(body))[1].cause).toBeDefined()
    }))
})

describe("a body of fetch", () => {
  it.scopedLive("gives in one batch what is there already", () =>
    Effect.gen(function*() {
      const far = web(false)
      const body = yield* open(far)
      for (const text of ["a", "b", "c"]) far.send(text)
      expect(yield* next(body)).toBe("abc")
    }))

  it.scopedLive("that is not there is empty", () =>
    Effect.gen(function*() {
      const response = HttpClientResponse.fromWeb(request, new Response(null, { status: 204 }))
      const [text, { cause }] = yield* rest(yield* open({ ...web(false), response }))
      expect([text, cause]).toEqual(["", undefined])
    }))
})

describe("any other response", () => {
  it.scopedLive("with a stream of its own is what that stream says, whatever it shows beside it", () =>
    Effect.gen(function*() {
      const response = responseOf(new Response("wrong"))
      Object.defineProperty(response, "stream", { value: Stream.make(bytes("right")) })
      expect((yield* rest(yield* open({ ...web(false), response })))[0]).toBe("right")
    }))

  it.scopedLive("whose stream dies has ended with the defect", () =>
    Effect.gen(function*() {
      const response = responseOf(undefined)
      Object.defineProperty(response, "stream", { value: Stream.die("oh") })
      const [, { cause }] = yield* rest(yield* open({ ...web(false), response }))
      expect(Array.from(Cause.defects(cause ?? Cause.empty))).toEqual(["oh"])
    }))

  it.scopedLive("gives a chunk as soon as it comes", () =>
    Effect.gen(function*() {
      const queue = yield* Queue.unbounded<Uint8Array>()
      const response = responseOf(undefined)
      Object.defineProperty(response, "stream", { value: Stream.fromQueue(queue) })
      const body = yield* open({ ...web(false), response })
      yield* Queue.offer(queue, bytes("a"))
      expect(yield* next(body)).toBe("a")
    }))
})
