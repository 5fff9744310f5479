import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { assert, describe, it } from "@effect/vitest"
import { Otlp } from "@perdure/telemetry"
import { answer, ScriptedProvider, unauthenticated } from "@perdure/testing"
import {
  Cause,
  ConfigProvider,
  Effect,
  Either,
  Exit,
  Fiber,
  Layer,
  Logger,
  LogLevel,
  Redacted,
  TestClock
} from "effect"
import type { ServerResponse } from "node:http"
import { inspect } from "node:util"
import { InvalidOption, LlmProvider } from "perdure"
import { collector, record } from "./support/collector.ts"

const key = "sk-provider-0123456789abcdefghijklmnop"
const token = "tok-collector-0123456789abcdefghijklmnop"
const prompt = "A prompt that nobody may see."
const text = "An answer that nobody may see."

const Chain = ScriptedProvider.layer([unauthenticated({ detail: `Incorrect API key provided: ${key}` })], {
  provider: "openai",
  model: "gpt-4o"
}).pipe(
  LlmProvider.orElse(
    ScriptedProvider.layer([answer({ content: text, usage: { inputTokens: 12, outputTokens: 3 } })], {
      provider: "anthropic",
      model: "claude"
    })
  )
)
const ask = Effect.provide(LlmProvider.generate(prompt), [Chain, Logger.remove(Logger.defaultLogger)])
const headers = Redacted.make({ "api-key": token })

/** What the program does when the exporter is there; the layer is closed, and so flushed, before anybody looks. */
const exporting = <A, E>(effect: Effect.Effect<A, E>, options: Partial<Otlp.Options> & { readonly url: string }) =>
  effect.pipe(
    Effect.provide(
      Layer.provide(
        Otlp.layer({ serviceName: "shop", serviceVersion: "1.2.3", headers, ...options }),
        FetchHttpClient.layer
      )
    )
  )

describe("one call, at a collector", () => {
  it.scopedLive("O2: is a span for the call and one for each attempt, with what the conventions ask for", () =>
    Effect.gen(function*() {
      const { services, spans, url } = yield* collector()
      yield* exporting(Effect.withSpan(ask, "around"), { url })
      const named = (name: string) => spans().filter((span) => span.name === name)
      assert.deepStrictEqual(spans().map(({ name }) => name).toSorted(), [
        "around",
        "chat claude",
        "chat gpt-4o",
        "perdure.call"
      ])
      const [around] = named("around")
      const [call] = named("perdure.call")
      const [failed] = named("chat gpt-4o")
      const [answered] = named("chat claude")
      assert(around && call && failed && answered)
      assert.deepStrictEqual([call.parentSpanId, failed.parentSpanId, answered.parentSpanId], [
        around.spanId,
        call.spanId,
        call.spanId
      ])
      assert.strictEqual(new Set(spans().map(({ traceId }) => traceId)).size, 1)
      assert.deepStrictEqual([call.kind, failed.kind, answered.kind], [1, 3, 3])
      assert.deepStrictEqual(call.events.map(({ name }) => name), ["perdure.fallback"])
      const asked = record(failed.attributes)
      assert.include(asked, {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "error.type": "Unauthenticated"
      })
      assert.include(record(answered.attributes), {
        "gen_ai.provider.name": "anthropic",
        "gen_ai.response.model": "claude",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3
      })
      assert.deepStrictEqual(record(answered.attributes)["gen_ai.response.finish_reasons"], ["stop"])
      assert.deepStrictEqual([call.status.code, failed.status.code, answered.status.code], [1, 2, 1])
      assert.isTrue(services().every((name) => name === "shop"))
    }))

  it.scopedLive("O2: a span that failed is not said to be interrupted", () =>
    Effect.gen(function*() {
      const { spans, url } = yield* collector()
      yield* exporting(ask, { url })
      const failed = spans().find(({ name }) => name === "chat gpt-4o")
      assert.notProperty(record(failed?.attributes ?? []), "span.label")
      assert.notProperty(record(failed?.attributes ?? []), "status.interrupted")
    }))

  it.scopedLive("O2: is in the metrics, by their names and units", () =>
    Effect.gen(function*() {
      const { metrics, url } = yield* collector()
      yield* exporting(ask, { url })
      const all = new Map(metrics().map((metric) => [metric.name, metric]))
      assert.includeMembers(Array.from(all.keys()), [
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
        "perdure.calls",
        "perdure.call.duration",
        "perdure.attempts",
        "perdure.fallbacks"
      ])
      assert.strictEqual(all.get("perdure.calls")?.unit, "{call}")
      assert.strictEqual(all.get("perdure.calls")?.sum?.isMonotonic, true)
      const duration = all.get("gen_ai.client.operation.duration")
      assert.strictEqual(duration?.unit, "s")
      assert.sameMembers(
        duration?.histogram?.dataPoints.map(({ attributes }) => record(attributes)["gen_ai.provider.name"]) ?? [],
        ["openai", "anthropic"]
      )
    }))

  it.scopedLive("O2: is one log line, in the trace of the call", () =>
    Effect.gen(function*() {
      const { lines, spans, url } = yield* collector()
      yield* exporting(Effect.withSpan(ask, "around"), { url })
      const all = lines()
      assert.strictEqual(all.length, 1)
      assert.strictEqual(all[0]?.severityText, "WARN")
      assert.strictEqual(all[0]?.traceId, spans()[0]?.traceId)
      assert.include(record(all[0]?.attributes ?? []), {
        "perdure.outcome": "answered",
        "perdure.requested.provider": "openai",
        "perdure.served.provider": "anthropic",
        "perdure.fallback": true
      })
    }))

  it.scopedLive("O3: has no key, prompt or answer in it, and the collector's own key only in the header", () =>
    Effect.gen(function*() {
      const { received, url } = yield* collector()
      yield* exporting(Effect.withSpan(ask, "around"), { url })
      assert.sameMembers(received.map(({ path }) => path), ["/v1/traces", "/v1/metrics", "/v1/logs"])
      for (const { body, headers } of received) {
        assert.strictEqual(headers["api-key"], token)
        assert.strictEqual(headers["content-type"], "application/json")
        for (const secret of [key, token, prompt, text]) assert.notInclude(body, secret)
      }
    }))
})

