/** So many calls at once, each a second long, in a process of its own: what it takes and how much memory it peaks at. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import pRetry from "p-retry"
import * as Policy from "perdure/Policy"

const [who = "", count = "0"] = process.argv.slice(2)
const calls = Number(count)
const second = 1000
const sleeping = Effect.sleep(Duration.millis(second))

const together = (self: Effect.Effect<unknown, unknown>) =>
  Effect.runPromise(
    Effect.forEach(Array.from({ length: calls }), () => self, { concurrency: "unbounded", discard: true })
  )

const contestants: Readonly<Record<string, () => Promise<unknown>>> = {
  perdure: async () => {
    const policy = await Effect.runPromise(Policy.standard({ bulkhead: { limit: calls } }))
    await together(policy(sleeping))
  },
  effect: () =>
    together(
      sleeping.pipe(
        Effect.timeout("30 seconds"),
        Effect.retry(Schedule.intersect(Schedule.exponential("500 millis"), Schedule.recurs(2)))
      )
    ),
  "p-retry": () =>
    Promise.all(
      Array.from({ length: calls }, () => pRetry(() => Effect.runPromise(sleeping), { retries: 2 }))
    )
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
