/** Complete answers over HTTP on this machine: what a call costs in the client's process. */
import Anthropic from "@anthropic-ai/sdk"
import { Agent } from "@effect/platform-node/Undici"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as AnthropicProvider from "@perdure/providers/anthropic"
import * as OpenAiProvider from "@perdure/providers/openai"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import OpenAI from "openai"
import * as LlmProvider from "perdure/LlmProvider"
import * as Policy from "perdure/Policy"
import * as Retry from "perdure/Retry"
import * as Answers from "./Answers.ts"
import * as Measure from "./Measure.ts"
import * as Report from "./Report.ts"

const atOnce = 64
const prompt = "Why is the sky blue?"
const key = "sk-bench-0123456789"

/** Does something so many times, 64 at once. */
const pool = async (times: number, one: () => Promise<number | undefined>): Promise<void> => {
  let left = times
  const worker = async () => {
    while (left-- > 0) {
      if ((await one()) !== Answers.length) throw new Error("another answer was expected")
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

/** One fiber a call, 64 at once. */
const fibers = (
  times: number,
  layer: Layer.Layer<LlmProvider.LlmProvider, unknown, HttpClient.HttpClient>,
  client: Layer.Layer<HttpClient.HttpClient>
) =>
  Effect.forEach(
    Array.from({ length: times }),
    () =>
      Effect.filterOrDieMessage(
        LlmProvider.generate(prompt),
        (response) => response.text.length === Answers.length,
        "another answer was expected"
      ),
    { concurrency: atOnce, discard: true }
  ).pipe(Effect.provide(Layer.provide(layer, client)), Effect.runPromise)

export const run = async (
  url: string,
  client: Layer.Layer<HttpClient.HttpClient>,
  effort: Measure.Effort
): Promise<Report.Section> => {
  const apiKey = Redacted.make(key)
  const openAi = OpenAiProvider.layer({ model: "m", apiKey, baseUrl: `${url}/v1` })
  const anthropic = AnthropicProvider.layer({ model: "m", apiKey, baseUrl: url })
  const policy = LlmProvider.withPolicy(Policy.retry(Retry.standard))
  const openAiSdk = new OpenAI({ apiKey: key, baseURL: `${url}/v1` })
  const anthropicSdk = new Anthropic({ apiKey: key, baseURL: url })
  const agent = new Agent()
  const body = JSON.stringify({ model: "m", messages: [{ role: "user", content: prompt }] })

  const names = {
    floor: "undici and JSON.parse alone",
    bare: "Perdure, OpenAI",
    openAi: "Perdure, OpenAI, standard retry",
    openAiSdk: "openai SDK",
    anthropic: "Perdure, Anthropic, standard retry",
    anthropicSdk: "Anthropic SDK"
  }
  const samples = await Measure.race([
    {
      name: names.floor,
      run: (times) =>
        pool(times, async () => {
          const reply = await agent.request({
            origin: url,
            path: "/v1/chat/completions",
            method: "POST",
            headers: { "content-type": "application/json" },
            body
          })
          const answer = await reply.body.json() as typeof Answers.chatCompletion
          return answer.choices[0]?.message.content.length
        })
    },
    { name: names.bare, run: (times) => fibers(times, openAi, client) },
    { name: names.openAi, run: (times) => fibers(times, policy(openAi), client) },
    {
      name: names.openAiSdk,
      run: (times) =>
        pool(times, async () => {
          const answer = await openAiSdk.chat.completions.create({
            model: "m",
            messages: [{ role: "user", content: prompt }]
          })
          return answer.choices[0]?.message.content?.length
        })
    },
    { name: names.anthropic, run: (times) => fibers(times, policy(anthropic), client) },
    {
      name: names.anthropicSdk,
      run: (times) =>
        pool(times, async () => {
          const answer = await anthropicSdk.messages.create({
            model: "m",
            max_tokens: 4096,
            messages: [{ role: "user", content: prompt }]
          })
          const [first] = answer.content
          return first?.type === "text" ? first.text.length : undefined
        })
    }
  ], effort)
  await agent.destroy()

  return {
    title: "A complete answer over HTTP",
    about:
      `${atOnce} at once, over the loopback, from a server in a process of its own. Perdure's providers run over ` +
      "`NodeHttpClient.layerUndici`, the SDKs over what they choose. CPU is the client's process.",
    columns: ["", "calls/s", "CPU µs a call"],
    rows: Object.values(names).map((name) => [
      name,
      Report.number(1e6 / Measure.middle(samples, name, "wall")),
      Report.number(Measure.middle(samples, name, "cpu"))
    ]),
    verdicts: [
      Report.verdict("CPU a call, OpenAI", 0.65, samples, [names.openAi, names.openAiSdk], "cpu"),
      Report.verdict("time a call, OpenAI", 1, samples, [names.openAi, names.openAiSdk], "wall"),
      Report.verdict("CPU a call, Anthropic", 0.65, samples, [names.anthropic, names.anthropicSdk], "cpu"),
      Report.verdict("time a call, Anthropic", 1, samples, [names.anthropic, names.anthropicSdk], "wall")
    ]
  }
}
