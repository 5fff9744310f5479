/**
 * `perdure demo`: calls that go wrong, over real HTTP to an embedded provider, and what becomes of them.
 *
 * @since 0.1.0
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as OpenAi from "@perdure/providers/openai"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as LlmProvider from "perdure/LlmProvider"
import * as Policy from "perdure/Policy"
import type * as Receipt from "perdure/Receipt"
import * as Retry from "perdure/Retry"
import * as StreamPart from "perdure/StreamPart"
import { Failed, type UsageError } from "./CliError.ts"
import { program } from "./Commands.ts"
import * as DemoSeries from "./DemoSeries.ts"
import * as Durations from "./Durations.ts"
import * as EmbeddedProvider from "./EmbeddedProvider.ts"
import * as Prices from "./Prices.ts"
import * as Progress from "./Progress.ts"
import * as ReceiptFile from "./ReceiptFile.ts"
import * as Scenes from "./Scenes.ts"
import * as Series from "./Series.ts"
import * as Terminal from "./Terminal.ts"
import * as Text from "./Text.ts"
import * as Timeline from "./Timeline.ts"
import * as Words from "./Words.ts"

/** How long the embedded provider takes to reply. */
const latency = Duration.millis(180)

const layerOf = (scene: Scenes.Scene, { addressOf }: EmbeddedProvider.Embedded) => {
  const one = ({ model, provider }: Receipt.Target) =>
    OpenAi.layer({ ...addressOf("openai", model), model, name: provider, timeouts: { idle: Scenes.idle } }).pipe(
      LlmProvider.withPolicy(Policy.retry(Scenes.policy))
    )
  const chain = scene.fallback ? LlmProvider.orElse(one(Scenes.primary), one(Scenes.backup)) : one(Scenes.primary)
  return Layer.provide(chain, NodeHttpClient.layerUndici)
}

interface Played {
  readonly result: Scenes.Result
  /** What was read, where the answer was streamed. */
  readonly parts: ReadonlyArray<StreamPart.StreamPart>
}

/** Keeps the parts in a list, so that those before a failure are known too. */
const streamed = (parts: Array<StreamPart.StreamPart>) =>
  LlmProvider.stream(Scenes.prompt, { whenCut: "restart" }).pipe(
    Stream.runForEach((part) => Effect.sync(() => parts.push(part))),
    Effect.map(() => StreamPart.toResponse(parts, Scenes.primary))
  )

const play = (terminal: Terminal.Terminal, scene: Scenes.Scene): Effect.Effect<Played, Failed> =>
  Effect.scoped(Effect.gen(function*() {
    const embedded = yield* EmbeddedProvider.scripted(scene.script, latency)
    const parts: Array<StreamPart.StreamPart> = []
    const result = yield* (scene.streamed ? streamed(parts) : LlmProvider.generate(Scenes.prompt)).pipe(
      Progress.show(terminal),
      Effect.either,
      Effect.provide(layerOf(scene, embedded)),
      Effect.catchTag("ConfigError", (error) => new Failed({ lines: [error.message] }))
    )
    return { result, parts }
  }))

const indented = (text: string, width: number, tint: Text.Tint = "plain"): ReadonlyArray<Text.Line> =>
  Text.wrap(text, width - 2).map((line) => [Text.span(`  ${line}`, tint)])

const heading = (number: number, title: string, width: number): Text.Line => {
  const start = `${number} ─ ${title} `
  return [Text.span(start, "strong"), Text.span("─".repeat(Math.max(0, width - Text.width(start))), "dim")]
}

const introduction = (width: number, prices: Option.Option<string>): ReadonlyArray<Text.Line> => [
  [Text.span("Perdure", "strong"), Text.span(": calls that go wrong, over real HTTP")],
  ...Text.wrap(
    `This is the retry article's story told ${Scenes.speed} times faster: 2 s there are ${
      Durations.short(2000 / Scenes.speed)
    } here. The policy: ${Retry.describe(Scenes.policy)}. Costs are by ${
      Option.match(prices, { onNone: () => "example prices; --prices takes yours", onSome: Text.oneLine })
    }.`,
    width
  ).map((line): Text.Line => [Text.span(line, "dim")])
]

/** What a reader was told to discard, and by whom the answer was started again. */
const restartLines = (parts: ReadonlyArray<StreamPart.StreamPart>, width: number): ReadonlyArray<Text.Line> => {
  const text = Scenes.discarded(parts)
  const again = parts.find((part) => part._tag === "Restarted")
  if (text === undefined || again === undefined) return []
  return [
    ...Timeline.paragraph("read", `${Text.oneLine(text)} [silence]`, width),
    ...Timeline.paragraph("restarted", `by ${Words.target(again)}; what was read before is void`, width)
  ]
}

