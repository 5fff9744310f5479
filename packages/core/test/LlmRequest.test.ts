import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Arbitrary, ParseResult, Schema, Struct } from "effect"
import * as fc from "effect/FastCheck"
import { LlmRequest } from "perdure"

const json = Schema.parseJson(LlmRequest.LlmRequest)
const toJson = Schema.encodeSync(json)
const fromJson = Schema.decodeUnknownSync(json)

const hello = [LlmRequest.user("hello")] as const
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] }

const full = LlmRequest.make({
  messages: [
    LlmRequest.system("Be brief."),
    LlmRequest.user([
      LlmRequest.text("What is this?"),
      LlmRequest.ImagePart.make({ source: { _tag: "Base64", data: "aGk=", mediaType: "image/png" }, detail: "low" }),
      LlmRequest.FilePart.make({ source: { _tag: "Url", url: "https://x.io/a.pdf" }, name: "a.pdf" })
    ]),
    LlmRequest.assistant([
      LlmRequest.ReasoningPart.make({ text: "hm", signature: "sig" }),
      LlmRequest.ToolCallPart.make({ id: "1", name: "weather", arguments: "{\"city\":" })
    ]),
    LlmRequest.toolResult({ id: "1", name: "weather" }, "rain")
  ],
  tools: [{ name: "weather", description: "The weather", parameters: schema, strict: true }],
  toolChoice: { name: "weather" },
  parallelToolCalls: false,
  responseFormat: { _tag: "JsonSchema", name: "answer", schema, strict: false },
  temperature: 0.2,
  topP: 0.9,
  topK: 40,
  frequencyPenalty: -2,
  presencePenalty: 2,
  stop: ["END"],
  maxOutputTokens: 200,
  seed: -7,
  idempotent: false,
  extras: { openai: { user: "u", nested: [1, null, { a: true }] } }
})

describe("make", () => {
  it("makes a prompt the user's one message, with the defaults", () => {
    const request = LlmRequest.make("hello")
    assert.instanceOf(request, LlmRequest.LlmRequest)
    assert.deepStrictEqual({ ...request }, {
      messages: [{ _tag: "User", content: [{ _tag: "Text", text: "hello" }] }],
      tools: [],
      stop: [],
      idempotent: true,
      extras: {}
    })
  })

  it("takes any text for a prompt, as it is", () => {
    fc.assert(
      fc.property(fc.fullUnicodeString(), (prompt) => {
        assert.deepStrictEqual(LlmRequest.make(prompt).messages, [LlmRequest.user(prompt)])
      })
    )
  })

  it("gives a request back as it is", () => assert.strictEqual(LlmRequest.make(full), full))

  it("shares no defaults between requests", () => {
    assert.notStrictEqual(LlmRequest.make("a").extras, LlmRequest.make("b").extras)
    assert.notStrictEqual(LlmRequest.make("a").stop, LlmRequest.make("b").stop)
  })

  it("takes what the fields of a request are, in the type too", () => {
    expectTypeOf(LlmRequest.make).parameter(0).toEqualTypeOf<string | LlmRequest.Options | LlmRequest.LlmRequest>()
    const misuses = () => {
      // @ts-expect-error a request has messages
      LlmRequest.make({ temperature: 1 })
      // @ts-expect-error at least one
      LlmRequest.make({ messages: [] })
      // @ts-expect-error the user says at least something
      LlmRequest.user([])
      // @ts-expect-error the model does not show images
      LlmRequest.assistant([LlmRequest.ImagePart.make({ source: { _tag: "Url", url: "x" } })])
    }
    assert.isFunction(misuses)
  })
})

describe("messages", () => {
  it("are made of text or of parts", () => {
    assert.deepStrictEqual(LlmRequest.system("a"), { _tag: "System", text: "a" })
    assert.deepStrictEqual(LlmRequest.assistant("a"), { _tag: "Assistant", content: [{ _tag: "Text", text: "a" }] })
    assert.deepStrictEqual(LlmRequest.user([LlmRequest.text("a")]), LlmRequest.user("a"))
  })

  it("answer a tool call by its id and name, well or badly", () => {
    const call = LlmRequest.ToolCallPart.make({ id: "1", name: "weather", arguments: "{}" })
    const result = { _tag: "Tool", toolCallId: "1", name: "weather", content: "rain", isError: false }
    assert.deepStrictEqual<object>(LlmRequest.toolResult(call, "rain"), result)
    assert.deepStrictEqual<object>(LlmRequest.toolResult(call, "rain", { isError: undefined }), result)
    assert.deepStrictEqual<object>(LlmRequest.toolResult(call, "rain", { isError: true }), { ...result, isError: true })
  })
})

