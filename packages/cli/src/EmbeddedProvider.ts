/**
 * A stand-in for the providers on this machine: real HTTP on a loopback port, no key, no network.
 *
 * It is `@copilotkit/aimock`, which is loaded when the first one starts.
 *
 * @since 0.1.0
 */
import type { ChatCompletionRequest, ErrorResponse, Mountable } from "@copilotkit/aimock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { ServerResponse } from "node:http"
import { setTimeout } from "node:timers/promises"
import { Failed } from "./CliError.ts"
import type * as Providers from "./Providers.ts"
import * as Text from "./Text.ts"

/**
 * What it replies to one request: an answer, or a failure in OpenAI's form. `retryAfter` is the value of the header, in
 * seconds; only a 429 has one.
 *
 * @since 0.1.0
 * @category models
 */
export type Reply =
  | { readonly _tag: "Answer"; readonly text: string }
  | {
    readonly _tag: "Failure"
    readonly status: number
    readonly type: string
    readonly code?: string | undefined
    readonly message: string
    readonly retryAfter?: number | undefined
  }

/**
 * A stream, in OpenAI's form, that goes quiet after some words and never ends: its connection stays open.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stall {
  readonly _tag: "Stall"
  readonly words: ReadonlyArray<string>
}

/**
 * What each model replies, one request after another, the last reply being repeated for good; or how it stalls, every
 * time.
 *
 * @since 0.1.0
 * @category models
 */
export type Script = Readonly<Record<string, readonly [Reply, ...Array<Reply>] | Stall>>

/**
 * Where it listens, in the terms of a client.
 *
 * @since 0.1.0
 * @category models
 */
export interface Address {
  readonly baseUrl: string
  readonly apiKey: Redacted.Redacted
}

/**
 * A running one.
 *
 * @since 0.1.0
 * @category models
 */
export interface Embedded {
  readonly addressOf: (dialect: Providers.Dialect, model: string) => Address
}

const apiKey = Redacted.make("embedded")

const paths: Readonly<Record<Providers.Dialect, string>> = { openai: "/v1", anthropic: "", google: "/v1beta" }

const start = Effect.acquireRelease(
  Effect.tryPromise({
    try: async () => {
      const { LLMock } = await import("@copilotkit/aimock")
      const mock = new LLMock({ host: "127.0.0.1", port: 0 })
      const url = await mock.start()
      const addressOf: Embedded["addressOf"] = (dialect) => ({ baseUrl: url + paths[dialect], apiKey })
      return { mock, url, embedded: { addressOf } }
    },
    catch: (cause) => new Failed({ lines: [`the embedded provider could not start: ${Text.oneLine(String(cause))}`] })
  }),
  ({ mock }) => Effect.ignore(Effect.tryPromise(() => mock.stop()))
)

const onTheWire = (reply: Reply): ErrorResponse | { readonly content: string } =>
  reply._tag === "Answer" ? { content: reply.text } : {
    error: {
      message: reply.message,
      type: reply.type,
      param: null,
      ...(reply.code === undefined ? {} : { code: reply.code })
    },
    status: reply.status,
    ...(reply.retryAfter === undefined ? {} : { retryAfter: reply.retryAfter })
  }

const chunk = (model: string, content: string): string =>
  `data: ${
    JSON.stringify({
      id: "chatcmpl-stall",
      object: "chat.completion.chunk",
      created: 0,
      model,
      choices: [{ index: 0, delta: { content }, finish_reason: null }]
    })
  }\n\n`

/** Between two pieces of a stream, in milliseconds. */
const pieceLatency = 30

/** What the library's mock cannot do: a stream that stays open and silent. */
const stalling = (model: string, { words }: Stall, latency: number, open: Set<ServerResponse>): Mountable => ({
  handleRequest: async (request, response) => {
    request.resume()
    open.add(response)
    response.on("close", () => open.delete(response))
    await setTimeout(latency)
    if (response.destroyed) return true
    response.writeHead(200, { "content-type": "text/event-stream" })
    for (const word of words) {
      if (response.destroyed) break
      response.write(chunk(model, word))
      await setTimeout(pieceLatency)
    }
    return true
  }
})

/**
 * Starts one that follows a script, every reply after the same latency. It stops with the scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const scripted = (
  script: Script,
  latency: Duration.DurationInput
): Effect.Effect<Embedded, Failed, Scope.Scope> =>
  Effect.gen(function*() {
    const { embedded, mock, url } = yield* start
    const latencyMs = Duration.toMillis(latency)
    const stalls = new Map<string, Address>()
    const open = yield* Effect.acquireRelease(
      Effect.sync(() => new Set<ServerResponse>()),
      (open) => Effect.sync(() => open.forEach((response) => response.destroy()))
    )
    for (const [model, replies] of Object.entries(script)) {
      if ("words" in replies) {
        const path = `/stall-${stalls.size}`
        mock.mount(path, stalling(model, replies, latencyMs, open))
        stalls.set(model, { baseUrl: url + path + paths.openai, apiKey })
        continue
      }
      let asked = 0
      mock.on(
        { model },
        () => onTheWire(replies[Math.min(asked++, replies.length - 1)] ?? replies[0]),
        { chaos: { latencyMs }, latency: pieceLatency }
      )
    }
    return { addressOf: (dialect, model) => stalls.get(model) ?? embedded.addressOf(dialect, model) }
  })

const promptOf = ({ messages }: ChatCompletionRequest): string => {
  const content = messages.findLast(({ role }) => role === "user")?.content ?? ""
  return typeof content === "string" ? content : content.map(({ text }) => text ?? "").join("")
}

/**
 * Starts one that says what it is and repeats what it was asked, whatever the model. It stops with the scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const echoing: Effect.Effect<Embedded, Failed, Scope.Scope> = Effect.map(start, ({ embedded, mock }) => {
  mock.on({}, (request) => ({
    content: `This is Perdure's embedded provider, not a language model. Asked as ${request.model}, it heard: ` +
      promptOf(request)
  }), { latency: pieceLatency })
  return embedded
})
