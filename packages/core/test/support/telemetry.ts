/** Collectors of spans, log lines and metrics. */
import { Effect, type Exit, Layer, Logger, LogLevel, Metric, Option, Tracer } from "effect"

export interface Collected {
  readonly name: string
  readonly kind: Tracer.SpanKind
  readonly parent: string | undefined
  readonly id: string
  /** In milliseconds. */
  readonly start: number
  readonly attributes: Map<string, unknown>
  readonly events: Array<readonly [name: string, at: number, attributes: Record<string, unknown>]>
  /** How often it was ended. */
  ends: number
  end: number | undefined
  exit: Exit.Exit<unknown, unknown> | undefined
}

const millis = (nanos: bigint) => Number(nanos / 1_000_000n)

/** A tracer that keeps its spans, in the order in which they began. */
export const collector = () => {
  const spans: Array<Collected> = []
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const id = String(spans.length + 1)
      const collected: Collected = {
        name,
        kind,
        parent: Option.getOrUndefined(Option.map(parent, ({ spanId }) => spanId)),
        id,
        start: millis(startTime),
        attributes: new Map(),
        events: [],
        ends: 0,
        end: undefined,
        exit: undefined
      }
      spans.push(collected)
      const span: Tracer.Span = {
        _tag: "Span",
        name,
        spanId: id,
        traceId: "trace",
        parent,
        context,
        status: { _tag: "Started", startTime },
        attributes: collected.attributes,
        links,
        sampled: true,
        kind,
        end: (at, exit) => {
          collected.ends += 1
          collected.end = millis(at)
          collected.exit = exit
        },
        attribute: (key, value) => {
          collected.attributes.set(key, value)
        },
        event: (name, at, attributes = {}) => {
          collected.events.push([name, millis(at), attributes])
        },
        addLinks: () => {}
      }
      return span
    },
    context: (f) => f()
  })
  return {
    spans,
    named: (name: string) => spans.filter((span) => span.name === name),
    install: Effect.withTracer(tracer)
  }
}

export interface Line {
  readonly level: string
  readonly text: string
  readonly facts: Record<string, unknown>
}

/** A logger that keeps its lines. */
export const lines = (minimum: LogLevel.LogLevel = LogLevel.All) => {
  const all: Array<Line> = []
  const logger = Logger.make<unknown, void>(({ annotations, logLevel, message }) => {
    all.push({
      level: logLevel._tag,
      text: Array.isArray(message) ? message.join(" ") : String(message),
      facts: Object.fromEntries(annotations)
    })
  })
  const layer = Layer.merge(Logger.add(logger), Logger.minimumLogLevel(minimum))
  return { all, install: Effect.provide(layer) }
}

/** The metrics that have a label of this value, as `name{label=value …}` with their state. */
export const metrics = (value: string): Record<string, number> =>
  Object.fromEntries(
    Metric.unsafeSnapshot()
      .filter(({ metricKey }) => metricKey.tags.some((tag) => tag.value === value))
      .map(({ metricKey, metricState }) => {
        const tags = metricKey.tags
          .filter((tag) => tag.value !== value && tag.key !== "unit" && !tag.key.startsWith("gen_ai.operation"))
          .map((tag) => tag.value)
        const state = metricState as unknown as { readonly count: number; readonly sum?: number }
        // A counter has a count, a histogram a sum too.
        return [[metricKey.name, ...tags].join(" "), state.sum ?? state.count]
      })
  )
