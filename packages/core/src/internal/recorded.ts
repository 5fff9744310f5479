/** An attempt on the record of a call. */
import type { LlmError } from "../LlmError.ts"
import type { Cost, Outcome, Target } from "../Receipt.ts"
import type { Usage } from "../Usage.ts"
import type { Progress } from "./commit.ts"
import type { Branch, Local } from "./local.ts"
import type { Entry } from "./receipt.ts"
import type * as Spans from "./spans.ts"

export interface Recorded extends Entry {
  /** Counted from 1 in what is told as one call. */
  readonly number: number
  readonly idempotent: boolean
  start: number
  /** Which of several tries side by side it belongs to. */
  readonly branch: Branch | undefined
  /** How far its stream has come. */
  progress: Progress | undefined
  firstOutput: number | undefined
  usage: Usage | undefined
  cost: Cost | undefined
  /** Its span, until it ends. */
  trace: Spans.Trace | undefined
  end: number | undefined
  outcome: Outcome | undefined
  /** Set by a policy before it interrupts the attempt: it then ended by this, not by the caller. */
  cut: LlmError | undefined
  lost: boolean
}

/** One that begins now. */
export const begun = (
  number: number,
  { model, provider }: Target,
  idempotent: boolean,
  now: number,
  { branch, hedge, key }: Local,
  progress: Progress | undefined
): Recorded => ({
  number,
  target: { provider, model },
  idempotent,
  start: now,
  key,
  hedge,
  branch,
  progress,
  firstOutput: undefined,
  usage: undefined,
  cost: undefined,
  trace: undefined,
  end: undefined,
  outcome: undefined,
  cut: undefined,
  lost: false
})
