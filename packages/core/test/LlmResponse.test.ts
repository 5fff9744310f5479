import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, ParseResult, Schema, Struct } from "effect"
import * as fc from "effect/FastCheck"
import { LlmRequest, LlmResponse, Receipt } from "perdure"
import { rateLimits, receipt } from "./support/errors.ts"

const json = Schema.parseJson(LlmResponse.LlmResponse)
const toJson = Schema.encodeSync(json)
const fromJson = Schema.decodeUnknownSync(json)

const reasoning = (text: string) => LlmRequest.ReasoningPart.make({ text })
const call = (id: string) => LlmRequest.ToolCallPart.make({ id, name: "weather", arguments: "{}" })

const response = (content: ReadonlyArray<LlmRequest.AssistantPart>) =>
  new LlmResponse.LlmResponse({ provider: "openai", model: "gpt-4o", content, finishReason: "stop" })

const full = new LlmResponse.LlmResponse({
  id: "chatcmpl-1",
  provider: "openai",
  model: "gpt-4o-2024-08-06",
  content: [reasoning("hm"), LlmRequest.text("It "), call("1"), LlmRequest.text("rains."), call("2")],
  finishReason: "toolCalls",
  usage: new LlmResponse.Usage({
    inputTokens: 11,
    outputTokens: 3,
    cachedInputTokens: 5,
    cacheWriteTokens: 0,
    reasoningTokens: 1
  }),
  rateLimits,
  extras: { system_fingerprint: "fp", logprobs: null },
  receipt
})

describe("text", () => {
  it("joins the texts and leaves out reasoning and tool calls", () => assert.strictEqual(full.text, "It rains."))
  it("is empty when the model only asked for tools", () => assert.strictEqual(response([call("1")]).text, ""))
  it("is empty for an empty answer", () => assert.strictEqual(response([]).text, ""))

  it("holds every text once, in order", () => {
    const part = fc.oneof(
      fc.fullUnicodeString().map(LlmRequest.text),
      fc.string().map(reasoning),
      fc.string().map(call)
    )
    fc.assert(
      fc.property(fc.array(part), (content) => {
        const texts = content.flatMap((part) => part._tag === "Text" ? [part.text] : [])
        assert.strictEqual(response(content).text, texts.join(""))
      })
    )
  })
})

describe("toolCalls", () => {
  it("are those of the answer, in order", () => assert.deepStrictEqual(full.toolCalls, [call("1"), call("2")]))
  it("are none where there are none", () => assert.deepStrictEqual(response([LlmRequest.text("hi")]).toolCalls, []))
})

describe("usage", () => {
  const rows = [
    [{}, undefined],
    [{ inputTokens: 11 }, undefined],
    [{ outputTokens: 3 }, undefined],
    [{ inputTokens: 11, outputTokens: 3 }, 14],
    [{ inputTokens: 0, outputTokens: 0 }, 0],
    // A cache's tokens are part of those read, and reasoning's of those written.
    [{ inputTokens: 11, outputTokens: 3, cachedInputTokens: 5, cacheWriteTokens: 6, reasoningTokens: 2 }, 14]
  ] as const
  for (const [fields, total] of rows) {
    it(`${JSON.stringify(fields)} is ${total ?? "an unknown number of"} tokens in all`, () => {
      assert.strictEqual(new LlmResponse.Usage(fields).totalTokens, total)
    })
  }

  it("is unknown, not zero, on a response that does not say", () => {
    assert.deepStrictEqual({ ...response([]).usage }, {})
    assert.isUndefined(response([]).usage.totalTokens)
  })

  for (const field of Object.keys(LlmResponse.Usage.fields)) {
    it(`refuses ${field} below zero, of a fraction, or not a number, by name`, () => {
      for (const value of [-1, 1.5, Number.NaN, Infinity]) {
        const error = thrown(() => new LlmResponse.Usage({ [field]: value }))
        assert.instanceOf(error, ParseResult.ParseError)
        assert.include(error.message, `["${field}"]`)
        assert.include(error.message, `actual ${value}`)
      }
    })
  }
})

describe("a response", () => {
  it("built by hand has an empty receipt and no extras", () => {
    assert.strictEqual(response([]).receipt, Receipt.empty)
    assert.deepStrictEqual(response([]).extras, {})
  })

  it("refuses an unknown finish reason by name", () => {
    const fields = { ...response([]), finishReason: "content_filter" as never }
    assert.throws(() => new LlmResponse.LlmResponse(fields), /\["finishReason"\][^]*actual "content_filter"/)
  })

  it("with every field comes back from JSON as it was, receipt and all", () => {
    const back = fromJson(toJson(full))
    assert.instanceOf(back, LlmResponse.LlmResponse)
    assert.instanceOf(back.usage, LlmResponse.Usage)
    assert.deepStrictEqual({ ...back }, { ...full })
    assert.strictEqual(back.text, full.text)
    assert.strictEqual(back.usage.totalTokens, 14)
    assert.sameMembers(Object.keys(full), Object.keys(LlmResponse.LlmResponse.fields))
  })

  it("any comes back from JSON as it was", () => {
    // The arbitrary of any JSON object holds things that JSON does not, and that of a duration infinite ones.
    const { fields } = LlmResponse.LlmResponse
    const ours = Schema.typeSchema(Schema.Struct(Struct.omit(fields, "extras", "rateLimits", "receipt")))
    const any = fc.record({ ours: Arbitrary.make(ours), extras: fc.dictionary(fc.string(), fc.jsonValue()) })
      .map(({ extras, ours }) => new LlmResponse.LlmResponse({ ...ours, extras, rateLimits, receipt }))
    fc.assert(
      fc.property(any, (response) => {
        const text = toJson(response)
        const back = fromJson(text)
        assert.strictEqual(toJson(back), text)
        assert.strictEqual(back.text, response.text)
        assert.deepStrictEqual(back.toolCalls, response.toolCalls)
        assert.strictEqual(back.usage.totalTokens, response.usage.totalTokens)
      }),
      { numRuns: 300 }
    )
  })
})

/** What a function throws; `undefined` when it does not. */
function thrown(f: () => unknown): unknown {
  try {
    f()
    return undefined
  } catch (error) {
    return error
  }
}
