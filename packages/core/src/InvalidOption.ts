/**
 * The exception thrown when a policy or a provider is built with an option outside its range.
 *
 * It is thrown, not failed: an option is part of the program, so a bad one is a bug in the program and shows where the
 * value is built, long before a call is made.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"

/**
 * Says which option was refused, the value it had, and what is allowed.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidOption extends Data.TaggedError("InvalidOption")<{
  /** The option as the caller wrote it, for example `Retry.attempts(n)`. */
  readonly option: string
  /** The refused value, printed. */
  readonly value: string
  /** What would have been accepted. */
  readonly allowed: string
}> {
  override get message(): string {
    return `${this.option} was given ${this.value}; allowed: ${this.allowed}`
  }
}
