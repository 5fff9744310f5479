/** Effect's metrics in Prometheus's text format 0.0.4. */
import type * as MetricKeyType from "effect/MetricKeyType"
import type * as MetricLabel from "effect/MetricLabel"
import type * as MetricPair from "effect/MetricPair"
import * as MetricState from "effect/MetricState"
import * as Option from "effect/Option"

type Type = "counter" | "gauge" | "histogram" | "summary"

interface Family {
  readonly name: string
  readonly type: Type
  readonly help: string | undefined
  readonly series: Set<string>
  readonly lines: Array<string>
}

/** What a name of OpenTelemetry's has and Prometheus's must not. */
const cleaned = (name: string): string => name.replaceAll(/[^a-zA-Z0-9_]+/g, "_").replaceAll(/__+/g, "_")

const metricName = (name: string): string => cleaned(name).replace(/^(?=\d)/, "_").replace(/_+$/, "") || "_"

const labelName = (name: string): string => cleaned(name).replace(/^(?=\d)/, "key_") || "_"

const escapeHelp = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")

const escapeLabel = (text: string): string => escapeHelp(text).replaceAll("\"", "\\\"")

const number = (value: number | bigint): string =>
  value === Infinity ? "+Inf" : value === -Infinity ? "-Inf" : String(value)

/** OpenTelemetry's units, by the words that its rules for Prometheus have for them. */
const units: Readonly<Record<string, string>> = {
  d: "days",
  h: "hours",
  min: "minutes",
  s: "seconds",
  ms: "milliseconds",
  us: "microseconds",
  ns: "nanoseconds",
  By: "bytes",
  KiBy: "kibibytes",
  MiBy: "mebibytes",
  "%": "percent",
  "1": ""
}

/** A note in braces, as in `{call}`, is none. */
const unitOf = (tags: ReadonlyArray<MetricLabel.MetricLabel>): string => {
  const unit = tags.find(({ key }) => key === "unit" || key === "time_unit")?.value.replaceAll(/\{[^}]*\}/g, "") ?? ""
  return Object.hasOwn(units, unit) ? units[unit] ?? "" : cleaned(unit).replaceAll(/^_+|_+$/g, "")
}

const suffixed = (name: string, suffix: string): string =>
  suffix === "" || name.endsWith(`_${suffix}`) ? name : `${name}_${suffix}`

/** Names that the type needs for itself are set apart; two names that have become one share it, as OpenTelemetry does. */
const labelsOf = (tags: ReadonlyArray<MetricLabel.MetricLabel>, reserved: string | undefined) => {
  const labels = new Map<string, string>()
  for (const { key, value } of tags) {
    if (key === "unit" || key === "time_unit") continue
    const clean = labelName(key)
    const name = clean === reserved ? `exported_${clean}` : clean
    const before = labels.get(name)
    labels.set(name, before === undefined ? value : `${before};${value}`)
  }
  return Array.from(labels, ([name, value]) => `${name}="${escapeLabel(value)}"`)
}

const braced = (labels: ReadonlyArray<string>): string => labels.length === 0 ? "" : `{${labels.join(",")}}`

const typeOf = ({ metricKey, metricState }: MetricPair.MetricPair.Untyped): Type | undefined => {
  if (MetricState.isCounterState(metricState)) {
    return (metricKey.keyType as Partial<MetricKeyType.MetricKeyType.Counter<number>>).incremental === true
      ? "counter"
      : "gauge"
  }
  if (MetricState.isFrequencyState(metricState)) return "counter"
  if (MetricState.isGaugeState(metricState)) return "gauge"
  if (MetricState.isHistogramState(metricState)) return "histogram"
  return MetricState.isSummaryState(metricState) ? "summary" : undefined
}

const reservedBy: Partial<Record<Type, string>> = { histogram: "le", summary: "quantile" }

const linesOf = (
  name: string,
  labels: ReadonlyArray<string>,
  state: MetricState.MetricState.Untyped
): Array<string> => {
  const line = (suffix: string, value: number | bigint, ...more: ReadonlyArray<string>) =>
    `${name}${suffix}${braced([...labels, ...more])} ${number(value)}`
  const totals = ({ count, sum }: { readonly count: number; readonly sum: number }) => [
    line("_sum", sum),
    line("_count", count)
  ]
  if (MetricState.isCounterState(state)) return [line("", state.count)]
  if (MetricState.isGaugeState(state)) return [line("", state.value)]
  if (MetricState.isFrequencyState(state)) {
    return Array.from(state.occurrences, ([key, count]) => line("", count, `key="${escapeLabel(key)}"`))
  }
  if (MetricState.isHistogramState(state)) {
    const finite = Array.from(state.buckets).filter(([boundary]) => boundary !== Infinity)
    return [
      ...finite.map(([boundary, count]) => line("_bucket", count, `le="${number(boundary)}"`)),
      line("_bucket", state.count, `le="+Inf"`),
      ...totals(state)
    ]
  }
  if (MetricState.isSummaryState(state)) {
    return [
      ...Array.from(
        state.quantiles,
        ([quantile, value]) => line("", Option.getOrElse(value, () => NaN), `quantile="${quantile}"`)
      ),
      ...totals(state)
    ]
  }
  return []
}

/** The text for a snapshot; of metrics that would have the same name and labels, the first is kept. */
export const exposition = (pairs: Iterable<MetricPair.MetricPair.Untyped>): string => {
  const families = new Map<string, Family>()
  for (const pair of pairs) {
    const { metricKey, metricState } = pair
    const type = typeOf(pair)
    if (type === undefined) continue
    const united = suffixed(metricName(metricKey.name), unitOf(metricKey.tags))
    const name = type === "counter" ? suffixed(united, "total") : united
    const family = families.get(name) ??
      { name, type, help: Option.getOrUndefined(metricKey.description), series: new Set(), lines: [] }
    const labels = labelsOf(metricKey.tags, reservedBy[type])
    const series = labels.toSorted().join(",")
    if (family.type !== type || family.series.has(series)) continue
    families.set(name, family)
    family.series.add(series)
    family.lines.push(...linesOf(name, labels, metricState))
  }
  return Array.from(families.values())
    .filter(({ lines }) => lines.length > 0)
    .toSorted((a, b) => a.name < b.name ? -1 : 1)
    .flatMap(({ help, lines, name, type }) => [
      ...(help === undefined ? [] : [`# HELP ${name} ${escapeHelp(help)}\n`]),
      `# TYPE ${name} ${type}\n`,
      ...lines.map((line) => `${line}\n`)
    ])
    .join("")
}
