/**
 * Where spans, metrics and logs go: to an OpenTelemetry collector, and to Prometheus.
 *
 * @since 0.1.0
 */
export * as Otlp from "./Otlp.ts"
export * as Prometheus from "./Prometheus.ts"
