/**
 * Plays the demo's stories of several calls, over real HTTP to an embedded provider.
 *
 * @since 0.1.0
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as OpenAi from "@perdure/providers/openai"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as CircuitBreaker from "perdure/CircuitBreaker"
import * as KeyPool from "perdure/KeyPool"
import * as LlmProvider from "perdure/LlmProvider"
import type * as Receipt from "perdure/Receipt"
import { Failed } from "./CliError.ts"
import * as EmbeddedProvider from "./EmbeddedProvider.ts"
import * as Progress from "./Progress.ts"
import * as Scenes from "./Scenes.ts"
import * as Series from "./Series.ts"
import type * as Terminal from "./Terminal.ts"
import type * as Timeline from "./Timeline.ts"

/**
 * What came of a story: its calls in order, what the circuit went through, and what to draw below the calls.
 *
 * @since 0.1.0
 * @category models
 */
export interface Played {
  readonly results: ReadonlyArray<Scenes.Result>
  readonly phases: ReadonlyArray<CircuitBreaker.Phase>
  readonly bands: ReadonlyArray<Timeline.Band>
}

const client = ({ addressOf }: EmbeddedProvider.Embedded, { model, provider }: Receipt.Target) =>
  OpenAi.layer({ ...addressOf("openai", model), model, name: provider })

const circuit = `${Scenes.primary.provider}/${Scenes.primary.model}`

/** After the time that a policy keeps something in mind, so that it has surely forgotten. */
const margin = Duration.millis(25)

const failuresOf = (result: Scenes.Result): ReadonlyArray<number> => {
  const receipt = Scenes.receiptOf(result)
  return receipt?.attempts.flatMap(({ duration, outcome, start }) =>
    outcome._tag === "Failed" ? [receipt.startedAt + Duration.toMillis(start) + Duration.toMillis(duration)] : []
  ) ?? []
}

/** Waits until a policy has forgotten the last failure. */
const untilForgotten = (results: ReadonlyArray<Scenes.Result>, after: Duration.Duration) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const last = Math.max(...results.flatMap(failuresOf))
    return Effect.sleep(Duration.sum(Duration.millis(Math.max(0, last + Duration.toMillis(after) - now)), margin))
  })

const calls = (
  { calls }: Series.Series,
  after: Duration.Duration,
  terminal: Terminal.Terminal
): Effect.Effect<ReadonlyArray<Scenes.Result>, never, LlmProvider.LlmProvider> =>
  Effect.reduce(calls, [] as ReadonlyArray<Scenes.Result>, (results, when) =>
    Effect.zipRight(
      when === "now" ? Effect.void : untilForgotten(results, after),
      Effect.map(
        Effect.either(Progress.show(terminal)(LlmProvider.generate(Scenes.prompt))),
        (result) => [...results, result]
      )
    ))

/** From each opening to the probe that ends it. */
const openTimes = (transitions: ReadonlyArray<CircuitBreaker.Transition>): Timeline.Band["held"] =>
  transitions.flatMap(({ at, openFor, to }, index) =>
    to === "open"
      ? [{ from: at, to: transitions[index + 1]?.at ?? at + Duration.toMillis(openFor ?? Duration.zero) }]
      : []
  )

const withBreaker = (
  series: Series.Series,
  embedded: EmbeddedProvider.Embedded,
  terminal: Terminal.Terminal
) =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({
      tripPolicy: CircuitBreaker.consecutive(Series.failures),
      openDuration: Series.openFor
    })
    const transitions: Array<CircuitBreaker.Transition> = []
    const closed = yield* Deferred.make<void>()
    yield* Effect.forkScoped(Stream.runForEach(breaker.transitions, (transition) => {
      transitions.push(transition)
      return transition.to === "closed" ? Deferred.succeed(closed, undefined) : Effect.void
    }))
    // The reader of the changes must be there before the first of them.
    yield* Effect.yieldNow()
    const chain = LlmProvider.orElse(
      client(embedded, Scenes.primary).pipe(LlmProvider.withPolicy(breaker)),
      client(embedded, Scenes.backup)
    )
    const results = yield* Effect.provide(
      calls(series, Series.openFor, terminal),
      Layer.provide(chain, NodeHttpClient.layerUndici)
    )
    yield* Effect.timeoutOption(Deferred.await(closed), Duration.millis(100))
    const band = { label: circuit, held: openTimes(transitions), because: "circuit open" }
    return { results, phases: transitions.map(({ to }) => to), bands: [band] }
  })

const withKeys = (series: Series.Series, embedded: EmbeddedProvider.Embedded, terminal: Terminal.Terminal) =>
  Effect.gen(function*() {
    const layer = client(embedded, Scenes.primary)
    const [first, second] = Series.keys
    const pool = KeyPool.layer([{ label: first, layer }, { label: second, layer: Layer.fresh(layer) }], {
      benchedFor: Series.benchedFor
    })
    const results = yield* Effect.provide(
      calls(series, Series.benchedFor, terminal),
      Layer.provide(pool, NodeHttpClient.layerUndici)
    )
    const held = results.flatMap(failuresOf).map((at) => ({ from: at, to: at + Duration.toMillis(Series.benchedFor) }))
    const played: Played = { results, phases: [], bands: [{ label: first, held, because: "left out" }] }
    return played
  })

/**
 * Plays a story of several calls.
 *
 * @since 0.1.0
 * @category running
 */
export const play = (
  terminal: Terminal.Terminal,
  series: Series.Series,
  latency: Duration.Duration
): Effect.Effect<Played, Failed> =>
  Effect.scoped(Effect.flatMap(
    EmbeddedProvider.scripted(series.script, latency),
    (embedded) =>
      (series.policy === "breaker" ? withBreaker : withKeys)(series, embedded, terminal).pipe(
        Effect.catchTag("ConfigError", (error) => new Failed({ lines: [error.message] }))
      )
  ))
