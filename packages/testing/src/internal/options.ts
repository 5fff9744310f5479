/** Checks what a script is built from; a bad value throws where it is written, not when it is played. */
import * as ParseResult from "effect/ParseResult"
import { Options } from "perdure"

/** What a schema class builds from the given fields; the fields it refuses are refused as an option. */
export const built = <A>(option: string, fields: unknown, build: () => A): A => {
  try {
    return build()
  } catch (error) {
    if (!ParseResult.isParseError(error)) throw error
    return Options.refuse(option, fields, error.message.replace(/\s+/g, " "))
  }
}
