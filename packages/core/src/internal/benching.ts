/** Tells of the keys that a pool leaves out from now on. */
import * as Duration from "effect/Duration"
import * as LlmError from "../LlmError.ts"
import type { Target } from "../Receipt.ts"
import type { Call } from "./call.ts"
import { backAt, type Key, type Pool } from "./keys.ts"
import type { Ended } from "./opened.ts"

/** What a pool was like before a use of a key ended, and is now. */
export interface Settled {
  readonly before: Pool
  readonly after: Pool
  readonly ended: Ended
}

/** One event for each key that is left out for longer than it was before. */
export const tellBenched = (
  call: Call | undefined,
  target: Target,
  keys: ReadonlyArray<Key>,
  { after, before, ended }: Settled,
  now: number
): void => {
  if (before === after || call === undefined || call.ended || !call.watched) return
  const because = ended._tag === "Failed" && LlmError.is(ended.error) ? ended.error._tag : ended._tag
  for (const key of keys) {
    const until = backAt(after, key, now)
    if (until <= Math.max(now, backAt(before, key, now))) continue
    call.emit({
      _tag: "KeyBenched",
      at: now,
      target,
      key: key.label,
      because,
      benchedFor: Duration.millis(until - now)
    })
  }
}
