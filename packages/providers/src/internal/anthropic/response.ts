/** From the body of a Messages response to an answer, or to the failure that it is. */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as LlmError from "perdure/LlmError"
import type { AssistantPart } from "perdure/LlmRequest"
import { LlmResponse, type Usage } from "perdure/LlmResponse"
import { jsonOf, maybe, wrongShape } from "../body.ts"
import { asRecord, asText, defined, type Known, leftover } from "../json.ts"
import { reasoning } from "../reasoning.ts"
import { conceal } from "../secrets.ts"
import type { Context } from "../wire.ts"
import { commonOf, inside, malformed } from "./failure.ts"
import { redacted } from "./reasoning.ts"
import { finishReason, usageOf } from "./usage.ts"

const TextBlock = Schema.Struct({ type: Schema.Literal("text"), text: Schema.String })
const ThinkingBlock = Schema.Struct({
  type: Schema.Literal("thinking"),
  thinking: Schema.String,
  signature: maybe(Schema.String)
})
const RedactedBlock = Schema.Struct({ type: Schema.Literal("redacted_thinking"), data: Schema.String })
const ToolBlock = Schema.Struct({
  type: Schema.Literal("tool_use"),
  id: Schema.String,
  name: Schema.String,
  input: maybe(Schema.Unknown)
})
const Understood = Schema.Union(TextBlock, ThinkingBlock, RedactedBlock, ToolBlock)
const understood: ReadonlySet<unknown> = new Set(Understood.members.flatMap((block) => block.fields.type.literals))

/** A block of another kind: what a tool of the provider's own did, and kinds that come later. */
const OtherBlock = Schema.Struct({
  type: Schema.String.pipe(Schema.filter((type) => !understood.has(type)))
})

const Answer = Schema.Struct({
  id: maybe(Schema.String),
  model: maybe(Schema.String),
  content: Schema.Array(Schema.Union(Understood, OtherBlock)),
  stop_reason: maybe(Schema.String),
  stop_details: maybe(Schema.Unknown),
  // An answer is not lost to odd book-keeping: see `usageOf`.
  usage: maybe(Schema.Unknown)
})

/** Checks that an answer has the shape that is understood. */
export const bySchema = Schema.decodeUnknownEither(Answer, { errors: "all" })

const isMaybeText = (value: unknown): boolean => typeof value === "string" || value === undefined || value === null

/** Whether an answer is of the plain kind, as most are: as documented, its content nothing but text. */
const isPlain = (value: unknown): value is typeof Answer.Type => {
  const answer = asRecord(value)
  const content = answer?.["content"]
  return isMaybeText(answer?.["id"]) && isMaybeText(answer?.["model"]) && isMaybeText(answer?.["stop_reason"]) &&
    Array.isArray(content) && content.every((one) => {
      const block = asRecord(one)
      return block?.["type"] === "text" && typeof block["text"] === "string"
    })
}

/** An answer, left to the schema only where a look does not tell that it is one: the schema costs many times as much. */
export const decode = (value: unknown): ReturnType<typeof bySchema> =>
  isPlain(value) ? Either.right(value) : bySchema(value)

/** Kept, but for a null, which says nothing. */
const unlessNull: Known = {}

/** What is understood; everything else survives in `extras`. */
const known: Known = {
  id: true,
  type: true,
  role: true,
  model: true,
  stop_reason: true,
  stop_sequence: unlessNull,
  stop_details: unlessNull,
  container: unlessNull,
  context_management: unlessNull,
  content: {
    type: true,
    text: true,
    thinking: true,
    signature: true,
    data: true,
    id: true,
    name: true,
    input: true,
    citations: unlessNull
  },
  usage: {
    input_tokens: true,
    output_tokens: true,
    cache_read_input_tokens: true,
    cache_creation_input_tokens: true,
    server_tool_use: unlessNull,
    output_tokens_details: { thinking_tokens: true }
  }
}

const partsOf = (
  block: (typeof Answer.Type)["content"][number],
  provider: string
): ReadonlyArray<AssistantPart> => {
  if (!("text" in block || "thinking" in block || "data" in block || "name" in block)) return []
  switch (block.type) {
    case "text":
      return block.text === "" ? [] : [{ _tag: "Text", text: block.text }]
    case "thinking":
      // Reasoning may be kept from the reader and still be signed.
      return block.thinking === "" && !block.signature
        ? []
        : [reasoning(block.thinking, block.signature, provider)]
    case "redacted_thinking":
      return [reasoning("", redacted(block.data), provider)]
    case "tool_use":
      return [{ _tag: "ToolCall", id: block.id, name: block.name, arguments: JSON.stringify(block.input ?? {}) }]
  }
}

/** The model declined; what it says about it may quote the prompt. */
export const refusal = (details: unknown, usage: Usage, context: Context): LlmError.ContentFiltered => {
  const record = asRecord(details)
  return new LlmError.ContentFiltered({
    ...commonOf(context),
    code: conceal(asText(record?.["category"]) ?? "refusal", context.secrets).slice(0, 200),
    stage: "refusal",
    usage,
    detail: conceal(asText(record?.["explanation"]) ?? "", context.secrets)
  })
}

/** The answer in a reply that HTTP calls a success, or the failure it is. */
export const read = (bytes: Uint8Array, context: Context): Either.Either<LlmResponse, LlmError.ProviderError> => {
  const unreadable = (what: string) => Either.left(malformed(what, context))
  const json = jsonOf(bytes, context)
  if (Either.isLeft(json)) return unreadable(json.left)
  const error = inside(json.right, context)
  if (error !== undefined) return Either.left(error)
  const decoded = decode(json.right)
  if (Either.isLeft(decoded)) return unreadable(wrongShape(decoded.left))

  const { id, model, stop_details, stop_reason, usage } = decoded.right
  if (!stop_reason) return unreadable("the answer has no stop reason")
  if (stop_reason === "refusal") return Either.left(refusal(stop_details, usageOf(usage), context))
  const content = Either.try(() => decoded.right.content.flatMap((block) => partsOf(block, context.provider)))
  if (Either.isLeft(content)) return unreadable("the arguments of a tool call are nested too deeply")
  const reason = finishReason(stop_reason)
  const extras = asRecord(leftover(json.right, known)) ?? {}
  const strange = decoded.right.content.some(({ type }) => !understood.has(type))
  return Either.right(
    new LlmResponse(
      defined({
        id: id ?? undefined,
        provider: context.provider,
        model: model || context.model,
        content: content.right,
        finishReason: reason,
        usage: usageOf(usage),
        extras: {
          ...extras,
          // Blocks of other kinds mean something only among the rest.
          ...(strange ? { content: asRecord(json.right)?.["content"] } : {}),
          ...(reason === "other" ? { stop_reason } : {})
        }
      }),
      true
    )
  )
}
