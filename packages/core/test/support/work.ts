/** Calls in the hand of the test. */
import { Deferred, Effect } from "effect"
import type { Bulkhead } from "perdure"

/** Calls that end when they are told to, in any order. */
export const work = Effect.sync(() => {
  const started: Array<number> = []
  const ends = new Map<number, Deferred.Deferred<void>>()
  return {
    started,
    call: (id: number) =>
      Effect.flatMap(Deferred.make<void>(), (end) => {
        started.push(id)
        ends.set(id, end)
        return Effect.as(Deferred.await(end), id)
      }),
    end: (id: number) => Effect.zipRight(Deferred.succeed(ends.get(id) as Deferred.Deferred<void>, undefined), settle)
  }
})

/** Lets everybody run who can. */
export const settle = Effect.repeatN(Effect.yieldNow(), 20)

export const status = (bulkhead: Bulkhead.Service) => Effect.all([bulkhead.inFlight, bulkhead.waiting])
