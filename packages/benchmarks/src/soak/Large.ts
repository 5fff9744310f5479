/** One stream far larger than the memory that it may take, through a reader that takes its time. */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as OpenAi from "@perdure/providers/openai"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as LlmProvider from "perdure/LlmProvider"
import * as Policy from "perdure/Policy"
import * as Retry from "perdure/Retry"
import * as Process from "./Process.ts"

export interface Report {
  readonly mebibytes: number
  readonly seconds: number
  readonly characters: number
  /** What the server had got rid of while the reader read nothing for a while. */
  readonly ahead: number
  readonly rss: { readonly before: number; readonly peak: number }
  readonly problems: ReadonlyArray<string>
}

/** The most that the process may grow. */
const maxGrowth = 200 * Process.mebi

/** The most that may be under way between a server that writes and a reader who does not read. */
const maxAhead = 32 * Process.mebi

/** A message of the child that has a field. */
const told = (child: ChildProcess, field: string): Effect.Effect<number> =>
  Effect.async<number>((resume) => {
    const listen = (message: unknown) => {
      const value = typeof message === "object" && message !== null ? Reflect.get(message, field) : undefined
      if (typeof value !== "number") return
      child.off("message", listen)
      resume(Effect.succeed(value))
    }
    child.on("message", listen)
    return Effect.sync(() => child.off("message", listen))
  })

const pump = (mebibytes: number) =>
  Effect.acquireRelease(
    Effect.sync(() => fork(fileURLToPath(new URL("pump.ts", import.meta.url)), [String(mebibytes)])),
    (child) => Effect.sync(() => child.kill())
  )

/** Reads a stream of so many mebibytes. */
export const run = (mebibytes: number): Effect.Effect<Report> =>
  Effect.gen(function*() {
    const problems: Array<string> = []
    const child = yield* pump(mebibytes)
    const port = yield* told(child, "port")
    const layer = OpenAi.layer({ model: "m", apiKey: "none", baseUrl: `http://127.0.0.1:${port}` }).pipe(
      LlmProvider.withPolicy(Policy.retry(Retry.standard)),
      Layer.provide(NodeHttpClient.layerUndici)
    )
    const service = Context.get(yield* Layer.build(Layer.orDie(layer)), LlmProvider.LlmProvider)
    const all = yield* Effect.forkScoped(told(child, "characters"))

    Process.collect()
    const { rss: now } = process.memoryUsage()
    const rss = { before: now, peak: now }
    const start = performance.now()
    let characters = 0
    let parts = 0
    let finished = false
    let ahead = 0
    yield* Stream.runForEach(
      LlmProvider.stream("All of it."),
      (part) => {
        if (part._tag === "Finish") finished = true
        if (part._tag !== "TextDelta") return Effect.void
        characters += part.text.length
        // Two pauses in which the server could run ahead, and many short ones.
        if (++parts === 1 || parts === 1000) {
          return Effect.gen(function*() {
            yield* Effect.sleep(300)
            const answer = yield* Effect.fork(told(child, "written"))
            yield* Effect.yieldNow()
            child.send("how much?")
            ahead = Math.max(ahead, (yield* answer) - Buffer.byteLength(part.text) * parts)
          })
        }
        if (parts % 256 !== 0) return Effect.void
        rss.peak = Math.max(rss.peak, process.memoryUsage().rss)
        return Effect.sleep(2)
      }
    ).pipe(
      Effect.provideService(LlmProvider.LlmProvider, service),
      Effect.catchAll((error) => Effect.sync(() => problems.push(`the large stream failed: ${error.message}`)))
    )
    const seconds = (performance.now() - start) / 1000
    if (finished && characters !== (yield* all)) problems.push("the large stream lost text")
    if (rss.peak - rss.before > maxGrowth) {
      problems.push(`the process grew by ${((rss.peak - rss.before) / Process.mebi).toFixed(0)} MiB`)
    }
    if (ahead > maxAhead) problems.push(`the server ran ${(ahead / Process.mebi).toFixed(0)} MiB ahead of the reader`)
    const report: Report = { mebibytes, seconds, characters, ahead, rss, problems }
    return report
  }).pipe(Effect.scoped)

/** The report in words. */
export const lines = ({ ahead, mebibytes, problems, rss, seconds }: Report): ReadonlyArray<string> => [
  `large      ${mebibytes} MiB in ${seconds.toFixed(1)} s, ${(mebibytes / seconds).toFixed(0)} MiB/s; ` +
  `at most ${(ahead / Process.mebi).toFixed(1)} MiB ahead of a pausing reader`,
  `memory     RSS ${(rss.before / Process.mebi).toFixed(0)} MiB, peak ${(rss.peak / Process.mebi).toFixed(0)} MiB`,
  ...(problems.length === 0 ? ["all checks passed"] : problems.map((problem) => `FAILED     ${problem}`))
]
