/**
 * What broke between us and the provider. Only what the system says about it is kept: the client's own error holds the
 * request, with its key and its prompt.
 */
import type { HttpClientError } from "@effect/platform/HttpClientError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as LlmError from "perdure/LlmError"
import { asRecord, asText } from "./json.ts"
import { conceal } from "./secrets.ts"

/** Who was asked, and what must not be told. */
export interface Asked {
  readonly provider: string
  readonly model: string
  readonly secrets: () => Iterable<string>
}

interface Broken {
  readonly code: string
  readonly message: string
  readonly name: string
  readonly connecting: boolean
}

/** The innermost error that says what happened: `fetch` wraps it, and an attempt at two addresses makes a list of it. */
const find = (error: HttpClientError): Broken => {
  let found: Broken = { code: "", message: error.description ?? "", name: "", connecting: false }
  let next: unknown = error.cause
  for (let depth = 0; depth < 5; depth++) {
    const inside = asRecord(next)
    if (inside === undefined) break
    found = {
      code: asText(inside["code"]) ?? found.code,
      message: asText(inside["message"]) ?? found.message,
      name: asText(inside["name"]) ?? found.name,
      connecting: found.connecting || inside["syscall"] === "connect" || inside["syscall"] === "getaddrinfo"
    }
    const list = inside["errors"]
    next = inside["cause"] ?? (Array.isArray(list) ? list[0] : undefined)
  }
  return found
}

/** Nothing was sent: no address, no route, no connection, no trust. */
const unsent =
  /^(?:ECONNREFUSED|ENOTFOUND|EAI_\w+|EHOSTUNREACH|EHOSTDOWN|ENETUNREACH|ENETDOWN|EADDRNOTAVAIL|EACCES|EMFILE|ENFILE|EPROTO|UND_ERR_CONNECT_TIMEOUT|ERR_SSL_\w+|ERR_TLS_\w+|CERT_\w+|DEPTH_ZERO_\w+|SELF_SIGNED_\w+|UNABLE_TO_\w+|HOSTNAME_MISMATCH|ERR_INVALID_CHAR|ERR_INVALID_URL)$/

/** The failure that a client's error stands for. `reply` is what had arrived when the connection broke in an answer. */
export const toLlmError = (
  error: HttpClientError,
  asked: Asked,
  reply?: { readonly status: number; readonly requestId?: string | undefined }
): LlmError.ProviderError => {
  const { code, connecting, message, name } = find(error)
  const words = message.includes(code) ? message : `${code} ${message}`
  const common = {
    provider: asked.provider,
    model: asked.model,
    detail: conceal(words.trim(), asked.secrets()),
    ...(reply === undefined ? {} : { status: reply.status }),
    ...(reply?.requestId === undefined ? {} : { requestId: conceal(reply.requestId, asked.secrets()) })
  }
  if (error._tag === "RequestError" && error.reason !== "Transport") return new LlmError.InvalidRequest(common)
  if (code === "UND_ERR_HEADERS_TIMEOUT" || name === "TimeoutError") {
    return new LlmError.TimedOut({ ...common, phase: reply === undefined ? "headers" : "idle" })
  }
  if (code === "UND_ERR_BODY_TIMEOUT") return new LlmError.TimedOut({ ...common, phase: "idle" })
  return new LlmError.ConnectionFailed({ ...common, sent: reply !== undefined || !(connecting || unsent.test(code)) })
}

/** One failure from a cause that may hold several: some clients fail twice, in sending and in receiving. */
export const failCause = (
  cause: Cause.Cause<HttpClientError>,
  asked: Asked
): Effect.Effect<never, LlmError.ProviderError> =>
  Option.match(Cause.failureOption(cause), {
    onNone: () => Effect.failCause(Cause.map(cause, (error) => toLlmError(error, asked))),
    onSome: (error) => Effect.fail(toLlmError(error, asked))
  })
