/** All who are told what happens in calls, by whatever makes calls. */
import * as logs from "./logs.ts"
import * as metrics from "./metrics.ts"
import * as spans from "./spans.ts"

export const reporters = { logs, metrics, spans }

export type Reporters = typeof reporters
