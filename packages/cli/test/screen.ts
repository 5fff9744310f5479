import { Effect } from "effect"
import { Failed } from "../src/CliError.ts"
import type { Io } from "../src/Io.ts"
import * as Terminal from "../src/Terminal.ts"

/** A place to write to that keeps what is written. */
export const screen = (options: Partial<Omit<Terminal.Output, "write">> = {}) => {
  const written: Array<string> = []
  const terminal = Terminal.of({ columns: 80, ...options, write: (text) => written.push(text) }, {})
  return { terminal, written, text: () => written.join("") }
}

/** Both outputs of a command, and its input; without one, it may not be read. */
export const streams = (
  options: { readonly outTTY?: boolean; readonly errTTY?: boolean; readonly stdin?: string } = {}
) => {
  const out = screen({ isTTY: options.outTTY ?? false })
  const err = screen({ isTTY: options.errTTY ?? false })
  const io: Io = {
    out: out.terminal,
    err: err.terminal,
    stdin: options.stdin === undefined
      ? Effect.fail(new Failed({ lines: ["standard input was read"] }))
      : Effect.succeed(options.stdin)
  }
  return { io, out: out.text, err: err.text, written: out.written }
}
