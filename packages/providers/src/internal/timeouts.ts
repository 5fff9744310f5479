/** The time limits of one attempt, where HTTP and streams are concerned. */
import * as Duration from "effect/Duration"
import type { StreamLimits } from "perdure/LlmProvider"

/**
 * How long the steps of one attempt may take. A step that takes longer fails with `TimedOut`, whose `phase` names it, and
 * its connection is closed. For a limit on the whole attempt, or on the whole call, put `Policy.timeout` around it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Timeouts {
  /**
   * From sending the request to the head of the reply; without streaming that is most of the time an answer takes. The
   * `fetch` of Node.js gives up after 5 minutes of its own accord, which is the same failure.
   * @default 10 minutes, as in OpenAI's and Anthropic's own SDKs
   */
  readonly headers?: Duration.DurationInput | undefined
  /**
   * Of a stream, from sending the request to the first output.
   * @default 10 minutes
   */
  readonly firstOutput?: Duration.DurationInput | undefined
  /**
   * Of a stream, from one output to the next, while the reader waits. Pings, comments and usage are not output. Of any
   * other reply, from one piece of its body to the next.
   * @default 2 minutes
   */
  readonly idle?: Duration.DurationInput | undefined
}

export interface Checked {
  readonly headers: Duration.Duration
  readonly firstOutput: Duration.Duration
  readonly idle: Duration.Duration
}

export const defaults: Checked = {
  headers: Duration.minutes(10),
  firstOutput: Duration.minutes(10),
  idle: Duration.minutes(2)
}

export const ofStreams = ({ firstOutput, idle }: Checked): StreamLimits => ({ firstOutput, idle })
