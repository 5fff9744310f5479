/** A stream of 500 events of text: what an event costs, from bytes to text in the program's hands. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as OpenAiProvider from "@perdure/providers/openai"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import OpenAI from "openai"
import * as LlmProvider from "perdure/LlmProvider"
import * as Policy from "perdure/Policy"
import * as Retry from "perdure/Retry"
import * as Answers from "./Answers.ts"
import * as Measure from "./Measure.ts"
import * as Report from "./Report.ts"

const key = "sk-bench-0123456789"
const encoder = new TextEncoder()

/** The stream as chunks of bytes, one event each. */
const byEvent = Answers.streamEvents.map((event) => encoder.encode(event))

/** The stream as chunks of 4 KiB. */
const bySize = (() => {
  const all = Buffer.concat(byEvent)
  return Array.from(
    { length: Math.ceil(all.length / 4096) },
    (_, i) => new Uint8Array(all.subarray(i * 4096, (i + 1) * 4096))
  )
})()

/** A `fetch` that answers with these chunks, without a network. */
const fetchOf = (chunks: ReadonlyArray<Uint8Array>): typeof globalThis.fetch => () => {
  let at = 0
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const chunk = chunks[at++]
      if (chunk === undefined) controller.close()
      else controller.enqueue(chunk)
    }
  })
  return Promise.resolve(new Response(body, { headers: { "content-type": "text/event-stream" } }))
}

/** Runs so many streams, some at once. */
const pool = async (times: number, atOnce: number, one: () => Promise<number>): Promise<void> => {
  let left = times
  const worker = async () => {
    while (left-- > 0) {
      if ((await one()) !== Answers.streamLength) throw new Error("another text was expected")
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

const perdure = (name: string, baseUrl: string, client: Layer.Layer<HttpClient.HttpClient>, atOnce: number) => {
  const layer = OpenAiProvider.layer({ model: "m", apiKey: Redacted.make(key), baseUrl }).pipe(
    LlmProvider.withPolicy(Policy.retry(Retry.standard)),
    Layer.provide(client)
  )
  const read = LlmProvider.stream("Say words.").pipe(
    Stream.runFold(0, (length, part) => part._tag === "TextDelta" ? length + part.text.length : length),
    Effect.filterOrDieMessage((length) => length === Answers.streamLength, "another text was expected")
  )
  return {
    name,
    run: (times: number) =>
      Effect.forEach(Array.from({ length: times }), () => read, { concurrency: atOnce, discard: true }).pipe(
        Effect.provide(layer),
        Effect.runPromise
      )
  }
}

const sdk = (name: string, baseURL: string, fetch: typeof globalThis.fetch | undefined, atOnce: number) => {
  const client = new OpenAI({ apiKey: key, baseURL, ...(fetch === undefined ? {} : { fetch }) })
  return {
    name,
    run: (times: number) =>
      pool(times, atOnce, async () => {
        const stream = await client.chat.completions.create({
          model: "m",
          stream: true,
          stream_options: { include_usage: true },
          messages: [{ role: "user", content: "Say words." }]
        })
        let length = 0
        for await (const chunk of stream) length += chunk.choices[0]?.delta.content?.length ?? 0
        return length
      })
  }
}

export const run = async (
  url: string,
  client: Layer.Layer<HttpClient.HttpClient>,
  effort: Measure.Effort
): Promise<Report.Section> => {
  const nowhere = "http://127.0.0.1:9/v1"
  const forms = [
    { form: "1 event a chunk", by: "wall", atOnce: 1, chunks: byEvent },
    { form: "4 KiB chunks", by: "wall", atOnce: 1, chunks: bySize },
    { form: "network", by: "cpu", atOnce: 16, chunks: undefined }
  ] as const

  const rows: Array<ReadonlyArray<string>> = []
  const verdicts: Array<Report.Verdict> = []
  for (const { atOnce, by, chunks, form } of forms) {
    const names = ["Perdure", "openai SDK"] as const
    const [ours, theirs] = names
    const fetch = chunks === undefined ? undefined : fetchOf(chunks)
    const base = chunks === undefined ? `${url}/v1` : nowhere
    const own = fetch === undefined
      ? client
      : Layer.provideMerge(FetchHttpClient.layer, Layer.succeed(FetchHttpClient.Fetch, fetch))
    const samples = await Measure.race([perdure(ours, base, own, atOnce), sdk(theirs, base, fetch, atOnce)], effort)
    const event = (name: string, by: keyof Measure.Sample) =>
      Report.number(Measure.middle(samples, name, by) / Answers.count)
    for (const name of names) rows.push([form, name, event(name, "wall"), event(name, "cpu")])
    verdicts.push(
      Report.verdict(`${by === "cpu" ? "CPU" : "time"} an event, ${form}`, 0.7, samples, [ours, theirs], by)
    )
  }
  return {
    title: "A stream of 500 events, decoded",
    about:
      "From the memory, one stream after the other, both through the same `fetch`; and over the loopback, 16 at once, " +
      "each event a packet of its own, where Perdure runs over undici and the SDK over what it chooses.",
    columns: ["", "", "µs an event", "CPU µs an event"],
    rows,
    verdicts
  }
}
