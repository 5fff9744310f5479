/** From the body of a Responses response to an answer, or to the failure that it is. */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as LlmError from "perdure/LlmError"
import type { AssistantPart } from "perdure/LlmRequest"
import { type FinishReason, LlmResponse, Usage } from "perdure/LlmResponse"
import { jsonOf, maybe, wrongShape } from "../body.ts"
import { asCount, asRecord, defined, type Known, leftover } from "../json.ts"
import { reasoning } from "../reasoning.ts"
import { fromJson } from "../said.ts"
import type { Context } from "../wire.ts"
import { refused } from "./chatResponse.ts"
import { commonOf, fromSaid, insideAnswer, malformed } from "./failure.ts"

const Texts = Schema.Array(
  Schema.Struct({ type: maybe(Schema.String), text: maybe(Schema.String), refusal: maybe(Schema.String) })
)

/** An item of the output, of whatever type. */
export const Item = Schema.Struct({
  type: Schema.String,
  id: maybe(Schema.String),
  content: maybe(Texts),
  summary: maybe(Texts),
  encrypted_content: maybe(Schema.String),
  call_id: maybe(Schema.String),
  name: maybe(Schema.String),
  arguments: maybe(Schema.Unknown)
})

const Response = Schema.Struct({
  id: maybe(Schema.String),
  model: maybe(Schema.String),
  status: maybe(Schema.String),
  error: maybe(Schema.Unknown),
  incomplete_details: maybe(Schema.Struct({ reason: maybe(Schema.String) })),
  output: maybe(Schema.Array(Item)),
  usage: maybe(Schema.Unknown)
})

const decode = Schema.decodeUnknownEither(Response)

/** What stands between two summaries of one piece of reasoning. */
export const betweenSummaries = "\n\n"

/** What is understood. Whatever says how the answer was asked for is not repeated. */
const known: Known = {
  id: true,
  object: true,
  model: true,
  status: true,
  error: true,
  incomplete_details: true,
  usage: {
    input_tokens: true,
    output_tokens: true,
    total_tokens: true,
    input_tokens_details: { cached_tokens: true },
    output_tokens_details: { reasoning_tokens: true }
  }
}

const knownItem = new Set(["message", "reasoning", "function_call"])

/** Items of types that have no place in an answer are kept as they came. */
const extrasOf = (value: unknown): Readonly<Record<string, unknown>> => {
  const { output, ...rest } = asRecord(value) ?? {}
  const others = Array.isArray(output)
    ? output.filter((item) => !knownItem.has(String(asRecord(item)?.["type"])))
    : []
  return { ...asRecord(leftover(rest, known)), ...(others.length === 0 ? {} : { output: others }) }
}

/** The tokens used, as far as the numbers make sense. */
export const usageOf = (value: unknown): Usage => {
  const usage = asRecord(value)
  return new Usage(
    defined({
      inputTokens: asCount(usage?.["input_tokens"]),
      outputTokens: asCount(usage?.["output_tokens"]),
      cachedInputTokens: asCount(asRecord(usage?.["input_tokens_details"])?.["cached_tokens"]),
      reasoningTokens: asCount(asRecord(usage?.["output_tokens_details"])?.["reasoning_tokens"])
    }),
    true
  )
}

const text = (value: string): AssistantPart => ({ _tag: "Text", text: value })

/** The words of a piece of reasoning, and its encrypted form: it is sent back with its id. */
export const reasoningOf = (item: typeof Item.Type) => {
  const summary = (item.summary ?? []).map(({ text }) => text ?? "").join(betweenSummaries)
  return {
    words: summary || (item.content ?? []).map(({ text }) => text ?? "").join(""),
    signature: item.encrypted_content
      ? JSON.stringify({ id: item.id, encrypted_content: item.encrypted_content })
      : undefined
  }
}

const partsOf = (item: typeof Item.Type, index: number, signer: string): ReadonlyArray<AssistantPart> => {
  switch (item.type) {
    case "message":
      return (item.content ?? []).flatMap((part) => part.text ? [text(part.text)] : [])
    case "reasoning": {
      const { signature, words } = reasoningOf(item)
      return words === "" && signature === undefined ? [] : [reasoning(words, signature, signer)]
    }
    case "function_call": {
      const given = item.arguments ?? ""
      return [{
        _tag: "ToolCall",
        id: item.call_id || item.id || `call_${index}`,
        name: item.name ?? "",
        arguments: typeof given === "string" ? given : JSON.stringify(given)
      }]
    }
    default:
      return []
  }
}

/** What the end of an answer comes to: why it stopped, or the failure that it is. */
const ended = (
  { error, incomplete_details, status }: typeof Response.Type,
  wantsTools: boolean,
  context: Context
): Either.Either<FinishReason, LlmError.ProviderError> => {
  const reason = incomplete_details?.reason
  switch (status) {
    case "completed":
      return Either.right(wantsTools ? "toolCalls" : "stop")
    case "incomplete":
      return reason === "content_filter"
        ? Either.left(new LlmError.ContentFiltered({ ...commonOf(context), code: reason, stage: "output" }))
        : Either.right(reason === "max_output_tokens" ? "length" : "other")
    case "failed":
      return Either.left(fromSaid(fromJson({ error }) ?? { message: "the answer failed", names: new Set() }, context))
    case "cancelled":
      return Either.left(new LlmError.ProviderUnavailable({ ...commonOf(context), detail: "the answer was cancelled" }))
    default:
      return Either.left(malformed("the answer is not complete", context))
  }
}

/** The answer in a response, from the body of a reply or the last event of a stream. */
export const fromValue = (
  value: unknown,
  context: Context,
  signer: string
): Either.Either<LlmResponse, LlmError.ProviderError> => {
  const decoded = decode(value, { errors: "all" })
  if (Either.isLeft(decoded)) return Either.left(malformed(wrongShape(decoded.left), context))
  const { id, model, output, usage } = decoded.right
  const parts = Either.try(() => (output ?? []).flatMap((item, index) => partsOf(item, index, signer)))
  if (Either.isLeft(parts)) return Either.left(malformed("the arguments of a tool call are nested too deeply", context))
  const content = parts.right
  if (content.some((part) => part._tag === "ToolCall" && part.name === "")) {
    return Either.left(malformed("a tool call has no name", context))
  }
  const finish = ended(decoded.right, content.some(({ _tag }) => _tag === "ToolCall"), context)
  if (Either.isLeft(finish)) return Either.left(finish.left)
  const refusal = (output ?? []).flatMap((item) => (item.content ?? []).map(({ refusal }) => refusal ?? "")).join("")
  if (refusal.trim() !== "") return Either.left(refused(refusal, context))
  return Either.right(
    new LlmResponse(
      defined({
        id: id ?? undefined,
        provider: context.provider,
        model: model || context.model,
        content,
        finishReason: finish.right,
        usage: usageOf(usage),
        extras: extrasOf(value)
      }),
      true
    )
  )
}

/** The answer in a reply that HTTP calls a success, or the failure it is. */
export const read = (
  bytes: Uint8Array,
  context: Context,
  signer: string
): Either.Either<LlmResponse, LlmError.ProviderError> => {
  const json = jsonOf(bytes, context)
  if (Either.isLeft(json)) return Either.left(malformed(json.left, context))
  const said = asRecord(json.right)?.["output"] === undefined ? insideAnswer(json.right) : undefined
  return said === undefined ? fromValue(json.right, context, signer) : Either.left(fromSaid(said, context))
}
