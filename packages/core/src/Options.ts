/**
 * The checks that every option passes through when a value is built, for those who write policies and providers of their
 * own. Each takes the option as the caller writes it and the value, and gives back the value, or throws `InvalidOption`.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Inspectable from "effect/Inspectable"
import { InvalidOption } from "./InvalidOption.ts"

/**
 * Throws the refusal of a value.
 *
 * @since 0.1.0
 * @category checks
 */
export const refuse = (option: string, value: unknown, allowed: string): never => {
  throw new InvalidOption({ option, value: show(value), allowed })
}

const show = (value: unknown): string =>
  typeof value === "string"
    ? JSON.stringify(value)
    : Duration.isDuration(value)
    ? Duration.format(value)
    : Either.getOrElse(Either.try(() => Inspectable.toStringUnknown(value, 0)), () => `an unprintable ${typeof value}`)

/**
 * Refuses a value for a reason of its own.
 *
 * @since 0.1.0
 * @category checks
 */
export const check = (option: string, value: unknown, ok: boolean, allowed: string): void => {
  if (!ok) refuse(option, value, allowed)
}

/**
 * A whole number in `[min, max]`.
 *
 * @since 0.1.0
 * @category checks
 */
export const integer = (option: string, value: number, min: number, max = Number.MAX_SAFE_INTEGER): number =>
  Number.isSafeInteger(value) && value >= min && value <= max
    ? value
    : refuse(
      option,
      value,
      max === Number.MAX_SAFE_INTEGER ? `a whole number of at least ${min}` : `a whole number from ${min} to ${max}`
    )

/**
 * A finite number of at least `min`.
 *
 * @since 0.1.0
 * @category checks
 */
export const number = (option: string, value: number, min: number): number =>
  Number.isFinite(value) && value >= min ? value : refuse(option, value, `a finite number of at least ${min}`)

/**
 * One of a fixed list of words.
 *
 * @since 0.1.0
 * @category checks
 */
export const literal = <const A extends string>(option: string, value: A, words: ReadonlyArray<A>): A =>
  words.includes(value) ? value : refuse(option, value, words.map((word) => `"${word}"`).join(", "))

/**
 * A string with at least one character that is not white space.
 *
 * @since 0.1.0
 * @category checks
 */
export const text = (option: string, value: string): string =>
  typeof value === "string" && value.trim() !== "" ? value : refuse(option, value, "a non-empty string")

/** Above it milliseconds are no longer told apart. */
const longest = Number.MAX_SAFE_INTEGER

/**
 * A finite duration of at most 2^53 - 1 milliseconds. `Duration.decode` turns negative numbers and `NaN` into zero, which
 * would hide a mistake, so the raw input is looked at first.
 *
 * @since 0.1.0
 * @category checks
 */
export const duration = (
  option: string,
  input: Duration.DurationInput,
  least: "positive" | "zero" = "positive"
): Duration.Duration => {
  const allowed = least === "positive" ? "a finite duration longer than zero" : "a finite duration of at least zero"
  const decoded = Either.getOrUndefined(Either.try(() => Duration.decode(input)))
  if (
    decoded === undefined || isNegative(input) || !Duration.isFinite(decoded) ||
    (least === "positive" && Duration.toMillis(decoded) <= 0)
  ) {
    return refuse(option, input, allowed)
  }
  // It is not printed as a duration: of the longest ones even that fails.
  if (Duration.toMillis(decoded) > longest) return refuse(option, Duration.toMillis(decoded), `at most ${longest} ms`)
  return decoded
}

const isNegative = (input: unknown): boolean => {
  if (typeof input === "number") return !(input >= 0)
  if (typeof input === "bigint") return input < 0n
  if (typeof input === "string") return input.trim().startsWith("-")
  if (Array.isArray(input)) return input.some(isNegative)
  return false
}
