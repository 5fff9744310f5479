/** Those who are told of all calls of the process. */
import { globalValue } from "effect/GlobalValue"
import type { Observer } from "../Call.ts"

export const watchers: Set<Observer> = globalValue(
  Symbol.for("perdure/CallEvents/watchers"),
  () => new Set<Observer>()
)