describe("a collector that", () => {
  const brief = { shutdown: "50 millis" } as const
  const answered = (effect: Effect.Effect<{ readonly text: string }, unknown>) =>
    Effect.map(Effect.exit(effect), (exit) => assert(Exit.isSuccess(exit) && exit.value.text === text, String(exit)))

  it.scopedLive("R1: is not there harms no call, and does not keep the program", () =>
    Effect.gen(function*() {
      const { close, url } = yield* collector()
      close()
      yield* answered(exporting(ask, { url, ...brief }))
    }))

  it.scopedLive("R1: never answers harms no call, and does not keep the program", () =>
    Effect.gen(function*() {
      const { received, url } = yield* collector(() => {})
      yield* answered(exporting(ask, { url, ...brief }))
      assert.isAbove(received.length, 0)
    }))

  it.scopedLive("R1: breaks the connection, or answers with an error or with nonsense, harms no call", () =>
    Effect.gen(function*() {
      for (
        const answer of [
          (response: ServerResponse) => void response.destroy(),
          (response: ServerResponse) => void response.writeHead(500).end(token),
          (response: ServerResponse) => void response.writeHead(200).end("<html>")
        ]
      ) {
        const { url } = yield* collector(answer)
        yield* answered(exporting(ask, { url, ...brief }))
      }
    }))
})

/** A client that does as told, and what was asked of it; the time is the test's. */
const faked = (
  answer: (request: HttpClientRequest.HttpClientRequest) => ReturnType<HttpClient.HttpClient["execute"]>
) => {
  const asked: Array<string> = []
  const told: Array<string> = []
  const logger = Logger.make<unknown, void>(({ annotations, cause, message }) => {
    if (!Cause.isEmpty(cause)) {
      told.push(inspect([message, cause, Array.from(annotations)], { depth: Infinity, showHidden: true }))
    }
  })
  const client = Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request) => {
      asked.push(request.headers["api-key"] ?? "")
      return answer(request)
    })
  )
  const layer = Otlp.layer({ url: "http://collector", serviceName: "shop", headers, metricsInterval: "1 minute" }).pipe(
    Layer.provide(client),
    Layer.provideMerge(Logger.replace(Logger.defaultLogger, logger)),
    Layer.provideMerge(Logger.minimumLogLevel(LogLevel.Debug))
  )
  return { asked, told, layer }
}

/** The exporter's last try, when it is closed, has its time too. */
const during = <A, E>(layer: Layer.Layer<never>, effect: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const open = yield* Effect.fork(Effect.provide(Effect.never, layer))
    yield* effect
    const closing = yield* Effect.fork(Fiber.interrupt(open))
    yield* TestClock.adjust("10 seconds")
    yield* Fiber.join(closing)
  })

