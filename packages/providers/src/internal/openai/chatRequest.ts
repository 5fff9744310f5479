/** From a request to the body of a Chat Completions request. */
import type * as Either from "effect/Either"
import type { LlmRequest, Message, ResponseFormat, ToolChoice, UserPart } from "perdure/LlmRequest"
import { defined } from "../json.ts"
import { checkStream, Refused, refusing } from "../refused.ts"
import type { Refusal } from "../wire.ts"
import { dataUrl } from "./dataUrl.ts"

export interface Options {
  readonly model: string
  /** The provider's name, under which a request keeps fields of its own. */
  readonly name: string
  /** The name under which reasoning is signed. */
  readonly signer: string
  readonly maxTokensField: "max_completion_tokens" | "max_tokens"
  readonly seedField: "seed" | "random_seed"
  /** Whether to ask for the usage at the end of a stream. */
  readonly streamUsage: boolean
}

type Body = Readonly<Record<string, unknown>>

const userPart = (part: UserPart): Body => {
  switch (part._tag) {
    case "Text":
      return { type: "text", text: part.text }
    case "Image":
      return {
        type: "image_url",
        image_url: defined({
          url: part.source._tag === "Url" ? part.source.url : dataUrl(part.source),
          detail: part.detail
        })
      }
    case "File": {
      const data = part.source._tag === "Base64" ? dataUrl(part.source) : part.source.url
      if (!data.startsWith("data:")) {
        throw new Refused("messages", "the Chat Completions API does not fetch files: send the file as base64")
      }
      // The API asks for a name with every file.
      const name = part.name ?? (data.startsWith("data:application/pdf") ? "file.pdf" : "file")
      return { type: "file", file: { filename: name, file_data: data } }
    }
  }
}

const message = (message: Message): Body => {
  switch (message._tag) {
    case "System":
      return { role: "system", content: message.text }
    case "User": {
      const [first, ...rest] = message.content
      return {
        role: "user",
        content: first._tag === "Text" && rest.length === 0 ? first.text : message.content.map(userPart)
      }
    }
    case "Assistant": {
      const text = message.content.flatMap((part) => part._tag === "Text" ? part.text : [])
      const calls = message.content.flatMap((part) =>
        part._tag === "ToolCall"
          ? { id: part.id, type: "function", function: { name: part.name, arguments: part.arguments } }
          : []
      )
      return {
        role: "assistant",
        content: text.length === 0 && calls.length > 0 ? null : text.join(""),
        ...(calls.length === 0 ? {} : { tool_calls: calls })
      }
    }
    case "Tool":
      return { role: "tool", tool_call_id: message.toolCallId, content: message.content }
  }
}

const toolChoice = (choice: typeof ToolChoice.Type): unknown =>
  typeof choice === "string" ? choice : { type: "function", function: { name: choice.name } }

const responseFormat = (format: typeof ResponseFormat.Type): Body => {
  switch (format._tag) {
    case "Text":
      return { type: "text" }
    case "Json":
      return { type: "json_object" }
    case "JsonSchema":
      return {
        type: "json_schema",
        json_schema: { name: format.name, schema: format.schema, strict: format.strict }
      }
  }
}

const body = (request: LlmRequest, streaming: boolean, options: Options): Body => {
  const { maxTokensField, model, name, seedField, streamUsage } = options
  if (request.topK !== undefined) {
    throw new Refused(
      "topK",
      `the Chat Completions API has no top_k; a server that knows one takes it from extras.${name}.top_k`
    )
  }
  const whole = defined({
    model,
    messages: request.messages.map(message),
    tools: request.tools.length === 0
      ? undefined
      : request.tools.map(({ description, name, parameters, strict }) => ({
        type: "function",
        function: defined({ name, description, parameters, strict })
      })),
    tool_choice: request.toolChoice === undefined ? undefined : toolChoice(request.toolChoice),
    parallel_tool_calls: request.parallelToolCalls,
    response_format: request.responseFormat === undefined ? undefined : responseFormat(request.responseFormat),
    temperature: request.temperature,
    top_p: request.topP,
    frequency_penalty: request.frequencyPenalty,
    presence_penalty: request.presencePenalty,
    stop: request.stop.length === 0 ? undefined : request.stop,
    [maxTokensField]: request.maxOutputTokens,
    [seedField]: request.seed,
    stream: streaming ? true : undefined,
    stream_options: streaming && streamUsage ? { include_usage: true } : undefined,
    ...request.extras[name]
  })
  const extras = request.extras[name] ?? {}
  checkStream(extras, streaming, name)
  if (streaming && typeof extras["n"] === "number" && extras["n"] > 1) {
    throw new Refused(`extras.${name}.n`, "a stream holds one answer")
  }
  return whole
}

/** The body as JSON text, or why there is none. */
export const encode = (request: LlmRequest, streaming: boolean, options: Options): Either.Either<string, Refusal> =>
  refusing(() => JSON.stringify(body(request, streaming, options)))
