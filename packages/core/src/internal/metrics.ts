/**
 * The metrics of calls. A series is made when it is first used and then found by provider and model, so that an update is a
 * few look-ups and an addition.
 */
import * as Duration from "effect/Duration"
import { globalValue } from "effect/GlobalValue"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import * as MetricLabel from "effect/MetricLabel"
import type { Usage } from "../LlmResponse.ts"
import type { Cost, Outcome, Target } from "../Receipt.ts"
import { operation, other, outcomes, providerName } from "./conventions.ts"

/** The most targets that have series of their own; all that come after them share one. */
export const mostTargets = 500

/** The most classes of failure, and of currencies, of a target. */
const mostClasses = 64

/** The buckets that the conventions ask for. */
const seconds = MetricBoundaries.fromIterable([
  0.01,
  0.02,
  0.04,
  0.08,
  0.16,
  0.32,
  0.64,
  1.28,
  2.56,
  5.12,
  10.24,
  20.48,
  40.96,
  81.92
])
const counts = MetricBoundaries.fromIterable([
  1,
  4,
  16,
  64,
  256,
  1024,
  4096,
  16_384,
  65_536,
  262_144,
  1_048_576,
  4_194_304,
  16_777_216,
  67_108_864
])

/** The labels that the fiber's metrics have, by `Effect.tagMetrics`. */
export type Labels = ReadonlyArray<MetricLabel.MetricLabel>

type Tags = { readonly [name: string]: string }

// The tags are part of the key from the start: a metric that is tagged afterwards looks its key up at every update.
const labelled = (unit: string, tags: Tags) =>
  Object.entries({ unit, ...tags }).map(([key, value]) => MetricLabel.make(key, value))

const counter = (name: string, unit: string, description: string, tags: Tags) =>
  Metric.fromMetricKey(
    MetricKey.taggedWithLabels(MetricKey.counter(name, { description, incremental: true }), labelled(unit, tags))
  )

const histogram = (
  name: string,
  unit: string,
  boundaries: MetricBoundaries.MetricBoundaries,
  description: string,
  tags: Tags
) =>
  Metric.fromMetricKey(
    MetricKey.taggedWithLabels(MetricKey.histogram(name, boundaries, description), labelled(unit, tags))
  )

/** Values by name, made when first asked for; beyond so many, one for all. */
const by = <A>(most: number, make: (name: string) => A): (name: string) => A => {
  const all = new Map<string, A>()
  return (name) => {
    const known = all.get(name)
    if (known !== undefined) return known
    const kept = all.size < most ? name : other
    const one = all.get(kept) ?? make(kept)
    all.set(kept, one)
    return one
  }
}

/** A value made when first asked for. */
const once = <A>(make: () => A): () => A => {
  let made: A | undefined
  return () => made ??= make()
}

/** A series for each end: the outcome, or the class of the failure. */
const byEnd = <A>(make: (tags: Tags) => A) => {
  const answered = once(() => make({ "perdure.outcome": outcomes.Answered }))
  const interrupted = once(() => make({ "perdure.outcome": outcomes.Interrupted }))
  const failed = by(mostClasses, (error) => make({ "perdure.outcome": outcomes.Failed, "error.type": error }))
  return (outcome: Outcome["_tag"], error: string): A =>
    outcome === "Answered" ? answered() : outcome === "Interrupted" ? interrupted() : failed(error)
}

