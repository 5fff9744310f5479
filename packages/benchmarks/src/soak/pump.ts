/** A process of its own that writes one endless answer, as fast as it is read, and tells how much it has written. */
import net, { type AddressInfo } from "node:net"
import * as Format from "./Format.ts"

/** What is written, over and over: 64 deltas of 8 KiB. */
const text = "The quick brown fox jumps over a lazy dog: über, 日本語, 🦊. ".repeat(256).slice(0, 8192)
const count = 64

const size = Number(process.argv[2]) * 1024 * 1024
const { deltas, end, preamble } = Format.pieces("openai", Array.from({ length: count }, () => text))
const block = Buffer.from(deltas.join(""))
let written = 0

const chunked = (bytes: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")])

const wire = chunked(block)

const server = net.createServer((socket) => {
  socket.on("error", () => {})
  socket.once("data", () => {
    let characters = 0
    socket.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    socket.write(chunked(Buffer.from(preamble)))
    const write = () => {
      while (written < size) {
        written += block.length
        characters += text.length * count
        if (!socket.write(wire)) {
          socket.once("drain", write)
          return
        }
      }
      process.send?.({ characters })
      socket.end(Buffer.concat([chunked(Buffer.from(end)), Buffer.from("0\r\n\r\n")]))
    }
    write()
  })
})

server.listen(0, "127.0.0.1", () => process.send?.({ port: (server.address() as AddressInfo).port }))
process.on("message", () => process.send?.({ written }))
process.on("disconnect", () => process.exit())
