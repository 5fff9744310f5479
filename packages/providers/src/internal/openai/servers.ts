/** What is known of some servers. */
import type { Server } from "./settings.ts"

export const openAi: Server = {
  caller: "layer",
  name: "openai",
  baseUrl: "https://api.openai.com/v1",
  baseUrlVariable: "OPENAI_BASE_URL",
  keyVariable: "OPENAI_API_KEY",
  streamUsage: true
}

export const openRouter: Server = {
  caller: "openRouter",
  name: "openrouter",
  baseUrl: "https://openrouter.ai/api/v1",
  keyVariable: "OPENROUTER_API_KEY",
  maxTokensField: "max_tokens",
  streamUsage: true
}

export const mistral: Server = {
  caller: "mistral",
  name: "mistral",
  baseUrl: "https://api.mistral.ai/v1",
  keyVariable: "MISTRAL_API_KEY",
  maxTokensField: "max_tokens",
  seedField: "random_seed",
  streamUsage: false
}

export const ollama: Server = {
  caller: "ollama",
  name: "ollama",
  baseUrl: "http://localhost:11434/v1",
  maxTokensField: "max_tokens",
  streamUsage: true
}

export const vllm: Server = {
  caller: "vllm",
  name: "vllm",
  baseUrl: "http://localhost:8000/v1",
  maxTokensField: "max_tokens",
  streamUsage: true
}
