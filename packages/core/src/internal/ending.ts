/** How calls and attempts end, in the words that receipts, events and log lines have for it. */
import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import * as Disposition from "../Disposition.ts"
import * as LlmError from "../LlmError.ts"
import type { Outcome } from "../Receipt.ts"
import { other } from "./conventions.ts"
import type { End } from "./logs.ts"
import { interrupted } from "./receipt.ts"

/** What the receipt keeps of a failure. */
export const failed = (error: LlmError.LlmError): Outcome => ({
  _tag: "Failed",
  error: error._tag,
  detail: error.detail,
  ...(error.status === undefined ? {} : { status: error.status }),
  ...(error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter })
})

/** What the receipt keeps of a cause. A defect has no class of ours, and what it says may hold anything. */
export const outcomeOfCause = (cause: Cause.Cause<LlmError.LlmError>): Outcome => {
  const failure = Cause.failureOption(cause)
  if (Option.isSome(failure)) return failed(failure.value)
  return Cause.isInterruptedOnly(cause) ? interrupted : { _tag: "Failed", error: "Defect", detail: "" }
}

const noFailure = { error: undefined, blame: undefined, status: undefined }

export const answeredEnd: End = { outcome: "Answered", ...noFailure }

export const interruptedEnd: End = { outcome: "Interrupted", ...noFailure }

/** How a call ended that has no answer. */
export const endOf = (cause: Cause.Cause<unknown>): End => {
  if (Cause.isInterruptedOnly(cause)) return interruptedEnd
  const failure = Option.getOrUndefined(Cause.failureOption(cause))
  if (failure === undefined) return { ...noFailure, outcome: "Failed", error: "Defect" }
  if (!LlmError.is(failure)) return { ...noFailure, outcome: "Failed", error: other }
  const { _tag: error, status } = failure
  return { outcome: "Failed", error, blame: Disposition.classify(failure).blame, status }
}
