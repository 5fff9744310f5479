import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { LlmRequest, LlmResponse } from "perdure"
import { failureOf, json } from "./support/client.ts"
import { answer, ask, parts } from "./support/google.ts"

const call = (fields: Record<string, unknown>) => ({ functionCall: { name: "look", ...fields } })
const args = "{\"at\":1}"

const respond = (body: unknown) =>
  Effect.map(
    ask("hi", {}, () => typeof body === "string" ? new Response(body) : json(body)),
    ({ exit }) => Exit.isSuccess(exit) ? exit.value : Effect.runSync(Effect.die(failureOf(exit)))
  )

const fail = (body: unknown) =>
  Effect.map(
    ask("hi", {}, () => typeof body === "string" ? new Response(body) : json(body)),
    ({ exit }) => failureOf(exit)
  )

const contents: ReadonlyArray<readonly [string, unknown, ReadonlyArray<unknown>, string?]> = [
  ["text", answer(), [{ _tag: "Text", text: "hi" }]],
  ["text in pieces", parts({ text: "a" }, { text: "" }, { text: "b" }), [
    { _tag: "Text", text: "a" },
    { _tag: "Text", text: "b" }
  ]],
  [
    "thoughts",
    parts({ text: "hm", thought: true }, { text: "signed", thought: true, thoughtSignature: "s" }, { text: "a" }),
    [
      { _tag: "Reasoning", text: "hm" },
      { _tag: "Reasoning", text: "signed", signature: "s", provider: "google" },
      { _tag: "Text", text: "a" }
    ]
  ],
  ["a signed call", parts({ ...call({ id: "c", args: { at: 1 } }), thoughtSignature: "s" }, call({ id: "d" })), [
    { _tag: "Reasoning", text: "", signature: "s", provider: "google" },
    { _tag: "ToolCall", id: "c", name: "look", arguments: args },
    { _tag: "ToolCall", id: "d", name: "look", arguments: "{}" }
  ], "toolCalls"],
  ["signed text", parts({ text: "a", thoughtSignature: "s" }), [
    { _tag: "Reasoning", text: "", signature: "s", provider: "google" },
    { _tag: "Text", text: "a" }
  ]],
  ["a signature alone", parts({ text: "a" }, { text: "", thoughtSignature: "s" }), [
    { _tag: "Text", text: "a" },
    { _tag: "Reasoning", text: "", signature: "s", provider: "google" }
  ]],
  [
    "calls without ids, told apart also from those of other answers",
    parts({ text: "a" }, call({}), call({ args: null })),
    [
      { _tag: "Text", text: "a" },
      { _tag: "ToolCall", id: "call_r-1_0", name: "look", arguments: "{}" },
      { _tag: "ToolCall", id: "call_r-1_1", name: "look", arguments: "{}" }
    ],
    "toolCalls"
  ],
  ["calls in an answer without an id", { ...parts(call({})), responseId: undefined }, [
    { _tag: "ToolCall", id: "call_0", name: "look", arguments: "{}" }
  ], "toolCalls"],
  ["the first of several candidates", {
    ...answer(),
    candidates: [
      { index: 1, finishReason: "STOP", content: { parts: [{ text: "second" }] } },
      { finishReason: "STOP", content: { parts: [{ text: "first" }] } }
    ]
  }, [{ _tag: "Text", text: "first" }]],
  ["nothing, and done", answer({ content: undefined }), []]
]

