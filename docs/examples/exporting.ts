import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { Otlp, Prometheus } from "@perdure/telemetry"
import { answer, overloaded, ScriptedProvider } from "@perdure/testing"
import { Effect, Layer, Redacted } from "effect"
import { createServer } from "node:http"
import { LlmProvider } from "perdure"

/** To the collector that OpenTelemetry's own variables name. */
export const Exporting = Layer.provide(Otlp.layerConfig(), FetchHttpClient.layer)

/** To a collector with a key. */
export const Named = Otlp.layer({
  url: "https://otlp.example.com",
  serviceName: "shop",
  headers: Redacted.make({ "api-key": "…" })
}).pipe(Layer.provide(FetchHttpClient.layer))

/** For Prometheus, at `http://127.0.0.1:9464/metrics`. */
export const Metrics = Prometheus.layer().pipe(
  Layer.provide(NodeHttpServer.layer(createServer, { port: 9464, host: "127.0.0.1" }))
)

const Llm = ScriptedProvider.layer([overloaded()], { provider: "openai", model: "gpt-4o" }).pipe(
  LlmProvider.orElse(ScriptedProvider.layer([answer("Hi.")], { provider: "anthropic", model: "claude" }))
)

/** What Prometheus is told of a call that was answered elsewhere. */
export const told = LlmProvider.generate("Hello?").pipe(Effect.zipRight(Prometheus.text), Effect.provide(Llm))
