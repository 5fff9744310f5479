/** From the body of a Chat Completions response to an answer, or to the failure that it is. */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as LlmError from "perdure/LlmError"
import type { AssistantPart } from "perdure/LlmRequest"
import { type FinishReason, LlmResponse, Usage } from "perdure/LlmResponse"
import { jsonOf, maybe, wrongShape } from "../body.ts"
import { asCount, asRecord, asText, defined, type JsonRecord, type Known, leftover } from "../json.ts"
import { conceal } from "../secrets.ts"
import type { Context } from "../wire.ts"
import { commonOf, fromSaid, insideAnswer, malformed } from "./failure.ts"

const ContentPart = Schema.Struct({
  type: maybe(Schema.String),
  text: maybe(Schema.String),
  // Mistral's reasoning models put their reasoning among the content.
  thinking: maybe(Schema.Union(Schema.String, Schema.Array(Schema.Struct({ text: maybe(Schema.String) }))))
})

const ToolCall = Schema.Struct({
  id: maybe(Schema.String),
  function: maybe(Schema.Struct({
    name: Schema.String,
    // JSON text by the book; some servers send the object.
    arguments: maybe(Schema.Unknown)
  }))
})

/** A message's content: text, or a list of parts. */
export const Content = Schema.Union(Schema.String, Schema.Array(ContentPart))

const Message = Schema.Struct({
  content: maybe(Content),
  refusal: maybe(Schema.String),
  reasoning: maybe(Schema.String),
  reasoning_content: maybe(Schema.String),
  tool_calls: maybe(Schema.Array(ToolCall))
})

export const isMaybeText = (value: unknown): value is string | null | undefined =>
  typeof value === "string" || value === undefined || value === null

/** Whether a message, or a piece of one, is of the plain kind: texts, and no tools. */
export const isPlainMessage = (message: JsonRecord): boolean =>
  isMaybeText(message["content"]) && isMaybeText(message["refusal"]) && isMaybeText(message["reasoning"]) &&
  isMaybeText(message["reasoning_content"]) && (message["tool_calls"] === undefined || message["tool_calls"] === null)

const Choice = Schema.Struct({ finish_reason: maybe(Schema.String), message: Message })

const Completion = Schema.Struct({
  id: maybe(Schema.String),
  model: maybe(Schema.String),
  choices: Schema.NonEmptyArray(Choice),
  // An answer is not lost to odd book-keeping: see `usageOf`.
  usage: maybe(Schema.Unknown)
})

/** Checks that a completion has the shape that is understood. */
export const bySchema = Schema.decodeUnknownEither(Completion, { errors: "all" })

/** Whether a completion is of the plain kind, as most are: as documented, its content nothing but text. */
const isPlain = (value: unknown): value is typeof Completion.Type => {
  const completion = asRecord(value)
  const choices = completion?.["choices"]
  return isMaybeText(completion?.["id"]) && isMaybeText(completion?.["model"]) &&
    Array.isArray(choices) && choices.length > 0 && choices.every((one) => {
      const choice = asRecord(one)
      const message = asRecord(choice?.["message"])
      return message !== undefined && isMaybeText(choice?.["finish_reason"]) && isPlainMessage(message)
    })
}

/** A completion, left to the schema only where a look does not tell that it is one: the schema costs many times as much. */
export const decode = (value: unknown): ReturnType<typeof bySchema> =>
  isPlain(value) ? Either.right(value) : bySchema(value)

/** Nothing inside is understood. */
const unknown: Known = {}

/** What is understood; everything else survives in `extras`. A tool call that is not of a function is kept whole. */
const known = (onlyFunctions: boolean): Known => ({
  id: true,
  model: true,
  choices: {
    index: true,
    finish_reason: true,
    message: {
      role: true,
      content: true,
      // A refusal that is not the whole answer.
      refusal: unknown,
      reasoning: true,
      reasoning_content: true,
      tool_calls: onlyFunctions
        ? { id: true, type: true, index: true, function: { name: true, arguments: true } }
        : unknown
    }
  },
  usage: {
    prompt_tokens: true,
    completion_tokens: true,
    total_tokens: true,
    prompt_tokens_details: { cached_tokens: true },
    completion_tokens_details: { reasoning_tokens: true },
    prompt_cache_hit_tokens: true
  }
})

