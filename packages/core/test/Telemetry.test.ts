import { assert, describe, expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Option, Stream, TestClock, Tracer } from "effect"
import { CircuitBreaker, Hedge, LlmProvider, LlmRequest, LlmResponse, Policy, Retry, StreamPart } from "perdure"
import { answer, anthropic, failureOf, openAi, rateLimited, run, scripted, unavailable } from "./support/provider.ts"
import { collector } from "./support/telemetry.ts"

const ask = LlmRequest.make({ messages: [LlmRequest.user("hello")], temperature: 0.5, maxOutputTokens: 100 })
const twice = Policy.retry(Retry.exponential("2 seconds").pipe(Retry.attempts(2)))
const usage = new LlmResponse.Usage({ inputTokens: 12, outputTokens: 3, cachedInputTokens: 4 })
const told = new LlmResponse.LlmResponse({ ...answer("hi"), usage })
const text = (value: string) => StreamPart.TextDelta.make({ text: value })
const finish = StreamPart.Finish.make({ finishReason: "length", model: "dated" })

const streaming = (parts: Stream.Stream<StreamPart.StreamPart, never>, target: LlmProvider.TargetInfo = openAi) =>
  LlmProvider.make({ ...target, generate: () => Effect.dieMessage("only streams"), stream: () => parts })

const read = (service: LlmProvider.Service, options?: LlmProvider.StreamOptions) =>
  Stream.runDrain(LlmProvider.stream(ask, options)).pipe(Effect.provideService(LlmProvider.LlmProvider, service))