describe("an answer", () => {
  it.effect.each(contents)("%s", ([_, body, content, finishReason = "stop"]) =>
    Effect.gen(function*() {
      expect(yield* respond(body)).toMatchObject({ content, finishReason, provider: "google" })
    }))

  it.effect("goes back as it came", () =>
    Effect.gen(function*() {
      const came = [
        { text: "hm", thought: true, thoughtSignature: "s0" },
        { text: "a", thoughtSignature: "s1" },
        { functionCall: { id: "c", name: "look", args: { at: 1 } }, thoughtSignature: "s2" },
        { functionCall: { id: "d", name: "look", args: {} } },
        { text: "", thoughtSignature: "s3" }
      ]
      const { content } = yield* respond(parts(...came))
      const [first, ...rest] = content
      const { body } = yield* ask({
        messages: [LlmRequest.user("hi"), LlmRequest.assistant(first === undefined ? "" : [first, ...rest])]
      }, { model: "gemini-3-pro" })
      expect(body).toMatchObject({ contents: [{}, { role: "model", parts: came }] })
    }))

  it.effect("says who answered, and keeps what has no place of its own", () =>
    Effect.gen(function*() {
      const response = yield* respond(answer(
        {
          content: { role: "model", parts: [{ text: "hi" }, { inlineData: { mimeType: "image/png", data: "AA" } }] },
          safetyRatings: [{ category: "C" }],
          finishMessage: "done"
        },
        {
          promptFeedback: { safetyRatings: [] },
          usageMetadata: { promptTokenCount: 1, promptTokensDetails: [{ modality: "TEXT" }] }
        }
      ))
      expect(response).toMatchObject({ id: "r-1", model: "m-2026", text: "hi" })
      expect(response.extras).toEqual({
        candidates: [{
          content: { parts: [{}, { inlineData: { mimeType: "image/png", data: "AA" } }] },
          safetyRatings: [{ category: "C" }],
          finishMessage: "done"
        }],
        promptFeedback: { safetyRatings: [] },
        usageMetadata: { promptTokensDetails: [{ modality: "TEXT" }] }
      })
    }))

  it.effect("keeps the other candidates whole", () =>
    Effect.gen(function*() {
      const body = { candidates: [...answer().candidates, { index: 1, content: { parts: [{ text: "other" }] } }] }
      const response = yield* respond(body)
      expect(response.extras).toEqual(body)
      expect(response.model).toBe("m")
    }))

  const usages: ReadonlyArray<readonly [string, unknown, Record<string, unknown>]> = [
    [
      "all of it",
      {
        promptTokenCount: 100,
        cachedContentTokenCount: 60,
        toolUsePromptTokenCount: 5,
        candidatesTokenCount: 20,
        thoughtsTokenCount: 30,
        totalTokenCount: 155
      },
      { inputTokens: 105, cachedInputTokens: 60, outputTokens: 50, reasoningTokens: 30 }
    ],
    ["thoughts alone", { promptTokenCount: 1, thoughtsTokenCount: 9 }, {
      inputTokens: 1,
      outputTokens: 9,
      reasoningTokens: 9
    }],
    ["zeros left out", { promptTokenCount: 4, totalTokenCount: 4 }, { inputTokens: 4, outputTokens: 0 }],
    ["an output that is not told", { promptTokenCount: 4 }, { inputTokens: 4 }],
    ["odd numbers", { promptTokenCount: -1, candidatesTokenCount: "7" }, {}],
    ["no object", "none", {}]
  ]
  it.effect.each(usages)("usage: %s", ([_, usageMetadata, usage]) =>
    Effect.gen(function*() {
      expect({ ...(yield* respond(answer({}, { usageMetadata }))).usage }).toEqual(usage)
    }))

  const reasons: ReadonlyArray<readonly [string, LlmResponse.FinishReason]> = [
    ["STOP", "stop"],
    ["MAX_TOKENS", "length"],
    ["OTHER", "other"],
    ["LANGUAGE", "other"],
    ["SOMETHING_NEW", "other"]
  ]
  it.effect.each(reasons)("finish reason %s", ([finishReason, reason]) =>
    Effect.gen(function*() {
      expect((yield* respond(answer({ finishReason }))).finishReason).toBe(reason)
    }))

  it.effect("that calls tools wants them called, whatever it names as the reason", () =>
    Effect.gen(function*() {
      const body = answer({ finishReason: "FUNCTION_CALL", content: { parts: [call({})] } })
      expect((yield* respond(body)).finishReason).toBe("toolCalls")
    }))

  it.effect("whose thoughts took all the tokens is empty and cut", () =>
    Effect.gen(function*() {
      expect(yield* respond(answer({ finishReason: "MAX_TOKENS", content: { role: "model" } }))).toMatchObject({
        content: [],
        finishReason: "length"
      })
    }))
})

