/**
 * Where a command writes, and what may be written there.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Text from "./Text.ts"

/**
 * @since 0.1.0
 * @category models
 */
export interface Terminal {
  /** How many columns there are now. */
  readonly columns: () => number
  /** Whether a person is watching. */
  readonly interactive: boolean
  /** Whether colours may be used. */
  readonly colour: boolean
  /** Whether a line may be drawn over. */
  readonly live: boolean
  readonly write: (text: string) => void
  /** Waits until a slow reader has taken what was written. */
  readonly drained: Effect.Effect<void>
}

/**
 * What is looked at to know a terminal: a stream of Node, or a stand-in.
 *
 * @since 0.1.0
 * @category models
 */
export interface Output {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  readonly write: (text: string) => unknown
  readonly writableNeedDrain?: boolean | undefined
  readonly once?: ((event: "drain", listener: () => void) => unknown) | undefined
  readonly off?: ((event: "drain", listener: () => void) => unknown) | undefined
}

/** What a pipe or a file is taken to be as wide as. */
const defaultColumns = 80

/**
 * A terminal from a stream and the environment. Nothing but text goes to a pipe, to a terminal that calls itself `dumb`,
 * and where `NO_COLOR` or `CI` is set; what `FORCE_COLOR` forces is colour, never a redrawn line.
 *
 * @since 0.1.0
 * @category constructors
 */
export const of = (output: Output, env: Readonly<Record<string, string | undefined>>): Terminal => {
  const on = (name: string) => (env[name] ?? "") !== ""
  const interactive = output.isTTY === true
  const capable = interactive && env["TERM"] !== "dumb" && !on("NO_COLOR") && !on("CI")
  const forced = on("FORCE_COLOR") && env["FORCE_COLOR"] !== "0" && !on("NO_COLOR")
  const named = Number(env["COLUMNS"])
  return {
    columns: () => output.columns || (Number.isInteger(named) && named > 0 ? named : defaultColumns),
    interactive,
    colour: capable || forced,
    live: capable,
    write: (text) => {
      output.write(text)
    },
    drained: Effect.suspend(() => output.writableNeedDrain === true ? drain(output) : Effect.void)
  }
}

const drain = (output: Output): Effect.Effect<void> =>
  Effect.async((resume) => {
    const done = () => resume(Effect.void)
    output.once?.("drain", done)
    return Effect.sync(() => output.off?.("drain", done))
  })

/** How wide text is set, however wide the terminal: longer lines are hard to follow. */
const comfortable = 100

/**
 * The width to lay lines out for.
 *
 * @since 0.1.0
 * @category reading
 */
export const widthOf = (terminal: Terminal): number => Math.min(terminal.columns(), comfortable)

/**
 * Writes whole lines, each cut to the terminal's width.
 *
 * @since 0.1.0
 * @category writing
 */
export const print = (terminal: Terminal, lines: ReadonlyArray<Text.Line>): void => {
  const columns = terminal.columns()
  terminal.write(lines.map((line) => `${Text.render(Text.fitLine(line, columns), terminal.colour)}\n`).join(""))
}

/**
 * Cursor codes for a line that is drawn over.
 *
 * @since 0.1.0
 * @category constants
 */
export const cursor = {
  hide: "\u001b[?25l",
  show: "\u001b[?25h",
  clearLine: "\r\u001b[2K"
} as const
