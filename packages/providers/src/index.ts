/**
 * Providers for Perdure: models behind `LlmProvider`, over the `HttpClient` of `@effect/platform`.
 *
 * @since 0.1.0
 */
export * as OpenAi from "./OpenAi.ts"
