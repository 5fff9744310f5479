/**
 * The steps of a script: what a `ScriptedProvider` does when it is asked, one step a call.
 *
 * The failures are in `Failures`; all of it is exported from the package's root, so that a test reads
 * `ScriptedProvider.layer([rateLimited("2 seconds"), answer("hi")])`.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import { LlmRequest, LlmResponse, StreamPart } from "perdure"
import type { LlmError, Receipt } from "perdure"
import { Options } from "perdure"
import { built } from "./internal/options.ts"

/**
 * A complete answer. Read as a stream, it comes word by word, then its usage where it has one, then the `Finish`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Answer {
  readonly _tag: "Answer"
  readonly response: (by: Receipt.Target) => LlmResponse.LlmResponse
}

/**
 * What is known where a failure happens: who fails, and what of a streamed answer came before.
 *
 * @since 0.1.0
 * @category models
 */
export interface Broken {
  readonly by: Receipt.Target
  readonly partial: string
  readonly usage: LlmResponse.Usage | undefined
}

/**
 * A failure. As a step it fails the call; as a piece of {@link stream} it fails the stream there.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fail {
  readonly _tag: "Fail"
  readonly name: string
  readonly error: (where: Broken) => LlmError.LlmError
}

/**
 * A wait on the `Clock`, and then a step.
 *
 * @since 0.1.0
 * @category models
 */
export interface After {
  readonly _tag: "After"
  readonly duration: Duration.Duration
  readonly step: Step
}

/**
 * No answer at all, until interrupted.
 *
 * @since 0.1.0
 * @category models
 */
export interface Never {
  readonly _tag: "Never"
}

/**
 * A streamed answer. Asked for as a complete answer, it is collected into one.
 *
 * @since 0.1.0
 * @category models
 */
export interface Streamed {
  readonly _tag: "Streamed"
  readonly pieces: ReadonlyArray<Exclude<Piece, string>>
}

/**
 * A step that is decided by the request.
 *
 * @since 0.1.0
 * @category models
 */
export interface Respond {
  readonly _tag: "Respond"
  readonly decide: (request: LlmRequest.LlmRequest, index: number) => Step
}

/**
 * What happens in one call.
 *
 * @since 0.1.0
 * @category models
 */
export type Step = Answer | Fail | After | Never | Streamed | Respond

/**
 * A step that is played several times.
 *
 * @since 0.1.0
 * @category models
 */
export interface Times {
  readonly _tag: "Times"
  readonly n: number
  readonly step: Step
}

/**
 * A step that is played from here on, for every call.
 *
 * @since 0.1.0
 * @category models
 */
export interface Always {
  readonly _tag: "Always"
  readonly step: Step
}

/**
 * What is played, in order. {@link always} can only come last.
 *
 * @since 0.1.0
 * @category models
 */
export type Script =
  | ReadonlyArray<Step | Times>
  | readonly [...ReadonlyArray<Step | Times>, Always]

/**
 * A wait on the `Clock` between two pieces of a stream.
 *
 * @since 0.1.0
 * @category models
 */
export interface Pause {
  readonly _tag: "Pause"
  readonly duration: Duration.Duration
}

/**
 * A piece of a {@link stream}: text, any other part that a provider sends, a pause, or what ends it badly.
 *
 * @since 0.1.0
 * @category models
 */
export type Piece = string | Exclude<StreamPart.StreamPart, { readonly _tag: "Restarted" }> | Pause | Fail | Never

/**
 * The parts of an {@link answer} that a test wants to set. What is absent is a plain one: the scripted provider's own
 * names, no usage, and the finish reason `toolCalls` when it calls tools, otherwise `stop`.
 *
 * @since 0.1.0
 * @category models
 */
export interface AnswerFields {
  /** Text, or text, reasoning and tool calls in the order the model wrote them. */
  readonly content?: string | ReadonlyArray<LlmRequest.AssistantPart> | undefined
  readonly finishReason?: LlmResponse.FinishReason | undefined
  readonly usage?: ConstructorParameters<typeof LlmResponse.Usage>[0] | undefined
  /** The provider's id of the answer; not in a stream, whose parts have no place for it. */
  readonly id?: string | undefined
  /** The provider that answers; not in a stream. */
  readonly provider?: string | undefined
  /** The model that answers, by the name the provider gives it: often a dated name of the one asked for. */
  readonly model?: string | undefined
  /** Fields of the provider's answer that have no place of their own; not in a stream. */
  readonly extras?: Readonly<Record<string, unknown>> | undefined
}

