/** How the encoding of a request is declined. */
import * as Either from "effect/Either"
import type { Refusal } from "./wire.ts"

/** Thrown inside {@link refusing}, and caught there. */
export class Refused {
  readonly refusal: Refusal
  constructor(param: string, detail: string) {
    this.refusal = { param, detail }
  }
}

/** The text, or why there is none. */
export const refusing = (encode: () => string): Either.Either<string, Refusal> =>
  Either.try({
    try: encode,
    catch: (thrown) =>
      thrown instanceof Refused
        ? thrown.refusal
        : { param: "request", detail: "the request holds a value that JSON cannot express" }
  })

/** Refuses extras that would change how the reply has to be read. */
export const checkStream = (extras: Readonly<Record<string, unknown>>, streaming: boolean, name: string): void => {
  const stream = extras["stream"]
  if (stream === undefined || stream === streaming || (stream === null && !streaming)) return
  throw new Refused(`extras.${name}.stream`, "whether to stream is decided by how the provider is called")
}
