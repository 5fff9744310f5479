/** From the body of a Chat Completions response to an answer, or to the failure that it is. */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as LlmError from "perdure/LlmError"
import type { AssistantPart } from "perdure/LlmRequest"
import { type FinishReason, LlmResponse, Usage } from "perdure/LlmResponse"
import { asCount, asRecord, asText, defined, type Known, leftover, parse } from "../json.ts"
import { conceal } from "../secrets.ts"
import { commonOf, type Context, fromSaid, malformed } from "./failure.ts"
import { insideAnswer, pageText } from "./said.ts"

/** A field that may be missing, or null, which is the same. */
const maybe = <A, I>(schema: Schema.Schema<A, I>) => Schema.optional(Schema.NullOr(schema))

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

const Message = Schema.Struct({
  content: maybe(Schema.Union(Schema.String, Schema.Array(ContentPart))),
  refusal: maybe(Schema.String),
  reasoning: maybe(Schema.String),
  reasoning_content: maybe(Schema.String),
  tool_calls: maybe(Schema.Array(ToolCall))
})

const Choice = Schema.Struct({ finish_reason: maybe(Schema.String), message: Message })

const Completion = Schema.Struct({
  id: maybe(Schema.String),
  model: maybe(Schema.String),
  choices: Schema.NonEmptyArray(Choice),
  // An answer is not lost to odd book-keeping: see `usageOf`.
  usage: maybe(Schema.Unknown)
})

const decode = Schema.decodeUnknownEither(Completion)

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
const usageOf = (value: unknown): Usage => {
  const usage = asRecord(value)
  const input = asRecord(usage?.["prompt_tokens_details"])
  const output = asRecord(usage?.["completion_tokens_details"])
  return new Usage(defined({
    inputTokens: asCount(usage?.["prompt_tokens"]),
    outputTokens: asCount(usage?.["completion_tokens"]),
    cachedInputTokens: asCount(input?.["cached_tokens"]) ?? asCount(usage?.["prompt_cache_hit_tokens"]),
    reasoningTokens: asCount(output?.["reasoning_tokens"])
  }))
}

const text = (value: string): AssistantPart => ({ _tag: "Text", text: value })
const reasoning = (value: string): AssistantPart => ({ _tag: "Reasoning", text: value })

const contentOf = ({ content, reasoning: plain, reasoning_content, tool_calls }: typeof Message.Type) => {
  const parts: Array<AssistantPart> = []
  const before = reasoning_content || plain
  if (before) parts.push(reasoning(before))
  for (const part of typeof content === "string" ? [{ text: content }] : content ?? []) {
    const thinking = "thinking" in part ? part.thinking : undefined
    const thought = typeof thinking === "string" ? thinking : thinking?.map(({ text }) => text ?? "").join("")
    if (thought) parts.push(reasoning(thought))
    if (part.text) parts.push(text(part.text))
  }
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
const finishReason = (reason: string, content: ReadonlyArray<AssistantPart>): FinishReason => {
  switch (reason) {
    case "tool_calls":
    case "function_call":
      return "toolCalls"
    case "stop":
      return content.some(({ _tag }) => _tag === "ToolCall") ? "toolCalls" : "stop"
    case "length":
    case "model_length":
      return "length"
    default:
      return "other"
  }
}

/** What is wrong with a body that is not JSON. */
const notJson = (body: string, { headers }: Context): string => {
  if (body.trim() === "") return "the body is empty"
  const page = /^\s*</.test(body) ? `: ${pageText(body).slice(0, 200)}` : ""
  return `the body is not JSON (${headers["content-type"] ?? "no content type"}, ${body.length} characters)${page}`
}

const wrongShape = (error: ParseResult.ParseError): string => {
  const places = ParseResult.ArrayFormatter.formatErrorSync(error).map(({ path }) => path.join(".") || "the whole")
  return `the body has another shape than documented at ${Array.from(new Set(places)).slice(0, 5).join(", ")}`
}

const strict = new TextDecoder("utf-8", { fatal: true })

const textOf = (bytes: Uint8Array): string | undefined => {
  try {
    return strict.decode(bytes)
  } catch {
    return undefined
  }
}

/** The answer in a reply that HTTP calls a success, or the failure it is. */
export const read = (bytes: Uint8Array, context: Context): Either.Either<LlmResponse, LlmError.ProviderError> => {
  const unreadable = (what: string) => Either.left(malformed(what, context))
  const body = textOf(bytes)
  if (body === undefined) return unreadable("the body is not UTF-8")
  const json = parse(body)
  if (json === undefined) return unreadable(notJson(body, context))
  const said = insideAnswer(json.value)
  if (said !== undefined) return Either.left(fromSaid(said, context))
  const decoded = decode(json.value, { errors: "all" })
  if (Either.isLeft(decoded)) return unreadable(wrongShape(decoded.left))

  const { choices: [choice, ...others], id, model, usage } = decoded.right
  const parts = Either.try(() => contentOf(choice.message))
  if (Either.isLeft(parts)) return unreadable("the arguments of a tool call are nested too deeply")
  const content = parts.right
  const common = commonOf(context)
  const refusal = asText(choice.message.refusal)
  if (!choice.finish_reason) return unreadable("the answer has no finish reason")
  if (choice.finish_reason === "content_filter") {
    return Either.left(new LlmError.ContentFiltered({ ...common, code: "content_filter", stage: "output" }))
  }
  // DeepSeek gave up in the middle of the answer.
  if (choice.finish_reason === "insufficient_system_resource") {
    return Either.left(new LlmError.Overloaded({ ...common, code: "insufficient_system_resource" }))
  }
  if (refusal !== undefined && !content.some(({ _tag }) => _tag === "Text")) {
    return Either.left(
      new LlmError.ContentFiltered({ ...common, stage: "refusal", detail: conceal(refusal, context.secrets) })
    )
  }
  const onlyFunctions = (choice.message.tool_calls ?? []).every((call) => call.function)
  const extras = asRecord(leftover(json.value, known(onlyFunctions))) ?? {}
  return Either.right(
    new LlmResponse(defined({
      id: id ?? undefined,
      provider: context.provider,
      model: model || context.model,
      content,
      finishReason: finishReason(choice.finish_reason, content),
      usage: usageOf(usage),
      extras: others.length === 0 ? extras : { ...extras, choices: asRecord(json.value)?.["choices"] }
    }))
  )
}
