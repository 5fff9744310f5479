/** So many calls at once, each a second long, in a process of its own: what it takes and how much memory it peaks at. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import pRetry from "p-retry"
import * as Policy from "perdure/Policy"

const [who = "", count = "0"] = process.argv.slice(2)
const calls = Number(count)
const sleeping = Effect.sleep(Duration.seconds(1))

/** Each started in the same way, so that what differs is what is around it. */
const together = (one: () => Promise<unknown>) => Promise.all(Array.from({ length: calls }, one))

const started = (self: Effect.Effect<unknown, unknown>) => together(() => Effect.runPromise(self))

const contestants: Readonly<Record<string, () => Promise<unknown>>> = {
  alone: () => started(sleeping),
  perdure: async () => {
    const policy = await Effect.runPromise(Policy.standard({ bulkhead: { limit: calls } }))
    await started(policy(sleeping))
  },
  effect: () =>
    started(
      sleeping.pipe(
        Effect.timeout("30 seconds"),
        Effect.retry(Schedule.intersect(Schedule.exponential("500 millis"), Schedule.recurs(2)))
      )
    ),
  "p-retry": () => together(() => pRetry(() => Effect.runPromise(sleeping), { retries: 2 }))
}

const run = contestants[who]
if (run === undefined) throw new Error(`nobody is called ${who}`)
const start = performance.now()
await run()
const { system, user } = process.cpuUsage()
process.send?.({
  seconds: (performance.now() - start) / 1000,
  cpu: (user + system) / 1e6,
  mebibytes: process.resourceUsage().maxRSS / 1024
})
process.disconnect?.()
