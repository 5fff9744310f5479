/** What options look like where they are written down: the kinds of values, each with its range in words and for JSON. */
import * as Duration from "effect/Duration"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"

const said = (allowed: string) => ({ actual }: ParseResult.ParseIssue) => ({
  message: `expected ${allowed}, got ${
    typeof actual === "string" ? JSON.stringify(actual) : Inspectable.toStringUnknown(actual, 0)
  }`,
  override: true
})

const number = (ok: (value: number) => boolean, allowed: string, jsonSchema: object) =>
  Schema.Number.pipe(Schema.filter(ok), Schema.annotations({ jsonSchema, message: said(allowed) }))

/** A whole number from `min` to `max`. */
export const whole = (min: number, max = Number.MAX_SAFE_INTEGER) => {
  const bounded = max < Number.MAX_SAFE_INTEGER
  return number(
    (value) => Number.isSafeInteger(value) && value >= min && value <= max,
    bounded ? `a whole number from ${min} to ${max}` : `a whole number of at least ${min}`,
    { type: "integer", minimum: min, ...bounded ? { maximum: max } : {} }
  )
}

/** A number from `min` to `max`. */
export const from = (min: number, max = Infinity) =>
  number(
    (value) => Number.isFinite(value) && value >= min && value <= max,
    max < Infinity ? `a number from ${min} to ${max}` : `a number of at least ${min}`,
    { type: "number", minimum: min, ...max < Infinity ? { maximum: max } : {} }
  )

/** A number above 0, up to `max`. */
export const positive = (max: number) =>
  number((value) => value > 0 && value <= max, `a number above 0, up to ${max}`, {
    type: "number",
    exclusiveMinimum: 0,
    maximum: max
  })

/** A factor that makes less of something and leaves some: above 0, below 1. */
export const Part = number((value) => value > 0 && value < 1, "a number above 0 and below 1", {
  type: "number",
  exclusiveMinimum: 0,
  exclusiveMaximum: 1
})

export const Text = Schema.String.pipe(
  Schema.filter((value) => value.trim() !== ""),
  Schema.annotations({ jsonSchema: { type: "string", pattern: "\\S" }, message: said("a text that is not empty") })
)

/** In milliseconds, the longest that can be counted and printed: more than 285,000 years. */
const longest = Number.MAX_SAFE_INTEGER

const units = "nano|micro|milli|second|minute|hour|day|week"

/** A duration as people write it: `30 seconds`, `500 millis`, or a number of milliseconds. */
const duration = (least: "positive" | "zero") => {
  const positive = least === "positive"
  const expected = said(`a duration ${positive ? "longer than zero" : "of at least zero"}, such as \`30 seconds\``)
  const pattern = `^\\s*${positive ? "(?=[0-9.]*[1-9])" : ""}\\d+(\\.\\d+)?(\\s+(${units})s?)?\\s*$`
  return Schema.transformOrFail(
    Schema.Union(Schema.String, Schema.Number).annotations({
      jsonSchema: {
        anyOf: [
          { type: "number", ...positive ? { exclusiveMinimum: 0 } : { minimum: 0 }, maximum: longest },
          { type: "string", pattern }
        ]
      }
    }),
    Schema.DurationFromSelf,
    {
      strict: true,
      decode: (input, _, ast) => {
        const text = String(input).trim()
        const decoded = typeof input === "number" || /^\d+(\.\d+)?$/.test(text)
          ? Option.liftPredicate(Number(text), (millis) => millis >= 0).pipe(Option.map(Duration.millis))
          : text.startsWith("-")
          ? Option.none()
          : Duration.decodeUnknown(text)
        const fits = (duration: Duration.Duration) =>
          Duration.toMillis(duration) <= longest && (!positive || Duration.toMillis(duration) > 0)
        return Option.match(Option.filter(decoded, fits), {
          onNone: () => ParseResult.fail(new ParseResult.Type(ast, input)),
          onSome: ParseResult.succeed
        })
      },
      encode: (duration) => ParseResult.succeed(`${Duration.toMillis(duration)} millis`)
    }
  ).annotations({
    identifier: positive ? "Time" : "Wait",
    description: `A duration, for example \`30 seconds\`, or milliseconds${positive ? "" : "; 0 is allowed"}`,
    message: expected
  })
}

export const Time = duration("positive")

/** A duration that may be zero. */
export const Wait = duration("zero")

/** One of some words; `more` is what else the place takes. */
export const words = <const W extends readonly [string, ...Array<string>]>(all: W, more = "") =>
  Schema.Literal(...all).annotations({ message: said(`${all.map((word) => JSON.stringify(word)).join(", ")}${more}`) })

export const Flag = Schema.Boolean.annotations({ message: said("true or false") })

export const list = <A, I>(item: Schema.Schema<A, I>) =>
  Schema.Array(item).annotations({ message: (issue) => said("a list")(issue).message })

/** What leaves a policy out. */
export const Off = words(["off"], " or options")

/** Fields that may all be left out. */
export const fields = <F extends Schema.Struct.Fields>(all: F) =>
  Schema.partial(Schema.Struct(all)).annotations({ message: (issue) => said("options")(issue).message })

/** The options of a policy that may be left out. */
export const policy = <F extends Schema.Struct.Fields>(all: F) => Schema.Union(Off, fields(all))
