import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Schema } from "effect"
import { LlmResponse, StreamPart } from "perdure"
import { receipt } from "./support/errors.ts"

const usage = new LlmResponse.Usage({ inputTokens: 7 })

/** One of every kind, and whether it is output; that none is missing is for the compiler to check. */
const parts: { readonly [K in StreamPart.StreamPart["_tag"]]: readonly [StreamPart.StreamPart, boolean] } = {
  TextDelta: [StreamPart.TextDelta.make({ text: "hi" }), true],
  ReasoningDelta: [StreamPart.ReasoningDelta.make({ text: "hm" }), true],
  ToolCallStart: [StreamPart.ToolCallStart.make({ id: "1", name: "weather" }), true],
  ToolCallDelta: [StreamPart.ToolCallDelta.make({ id: "1", arguments: "{" }), true],
  ToolCallEnd: [StreamPart.ToolCallEnd.make({ id: "1" }), true],
  Usage: [StreamPart.UsagePart.make({ usage }), false],
  Finish: [StreamPart.Finish.make({ finishReason: "stop", model: "gpt-4o-dated", receipt }), false],
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
