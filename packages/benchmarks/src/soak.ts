/**
 * `pnpm soak`: one stream of 1 GiB through a slow reader, then 2,000 streams, 200 at once, against a server that breaks
 * them in every way it knows. Prints its figures and ends with 1 when a check fails.
 *
 * `--seed WORD` repeats a run; `--streams`, `--at-once` and `--size` (in MiB, 0 for none) change how much of it.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { parseArgs } from "node:util"
import * as Telemetry from "perdure/Telemetry"
import * as Large from "./soak/Large.ts"
import * as Soak from "./soak/Soak.ts"

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: Math.random().toString(36).slice(2, 10) },
    streams: { type: "string", default: "2000" },
    "at-once": { type: "string", default: "200" },
    size: { type: "string", default: "1024" }
  }
})

const number = (name: "streams" | "at-once" | "size", least: number): number => {
  const value = Number(values[name])
  if (Number.isSafeInteger(value) && value >= least) return value
  console.error(`--${name} is a whole number of at least ${least}`)
  process.exit(2)
}

const streams = number("streams", 1)
const atOnce = number("at-once", 1)
const size = number("size", 0)
const { seed } = values

const program = Effect.gen(function*() {
  yield* Console.log(`seed       ${seed} (the same again: --seed ${seed})`)
  // The large one comes first: afterwards the process is so large that its growth would not show.
  const large = size === 0 ? undefined : yield* Large.run(size)
  for (const line of large === undefined ? [] : Large.lines(large)) yield* Console.log(line)
  const storm = yield* Soak.run({ seed, streams, atOnce, warmUp: Math.ceil(streams / 10), patience: 3000 })
  for (const line of Soak.lines(storm)) yield* Console.log(line)
  if (storm.problems.length > 0 || (large?.problems.length ?? 0) > 0) process.exitCode = 1
}).pipe(
  // Every other call is meant to fail.
  Telemetry.withLogs("None")
)

NodeRuntime.runMain(program)