describe("spans", () => {
  it.effect("O2: one for the call and one for each attempt in it, with what the conventions ask for", () =>
    Effect.gen(function*() {
      const { install, named, spans } = collector()
      const first = scripted([rateLimited("3 seconds"), Effect.delay(Effect.succeed(told), "500 millis")])
      const layer = first.layer.pipe(LlmProvider.withPolicy(twice))
      yield* run(LlmProvider.generate(ask).pipe(Effect.provide(layer), Effect.withSpan("around"), install))
      assert.deepStrictEqual(spans.map(({ kind, name, parent }) => [name, kind, parent]), [
        ["around", "internal", undefined],
        ["perdure.call", "internal", "1"],
        ["chat gpt-4o", "client", "2"],
        ["chat gpt-4o", "client", "2"]
      ])
      const [failed, answered] = named("chat gpt-4o")
      const asked = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 100
      }
      assert.deepStrictEqual(Object.fromEntries(failed?.attributes ?? []), {
        ...asked,
        "perdure.attempt": 1,
        "error.type": "RateLimited",
        "http.response.status_code": 429,
        "perdure.retry_after": 3
      })
      expect(failed?.exit).toEqual(Exit.fail("RateLimited"))
      assert.deepStrictEqual(Object.fromEntries(answered?.attributes ?? []), {
        ...asked,
        "perdure.attempt": 2,
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 4
      })
      assert.deepStrictEqual([failed?.start, failed?.end, answered?.start, answered?.end], [0, 0, 3000, 3500])
      assert.isTrue(spans.every(({ ends }) => ends === 1))
    }))

  it.effect("O2: that of the call tells what became of it, and has no tokens", () =>
    Effect.gen(function*() {
      const { install, named } = collector()
      const layer = scripted([unavailable()]).layer.pipe(
        LlmProvider.withPolicy(twice),
        LlmProvider.orElse(
          scripted([new LlmResponse.LlmResponse({ ...answer("hi", anthropic), usage })], anthropic).layer
        )
      )
      yield* run(LlmProvider.generate(ask).pipe(Effect.provide(layer), install))
      const [call] = named("perdure.call")
      const { "perdure.call": number, ...rest } = Object.fromEntries(call?.attributes ?? [])
      assert.isNumber(number)
      assert.deepStrictEqual(rest, {
        "perdure.requested.provider": "openai",
        "perdure.requested.model": "gpt-4o",
        "perdure.served.provider": "anthropic",
        "perdure.served.model": "claude-2024-08-06",
        "perdure.outcome": "answered",
        "perdure.fallback": true,
        "perdure.attempts": 3,
        "perdure.waited": 2
      })
      assert.deepStrictEqual(call?.events, [
        ["perdure.wait", 0, { "perdure.wait": 2, "error.type": "ProviderUnavailable" }],
        ["perdure.fallback", 2000, {
          "perdure.from.provider": "openai",
          "perdure.from.model": "gpt-4o",
          "perdure.to.provider": "anthropic",
          "perdure.to.model": "claude",
          "error.type": "ProviderUnavailable"
        }]
      ])
      expect(call?.exit).toEqual(Exit.void)
    }))

  it.effect("O2: tell of an open circuit, and of the call's failure by its class", () =>
    Effect.gen(function*() {
      const { install, named } = collector()
      const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1) })
      const layer = scripted([unavailable()]).layer.pipe(LlmProvider.withPolicy(breaker))
      const call = LlmProvider.generate(ask).pipe(Effect.provide(layer))
      yield* Effect.exit(call)
      const { exit } = yield* run(install(call))
      assert.strictEqual(failureOf(exit)._tag, "CircuitOpen")
      const [span] = named("perdure.call")
      assert.deepStrictEqual(span?.events, [["perdure.refusal", 0, {
        "perdure.provider": "openai",
        "perdure.model": "gpt-4o",
        "error.type": "CircuitOpen",
        "perdure.retry_after": 30
      }]])
      assert.strictEqual(span?.attributes.get("error.type"), "CircuitOpen")
      expect(span?.exit).toEqual(Exit.fail("CircuitOpen"))
      assert.strictEqual(named("chat gpt-4o").length, 0)
    }))

  it.effect("O2: tell of a circuit that opens, in the call that opened it", () =>
    Effect.gen(function*() {
      const { install, named } = collector()
      const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1) })
      const layer = scripted([unavailable()]).layer.pipe(LlmProvider.withPolicy(breaker))
      yield* Effect.exit(install(LlmProvider.generate(ask).pipe(Effect.provide(layer))))
      assert.deepStrictEqual(named("perdure.call")[0]?.events, [["perdure.breaker", 0, {
        "perdure.circuit": "openai/gpt-4o",
        "perdure.breaker.from": "closed",
        "perdure.breaker.to": "open"
      }]])
    }))

  it.effect("O2: a provider's own spans are in the attempt's", () =>
    Effect.gen(function*() {
      const { install, spans } = collector()
      const { service } = scripted([Effect.withSpan(Effect.succeed(told), "http.client")])
      yield* service.generate(ask).pipe(install)
      assert.deepStrictEqual(spans.map(({ name, parent }) => [name, parent]), [
        ["perdure.call", undefined],
        ["chat gpt-4o", "1"],
        ["http.client", "2"]
      ])
    }))

  it.effect("O2: that of an attempt tells where the provider is, and which try it was", () =>
    Effect.gen(function*() {
      const { install, named } = collector()
      const service = LlmProvider.make({
        ...openAi,
        server: { address: "api.openai.com", port: 443 },
        generate: () => Effect.succeed(told)
      })
      yield* install(service.generate(ask))
      expect(Object.fromEntries(named("chat gpt-4o")[0]?.attributes ?? [])).toMatchObject({
        "server.address": "api.openai.com",
        "server.port": 443,
        "perdure.attempt": 1
      })
    }))

  it.effect("O2: nothing is done where no tracer is installed, or tracing is off", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const look = Effect.flatMap(Effect.option(Effect.currentSpan), (span) => {
        seen.push(span._tag === "None" ? "none" : span.value.name)
        return Effect.succeed(told)
      })
      const { service } = scripted([look])
      yield* service.generate(ask)
      const { install, spans } = collector()
      yield* service.generate(ask).pipe(Effect.withTracerEnabled(false), install)
      yield* service.generate(ask).pipe(install)
      assert.deepStrictEqual(seen, ["none", "none", "chat gpt-4o"])
      assert.strictEqual(spans.length, 2)
    }))

  it.effect("O2: have the parent and the annotations that Effect's own would have", () =>
    Effect.gen(function*() {
      const { install, spans } = collector()
      yield* scripted([told]).service.generate(ask).pipe(
        Effect.annotateSpans("team", "red"),
        Effect.withTracerEnabled(true),
        Effect.withSpan("hidden"),
        Effect.withTracerEnabled(false),
        Effect.withSpan("around"),
        install
      )
      assert.deepStrictEqual(spans.map(({ attributes, name, parent }) => [name, parent, attributes.get("team")]), [
        ["around", undefined, undefined],
        ["perdure.call", "1", "red"],
        ["chat gpt-4o", "2", "red"]
      ])
    }))

  it.effect("O2: of a call within a call there is one, which tells of the waits in both", () =>
    Effect.gen(function*() {
      const { install, spans } = collector()
      const inner = LlmProvider.withPolicy(scripted([unavailable(), told], anthropic).layer, twice)
      const outer = LlmProvider.make({
        ...openAi,
        generate: () => LlmProvider.generate(ask).pipe(Effect.provide(inner))
      })
      yield* run(install(outer.generate(ask)))
      assert.deepStrictEqual(spans.map(({ ends, name, parent }) => [name, parent, ends]), [
        ["perdure.call", undefined, 1],
        ["chat gpt-4o", "1", 1],
        ["chat claude", "2", 1],
        ["chat claude", "2", 1]
      ])
      assert.deepStrictEqual(spans[0]?.events.map(([name]) => name), ["perdure.wait"])
    }))

  it.effect("O2: a policy applied by hand tells of its waits in the span around it", () =>
    Effect.gen(function*() {
      const { install, named } = collector()
      yield* run(scripted([unavailable(), told]).service.generate(ask).pipe(twice, Effect.withSpan("around"), install))
      const events = named("around")[0]?.events.filter(([name]) => name.startsWith("perdure."))
      assert.deepStrictEqual(events?.map(([name, at]) => [name, at]), [["perdure.wait", 0]])
      assert.strictEqual(named("perdure.call").length, 2)
    }))

  it.effect("O2: those of a stream end with the stream", () =>
    Effect.gen(function*() {
      const { install, named } = collector()
      const parts = Stream.concat(
        Stream.fromEffect(Effect.delay(Effect.succeed(text("Hel")), "200 millis")),
        Stream.concat(
          Stream.fromEffect(Effect.delay(Effect.succeed(text("lo")), "700 millis")),
          Stream.make(StreamPart.UsagePart.make({ usage }), finish)
        )
      )
      const fiber = yield* Effect.fork(install(read(streaming(parts))))
      yield* TestClock.adjust("899 millis")
      assert.deepStrictEqual([named("perdure.call")[0]?.ends, named("chat gpt-4o")[0]?.ends], [0, 0])
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
      const [attempt] = named("chat gpt-4o")
      expect(Object.fromEntries(attempt?.attributes ?? [])).toMatchObject({
        "gen_ai.request.stream": true,
        "gen_ai.response.time_to_first_chunk": 0.2,
        "gen_ai.response.model": "dated",
        "gen_ai.response.finish_reasons": ["length"],
        "gen_ai.usage.output_tokens": 3
      })
      assert.deepStrictEqual([attempt?.end, attempt?.ends], [900, 1])
      assert.deepStrictEqual([named("perdure.call")[0]?.end, named("perdure.call")[0]?.ends], [900, 1])
    }))

  it.effect("O2: those of a stream that its reader leaves, and of an interrupted call, end there", () =>
    Effect.gen(function*() {
      for (
        const left of [
          read(streaming(Stream.concat(Stream.make(text("a")), Stream.never))),
          scripted([Effect.never]).service.generate(ask)
        ]
      ) {
        const { install, spans } = collector()
        const fiber = yield* Effect.fork(install(left))
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(spans.map(({ ends }) => ends), [0, 0])
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(spans.map(({ ends }) => ends), [1, 1])
        assert.isTrue(spans.every(({ exit }) => exit !== undefined && Exit.isInterrupted(exit)))
        assert.isFalse(spans.some(({ attributes }) => attributes.has("error.type")))
        assert.strictEqual(spans[0]?.attributes.get("perdure.outcome"), "interrupted")
      }
    }))

  it.effect("O2: a stream that starts again elsewhere stays in its call's span", () =>
    Effect.gen(function*() {
      const { install, spans } = collector()
      const cut = LlmProvider.make({
        ...openAi,
        generate: () => Effect.dieMessage("only streams"),
        stream: () => Stream.concat(Stream.make(text("a")), Stream.fail(unavailable()))
      })
      const layer = LlmProvider.orElse(
        Layer.succeed(LlmProvider.LlmProvider, cut),
        Layer.succeed(LlmProvider.LlmProvider, streaming(Stream.make(text("b"), finish), anthropic))
      )
      yield* Stream.runDrain(LlmProvider.stream(ask, { whenCut: "restart" })).pipe(Effect.provide(layer), install)
      assert.deepStrictEqual(spans.map(({ ends, name, parent }) => [name, parent, ends]), [
        ["perdure.call", undefined, 1],
        ["chat gpt-4o", "1", 1],
        ["chat claude", "1", 1]
      ])
      assert.deepStrictEqual(spans[0]?.events.map(([name]) => name), ["perdure.fallback"])
    }))

  it.effect("O2: a hand-written provider has one, a wrapper around one of ours none of its own", () =>
    Effect.gen(function*() {
      const { install, spans } = collector()
      const inner = scripted([Effect.delay(Effect.succeed(told), "1 second")]).service
      const open = () => Effect.fail(unavailable())
      const byHand = LlmProvider.LlmProvider.of({
        targets: [openAi],
        generate: () => Effect.delay(Effect.succeed(told), "1 second"),
        open
      })
      const wrapper = LlmProvider.LlmProvider.of({
        targets: [openAi],
        generate: (request) => inner.generate(request),
        open
      })
      for (const service of [byHand, wrapper]) {
        yield* run(LlmProvider.generate(ask).pipe(Effect.provideService(LlmProvider.LlmProvider, service), install))
      }
      assert.deepStrictEqual(
        spans.map(({ ends, name, parent }) => [name, parent, ends]),
        [["perdure.call", undefined, 1], ["chat gpt-4o-2024-08-06", "1", 1], ["perdure.call", undefined, 1], [
          "chat gpt-4o",
          "3",
          1
        ]]
      )
      const [byHandAttempt] = spans.filter(({ parent }) => parent === "1")
      assert.strictEqual((byHandAttempt?.end ?? 0) - (byHandAttempt?.start ?? 0), 1000)
    }))

  it.effect("O2: of a hedge each try has one; the loser's is interrupted", () =>
    Effect.gen(function*() {
      const { install, named } = collector()
      const slow = scripted([Effect.never, Effect.delay(Effect.succeed(told), "1 second")])
      const layer = slow.layer.pipe(LlmProvider.withPolicy(Hedge.make({ after: "2 seconds" })))
      yield* run(LlmProvider.generate(ask).pipe(Effect.provide(layer), install))
      const attempts = named("chat gpt-4o")
      assert.deepStrictEqual(attempts.map(({ attributes }) => attributes.get("perdure.hedge")), [undefined, true])
      assert.deepStrictEqual(
        attempts.map(({ exit }) => exit !== undefined && Exit.isInterrupted(exit)),
        [true, false]
      )
      assert.deepStrictEqual(attempts.map(({ ends, parent }) => [ends, parent]), [[1, "1"], [1, "1"]])
    }))

  it.effect("a tracer that throws harms no call, nor does a span", () =>
    Effect.gen(function*() {
      const fail = () => {
        throw new Error("tracer")
      }
      const broken: Tracer.Span = {
        _tag: "Span",
        name: "broken",
        spanId: "1",
        traceId: "1",
        parent: Option.none(),
        context: Context.empty(),
        status: { _tag: "Started", startTime: 0n },
        attributes: new Map(),
        links: [],
        sampled: true,
        kind: "internal",
        end: fail,
        attribute: fail,
        event: fail,
        addLinks: fail
      }
      for (const span of [fail, () => broken]) {
        const layer = LlmProvider.withPolicy(scripted([unavailable(), told]).layer, twice)
        const { exit } = yield* run(
          LlmProvider.generate(ask).pipe(
            Effect.provide(layer),
            Effect.withTracer(Tracer.make({ span, context: (f) => f() }))
          )
        )
        assert(Exit.isSuccess(exit))
      }
    }))

  it.effect("a thousand calls at once keep their spans apart", () =>
    Effect.gen(function*() {
      const { install, spans } = collector()
      const failed = new Set<unknown>()
      const provider = LlmProvider.make({
        ...openAi,
        // Fails once for each request, and gives way to all the others every time.
        generate: (request) =>
          Effect.zipRight(
            Effect.yieldNow(),
            Effect.suspend(() => {
              if (failed.has(request)) return Effect.succeed(told)
              failed.add(request)
              return Effect.fail(unavailable())
            })
          )
      })
      const layer = LlmProvider.withPolicy(
        Layer.succeed(LlmProvider.LlmProvider, provider),
        Policy.retry(Retry.constant("1 nanos").pipe(Retry.attempts(2)))
      )
      yield* Effect.forEach(
        Array.from({ length: 1000 }, () => LlmRequest.make({ messages: [LlmRequest.user("hello")] })),
        (request) => LlmProvider.generate(request),
        { concurrency: "unbounded" }
      ).pipe(Effect.provide(layer), install)
      const children = new Map<unknown, Array<unknown>>()
      for (const { attributes, name, parent } of spans) {
        if (name === "chat gpt-4o") {
          children.set(parent, [...children.get(parent) ?? [], attributes.get("perdure.attempt")])
        }
      }
      assert.strictEqual(children.size, 1000)
      for (const [, attempts] of children) assert.deepStrictEqual(attempts, [1, 2])
    }))
})
