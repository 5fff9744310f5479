/** Targets that stream, or that answer when they are told to. */
import { Deferred, Effect, type Exit, Stream } from "effect"
import { LlmError, LlmProvider, type LlmResponse, StreamPart } from "perdure"
import { answer, openAi } from "./provider.ts"

export const text = (value: string) => StreamPart.TextDelta.make({ text: value })
export const finish = StreamPart.Finish.make({ finishReason: "stop", model: "dated" })

type Piece = StreamPart.StreamPart | LlmError.LlmError | "stall"

/** Streams the pieces of one script a call; the last script is repeated. */
export const streaming = (
  scripts: readonly [ReadonlyArray<Piece>, ...Array<ReadonlyArray<Piece>>],
  target: LlmProvider.TargetInfo = openAi
) => {
  const calls: Array<number> = []
  const service = LlmProvider.make({
    ...target,
    generate: () => Effect.dieMessage("only streams"),
    stream: () =>
      Stream.suspend(() => {
        const pieces = scripts[Math.min(calls.length, scripts.length - 1)] ?? scripts[0]
        calls.push(calls.length)
        return Stream.flatMap(
          Stream.fromIterable(pieces),
          (piece): Stream.Stream<StreamPart.StreamPart, LlmError.LlmError> => {
            if (piece === "stall") return Stream.never
            return LlmError.is(piece) ? Stream.fail(piece) : Stream.succeed(piece)
          }
        )
      })
  })
  return { service, calls }
}

/** Reads a stream of a service to its end. */
export const read = (service: LlmProvider.Service) =>
  LlmProvider.stream("hello").pipe(
    Stream.runFold("", (all, part) => part._tag === "TextDelta" ? all + part.text : all),
    Effect.provideService(LlmProvider.LlmProvider, service)
  )

/** Answers in the hand of the test: each call waits until it is ended, in any order. */
export const held = (target: LlmProvider.TargetInfo = openAi) => {
  const waiting: Array<Deferred.Deferred<LlmResponse.LlmResponse, LlmError.LlmError>> = []
  let inFlight = 0
  const service = LlmProvider.make({
    ...target,
    generate: () =>
      Effect.acquireUseRelease(
        Effect.map(Deferred.make<LlmResponse.LlmResponse, LlmError.LlmError>(), (one) => {
          inFlight += 1
          waiting.push(one)
          return one
        }),
        Deferred.await,
        (one) =>
          Effect.sync(() => {
            inFlight -= 1
            const at = waiting.indexOf(one)
            if (at >= 0) waiting.splice(at, 1)
          })
      )
  })
  return {
    service,
    inFlight: () => inFlight,
    end: (how: Exit.Exit<LlmResponse.LlmResponse, LlmError.LlmError> = answered) =>
      Effect.suspend(() => {
        const one = waiting.shift()
        return one === undefined ? Effect.dieMessage("nobody waits") : Effect.zipRight(Deferred.done(one, how), settled)
      })
  }
}

const answered = Effect.runSyncExit(Effect.succeed(answer("hi")))

/** Lets everybody run who can. */
export const settled = Effect.repeatN(Effect.yieldNow(), 20)
