/** Tool calls as a stream brings them: in pieces, by index, several at once, and not always as documented. */
import * as StreamPart from "perdure/StreamPart"

/** A piece of a tool call. */
export interface Piece {
  readonly index?: number | null | undefined
  readonly id?: string | null | undefined
  readonly name?: string | null | undefined
  readonly arguments?: unknown
}

interface Call {
  /** The id as it is handed out: that of the server, where it gives one that no other call has. */
  readonly id: string
  readonly given: string | undefined
  started: boolean
  /** What came before the name. */
  pending: string
}

/** The tool calls of one answer. */
export interface ToolCalls {
  readonly add: (piece: Piece) => ReadonlyArray<StreamPart.StreamPart>
  /** The ends of all calls; nothing when one of them never got a name. */
  readonly end: () => ReadonlyArray<StreamPart.StreamPart> | undefined
  readonly some: () => boolean
}

const textOf = (value: unknown): string =>
  // JSON text by the book; some servers send the object.
  value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value)

export const make = (): ToolCalls => {
  const calls: Array<Call> = []
  const byIndex = new Map<number, Call>()

  const find = ({ id, index, name }: Piece): Call => {
    const known = typeof index === "number"
      ? byIndex.get(index)
      : id
      ? calls.find((one) => one.given === id)
      : undefined
    // Some servers give every call the same index, or none; a name with an id of its own is another call.
    const another = known !== undefined && !!id && !!name && known.given !== undefined && known.given !== id
    if (known !== undefined && !another) return known
    const last = calls.at(-1)
    if (known === undefined && typeof index !== "number" && !id && !name && last !== undefined) return last
    const wanted = id || `call_${calls.length}`
    const call: Call = {
      id: calls.some((one) => one.id === wanted) ? `${wanted}_${calls.length}` : wanted,
      given: id || undefined,
      started: false,
      pending: ""
    }
    calls.push(call)
    if (typeof index === "number") byIndex.set(index, call)
    return call
  }

  return {
    add: (piece) => {
      const call = find(piece)
      const parts: Array<StreamPart.StreamPart> = []
      const more = call.pending + textOf(piece.arguments)
      if (!call.started && piece.name) {
        call.started = true
        parts.push({ _tag: "ToolCallStart", id: call.id, name: piece.name })
      }
      call.pending = call.started ? "" : more
      if (call.started && more !== "") parts.push({ _tag: "ToolCallDelta", id: call.id, arguments: more })
      return parts
    },
    end: () => calls.every(({ started }) => started) ? calls.map(({ id }) => ({ _tag: "ToolCallEnd", id })) : undefined,
    some: () => calls.length > 0
  }
}
