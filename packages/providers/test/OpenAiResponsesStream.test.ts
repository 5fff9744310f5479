import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { brief, sse, streamed } from "./support/stream.ts"

const text = (delta: string, fields: Record<string, unknown> = {}) => ({
  type: "response.output_text.delta",
  item_id: "msg_1",
  output_index: 0,
  content_index: 0,
  delta,
  ...fields
})
const response = (fields: Record<string, unknown> = {}) => ({
  id: "resp_1",
  object: "response",
  model: "m-2026",
  status: "completed",
  output: [],
  usage: { input_tokens: 3, output_tokens: 5 },
  ...fields
})
const completed = (fields?: Record<string, unknown>) => ({ type: "response.completed", response: response(fields) })
const created = { type: "response.created", response: response({ status: "in_progress", usage: null }) }
const call = (type: "added" | "done", given: string, index = 0, id = "c1") => ({
  type: `response.output_item.${type}`,
  output_index: index,
  item: { type: "function_call", id: `fc_${id}`, call_id: id, name: "look", arguments: given }
})
const args = (delta: string, index = 0) => ({
  type: "response.function_call_arguments.delta",
  output_index: index,
  delta
})
const argsDone = (given: string) => ({
  type: "response.function_call_arguments.done",
  output_index: 0,
  arguments: given
})
const thought = (fields: Record<string, unknown>, output_index = 0) => ({
  type: "response.output_item.done",
  output_index,
  item: { type: "reasoning", id: `rs_${output_index}`, ...fields }
})
const summary = (delta: string, summary_index: number, output_index = 0) => ({
  type: "response.reasoning_summary_text.delta",
  output_index,
  summary_index,
  delta
})

const read = (body: string) => streamed(body, { api: "responses" })
const end = ["usage 3 5", "finish stop m-2026"]
const endOfTools = ["usage 3 5", "finish toolCalls m-2026"]

describe("what the events of a Responses stream amount to", () => {
  it.effect("is asked for at an address of its own", () =>
    Effect.gen(function*() {
      const { body, request } = yield* read(sse(text("a"), completed()))
      expect(request?.url).toBe("https://api.openai.com/v1/responses")
      expect(body).toEqual({ model: "m", input: [{ role: "user", content: "hello" }], stream: true })
    }))

  it.effect.each<readonly [string, string, ReadonlyArray<string>]>([
    [
      "text",
      sse(
        created,
        { type: "response.output_item.added", output_index: 0, item: { type: "message", content: [] } },
        text("he"),
        text("llo"),
        { type: "response.output_text.done", output_index: 0, content_index: 0, text: "hello" },
        { type: "response.some.thing.new", delta: "?" },
        completed()
      ),
      ["text he", "text llo", ...end]
    ],
    [
      "event names instead of types",
      `event: response.output_text.delta\ndata: {"delta":"a"}\n\nevent: response.completed\ndata: ${
        JSON.stringify({ response: response() })
      }\n\n`,
      ["text a", ...end]
    ],
    ["text that comes whole", sse({ type: "response.output_text.done", text: "hello" }, completed()), [
      "text hello",
      ...end
    ]],
    [
      "an answer that comes at the end only",
      sse(created, completed({ output: [{ type: "message", content: [{ type: "output_text", text: "hello" }] }] })),
      ["text hello", ...end]
    ],
    [
      "reasoning, its summaries apart",
      sse(
        { type: "response.reasoning_summary_part.added", summary_index: 0 },
        summary("a", 0),
        summary("b", 0),
        { type: "response.reasoning_summary_text.done", output_index: 0, summary_index: 0, text: "ab" },
        { type: "response.reasoning_summary_part.added", summary_index: 1 },
        summary("c", 1),
        { type: "response.reasoning_text.delta", output_index: 1, delta: "open" },
        completed()
      ),
      ["reasoning a", "reasoning b", "reasoning \n\n", "reasoning c", "reasoning open", ...end]
    ],
    [
      "reasoning that comes with its end only",
      sse(thought({ summary: [{ text: "a" }, { text: "b" }] }), thought({ content: [{ text: "c" }] }, 1), completed()),
      ["reasoning a\n\nb", "reasoning c", ...end]
    ],
    [
      "a signature, once, for all that came before, also where the answer comes at the end only",
      sse(
        thought({ summary: [], encrypted_content: "x" }),
        summary("c", 0, 1),
        thought({ summary: [{ text: "c" }], encrypted_content: "y" }, 1),
        completed({
          output: [
            { ...thought({ encrypted_content: "x" }).item },
            { ...thought({ summary: [{ text: "c" }], encrypted_content: "y" }).item },
            { type: "message", content: [{ type: "output_text", text: "hello" }] }
          ]
        })
      ),
      ["reasoning  signed x", "reasoning c", "reasoning  signed y", "text hello", ...end]
    ],
    [
      "a tool call in pieces",
      sse(
        call("added", ""),
        args("{\"at\""),
        args(":1}"),
        argsDone("{\"at\":1}"),
        call("done", "{\"at\":1}"),
        completed()
      ),
      [
        "call c1 look",
        "arguments c1 {\"at\"",
        "arguments c1 :1}",
        "end c1",
        ...endOfTools
      ]
    ],
    [
      "a tool call whose arguments come whole",
      sse(call("added", ""), argsDone("{}"), call("done", "{}"), completed()),
      [
        "call c1 look",
        "arguments c1 {}",
        "end c1",
        ...endOfTools
      ]
    ],
    ["a tool call that comes whole", sse(call("done", "{}"), completed()), [
      "call c1 look",
      "arguments c1 {}",
      "end c1",
      ...endOfTools
    ]],
    [
      "two tool calls in turns, one without an end",
      sse(call("added", ""), call("added", "", 1, "c2"), args("2", 1), args("1"), call("done", "1"), completed()),
      ["call c1 look", "call c2 look", "arguments c2 2", "arguments c1 1", "end c1", "end c2", ...endOfTools]
    ],
    [
      "a tool call that comes at the end only, after text",
      sse(text("a"), completed({ output: [call("done", "{}").item] })),
      ["text a", "call c1 look", "arguments c1 {}", "end c1", ...endOfTools]
    ],
    [
      "the limit of tokens",
      sse(text("a"), {
        type: "response.incomplete",
        response: response({ status: "incomplete", incomplete_details: { reason: "max_output_tokens" } })
      }),
      ["text a", "usage 3 5", "finish length m-2026"]
    ]
  ])("%s", ([_, body, told]) =>
    Effect.gen(function*() {
      const found = yield* read(body)
      expect(found.error).toBeUndefined()
      expect(found.parts.map((part) => {
        const signature = part._tag === "ReasoningDelta" ? part.signature : undefined
        return signature === undefined
          ? brief(part)
          : `${brief(part)} signed ${JSON.parse(signature).encrypted_content}`
      })).toEqual(told)
    }))
})

