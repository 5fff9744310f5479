/**
 * What calls tell of themselves, without any set-up: spans where a tracer is installed, metrics, and one log line a call.
 *
 * Names follow OpenTelemetry's semantic conventions for generative AI; what these do not know begins with `perdure.`. No
 * prompt, answer or key is in any of it, nor a provider's own words.
 *
 * Spans: `perdure.call` for a call, of kind `internal`, with what became of it and events for waits, refusals, circuits
 * that change and fallbacks; in it one `chat {model}` for each attempt, of kind `client`, with the tokens. The span of a stream ends with
 * the stream. Spans of a provider's own code, such as those of an HTTP client, are in the attempt's. Without a tracer
 * nothing is done for them.
 *
 * Metrics: `perdure.calls`, `perdure.call.duration`, `perdure.attempts`, `gen_ai.client.operation.duration`,
 * `gen_ai.client.operation.time_to_first_chunk`, `gen_ai.client.token.usage`, `perdure.cost`, `perdure.fallbacks`,
 * `perdure.refusals` and `perdure.wait.duration`. Labels are provider, model, outcome and class of failure, and those of
 * `Effect.tagMetrics`. After 500 targets, further ones share the label `_OTHER`. Without those of `Effect.tagMetrics` are
 * `perdure.breaker.state`, `perdure.quota.wait.duration`, `perdure.bulkhead.wait.duration` and `perdure.budget.left`, which
 * have provider and model where they are one target's alone, and `perdure.events.dropped`.
 *
 * Logs: see {@link logs}. For anything else, see `CallEvents`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as Layer from "effect/Layer"
import * as LogLevel from "effect/LogLevel"
import { defaultLevels, type Kind, levels as levelsRef } from "./internal/logs.ts"
import * as Options from "./Options.ts"

/**
 * How loud the line of a call is, by what became of it. `None` is silence.
 *
 * @since 0.1.0
 * @category models
 */
export interface LogLevels {
  /**
   * The first attempt was answered.
   * @default "Debug"
   */
  readonly answered?: LogLevel.Literal | undefined
  /**
   * It was answered after a failure, a refusal or a fallback.
   * @default "Warning"
   */
  readonly recovered?: LogLevel.Literal | undefined
  /**
   * It failed.
   * @default "Error"
   */
  readonly failed?: LogLevel.Literal | undefined
  /**
   * It failed by the request itself: what `Disposition` blames on the request.
   * @default "Warning"
   */
  readonly refused?: LogLevel.Literal | undefined
  /**
   * It was interrupted, or its reader left.
   * @default "Debug"
   */
  readonly interrupted?: LogLevel.Literal | undefined
}

const kinds = ["answered", "recovered", "failed", "refused", "interrupted"] as const satisfies ReadonlyArray<Kind>

const words = LogLevel.allLevels.map(({ _tag }) => _tag)

const checked = (caller: string, changes: LogLevels | LogLevel.Literal): LogLevels => {
  const all: LogLevels = typeof changes === "string"
    ? Object.fromEntries(kinds.map((kind) => [kind, changes]))
    : changes
  for (const kind of kinds) {
    const level = all[kind]
    const option = typeof changes === "string" ? `${caller}(level)` : `${caller}({ ${kind} })`
    if (level !== undefined) Options.literal<LogLevel.Literal>(option, level, words)
  }
  return all
}

const changed = (all: LogLevels) => (before: typeof defaultLevels) => {
  const level = (kind: Kind) => all[kind] === undefined ? before[kind] : LogLevel.fromLiteral(all[kind])
  return {
    answered: level("answered"),
    recovered: level("recovered"),
    failed: level("failed"),
    refused: level("refused"),
    interrupted: level("interrupted")
  }
}

/**
 * Sets how loud the log lines of calls are, for a whole program; one level stands for all, and `"None"` turns them off.
 * What is left out stays as it is.
 *
 * The line goes to the loggers of the fiber that ends the call, with the receipt's facts as annotations. When its level is
 * below the minimum log level it is not built. A logger that throws harms no call. A call made on behalf of another, by a
 * provider that asks a provider, has no line of its own.
 *
 * @example
 * ```ts
 * import { Telemetry } from "perdure"
 *
 * // Say so when a call is answered, and do not say so when somebody leaves.
 * const Logs = Telemetry.logs({ answered: "Info", interrupted: "None" })
 * ```
 *
 * @since 0.1.0
 * @category logs
 */
export const logs = (levels: LogLevels | LogLevel.Literal): Layer.Layer<never> => {
  const change = changed(checked("Telemetry.logs", levels))
  return Layer.scopedDiscard(
    Effect.flatMap(FiberRef.get(levelsRef), (before) => Effect.locallyScoped(levelsRef, change(before)))
  )
}

/**
 * As {@link logs}, for the calls made inside one effect.
 *
 * @since 0.1.0
 * @category logs
 */
export const withLogs = (levels: LogLevels | LogLevel.Literal) => {
  const change = changed(checked("Telemetry.withLogs", levels))
  return <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => Effect.locallyWith(self, levelsRef, change)
}
