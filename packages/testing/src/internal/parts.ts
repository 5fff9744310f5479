/** An answer as the parts of a stream, and back. */
import { LlmRequest, LlmResponse, StreamPart } from "perdure"
import type { Receipt } from "perdure"

/** The words of a text, each with the white space after it. */
const words = (text: string): ReadonlyArray<string> => text.match(/\S+\s*|\s+/g) ?? []

const partsOf = (part: LlmRequest.AssistantPart): ReadonlyArray<StreamPart.StreamPart> => {
  switch (part._tag) {
    case "Text":
      return words(part.text).map((text) => StreamPart.TextDelta.make({ text }))
    case "Reasoning":
      return words(part.text).map((text) => StreamPart.ReasoningDelta.make({ text }))
    case "ToolCall":
      return [
        StreamPart.ToolCallStart.make({ id: part.id, name: part.name }),
        StreamPart.ToolCallDelta.make({ id: part.id, arguments: part.arguments }),
        StreamPart.ToolCallEnd.make({ id: part.id })
      ]
  }
}

/** The parts of a complete answer, usage and `Finish` last. */
export const fromResponse = (response: LlmResponse.LlmResponse): ReadonlyArray<StreamPart.StreamPart> => [
  ...response.content.flatMap(partsOf),
  ...Object.values(response.usage).some((tokens) => tokens !== undefined)
    ? [StreamPart.UsagePart.make({ usage: response.usage })]
    : [],
  StreamPart.Finish.make({ finishReason: response.finishReason, model: response.model })
]

/** Adds a part to the content, and text to the text before it. */
const add = (
  content: ReadonlyArray<LlmRequest.AssistantPart>,
  part: StreamPart.StreamPart
): ReadonlyArray<LlmRequest.AssistantPart> => {
  const last = content.at(-1)
  switch (part._tag) {
    case "TextDelta":
      return last?._tag === "Text"
        ? [...content.slice(0, -1), LlmRequest.text(last.text + part.text)]
        : [...content, LlmRequest.text(part.text)]
    case "ReasoningDelta":
      return last?._tag === "Reasoning"
        ? [...content.slice(0, -1), LlmRequest.ReasoningPart.make({ text: last.text + part.text })]
        : [...content, LlmRequest.ReasoningPart.make({ text: part.text })]
    case "ToolCallStart":
      return [...content, LlmRequest.ToolCallPart.make({ id: part.id, name: part.name, arguments: "" })]
    case "ToolCallDelta":
      return content.map((call) =>
        call._tag === "ToolCall" && call.id === part.id
          ? LlmRequest.ToolCallPart.make({ ...call, arguments: call.arguments + part.arguments })
          : call
      )
    case "ToolCallEnd":
    case "Usage":
    case "Finish":
      return content
    case "Restarted":
      return []
  }
}

/** The complete answer that the parts of a stream amount to. */
export const toResponse = (
  parts: Iterable<StreamPart.StreamPart>,
  { model, provider }: Receipt.Target
): LlmResponse.LlmResponse => {
  let content: ReadonlyArray<LlmRequest.AssistantPart> = []
  let usage = new LlmResponse.Usage({})
  let finish = StreamPart.Finish.make({ finishReason: "other" })
  for (const part of parts) {
    content = add(content, part)
    if (part._tag === "Usage") usage = part.usage
    if (part._tag === "Finish") finish = part
  }
  return new LlmResponse.LlmResponse({
    provider,
    model: finish.model ?? model,
    content,
    usage,
    finishReason: finish.finishReason
  })
}
