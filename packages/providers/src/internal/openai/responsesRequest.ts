/** From a request to the body of a Responses request. */
import type * as Either from "effect/Either"
import type { AssistantPart, LlmRequest, Message, ResponseFormat, ToolChoice, UserPart } from "perdure/LlmRequest"
import { asRecord, asText, defined, parse } from "../json.ts"
import { signatureFor } from "../reasoning.ts"
import { checkStream, Refused, refusing } from "../refused.ts"
import type { Refusal } from "../wire.ts"
import type { Options } from "./chatRequest.ts"
import { dataUrl } from "./dataUrl.ts"

type Body = Readonly<Record<string, unknown>>

const userPart = (part: UserPart): Body => {
  switch (part._tag) {
    case "Text":
      return { type: "input_text", text: part.text }
    case "Image":
      return defined({
        type: "input_image",
        image_url: part.source._tag === "Url" ? part.source.url : dataUrl(part.source),
        detail: part.detail
      })
    case "File": {
      if (part.source._tag === "Url" && !part.source.url.startsWith("data:")) {
        return { type: "input_file", file_url: part.source.url }
      }
      const data = part.source._tag === "Base64" ? dataUrl(part.source) : part.source.url
      // The API asks for a name with every file it is sent.
      const name = part.name ?? (data.startsWith("data:application/pdf") ? "file.pdf" : "file")
      return { type: "input_file", filename: name, file_data: data }
    }
  }
}

const assistantItem = (part: AssistantPart, signer: string): ReadonlyArray<Body> => {
  switch (part._tag) {
    case "Text":
      return [{ role: "assistant", content: part.text }]
    case "ToolCall":
      return [{ type: "function_call", call_id: part.id, name: part.name, arguments: part.arguments }]
    case "Reasoning": {
      const signed = asRecord(parse(signatureFor(signer, part) ?? "")?.value)
      const id = asText(signed?.["id"])
      const encrypted = asText(signed?.["encrypted_content"])
      // Reasoning of another provider, or in clear, is not taken back.
      return id === undefined || encrypted === undefined ? [] : [{
        type: "reasoning",
        id,
        summary: part.text === "" ? [] : [{ type: "summary_text", text: part.text }],
        encrypted_content: encrypted
      }]
    }
  }
}

const items = (message: Message, signer: string): ReadonlyArray<Body> => {
  switch (message._tag) {
    case "System":
      return [{ role: "system", content: message.text }]
    case "User": {
      const [first, ...rest] = message.content
      const content = first._tag === "Text" && rest.length === 0 ? first.text : message.content.map(userPart)
      return [{ role: "user", content }]
    }
    case "Assistant":
      return message.content.flatMap((part) => assistantItem(part, signer))
    case "Tool":
      return [{ type: "function_call_output", call_id: message.toolCallId, output: message.content }]
  }
}

const toolChoice = (choice: typeof ToolChoice.Type): unknown =>
  typeof choice === "string" ? choice : { type: "function", name: choice.name }

const format = (format: typeof ResponseFormat.Type): Body => {
  switch (format._tag) {
    case "Text":
      return { type: "text" }
    case "Json":
      return { type: "json_object" }
    case "JsonSchema":
      return { type: "json_schema", name: format.name, schema: format.schema, strict: format.strict }
  }
}

const refuseUnknown = ({ frequencyPenalty, presencePenalty, seed, stop, topK }: LlmRequest): void => {
  const given = { topK, frequencyPenalty, presencePenalty, seed, stop: stop.length === 0 ? undefined : stop }
  for (const [field, value] of Object.entries(given)) {
    if (value !== undefined) throw new Refused(field, `the Responses API has no ${field}`)
  }
}

const body = (request: LlmRequest, streaming: boolean, { model, name, signer }: Options): Body => {
  refuseUnknown(request)
  const after = request.messages.findIndex(({ _tag }) => _tag !== "System")
  const first = after === -1 ? request.messages : request.messages.slice(0, after)
  const instructions = first.flatMap((message) => message._tag === "System" ? message.text : []).join("\n\n")
  const extras = request.extras[name] ?? {}
  checkStream(extras, streaming, name)
  if (extras["background"] === true) {
    throw new Refused(`extras.${name}.background`, "an answer that is made in the background is not waited for")
  }
  return defined({
    model,
    instructions: instructions === "" ? undefined : instructions,
    input: request.messages.slice(first.length).flatMap((message) => items(message, signer)),
    tools: request.tools.length === 0
      ? undefined
      : request.tools.map(({ description, name, parameters, strict }) =>
        // This API is strict when it is not told otherwise.
        defined({ type: "function", name, description, parameters, strict: strict ?? false })
      ),
    tool_choice: request.toolChoice === undefined ? undefined : toolChoice(request.toolChoice),
    parallel_tool_calls: request.parallelToolCalls,
    text: request.responseFormat === undefined ? undefined : { format: format(request.responseFormat) },
    temperature: request.temperature,
    top_p: request.topP,
    max_output_tokens: request.maxOutputTokens,
    stream: streaming ? true : undefined,
    ...extras
  })
}

/** The body as JSON text, or why there is none. */
export const encode = (request: LlmRequest, streaming: boolean, options: Options): Either.Either<string, Refusal> =>
  refusing(() => JSON.stringify(body(request, streaming, options)))
