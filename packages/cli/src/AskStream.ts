/**
 * An answer that is printed while it comes.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as LlmError from "perdure/LlmError"
import * as LlmProvider from "perdure/LlmProvider"
import type * as LlmRequest from "perdure/LlmRequest"
import * as LlmResponse from "perdure/LlmResponse"
import * as StreamPart from "perdure/StreamPart"
import * as CallSummary from "./CallSummary.ts"
import type { Io } from "./Io.ts"
import * as Progress from "./Progress.ts"
import * as Text from "./Text.ts"
import * as Words from "./Words.ts"

/** Takes the parts one after another. */
interface Printer {
  readonly part: (part: StreamPart.StreamPart) => void
  /** Leaves the output at the start of a line, however the stream ended. */
  readonly end: () => void
}

/** What a reader is told when the answer starts again. */
const startsAgain = (part: typeof StreamPart.Restarted.Type): string =>
  `[cut; ${Words.target(part)} starts again, and what came before is void]`

/**
 * The words of an answer as they come, on standard output. Where a person is watching, the reasoning goes before them,
 * dim, to standard error; elsewhere it is left out, and so it is where it could not be told from the answer.
 */
const words = (io: Io): Printer => {
  const { err, out } = io
  let midLine = false
  let thinking = false
  let usage = new LlmResponse.Usage({})
  const breakLine = () => {
    if (midLine) out.write("\n")
    midLine = false
  }
  const stopThinking = () => {
    if (thinking) err.write("\n")
    thinking = false
  }
  return {
    part: (part) => {
      switch (part._tag) {
        case "TextDelta": {
          if (part.text === "") return
          stopThinking()
          out.write(out.interactive ? Text.harmless(part.text) : part.text)
          midLine = !part.text.endsWith("\n")
          return
        }
        case "ReasoningDelta": {
          if (!err.interactive || !err.colour || part.text === "") return
          if (!thinking && out.interactive) breakLine()
          thinking = true
          err.write(Text.render([Text.span(Text.harmless(part.text), "dim")], true))
          return
        }
        case "Usage":
          usage = part.usage
          return
        case "Restarted": {
          stopThinking()
          breakLine()
          const notice = out.interactive ? out : err
          notice.write(`${Text.render([Text.span(startsAgain(part), "busy")], notice.colour)}\n`)
          return
        }
        case "Finish":
          stopThinking()
          breakLine()
          return CallSummary.summary({ ...part, usage }, io)
        case "ToolCallStart":
        case "ToolCallDelta":
        case "ToolCallEnd":
          return
      }
    },
    end: () => {
      stopThinking()
      breakLine()
    }
  }
}

const encode = Schema.encodeSync(StreamPart.StreamPart)

/** Every part as a line of JSON. */
const jsonLines = ({ out }: Io): Printer => ({
  part: (part) => out.write(`${JSON.stringify(encode(part))}\n`),
  end: () => {}
})

/** Opened in the scope of the caller, since the progress is over at the first words and the stream is not. */
const open = (request: LlmRequest.LlmRequest, options: LlmProvider.StreamOptions, { err }: Io) =>
  Effect.flatMap(Effect.scope, (scope) =>
    LlmProvider.open(request, options).pipe(
      Effect.provideService(Scope.Scope, scope),
      err.interactive ? Progress.show(err) : (self) => self
    ))

/**
 * Asks, and prints the answer as it comes, no faster than it is read. Interrupting it closes the connection at once. The
 * receipt goes to standard error at the end; with `json`, every part is a line, the receipt in the last.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (
  request: LlmRequest.LlmRequest,
  options: LlmProvider.StreamOptions,
  json: boolean,
  io: Io
): Effect.Effect<void, LlmError.LlmError, LlmProvider.LlmProvider> =>
  Effect.scoped(Effect.gen(function*() {
    const printer = json ? jsonLines(io) : words(io)
    const { parts } = yield* open(request, options, io)
    yield* Stream.runForEach(parts, (part) =>
      Effect.suspend(() => {
        printer.part(part)
        return io.out.drained
      })).pipe(Effect.ensuring(Effect.sync(printer.end)))
  }))
