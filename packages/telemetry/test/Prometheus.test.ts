import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpServer from "@effect/platform/HttpServer"
import { assert, describe, expect, it } from "@effect/vitest"
import { Prometheus } from "@perdure/telemetry"
import { answer, overloaded, ScriptedProvider } from "@perdure/testing"
import {
  Effect,
  Layer,
  Logger,
  Metric,
  MetricBoundaries,
  MetricKey,
  MetricLabel,
  MetricPair,
  MetricState,
  Tracer
} from "effect"
import * as fc from "effect/FastCheck"
import { createServer } from "node:http"
import { InvalidOption, LlmProvider } from "perdure"
import { exposition } from "../src/internal/exposition.ts"
import { parse } from "./support/exposition.ts"

/** Only what has been made here: the process has other metrics too. */
const shown = (...names: ReadonlyArray<string>) =>
  Effect.map(
    Metric.snapshot,
    (pairs) => parse(exposition(pairs.filter(({ metricKey }) => names.includes(metricKey.name))))
  )

const Chain = ScriptedProvider.layer([overloaded()], { provider: "openai", model: "gpt-4o" }).pipe(
  LlmProvider.orElse(
    ScriptedProvider.layer([answer({ content: "An answer.", usage: { inputTokens: 12, outputTokens: 3 } })], {
      provider: "anthropic",
      model: "claude"
    })
  )
)
const ask = LlmProvider.generate("A prompt.").pipe(Effect.provide([Chain, Logger.remove(Logger.defaultLogger)]))

const Server = NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })
const served = (path: string) =>
  Effect.flatMap(
    HttpServer.addressFormattedWith((url) => Effect.succeed(url)),
    (url) =>
      Effect.promise(async () => {
        const response = await fetch(`${url}${path}`, { headers: { connection: "close" } })
        return { status: response.status, type: response.headers.get("content-type"), text: await response.text() }
      })
  )

describe("a scrape", () => {
  it.scopedLive("O2: has the metrics of a call by OpenTelemetry's names for Prometheus", () =>
    Effect.gen(function*() {
      yield* ask
      const { status, text, type } = yield* served("/metrics")
      assert.strictEqual(status, 200)
      assert.strictEqual(type, "text/plain; version=0.0.4; charset=utf-8")
      const families = parse(text)
      const calls = families.get("perdure_calls_total")
      assert.strictEqual(calls?.type, "counter")
      assert.strictEqual(calls?.help, "Calls by the target that they were meant for.")
      assert.deepStrictEqual(Array.from(calls?.samples ?? []), [[
        `perdure_calls_total{gen_ai_provider_name="openai",gen_ai_request_model="gpt-4o",perdure_outcome="answered"}`,
        1
      ]])
      assert.strictEqual(families.get("perdure_attempts_total")?.samples.size, 2)
      const target =
        `gen_ai_operation_name="chat",gen_ai_provider_name="anthropic",gen_ai_request_model="claude",gen_ai_token_type="input"`
      const tokens = families.get("gen_ai_client_token_usage")
      assert.strictEqual(tokens?.type, "histogram")
      const buckets = [4, 16].map((le) => tokens?.samples.get(`gen_ai_client_token_usage_bucket{${target},le="${le}"}`))
      assert.deepStrictEqual(buckets, [0, 1])
      assert.strictEqual(tokens?.samples.get(`gen_ai_client_token_usage_bucket{${target},le="+Inf"}`), 1)
      assert.strictEqual(tokens?.samples.get(`gen_ai_client_token_usage_sum{${target}}`), 12)
      assert.strictEqual(tokens?.samples.get(`gen_ai_client_token_usage_count{${target}}`), 1)
      assert.strictEqual(families.get("gen_ai_client_operation_duration_seconds")?.type, "histogram")
      assert.notMatch(text, /A prompt|An answer/)
    }).pipe(Effect.provide(Layer.provideMerge(Prometheus.layer(), Server))))

  it.scopedLive("is served on the path of the options and nowhere else, until the layer is closed", () =>
    Effect.gen(function*() {
      const url = yield* Effect.gen(function*() {
        assert.strictEqual((yield* served("/own/path")).status, 200)
        assert.strictEqual((yield* served("/metrics")).status, 404)
        return yield* HttpServer.addressFormattedWith((url) => Effect.succeed(url))
      }).pipe(Effect.provide(Layer.provideMerge(Prometheus.layer({ path: "/own/path" }), Server)))
      const after = yield* Effect.promise(() => fetch(`${url}/own/path`).then(() => "answered", () => "refused"))
      assert.strictEqual(after, "refused")
    }))

  it.scopedLive("leaves no span", () => {
    const spans: Array<string> = []
    const tracer = Tracer.make({
      span: (name, parent, context, links, startTime, kind) => {
        spans.push(name)
        return {
          _tag: "Span",
          name,
          spanId: "1",
          traceId: "1",
          parent,
          context,
          status: { _tag: "Started", startTime },
          attributes: new Map(),
          links,
          sampled: true,
          kind,
          end: () => {},
          attribute: () => {},
          event: () => {},
          addLinks: () => {}
        }
      },
      context: (f) => f()
    })
    return Effect.gen(function*() {
      yield* served("/metrics")
      yield* served("/other")
      assert.deepStrictEqual(spans, [])
    }).pipe(
      Effect.provide(Prometheus.layer().pipe(Layer.provideMerge(Server), Layer.provideMerge(Layer.setTracer(tracer))))
    )
  })

  it("is refused a path that is none", () => {
    for (const path of ["metrics", "", "/a?b", "/:id", "/*"]) {
      expect(() => Prometheus.layer({ path: path as "/" })).toThrow(InvalidOption)
    }
  })
})

