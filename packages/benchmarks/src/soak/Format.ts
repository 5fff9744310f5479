/** The three wire formats, as server-sent events. */

/** Who is asked, and so which format is spoken. */
export type Format = "openai" | "anthropic" | "google"

export const formats: ReadonlyArray<Format> = ["openai", "anthropic", "google"]

/** The pieces of a streamed answer. */
export interface Pieces {
  /** What comes before the first output. */
  readonly preamble: string
  readonly deltas: ReadonlyArray<string>
  /** The terminal marker; without it the answer is cut. */
  readonly end: string
  /** An error in the middle of the stream. */
  readonly error: string
  /** What means nothing. */
  readonly noise: string
}

const data = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`
const event = (type: string, fields: object = {}): string => `event: ${type}\n${data({ type, ...fields })}`

const openai = (texts: ReadonlyArray<string>): Pieces => {
  const chunk = (delta: unknown, finish_reason: string | null = null) =>
    data({
      id: "chatcmpl-1",
      object: "chat.completion.chunk",
      model: "m",
      choices: [{ index: 0, delta, finish_reason }]
    })
  return {
    preamble: chunk({ role: "assistant", content: "" }),
    deltas: texts.map((content) => chunk({ content })),
    end: chunk({}, "stop") +
      data({ model: "m", choices: [], usage: { prompt_tokens: 3, completion_tokens: texts.length } }) +
      "data: [DONE]\n\n",
    error: data({ error: { message: "The server had an error", type: "server_error", param: null, code: null } }),
    noise: ": PROCESSING\n\n"
  }
}

const anthropic = (texts: ReadonlyArray<string>): Pieces => ({
  preamble: event("message_start", {
    message: { id: "msg_1", type: "message", role: "assistant", model: "m", content: [], usage: { input_tokens: 3 } }
  }) + event("content_block_start", { index: 0, content_block: { type: "text", text: "" } }),
  deltas: texts.map((text) => event("content_block_delta", { index: 0, delta: { type: "text_delta", text } })),
  end: event("content_block_stop", { index: 0 }) +
    event("message_delta", { delta: { stop_reason: "end_turn" }, usage: { output_tokens: texts.length } }) +
    event("message_stop"),
  error: event("error", { error: { type: "overloaded_error", message: "Overloaded" } }),
  noise: event("ping")
})

const google = (texts: ReadonlyArray<string>): Pieces => {
  const reply = (text: string, fields: object = {}) =>
    data({ candidates: [{ content: { parts: [{ text }], role: "model" }, index: 0, ...fields }], modelVersion: "m" })
  return {
    preamble: data({ usageMetadata: { promptTokenCount: 3 }, modelVersion: "m" }),
    deltas: texts.map((text) => reply(text)),
    end: reply("", { finishReason: "STOP" }) +
      data({ usageMetadata: { promptTokenCount: 3, candidatesTokenCount: texts.length }, modelVersion: "m" }),
    error: data({ error: { code: 503, message: "The model is overloaded.", status: "UNAVAILABLE" } }),
    noise: ": ping\n\n"
  }
}

/** An answer of these texts. */
export const pieces = (format: Format, texts: ReadonlyArray<string>): Pieces => {
  switch (format) {
    case "openai":
      return openai(texts)
    case "anthropic":
      return anthropic(texts)
    case "google":
      return google(texts)
  }
}
