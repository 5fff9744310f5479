/**
 * Receipts in a file, one a line.
 *
 * @since 0.1.0
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { constants } from "node:buffer"
import * as Call from "perdure/Call"
import * as Receipt from "perdure/Receipt"
import { Failed, UsageError } from "./CliError.ts"
import * as Text from "./Text.ts"

/**
 * What a file holds: its receipts, and the numbers of the lines that are none.
 *
 * @since 0.1.0
 * @category models
 */
export interface Contents {
  readonly receipts: ReadonlyArray<Receipt.Receipt>
  readonly bad: ReadonlyArray<number>
}

const decode = Schema.decodeUnknownOption(Schema.parseJson(Receipt.Receipt))
const encode = Schema.encodeSync(Schema.parseJson(Receipt.Receipt))

/** The longest time from the epoch that a `Date` can be. */
const lastDate = 8.64e15

const isSane = ({ attempts, duration, startedAt }: Receipt.Receipt): boolean =>
  Math.abs(startedAt) <= lastDate &&
  [duration, ...attempts.flatMap(({ duration, start, wait }) => [duration, start, wait])].every((time) =>
    Duration.toMillis(time) <= lastDate
  )

/**
 * Reads lines of JSON. Blank lines are nothing; a line that holds no receipt, or one from no possible time, is bad.
 *
 * @since 0.1.0
 * @category reading
 */
export const parse = (text: string): Contents => {
  const receipts: Array<Receipt.Receipt> = []
  const bad: Array<number> = []
  for (const [index, line] of text.replace(/^\uFEFF/, "").split("\n").entries()) {
    if (line.trim() === "") continue
    const receipt = Option.filter(decode(line), isSane)
    if (Option.isSome(receipt)) receipts.push(receipt.value)
    else bad.push(index + 1)
  }
  return { receipts, bad }
}

/**
 * A receipt as a line, its end included.
 *
 * @since 0.1.0
 * @category writing
 */
export const line = (receipt: Receipt.Receipt): string => `${encode(receipt)}\n`

const reasons: Readonly<Record<string, string>> = {
  NotFound: "there is no such file or folder",
  PermissionDenied: "permission denied",
  BadResource: "it is not a file"
}

/** Why a file cannot be used, in a few words and without the operating system's. */
const why = (error: { readonly _tag: string; readonly reason?: string; readonly message: string }): string =>
  reasons[error.reason ?? ""] ?? Text.oneLine(error.message)

const withFiles = <A, E>(use: (files: FileSystem.FileSystem) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.provide(Effect.flatMap(FileSystem.FileSystem, use), NodeFileSystem.layer)

/**
 * The text of a file.
 *
 * @since 0.1.0
 * @category reading
 */
export const read = (path: string): Effect.Effect<string, UsageError> => {
  const unreadable = (why: string) => new UsageError({ line: `${Text.oneLine(path)} cannot be read: ${why}` })
  return withFiles((files) =>
    Effect.flatMap(
      Effect.mapError(files.stat(path), (error) => unreadable(why(error))),
      ({ size }) =>
        size > BigInt(constants.MAX_STRING_LENGTH)
          ? unreadable("it is larger than 512 MiB; split it between two lines")
          : Effect.mapError(files.readFileString(path), (error) => unreadable(why(error)))
    )
  )
}

/**
 * Replaces a file.
 *
 * @since 0.1.0
 * @category writing
 */
export const write = (path: string, text: string): Effect.Effect<void, Failed> =>
  withFiles((files) => files.writeFileString(path, text)).pipe(
    Effect.mapError((error) => new Failed({ lines: [`${Text.oneLine(path)} cannot be written: ${why(error)}`] }))
  )

const append = (path: string, text: string) =>
  withFiles((files) => files.writeFileString(path, text, { flag: "a" })).pipe(
    Effect.mapError((error) => `${Text.oneLine(path)} cannot be written: ${why(error)}`)
  )

/**
 * Adds the receipt of every call that is made inside an effect to a file, also of calls that fail or are interrupted. It
 * fails at once when the file cannot be written, and before anything is asked; without a file it does nothing.
 *
 * @since 0.1.0
 * @category writing
 */
export const recording =
  (path: Option.Option<string>) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | UsageError | Failed, R> =>
    Option.match(path, {
      onNone: (): Effect.Effect<A, E | UsageError | Failed, R> => self,
      onSome: (path) =>
        Effect.suspend(() => {
          const receipts: Array<Receipt.Receipt> = []
          const observed = Call.observe((event) => {
            if (event._tag === "Ended") receipts.push(event.receipt)
          })(self)
          const written = Effect.suspend(() => append(path, receipts.map(line).join("")))
          return Effect.zipRight(
            Effect.mapError(append(path, ""), (line) => new UsageError({ line })),
            Effect.uninterruptibleMask((restore) =>
              Effect.flatMap(
                Effect.exit(restore(observed)),
                (exit) =>
                  Effect.zipRight(
                    Exit.isSuccess(exit)
                      ? Effect.mapError(written, (line) => new Failed({ lines: [line] }))
                      : Effect.catchAll(written, (line) => Effect.logWarning(line)),
                    exit
                  )
              )
            )
          )
        })
    })
