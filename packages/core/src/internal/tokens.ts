/** About how many tokens a request is. */
import type { LlmRequest, Message, UserPart } from "../LlmRequest.ts"

/** Characters of English text in a token, by OpenAI's rule of thumb. */
export const charactersPerToken = 4

/** OpenAI's 85 and four tiles of 170, for 1,024 by 1,024 pixels. */
export const imageTokens = 765

/** OpenAI's count at low detail, for any size. */
export const lowDetailTokens = 85

/** A page of a PDF, at the upper end of Anthropic's 1,500 to 3,000. */
export const fileTokens = 3000

const images = (part: UserPart): number =>
  part._tag === "Image"
    ? part.detail === "low" ? lowDetailTokens : imageTokens
    : part._tag === "File"
    ? fileTokens
    : 0

/** Schemas are large and stay the same from call to call. */
const lengths = new WeakMap<object, number>()

const jsonLength = (value: object): number => {
  const known = lengths.get(value)
  if (known !== undefined) return known
  let length = 0
  try {
    length = JSON.stringify(value).length
  } catch {
    // What is no JSON is the provider's code to refuse, not ours.
  }
  lengths.set(value, length)
  return length
}

const characters = (message: Message): number => {
  switch (message._tag) {
    case "System":
      return message.text.length
    case "Tool":
      return message.content.length
    case "User": {
      let count = 0
      for (const part of message.content) if (part._tag === "Text") count += part.text.length
      return count
    }
    case "Assistant": {
      let count = 0
      for (const part of message.content) {
        count += part._tag === "ToolCall" ? part.name.length + part.arguments.length : part.text.length
      }
      return count
    }
  }
}

/** The tokens that a model reads. */
export const inputTokens = (request: LlmRequest): number => {
  let count = 0
  let fixed = 0
  for (const message of request.messages) {
    count += characters(message)
    if (message._tag === "User") { for (const part of message.content) fixed += images(part) }
  }
  for (const { description = "", name, parameters } of request.tools) {
    count += name.length + description.length + jsonLength(parameters)
  }
  if (request.responseFormat?._tag === "JsonSchema") count += jsonLength(request.responseFormat.schema)
  return Math.ceil(count / charactersPerToken) + fixed
}

/** The tokens of an answer that nothing is known of yet: a page of text. */
export const typicalOutput = 500
