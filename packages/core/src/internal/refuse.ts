/** How a policy refuses. */
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as LlmError from "../LlmError.ts"
import * as Call from "./call.ts"
import { nowOf } from "./clock.ts"
import type { AnyFiber } from "./gate.ts"

/** Fails with a refusal, and tells whoever watches the call. */
export const refuse = <E extends LlmError.Refusal>(fiber: AnyFiber, error: E): Effect.Effect<never, E> => {
  Call.live(fiber)?.refused(error, nowOf(fiber))
  return Exit.fail(error)
}
