/** From the body of a `generateContent` response to an answer, or to the failure that it is. */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as LlmError from "perdure/LlmError"
import type { AssistantPart } from "perdure/LlmRequest"
import { type FinishReason, LlmResponse, Usage } from "perdure/LlmResponse"
import { jsonOf, maybe } from "../body.ts"
import { asCount, asRecord, defined, type Known, leftover } from "../json.ts"
import { reasoning } from "../reasoning.ts"
import { conceal } from "../secrets.ts"
import type { Context } from "../wire.ts"
import { commonOf, fromSaid, malformed } from "./failure.ts"
import { fromJson } from "./said.ts"

const Part = Schema.Struct({
  text: maybe(Schema.String),
  thought: maybe(Schema.Boolean),
  thoughtSignature: maybe(Schema.String),
  functionCall: maybe(Schema.Struct({ id: maybe(Schema.String), name: Schema.String, args: maybe(Schema.Unknown) }))
})

const Candidate = Schema.Struct({
  index: maybe(Schema.Int),
  content: maybe(Schema.Struct({ parts: maybe(Schema.Array(Part)) })),
  finishReason: maybe(Schema.String),
  finishMessage: maybe(Schema.String)
})

/** A whole answer, and a piece of a streamed one, which have the same shape. */
const Reply = Schema.Struct({
  candidates: maybe(Schema.Array(Candidate)),
  promptFeedback: maybe(Schema.Struct({ blockReason: maybe(Schema.String), blockReasonMessage: maybe(Schema.String) })),
  responseId: maybe(Schema.String),
  modelVersion: maybe(Schema.String),
  // An answer is not lost to odd book-keeping: see `usageOf`.
  usageMetadata: maybe(Schema.Unknown)
})

export type Reply = typeof Reply.Type
type Candidate = typeof Candidate.Type

const decode = Schema.decodeUnknownEither(Reply)

/** What is understood; everything else survives in `extras`. */
const known: Known = {
  candidates: {
    index: true,
    finishReason: true,
    content: {
      role: true,
      parts: { text: true, thought: true, thoughtSignature: true, functionCall: { id: true, name: true, args: true } }
    }
  },
  usageMetadata: {
    promptTokenCount: true,
    toolUsePromptTokenCount: true,
    candidatesTokenCount: true,
    thoughtsTokenCount: true,
    cachedContentTokenCount: true,
    totalTokenCount: true
  },
  modelVersion: true,
  responseId: true
}

/** The sum of what is known; nothing when nothing is. */
const sum = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined && b === undefined ? undefined : (a ?? 0) + (b ?? 0)

/** The tokens used, as far as the numbers make sense. Google leaves out what is zero. */
export const usageOf = (value: unknown): Usage => {
  const count = (field: string) => asCount(asRecord(value)?.[field])
  const inputTokens = sum(count("promptTokenCount"), count("toolUsePromptTokenCount"))
  const written = sum(count("candidatesTokenCount"), count("thoughtsTokenCount"))
  return new Usage(
    defined({
      inputTokens,
      outputTokens: written ?? (inputTokens !== undefined && count("totalTokenCount") === inputTokens ? 0 : undefined),
      cachedInputTokens: count("cachedContentTokenCount"),
      reasoningTokens: count("thoughtsTokenCount")
    }),
    true
  )
}

/** The ids of tool calls, by their place in the answer, for want of Google's own. */
export const callId = (responseId: string | null | undefined, index: number): string => {
  // Unlike in two answers of one conversation, and in an alphabet that every other provider takes.
  const answer = (responseId ?? "").replace(/[^\w-]/g, "").slice(0, 24)
  return answer === "" ? `call_${index}` : `call_${answer}_${index}`
}

/** The candidate that the answer is made of. */
export const firstOf = ({ candidates }: Reply): Candidate | undefined => candidates?.find(({ index }) => !index)

/**
 * The content of a candidate, of which `calls` tool calls came before. A signature has its place in reasoning; that of
 * any other part comes just before it, without a text.
 */
export const contentOf = (
  candidate: Candidate,
  responseId: string | null | undefined,
  calls: number,
  context: Context
): Either.Either<ReadonlyArray<AssistantPart>, LlmError.ProviderError> =>
  Either.try({
    try: () => {
      const content: Array<AssistantPart> = []
      let index = calls
      for (const { functionCall, text, thought, thoughtSignature } of candidate.content?.parts ?? []) {
        const signature = thoughtSignature || undefined
        if (thought === true && text) {
          content.push(reasoning(text, signature, context.provider))
          continue
        }
        if (signature !== undefined) content.push(reasoning("", signature, context.provider))
        if (text) content.push({ _tag: "Text", text })
        if (!functionCall) continue
        content.push({
          _tag: "ToolCall",
          id: functionCall.id || callId(responseId, index),
          name: functionCall.name,
          arguments: JSON.stringify(functionCall.args ?? {})
        })
        index++
      }
      return content
    },
    catch: () => malformed("the arguments of a tool call are nested too deeply", context)
  })

