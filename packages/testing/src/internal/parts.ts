/** An answer as the parts of a stream, word by word, as a model gives it. */
import { type LlmRequest, type LlmResponse, StreamPart } from "perdure"

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
