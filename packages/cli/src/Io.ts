/**
 * Where a command reads and writes.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { Failed } from "./CliError.ts"
import type * as Terminal from "./Terminal.ts"

/**
 * @since 0.1.0
 * @category models
 */
export interface Io {
  readonly out: Terminal.Terminal
  readonly err: Terminal.Terminal
  /** All of standard input. */
  readonly stdin: Effect.Effect<string, Failed>
}
