import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Inspectable, Layer, Logger, Metric, Option, Schema, Stream, TestContext } from "effect"
import * as fc from "effect/FastCheck"
import { Call, LlmError, LlmProvider, LlmRequest, LlmResponse, Policy, Receipt, Retry, StreamPart } from "perdure"
import { plain } from "./support/errors.ts"
import { anthropic, openAi, run } from "./support/provider.ts"
import { collector, lines } from "./support/telemetry.ts"

const letters = fc.array(
  fc.constantFrom(...Array.from("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")),
  {
    minLength: 24,
    maxLength: 40
  }
).map((all) => all.join(""))

/** Everything that must not be seen anywhere. */
const secrets = fc.record({
  key: letters.map((text) => `sk-${text}`),
  prompt: letters.map((text) => `PROMPT${text}`),
  output: letters.map((text) => `ANSWER${text}`),
  system: letters.map((text) => `SYSTEM${text}`),
  stop: letters.map((text) => `STOP${text}`),
  extra: letters.map((text) => `EXTRA${text}`)
})

const failures = Object.values(plain)

/** A map is shown as an object, which JSON would drop. */
const show = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) => {
    if (inner instanceof Map) return Object.fromEntries(inner)
    if (inner instanceof Error) return { ...inner, message: inner.message, stack: inner.stack }
    return typeof inner === "bigint" ? String(inner) : inner
  }) ?? String(value)

describe("O3: no key, prompt or answer is in a span, a line, a metric, a receipt, an event or a message", () => {
  it.effect("through every class of failure, of answers and of streams", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          secrets,
          fc.integer({ min: 0, max: failures.length }),
          fc.constantFrom("generate", "stream", "cut", "die"),
          async ({ extra, key, output, prompt, stop, system }, which, how) => {
            const failure = failures[which]
            // As a provider's layer does: the body names the key that was sent, and is redacted.
            const detail = LlmError.detail(`Incorrect API key provided: ${key}, Authorization: Bearer ${key}`, [key])
            const failed = failure === undefined
              ? undefined
              : Object.assign(LlmError.update(failure, { partial: output }), { detail })
            const response = new LlmResponse.LlmResponse({
              ...openAi,
              content: [LlmRequest.text(output)],
              finishReason: "stop",
              usage: new LlmResponse.Usage({ inputTokens: 3, outputTokens: 4 }),
              extras: { echo: prompt }
            })
            let asked = 0
            const end = () => asked++ === 0 && failed !== undefined ? failed : undefined
            const first = LlmProvider.make({
              ...openAi,
              generate: () => {
                if (how === "die") return Effect.die(new Error(`${key} ${prompt}`))
                const failed = end()
                return failed === undefined ? Effect.succeed(response) : Effect.fail(failed)
              },
              stream: () => {
                const failed = end()
                const part = Stream.make<[StreamPart.StreamPart]>(StreamPart.TextDelta.make({ text: output }))
                if (failed !== undefined) {
                  return how === "cut"
                    ? Stream.concat(part, Stream.fail(failed))
                    : Stream.fail(failed)
                }
                return Stream.concat(part, Stream.make(StreamPart.Finish.make({ finishReason: "stop" })))
              }
            })
            const layer = LlmProvider.orElse(
              LlmProvider.withPolicy(
                Layer.succeed(LlmProvider.LlmProvider, first),
                Policy.retry(Retry.exponential("2 seconds").pipe(Retry.attempts(2), Retry.honoringRetryAfter()))
              ),
              LlmProvider.layer({ ...anthropic, generate: () => Effect.succeed(response) })
            )
            const request = LlmRequest.make({
              messages: [LlmRequest.system(system), LlmRequest.user(prompt)],
              stop: [stop],
              extras: { openai: { metadata: extra, apiKey: key } }
            })
            const events: Array<Call.Event> = []
            const spans = collector()
            const log = lines()
            const program: Effect.Effect<unknown, LlmError.LlmError, LlmProvider.LlmProvider> =
              how === "stream" || how === "cut"
                ? Stream.runCollect(LlmProvider.stream(request))
                : LlmProvider.generate(request)
            const { exit } = await Effect.runPromise(
              run(program.pipe(
                Effect.provide(layer),
                Call.observe((event) => events.push(event)),
                log.install,
                spans.install
              )).pipe(Effect.provide([TestContext.TestContext, Logger.remove(Logger.defaultLogger)]))
            )
            const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
            const ended = events.findLast(({ _tag }) => _tag === "Ended")
            assert(ended?._tag === "Ended")
            const told = {
              spans: show(spans.spans),
              log: show(log.all.filter(({ facts }) => "perdure.outcome" in facts)),
              metrics: show(Metric.unsafeSnapshot()),
              events: show(events),
              receipt: show(Schema.encodeSync(Receipt.Receipt)(ended.receipt)),
              message: error?.message ?? "",
              printed: error === undefined ? "" : Inspectable.toStringUnknown(error)
            }
            assert.isAbove(spans.spans.length, 1)
            assert.include(told.log, "perdure.outcome")
            for (const [where, text] of Object.entries(told)) {
              for (const secret of [key, prompt, output, system, stop, extra]) {
                assert.isFalse(text.includes(secret), `${secret} is in ${where}: ${text}`)
              }
            }
            // The provider's own words are in the receipt and in the failure, and nowhere else.
            assert.isFalse(told.spans.includes("Incorrect") || told.log.includes("Incorrect"))
          }
        ),
        { numRuns: 200 }
      )
    ), 30_000)
})
