/** Checks what a script is built from; a bad value throws where it is written, not when it is played. */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Inspectable from "effect/Inspectable"
import * as ParseResult from "effect/ParseResult"
import { InvalidOption } from "perdure"

export const refuse = (option: string, value: unknown, allowed: string): never => {
  throw new InvalidOption({
    option,
    value: typeof value === "number" || typeof value === "bigint" || value === undefined
      ? String(value)
      : Inspectable.stringifyCircular(value),
    allowed
  })
}

/** Refuses a value for a reason of its own. */
export const check = (option: string, value: unknown, ok: boolean, allowed: string): void => {
  if (!ok) refuse(option, value, allowed)
}

/** A whole number of at least `min`. */
export const integer = (option: string, value: number, min: number): number =>
  Number.isSafeInteger(value) && value >= min ? value : refuse(option, value, `a whole number of at least ${min}`)

/** A string with at least one character that is not white space. */
export const text = (option: string, value: string): string =>
  typeof value === "string" && value.trim() !== "" ? value : refuse(option, value, "a non-empty string")

/** A finite duration, zero included. `Duration.decode` makes zero of what is negative, so the raw input is looked at first. */
export const duration = (option: string, input: Duration.DurationInput): Duration.Duration => {
  const decoded = Either.getOrUndefined(Either.try(() => Duration.decode(input)))
  return decoded === undefined || isNegative(input) || !Duration.isFinite(decoded)
    ? refuse(option, input, "a finite duration of at least zero")
    : decoded
}

const isNegative = (input: unknown): boolean => {
  if (typeof input === "number") return !(input >= 0)
  if (typeof input === "bigint") return input < 0n
  if (typeof input === "string") return input.trim().startsWith("-")
  return Array.isArray(input) && input.some(isNegative)
}

/** What a schema class builds from the given fields; the fields it refuses are refused as an option. */
export const built = <A>(option: string, fields: unknown, build: () => A): A => {
  try {
    return build()
  } catch (error) {
    if (!ParseResult.isParseError(error)) throw error
    return refuse(option, fields, error.message.replace(/\s+/g, " "))
  }
}
