/** Many calls in flight at once, each contestant in a process of its own, so that its memory is its own. */
import { fork } from "node:child_process"
import { extname } from "node:path"
import { fileURLToPath } from "node:url"
import * as Measure from "./Measure.ts"
import * as Report from "./Report.ts"

interface Sample {
  readonly seconds: number
  readonly cpu: number
  readonly mebibytes: number
}

const script = fileURLToPath(new URL(`manyCalls${extname(import.meta.url)}`, import.meta.url))

const once = (who: string, calls: number): Promise<Sample> =>
  new Promise((resolve, reject) => {
    const child = fork(script, [who, String(calls)], { stdio: ["ignore", "ignore", "inherit", "ipc"] })
    child.once("message", (message) => resolve(message as Sample))
    child.once("exit", (code) => code === 0 ? undefined : reject(new Error(`${who} ended with ${String(code)}`)))
  })

const contestants = [
  ["alone", "the operation alone, as an Effect"],
  ["perdure", "Perdure, standard policy"],
  ["effect", "Effect.timeout and Effect.retry"],
  ["p-retry", "p-retry, without a time limit"]
] as const

export const run = async (most: number): Promise<Report.Section> => {
  const rows: Array<ReadonlyArray<string>> = []
  const found = new Map<string, Sample>()
  for (const calls of [most / 10, most]) {
    for (const [who, name] of contestants) {
      const sample = await once(who, calls)
      found.set(`${who} ${calls}`, sample)
      rows.push([
        calls.toLocaleString("en"),
        name,
        Report.number(sample.seconds),
        Report.number(sample.cpu),
        Report.number(sample.mebibytes)
      ])
    }
  }
  const of = (who: string, calls: number) => found.get(`${who} ${calls}`)
  const ratio = (a: number | undefined, b: number | undefined) => Measure.exactly((a ?? Number.NaN) / (b ?? Number.NaN))
  return {
    title: "Many calls in flight",
    about:
      "Each takes a second and is a promise of its own, of the same Effect; CPU and the most memory are those of a " +
      "process, start-up included.",
    columns: ["calls", "", "seconds", "CPU seconds", "most RSS, MiB"],
    rows,
    verdicts: [
      {
        what: "most memory, to p-retry's",
        target: 1,
        measured: ratio(of("perdure", most)?.mebibytes, of("p-retry", most)?.mebibytes)
      },
      {
        what: "CPU of ten times as many calls",
        target: 12,
        measured: ratio(of("perdure", most)?.cpu, of("perdure", most / 10)?.cpu)
      }
    ]
  }
}
