/**
 * The providers that the commands know, by name: which protocol each speaks, and where its key and its address come from.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"

/**
 * A protocol, by the provider that it comes from.
 *
 * @since 0.1.0
 * @category models
 */
export type Dialect = "openai" | "anthropic" | "google"

/**
 * @since 0.1.0
 * @category models
 */
export interface Known {
  readonly name: string
  readonly dialect: Dialect
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Askable extends Known {
  /** The environment variables that may hold its key, the first of which is recommended; none where it needs no key. */
  readonly keys: ReadonlyArray<string>
  /** The environment variable that holds its address, where that is not the usual one. */
  readonly url: string
}

/**
 * The providers that can be asked.
 *
 * @since 0.1.0
 * @category constants
 */
export const askable = {
  openai: { name: "openai", dialect: "openai", keys: ["OPENAI_API_KEY"], url: "OPENAI_BASE_URL" },
  anthropic: { name: "anthropic", dialect: "anthropic", keys: ["ANTHROPIC_API_KEY"], url: "ANTHROPIC_BASE_URL" },
  google: { name: "google", dialect: "google", keys: ["GOOGLE_API_KEY", "GEMINI_API_KEY"], url: "GOOGLE_BASE_URL" },
  openrouter: { name: "openrouter", dialect: "openai", keys: ["OPENROUTER_API_KEY"], url: "OPENROUTER_BASE_URL" },
  mistral: { name: "mistral", dialect: "openai", keys: ["MISTRAL_API_KEY"], url: "MISTRAL_BASE_URL" },
  ollama: { name: "ollama", dialect: "openai", keys: [], url: "OLLAMA_BASE_URL" },
  vllm: { name: "vllm", dialect: "openai", keys: [], url: "VLLM_BASE_URL" }
} as const satisfies Readonly<Record<string, Askable>>

/** @since 0.1.0 @category models */
export type Name = keyof typeof askable

/**
 * Whether a provider by this name can be asked.
 *
 * @since 0.1.0
 * @category guards
 */
export const isAskable = (name: string): name is Name => Object.hasOwn(askable, name)

/** Those whose failures can be explained besides: they cannot be asked by a model's name alone. */
const others: ReadonlyArray<Known> = [{ name: "azure", dialect: "openai" }]

const all: ReadonlyArray<Known> = [...Object.values(askable), ...others]

/**
 * The names whose failures can be explained.
 *
 * @since 0.1.0
 * @category constants
 */
export const described: ReadonlyArray<string> = all.map(({ name }) => name)

/**
 * A provider by its name, in upper or lower case; Google also as `gemini`.
 *
 * @since 0.1.0
 * @category reading
 */
export const find = (name: string): Option.Option<Known> => {
  const wanted = name.trim().toLowerCase()
  return Option.fromNullable(all.find(({ name }) => name === (wanted === "gemini" ? "google" : wanted)))
}
