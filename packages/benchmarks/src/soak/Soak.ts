/** Many calls at once against a server that breaks its answers, and a look at what is left behind. */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Effect from "effect/Effect"
import * as Supervisor from "effect/Supervisor"
import * as Client from "./Client.ts"
import * as Process from "./Process.ts"
import * as Server from "./Server.ts"

export interface Options {
  readonly seed: string
  readonly streams: number
  readonly atOnce: number
  /** How many calls are made before the memory is first looked at, so that what is made once is not taken for a leak. */
  readonly warmUp: number
  /** How many milliseconds of silence are a failure. */
  readonly patience: number
}

export interface Report {
  readonly outcomes: ReadonlyArray<Client.Outcome>
  readonly seconds: number
  readonly figures: Server.Server["figures"]
  readonly memory: { readonly before: number; readonly after: number; readonly peakRss: number }
  /** What must not be, each with how often it was; empty when all is well. */
  readonly problems: ReadonlyArray<string>
}

/** The most that the heap may grow, beyond code that is optimised late and tables that grow by doubling. */
const maxGrowth = 16 * Process.mebi

/** Waits until something holds, at most so many milliseconds; tells whether it does. */
const eventually = (holds: () => boolean, millis: number): Effect.Effect<boolean> =>
  Effect.suspend(() =>
    holds()
      ? Effect.succeed(true)
      : millis <= 0
      ? Effect.succeed(false)
      : Effect.zipRight(Effect.sleep(20), eventually(holds, millis - 20))
  )

const settled = 10_000

/** Runs the calls. Fails with nothing: what is wrong is in the report. */
export const run = (options: Options): Effect.Effect<Report> => {
  const { atOnce, patience, seed, streams, warmUp } = options
  return Effect.gen(function*() {
    const problems: Array<string> = []
    // What starts the program may itself have a timer that is not there yet.
    yield* Effect.sleep(20)
    const before = Process.resources()
    const memory = { before: 0, after: 0, peakRss: 0 }
    const fibers = yield* Supervisor.track
    const heap = Effect.sync(() => {
      Process.collect()
      return process.memoryUsage().heapUsed
    })

    const all = Effect.gen(function*() {
      const server = yield* Server.make(seed)
      const storm = Effect.gen(function*() {
        const list = yield* Client.services(server.url, patience)
        const calls = (from: number, to: number) =>
          Effect.forEach(
            Array.from({ length: to - from }, (_, i) => from + i),
            (number) =>
              Effect.tap(Client.call(seed, number, list, server.take), () =>
                Effect.sync(() => {
                  memory.peakRss = Math.max(memory.peakRss, process.memoryUsage().rss)
                })),
            { concurrency: atOnce }
          )
        const first = yield* calls(0, warmUp)
        memory.before = yield* heap
        const start = performance.now()
        const rest = yield* calls(warmUp, warmUp + streams)
        const seconds = (performance.now() - start) / 1000
        if (!(yield* eventually(() => server.busy() === 0, settled))) {
          problems.push(`${server.busy()} connections are still at work when all calls are done`)
        }
        memory.after = yield* heap
        return { outcomes: [...first, ...rest], seconds }
      }).pipe(
        Effect.supervised(fibers),
        Effect.provide(NodeHttpClient.layerUndici),
        Effect.scoped
      )
      const { outcomes, seconds } = yield* storm
      if (!(yield* eventually(() => server.open() === 0, settled))) {
        problems.push(`${server.open()} connections are open when the client is gone`)
      }
      return { outcomes, seconds, figures: server.figures }
    })

    const { figures, outcomes, seconds } = yield* Effect.scoped(all)
    const alive = yield* fibers.value
    if (alive.length > 0) problems.push(`${alive.length} fibers are still running`)
    if (!(yield* eventually(() => Process.leaked(before).length === 0, settled))) {
      problems.push(`left behind: ${Process.leaked(before).join(", ")}`)
    }
    const growth = memory.after - memory.before
    if (growth > maxGrowth) {
      problems.push(`the heap grew by ${(growth / Process.mebi).toFixed(1)} MiB`)
    }
    const report: Report = { outcomes, seconds, figures, memory, problems: [...counted(outcomes), ...problems] }
    return report
  })
}

const counted = (outcomes: ReadonlyArray<Client.Outcome>): ReadonlyArray<string> => {
  const all = new Map<string, Array<number>>()
  outcomes.forEach(({ problems }, call) => {
    for (const problem of problems) all.set(problem, [...(all.get(problem) ?? []), call])
  })
  return Array.from(
    all,
    ([problem, calls]) =>
      `${problem} (${calls.length} ×: call ${calls.slice(0, 5).join(", ")}${calls.length > 5 ? ", …" : ""})`
  )
}

const tally = <A>(list: ReadonlyArray<A>, key: (one: A) => string | undefined): string => {
  const counts = new Map<string, number>()
  for (const one of list) {
    const name = key(one)
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return show(counts)
}

const show = (counts: ReadonlyMap<string, number>): string =>
  Array.from(counts).toSorted(([_, a], [__, b]) => b - a).map(([name, count]) => `${name} ${count}`).join(", ")

/** The report in words. */
export const lines = ({ figures, memory, outcomes, problems, seconds }: Report): ReadonlyArray<string> => {
  const sum = (of: (one: Client.Outcome) => number) => outcomes.reduce((total, one) => total + of(one), 0)
  const mebi = (bytes: number) => `${(bytes / Process.mebi).toFixed(1)} MiB`
  return [
    `calls      ${outcomes.length} in ${seconds.toFixed(1)} s: ${tally(outcomes, ({ ended }) => ended)}`,
    `failures   ${tally(outcomes, ({ failure }) => failure)}`,
    `when cut   ${tally(outcomes, ({ ended, whenCut }) => `${whenCut}/${ended}`)}`,
    `attempts   ${sum(({ attempts }) => attempts)}, restarts ${sum(({ restarts }) => restarts)}`,
    `server     ${figures.requests} requests over ${figures.connections} connections, ${mebi(figures.bytes)} written`,
    `           ${show(figures.how)}`,
    `text       ${sum(({ characters }) => characters)} characters read`,
    `memory     heap ${mebi(memory.before)} → ${mebi(memory.after)}, peak RSS ${mebi(memory.peakRss)}`,
    ...(problems.length === 0 ? ["all checks passed"] : problems.map((problem) => `FAILED     ${problem}`))
  ]
}
