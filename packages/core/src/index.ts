/**
 * Calls to large language models that survive rate limits, timeouts, outages and cut streams.
 *
 * @since 0.1.0
 */
export * as Call from "./Call.ts"
export * as Disposition from "./Disposition.ts"
export * as Fallback from "./Fallback.ts"
export { InvalidOption } from "./InvalidOption.ts"
export * as LlmError from "./LlmError.ts"
export * as LlmProvider from "./LlmProvider.ts"
export * as LlmRequest from "./LlmRequest.ts"
export * as LlmResponse from "./LlmResponse.ts"
export * as Options from "./Options.ts"
export * as Policy from "./Policy.ts"
export * as RateLimits from "./RateLimits.ts"
export * as Receipt from "./Receipt.ts"
export * as Retry from "./Retry.ts"
export * as RetryAfter from "./RetryAfter.ts"
export * as RetrySpec from "./RetrySpec.ts"
export * as StreamPart from "./StreamPart.ts"
