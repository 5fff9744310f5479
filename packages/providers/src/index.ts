/**
 * Providers for Perdure: models behind `LlmProvider`, over the `HttpClient` of `@effect/platform`.
 *
 * @since 0.1.0
 */
export * as Anthropic from "./Anthropic.ts"
export * as Google from "./Google.ts"
export * as OpenAi from "./OpenAi.ts"