const resultLines = ({ parts, result }: Played, width: number): ReadonlyArray<Text.Line> => {
  const receipt = Scenes.receiptOf(result)
  return [
    ...(receipt === undefined ? [] : [...Timeline.lines(receipt, width), [], ...Timeline.summary(receipt, width)]),
    ...restartLines(parts, width),
    ...Either.match(result, {
      onLeft: (error) => Timeline.paragraph("failed", Text.oneLine(error.message), width),
      onRight: ({ text }) => Timeline.paragraph("answer", Text.oneLine(text), width)
    })
  ]
}

const conclusion = (receipts: ReadonlyArray<Receipt.Receipt>, took: number, name: string): ReadonlyArray<Text.Line> => {
  const attempts = receipts.reduce((sum, { attempts }) => sum + attempts.length, 0)
  const fallbacks = receipts.filter(({ fallback }) => fallback).length
  const counts = [
    Words.count(receipts.length, "call"),
    Words.count(attempts, "attempt"),
    Words.count(fallbacks, "fallback")
  ]
  return [
    [],
    [Text.span("All as told: ", "good"), Text.span(`${counts.join(", ")}, in ${Durations.short(took)}.`)],
    [Text.span("Now yours: "), Text.span(`${name} ask "Why is the sky blue?" --embedded`, "accent")]
  ]
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The calls that are played.
   * @default Scenes.scenes
   */
  readonly scenes?: ReadonlyArray<Scenes.Scene> | undefined
  /**
   * The stories of several calls that follow.
   * @default Series.series
   */
  readonly series?: ReadonlyArray<Series.Series> | undefined
  /**
   * How this program is called where it runs.
   * @default "perdure"
   */
  readonly name?: string | undefined
  /**
   * A file to add the receipt of every call to.
   * @default none
   */
  readonly receipts?: Option.Option<string> | undefined
  /**
   * A file with prices of the models.
   * @default Scenes.prices
   */
  readonly prices?: Option.Option<string> | undefined
}

/** What is left of something that was played. */
interface Left {
  readonly lines: ReadonlyArray<Text.Line>
  readonly receipts: ReadonlyArray<Receipt.Receipt>
  readonly surprises: ReadonlyArray<string>
}

interface Part {
  readonly title: string
  readonly story: string
  readonly play: (terminal: Terminal.Terminal, width: number) => Effect.Effect<Left, Failed>
}

const receiptsOf = (results: ReadonlyArray<Scenes.Result>) =>
  results.flatMap((result) => Scenes.receiptOf(result) ?? [])

const ofScene = (scene: Scenes.Scene): Part => ({
  title: scene.title,
  story: scene.story,
  play: (terminal, width) =>
    Effect.map(play(terminal, scene), (played) => ({
      lines: resultLines(played, width),
      receipts: receiptsOf([played.result]),
      surprises: Scenes.surprises(scene, played.result, played.parts)
    }))
})

const ofSeries = (series: Series.Series): Part => ({
  title: series.title,
  story: series.story,
  play: (terminal, width) =>
    Effect.map(DemoSeries.play(terminal, series, latency), ({ bands, phases, results }) => {
      const receipts = receiptsOf(results)
      return {
        lines: Timeline.series(receipts, bands, width),
        receipts,
        surprises: Series.surprises(series, results, phases)
      }
    })
})

/**
 * Plays scenes one after another and closes with two lines of summary. It fails when one does not come out as told.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (terminal: Terminal.Terminal, options: Options = {}): Effect.Effect<void, Failed | UsageError> => {
  const { name = program, prices = Option.none(), scenes = Scenes.scenes, series = Series.series } = options
  return ReceiptFile.recording(options.receipts ?? Option.none())(Effect.gen(function*() {
    const started = yield* Clock.currentTimeMillis
    const width = Terminal.widthOf(terminal)
    const receipts: Array<Receipt.Receipt> = []
    const surprises: Array<string> = []
    Terminal.print(terminal, introduction(width, prices))
    for (const [index, part] of [...scenes.map(ofScene), ...series.map(ofSeries)].entries()) {
      Terminal.print(terminal, [[], heading(index + 1, part.title, width), ...indented(part.story, width, "dim"), []])
      const left = yield* part.play(terminal, width)
      Terminal.print(terminal, [...(terminal.live ? [] : [[]]), ...left.lines])
      receipts.push(...left.receipts)
      surprises.push(...left.surprises.map((what) => `scene ${index + 1} broke a promise: ${what}`))
    }
    if (surprises.length > 0) return yield* new Failed({ lines: surprises })
    Terminal.print(terminal, conclusion(receipts, (yield* Clock.currentTimeMillis) - started, name))
  })).pipe(Effect.provide(Prices.layer(prices, Scenes.prices)))
}
