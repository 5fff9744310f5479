/** From a request to the body of a Messages request. */
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import type {
  AssistantPart,
  FilePart,
  LlmRequest,
  Message,
  ResponseFormat,
  Source,
  Tool,
  ToolChoice,
  UserPart
} from "perdure/LlmRequest"
import { asRecord, defined, parse } from "../json.ts"
import { signatureFor } from "../reasoning.ts"
import { checkStream, Refused, refusing } from "../refused.ts"
import type { Refusal } from "../wire.ts"
import { redactedData } from "./reasoning.ts"

export interface Options {
  readonly model: string
  /** The provider's name, under which a request keeps fields of its own. */
  readonly name: string
  /** The most tokens of an answer, where a request does not say; the API asks for a number. */
  readonly maxOutputTokens: number
}

type Block = Readonly<Record<string, unknown>>

interface Turn {
  readonly role: "user" | "assistant"
  readonly content: ReadonlyArray<Block>
}

/** The API refuses texts that say nothing. */
const text = (value: string): ReadonlyArray<Block> => value === "" ? [] : [{ type: "text", text: value }]

/** A source whose data, when it is given as a `data:` address, is base64. */
const resolved = (source: typeof Source.Type): typeof Source.Type => {
  if (source._tag === "Base64") return source
  const inline = /^data:([^;,]+)(?:;[^;,]+)*;base64,/i.exec(source.url)
  if (inline !== null) {
    return { _tag: "Base64", mediaType: inline[1] ?? "", data: source.url.slice(inline[0].length) }
  }
  if (/^data:/i.test(source.url)) {
    throw new Refused("messages", "a data: address must be base64 and name its media type")
  }
  return source
}

const image = (given: typeof Source.Type): Block => {
  const source = resolved(given)
  return {
    type: "image",
    source: source._tag === "Url"
      ? { type: "url", url: source.url }
      : { type: "base64", media_type: source.mediaType, data: source.data }
  }
}

const documentSource = (given: typeof Source.Type): Block => {
  const source = resolved(given)
  if (source._tag === "Url") return { type: "url", url: source.url }
  const mediaType = source.mediaType.split(";")[0]?.trim().toLowerCase() ?? ""
  if (mediaType === "application/pdf") return { type: "base64", media_type: mediaType, data: source.data }
  if (!mediaType.startsWith("text/")) {
    throw new Refused("messages", "the Messages API reads PDF files and text files only")
  }
  return {
    type: "text",
    media_type: "text/plain",
    data: Either.getOrThrowWith(
      Encoding.decodeBase64String(source.data),
      () => new Refused("messages", "the data of a text file is not base64")
    )
  }
}

const file = ({ name, source }: typeof FilePart.Type): Block =>
  defined({ type: "document", source: documentSource(source), title: name })

const userPart = (part: UserPart): ReadonlyArray<Block> => {
  switch (part._tag) {
    case "Text":
      return text(part.text)
    case "Image":
      return [image(part.source)]
    case "File":
      return [file(part)]
  }
}

const input = (json: string): Block => {
  const value = json.trim() === "" ? {} : asRecord(parse(json)?.value)
  if (value === undefined) {
    throw new Refused("messages", "the arguments of a tool call are not a JSON object, which the Messages API asks for")
  }
  return value
}

const assistantPart = (part: AssistantPart, name: string): ReadonlyArray<Block> => {
  switch (part._tag) {
    case "Text":
      return text(part.text)
    case "ToolCall":
      return [{ type: "tool_use", id: part.id, name: part.name, input: input(part.arguments) }]
    case "Reasoning": {
      // The API takes back only what it has signed.
      const signature = signatureFor(name, part)
      if (signature === undefined) return []
      const data = redactedData(signature)
      return [
        data === undefined
          ? { type: "thinking", thinking: part.text, signature }
          : { type: "redacted_thinking", data }
      ]
    }
  }
}

const turn = (message: Exclude<Message, { readonly _tag: "System" }>, name: string): Turn => {
  switch (message._tag) {
    case "User":
      return { role: "user", content: message.content.flatMap(userPart) }
    case "Assistant":
      return { role: "assistant", content: message.content.flatMap((part) => assistantPart(part, name)) }
    case "Tool": {
      const { content, isError, toolCallId } = message
      const result = { type: "tool_result", tool_use_id: toolCallId, content }
      return { role: "user", content: [isError ? { ...result, is_error: true } : result] }
    }
  }
}