/**
 * Answers, at once.
 *
 * @since 0.1.0
 * @category constructors
 */
export const answer = (fields: string | AnswerFields): Answer => {
  const { content = "", extras = {}, id, usage = {}, ...own } = typeof fields === "string"
    ? { content: fields }
    : fields
  const parts = typeof content !== "string" ? content : content === "" ? [] : [LlmRequest.text(content)]
  const finishReason = own.finishReason ?? reasonOf(parts.some(({ _tag }) => _tag === "ToolCall"))
  const response: Answer["response"] = ({ model, provider }) =>
    new LlmResponse.LlmResponse({
      id,
      provider: own.provider ?? provider,
      model: own.model ?? model,
      content: parts,
      finishReason,
      usage: new LlmResponse.Usage(usage),
      extras
    })
  built("answer(fields)", fields, () => response({ provider: "", model: "" }))
  return { _tag: "Answer", response }
}

const reasonOf = (callsTools: boolean): LlmResponse.FinishReason => callsTools ? "toolCalls" : "stop"

/**
 * Waits on the `Clock` before a step. In a stream it is the time to its first piece.
 *
 * @since 0.1.0
 * @category constructors
 */
export const after = (duration: Duration.DurationInput, step: Step): After => ({
  _tag: "After",
  duration: Options.duration("after(duration)", duration, "zero"),
  step
})

/**
 * Hangs until interrupted. As the last piece of a {@link stream} it is a stall.
 *
 * @since 0.1.0
 * @category constructors
 */
export const never: Never = { _tag: "Never" }

/**
 * Answers as a stream, piece by piece. It is completed with a `Finish` unless it ends with one of its own, with a
 * failure or with {@link never}; nothing can come after those.
 *
 * @example
 * ```ts
 * import { pause, stream, streamInterrupted } from "@perdure/testing"
 *
 * const slow = stream(["Hel", pause("1 second"), "lo"])
 * const cut = stream(["Hel", pause("1 second"), streamInterrupted()])
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const stream = (pieces: ReadonlyArray<Piece>): Streamed => {
  const all = pieces.map((piece) => typeof piece === "string" ? StreamPart.TextDelta.make({ text: piece }) : piece)
  const end = all.findIndex(({ _tag }) => _tag === "Finish" || _tag === "Fail" || _tag === "Never")
  if (end === -1) {
    const finishReason = reasonOf(all.some(({ _tag }) => _tag === "ToolCallStart"))
    return { _tag: "Streamed", pieces: [...all, StreamPart.Finish.make({ finishReason })] }
  }
  return end === all.length - 1
    ? { _tag: "Streamed", pieces: all }
    : Options.refuse("stream(pieces)", `${all.length - 1 - end} after the end`, "no piece after a Finish or a failure")
}

/**
 * Waits on the `Clock` between two pieces of a {@link stream}.
 *
 * @since 0.1.0
 * @category constructors
 */
export const pause = (duration: Duration.DurationInput): Pause => ({
  _tag: "Pause",
  duration: Options.duration("pause(duration)", duration, "zero")
})

/**
 * Decides by the request what to do. The index is that of the call at this provider, from 0. What `decide` throws is a
 * defect of the call.
 *
 * @since 0.1.0
 * @category constructors
 */
export const respond = (decide: Respond["decide"]): Respond => ({ _tag: "Respond", decide })

/**
 * Plays a step `n` times. A whole number of at least 1.
 *
 * @since 0.1.0
 * @category constructors
 */
export const times = (n: number, step: Step): Times => ({ _tag: "Times", n: Options.integer("times(n)", n, 1), step })

/**
 * Plays a step for every call from here on. It can only be the last of a script, and it is no fault when it is never
 * played.
 *
 * @since 0.1.0
 * @category constructors
 */
export const always = (step: Step): Always => ({ _tag: "Always", step })