/** How an answer of some content ended: the reason of a success, or the failure that it is. */
export const endOf = (
  { finishMessage, finishReason }: Candidate,
  content: { readonly calls: boolean; readonly empty: boolean },
  usage: Usage,
  context: Context
): Either.Either<FinishReason, LlmError.ProviderError> => {
  const unreadable = (what: string) => Either.left(LlmError.update(malformed(what, context), { usage }))
  const reason = finishReason || "none"
  switch (reason) {
    case "STOP":
      return Either.right(content.calls ? "toolCalls" : "stop")
    case "MAX_TOKENS":
      return Either.right("length")
    case "SAFETY":
    case "RECITATION":
    case "BLOCKLIST":
    case "PROHIBITED_CONTENT":
    case "SPII":
    case "IMAGE_SAFETY":
    case "IMAGE_PROHIBITED_CONTENT":
    case "IMAGE_RECITATION":
      return Either.left(filtered("output", reason, finishMessage, usage, context))
    case "MALFORMED_FUNCTION_CALL":
    case "MALFORMED_RESPONSE":
    case "UNEXPECTED_TOOL_CALL":
    case "TOO_MANY_TOOL_CALLS":
      return unreadable(`the model stopped with ${reason}`)
    case "MISSING_THOUGHT_SIGNATURE":
      return Either.left(
        new LlmError.InvalidRequest({ ...commonOf(context), code: reason, param: "messages", usage })
      )
    case "none":
      return unreadable("the answer has no finish reason")
    default:
      if (content.calls) return Either.right("toolCalls")
      return content.empty
        ? unreadable(`the model stopped with ${reason.slice(0, 100)} and said nothing`)
        : Either.right("other")
  }
}

const filtered = (
  stage: "prompt" | "output",
  reason: string,
  message: string | null | undefined,
  usage: Usage,
  context: Context
) =>
  new LlmError.ContentFiltered({
    ...commonOf(context),
    code: conceal(reason, context.secrets).slice(0, 200),
    detail: conceal(message ?? "", context.secrets),
    stage,
    usage
  })

const wrongShape = (error: ParseResult.ParseError): string => {
  const all = ParseResult.ArrayFormatter.formatErrorSync(error).map(({ path }) => path.join("."))
  // Whatever may be null complains for what is inside it, too.
  const places = new Set(all.filter((place) => !all.some((other) => other !== place && other.startsWith(place))))
  const told = Array.from(places, (place) => place || "the whole").slice(0, 5).join(", ")
  return `the body has another shape than documented at ${told}`
}

/** An answer or a piece of one, or the failure that is there in its place. */
export const replyOf = (json: unknown, context: Context): Either.Either<Reply, LlmError.ProviderError> => {
  const said = fromJson(json)
  if (said !== undefined) return Either.left(fromSaid(said, context))
  const decoded = decode(json, { errors: "all" })
  if (Either.isLeft(decoded)) return Either.left(malformed(wrongShape(decoded.left), context))
  const { promptFeedback, usageMetadata } = decoded.right
  return promptFeedback?.blockReason
    ? Either.left(
      filtered(
        "prompt",
        promptFeedback.blockReason,
        promptFeedback.blockReasonMessage,
        usageOf(usageMetadata),
        context
      )
    )
    : Either.right(decoded.right)
}

/** The answer in a reply that HTTP calls a success, or the failure it is. */
export const read = (bytes: Uint8Array, context: Context): Either.Either<LlmResponse, LlmError.ProviderError> =>
  Either.gen(function*() {
    const json = yield* Either.mapLeft(jsonOf(bytes, context), (wrong) => malformed(wrong, context))
    const reply = yield* replyOf(json, context)
    const candidate = firstOf(reply)
    if (candidate === undefined) return yield* Either.left(malformed("there is no candidate", context))
    const content = yield* contentOf(candidate, reply.responseId, 0, context)
    const usage = usageOf(reply.usageMetadata)
    const finishReason = yield* endOf(
      candidate,
      { calls: content.some(({ _tag }) => _tag === "ToolCall"), empty: content.length === 0 },
      usage,
      context
    )
    const extras = asRecord(leftover(json, known)) ?? {}
    return new LlmResponse(
      defined({
        id: reply.responseId || undefined,
        provider: context.provider,
        model: reply.modelVersion || context.model,
        content,
        finishReason,
        usage,
        // Several answers are beside one another, whole, so that none is taken for the rest of another.
        extras: reply.candidates?.length === 1
          ? extras
          : { ...extras, candidates: asRecord(json)?.["candidates"] }
      }),
      true
    )
  })
