/** A server of bare sockets that answers in three formats, and breaks its answers as the plans say. */
import * as Effect from "effect/Effect"
import net, { type AddressInfo } from "node:net"
import { type Format, formats } from "./Format.ts"
import * as Plan from "./Plan.ts"

export interface Server {
  readonly url: string
  /** What was meant for a call, attempt by attempt; forgotten once it is asked for. */
  readonly take: (call: number) => ReadonlyArray<Plan.Plan>
  /** How many connections are open. */
  readonly open: () => number
  /** How many connections are in the middle of a request or an answer. */
  readonly busy: () => number
  readonly figures: { connections: number; requests: number; bytes: number; readonly how: Map<string, number> }
}

const statusBody = (status: number, format: Format): string =>
  JSON.stringify(
    format === "anthropic"
      ? { type: "error", error: { type: status === 429 ? "rate_limit_error" : "api_error", message: "no" } }
      : format === "google"
      ? { error: { code: status, message: "no", status: status === 429 ? "RESOURCE_EXHAUSTED" : "INTERNAL" } }
      : { error: { message: "no", type: "server_error", param: null, code: null } }
  )

const head = (plan: Plan.Plan): string =>
  `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n${
    plan.keepAlive ? "" : "connection: close\r\n"
  }\r\n`

/** Writes an answer, piece by piece, to its end or to where it breaks. */
const answer = (socket: net.Socket, plan: Plan.Plan, done: () => void, count: (bytes: number) => void) => {
  if (plan.how === "status") {
    const body = statusBody(plan.status, plan.format)
    socket.write(
      `HTTP/1.1 ${plan.status} No\r\ncontent-type: application/json\r\nretry-after-ms: 15\r\ncontent-length: ${body.length}\r\n\r\n${body}`
    )
    return done()
  }
  if (plan.at === "head") {
    if (plan.how === "reset") socket.resetAndDestroy()
    else if (plan.how === "close") socket.end()
    return
  }
  socket.write(head(plan))
  let at = 0
  const step = () => {
    if (socket.destroyed) return
    const piece = plan.writes[at++]
    if (piece !== undefined) {
      count(piece.length)
      socket.cork()
      socket.write(`${piece.length.toString(16)}\r\n`)
      socket.write(piece)
      socket.write("\r\n")
      socket.uncork()
      if (plan.pause === 0) setImmediate(step)
      else setTimeout(step, plan.pause)
      return
    }
    switch (plan.how) {
      case "stall":
        return
      case "reset":
        return socket.resetAndDestroy()
      case "close":
        return socket.end()
      case "whole":
      case "eof":
      case "error":
        socket.write("0\r\n\r\n")
        if (!plan.keepAlive) socket.end()
        return done()
    }
  }
  step()
}

/** Starts the server; it ends with the scope. */
export const make = (seed: string) =>
  Effect.gen(function*() {
    const sockets = new Set<net.Socket>()
    const busy = new Set<net.Socket>()
    const meant = new Map<number, Array<Plan.Plan>>()
    const figures: Server["figures"] = { connections: 0, requests: 0, bytes: 0, how: new Map() }

    const serve = (socket: net.Socket, path: string, body: string) => {
      const call = Number(/call (\d+)/.exec(body)?.[1])
      const format = formats.find((one) => path.startsWith(`/${one}/`)) ?? "openai"
      const before = meant.get(call) ?? []
      const plan = Plan.make(seed, call, format, before.filter((one) => one.format === format).length + 1)
      meant.set(call, [...before, plan])
      figures.requests++
      const name = plan.how === "whole" || plan.how === "status" ? plan.how : `${plan.how} in ${plan.at}`
      figures.how.set(name, (figures.how.get(name) ?? 0) + 1)
      answer(socket, plan, () => busy.delete(socket), (bytes) => {
        figures.bytes += bytes
      })
    }

    const server = net.createServer((socket) => {
      figures.connections++
      sockets.add(socket)
      let received = ""
      socket.setNoDelay(true)
      socket.on("error", () => {})
      socket.on("close", () => {
        sockets.delete(socket)
        busy.delete(socket)
      })
      socket.on("data", (data) => {
        busy.add(socket)
        received += data.toString("latin1")
        const end = received.indexOf("\r\n\r\n")
        const length = Number(/content-length: (\d+)/i.exec(received)?.[1] ?? 0)
        if (end === -1 || received.length < end + 4 + length) return
        const path = received.split(" ", 2)[1] ?? ""
        const body = received.slice(end + 4)
        received = ""
        serve(socket, path, body)
      })
    })
    yield* Effect.async<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    })
    yield* Effect.addFinalizer(() =>
      Effect.async<void>((resume) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resume(Effect.void))
      })
    )
    const { port } = server.address() as AddressInfo
    const made: Server = {
      url: `http://127.0.0.1:${port}`,
      take: (call) => {
        const plans = meant.get(call) ?? []
        meant.delete(call)
        return plans
      },
      open: () => sockets.size,
      busy: () => busy.size,
      figures
    }
    return made
  })
