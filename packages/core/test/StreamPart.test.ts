import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Duration, Schema } from "effect"
import * as fc from "effect/FastCheck"
import { type LlmRequest, LlmResponse, RateLimits, StreamPart } from "perdure"
import { receipt } from "./support/errors.ts"

const usage = new LlmResponse.Usage({ inputTokens: 7 })
const rateLimits = new RateLimits.RateLimits({
  tokens: new RateLimits.Limit({ limit: 9, remaining: 0, reset: Duration.seconds(1) })
})

/** One of every kind, and whether it is output; that none is missing is for the compiler to check. */
const parts: { readonly [K in StreamPart.StreamPart["_tag"]]: readonly [StreamPart.StreamPart, boolean] } = {
  TextDelta: [StreamPart.TextDelta.make({ text: "hi" }), true],
  ReasoningDelta: [StreamPart.ReasoningDelta.make({ text: "hm", signature: "s", provider: "anthropic" }), true],
  ToolCallStart: [StreamPart.ToolCallStart.make({ id: "1", name: "weather" }), true],
  ToolCallDelta: [StreamPart.ToolCallDelta.make({ id: "1", arguments: "{" }), true],
  ToolCallEnd: [StreamPart.ToolCallEnd.make({ id: "1" }), true],
  Usage: [StreamPart.UsagePart.make({ usage }), false],
  Finish: [StreamPart.Finish.make({ finishReason: "stop", model: "gpt-4o-dated", rateLimits, receipt }), false],
  Restarted: [StreamPart.Restarted.make({ provider: "anthropic", model: "claude" }), false]
}

describe("isOutput", () => {
  for (const [tag, [part, output]] of Object.entries(parts)) {
    it(`${tag} is ${output ? "" : "not "}output`, () => assert.strictEqual(StreamPart.isOutput(part), output))
  }
  it("empty text is not output, nor is empty reasoning", () => {
    assert.isFalse(StreamPart.isOutput(StreamPart.TextDelta.make({ text: "" })))
    assert.isFalse(StreamPart.isOutput(StreamPart.ReasoningDelta.make({ text: "" })))
  })
  it("white space is output: it is part of the answer", () => {
    assert.isTrue(StreamPart.isOutput(StreamPart.TextDelta.make({ text: "\n" })))
  })
})

describe("an answer and its parts", () => {
  const target = { provider: "anthropic", model: "claude" }
  const thought = (text: string, fields: Partial<Omit<typeof LlmRequest.ReasoningPart.Type, "_tag">> = {}) =>
    ({ _tag: "ReasoningDelta", text, ...fields }) as const
  const contentOf = (...parts: ReadonlyArray<StreamPart.StreamPart>) => StreamPart.toResponse(parts, target).content
  const signed = { signature: "s", provider: "a" }

  it("a signature brings its author to the reasoning before it", () => {
    assert.deepStrictEqual(contentOf(thought("one"), thought("", signed)), [
      { _tag: "Reasoning", text: "one", ...signed }
    ])
  })

  it("reasoning of two providers is never joined", () => {
    assert.deepStrictEqual(contentOf(thought("one", { provider: "a" }), thought("two", { provider: "b" })), [
      { _tag: "Reasoning", text: "one", provider: "a" },
      { _tag: "Reasoning", text: "two", provider: "b" }
    ])
  })

  it("reasoning without an author goes on with the one before it", () => {
    assert.deepStrictEqual(
      contentOf(thought("one", { provider: "a" }), thought("two", { provider: undefined }), thought("", signed)),
      [{ _tag: "Reasoning", text: "onetwo", ...signed }]
    )
  })

  it("an answer comes back from its parts as it was, whoever signed its reasoning", () => {
    const name = fc.constantFrom("a", "b")
    const part: fc.Arbitrary<LlmRequest.AssistantPart> = fc.oneof(
      fc.record({ _tag: fc.constant("Reasoning" as const), text: fc.string(), signature: fc.string(), provider: name }),
      fc.record({ _tag: fc.constant("ToolCall" as const), id: fc.uuid(), name: fc.string(), arguments: fc.string() })
    )
    fc.assert(
      fc.property(fc.array(part), fc.boolean(), (content, limited) => {
        const response = new LlmResponse.LlmResponse({
          ...target,
          content,
          finishReason: "stop",
          usage,
          ...(limited ? { rateLimits } : {})
        })
        assert.deepStrictEqual(StreamPart.toResponse(StreamPart.fromResponse(response), target), response)
      }),
      { numRuns: 2000 }
    )
  })
})

describe("encoding", () => {
  const json = Schema.parseJson(StreamPart.StreamPart)
  for (const [tag, [part]] of Object.entries(parts)) {
    it(`${tag} comes back from JSON as it was`, () => {
      assert.deepStrictEqual(Schema.decodeSync(json)(Schema.encodeSync(json)(part)), part)
    })
  }
  it("covers every part there is", () => {
    assert.strictEqual(Object.keys(parts).length, StreamPart.StreamPart.members.length)
    expectTypeOf<keyof typeof parts>().toEqualTypeOf<StreamPart.StreamPart["_tag"]>()
  })
})
