/**
 * Metrics for Prometheus, in its text format 0.0.4.
 *
 * Names are made by OpenTelemetry's rules for Prometheus, so a dashboard does not care whether metrics came this way or
 * through a collector: `gen_ai.client.operation.duration` in `s` is `gen_ai_client_operation_duration_seconds`, and the
 * counter `perdure.calls` is `perdure_calls_total`. The label `unit` is in the name then, and no label.
 *
 * @since 0.1.0
 */
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { Options as Check } from "perdure"
import { exposition } from "./internal/exposition.ts"

/**
 * What `Content-Type` the text has.
 *
 * @since 0.1.0
 * @category text
 */
export const contentType = "text/plain; version=0.0.4; charset=utf-8"

/**
 * All metrics of the process as they are now, as text.
 *
 * A counter that may also go down is a gauge, and a frequency is a counter with the label `key`. Of metrics that would have
 * the same name and labels in Prometheus the first is kept.
 *
 * @since 0.1.0
 * @category text
 */
export const text: Effect.Effect<string> = Effect.map(Metric.snapshot, exposition)

/**
 * {@link text} as the response of an HTTP server of your own.
 *
 * @since 0.1.0
 * @category http
 */
export const response: Effect.Effect<HttpServerResponse.HttpServerResponse> = Effect.map(
  text,
  (body) => HttpServerResponse.text(body, { contentType })
)

/**
 * Where the text is served.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The path.
   * @default "/metrics"
   */
  readonly path?: `/${string}` | undefined
}

/**
 * Serves {@link text} on a path of an HTTP server, until the layer is closed. Anything else gets a 404.
 *
 * Whose server it is, its port and its address are those of the `HttpServer`, such as `NodeHttpServer.layer(createServer,
 * { port: 9464 })`. A scrape leaves no spans and no log lines.
 *
 * @example
 * ```ts
 * import { NodeHttpServer } from "@effect/platform-node"
 * import { Prometheus } from "@perdure/telemetry"
 * import { Layer } from "effect"
 * import { createServer } from "node:http"
 *
 * const Metrics = Prometheus.layer().pipe(
 *   Layer.provide(NodeHttpServer.layer(createServer, { port: 9464, host: "127.0.0.1" }))
 * )
 * ```
 *
 * @throws `InvalidOption` for a path that does not begin with a slash.
 * @since 0.1.0
 * @category http
 */
export const layer = (options: Options = {}): Layer.Layer<never, never, HttpServer.HttpServer> => {
  const path = options.path ?? "/metrics"
  Check.check(
    "Prometheus.layer({ path })",
    path,
    /^\/[\w./~-]*$/.test(path),
    "a path of letters, digits, \"-\", \".\", \"_\" and \"~\" that begins with \"/\""
  )
  return HttpServer.serve(
    HttpRouter.empty.pipe(
      HttpRouter.get(path, response),
      Effect.catchTag("RouteNotFound", () => HttpServerResponse.empty({ status: 404 }))
    )
  ).pipe(HttpMiddleware.withTracerDisabledWhen(() => true))
}
