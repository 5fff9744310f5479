/**
 * Sends spans, metrics and logs to an OpenTelemetry collector, as OTLP over HTTP in JSON.
 *
 * The exporter is that of `@effect/opentelemetry`, over the program's own `HttpClient`, without OpenTelemetry's SDK. All
 * of the program's spans, metrics and log lines go the same way, not only those of calls. A collector that is slow, broken
 * or away harms no call: what cannot be sent is dropped.
 *
 * @since 0.1.0
 */
import * as OtlpExporter from "@effect/opentelemetry/Otlp"
import * as OtlpSerialization from "@effect/opentelemetry/OtlpSerialization"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Options as Check } from "perdure"
import { guarded } from "./internal/client.ts"
import { truthful } from "./internal/spans.ts"

/**
 * How often, how much and for how long.
 *
 * @since 0.1.0
 * @category models
 */
export interface Timing {
  /**
   * The time from one export of metrics to the next.
   * @default "10 seconds"
   */
  readonly metricsInterval?: Duration.DurationInput | undefined
  /**
   * The longest that spans wait to be sent.
   * @default "5 seconds"
   */
  readonly spansInterval?: Duration.DurationInput | undefined
  /**
   * The longest that log lines wait to be sent.
   * @default "1 second"
   */
  readonly logsInterval?: Duration.DurationInput | undefined
  /**
   * Spans or lines that are sent at once, without waiting for the interval.
   * @default 1000
   */
  readonly batch?: number | undefined
  /**
   * The time for one try to send; there are four. 10 seconds are what OpenTelemetry's specification gives an export.
   * @default "10 seconds"
   */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * The time for each of spans, metrics and logs to be sent when the layer is closed.
   * @default "3 seconds"
   */
  readonly shutdown?: Duration.DurationInput | undefined
}

/**
 * Where to, and as whom.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Timing {
  /** The collector, without `/v1/traces` and the like: `http://localhost:4318`. Keys belong in `headers`, not here. */
  readonly url: string
  /** `service.name`. */
  readonly serviceName: string
  /** `service.version`. */
  readonly serviceVersion?: string | undefined
  /** Sent with every request; in no error and no log. */
  readonly headers?: Redacted.Redacted<Readonly<Record<string, string>>> | undefined
}

/** Never shows the URL when that could hold a secret. */
const checkUrl = (option: string, url: string): string => {
  const parsed = Either.getOrUndefined(Either.try(() => new URL(url)))
  const allowed = "an http or https URL without a user, a password, a query and a fragment"
  if (parsed === undefined) return Check.refuse(option, typeof url === "string" ? "not a URL" : url, allowed)
  const bare = parsed.username === "" && parsed.password === "" && parsed.search === "" && parsed.hash === ""
  const ok = bare && (parsed.protocol === "http:" || parsed.protocol === "https:")
  Check.check(option, bare ? url : `${parsed.protocol}//…@${parsed.host}…`, ok, allowed)
  return url
}

const checked = (caller: string, options: Options) => {
  const name = (option: keyof Options) => `${caller}({ ${option} })`
  const time = (option: keyof Timing, input: Duration.DurationInput) => Check.duration(name(option), input)
  return {
    url: checkUrl(name("url"), options.url),
    serviceName: Check.text(name("serviceName"), options.serviceName),
    serviceVersion: options.serviceVersion === undefined
      ? undefined
      : Check.text(name("serviceVersion"), options.serviceVersion),
    headers: options.headers,
    metricsInterval: time("metricsInterval", options.metricsInterval ?? "10 seconds"),
    spansInterval: time("spansInterval", options.spansInterval ?? "5 seconds"),
    logsInterval: time("logsInterval", options.logsInterval ?? "1 second"),
    batch: Check.integer(name("batch"), options.batch ?? 1000, 1, 100_000),
    timeout: time("timeout", options.timeout ?? "10 seconds"),
    shutdown: time("shutdown", options.shutdown ?? "3 seconds")
  }
}

