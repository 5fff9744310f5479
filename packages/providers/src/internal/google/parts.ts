/** The pieces of a conversation, as Gemini wants them. */
import type { AssistantPart, FilePart, ImagePart, ToolMessage, UserPart } from "perdure/LlmRequest"
import { asRecord, defined, type JsonRecord, parse } from "../json.ts"
import { signatureFor } from "../reasoning.ts"
import { Refused } from "../refused.ts"

/** Media types by the ends of file names, as far as Gemini takes them. */
const mediaTypes: ReadonlyMap<string, string> = new Map([
  ["png", "image/png"],
  ["jpg", "image/jpeg"],
  ["jpeg", "image/jpeg"],
  ["webp", "image/webp"],
  ["heic", "image/heic"],
  ["heif", "image/heif"],
  ["gif", "image/gif"],
  ["bmp", "image/bmp"],
  ["pdf", "application/pdf"],
  ["json", "application/json"],
  ["txt", "text/plain"],
  ["md", "text/md"],
  ["html", "text/html"],
  ["htm", "text/html"],
  ["css", "text/css"],
  ["csv", "text/csv"],
  ["xml", "text/xml"],
  ["rtf", "text/rtf"],
  ["mp3", "audio/mp3"],
  ["wav", "audio/wav"],
  ["aac", "audio/aac"],
  ["ogg", "audio/ogg"],
  ["flac", "audio/flac"],
  ["aiff", "audio/aiff"],
  ["mp4", "video/mp4"],
  ["mpeg", "video/mpeg"],
  ["mpg", "video/mpg"],
  ["mov", "video/mov"],
  ["avi", "video/avi"],
  ["flv", "video/x-flv"],
  ["webm", "video/webm"],
  ["wmv", "video/wmv"],
  ["3gp", "video/3gpp"],
  ["3gpp", "video/3gpp"]
])

/** Files that Google keeps itself, and videos it finds itself, need no type. */
const typedByGoogle =
  /^https:\/\/(?:generativelanguage\.googleapis\.com\/(?:\w+\/)?files\/|(?:www\.|m\.)?youtube\.com\/|youtu\.be\/)/i

const dataUrl = /^data:([\w.+-]+\/[\w.+-]+)(?:;[\w.+-]+=[^;,]*)*;base64,/i

const media = ({ source }: typeof ImagePart.Type | typeof FilePart.Type): JsonRecord => {
  if (source._tag === "Base64") return { inlineData: { mimeType: source.mediaType, data: source.data } }
  const { url } = source
  const inline = dataUrl.exec(url)
  if (inline !== null) return { inlineData: { mimeType: inline[1], data: url.slice(inline[0].length) } }
  const end = /\.(\w+)$/.exec(url.split(/[?#]/)[0] ?? "")?.[1]?.toLowerCase()
  const mimeType = end === undefined ? undefined : mediaTypes.get(end)
  if (mimeType === undefined && !typedByGoogle.test(url)) {
    throw new Refused(
      "messages",
      "the Gemini API wants the media type of what it fetches, and the address does not tell: send it as base64"
    )
  }
  return { fileData: defined({ mimeType, fileUri: url }) }
}

export const userParts = (parts: ReadonlyArray<UserPart>): Array<JsonRecord> =>
  parts.map((part) => part._tag === "Text" ? { text: part.text } : media(part))

const argumentsOf = (json: string): JsonRecord => {
  const args = json.trim() === "" ? {} : asRecord(parse(json)?.value)
  if (args === undefined) {
    throw new Refused(
      "messages",
      "the arguments of a tool call are not a JSON object, and the Gemini API takes no other"
    )
  }
  return args
}

/** Models from Gemini 3 on refuse the turn of a tool call without a signature. */
const wantsSignature = /(?:^|\/)gemini-(?:[3-9]|\d\d)/i

/** By the book for calls that another model made, or whose signature was lost. */
const anySignature = "skip_thought_signature_validator"

/**
 * What the model said. Gemini signs parts of any kind, so a signature without a text of its own belongs to the part
 * after it: {@link module:response} takes it apart in the same way.
 */
export const assistantParts = (
  parts: ReadonlyArray<AssistantPart>,
  { model, name }: { readonly model: string; readonly name: string }
): Array<JsonRecord> => {
  const encoded: Array<JsonRecord> = []
  let signature: string | undefined
  let called = false
  for (const [index, part] of parts.entries()) {
    switch (part._tag) {
      case "Reasoning": {
        const own = signatureFor(name, part)
        if (part.text === "") signature = own ?? signature
        else if (parts[index + 1]?._tag === "ToolCall") {
          // A stream's reader joins the signature of a call to the thoughts before it.
          encoded.push({ text: part.text, thought: true })
          signature = own ?? signature
        } else encoded.push(defined({ text: part.text, thought: true, thoughtSignature: own }))
        break
      }
      case "Text":
        // The API refuses a part with nothing in it.
        if (part.text === "" && signature === undefined) break
        encoded.push(defined({ text: part.text, thoughtSignature: signature }))
        signature = undefined
        break
      case "ToolCall": {
        const functionCall = defined({ id: part.id || undefined, name: part.name, args: argumentsOf(part.arguments) })
        // Of calls made together only the first is signed.
        if (!called && wantsSignature.test(model)) signature ??= anySignature
        encoded.push(defined({ functionCall, thoughtSignature: signature }))
        signature = undefined
        called = true
      }
    }
  }
  if (signature !== undefined || encoded.length === 0) {
    encoded.push(defined({ text: "", thoughtSignature: signature }))
  }
  return encoded
}

export const toolPart = ({ content, isError, name, toolCallId }: typeof ToolMessage.Type): JsonRecord => {
  if (name === "") throw new Refused("messages", "the Gemini API needs the tool's name with its result")
  return {
    functionResponse: defined({
      id: toolCallId || undefined,
      name,
      response: isError ? { error: content } : { output: content }
    })
  }
}
