#!/usr/bin/env node
/**
 * The command `perdure`: reads the command line, does what it asks, and ends with 0 when that worked, 1 when it did not,
 * 2 when the command line was wrong, and 128 and the signal's number when interrupted.
 *
 * @since 0.1.0
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import { text } from "node:stream/consumers"
import * as LlmError from "perdure/LlmError"
import * as Telemetry from "perdure/Telemetry"
import { type CliError, Failed, UsageError } from "./CliError.ts"
import * as Commands from "./Commands.ts"
import * as Help from "./Help.ts"
import * as Terminal from "./Terminal.ts"
import * as Text from "./Text.ts"

const out = Terminal.of(process.stdout, process.env)
const err = Terminal.of(process.stderr, process.env)

const stdin = Effect.tryPromise({
  try: () => text(process.stdin),
  catch: () => new Failed({ lines: ["standard input could not be read"] })
})

const Package = Schema.parseJson(Schema.Struct({ version: Schema.String }))

const version = Effect.sync(() =>
  Schema.decodeUnknownSync(Package)(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version
)

/** In the workspace the program is a script of pnpm's, and on nobody's path. */
const name = process.env["npm_lifecycle_event"] === "demo" ? "pnpm" : Commands.program

// The parts that talk to the network are loaded when a command needs them: help and refusals come at once.
const perform = (request: Commands.Request): Effect.Effect<void, CliError> => {
  switch (request._tag) {
    case "Help":
      return Effect.sync(() => Terminal.print(out, Help.lines(request.page, Terminal.widthOf(out))))
    case "Version":
      return Effect.map(version, (version) => out.write(`${version}\n`))
    case "Demo":
      return Effect.flatMap(
        Effect.promise(() => import("./Demo.ts")),
        ({ run }) => run(out, { name, ...request.input })
      )
    case "Ask":
      return Effect.flatMap(
        Effect.promise(() => import("./Ask.ts")),
        ({ run }) => run(request.input, { out, err, stdin })
      )
    case "Explain":
      return Effect.flatMap(
        Effect.promise(() => import("./Explain.ts")),
        ({ run }) => run(request.input, { out, err, stdin })
      )
    case "Report":
      return Effect.flatMap(
        Effect.promise(() => import("./Report.ts")),
        ({ run }) => run(request.input, { out, err, stdin })
      )
  }
}

/** Standard output is for answers: what is logged goes to standard error, and only when something is wrong. */
const logging = Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger))

const complain = (error: CliError): void => {
  const lines = error._tag === "UsageError" ? [error.line] : error.lines
  err.write(lines.map((line) => `${Commands.program}: ${Text.oneLine(line)}\n`).join(""))
}

const defect = (cause: Cause.Cause<never>): string => `internal error: ${LlmError.detail(String(Cause.squash(cause)))}`

const exitCode = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isSuccess(exit)) return 0
  if (Cause.isInterruptedOnly(exit.cause)) return 128 + signal
  return Cause.squash(exit.cause) instanceof UsageError ? 2 : 1
}

const numbers = { SIGINT: 2, SIGTERM: 15 } as const
let signal: number = numbers.SIGINT
for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => signal = numbers[name])

// A reader that has read enough, such as `head`, is no error.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1))
}

Commands.parse(process.argv.slice(2)).pipe(
  Effect.flatMap(perform),
  Effect.tapError((error) => Effect.sync(() => complain(error))),
  Effect.tapDefect((cause) => Effect.sync(() => complain(new Failed({ lines: [defect(cause)] })))),
  Effect.provide(logging),
  // What a line of the log would say of a call, its receipt says better.
  Telemetry.withLogs("None"),
  Logger.withMinimumLogLevel(LogLevel.Warning),
  (program) =>
    NodeRuntime.runMain(program, {
      disableErrorReporting: true,
      disablePrettyLogger: true,
      teardown: (exit, onExit) => onExit(exitCode(exit))
    })
)
