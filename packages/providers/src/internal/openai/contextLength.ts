/** Recognises a context overflow by its words, since many servers have no code for it, and reads the numbers in them. */
import { readNumber, window } from "../words.ts"

/** The words of OpenAI, vLLM (old and new), llama.cpp, Mistral, DeepSeek, OpenRouter, Ollama, LM Studio and gateways. */
const overflows: ReadonlyArray<RegExp> = [
  /\b(?:maximum|model's|with) context length (?:is|of)(?: only)? [\d,]+/i,
  /\bexceed(?:s|ed|ing)? (?:the |this |your )?(?:model'?s? )?(?:available |maximum |max )?context (?:size|length|window|limit)/i,
  /\bcontext (?:size|length|window|limit) (?:has been |was |is )?exceed(?:s|ed)\b/i,
  /\btoo large for model with [\d,]+ maximum context length/i,
  /\bprompt is too long: [\d,]+ tokens? > [\d,]+/i,
  /\btoken count \(?[\d,]+\)? exceeds the maximum number of tokens/i,
  /\bmaximum prompt length is [\d,]+ but the request contains [\d,]+/i,
  /\b(?:longer|greater) than the (?:model'?s )?(?:maximum model|max(?:imum)? context|context) length\b/i,
  /\bexceeded model token limit: [\d,]+/i,
  /\breduce the length of the (?:messages|prompt|input prompt)\b/i
]

/** Whether a message says that the prompt does not fit. Merely speaking of a context is not enough. */
export const says = (message: string): boolean => {
  const text = message.slice(0, window)
  return overflows.some((words) => words.test(text))
}

const limits: ReadonlyArray<RegExp> = [
  /([\d,]+) maximum context length/i,
  /context (?:length|size|window)(?! by\b)[^.\d]{0,24}([\d,]+)/i,
  /maximum model length of ([\d,]+)/i,
  /maximum number of tokens allowed \(?([\d,]+)/i,
  /maximum prompt length is ([\d,]+)/i,
  /token limit: ([\d,]+)/i,
  /> ([\d,]+) maximum/i
]

/** Where there are several numbers, the prompt and the room for the answer, their sum is what was asked for. */
const requests: ReadonlyArray<RegExp> = [
  /passed ([\d,]+) input tokens and requested ([\d,]+) output tokens/i,
  /too large: ([\d,]+)\.[^]{0,200}? has ([\d,]+) input tokens/i,
  /requested (?:about )?([\d,]+) tokens/i,
  /resulted in ([\d,]+) tokens/i,
  /prompt (?:contains|has) ([\d,]+) tokens/i,
  /request \(([\d,]+) tokens\)/i,
  /too long: ([\d,]+) tokens/i,
  /token count \(?([\d,]+)/i,
  /request contains ([\d,]+)/i,
  /requested: ([\d,]+)/i,
  /length \(([\d,]+)\) exceeds/i,
  /prompt \(length ([\d,]+)\)/i
]

const first = (patterns: ReadonlyArray<RegExp>, text: string): number | undefined => {
  for (const pattern of patterns) {
    const found = pattern.exec(text)
    if (found === null) continue
    const numbers = found.slice(1).map(readNumber)
    if (numbers.every((n) => n !== undefined)) return numbers.reduce((sum, n) => sum + n, 0)
  }
  return undefined
}

/** The model's window and the tokens asked for, where the message has them. */
export const numbers = (
  message: string
): { readonly limit?: number | undefined; readonly requested?: number | undefined } => {
  const text = message.slice(0, window)
  return { limit: first(limits, text), requested: first(requests, text) }
}
