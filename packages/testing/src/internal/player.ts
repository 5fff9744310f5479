/** Where a script stands: which step is next, and what was asked so far. Mutable, since every change is one synchronous step. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { LlmError, LlmRequest, LlmResponse, Receipt, StreamPart } from "perdure"
import { Options } from "perdure"
import type { Script, Step } from "../Script.ts"
import type { Call, Outcome } from "../ScriptedProvider.ts"
import { NotUsedUp, RanOut } from "../ScriptError.ts"
import * as Play from "./play.ts"

export interface Entry {
  readonly step: Step
  /** How many calls it answers; infinite for `always`. */
  readonly count: number
}

/** A script with its repetitions counted. */
export const entriesOf = (option: string, script: Script): ReadonlyArray<Entry> =>
  script.map((entry, at) => {
    switch (entry._tag) {
      case "Times":
        return { step: entry.step, count: entry.n }
      case "Always":
        return at === script.length - 1
          ? { step: entry.step, count: Infinity }
          : Options.refuse(option, `always, as step ${at + 1} of ${script.length}`, "always as the last step")
      case "Answer":
      case "Fail":
      case "After":
      case "Never":
      case "Streamed":
      case "Respond":
        return { step: entry, count: 1 }
    }
  })

const finite = (entries: ReadonlyArray<Entry>): number =>
  entries.reduce((sum, { count }) => count === Infinity ? sum : sum + count, 0)

/** The steps that `played` calls leave over, each with its place in the script. */
const leftOver = (entries: ReadonlyArray<Entry>, played: number): ReadonlyArray<string> => {
  let place = 1
  return entries.flatMap(({ count, step }) => {
    const from = Math.max(place, played + 1)
    const to = place + count - 1
    place = to + 1
    if (from > to || to === Infinity) return []
    return [`${from === to ? from : `${from}–${to}`} ${Play.nameOf(step)}`]
  })
}

interface Recorded extends Omit<Call, "outcome"> {
  outcome: Outcome
}

/** A script being played. */
export class Player {
  private readonly entries: ReadonlyArray<Entry>
  private readonly recorded: Array<Recorded> = []
  private readonly by: Receipt.Target
  private readonly steps: number

  constructor(entries: ReadonlyArray<Entry>, by: Receipt.Target) {
    this.entries = entries
    this.steps = finite(entries)
    this.by = by
  }

  get calls(): ReadonlyArray<Call> {
    return this.recorded.map((call) => ({ ...call }))
  }

  get remaining(): number {
    return Math.max(0, this.steps - this.recorded.length)
  }

  /** The defect of a script that was not used up, if it was not. */
  get notUsedUp(): Option.Option<NotUsedUp> {
    const played = this.recorded.length
    return this.remaining === 0
      ? Option.none()
      : Option.some(
        new NotUsedUp({ ...this.by, calls: played, steps: this.steps, left: leftOver(this.entries, played) })
      )
  }

  private stepAt(index: number): Step | undefined {
    let end = 0
    return this.entries.find(({ count }) => index < (end += count))?.step
  }

  private begin(kind: Call["kind"], request: LlmRequest.LlmRequest, at: number): readonly [Recorded, Step | undefined] {
    const step = this.stepAt(this.recorded.length)
    const call: Recorded = {
      request,
      kind,
      at,
      step: step === undefined ? undefined : Play.nameOf(step),
      outcome: { _tag: "Running" }
    }
    this.recorded.push(call)
    return [call, step]
  }

  private ranOut({ kind, request }: Recorded, index: number): Effect.Effect<never> {
    const messages = request.messages.length
    return Effect.die(new RanOut({ ...this.by, call: index + 1, steps: this.steps, kind, messages }))
  }

  generate(request: LlmRequest.LlmRequest): Effect.Effect<LlmResponse.LlmResponse, LlmError.LlmError> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.clockWith((clock) => {
        const index = this.recorded.length
        const [call, step] = this.begin("generate", request, clock.unsafeCurrentTimeMillis())
        const play = step === undefined
          ? this.ranOut(call, index)
          : Play.generate(step, { by: this.by, request, index })
        return Effect.onExit(
          restore(play),
          (exit) => Effect.sync(() => Exit.isSuccess(exit) ? answered(call) : broke(call, exit.cause))
        )
      })
    )
  }

  stream(request: LlmRequest.LlmRequest): Stream.Stream<StreamPart.StreamPart, LlmError.LlmError> {
    return Stream.unwrapScoped(
      Effect.clockWith((clock) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            const index = this.recorded.length
            const [call, step] = this.begin("open", request, clock.unsafeCurrentTimeMillis())
            return { index, call, step }
          }),
          ({ call }) => Effect.sync(() => end(call, { _tag: "Interrupted" }))
        )
      ).pipe(
        Effect.map(({ call, index, step }) =>
          (step === undefined
            ? Stream.fromEffect(this.ranOut(call, index))
            : Play.stream(step, { by: this.by, request, index }))
            .pipe(
              // Looking at each part also puts each in a chunk of its own, as they come over a wire.
              Stream.tap((part) => Effect.sync(() => part._tag === "Finish" ? answered(call) : undefined)),
              Stream.tapErrorCause((cause) => Effect.sync(() => broke(call, cause)))
            )
        )
      )
    )
  }
}

/** Only the first end counts. */
const end = (call: Recorded, outcome: Outcome): void => {
  if (call.outcome._tag === "Running") call.outcome = outcome
}

const answered = (call: Recorded): void => end(call, { _tag: "Answered" })

const broke = (call: Recorded, cause: Cause.Cause<LlmError.LlmError>): void =>
  end(
    call,
    Option.match(Cause.failureOption(cause), {
      onSome: (error): Outcome => ({ _tag: "Failed", error }),
      onNone: (): Outcome =>
        Cause.isInterruptedOnly(cause) ? { _tag: "Interrupted" } : { _tag: "Died", defect: Cause.squash(cause) }
    })
  )
