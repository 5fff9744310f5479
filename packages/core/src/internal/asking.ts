/** One of several is asked: the fiber knows what it must meanwhile, and whoever asks is told how it ended. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { nowOf } from "./clock.ts"
import { type Gate, through } from "./gate.ts"
import type { Local } from "./local.ts"
import { type Ended, endedOf, OpenedStream } from "./opened.ts"

/** Is told of one that was asked. */
export interface Asked {
  /** It has answered, or its stream has given its first output. */
  readonly answered: (now: number) => void
  /** It has come to its end, a stream to the end of its last part. */
  readonly ended: (ended: Ended, now: number) => void
}

/** What is set while one is asked; what is left out stays as it is. */
export type Knows = Partial<Pick<Local, "elsewhere" | "key" | "lastResort">>

/** Runs an effect with values of the fiber set, which are put back whatever happens. */
export const asking = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  knows: Knows,
  ask: (now: number) => Asked
): Effect.Effect<A, E, R> => through<A, E, R>([gate(knows, ask)], self, undefined)

const gate = (knows: Knows, ask: (now: number) => Asked): Gate => ({ fiber, local, now }) => {
  const { elsewhere, key, lastResort } = local
  if (knows.elsewhere !== undefined) local.elsewhere = knows.elsewhere
  if (knows.key !== undefined) local.key = knows.key
  if (knows.lastResort !== undefined) local.lastResort = knows.lastResort
  const asked = ask(now)
  return (exit, { now }) => {
    local.elsewhere = elsewhere
    local.key = key
    local.lastResort = lastResort
    if (Exit.isSuccess(exit)) {
      asked.answered(now)
      if (exit.value instanceof OpenedStream) {
        const ended = exit.value.onEnd((ended) => Effect.sync(() => asked.ended(ended, nowOf(fiber))))
        return Effect.as(ended, exit.value)
      }
    }
    asked.ended(endedOf(exit), now)
    return exit
  }
}
