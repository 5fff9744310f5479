/**
 * `pnpm bench`: Perdure side by side with its peers, in one process, taking turns. Prints tables in Markdown.
 *
 * `--quick` takes some 15 seconds and tells less; `--only http|streams|policies` runs one part; `--write` puts the
 * tables into `docs/benchmarks.md`.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { fork } from "node:child_process"
import { writeFileSync } from "node:fs"
import { availableParallelism, loadavg } from "node:os"
import { extname } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as Http from "./bench/Http.ts"
import * as InFlight from "./bench/InFlight.ts"
import * as Policies from "./bench/Policies.ts"
import * as Report from "./bench/Report.ts"
import * as Streams from "./bench/Streams.ts"

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    quick: { type: "boolean", default: false },
    write: { type: "boolean", default: false }
  }
})

const parts = ["http", "streams", "policies", "inflight"]
if (values.only !== undefined && !parts.includes(values.only)) {
  console.error(`--only is one of ${parts.join(", ")}`)
  process.exit(2)
}
const wanted = (part: string) => values.only === undefined || values.only === part
const effort = (times: number, rounds: number) =>
  values.quick ? { times: Math.ceil(times / 8), rounds: 3 } : { times, rounds }

const server = fork(fileURLToPath(new URL(`bench/server${extname(import.meta.url)}`, import.meta.url)))
const port = await new Promise<unknown>((resolve) =>
  server.once("message", (message) => resolve(Reflect.get(Object(message), "port")))
)
const url = `http://127.0.0.1:${String(port)}`

// One client for all of it, as a program has one.
const runtime = ManagedRuntime.make(NodeHttpClient.layerUndici)
const client = Layer.succeed(
  HttpClient.HttpClient,
  Context.get((await runtime.runtime()).context, HttpClient.HttpClient)
)

const busy = loadavg()[0] ?? 0
const sections: Array<Report.Section> = []
if (wanted("policies")) sections.push(...await Policies.run(effort(40_000, 7)))
if (wanted("inflight")) sections.push(await InFlight.run(values.quick ? 20_000 : 100_000))
if (wanted("http")) sections.push(await Http.run(url, client, effort(4000, 7)))
if (wanted("streams")) sections.push(await Streams.run(url, client, effort(256, 7)))

const text = [
  "# Benchmarks",
  "",
  "Perdure side by side with its peers, in one process, taking turns. Microseconds are medians and depend on the machine;",
  "the ratios, compared round by round, depend on it much less. The targets were set before anything was measured, and",
  "those that are missed stay in the table.",
  "",
  `Node ${process.version}, ${availableParallelism()} cores, load ${busy.toFixed(1)} at the start` +
  `${
    values.quick ? ", a quick run" : ""
  }. The same again: \`npx -y pnpm@10 bench --write\`. The column "rounds" has the`,
  "least and the most of all rounds, which is how noisy the machine was.",
  ...sections.flatMap((section) => ["", ...Report.lines(section)]),
  ""
].join("\n")

console.log(text)
if (values.write) writeFileSync(new URL("../../../docs/benchmarks.md", import.meta.url), text)

server.kill()
await Effect.runPromise(runtime.disposeEffect)
