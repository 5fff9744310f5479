/** Plays a step, as a complete answer or as a stream. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type LlmError, type LlmRequest, type LlmResponse, type Receipt, StreamPart } from "perdure"
import type { Broken, Step, Streamed } from "../Script.ts"
import { fromResponse } from "./parts.ts"

/** The call that a step is played for. */
interface Asked {
  readonly by: Receipt.Target
  readonly request: LlmRequest.LlmRequest
  readonly index: number
}

/** What a step is called in messages: never with its text. */
export const nameOf = (step: Step): string => {
  switch (step._tag) {
    case "Answer":
      return "answer"
    case "Fail":
      return step.name
    case "After":
      return `${nameOf(step.step)} after ${Duration.format(step.duration)}`
    case "Never":
      return "never"
    case "Streamed":
      return "stream"
    case "Respond":
      return "respond"
  }
}

export const generate = (step: Step, asked: Asked): Effect.Effect<LlmResponse.LlmResponse, LlmError.LlmError> => {
  switch (step._tag) {
    case "Answer":
      return Effect.sync(() => step.response(asked.by))
    case "Fail":
      return Effect.failSync(() => step.error(unread(asked.by)))
    case "After":
      return Effect.delay(generate(step.step, asked), step.duration)
    case "Never":
      return Effect.never
    case "Streamed":
      return Effect.map(Stream.runCollect(pieces(step, asked.by)), (parts) => StreamPart.toResponse(parts, asked.by))
    case "Respond":
      return Effect.suspend(() => generate(step.decide(asked.request, asked.index), asked))
  }
}

export const stream = (step: Step, asked: Asked): Stream.Stream<StreamPart.StreamPart, LlmError.LlmError> => {
  switch (step._tag) {
    case "Answer":
      return Stream.suspend(() => Stream.fromIterable(fromResponse(step.response(asked.by))))
    case "Fail":
      return Stream.failSync(() => step.error(unread(asked.by)))
    case "After":
      return Stream.unwrap(Effect.as(Effect.sleep(step.duration), stream(step.step, asked)))
    case "Never":
      return Stream.never
    case "Streamed":
      return pieces(step, asked.by)
    case "Respond":
      return Stream.suspend(() => stream(step.decide(asked.request, asked.index), asked))
  }
}

const unread = (by: Receipt.Target): Broken => ({ by, partial: "", usage: undefined })

const pieces = (step: Streamed, by: Receipt.Target): Stream.Stream<StreamPart.StreamPart, LlmError.LlmError> =>
  Stream.suspend(() => {
    let before = unread(by)
    return Stream.flatMap(
      Stream.fromIterable(step.pieces),
      (piece): Stream.Stream<StreamPart.StreamPart, LlmError.LlmError> => {
        switch (piece._tag) {
          case "Pause":
            return Stream.drain(Stream.fromEffect(Effect.sleep(piece.duration)))
          case "Fail":
            return Stream.failSync(() => piece.error(before))
          case "Never":
            return Stream.never
          case "TextDelta":
          case "ReasoningDelta":
          case "ToolCallStart":
          case "ToolCallDelta":
          case "ToolCallEnd":
          case "Usage":
          case "Finish":
            before = {
              by,
              partial: piece._tag === "TextDelta" ? before.partial + piece.text : before.partial,
              usage: piece._tag === "Usage" ? piece.usage : before.usage
            }
            return Stream.succeed(piece)
        }
      }
    )
  })
