import { describe, expect, it } from "@effect/vitest"
import { Either } from "effect"
import * as fc from "effect/FastCheck"
import * as AnthropicEvents from "../src/internal/anthropic/events.ts"
import * as AnthropicAnswer from "../src/internal/anthropic/response.ts"
import * as ChatAnswer from "../src/internal/openai/chatResponse.ts"
import * as ChatStream from "../src/internal/openai/chatStream.ts"

/** What stands where something is expected: mostly that, at times anything else, or nothing. */
const mostly = (expected: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof(
    { arbitrary: expected, weight: 12 },
    { arbitrary: fc.constantFrom(null, undefined), weight: 2 },
    { arbitrary: fc.jsonValue({ maxDepth: 1 }), weight: 1 }
  )

/** An object with these fields and a few others, such as comes out of JSON. */
const object = (fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<unknown> =>
  fc.record(
    { ...fields, other: fc.jsonValue({ maxDepth: 1 }) },
    { requiredKeys: [] }
  ).map((value) => JSON.parse(JSON.stringify(value)) as unknown)

const text = mostly(fc.string())
const list = (item: fc.Arbitrary<unknown>) => mostly(fc.array(mostly(item), { maxLength: 3 }))
const call = object({ index: mostly(fc.nat(3)), id: text, function: mostly(object({ name: text, arguments: text })) })
const message = object({
  content: fc.oneof(text, list(object({ type: text, text }))),
  refusal: text,
  reasoning: text,
  reasoning_content: text,
  tool_calls: fc.oneof(fc.constant(undefined), list(call))
})
const choice = object({
  index: mostly(fc.nat(2)),
  finish_reason: text,
  delta: mostly(message),
  message: mostly(message)
})
const chat = object({ id: text, model: text, choices: list(choice), usage: fc.jsonValue({ maxDepth: 1 }) })

const block = object({
  type: fc.constantFrom("text", "thinking", "tool_use", "later"),
  text,
  thinking: text,
  name: text
})
const answer = object({ id: text, model: text, content: list(block), stop_reason: text, usage: fc.jsonValue() })
const event = object({
  type: fc.constantFrom("content_block_delta", "content_block_delta", "content_block_stop", "message_delta"),
  index: mostly(fc.nat(3)),
  delta: mostly(object({
    type: fc.constantFrom("text_delta", "text_delta", "thinking_delta", "input_json_delta", "later"),
    text,
    thinking: text,
    partial_json: text
  }))
})

/** Compares the two on many values, and tells how many of them were taken and refused. */
const agree = (
  shapes: fc.Arbitrary<unknown>,
  { bySchema, decode }: {
    readonly bySchema: (value: unknown) => Either.Either<unknown, unknown>
    readonly decode: (value: never) => Either.Either<unknown, unknown>
  }
) => {
  const seen = { taken: 0, refused: 0 }
  fc.assert(
    fc.property(shapes, (value) => {
      const quick = decode(value as never)
      const slow = bySchema(value)
      expect(Either.isRight(quick)).toBe(Either.isRight(slow))
      if (Either.isLeft(quick) || Either.isLeft(slow)) {
        seen.refused++
        return
      }
      seen.taken++
      // What is not understood may be there or not: it is not looked at.
      expect(quick.right).toMatchObject(slow.right as object)
    }),
    { numRuns: 3000 }
  )
  return seen
}

describe("a shape that is taken at a glance is one that the schema takes, and the same", () => {
  it.each([
    ["a completion", chat, ChatAnswer],
    ["an event of a completion", chat, ChatStream],
    ["a message", answer, AnthropicAnswer],
    ["an event of a message", event, AnthropicEvents]
  ])("%s", (_, shapes, decoders) => {
    const { refused, taken } = agree(shapes, decoders)
    // Both kinds have come, or nothing was tested.
    expect(taken).toBeGreaterThan(100)
    expect(refused).toBeGreaterThan(100)
  })
})
