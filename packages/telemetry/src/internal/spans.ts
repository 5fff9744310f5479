/** What the exporter says of spans, set right. */
import * as OtlpSerialization from "@effect/opentelemetry/OtlpSerialization"
import * as Context from "effect/Context"

interface Attribute {
  readonly key: string
}

interface Span {
  readonly attributes: ReadonlyArray<Attribute>
  readonly status: { readonly code: number }
}

interface Traces {
  readonly resourceSpans: ReadonlyArray<{
    readonly scopeSpans: ReadonlyArray<{ readonly spans: ReadonlyArray<Span> }>
  }>
}

/** The status of a span that failed, in OTLP. */
const failed = 2

const mislabels = new Set(["span.label", "status.interrupted"])

const right = (span: Span): Span =>
  span.status.code === failed
    ? { ...span, attributes: span.attributes.filter(({ key }) => !mislabels.has(key)) }
    : span

/** `@effect/opentelemetry` 0.64 labels spans that failed as interrupted. They are not. */
const corrected = (data: Traces): Traces => ({
  ...data,
  resourceSpans: data.resourceSpans.map((one) => ({
    ...one,
    scopeSpans: one.scopeSpans.map((scope) => ({ ...scope, spans: scope.spans.map(right) }))
  }))
})

export const truthful = (
  context: Context.Context<OtlpSerialization.OtlpSerialization>
): Context.Context<OtlpSerialization.OtlpSerialization> => {
  const given = Context.get(context, OtlpSerialization.OtlpSerialization)
  return Context.make(OtlpSerialization.OtlpSerialization, {
    ...given,
    traces: (data) => given.traces(corrected(data as Traces))
  })
}
