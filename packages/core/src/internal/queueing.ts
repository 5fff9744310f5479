/** A call that stands in line at a policy: told when it joins, and when and how it leaves. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Dequeued } from "../Call.ts"
import type { Subject } from "../Policy.ts"
import * as Call from "./call.ts"
import { clockOf } from "./clock.ts"
import type { AnyFiber } from "./gate.ts"
import * as Gauges from "./gauges.ts"
import { unknown } from "./receipt.ts"

/** Which line. */
export interface Queue {
  readonly policy: Dequeued["policy"]
  /** What the line is called in metrics. */
  readonly name: string
  readonly subject: Subject | undefined
}

const outcomeOf = <A, E>(exit: Exit.Exit<A, E>): Dequeued["outcome"] =>
  Exit.isSuccess(exit) ? "granted" : Exit.isInterrupted(exit) ? "interrupted" : "refused"

/** Waits as the effect does, which is in line from its start to its end. */
export const inLine = <A, E, R>(
  fiber: AnyFiber,
  { name, policy, subject }: Queue,
  waiting: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const clock = clockOf(fiber)
  const since = clock.unsafeCurrentTimeMillis()
  const call = Call.live(fiber)
  const { model, provider } = subject?.target ?? unknown
  const place = { target: { provider, model }, policy, name }
  call?.queued(place, since)
  return Effect.onExit(waiting, (exit) =>
    Effect.sync(() => {
      const now = clock.unsafeCurrentTimeMillis()
      const outcome = outcomeOf(exit)
      Gauges.queueWait(policy, name, outcome, now - since, subject?.target)
      call?.dequeued(place, outcome, Duration.millis(now - since), now)
    }))
}
