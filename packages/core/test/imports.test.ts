/** Modules that need one another: whichever a program imports first, all of it loads. */
import { assert, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const folder = new URL("../src/", import.meta.url)
/** Those that are in a circle, and some that are not. */
const modules = [
  "index",
  "Policy",
  "Standard",
  "StandardSpec",
  "Budget",
  "Fallback",
  "LlmProvider",
  "CircuitBreaker",
  "Receipt"
]

/** A process for each, as modules are loaded only once in one; several at a time. */
const inTurn = async (names: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  for (const name of names) {
    const code = `await import(${JSON.stringify(new URL(`${name}.ts`, folder).href)})`
    await promisify(execFile)(process.execPath, ["--import", "tsx", "--input-type=module", "-e", code], {
      cwd: fileURLToPath(folder)
    })
  }
  return names
}

it("a public module can be the first that is imported", async () => {
  const loaded = await Promise.all([0, 1].map((half) => inTurn(modules.filter((_, i) => i % 2 === half))))
  assert.sameMembers(loaded.flat(), modules)
}, 120_000)
