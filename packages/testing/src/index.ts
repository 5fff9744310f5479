/**
 * Providers that play a script, to test programs that use Perdure.
 *
 * @since 0.1.0
 */
export {
  connectionFailed,
  contentFiltered,
  contextLengthExceeded,
  fail,
  invalidRequest,
  malformed,
  modelNotFound,
  overloaded,
  permissionDenied,
  quotaExhausted,
  rateLimited,
  requestTooLarge,
  streamInterrupted,
  timedOut,
  unauthenticated,
  unavailable
} from "./Failures.ts"
export * as Failures from "./Failures.ts"
export { after, always, answer, never, pause, respond, stream, times } from "./Script.ts"
export * as Script from "./Script.ts"
export * as ScriptedProvider from "./ScriptedProvider.ts"
export * as ScriptError from "./ScriptError.ts"
export * as TestTime from "./TestTime.ts"
