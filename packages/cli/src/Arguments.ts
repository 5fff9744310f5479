/**
 * Looks at the words of a command line before `@effect/cli` does, which takes an unknown flag for an argument, a flag
 * without a value for no flag, and drops one in the wrong case.
 *
 * What passes comes out in one form that it reads as meant: flags and values in pairs, `--`, arguments.
 *
 * @since 0.1.0
 */
import type * as Usage from "@effect/cli/Usage"
import * as Either from "effect/Either"
import * as Option from "effect/Option"

/**
 * @since 0.1.0
 * @category models
 */
export interface Flag {
  /** The long name is the last. */
  readonly names: ReadonlyArray<string>
  readonly takesValue: boolean
  readonly repeats: boolean
}

/**
 * What a command takes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Spec {
  readonly flags: ReadonlyArray<Flag>
  /** The names of the arguments that it needs. */
  readonly names: ReadonlyArray<string>
  /** The names of the arguments that may follow them. */
  readonly optional: ReadonlyArray<string>
}

/**
 * What a command takes, from the command itself.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromUsage = (usage: Usage.Usage, repeats = false): Spec => {
  switch (usage._tag) {
    case "Empty":
    case "Mixed":
      return { flags: [], names: [], optional: [] }
    case "Optional": {
      const { flags, names, optional } = fromUsage(usage.usage, repeats)
      return { flags, names: [], optional: [...names, ...optional] }
    }
    case "Repeated":
      return fromUsage(usage.usage, true)
    case "Alternation":
    case "Concat": {
      const left = fromUsage(usage.left, repeats)
      const right = fromUsage(usage.right, repeats)
      return {
        flags: [...left.flags, ...right.flags],
        names: [...left.names, ...right.names],
        optional: [...left.optional, ...right.optional]
      }
    }
    case "Named": {
      const argument = usage.names[0]?.match(/^<(.*)>$/)?.[1]
      if (argument !== undefined) return { flags: [], names: [argument], optional: [] }
      const names = usage.names.filter((name) => name.startsWith("-"))
      return {
        flags: names.length === 0 ? [] : [{ names, takesValue: Option.isSome(usage.acceptedValues), repeats }],
        names: [],
        optional: []
      }
    }
  }
}

/**
 * A command line as it was meant, or a request for help or for the version.
 *
 * @since 0.1.0
 * @category models
 */
export type Read =
  | { readonly _tag: "Words"; readonly words: ReadonlyArray<string> }
  | { readonly _tag: "Help" }
  | { readonly _tag: "Version" }

/** A dash and a name, not a number and not a sentence: `-x`, `--json`, `--model=a`. */
const flagShaped = /^-+(?![\d.])[^\s=-][^\s=]*(?:=|$)/

const isFlag = (word: string): boolean => flagShaped.test(word)

const booleans: Readonly<Record<string, boolean>> = { true: true, false: false }

/**
 * Reads the words after the command's name. On the left is what is wrong with them, in one line.
 *
 * @since 0.1.0
 * @category reading
 */
export const read = (spec: Spec, words: ReadonlyArray<string>): Either.Either<Read, string> => {
  const end = words.indexOf("--")
  const before = end === -1 ? words : words.slice(0, end)
  if (before.some((word) => word === "--help" || word === "-h")) return Either.right({ _tag: "Help" })
  if (before.includes("--version")) return Either.right({ _tag: "Version" })

  const options: Array<string> = []
  const args: Array<string> = []
  const given = new Set<Flag>()
  for (let at = 0; at < before.length; at++) {
    const word = before[at] ?? ""
    if (!isFlag(word)) {
      args.push(word)
      continue
    }
    const equals = word.indexOf("=")
    const name = equals === -1 ? word : word.slice(0, equals)
    const attached = equals === -1 ? undefined : word.slice(equals + 1)
    const flag = spec.flags.find(({ names }) => names.includes(name))
    if (flag === undefined) return Either.left(unknown("flag", name, spec.flags.flatMap(({ names }) => names)))
    if (given.has(flag) && !flag.repeats) return Either.left(`${name} was given more than once`)
    given.add(flag)
    const long = flag.names.at(-1) ?? name

    if (!flag.takesValue) {
      const on = attached === undefined ? true : booleans[attached]
      if (on === undefined) return Either.left(`${name} takes no value, but was given ${quote(attached ?? "")}`)
      if (on) options.push(long)
      continue
    }
    const value = attached ?? before[at + 1]
    if (attached === undefined) at++
    if (value === undefined) return Either.left(`${name} needs a value`)
    if (isFlag(value)) return Either.left(`${name} needs a value, not the flag ${value}`)
    options.push(long, value)
  }

  if (end !== -1) args.push(...words.slice(end + 1))
  const missing = spec.names[args.length]
  if (missing !== undefined) return Either.left(`the ${missing} is missing`)
  const names = [...spec.names, ...spec.optional]
  const extra = args[names.length]
  if (extra !== undefined) {
    const hint = names.length === 0 ? "" : `; put quotes around a ${names.at(-1)} of several words`
    return Either.left(`unexpected argument ${quote(extra)}${hint}`)
  }
  return Either.right({ _tag: "Words", words: [...options, "--", ...args] })
}

/**
 * Says that a word is not known, and which known one may be meant.
 *
 * @since 0.1.0
 * @category wording
 */
export const unknown = (kind: string, word: string, known: ReadonlyArray<string>): string => {
  const [closest] = known
    .filter((candidate) => candidate.length > 2)
    .map((candidate) => ({ candidate, far: distance(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, far }) => far <= (candidate.length < 4 ? 1 : 2))
    .toSorted((a, b) => a.far - b.far)
  return `unknown ${kind} ${word}` + (closest === undefined ? "" : `; did you mean ${closest.candidate}?`)
}

/** How many letters must change to make one word of the other (Levenshtein). */
const distance = (a: string, b: string): number => {
  let above = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = (above[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(swap, (above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1))
    }
    above = row
  }
  return above[b.length] ?? 0
}

/** The longest piece of the command line that is repeated in a message. */
const longestQuote = 40

/**
 * A word of the command line in quotes, cut and made harmless.
 *
 * @since 0.1.0
 * @category wording
 */
export const quote = (word: string): string => {
  const shown = JSON.stringify(word)
  return shown.length <= longestQuote ? shown : `${shown.slice(0, longestQuote - 2)}…"`
}
