/** The answers that all contestants get. */
import * as Format from "../soak/Format.ts"

const text = "The quick brown fox jumps over the lazy dog. ".repeat(20)

export const chatCompletion = {
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1,
  model: "m",
  choices: [{ index: 0, message: { role: "assistant", content: text, refusal: null }, finish_reason: "stop" }],
  usage: { prompt_tokens: 10, completion_tokens: 200, total_tokens: 210 }
}

export const message = {
  id: "msg_1",
  type: "message",
  role: "assistant",
  model: "m",
  content: [{ type: "text", text }],
  stop_reason: "end_turn",
  stop_sequence: null,
  usage: { input_tokens: 10, output_tokens: 200 }
}

/** How many characters an answer has. */
export const length = text.length

/** How many events of text a stream has. */
export const count = 500

const word = " word"

/** How many characters a stream has. */
export const streamLength = count * word.length

const { deltas, end, preamble } = Format.pieces("openai", Array.from({ length: count }, () => word))

/** The events of a stream. */
export const streamEvents: ReadonlyArray<string> = [preamble, ...deltas, end]
