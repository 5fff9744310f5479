import { assert, describe, it } from "@effect/vitest"
import { LlmRequest } from "perdure"
import * as Tokens from "../src/internal/tokens.ts"

const count = (options: Partial<LlmRequest.Options>): number =>
  Tokens.inputTokens(LlmRequest.make({ messages: [LlmRequest.user("12345678")], ...options }))

const png: LlmRequest.UserPart = {
  _tag: "Image",
  source: { _tag: "Url", url: "https://example.com/a.png" }
}

describe("the estimate of a request's tokens", () => {
  it("is a token for four characters of text, rounded up once", () => {
    assert.strictEqual(count({}), 2)
    assert.strictEqual(count({ messages: [LlmRequest.user("1"), LlmRequest.user("2")] }), 1)
    assert.strictEqual(count({ messages: [LlmRequest.user("12345")] }), 2)
    assert.strictEqual(count({ messages: [LlmRequest.user("")] }), 0)
  })

  it("counts every message: instructions, answers with reasoning and tool calls, and the tools' results", () => {
    const messages = [
      LlmRequest.system("1234"),
      LlmRequest.user([LlmRequest.text("1234"), LlmRequest.text("1234")]),
      LlmRequest.assistant([
        { _tag: "Reasoning", text: "1234" },
        { _tag: "Text", text: "1234" },
        { _tag: "ToolCall", id: "call-1", name: "1234", arguments: "1234" }
      ]),
      LlmRequest.toolResult({ id: "call-1", name: "1234" }, "1234")
    ] as const
    assert.strictEqual(count({ messages }), 8)
  })

  it("counts tools and the answer's schema as the JSON that is sent", () => {
    const parameters = { type: "object" }
    const length = JSON.stringify(parameters).length
    const tool = { name: "1234", description: "1234", parameters }
    assert.strictEqual(count({ tools: [tool] }), Math.ceil((8 + 8 + length) / 4))
    assert.strictEqual(count({ tools: [tool, tool] }), Math.ceil((8 + 2 * (8 + length)) / 4))
    const responseFormat = { _tag: "JsonSchema", name: "answer", schema: parameters, strict: true } as const
    assert.strictEqual(count({ responseFormat }), Math.ceil((8 + length) / 4))
  })

  it("takes a schema that is no JSON for nothing, and does not throw", () => {
    const parameters: Record<string, unknown> = {}
    parameters["self"] = parameters
    assert.strictEqual(Tokens.inputTokens({ ...LlmRequest.make("12345678"), tools: [{ name: "", parameters }] }), 2)
  })

  it("is a fixed number for an image or a file, whatever it weighs", () => {
    const big = { _tag: "Base64", data: "x".repeat(1_000_000), mediaType: "image/png" } as const
    assert.strictEqual(count({ messages: [LlmRequest.user([png])] }), 765)
    assert.strictEqual(count({ messages: [LlmRequest.user([{ _tag: "Image", source: big }])] }), 765)
    assert.strictEqual(count({ messages: [LlmRequest.user([{ ...png, detail: "low" }])] }), 85)
    assert.strictEqual(count({ messages: [LlmRequest.user([{ _tag: "File", source: big }, png])] }), 3765)
  })
})
