/**
 * A provider that plays a script, to test programs that use an `LlmProvider`: each call gets the next step. Time passes
 * only on the `Clock`, so a `TestClock` plays hours of waiting at once.
 *
 * A test fails when its program asks more often than the script has steps, and when it asks less often.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { LlmProvider } from "perdure"
import type { LlmError, LlmRequest } from "perdure"
import { Options as Checked } from "perdure"
import { entriesOf, Player } from "./internal/player.ts"
import type { Script } from "./Script.ts"

/**
 * How a call ended, as the scripted provider saw it. A stream is `Answered` when its `Finish` was read, and
 * `Interrupted` when its reader left before.
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome =
  | { readonly _tag: "Running" }
  | { readonly _tag: "Answered" }
  | { readonly _tag: "Failed"; readonly error: LlmError.LlmError }
  | { readonly _tag: "Interrupted" }
  | { readonly _tag: "Died"; readonly defect: unknown }

/**
 * One call that was made.
 *
 * @since 0.1.0
 * @category models
 */
export interface Call {
  readonly request: LlmRequest.LlmRequest
  /** Whether a complete answer or a stream was asked for. */
  readonly kind: "generate" | "open"
  /** The `Clock`'s time, in milliseconds, when it was asked. */
  readonly at: number
  /** The step that was played, for example `rateLimited`; absent when the script had run out. */
  readonly step: string | undefined
  readonly outcome: Outcome
}

/**
 * A script being played.
 *
 * @since 0.1.0
 * @category models
 */
export interface Scripted {
  /** The provider that plays it. */
  readonly service: LlmProvider.Service
  /** {@link service} and this, as a layer: every use of it plays on in the same script. */
  readonly layer: Layer.Layer<LlmProvider.LlmProvider | ScriptedProvider>
  /** The calls so far, in the order in which they were made. */
  readonly calls: Effect.Effect<ReadonlyArray<Call>>
  /** How many steps are still to be played; an `always` is not counted. */
  readonly remaining: Effect.Effect<number>
}

/**
 * The script that answers the calls of a program under test, for looking at them. Of two scripts in one fallback chain
 * it is the first; build those that are to be told apart with {@link make}.
 *
 * @since 0.1.0
 * @category tags
 */
export class ScriptedProvider extends Context.Tag("@perdure/testing/ScriptedProvider")<ScriptedProvider, Scripted>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The provider's name, in failures, responses and receipts.
   * @default "scripted"
   */
  readonly provider?: string | undefined
  /**
   * The model's name.
   * @default "scripted-model"
   */
  readonly model?: string | undefined
  /** How many tokens the model's context window holds. Unknown by default. */
  readonly contextWindow?: number | undefined
  /**
   * What becomes of steps that were not played when the scope closes: a `ScriptError.NotUsedUp` defect, or nothing. When it
   * closes on a failure or an interruption, nothing is said, so that the first problem is the one that is seen.
   * @default "fail"
   */
  readonly unused?: "fail" | "allow" | undefined
}

/**
 * Starts a script. When the scope closes with success, steps that were not played are a defect; see {@link Options}.
 *
 * Use it where a program is given several scripts and the test looks at each of them; otherwise {@link layer}. A bad
 * option, or an `always` that is not the last step, throws `InvalidOption` at once.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (script: Script, options: Options = {}): Effect.Effect<Scripted, never, Scope.Scope> =>
  start("ScriptedProvider.make", script, options)

/**
 * A provider that plays a script, as a layer: in the place of a real one, under policies, in fallback chains. Each time
 * the layer is built, the script starts anew.
 *
 * @example
 * ```ts
 * import { answer, rateLimited, ScriptedProvider } from "@perdure/testing"
 * import { Effect } from "effect"
 * import { LlmProvider, Policy, Retry } from "perdure"
 *
 * const Llm = ScriptedProvider.layer([rateLimited("2 seconds"), answer("hi")]).pipe(
 *   LlmProvider.withPolicy(Policy.retry(Retry.standard))
 * )
 *
 * const program = Effect.gen(function*() {
 *   const response = yield* LlmProvider.generate("Say hi.")
 *   const calls = yield* ScriptedProvider.calls
 *   return [response.text, calls.length]
 * }).pipe(Effect.provide(Llm))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  script: Script,
  options: Options = {}
): Layer.Layer<LlmProvider.LlmProvider | ScriptedProvider> =>
  Layer.scopedContext(Effect.map(start("ScriptedProvider.layer", script, options), contextOf))

/**
 * The calls so far of the script that answers the program.
 *
 * @since 0.1.0
 * @category accessors
 */
export const calls: Effect.Effect<ReadonlyArray<Call>, never, ScriptedProvider> = Effect.flatMap(
  ScriptedProvider,
  (scripted) => scripted.calls
)

/**
 * How many steps of the script that answers the program are still to be played.
 *
 * @since 0.1.0
 * @category accessors
 */
export const remaining: Effect.Effect<number, never, ScriptedProvider> = Effect.flatMap(
  ScriptedProvider,
  (scripted) => scripted.remaining
)

const contextOf = (scripted: Scripted): Context.Context<LlmProvider.LlmProvider | ScriptedProvider> =>
  Context.make(LlmProvider.LlmProvider, scripted.service).pipe(Context.add(ScriptedProvider, scripted))

/** Everything is checked now; the script starts each time the effect is run. */
const start = (name: string, script: Script, options: Options): Effect.Effect<Scripted, never, Scope.Scope> => {
  const { contextWindow, unused = "fail" } = options
  const by = {
    provider: Checked.text(`${name}({ provider })`, options.provider ?? "scripted"),
    model: Checked.text(`${name}({ model })`, options.model ?? "scripted-model")
  }
  if (contextWindow !== undefined) Checked.integer(`${name}({ contextWindow })`, contextWindow, 1)
  Checked.check(`${name}({ unused })`, unused, unused === "fail" || unused === "allow", `"fail", "allow"`)
  const entries = entriesOf(`${name}(script)`, script)
  return Effect.acquireRelease(
    Effect.sync(() => new Player(entries, by)),
    (player, exit) =>
      Exit.isSuccess(exit) && unused === "fail"
        ? Option.match(player.notUsedUp, { onNone: () => Effect.void, onSome: Effect.die })
        : Effect.void
  ).pipe(
    Effect.map((player) => {
      const scripted: Scripted = {
        service: LlmProvider.make({
          ...by,
          contextWindow,
          generate: (request) => player.generate(request),
          stream: (request) => player.stream(request)
        }),
        layer: Layer.suspend(() => Layer.succeedContext(contextOf(scripted))),
        calls: Effect.sync(() => player.calls),
        remaining: Effect.sync(() => player.remaining)
      }
      return scripted
    })
  )
}