describe("S1, S2: Responses streams that fail", () => {
  it.effect.each<readonly [string, string, Record<string, unknown>]>([
    ["a flat error", sse(text("a"), { type: "error", code: "rate_limit_exceeded", message: "slow", param: null }), {
      _tag: "RateLimited",
      code: "rate_limit_exceeded",
      detail: "slow",
      partial: "a"
    }],
    [
      "Azure's nested error",
      sse({ type: "error", error: { type: "too_many_requests", code: "rate_limit_exceeded", message: "slow" } }),
      { _tag: "RateLimited", detail: "slow", handedOut: false }
    ],
    ["an error that has no type", sse({ error: { code: "insufficient_quota" } }), { _tag: "QuotaExhausted" }],
    [
      "a failed answer, with what it cost",
      sse(text("a"), {
        type: "response.failed",
        response: response({ status: "failed", error: { code: "server_is_overloaded", message: "busy" } })
      }),
      { _tag: "Overloaded", detail: "busy", partial: "a", usage: { inputTokens: 3, outputTokens: 5 } }
    ],
    [
      "a filter",
      sse(text("a"), {
        type: "response.incomplete",
        response: response({ status: "incomplete", incomplete_details: { reason: "content_filter" } })
      }),
      { _tag: "ContentFiltered", stage: "output", partial: "a" }
    ],
    [
      "a refusal",
      sse(
        { type: "response.refusal.delta", delta: "I cannot." },
        completed({ output: [{ type: "message", content: [{ type: "refusal", refusal: "I cannot." }] }] })
      ),
      { _tag: "ContentFiltered", stage: "refusal", detail: "I cannot." }
    ],
    ["an end before the last event", sse(created, text("a")), { _tag: "StreamInterrupted", partial: "a" }],
    ["[DONE] before the last event", sse(created, text("a"), "[DONE]"), { _tag: "StreamInterrupted", partial: "a" }],
    ["an event that is no JSON", sse(text("a"), "oh no", completed()), { _tag: "MalformedResponse", partial: "a" }],
    ["a delta of another shape", sse(text("a", { delta: { x: 1 } }), completed()), { _tag: "MalformedResponse" }],
    ["arguments of no tool call", sse(args("{}"), completed()), { _tag: "MalformedResponse" }],
    ["a tool call without a name", sse({ ...call("added", ""), item: { type: "function_call" } }, completed()), {
      _tag: "MalformedResponse"
    }]
  ])("%s", ([_, body, fields]) =>
    Effect.gen(function*() {
      const { error } = yield* read(body)
      expect({ ...error, _tag: error?._tag }).toMatchObject({ status: 200, ...fields })
    }))
})
