import { describe, expect, it } from "@effect/vitest"
import type { OpenAi } from "@perdure/providers"
import { Effect, Exit } from "effect"
import { LlmRequest } from "perdure"
import { ask as askWith, failureOf, json } from "./support/client.ts"

/** A response as the API documents it. */
const response = (fields: Record<string, unknown> = {}) => ({
  id: "resp_1",
  object: "response",
  model: "m-2026",
  status: "completed",
  error: null,
  incomplete_details: null,
  output: [message("hi")],
  ...fields
})

const message = (text: string) => ({
  type: "message",
  id: "msg_1",
  role: "assistant",
  status: "completed",
  content: [{ type: "output_text", text, annotations: [] }]
})

const ask = (
  input: LlmRequest.Input,
  options: Partial<OpenAi.Options> = {},
  reply: unknown = response(),
  status = 200
) => askWith(input, { api: "responses", ...options }, () => json(reply, { status }))

const sent = (input: LlmRequest.Input, options?: Partial<OpenAi.Options>) =>
  Effect.map(ask(input, options), ({ body, exit }) => {
    expect(Exit.isSuccess(exit)).toBe(true)
    return body
  })

describe("what is sent to the Responses API", () => {
  it.effect("a prompt, to an address of its own", () =>
    Effect.gen(function*() {
      const { body, requests } = yield* ask("hello")
      expect(requests[0]?.url).toBe("https://api.openai.com/v1/responses")
      expect(body).toEqual({ model: "m", input: [{ role: "user", content: "hello" }] })
    }))

  it.effect("a conversation", () =>
    Effect.gen(function*() {
      const body = yield* sent({
        messages: [
          LlmRequest.system("be brief"),
          LlmRequest.system("be kind"),
          LlmRequest.user([
            LlmRequest.text("see"),
            LlmRequest.ImagePart.make({
              source: { _tag: "Base64", data: "QQ==", mediaType: "image/png" },
              detail: "low"
            }),
            LlmRequest.FilePart.make({ source: { _tag: "Url", url: "https://x/y.pdf" } }),
            LlmRequest.FilePart.make({ source: { _tag: "Base64", data: "QQ==", mediaType: "application/pdf" } })
          ]),
          LlmRequest.assistant([
            LlmRequest.ReasoningPart.make({
              text: "hm",
              signature: JSON.stringify({ id: "rs_1", encrypted_content: "xyz" })
            }),
            LlmRequest.ReasoningPart.make({ text: "in clear" }),
            LlmRequest.ReasoningPart.make({ text: "of another provider", signature: "c2lnbmVk" }),
            LlmRequest.text("one moment"),
            LlmRequest.ToolCallPart.make({ id: "c1", name: "look", arguments: "{}" })
          ]),
          LlmRequest.toolResult({ id: "c1", name: "look" }, "42"),
          LlmRequest.system("now answer")
        ]
      })
      expect(body).toEqual({
        model: "m",
        instructions: "be brief\n\nbe kind",
        input: [
          {
            role: "user",
            content: [
              { type: "input_text", text: "see" },
              { type: "input_image", image_url: "data:image/png;base64,QQ==", detail: "low" },
              { type: "input_file", file_url: "https://x/y.pdf" },
              { type: "input_file", filename: "file.pdf", file_data: "data:application/pdf;base64,QQ==" }
            ]
          },
          {
            type: "reasoning",
            id: "rs_1",
            summary: [{ type: "summary_text", text: "hm" }],
            encrypted_content: "xyz"
          },
          { role: "assistant", content: "one moment" },
          { type: "function_call", call_id: "c1", name: "look", arguments: "{}" },
          { type: "function_call_output", call_id: "c1", output: "42" },
          { role: "system", content: "now answer" }
        ]
      })
    }))

  it.effect("every setting that the API knows", () =>
    Effect.gen(function*() {
      const schema = { type: "object", properties: {} }
      const body = yield* sent({
        messages: [LlmRequest.user("hello")],
        tools: [{ name: "look", description: "looks", parameters: schema }, {
          name: "go",
          parameters: schema,
          strict: true
        }],
        toolChoice: { name: "look" },
        parallelToolCalls: false,
        responseFormat: LlmRequest.ResponseFormat.members[2].make({ name: "answer", schema }),
        temperature: 0.5,
        topP: 0.9,
        maxOutputTokens: 64,
        extras: { openai: { reasoning: { effort: "low" }, store: false } }
      })
      expect(body).toEqual({
        model: "m",
        input: [{ role: "user", content: "hello" }],
        tools: [
          { type: "function", name: "look", description: "looks", parameters: schema, strict: false },
          { type: "function", name: "go", parameters: schema, strict: true }
        ],
        tool_choice: { type: "function", name: "look" },
        parallel_tool_calls: false,
        text: { format: { type: "json_schema", name: "answer", schema, strict: true } },
        temperature: 0.5,
        top_p: 0.9,
        max_output_tokens: 64,
        reasoning: { effort: "low" },
        store: false
      })
    }))

  it.effect.each<readonly [string, Partial<LlmRequest.Options>]>([
    ["topK", { topK: 3 }],
    ["stop", { stop: ["x"] }],
    ["seed", { seed: 0 }],
    ["frequencyPenalty", { frequencyPenalty: 0 }],
    ["presencePenalty", { presencePenalty: 1 }],
    ["extras.openai.stream", { extras: { openai: { stream: true } } }],
    ["extras.openai.background", { extras: { openai: { background: true } } }]
  ])("%s is refused before anything is sent", ([param, fields]) =>
    Effect.gen(function*() {
      const { exit, requests } = yield* ask({ messages: [LlmRequest.user("hello")], ...fields })
      expect(failureOf(exit)).toMatchObject({ _tag: "InvalidRequest", param })
      expect(requests).toEqual([])
    }))
})

