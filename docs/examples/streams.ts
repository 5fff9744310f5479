import { answer, ScriptedProvider, stream, streamInterrupted } from "@perdure/testing"
import { Effect, Stream } from "effect"
import { LlmProvider, StreamPart } from "perdure"

const primary = ScriptedProvider.layer([stream(["The sky is bl", streamInterrupted()])], { provider: "primary" })
const secondary = ScriptedProvider.layer([answer("Blue, by scattering.")], { provider: "secondary" })
const Llm = LlmProvider.orElse(primary, secondary)

/** What a terminal would show: it wipes the line when the answer starts again. */
export const printed = LlmProvider.stream("Why is the sky blue?", { whenCut: "restart" }).pipe(
  Stream.runFold("", (shown, part) => {
    switch (part._tag) {
      case "TextDelta":
        return shown + part.text
      case "Restarted":
        return ""
      default:
        return shown
    }
  }),
  Effect.provide(Llm)
)

/** The same as one answer, with the cut unseen. */
export const whole = LlmProvider.generate("Why is the sky blue?", { via: "stream" }).pipe(Effect.provide(Llm))

/** The parts, put together by hand. */
export const together = Effect.map(
  Stream.runCollect(LlmProvider.stream("Why is the sky blue?", { whenCut: "buffer" })),
  (parts) => StreamPart.toResponse(parts, { provider: "secondary", model: "scripted-model" }).text
).pipe(Effect.provide(Llm))