const bounds = MetricBoundaries.fromIterable([1, 10])

/** A metric of each type, of a name, with a description, labels and a value. */
const pairOf = (
  [kind, name, description, value]: readonly [0 | 1 | 2 | 3, string, string, number],
  labels: ReadonlyArray<MetricLabel.MetricLabel>
): MetricPair.MetricPair.Untyped => {
  const tagged = MetricKey.taggedWithLabels(labels)
  switch (kind) {
    case 0:
      return MetricPair.unsafeMake(tagged(MetricKey.counter(name, { description })), MetricState.counter(value))
    case 1:
      return MetricPair.unsafeMake(
        tagged(MetricKey.counter(name, { description, incremental: true })),
        MetricState.counter(value)
      )
    case 2:
      return MetricPair.unsafeMake(tagged(MetricKey.gauge(name, { description })), MetricState.gauge(value))
    case 3:
      return MetricPair.unsafeMake(
        tagged(MetricKey.histogram(name, bounds, description)),
        MetricState.histogram({ buckets: [[1, 1], [10, 2], [Infinity, 3]], count: 3, min: 0, max: 20, sum: value })
      )
  }
}

describe("the text", () => {
  it.effect("escapes values of labels and help, and says the same after reading", () =>
    Effect.gen(function*() {
      const value = "a\\b\"c\nd é ☃ \\n"
      const counter = Metric.counter("escaped.one", { description: value, incremental: true })
      yield* Metric.increment(Metric.tagged(counter, "a.label", value))
      const family = (yield* shown("escaped.one")).get("escaped_one_total")
      assert.strictEqual(family?.help, value)
      assert.deepStrictEqual(Array.from(family?.samples.keys() ?? []), [
        `escaped_one_total{a_label=${JSON.stringify(value)}}`
      ])
    }))

  it.effect("has gauges, counters that go down, frequencies, summaries and numbers that are none", () =>
    Effect.gen(function*() {
      yield* Metric.set(Metric.gauge("kinds.gauge"), -Infinity)
      yield* Metric.incrementBy(Metric.counter("kinds.updown", { bigint: true }), 2n ** 60n)
      yield* Metric.update(Metric.frequency("kinds.words"), "one")
      const summary = Metric.summary({
        name: "kinds.summary",
        maxAge: "1 day",
        maxSize: 10,
        error: 0,
        quantiles: [0.5, 1]
      })
      yield* Effect.forEach([1, 2, 3], (value) => Metric.update(summary, value))
      const all = yield* shown("kinds.gauge", "kinds.updown", "kinds.words", "kinds.summary")
      const flat = Array.from(all.values()).flatMap(({ samples, type }) =>
        Array.from(samples, ([name, value]) => [type, name, value])
      )
      assert.deepStrictEqual(flat, [
        ["gauge", "kinds_gauge", -Infinity],
        ["summary", `kinds_summary{quantile="0.5"}`, 1],
        ["summary", `kinds_summary{quantile="1"}`, 3],
        ["summary", "kinds_summary_sum", 6],
        ["summary", "kinds_summary_count", 3],
        ["gauge", "kinds_updown", 2 ** 60],
        ["counter", `kinds_words_total{key="one"}`, 1]
      ])
    }))

  it.effect("has cumulative buckets, the last of which is everything", () =>
    Effect.gen(function*() {
      const histogram = Metric.histogram("some.time", MetricBoundaries.fromIterable([0.1, 1])).pipe(
        Metric.tagged("unit", "s"),
        Metric.tagged("le", "mine")
      )
      yield* Effect.forEach([0.05, 0.1, 0.5, 7], (value) => Metric.update(histogram, value))
      const family = (yield* shown("some.time")).get("some_time_seconds")
      assert.deepStrictEqual(Array.from(family?.samples ?? []), [
        [`some_time_seconds_bucket{exported_le="mine",le="0.1"}`, 2],
        [`some_time_seconds_bucket{exported_le="mine",le="1"}`, 3],
        [`some_time_seconds_bucket{exported_le="mine",le="+Inf"}`, 4],
        [`some_time_seconds_sum{exported_le="mine"}`, 7.65],
        [`some_time_seconds_count{exported_le="mine"}`, 4]
      ])
    }))

  it.effect("has each name once, whatever the metrics are called, and the unit in it", () =>
    Effect.gen(function*() {
      const counter = (name: string, unit = "") =>
        Metric.increment(Metric.tagged(Metric.counter(name, { incremental: true }), "unit", unit))
      yield* Effect.forEach(["a.b", "a_b", "a-b_total", "1st", "__c__"], (name) => counter(name))
      yield* Metric.set(Metric.gauge("a.b.total"), 5)
      yield* counter("spent", "EUR")
      yield* counter("sent.bytes", "By")
      yield* counter("rate", "{call}")
      yield* counter("share", "1")
      const all = yield* shown(
        "a.b",
        "a_b",
        "a-b_total",
        "a.b.total",
        "1st",
        "__c__",
        "spent",
        "sent.bytes",
        "rate",
        "share"
      )
      assert.deepStrictEqual(Array.from(all.keys()), [
        "_1st_total",
        "_c_total",
        "a_b_total",
        "rate_total",
        "sent_bytes_total",
        "share_total",
        "spent_EUR_total"
      ])
      assert.deepStrictEqual(Array.from(all.get("a_b_total")?.samples.keys() ?? []), ["a_b_total"])
    }))

  it("can be read whatever names, labels and values metrics have", () => {
    const word = fc.oneof(
      fc.string({ unit: "binary", maxLength: 8 }),
      fc.constantFrom("le", "a.b", "a_b", "__name__", "1", "")
    )
    const tags = fc.array(fc.tuple(word, word), { maxLength: 4 })
    const value = fc.oneof(fc.double(), fc.integer())
    const pair = fc.tuple(fc.tuple(fc.constantFrom(...([0, 1, 2, 3] as const)), word, word, value), tags).map((
      [what, tags]
    ) => pairOf(what, tags.map(([name, text]) => MetricLabel.make(name, text))))
    fc.assert(
      fc.property(fc.array(pair, { maxLength: 6 }), (pairs) => {
        // The first of a name is always there, the others unless they are in its way.
        assert.strictEqual(parse(exposition(pairs)).size === 0, pairs.length === 0)
      }),
      { numRuns: 5000 }
    )
  })
})
