/** A process of its own that answers in the formats of OpenAI and Anthropic, as fast as it can. */
import net, { type AddressInfo } from "node:net"
import { chatCompletion, message, streamEvents } from "./Answers.ts"

const reply = (body: string): string =>
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`

const completion = reply(JSON.stringify(chatCompletion))
const messages = reply(JSON.stringify(message))
const head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
const events = streamEvents.map((event) => `${Buffer.byteLength(event).toString(16)}\r\n${event}\r\n`)

/** One event a write, one write a turn: on the wire each is a packet of its own. */
const stream = (socket: net.Socket) => {
  let at = 0
  socket.write(head)
  const write = () => {
    if (socket.destroyed) return
    const event = events[at++]
    if (event === undefined) socket.write("0\r\n\r\n")
    else {
      socket.write(event)
      setImmediate(write)
    }
  }
  write()
}

const server = net.createServer((socket) => {
  let received = ""
  socket.setNoDelay(true)
  socket.on("error", () => {})
  socket.on("data", (data) => {
    received += data.toString("latin1")
    const end = received.indexOf("\r\n\r\n")
    const length = Number(/content-length: (\d+)/i.exec(received)?.[1] ?? 0)
    if (end === -1 || received.length < end + 4 + length) return
    const request = received
    received = ""
    if (request.includes("\"stream\":true")) stream(socket)
    else socket.write(request.startsWith("POST /v1/messages") ? messages : completion)
  })
})

server.listen(0, "127.0.0.1", () => process.send?.({ port: (server.address() as AddressInfo).port }))
process.on("disconnect", () => process.exit())
