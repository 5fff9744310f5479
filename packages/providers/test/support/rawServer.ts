import { FetchHttpClient, HttpClient, type HttpClientResponse } from "@effect/platform"
import { NodeHttpClient } from "@effect/platform-node"
import { Deferred, Effect, Layer } from "effect"
import net, { type AddressInfo } from "node:net"

/** A client whose responses do not show what they are made of, as a program's own may be. */
const veiled = Layer.effect(
  HttpClient.HttpClient,
  Effect.map(
    HttpClient.HttpClient,
    (client) =>
      HttpClient.transformResponse(
        client,
        Effect.map((response): HttpClientResponse.HttpClientResponse => Object.create(response))
      )
  )
).pipe(Layer.provide(NodeHttpClient.layerUndici))

/** The clients that users bring. */
export const clients: ReadonlyArray<readonly [string, Layer.Layer<HttpClient.HttpClient>]> = [
  ["fetch", FetchHttpClient.layer],
  ["undici", NodeHttpClient.layerUndici],
  ["node:http", NodeHttpClient.layer],
  ["a client of one's own", veiled]
]

/**
 * A server that reads a whole request, or no more than the first bytes of whatever comes, and then does as it is told
 * with the bare socket. Closed with the scope.
 */
export const rawServer = (
  behave: (socket: net.Socket, request: string) => void,
  reads: "requests" | "first bytes" = "requests"
) =>
  Effect.gen(function*() {
    const requests: Array<string> = []
    const sockets = new Set<net.Socket>()
    let connections = 0
    const asked = yield* Deferred.make<void>()
    const closed = yield* Deferred.make<void>()
    const server = net.createServer((socket) => {
      connections++
      sockets.add(socket)
      let received = ""
      socket.on("error", () => {})
      socket.on("close", () => {
        sockets.delete(socket)
        Deferred.unsafeDone(closed, Effect.void)
      })
      socket.on("data", (data) => {
        received += data.toString("latin1")
        const end = received.indexOf("\r\n\r\n")
        const length = Number(/content-length: (\d+)/i.exec(received)?.[1] ?? 0)
        if (reads === "requests" && (end === -1 || received.length < end + 4 + length)) return
        const request = received
        received = ""
        requests.push(request)
        Deferred.unsafeDone(asked, Effect.void)
        behave(socket, request)
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
    return {
      port,
      url: `http://127.0.0.1:${port}/v1`,
      requests,
      connections: () => connections,
      /** Done when a request has come in. */
      asked: Deferred.await(asked),
      /** Done when a connection has been closed. */
      closed: Deferred.await(closed)
    }
  })

/** An HTTP/1.1 reply. */
export const reply = (status: string, body: string, headers: Record<string, string> = {}) =>
  [
    `HTTP/1.1 ${status}`,
    ...Object.entries({ "content-length": String(Buffer.byteLength(body)), ...headers }).map(([k, v]) => `${k}: ${v}`),
    "",
    body
  ].join("\r\n")

/** The beginning of a reply whose length is not known. */
export const chunked = (status: string) => `HTTP/1.1 ${status}\r\ntransfer-encoding: chunked\r\n\r\n`

/** Writes chunks for as long as the other side reads, at most so many bytes; tells how many were written. */
export const flood = (socket: net.Socket, most: number) => {
  const body = "x".repeat(64 * 1024)
  const chunk = `${body.length.toString(16)}\r\n${body}\r\n`
  const written = { bytes: 0 }
  const write = () => {
    while (written.bytes < most) {
      if (socket.destroyed) return
      written.bytes += body.length
      if (!socket.write(chunk)) {
        socket.once("drain", write)
        return
      }
    }
    socket.end("0\r\n\r\n")
  }
  write()
  return written
}
