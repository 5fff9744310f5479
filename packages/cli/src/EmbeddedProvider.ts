/**
 * A stand-in for OpenAI on this machine: real HTTP on a loopback port, no key, no network.
 *
 * It is `@copilotkit/aimock`, which is loaded when the first one starts.
 *
 * @since 0.1.0
 */
import type { ChatCompletionRequest, ErrorResponse } from "@copilotkit/aimock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Failed } from "./CliError.ts"
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
 * What each model replies, one request after another; the last reply is repeated for good.
 *
 * @since 0.1.0
 * @category models
 */
export type Script = Readonly<Record<string, readonly [Reply, ...Array<Reply>]>>

/**
 * Where it listens, in the terms of an OpenAI client.
 *
 * @since 0.1.0
 * @category models
 */
export interface Address {
  readonly baseUrl: string
  readonly apiKey: Redacted.Redacted
}

const apiKey = Redacted.make("embedded")

const start = Effect.acquireRelease(
  Effect.tryPromise({
    try: async () => {
      const { LLMock } = await import("@copilotkit/aimock")
      const mock = new LLMock({ host: "127.0.0.1", port: 0 })
      const url = await mock.start()
      return { mock, address: { baseUrl: `${url}/v1`, apiKey } }
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

/**
 * Starts one that follows a script, every reply after the same latency. It stops with the scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const scripted = (
  script: Script,
  latency: Duration.DurationInput
): Effect.Effect<Address, Failed, Scope.Scope> =>
  Effect.map(start, ({ address, mock }) => {
    for (const [model, replies] of Object.entries(script)) {
      let asked = 0
      mock.on(
        { model },
        () => onTheWire(replies[Math.min(asked++, replies.length - 1)] ?? replies[0]),
        { chaos: { latencyMs: Duration.toMillis(latency) } }
      )
    }
    return address
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
export const echoing: Effect.Effect<Address, Failed, Scope.Scope> = Effect.map(start, ({ address, mock }) => {
  mock.on({}, (request) => ({
    content: `This is Perdure's embedded provider, not a language model. Asked as ${request.model}, it heard: ` +
      promptOf(request)
  }))
  return address
})