describe("what comes back from the Responses API", () => {
  it.effect("text, reasoning, tool calls, usage, and the rest as extras", () =>
    Effect.gen(function*() {
      const search = { type: "web_search_call", id: "ws_1", status: "completed" }
      const { exit } = yield* ask(
        "hello",
        {},
        response({
          output: [
            { type: "reasoning", id: "rs_1", summary: [{ type: "summary_text", text: "a" }, { text: "b" }] },
            { type: "reasoning", id: "rs_2", summary: [], encrypted_content: "xyz" },
            { type: "reasoning", id: "rs_3", summary: [], content: [{ type: "reasoning_text", text: "open" }] },
            search,
            message("hi"),
            { type: "function_call", id: "fc_1", call_id: "c1", name: "look", arguments: "{\"at\":1}" }
          ],
          usage: {
            input_tokens: 10,
            input_tokens_details: { cached_tokens: 4 },
            output_tokens: 7,
            output_tokens_details: { reasoning_tokens: 5 },
            total_tokens: 17
          },
          service_tier: "flex"
        })
      )
      expect(Exit.isSuccess(exit) && exit.value).toMatchObject({
        id: "resp_1",
        model: "m-2026",
        provider: "openai",
        text: "hi",
        finishReason: "toolCalls",
        content: [
          { _tag: "Reasoning", text: "a\n\nb" },
          {
            _tag: "Reasoning",
            text: "",
            signature: "{\"id\":\"rs_2\",\"encrypted_content\":\"xyz\"}",
            provider: "openai"
          },
          { _tag: "Reasoning", text: "open" },
          { _tag: "Text", text: "hi" },
          { _tag: "ToolCall", id: "c1", name: "look", arguments: "{\"at\":1}" }
        ],
        usage: { inputTokens: 10, cachedInputTokens: 4, outputTokens: 7, reasoningTokens: 5 },
        extras: { service_tier: "flex", output: [search] }
      })
    }))

  it.effect.each<readonly [string, Record<string, unknown>, string]>([
    ["complete", {}, "stop"],
    ["at the limit of tokens", { status: "incomplete", incomplete_details: { reason: "max_output_tokens" } }, "length"],
    ["for a reason of its own", { status: "incomplete", incomplete_details: { reason: "new" } }, "other"]
  ])("it stopped %s", ([_, fields, reason]) =>
    Effect.gen(function*() {
      const { exit } = yield* ask("hello", {}, response(fields))
      expect(exit).toMatchObject({ value: { finishReason: reason, text: "hi" } })
    }))

  it.effect.each<readonly [string, number, unknown, Record<string, unknown>]>([
    ["a failed answer", 200, response({ status: "failed", error: { code: "rate_limit_exceeded", message: "slow" } }), {
      _tag: "RateLimited",
      detail: "slow"
    }],
    ["a failed answer without a word", 200, response({ status: "failed" }), { _tag: "ProviderUnavailable" }],
    ["a failed answer of the server's fault", 200, response({ status: "failed", error: { code: "server_error" } }), {
      _tag: "ProviderUnavailable",
      code: "server_error"
    }],
    ["a filter", 200, response({ status: "incomplete", incomplete_details: { reason: "content_filter" } }), {
      _tag: "ContentFiltered",
      stage: "output"
    }],
    [
      "a refusal",
      200,
      response({ output: [{ type: "message", content: [{ type: "refusal", refusal: "I cannot." }] }] }),
      { _tag: "ContentFiltered", stage: "refusal", detail: "I cannot." }
    ],
    ["a cancelled answer", 200, response({ status: "cancelled" }), { _tag: "ProviderUnavailable" }],
    ["an answer still in the making", 200, response({ status: "in_progress" }), { _tag: "MalformedResponse" }],
    ["a tool call without a name", 200, response({ output: [{ type: "function_call", call_id: "c" }] }), {
      _tag: "MalformedResponse"
    }],
    ["another shape", 200, response({ output: { text: "hi" } }), { _tag: "MalformedResponse" }],
    ["an error in a 200", 200, { error: { code: "insufficient_quota" } }, { _tag: "QuotaExhausted" }],
    ["an error", 429, { error: { code: "rate_limit_exceeded", message: "x" } }, { _tag: "RateLimited", status: 429 }]
  ])("%s", ([_, status, body, fields]) =>
    Effect.gen(function*() {
      const { exit } = yield* ask("hello", {}, body, status)
      const error = failureOf(exit)
      expect({ ...error, _tag: error._tag }).toMatchObject(fields)
    }))
})
