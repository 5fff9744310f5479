/** The metrics of policies with state: where a circuit is, how long calls wait for a permit, what is left of a budget. */
import { globalValue } from "effect/GlobalValue"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import * as MetricLabel from "effect/MetricLabel"
import type { Phase } from "../CircuitBreaker.ts"
import type { Target } from "../Receipt.ts"
import { other, providerName } from "./conventions.ts"

/** The most circuits, quotas and budgets of their own in the metrics; all that come after them share one. */
export const most = 500

/** Whose it is, as labels: a name that ends with that of the target is of this target alone. */
const about = (name: string, target: Target | undefined): ReadonlyArray<MetricLabel.MetricLabel> => {
  if (target === undefined) return []
  const { model, provider } = target
  const key = `${provider}/${model}`
  return name === key || name.endsWith(`:${key}`) || name.endsWith(`/${key}`)
    ? [
      MetricLabel.make("gen_ai.provider.name", providerName(provider)),
      MetricLabel.make("gen_ai.request.model", model)
    ]
    : []
}

/** A metric for each name, with the name as a label, made when first used; for the whole process, however often this is loaded. */
const named = <A>(label: string, unit: string, make: (labels: ReadonlyArray<MetricLabel.MetricLabel>) => A) => {
  const all = globalValue(Symbol.for(`perdure/gauges/${label}`), () => new Map<string, A>())
  return (name: string, target: Target | undefined): A => {
    const known = all.get(name)
    if (known !== undefined) return known
    const kept = all.size < most ? name : other
    const one = all.get(kept) ??
      make([MetricLabel.make("unit", unit), MetricLabel.make(label, kept), ...about(kept, target)])
    all.set(kept, one)
    return one
  }
}

const gauge = (name: string, description: string) => (labels: ReadonlyArray<MetricLabel.MetricLabel>) =>
  Metric.fromMetricKey(MetricKey.taggedWithLabels(MetricKey.gauge(name, { description }), labels))

const states = named(
  "perdure.circuit",
  "{state}",
  gauge("perdure.breaker.state", "Where a circuit is: 0 closed, 1 half open, 2 open, 3 isolated.")
)

const numbers = { closed: 0, halfOpen: 1, open: 2, isolated: 3 } as const satisfies Record<Phase, number>

export const breaker = (circuit: string, phase: Phase, target: Target | undefined): void =>
  states(circuit, target).unsafeUpdate(numbers[phase], [])

const boundaries = MetricBoundaries.exponential({ start: 0.01, factor: 2, count: 16 })

/** How long calls were in the lines of a policy, by how they left. */
const waits = (policy: "quota" | "bulkhead") =>
  named(`perdure.${policy}`, "s", (labels) => {
    const key = MetricKey.histogram(
      `perdure.${policy}.wait.duration`,
      boundaries,
      `How long calls waited for a permit of a ${policy}, of those that waited.`
    )
    const by = (outcome: string) =>
      Metric.fromMetricKey(
        MetricKey.taggedWithLabels(key, [...labels, MetricLabel.make("perdure.queue.outcome", outcome)])
      )
    // A series is there from its first update on.
    return { granted: by("granted"), refused: by("refused"), interrupted: by("interrupted") }
  })

const queues = { quota: waits("quota"), bulkhead: waits("bulkhead") }

export const queueWait = (
  policy: "quota" | "bulkhead",
  name: string,
  outcome: "granted" | "refused" | "interrupted",
  millis: number,
  target: Target | undefined
): void => queues[policy](name, target)[outcome].unsafeUpdate(millis / 1000, [])

const budgets = named(
  "perdure.budget",
  "{token}",
  gauge("perdure.budget.left", "What a bucket of a budget holds, as of its last change.")
)

export const budgetLeft = (bucket: string, tokens: number, target: Target | undefined): void =>
  budgets(bucket, target).unsafeUpdate(tokens, [])