describe("an export", () => {
  it.scoped("O3: that fails leaves no header in what the exporter logs", () =>
    Effect.gen(function*() {
      for (
        const answer of [
          (request: HttpClientRequest.HttpClientRequest) =>
            Effect.fail(new HttpClientError.RequestError({ request, reason: "Transport", cause: new Error(token) })),
          (request: HttpClientRequest.HttpClientRequest) =>
            Effect.succeed(HttpClientResponse.fromWeb(request, new Response(token, { status: 400 })))
        ]
      ) {
        const { asked, layer, told } = faked(answer)
        yield* during(layer, TestClock.adjust("70 seconds"))
        assert.isTrue(asked.length > 0 && asked.every((header) => header === token))
        assert.strictEqual(told.length, 1)
        assert.include(told[0], "OtlpMetrics")
        assert.notInclude(told[0], token)
      }
    }))

  it.scoped("R1: is given up after ten seconds and tried four times, a second apart", () =>
    Effect.gen(function*() {
      const { asked, layer, told } = faked(() => Effect.never)
      yield* during(
        layer,
        Effect.gen(function*() {
          const at = (millis: number) => Effect.map(TestClock.adjust(millis), () => asked.length)
          assert.strictEqual(yield* at(59_999), 0)
          assert.strictEqual(yield* at(1), 1)
          assert.strictEqual(yield* at(10_999), 1)
          assert.strictEqual(yield* at(1), 2)
          assert.strictEqual(yield* at(11_000), 3)
          assert.strictEqual(yield* at(11_000), 4)
          assert.deepStrictEqual([yield* at(9_999), told.length], [4, 0])
          assert.deepStrictEqual([yield* at(1), told.length], [4, 1])
          // The next interval ends in the minute's pause, or with it.
          assert.strictEqual(yield* at(59_999), 4)
          assert.strictEqual(yield* at(1), 5)
        })
      )
    }))

  it.scoped("R1: waits for as long as a 429 asks", () =>
    Effect.gen(function*() {
      const { asked, layer } = faked((request) =>
        Effect.succeed(
          HttpClientResponse.fromWeb(request, new Response(null, { status: 429, headers: { "retry-after": "7" } }))
        )
      )
      yield* during(
        layer,
        Effect.gen(function*() {
          yield* TestClock.adjust("1 minute")
          yield* TestClock.adjust(6_999)
          assert.strictEqual(asked.length, 1)
          yield* TestClock.adjust(1)
          assert.strictEqual(asked.length, 2)
        })
      )
    }))
})

describe("options", () => {
  const refusal = (options: Partial<Otlp.Options>) =>
    Either.getOrThrow(
      Either.flip(Either.try(() => Otlp.layer({ url: "http://localhost", serviceName: "a", ...options })))
    )

  it("are checked when the layer is built", () => {
    for (
      const [options, name] of [
        [{ url: "localhost:4318" }, "url"],
        [{ url: "" }, "url"],
        [{ serviceName: " " }, "serviceName"],
        [{ serviceVersion: "" }, "serviceVersion"],
        [{ batch: 0 }, "batch"],
        [{ batch: 100_001 }, "batch"],
        [{ timeout: 0 }, "timeout"],
        [{ metricsInterval: "-1 seconds" as never }, "metricsInterval"]
      ] satisfies ReadonlyArray<readonly [Partial<Otlp.Options>, string]>
    ) {
      const error = refusal(options)
      assert(error instanceof InvalidOption)
      assert.strictEqual(error.option, `Otlp.layer({ ${name} })`)
    }
    Otlp.layer({ url: "https://collector/prefix", serviceName: "a", batch: 1, timeout: 1 })
  })

  it("O3: a URL with a key in it is refused, and the key not shown", () => {
    for (
      const url of [
        `http://me:${token}@host`,
        `http://${token}@host`,
        `http://host/?key=${token}`,
        `http://host#${token}`
      ]
    ) {
      const error = refusal({ url })
      assert(error instanceof InvalidOption)
      assert.notInclude(inspect(error, { depth: Infinity, showHidden: true }), token)
    }
  })
})

describe("OpenTelemetry's variables", () => {
  const configured = <A>(effect: Effect.Effect<A>, variables: Record<string, string>) =>
    effect.pipe(
      Effect.provide(Layer.provide(Otlp.layerConfig(), FetchHttpClient.layer)),
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables))))
    )

  it.scopedLive("say where to, as whom and with what headers", () =>
    Effect.gen(function*() {
      const { received, services, url } = yield* collector()
      yield* configured(Effect.orDie(ask), {
        OTEL_EXPORTER_OTLP_ENDPOINT: url,
        OTEL_EXPORTER_OTLP_HEADERS: `Api-Key=${token}, x-tenant = a%20b%3D `,
        OTEL_SERVICE_NAME: "shop",
        OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=staging"
      })
      assert.isAbove(received.length, 0)
      for (const { body, headers } of received) {
        assert.strictEqual(headers["api-key"], token)
        assert.strictEqual(headers["x-tenant"], "a b=")
        assert.include(body, "staging")
      }
      assert.isTrue(services().every((name) => name === "shop"))
    }))

  it.scopedLive("O3: that cannot be used fail the layer, without a header in the error", () =>
    Effect.gen(function*() {
      for (
        const variables of [
          { OTEL_EXPORTER_OTLP_ENDPOINT: "collector" },
          { OTEL_EXPORTER_OTLP_ENDPOINT: `http://me:${token}@host` },
          { OTEL_EXPORTER_OTLP_HEADERS: token },
          { OTEL_EXPORTER_OTLP_HEADERS: `=${token}` },
          { OTEL_EXPORTER_OTLP_HEADERS: `api-key=${token}%` },
          { OTEL_EXPORTER_OTLP_HEADERS: `api-key=${token}%0A` },
          { OTEL_SERVICE_NAME: " " }
        ]
      ) {
        const exit = yield* Effect.exit(configured(Effect.void, variables))
        assert(Exit.isFailure(exit) && Cause.isFailType(exit.cause), String(exit))
        assert.notInclude(inspect(exit.cause.error, { depth: Infinity, showHidden: true }), token)
      }
    }))
})
