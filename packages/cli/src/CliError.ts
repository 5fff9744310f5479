/**
 * The two ways in which a command ends badly.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"

/**
 * The command line, or the environment it needs, is wrong: nothing was sent. One line, exit code 2.
 *
 * @since 0.1.0
 * @category errors
 */
export class UsageError extends Data.TaggedError("UsageError")<{ readonly line: string }> {
  override get message(): string {
    return this.line
  }
}

/**
 * The command was understood and did not succeed. The lines go to standard error; exit code 1.
 *
 * @since 0.1.0
 * @category errors
 */
export class Failed extends Data.TaggedError("Failed")<{ readonly lines: ReadonlyArray<string> }> {
  override get message(): string {
    return this.lines.join("\n")
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export type CliError = UsageError | Failed
