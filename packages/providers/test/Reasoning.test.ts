import { describe, expect, it } from "@effect/vitest"
import { OpenAi } from "@perdure/providers"
import { Effect, Exit, Redacted } from "effect"
import * as fc from "effect/FastCheck"
import { LlmProvider, LlmRequest, type LlmResponse } from "perdure"
import { reasoning, signatureFor } from "../src/internal/reasoning.ts"
import * as AnthropicWire from "./support/anthropic.ts"
import { json } from "./support/client.ts"
import * as GoogleWire from "./support/google.ts"
import { call, type Provider, providers } from "./support/providers.ts"
import { eventStream, sse } from "./support/stream.ts"

const seal = "c2lnbmVkLWJ5LW1l"

const item = {
  type: "reasoning",
  id: "rs_1",
  summary: [{ type: "summary_text", text: "let me see" }],
  encrypted_content: seal
}
const said = { type: "message", content: [{ type: "output_text", text: "hi" }] }
const response = { id: "resp_1", model: "m-2026", status: "completed", output: [item, said] }
const thought = { text: "let me see", thought: true, thoughtSignature: seal }

interface Case {
  readonly provider: Provider
  /** The name that the signature gets without an option. */
  readonly name: string
  /** An answer with signed reasoning, whole and as a stream. */
  readonly answer: unknown
  readonly stream: string
}

const cases: ReadonlyArray<Case> = [
  {
    provider: providers.anthropic,
    name: "anthropic",
    answer: AnthropicWire.message({
      content: [{ type: "thinking", thinking: "let me see", signature: seal }, { type: "text", text: "hi" }]
    }),
    stream: AnthropicWire.sse(...AnthropicWire.events([
      { type: "content_block_start", index: 0, content_block: { type: "thinking", thinking: "" } },
      { type: "content_block_delta", index: 0, delta: { type: "thinking_delta", thinking: "let me " } },
      { type: "content_block_delta", index: 0, delta: { type: "thinking_delta", thinking: "see" } },
      { type: "content_block_delta", index: 0, delta: { type: "signature_delta", signature: seal } },
      { type: "content_block_stop", index: 0 },
      ...AnthropicWire.textBlock(1, "hi")
    ]))
  },
  {
    provider: providers.google,
    name: "google",
    answer: GoogleWire.parts(thought, { text: "hi" }),
    stream: sse(
      { candidates: [{ content: { parts: [{ text: "let me ", thought: true }] } }] },
      { candidates: [{ content: { parts: [{ ...thought, text: "see" }] } }] },
      GoogleWire.parts({ text: "hi" })
    )
  },
  {
    provider: providers.responses,
    name: "openai",
    answer: response,
    stream: sse(
      { type: "response.output_item.added", output_index: 0, item: { type: "reasoning", id: "rs_1", summary: [] } },
      { type: "response.reasoning_summary_text.delta", output_index: 0, summary_index: 0, delta: "let me " },
      { type: "response.reasoning_summary_text.delta", output_index: 0, summary_index: 0, delta: "see" },
      { type: "response.output_item.done", output_index: 0, item },
      { type: "response.output_text.delta", output_index: 1, content_index: 0, delta: "hi" },
      { type: "response.completed", response }
    )
  }
]

const table = cases.map((one) => [one.provider.title, one] as const)
const pairs = cases.flatMap((from) =>
  cases.filter((to) => to !== from).map((to) => [`${from.provider.title} to ${to.provider.title}`, from, to] as const)
)

const valueOf = (exit: Exit.Exit<LlmResponse.LlmResponse, unknown>) => {
  if (Exit.isFailure(exit)) throw new Error(String(exit.cause))
  return exit.value
}

/** What a provider thinks and says, read whole. */
const thinks = ({ answer, provider }: Case, options = {}) =>
  Effect.map(
    call(provider.layer(options), () => json(answer), LlmProvider.generate("hello")),
    ({ exit }) => valueOf(exit)
  )

/** The same, read as a stream. */
const streams = ({ provider, stream }: Case, options = {}) =>
  Effect.map(
    call(provider.layer(options), () => eventStream(stream), LlmProvider.generate("hello", { via: "stream" })),
    ({ exit }) => valueOf(exit)
  )

