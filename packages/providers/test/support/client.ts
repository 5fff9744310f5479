import { HttpClient, type HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { OpenAi } from "@perdure/providers"
import { Cause, Effect, Exit, Layer, Redacted } from "effect"
import { LlmError, LlmProvider, LlmRequest } from "perdure"

export const key = "sk-test-0123456789abcdef"

/** What a completion that says `hi` looks like on the wire. */
export const completion = (fields: Record<string, unknown> = {}) => ({
  id: "chatcmpl-1",
  model: "m-2026",
  choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "hi" } }],
  ...fields
})

/** A client that answers every request alike and remembers the requests. */
export const recording = (reply: (request: HttpClientRequest.HttpClientRequest) => Response) => {
  const requests: Array<HttpClientRequest.HttpClientRequest> = []
  const layer = Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request) => {
      requests.push(request)
      return Effect.succeed(HttpClientResponse.fromWeb(request, reply(request)))
    })
  )
  return { requests, layer }
}

export const json = (body: unknown, init: ResponseInit = {}) => new Response(JSON.stringify(body), init)

/** The JSON body of a request. */
export const bodyOf = (request: HttpClientRequest.HttpClientRequest | undefined): unknown =>
  request?.body._tag === "Uint8Array" ? JSON.parse(new TextDecoder().decode(request.body.body)) : undefined

/** Asks once and gives the exit, the requests that were sent and the body of the first. */
export const ask = (
  input: LlmRequest.Input,
  options: Partial<OpenAi.Options> = {},
  reply: (request: HttpClientRequest.HttpClientRequest) => Response = () => json(completion())
) => {
  const client = recording(reply)
  return LlmProvider.generate(input).pipe(
    Effect.provide(
      OpenAi.layer({ model: "m", apiKey: Redacted.make(key), ...options }).pipe(Layer.provide(client.layer))
    ),
    Effect.exit,
    Effect.map((exit) => ({ exit, requests: client.requests, body: bodyOf(client.requests[0]) }))
  )
}

/** The failure of an exit, which must be one `LlmError` and nothing beside it. */
export const failureOf = <A>(exit: Exit.Exit<A, unknown>): LlmError.LlmError => {
  if (Exit.isSuccess(exit)) throw new Error("expected a failure")
  if (exit.cause._tag !== "Fail") throw new Error(`expected one failure: ${Cause.pretty(exit.cause)}`)
  if (!LlmError.is(exit.cause.error)) throw new Error("expected an LlmError")
  return exit.cause.error
}