type Field = Exclude<keyof LlmRequest.Options, "messages">

describe("E1: a field out of range is refused by name, with the value and the range", () => {
  const rows: ReadonlyArray<readonly [Field, ReadonlyArray<unknown>, allowed: RegExp, ReadonlyArray<unknown>]> = [
    ["temperature", [-0.1, 2.1, Number.NaN, Infinity], /between 0 and 2/, [0, 2]],
    ["topP", [-0.1, 1.1, Number.NaN], /between 0 and 1/, [0, 1]],
    ["topK", [0, -1, 1.5, Number.NaN, Infinity], /(integer|positive number)/, [1]],
    ["frequencyPenalty", [-2.1, 2.1, Number.NaN], /between -2 and 2/, [-2, 0, 2]],
    ["presencePenalty", [-2.1, 2.1, Number.NaN], /between -2 and 2/, [-2, 0, 2]],
    ["maxOutputTokens", [0, -1, 1.5, Number.NaN, Infinity], /(integer|positive number)/, [1]],
    ["seed", [1.5, Number.NaN, Infinity], /integer/, [-1, 0, 1]],
    ["stop", [[""]], /non empty string/, [[], ["END"]]],
    ["toolChoice", ["maybe"], /"auto"/, ["auto", "required", "none", { name: "x" }]],
    ["tools", [[{ name: "", parameters: {} }]], /non empty string/, [[], [{ name: "x", parameters: {} }]]],
    ["parallelToolCalls", ["yes"], /boolean/, [true, false]],
    ["idempotent", ["no"], /boolean/, [true, false]],
    ["responseFormat", [{ _tag: "Xml" }], /"Json"/, [{ _tag: "Text" }, { _tag: "Json" }]],
    ["extras", [{ openai: 1 }], /readonly \[x: string\]: unknown/, [{}, { openai: {} }]]
  ]
  const build = (field: Field, value: unknown) =>
    new LlmRequest.LlmRequest({ messages: hello, ...{ [field]: value } as Partial<LlmRequest.Options> })

  for (const [field, bad, allowed, good] of rows) {
    it(`${field}`, () => {
      for (const value of bad) {
        const error = thrown(() => build(field, value))
        assert.instanceOf(error, ParseResult.ParseError)
        assert.include(error.message, `["${field}"]`)
        assert.match(error.message, allowed)
        // The value itself, down to the leaf that is wrong.
        if (typeof value === "number") assert.include(error.message, `actual ${value}`)
      }
      for (const value of good) assert.deepStrictEqual({ ...build(field, value) }[field], value)
    })
  }

  it("messages, of which there must be one", () => {
    assert.throws(() => LlmRequest.make({ messages: [] as never }), /\["messages"\]/)
    assert.throws(() => LlmRequest.user([] as never), /\["content"\]/)
    assert.throws(() => LlmRequest.ImagePart.make({ source: { _tag: "Url", url: "" } }), /\["url"\]/)
  })
})

describe("encoding", () => {
  it("a request with every field comes back from JSON as it was", () => {
    const back = fromJson(toJson(full))
    assert.instanceOf(back, LlmRequest.LlmRequest)
    assert.deepStrictEqual({ ...back }, { ...full })
    assert.sameMembers(Object.keys(full), Object.keys(LlmRequest.LlmRequest.fields))
  })

  it("a request read from JSON needs only its messages", () => {
    const back = fromJson("{\"messages\":[{\"_tag\":\"User\",\"content\":[{\"_tag\":\"Text\",\"text\":\"hello\"}]}]}")
    assert.deepStrictEqual({ ...back }, { ...LlmRequest.make("hello") })
  })

  it("any request comes back from JSON as it was", () => {
    // Where a field holds any JSON object, the arbitrary of its schema holds things that JSON does not.
    const { fields } = LlmRequest.LlmRequest
    const ours = Schema.typeSchema(Schema.Struct(Struct.omit(fields, "tools", "responseFormat", "extras")))
    const object = fc.dictionary(fc.string(), fc.jsonValue())
    const request = fc.record({
      ours: Arbitrary.make(ours),
      tools: fc.array(fc.record({ name: fc.string({ minLength: 1 }), parameters: object }), { maxLength: 3 }),
      extras: fc.dictionary(fc.string(), object)
    }).map(({ extras, ours, tools }) => new LlmRequest.LlmRequest({ ...ours, tools, extras }))
    fc.assert(
      fc.property(request, (request) => {
        const text = toJson(request)
        const back = fromJson(text)
        assert.strictEqual(toJson(back), text)
        assert.deepStrictEqual(JSON.parse(JSON.stringify(back)), JSON.parse(JSON.stringify(request)))
      }),
      { numRuns: 200 }
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