const seriesOf = (provider: string, model: string) => {
  const about = { "gen_ai.provider.name": providerName(provider), "gen_ai.request.model": model }
  const operated = { "gen_ai.operation.name": operation, ...about }
  const tokens = (type: "input" | "output") =>
    once(() =>
      histogram("gen_ai.client.token.usage", "{token}", counts, "Number of input and output tokens used.", {
        ...operated,
        "gen_ai.token.type": type
      })
    )
  return {
    attempts: byEnd((end) => ({
      count: counter("perdure.attempts", "{attempt}", "Requests sent to a target.", { ...about, ...end }),
      duration: histogram("gen_ai.client.operation.duration", "s", seconds, "GenAI operation duration.", {
        ...operated,
        ...end
      })
    })),
    calls: byEnd((end) => ({
      count: counter("perdure.calls", "{call}", "Calls by the target that they were meant for.", { ...about, ...end }),
      duration: histogram(
        "perdure.call.duration",
        "s",
        seconds,
        "Duration of calls with all attempts, waits and fallbacks.",
        { ...about, ...end }
      )
    })),
    input: tokens("input"),
    output: tokens("output"),
    firstOutput: once(() =>
      histogram(
        "gen_ai.client.operation.time_to_first_chunk",
        "s",
        seconds,
        "Time from the request to the first output of a stream.",
        operated
      )
    ),
    cost: by(mostClasses, (currency) =>
      counter("perdure.cost", currency, "What the tokens of the attempts cost.", {
        ...about,
        "perdure.currency": currency
      })),
    fallbacks: by(
      mostClasses,
      (error) =>
        counter("perdure.fallbacks", "{fallback}", "Moves from this target to another.", {
          ...about,
          "error.type": error
        })
    ),
    refusals: by(
      mostClasses,
      (error) =>
        counter("perdure.refusals", "{refusal}", "Requests that a policy on this side let not through.", {
          ...about,
          "error.type": error
        })
    ),
    waits: by(
      mostClasses,
      (error) =>
        histogram("perdure.wait.duration", "s", seconds, "Waits after a failure, before asking again.", {
          ...about,
          "error.type": error
        })
    )
  }
}

type Series = ReturnType<typeof seriesOf>

/** The series by provider and model, and how many targets have some: for the whole process, however often this is loaded. */
const all = globalValue(Symbol.for("perdure/metrics"), () => ({
  targets: new Map<string, Map<string, Series>>(),
  known: 0
}))

const find = ({ model, provider }: Target): Series => {
  const found = all.targets.get(provider)?.get(model)
  if (found !== undefined) return found
  if (all.known >= mostTargets && model !== other) return find({ provider: other, model: other })
  all.known += 1
  const models = all.targets.get(provider) ?? new Map<string, Series>()
  all.targets.set(provider, models)
  const series = seriesOf(provider, model)
  models.set(model, series)
  return series
}

export const attemptEnded = (
  target: Target,
  outcome: Outcome,
  millis: number,
  usage: Usage | undefined,
  cost: Cost | undefined,
  labels: Labels
): void => {
  const series = find(target)
  const { count, duration } = series.attempts(outcome._tag, outcome._tag === "Failed" ? outcome.error : "")
  count.unsafeUpdate(1, labels)
  duration.unsafeUpdate(millis / 1000, labels)
  if (usage?.inputTokens !== undefined) series.input().unsafeUpdate(usage.inputTokens, labels)
  if (usage?.outputTokens !== undefined) series.output().unsafeUpdate(usage.outputTokens, labels)
  if (cost !== undefined) series.cost(cost.currency).unsafeUpdate(cost.amount, labels)
}

export const firstOutput = (target: Target, millis: number, labels: Labels): void =>
  find(target).firstOutput().unsafeUpdate(millis / 1000, labels)

export const callEnded = (
  target: Target,
  outcome: Outcome["_tag"],
  error: string | undefined,
  millis: number,
  labels: Labels
): void => {
  const { count, duration } = find(target).calls(outcome, error ?? other)
  count.unsafeUpdate(1, labels)
  duration.unsafeUpdate(millis / 1000, labels)
}

export const fellBack = (from: Target, because: string, labels: Labels): void =>
  find(from).fallbacks(because).unsafeUpdate(1, labels)

export const refused = (target: Target, because: string, labels: Labels): void =>
  find(target).refusals(because).unsafeUpdate(1, labels)

export const waited = (target: Target, because: string, wait: Duration.Duration, labels: Labels): void =>
  find(target).waits(because).unsafeUpdate(Duration.toSeconds(wait), labels)