/** What a provider is sent of an earlier answer. */
const sent = (provider: Provider, content: LlmResponse.LlmResponse["content"], options = {}) => {
  const [first = LlmRequest.text(""), ...rest] = content
  const messages = [LlmRequest.user("hello"), LlmRequest.assistant([first, ...rest]), LlmRequest.user("and?")] as const
  return Effect.map(
    call(provider.layer(options), () => json(provider.answer), LlmProvider.generate({ messages })),
    ({ body, exit }) => {
      valueOf(exit)
      return JSON.stringify(body)
    }
  )
}

const unnamed = (content: LlmResponse.LlmResponse["content"]) =>
  content.map((part) => {
    if (part._tag !== "Reasoning") return part
    const { provider: _, ...rest } = part
    return rest
  })

describe("a signature and its author", () => {
  it.effect.each(table)("an answer names who signed its reasoning: %s", ([_, one]) =>
    Effect.gen(function*() {
      const { content } = yield* thinks(one)
      expect(content).toMatchObject([{ _tag: "Reasoning", text: "let me see", provider: one.name }, { text: "hi" }])
      expect(content[0]).toHaveProperty("signature", expect.stringContaining(seal))
    }))

  it.effect.each(table)(
    "a stream comes to the same content as a whole answer: %s",
    ([_, one]) =>
      Effect.gen(function*() {
        expect((yield* streams(one)).content).toEqual((yield* thinks(one)).content)
      })
  )

  it.effect.each(table)("the author is the name of the layer: %s", ([_, one]) =>
    Effect.gen(function*() {
      for (const ask of [thinks, streams]) {
        expect((yield* ask(one, { name: "mine" })).content[0]).toHaveProperty("provider", "mine")
      }
    }))

  it.effect.each(table)("goes back to its author: %s", ([_, one]) =>
    Effect.gen(function*() {
      expect(yield* sent(one.provider, (yield* streams(one)).content)).toContain(seal)
    }))

  it.effect.each(table)("goes to anybody when it has no author: %s", ([_, one]) =>
    Effect.gen(function*() {
      const { content } = yield* thinks(one)
      expect(yield* sent(one.provider, unnamed(content), { name: "another" })).toContain(seal)
    }))

  it.effect.each(pairs)(
    "goes to no other provider, which is sent the text alone: %s",
    ([_, from, to]) =>
      Effect.gen(function*() {
        const body = yield* sent(to.provider, (yield* thinks(from)).content)
        expect(body).not.toContain(seal)
        expect(body).toContain("hi")
      })
  )

  it.effect.each(table)("goes to no layer of another name: %s", ([_, one]) =>
    Effect.gen(function*() {
      expect(yield* sent(one.provider, (yield* thinks(one)).content, { name: "another" })).not.toContain(seal)
    }))

  it.effect.each(table)(
    "a signature of another leaves what unsigned reasoning leaves: %s",
    ([_, one]) =>
      Effect.gen(function*() {
        const foreign = [
          { _tag: "Reasoning", text: "elsewhere", signature: seal, provider: "another" },
          LlmRequest.text("hi")
        ] as const
        const unsigned = [{ _tag: "Reasoning", text: "elsewhere" }, LlmRequest.text("hi")] as const
        expect(yield* sent(one.provider, foreign)).toBe(yield* sent(one.provider, unsigned))
      })
  )

  it.effect("Azure signs in its own name, unless it is given one", () =>
    Effect.gen(function*() {
      const azure = (name?: string): Case => ({
        name: "",
        answer: response,
        stream: "",
        provider: {
          ...providers.responses,
          layer: () =>
            OpenAi.layer({
              model: "m",
              api: "responses",
              apiKey: Redacted.make("k"),
              azure: { resource: "here" },
              ...(name === undefined ? {} : { name })
            })
        }
      })
      const { content } = yield* thinks(azure())
      expect(content[0]).toHaveProperty("provider", "azure")
      expect(yield* sent(azure().provider, content)).toContain(seal)
      expect(yield* sent(providers.responses, content)).not.toContain(seal)
      expect((yield* thinks(azure("openai"))).content[0]).toHaveProperty("provider", "openai")
    }))

  it("is given to its author and to nobody else, whatever the names", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string({ minLength: 1 }), (author, asked, signature) => {
        const part = reasoning("", signature, author)
        expect(signatureFor(asked, part)).toBe(author === asked ? signature : undefined)
        expect(signatureFor(asked, { _tag: "Reasoning", text: "", signature })).toBe(signature)
      }),
      { numRuns: 2000 }
    )
  })
})