const isResult = ({ type }: Block): boolean => type === "tool_result"

/** Turns that take turns: consecutive messages of one role are one. Results of tools stand first, as the API asks. */
const turns = (messages: ReadonlyArray<Message>, name: string): ReadonlyArray<Turn> => {
  const merged: Array<Turn> = []
  for (const message of messages) {
    if (message._tag === "System") continue
    const next = turn(message, name)
    const last = merged.at(-1)
    if (next.content.length === 0) continue
    if (last?.role === next.role) merged[merged.length - 1] = { ...last, content: [...last.content, ...next.content] }
    else merged.push(next)
  }
  if (merged.length === 0) throw new Refused("messages", "the Messages API asks for a message that says something")
  return merged.map(({ content, role }) => ({
    role,
    content: content.some(isResult)
      ? [...content.filter(isResult), ...content.filter((block) => !isResult(block))]
      : content
  }))
}

const tool = ({ description, name, parameters, strict }: typeof Tool.Type): Block =>
  defined({ name, description, input_schema: parameters, strict })

const choiceOf = (choice: typeof ToolChoice.Type): Block => {
  if (typeof choice !== "string") return { type: "tool", name: choice.name }
  switch (choice) {
    case "auto":
      return { type: "auto" }
    case "required":
      return { type: "any" }
    case "none":
      return { type: "none" }
  }
}

const toolChoice = ({ parallelToolCalls, toolChoice }: LlmRequest, hasTools: boolean): Block | undefined => {
  // Without tools the API takes no choice, and none but the forced ones asks for anything.
  if (!hasTools) {
    if (toolChoice === undefined || toolChoice === "auto" || toolChoice === "none") return undefined
    throw new Refused("toolChoice", "a tool must be called, but there are no tools")
  }
  const one = parallelToolCalls === false && toolChoice !== "none" ? { disable_parallel_tool_use: true } : undefined
  return toolChoice === undefined && one === undefined ? undefined : { ...choiceOf(toolChoice ?? "auto"), ...one }
}

const outputConfig = (format: typeof ResponseFormat.Type | undefined): Block | undefined => {
  switch (format?._tag) {
    case undefined:
    case "Text":
      return undefined
    case "Json":
      throw new Refused("responseFormat", "the Messages API has no JSON mode without a schema; give one (JsonSchema)")
    case "JsonSchema":
      return { format: { type: "json_schema", schema: format.schema } }
  }
}

const refuseUnknown = (request: LlmRequest): void => {
  if (request.seed !== undefined) throw new Refused("seed", "the Messages API has no seed")
  // A penalty of zero is none.
  for (const field of ["frequencyPenalty", "presencePenalty"] as const) {
    if (request[field]) throw new Refused(field, "the Messages API has no penalties")
  }
  if (request.temperature !== undefined && request.temperature > 1) {
    throw new Refused("temperature", `the Messages API takes a temperature from 0 to 1, not ${request.temperature}`)
  }
}

const body = (request: LlmRequest, streaming: boolean, { maxOutputTokens, model, name }: Options): Block => {
  refuseUnknown(request)
  const extras = request.extras[name] ?? {}
  checkStream(extras, streaming, name)
  const system = request.messages.flatMap((message) => message._tag === "System" ? text(message.text) : [])
  const config = outputConfig(request.responseFormat)
  return defined({
    model,
    max_tokens: request.maxOutputTokens ?? maxOutputTokens,
    system: system.length === 0 ? undefined : system,
    messages: turns(request.messages, name),
    tools: request.tools.length === 0 ? undefined : request.tools.map(tool),
    tool_choice: toolChoice(request, request.tools.length > 0 || "tools" in extras),
    stop_sequences: request.stop.length === 0 ? undefined : request.stop,
    temperature: request.temperature,
    top_p: request.topP,
    top_k: request.topK,
    stream: streaming ? true : undefined,
    ...extras,
    // It also holds settings that have nothing to do with the form of the answer, such as the effort.
    output_config: config === undefined ? extras["output_config"] : { ...config, ...asRecord(extras["output_config"]) }
  })
}

/** The body as JSON text, or why there is none. */
export const encode = (
  request: LlmRequest,
  streaming: boolean,
  options: Options
): Either.Either<string, Refusal> => refusing(() => JSON.stringify(body(request, streaming, options)))
