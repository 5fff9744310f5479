import { assert, describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Schema } from "effect"
import { LlmProvider, LlmRequest, LlmResponse, Policy, Retry } from "perdure"
import { failureOf, openAi, run } from "./support/provider.ts"

const Capital = Schema.Struct({ city: Schema.String, inhabitants: Schema.NumberFromString })

/** Answers with the given texts in turn, and keeps what it was asked. */
const answering = (...texts: ReadonlyArray<string>) => {
  const asked: Array<LlmRequest.LlmRequest> = []
  const layer = LlmProvider.layer({
    ...openAi,
    generate: (request) =>
      Effect.sync(() => {
        const text = texts[Math.min(asked.length, texts.length - 1)] ?? ""
        asked.push(request)
        return new LlmResponse.LlmResponse({
          ...openAi,
          content: [LlmRequest.text(text)],
          finishReason: text.endsWith("}") || text.endsWith("`") ? "stop" : "length"
        })
      })
  })
  return { asked, layer }
}

const good = `{"city":"Lima","inhabitants":"10000000"}`
const ask = <A, I>(schema: Schema.Schema<A, I>) => LlmProvider.generateObject("Capital of Peru?", { schema })

describe("LlmProvider.generateObject", () => {
  it.effect("asks for the schema's JSON Schema and decodes the answer", () =>
    Effect.gen(function*() {
      const { asked, layer } = answering(good)
      const { response, value } = yield* ask(Capital).pipe(Effect.provide(layer))
      assert.deepStrictEqual(value, { city: "Lima", inhabitants: 10_000_000 })
      assert.strictEqual(response.receipt.attempts.length, 1)
      expect(asked[0]?.responseFormat).toMatchObject({
        _tag: "JsonSchema",
        name: "answer",
        strict: true,
        schema: { type: "object", required: ["city", "inhabitants"], additionalProperties: false }
      })
    }))

  it.effect("does not ask for exactness where the schema does not allow it", () =>
    Effect.gen(function*() {
      const { asked, layer } = answering(`{"city":"Lima"}`)
      const loose = Schema.Struct({ city: Schema.String, river: Schema.optional(Schema.String) })
      yield* ask(loose).pipe(Effect.provide(layer))
      expect(asked[0]?.responseFormat).toMatchObject({ strict: false })
    }))

  it.effect("takes JSON out of a code block", () =>
    Effect.gen(function*() {
      const { layer } = answering("```json\n" + good + "\n```")
      assert.strictEqual((yield* ask(Capital).pipe(Effect.provide(layer))).value.city, "Lima")
    }))

  it.effect("O3: names the places that do not fit, and nothing of what was there", () =>
    Effect.gen(function*() {
      const { layer } = answering(`{"city":17,"inhabitants":"secret words"}`)
      const { exit } = yield* run(ask(Capital).pipe(Effect.provide(layer)))
      const failure = failureOf(exit)
      assert(failure._tag === "MalformedResponse")
      assert.strictEqual(failure.detail, "the answer does not fit the schema at city")
      assert.strictEqual(failure.receipt?.attempts.length, 1)
    }))

  it.effect("says when the limit on output tokens cut the answer", () =>
    Effect.gen(function*() {
      const { layer } = answering(`{"city":"Li`)
      const { exit } = yield* run(ask(Capital).pipe(Effect.provide(layer)))
      assert.strictEqual(
        failureOf(exit).detail,
        "the answer is not JSON; it was cut by the limit on output tokens"
      )
    }))

  it.effect("an answer that does not fit is repeated by a retry around it", () =>
    Effect.gen(function*() {
      const { asked, layer } = answering(`{"city":"Lima"}`, "sorry", good)
      const { exit } = yield* run(ask(Capital).pipe(Policy.retry(Retry.standard), Effect.provide(layer)))
      assert(Exit.isSuccess(exit))
      assert.strictEqual(asked.length, 3)
    }))

  it.effect("R7: but not for a request that is not idempotent", () =>
    Effect.gen(function*() {
      const { asked, layer } = answering("sorry", good)
      const once = LlmProvider.generateObject({ messages: [LlmRequest.user("pay")], idempotent: false }, {
        schema: Capital
      })
      const { exit } = yield* run(once.pipe(Policy.retry(Retry.standard), Effect.provide(layer)))
      assert.strictEqual(failureOf(exit)._tag, "MalformedResponse")
      assert.strictEqual(asked.length, 1)
    }))
})
