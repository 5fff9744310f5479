import { Effect } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Readable, Writable } from "node:stream"

const places = [
  process.env["CHROMIUM"] ?? "",
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
]

/** Where a Chromium is, if there is one; `CHROMIUM` names another. */
export const executable = places.find((path) => path !== "" && existsSync(path))

/** Why a test that needs one is left out. */
export const missing = "no Chromium on this machine; CHROMIUM may name one"

const flags = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--hide-scrollbars",
  "--remote-debugging-pipe"
]

type Json = Readonly<Record<string, unknown>>

/** One page of a browser, by the DevTools protocol over its pipe. */
export interface Page {
  readonly send: (method: string, params?: Json) => Promise<Json>
  /** Everything that it has said by itself so far. */
  readonly events: ReadonlyArray<{ readonly method: string; readonly params: Json }>
  /** The value of an expression in the page. */
  readonly evaluate: (expression: string) => Promise<unknown>
  /** Opens an address and waits until it is loaded. */
  readonly open: (url: string) => Promise<void>
}

const connect = async (child: ChildProcess): Promise<Page> => {
  const [, , , input, output] = child.stdio as ReadonlyArray<unknown> as [0, 0, 0, Writable, Readable]
  const waiting = new Map<number, { resolve: (result: Json) => void; reject: (error: Error) => void }>()
  const events: Array<{ method: string; params: Json }> = []
  let loaded = () => {}
  let last = 0
  let rest = ""
  output.on("data", (chunk) => {
    const messages = (rest + String(chunk)).split("\0")
    rest = messages.pop() ?? ""
    for (const message of messages) {
      const { error, id, method, params, result } = JSON.parse(message)
      if (id === undefined) {
        events.push({ method, params })
        if (method === "Page.loadEventFired") loaded()
      } else if (error === undefined) waiting.get(id)?.resolve(result)
      else waiting.get(id)?.reject(new Error(error.message))
    }
  })
  const raw = (method: string, params: Json, sessionId?: string): Promise<Json> =>
    new Promise((resolve, reject) => {
      const id = ++last
      waiting.set(id, { resolve, reject })
      child.once("exit", () => reject(new Error("the browser has ended")))
      input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`)
    })
  const { targetId } = await raw("Target.createTarget", { url: "about:blank" })
  const { sessionId } = await raw("Target.attachToTarget", { targetId, flatten: true })
  const send: Page["send"] = (method, params = {}) => raw(method, params, String(sessionId))
  for (const domain of ["Page", "Network", "Log", "Runtime", "Audits"]) await send(`${domain}.enable`)
  return {
    send,
    events,
    evaluate: async (expression) => {
      const { result } = await send("Runtime.evaluate", { expression, returnByValue: true })
      return (result as Json)["value"]
    },
    open: async (url) => {
      const done = new Promise<void>((resolve) => loaded = resolve)
      await send("Page.navigate", { url })
      await done
    }
  }
}

/** A new page in a browser of its own, which ends with the scope. */
export const page = (path: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const folder = await mkdtemp(join(tmpdir(), "perdure-chromium-"))
        const child = spawn(path, [...flags, `--user-data-dir=${folder}`], {
          stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"]
        })
        child.setMaxListeners(0)
        return { folder, child, page: await connect(child) }
      }),
      ({ child, folder }) =>
        Effect.promise(async () => {
          const ended = new Promise((resolve) => child.once("exit", resolve))
          child.kill("SIGKILL")
          await ended
          await rm(folder, { recursive: true, force: true, maxRetries: 5 })
        })
    ),
    ({ page }) => page
  )
