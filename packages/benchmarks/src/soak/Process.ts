/** What the process holds: memory, timers, sockets. */
import v8 from "node:v8"
import vm from "node:vm"

v8.setFlagsFromString("--expose-gc")

/** Collects all garbage. */
export const collect: () => void = vm.runInNewContext("gc")

export const mebi = 1024 * 1024

/** The resources that keep the process alive, by kind. */
export const resources = (): ReadonlyMap<string, number> => {
  const kinds = new Map<string, number>()
  for (const kind of process.getActiveResourcesInfo()) kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  return kinds
}

/** What is there now, of timers and sockets, and was not there before. */
export const leaked = (before: ReadonlyMap<string, number>): ReadonlyArray<string> =>
  Array.from(resources()).flatMap(([kind, count]) => {
    const more = count - (before.get(kind) ?? 0)
    return more > 0 && /Timeout|TCP|Immediate/.test(kind) ? [`${more} × ${kind}`] : []
  })
