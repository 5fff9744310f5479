/** Reads what a schema describes from variables, one for each field, so that no field can be forgotten. */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as AST from "effect/SchemaAST"

/** `maxRetryAfter` is `MAX_RETRY_AFTER`. */
export const nameOf = (field: string): string => field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()

const membersOf = (ast: AST.AST): ReadonlyArray<AST.AST> => AST.isUnion(ast) ? ast.types.flatMap(membersOf) : [ast]

const words: { readonly [word: string]: boolean } = {
  true: true,
  yes: true,
  on: true,
  "1": true,
  false: false,
  no: false,
  off: false,
  "0": false
}

/** The value that a text stands for; the text, where it stands for none, for the schema to refuse. */
const valueOf = (members: ReadonlyArray<AST.AST>, text: string): unknown => {
  const is = (refinement: (ast: AST.AST) => boolean) => members.some((member) => refinement(member))
  if (is(AST.isTupleType)) return Either.getOrElse(Either.try((): unknown => JSON.parse(text)), () => text)
  if (is(AST.isStringKeyword)) return text
  if (is(AST.isNumberKeyword) && /^\s*-?\d+(\.\d+)?(e[+-]?\d+)?\s*$/i.test(text)) return Number(text)
  if (is(AST.isBooleanKeyword)) return words[text.trim().toLowerCase()] ?? text
  return text
}

type Read = Config.Config<unknown>

const field = (name: string, ast: AST.AST): Read => {
  const members = membersOf(ast)
  const key = nameOf(name)
  const whole = Config.option(Config.string(key))
  const group = members.find(AST.isTypeLiteral)
  if (group === undefined) {
    return Config.map(whole, Option.match({ onNone: () => undefined, onSome: (text) => valueOf(members, text) }))
  }
  return Config.all([whole, Config.nested(struct(group), key)]).pipe(
    Config.mapOrFail(([word, fields]) => {
      if (Option.isNone(word)) return Either.right(fields)
      if (word.value === "on") return Either.right(fields ?? {})
      if (fields === undefined || word.value === "off") return Either.right(valueOf(members, word.value))
      const message = `expected "on" or "off" beside variables below it, got ${JSON.stringify(word.value)}`
      return Either.left(ConfigError.InvalidData([key], message))
    })
  )
}

const isGiven = ([, value]: readonly [string, unknown]) => value !== undefined

/** An object of what is given, or `undefined` where nothing is. */
const struct = (ast: AST.TypeLiteral): Config.Config<object | undefined> =>
  Config.map(
    Config.all(ast.propertySignatures.map(({ name, type }) =>
      Config.map(field(String(name), type), (value): readonly [string, unknown] => [String(name), value])
    )),
    (all) => {
      const given = all.filter(isGiven)
      return given.length === 0 ? undefined : Object.fromEntries(given)
    }
  )

/**
 * What is given of a struct, as its schema decodes it. A variable is the name of a field in capitals, below the name of
 * what it is a field of. `on` stands for a struct with nothing said otherwise, `off` goes before its fields; a list is JSON.
 */
export const variables = (ast: AST.AST): Config.Config<object> => {
  const encoded = AST.encodedAST(ast)
  return AST.isTypeLiteral(encoded)
    ? Config.map(struct(encoded), (given) => given ?? {})
    : Config.succeed({})
}
