/**
 * Perdure's peers. Their newest versions ask for Node 22, so an older Node gets the newest that it may run. Loaded when
 * asked for, so that no process carries what it does not measure.
 */
import { readFileSync } from "node:fs"

/** Whether this Node may run the newest versions. */
export const newest = Number.parseInt(process.versions.node, 10) >= 22

const installed = (name: string): string => newest ? `${name}-newest` : name

const load = <A>(name: string): Promise<A> => import(installed(name)) as Promise<A>

export const cockatiel = () => load<typeof import("cockatiel")>("cockatiel")
export const opossum = () => load<{ readonly default: typeof import("opossum") }>("opossum")
export const pRetry = () => load<typeof import("p-retry")>("p-retry")

/** Which versions these are. */
export const versions = (): string => {
  const { devDependencies }: { readonly devDependencies: Readonly<Record<string, string>> } = JSON.parse(
    readFileSync(new URL("../../package.json", import.meta.url), "utf8")
  )
  return ["cockatiel", "opossum", "p-retry"]
    .map((name) => `${name} ${devDependencies[installed(name)]?.replace(/^npm:.*@/, "")}`)
    .join(", ")
}
