/** From a request to the body of a `generateContent` request. */
import type * as Either from "effect/Either"
import type { LlmRequest, Message, ResponseFormat, ToolChoice } from "perdure/LlmRequest"
import { asRecord, defined, type JsonRecord } from "../json.ts"
import { Refused, refusing } from "../refused.ts"
import type { Refusal } from "../wire.ts"
import { assistantParts, toolPart, userParts } from "./parts.ts"

export interface Options {
  readonly model: string
  /** The provider's name, under which a request keeps fields of its own. */
  readonly name: string
}

interface Content {
  readonly role: "user" | "model"
  readonly parts: Array<JsonRecord>
}

/** The conversation. Results of tools that were asked for together must come together. */
const contentsOf = (messages: ReadonlyArray<Message>, options: Options): ReadonlyArray<Content> => {
  const contents: Array<Content> = []
  let before: Message["_tag"] | undefined
  for (const message of messages) {
    switch (message._tag) {
      case "System":
        break
      case "User":
        contents.push({ role: "user", parts: userParts(message.content) })
        break
      case "Assistant":
        contents.push({ role: "model", parts: assistantParts(message.content, options) })
        break
      case "Tool": {
        const last = contents.at(-1)
        if (before === "Tool" && last !== undefined) last.parts.push(toolPart(message))
        else contents.push({ role: "user", parts: [toolPart(message)] })
      }
    }
    if (message._tag !== "System") before = message._tag
  }
  return contents
}

/** `VALIDATED` leaves the choice to the model, as `AUTO` does, and holds it to the schemas, as `ANY` does. */
const toolConfig = (choice: typeof ToolChoice.Type | undefined, strict: boolean): JsonRecord | undefined => {
  const config = (mode: string, names?: ReadonlyArray<string>) => ({
    functionCallingConfig: defined({ mode, allowedFunctionNames: names })
  })
  switch (choice) {
    case undefined:
      return strict ? config("VALIDATED") : undefined
    case "auto":
      return config(strict ? "VALIDATED" : "AUTO")
    case "required":
      return config("ANY")
    case "none":
      return config("NONE")
    default:
      return config("ANY", [choice.name])
  }
}

const responseFormat = (format: typeof ResponseFormat.Type): JsonRecord => {
  switch (format._tag) {
    case "Text":
      return { responseMimeType: "text/plain" }
    case "Json":
      return { responseMimeType: "application/json" }
    case "JsonSchema":
      return { responseMimeType: "application/json", responseJsonSchema: format.schema }
  }
}

/** How closely to look is one setting for all media of a request, so all images must agree. */
const mediaResolution = (request: LlmRequest): string | undefined => {
  const details = new Set(
    request.messages.flatMap((message) =>
      message._tag === "User"
        ? message.content.flatMap((part) => part._tag === "Image" ? [part.detail ?? "auto"] : [])
        : []
    )
  )
  if (details.size > 1) {
    throw new Refused("messages", "the Gemini API has one resolution for all media: give all images the same detail")
  }
  return details.has("low") ? "MEDIA_RESOLUTION_LOW" : details.has("high") ? "MEDIA_RESOLUTION_HIGH" : undefined
}

const generationConfig = (request: LlmRequest): JsonRecord | undefined => {
  const config = defined({
    temperature: request.temperature,
    topP: request.topP,
    topK: request.topK,
    maxOutputTokens: request.maxOutputTokens,
    stopSequences: request.stop.length === 0 ? undefined : request.stop,
    seed: request.seed,
    presencePenalty: request.presencePenalty,
    frequencyPenalty: request.frequencyPenalty,
    mediaResolution: mediaResolution(request),
    ...(request.responseFormat === undefined ? {} : responseFormat(request.responseFormat))
  })
  return Object.keys(config).length === 0 ? undefined : config
}

/** One object over another, so that a setting of its own does not cost the others around it. Lists are replaced. */
const merged = (under: JsonRecord, over: JsonRecord): JsonRecord => {
  // A map first: a field named `__proto__` is data.
  const fields = new Map(Object.entries(under))
  for (const [field, value] of Object.entries(over)) {
    const inner = asRecord(fields.get(field))
    const outer = asRecord(value)
    fields.set(field, inner !== undefined && outer !== undefined ? merged(inner, outer) : value)
  }
  return Object.fromEntries(fields)
}

const body = (request: LlmRequest, options: Options): JsonRecord => {
  if (request.parallelToolCalls === false) {
    throw new Refused("parallelToolCalls", "the Gemini API cannot be kept from asking for several tools at once")
  }
  const system = request.messages.flatMap((message) => message._tag === "System" ? [{ text: message.text }] : [])
  const contents = contentsOf(request.messages, options)
  if (contents.length === 0) {
    throw new Refused("messages", "the Gemini API needs a message besides the system's")
  }
  return merged(
    defined({
      systemInstruction: system.length === 0 ? undefined : { parts: system },
      contents,
      tools: request.tools.length === 0 ? undefined : [{
        functionDeclarations: request.tools.map(({ description, name, parameters }) =>
          // `parameters` takes a dialect of OpenAPI, this one takes JSON Schema.
          defined({ name, description, parametersJsonSchema: parameters })
        )
      }],
      toolConfig: toolConfig(request.toolChoice, request.tools.some(({ strict }) => strict === true)),
      generationConfig: generationConfig(request)
    }),
    request.extras[options.name] ?? {}
  )
}

/** The body as JSON text, or why there is none. */
export const encode = (request: LlmRequest, options: Options): Either.Either<string, Refusal> =>
  refusing(() => JSON.stringify(body(request, options)))
