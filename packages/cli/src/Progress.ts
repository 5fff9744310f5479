/**
 * What is going on in a call, while it goes on: a line that counts down where a person is watching, plain lines
 * elsewhere.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Call from "perdure/Call"
import type * as Receipt from "perdure/Receipt"
import * as Durations from "./Durations.ts"
import * as Terminal from "./Terminal.ts"
import * as Text from "./Text.ts"
import * as Words from "./Words.ts"

/**
 * What a call is doing now.
 *
 * @since 0.1.0
 * @category models
 */
export type State =
  | { readonly _tag: "Idle" }
  | { readonly _tag: "Asking"; readonly target: Receipt.Target; readonly attempt: number; readonly since: number }
  | { readonly _tag: "Waiting"; readonly because: string; readonly since: number; readonly until: number }

/**
 * @since 0.1.0
 * @category constructors
 */
export const idle: State = { _tag: "Idle" }

/**
 * What a call is doing after an event.
 *
 * @since 0.1.0
 * @category transitions
 */
export const next = (state: State, event: Call.Event): State => {
  switch (event._tag) {
    case "AttemptStarted":
      return { _tag: "Asking", target: event.target, attempt: event.attempt, since: event.at }
    case "Waiting":
      return {
        _tag: "Waiting",
        because: event.because,
        since: event.at,
        until: event.at + Duration.toMillis(event.wait)
      }
    case "Started":
    case "AttemptEnded":
    case "Discarded":
    case "GaveUp":
    case "FellBack":
    case "Refused":
    case "CircuitChanged":
    case "KeyBenched":
    case "BudgetExhausted":
    case "FirstOutput":
      return state
    case "Ended":
      return idle
  }
}

const spinner = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"]
const spinnerStep = 80
const meterCells = 16

const meter = (share: number): ReadonlyArray<Text.Span> => {
  const full = Math.round(Math.max(0, Math.min(1, share)) * meterCells)
  return [Text.span("━".repeat(full), "accent"), Text.span("━".repeat(meterCells - full), "dim")]
}

/**
 * The live line at a time in milliseconds: for a wait, what is left of it and why it is made.
 *
 * @since 0.1.0
 * @category rendering
 */
export const frame = (state: State, now: number): Text.Line => {
  const turn = Text.span(`  ${spinner[Math.floor(now / spinnerStep) % spinner.length] ?? ""} `, "accent")
  switch (state._tag) {
    case "Idle":
      return []
    case "Asking":
      return [
        turn,
        Text.span(`asking ${Words.target(state.target)}`),
        Text.span(`  attempt ${state.attempt}, ${tenths(now - state.since)}`, "dim")
      ]
    case "Waiting":
      return [
        turn,
        Text.span(`waiting ${tenths(state.until - now)} `),
        ...meter((now - state.since) / (state.until - state.since)),
        Text.span(`  ${Words.failure(state.because)}`, "dim")
      ]
  }
}

const tenths = (millis: number): string => {
  const left = Math.max(0, millis)
  return left < 60_000 ? `${(left / 1000).toFixed(1)}s` : Durations.short(left)
}

/**
 * The plain line for an event, where it deserves one.
 *
 * @since 0.1.0
 * @category rendering
 */
export const line = (event: Call.Event): Text.Line | undefined => {
  switch (event._tag) {
    case "AttemptEnded": {
      const hint = event.outcome._tag === "Failed" && event.outcome.retryAfter !== undefined
        ? `, asks for ${Durations.short(event.outcome.retryAfter)}`
        : ""
      return [
        Text.span(`  attempt ${event.attempt}: ${Words.target(event.target)} `),
        Words.outcome(event.outcome),
        Text.span(hint)
      ]
    }
    case "Waiting":
      return [Text.span(`  waiting ${Durations.short(event.wait)}`, "dim")]
    case "FellBack":
      return [Text.span(`  falling back to ${Words.target(event.to)}`)]
    case "Refused":
      return [Text.span(`  ${Words.target(event.target)} not asked: `), Text.span(Words.failure(event.because), "busy")]
    case "CircuitChanged": {
      const until = event.openFor === undefined ? "" : ` for ${Durations.short(event.openFor)}`
      return [Text.span(`  circuit ${Text.oneLine(event.circuit)}: ${Words.phase(event.to)}${until}`, "dim")]
    }
    case "Started":
    case "AttemptStarted":
    case "FirstOutput":
    case "Discarded":
    case "GaveUp":
    case "KeyBenched":
    case "BudgetExhausted":
    case "Ended":
      return undefined
  }
}

/**
 * Shows the progress of the calls made inside an effect. The live line is gone and the cursor is back when the effect
 * ends, however it ends; what becomes of a stream that the effect has opened is not shown any more.
 *
 * @since 0.1.0
 * @category combinators
 */
export const show = (terminal: Terminal.Terminal) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    let over = false
    const observed = (observer: Call.Observer) =>
      Effect.ensuring(
        Call.observe((event) => {
          if (!over) observer(event)
        })(self),
        Effect.sync(() => over = true)
      )
    return terminal.live ? live(terminal, observed) : observed((event) => {
      const plain = line(event)
      if (plain !== undefined) Terminal.print(terminal, [plain])
    })
  })

/** The effect keeps the scope that it has: a stream that it opens lives longer than the live line. */
const live = <A, E, R>(
  terminal: Terminal.Terminal,
  observed: (observer: Call.Observer) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    let state: State = idle
    const draw = (now: number) => {
      // One column stays free: a terminal that has filled its last one may wrap at the next character.
      const shown = Text.fitLine(frame(state, now), Terminal.widthOf(terminal) - 1)
      terminal.write(Terminal.cursor.clearLine + Text.render(shown, terminal.colour))
    }
    const drawing = Effect.repeat(
      Effect.map(Clock.currentTimeMillis, draw),
      Schedule.spaced(Duration.millis(spinnerStep))
    )
    return Effect.acquireUseRelease(
      Effect.zipRight(
        Effect.sync(() => terminal.write(Terminal.cursor.hide)),
        Effect.forkDaemon(Effect.interruptible(drawing))
      ),
      () =>
        observed((event) => {
          state = next(state, event)
          draw(event.at)
        }),
      (fiber) =>
        Effect.zipRight(
          Fiber.interrupt(fiber),
          Effect.sync(() => terminal.write(Terminal.cursor.clearLine + Terminal.cursor.show))
        )
    )
  })