describe("S2: a 200 that is no answer", () => {
  const filters = ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"]
  it.effect.each(filters)("an answer stopped by %s", (finishReason) =>
    Effect.gen(function*() {
      const body = answer({ finishReason, finishMessage: "why" }, { usageMetadata: { promptTokenCount: 3 } })
      expect(yield* fail(body)).toMatchObject({
        _tag: "ContentFiltered",
        stage: "output",
        code: finishReason,
        detail: "why",
        status: 200,
        usage: { inputTokens: 3 }
      })
    }))

  const failures: ReadonlyArray<readonly [string, unknown, Record<string, unknown>]> = [
    [
      "a blocked prompt",
      { promptFeedback: { blockReason: "SAFETY" }, usageMetadata: { promptTokenCount: 3 } },
      { _tag: "ContentFiltered", stage: "prompt", code: "SAFETY", usage: { inputTokens: 3 } }
    ],
    ["no candidates", { candidates: [] }, { _tag: "MalformedResponse", detail: "there is no candidate" }],
    ["no candidates at all", {}, { _tag: "MalformedResponse", detail: "there is no candidate" }],
    ["no finish reason", answer({ finishReason: undefined }), {
      _tag: "MalformedResponse",
      detail: "the answer has no finish reason"
    }],
    ["an unspeakable tool call", answer({ finishReason: "MALFORMED_FUNCTION_CALL", finishMessage: "print(x)" }), {
      _tag: "MalformedResponse",
      detail: "the model stopped with MALFORMED_FUNCTION_CALL"
    }],
    ["a tool call that nobody asked for", answer({ finishReason: "UNEXPECTED_TOOL_CALL" }), {
      _tag: "MalformedResponse"
    }],
    ["a signature that the request lacks", answer({ finishReason: "MISSING_THOUGHT_SIGNATURE" }), {
      _tag: "InvalidRequest",
      param: "messages"
    }],
    ["nothing, for another reason", answer({ finishReason: "OTHER", content: undefined }), {
      _tag: "MalformedResponse",
      detail: "the model stopped with OTHER and said nothing"
    }],
    ["an error", { error: { code: 429, status: "RESOURCE_EXHAUSTED", message: "m" } }, {
      _tag: "RateLimited",
      status: 429
    }],
    ["an error in a list", [{ error: { code: 500, status: "INTERNAL", message: "m" } }], {
      _tag: "ProviderUnavailable"
    }],
    ["a wrong shape", answer({ content: { parts: [{ text: 1 }] } }), {
      _tag: "MalformedResponse",
      detail: "the body has another shape than documented at candidates.0.content.parts.0.text"
    }],
    ["a list", [], { _tag: "MalformedResponse" }],
    ["an empty body", "", { _tag: "MalformedResponse", detail: "the body is empty" }],
    ["half of the JSON", JSON.stringify(answer()).slice(0, 40), { _tag: "MalformedResponse" }],
    ["a page", "<html><body>Please log in</body></html>", {
      _tag: "MalformedResponse",
      detail: expect.stringContaining("Please log in")
    }],
    [
      "arguments nested too deeply",
      `{"candidates":[{"finishReason":"STOP","content":{"parts":[{"functionCall":{"name":"f","args":${
        "[".repeat(100_000)
      }${"]".repeat(100_000)}}}]}}]}`,
      { _tag: "MalformedResponse", detail: expect.stringContaining("nested") }
    ]
  ]
  it.effect.each(failures)("%s", ([_, body, fields]) =>
    Effect.gen(function*() {
      expect(yield* fail(body)).toMatchObject(fields)
    }))

  it.effect("bytes that are no UTF-8", () =>
    Effect.gen(function*() {
      const { exit } = yield* ask("hi", {}, () => new Response(new Uint8Array([0x22, 0xff, 0x22])))
      expect(failureOf(exit)).toMatchObject({ _tag: "MalformedResponse", detail: "the body is not UTF-8" })
    }))
})