const exporting = (options: ReturnType<typeof checked>): Layer.Layer<never, never, HttpClient.HttpClient> =>
  OtlpExporter.layer({
    baseUrl: options.url,
    resource: { serviceName: options.serviceName, serviceVersion: options.serviceVersion },
    maxBatchSize: options.batch,
    loggerExportInterval: options.logsInterval,
    metricsExportInterval: options.metricsInterval,
    tracerExportInterval: options.spansInterval,
    shutdownTimeout: options.shutdown
  }).pipe(
    Layer.provide(Layer.map(OtlpSerialization.layerJson, truthful)),
    Layer.provide(
      Layer.effect(
        HttpClient.HttpClient,
        Effect.map(HttpClient.HttpClient, (client) => guarded(client, options.headers, options.timeout))
      )
    )
  )

/**
 * Sends all spans, metrics and log lines of a program to a collector, in the background.
 *
 * Log lines go there beside the loggers that there are. `OTEL_RESOURCE_ATTRIBUTES` is read too. When the layer is closed,
 * what is left is sent, for `shutdown` at most. After four failed tries, nothing of that kind is sent for a minute, and
 * the spans and lines of that minute are dropped; metrics are cumulative, so none is lost. The exporter says so at
 * `Debug`.
 *
 * @example
 * ```ts
 * import { FetchHttpClient } from "@effect/platform"
 * import { Otlp } from "@perdure/telemetry"
 * import { Layer } from "effect"
 *
 * const Exporting = Otlp.layer({ url: "http://localhost:4318", serviceName: "shop" }).pipe(
 *   Layer.provide(FetchHttpClient.layer)
 * )
 * ```
 *
 * @throws `InvalidOption` for an option out of its range.
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<never, never, HttpClient.HttpClient> =>
  exporting(checked("Otlp.layer", options))

const decoded = (text: string): Either.Either<string, unknown> => Either.try(() => decodeURIComponent(text.trim()))

/** `name=value,name=value`, percent-encoded, as OpenTelemetry's specification has it. An error says nothing of the text. */
const parseHeaders = (
  secret: Redacted.Redacted
): Either.Either<Redacted.Redacted<Readonly<Record<string, string>>>, ConfigError.ConfigError> => {
  const headers: Record<string, string> = {}
  for (const pair of Redacted.value(secret).split(",")) {
    if (pair.trim() === "") continue
    const at = pair.indexOf("=")
    const value = decoded(pair.slice(at + 1))
    const name = pair.slice(0, at).trim()
    if (
      at < 0 || !/^[\w!#$%&'*+.^`|~-]+$/.test(name) || Either.isLeft(value) || !/^[\t\x20-\x7e]*$/.test(value.right)
    ) {
      return Either.left(ConfigError.InvalidData([], "Expected name=value pairs with commas between them"))
    }
    headers[name.toLowerCase()] = value.right
  }
  return Either.right(Redacted.make(headers))
}

const settings = Config.all({
  url: Config.string("OTEL_EXPORTER_OTLP_ENDPOINT").pipe(Config.withDefault("http://localhost:4318")),
  headers: Config.redacted("OTEL_EXPORTER_OTLP_HEADERS").pipe(
    Config.mapOrFail(parseHeaders),
    Config.withDefault(undefined)
  ),
  serviceName: Config.string("OTEL_SERVICE_NAME").pipe(Config.withDefault("unknown_service"))
})

/**
 * As {@link layer}, set by OpenTelemetry's own variables: `OTEL_EXPORTER_OTLP_ENDPOINT` (`http://localhost:4318`),
 * `OTEL_EXPORTER_OTLP_HEADERS` (`name=value,name=value`, redacted) and `OTEL_SERVICE_NAME` (`unknown_service`).
 *
 * Fails with a `ConfigError` when one is set to what cannot be used; the error has no header in it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  timing: Timing = {}
): Layer.Layer<never, ConfigError.ConfigError, HttpClient.HttpClient> =>
  Layer.unwrapEffect(
    Effect.flatMap(settings, (found) =>
      Either.mapBoth(
        Either.try({
          try: () => checked("Otlp.layerConfig", { ...timing, ...found }),
          catch: (refusal) => ConfigError.InvalidData([], refusal instanceof Error ? refusal.message : String(refusal))
        }),
        { onLeft: (error) => error, onRight: exporting }
      ))
  )