/** The tokens used, as far as the numbers make sense. */
export const usageOf = (value: unknown): Usage => {
  const usage = asRecord(value)
  const input = asRecord(usage?.["prompt_tokens_details"])
  const output = asRecord(usage?.["completion_tokens_details"])
  return new Usage(
    defined({
      inputTokens: asCount(usage?.["prompt_tokens"]),
      outputTokens: asCount(usage?.["completion_tokens"]),
      cachedInputTokens: asCount(input?.["cached_tokens"]) ?? asCount(usage?.["prompt_cache_hit_tokens"]),
      reasoningTokens: asCount(output?.["reasoning_tokens"])
    }),
    true
  )
}

const text = (value: string): AssistantPart => ({ _tag: "Text", text: value })
const reasoning = (value: string): AssistantPart => ({ _tag: "Reasoning", text: value })

/** The text and the reasoning in a message's content. */
export const textsOf = (content: typeof Content.Type): ReadonlyArray<AssistantPart> =>
  typeof content === "string" ? content === "" ? [] : [text(content)] : content.flatMap((part) => {
    const { thinking } = part
    const thought = typeof thinking === "string" ? thinking : thinking?.map(({ text }) => text ?? "").join("")
    return [...(thought ? [reasoning(thought)] : []), ...(part.text ? [text(part.text)] : [])]
  })

const contentOf = ({ content, reasoning: plain, reasoning_content, tool_calls }: typeof Message.Type) => {
  const before = reasoning_content || plain
  const parts: Array<AssistantPart> = [...(before ? [reasoning(before)] : []), ...textsOf(content ?? "")]
  for (const [index, { function: call, id }] of (tool_calls ?? []).entries()) {
    if (!call) continue
    const given = call.arguments ?? ""
    parts.push({
      _tag: "ToolCall",
      id: id || `call_${index}`,
      name: call.name,
      arguments: typeof given === "string" ? given : JSON.stringify(given)
    })
  }
  return parts
}

/** A model that was made to call a tool stops with `stop`; what it wants is the tool all the same. */
export const finishReason = (reason: string, wantsTools: boolean): FinishReason => {
  switch (reason) {
    case "tool_calls":
    case "function_call":
      return "toolCalls"
    case "stop":
      return wantsTools ? "toolCalls" : "stop"
    case "length":
    case "model_length":
      return "length"
    default:
      return "other"
  }
}

/** The failure that a finish reason is, if it is one. */
export const failureOf = (reason: string, context: Context): LlmError.ProviderError | undefined => {
  switch (reason) {
    case "content_filter":
      return new LlmError.ContentFiltered({ ...commonOf(context), code: reason, stage: "output" })
    // DeepSeek gave up in the middle of the answer.
    case "insufficient_system_resource":
      return new LlmError.Overloaded({ ...commonOf(context), code: reason })
    default:
      return undefined
  }
}

/** The model declined, in its own words. */
export const refused = (words: string, context: Context): LlmError.ContentFiltered =>
  new LlmError.ContentFiltered({ ...commonOf(context), stage: "refusal", detail: conceal(words, context.secrets) })

/** The answer in a reply that HTTP calls a success, or the failure it is. */
export const read = (bytes: Uint8Array, context: Context): Either.Either<LlmResponse, LlmError.ProviderError> => {
  const unreadable = (what: string) => Either.left(malformed(what, context))
  const json = jsonOf(bytes, context)
  if (Either.isLeft(json)) return unreadable(json.left)
  const said = insideAnswer(json.right)
  if (said !== undefined) return Either.left(fromSaid(said, context))
  const decoded = decode(json.right)
  if (Either.isLeft(decoded)) return unreadable(wrongShape(decoded.left))

  const { choices: [choice, ...others], id, model, usage } = decoded.right
  const parts = Either.try(() => contentOf(choice.message))
  if (Either.isLeft(parts)) return unreadable("the arguments of a tool call are nested too deeply")
  const content = parts.right
  const refusal = asText(choice.message.refusal)
  if (!choice.finish_reason) return unreadable("the answer has no finish reason")
  const failed = failureOf(choice.finish_reason, context)
  if (failed !== undefined) return Either.left(failed)
  if (refusal !== undefined && !content.some(({ _tag }) => _tag === "Text")) {
    return Either.left(refused(refusal, context))
  }
  const onlyFunctions = (choice.message.tool_calls ?? []).every((call) => call.function)
  const extras = asRecord(leftover(json.right, known(onlyFunctions))) ?? {}
  return Either.right(
    new LlmResponse(
      defined({
        id: id ?? undefined,
        provider: context.provider,
        model: model || context.model,
        content,
        finishReason: finishReason(choice.finish_reason, content.some(({ _tag }) => _tag === "ToolCall")),
        usage: usageOf(usage),
        extras: others.length === 0 ? extras : { ...extras, choices: asRecord(json.right)?.["choices"] }
      }),
      true
    )
  )
}
