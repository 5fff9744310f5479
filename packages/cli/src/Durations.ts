/**
 * Durations as people type and read them.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

const typed = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/i

const units: ReadonlyArray<readonly [millis: number, names: ReadonlyArray<string>]> = [
  [1, ["ms", "milli", "millis", "millisecond", "milliseconds"]],
  [1000, ["s", "sec", "secs", "second", "seconds"]],
  [60_000, ["m", "min", "mins", "minute", "minutes"]],
  [3_600_000, ["h", "hour", "hours"]]
]

/**
 * What {@link parse} takes, in words.
 *
 * @since 0.1.0
 * @category constants
 */
export const accepted = `a duration such as 500ms, 2s, 1m or "2 seconds"`

/**
 * A number with a unit: `500ms`, `2s`, `1.5 minutes`. A bare number says too little.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parse = (text: string): Option.Option<Duration.Duration> => {
  const [, amount = "", unit = ""] = text.trim().match(typed) ?? []
  const found = units.find(([, names]) => names.includes(unit.toLowerCase()))
  return found === undefined ? Option.none() : Option.some(Duration.millis(Number(amount) * found[0]))
}

/**
 * In at most seven characters, with three digits that matter: `7ms`, `2.05s`, `12.3s`, `3m 20s`.
 *
 * @since 0.1.0
 * @category printing
 */
export const short = (duration: Duration.DurationInput): string => {
  const millis = Math.round(Duration.toMillis(duration))
  if (millis < 1000) return `${millis}ms`
  const seconds = millis / 1000
  if (seconds < 9.995) return `${seconds.toFixed(2)}s`
  if (seconds < 59.95) return `${seconds.toFixed(1)}s`
  const whole = Math.round(seconds)
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${String(whole % 60).padStart(2, "0")}s`
  const minutes = Math.round(whole / 60)
  return `${Math.floor(minutes / 60)}h ${String(minutes % 60).padStart(2, "0")}m`
}
