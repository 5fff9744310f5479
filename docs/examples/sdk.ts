import { OpenAi } from "@perdure/providers"
import { type Clock, Effect } from "effect"
import { Call, LlmError, LlmProvider, LlmRequest, LlmResponse } from "perdure"

/** What matters of an SDK here: it repeats by itself, and takes a `fetch`. */
export interface Sdk {
  readonly complete: (
    prompt: string,
    options: { readonly signal: AbortSignal; readonly fetch: typeof fetch }
  ) => Promise<{ readonly model: string; readonly text: string }>
}

const target = { provider: "acme", model: "acme-1" }

/** What the user says; this SDK takes no more. */
const textsOf = ({ messages }: LlmRequest.LlmRequest): ReadonlyArray<string> =>
  messages.flatMap((message) =>
    message._tag === "User" ? message.content.flatMap((part) => part._tag === "Text" ? [part.text] : []) : []
  )

/** A `fetch` that keeps what it was asked for, from the start of each request on. */
const keeping = (
  { clock, requests, secrets, send }: {
    readonly requests: Array<Call.Attempted>
    readonly clock: Clock.Clock
    readonly secrets: ReadonlyArray<string>
    readonly send: typeof fetch
  }
): typeof fetch =>
async (input, init) => {
  const startedAt = clock.unsafeCurrentTimeMillis()
  const at = requests.push({ startedAt }) - 1
  const ended = (failure?: LlmError.LlmError) => {
    requests[at] = { startedAt, endedAt: clock.unsafeCurrentTimeMillis(), failure }
  }
  try {
    const response = await send(input, init)
    const { ok, status } = response
    const headers = Object.fromEntries(response.headers)
    const body = ok ? "" : await response.clone().text()
    ended(ok ? undefined : OpenAi.failure({ ...target, status, headers, body, secrets, now: startedAt }))
    return response
  } catch (cause) {
    ended(new LlmError.ConnectionFailed({ ...target, sent: true }))
    throw cause
  }
}

/** A provider around an SDK that cannot be kept from repeating. */
export const aroundSdk = (sdk: Sdk, send: typeof fetch = fetch) =>
  LlmProvider.layer({
    ...target,
    generate: (request) =>
      Effect.clockWith((clock) => {
        const requests: Array<Call.Attempted> = []
        const texts = textsOf(request)
        const recording = keeping({ requests, clock, send, secrets: texts })
        return Effect.tryPromise({
          try: (signal) => sdk.complete(texts.join("\n"), { signal, fetch: recording }),
          catch: () => {
            const failure = requests.at(-1)?.failure
            // The SDK has repeated it as often as it does.
            return failure === undefined
              ? new LlmError.MalformedResponse(target)
              : LlmError.update(failure, { spent: true })
          }
        }).pipe(
          Effect.map(({ model, text }) =>
            new LlmResponse.LlmResponse({ ...target, model, content: [LlmRequest.text(text)], finishReason: "stop" })
          ),
          Effect.onExit(() => Call.attempted(requests))
        )
      })
  })
