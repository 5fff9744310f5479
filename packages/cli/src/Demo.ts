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
import * as LlmProvider from "perdure/LlmProvider"
import * as Policy from "perdure/Policy"
import type * as Receipt from "perdure/Receipt"
import * as Retry from "perdure/Retry"
import { Failed } from "./CliError.ts"
import { program } from "./Commands.ts"
import * as Durations from "./Durations.ts"
import * as EmbeddedProvider from "./EmbeddedProvider.ts"
import * as Progress from "./Progress.ts"
import * as Scenes from "./Scenes.ts"
import * as Terminal from "./Terminal.ts"
import * as Text from "./Text.ts"
import * as Timeline from "./Timeline.ts"
import * as Words from "./Words.ts"

/** How long the embedded provider takes to reply. */
const latency = Duration.millis(180)

const layerOf = (scene: Scenes.Scene, address: EmbeddedProvider.Address) => {
  const one = ({ model, provider }: Receipt.Target) =>
    OpenAi.layer({ ...address, model, name: provider }).pipe(LlmProvider.withPolicy(Policy.retry(Scenes.policy)))
  const chain = scene.fallback ? LlmProvider.orElse(one(Scenes.primary), one(Scenes.backup)) : one(Scenes.primary)
  return Layer.provide(chain, NodeHttpClient.layerUndici)
}

const play = (terminal: Terminal.Terminal, scene: Scenes.Scene): Effect.Effect<Scenes.Result, Failed> =>
  Effect.scoped(Effect.gen(function*() {
    const address = yield* EmbeddedProvider.scripted(scene.script, latency)
    return yield* LlmProvider.generate(Scenes.prompt).pipe(
      Progress.show(terminal),
      Effect.either,
      Effect.provide(layerOf(scene, address)),
      Effect.catchTag("ConfigError", (error) => new Failed({ lines: [error.message] }))
    )
  }))

const indented = (text: string, width: number, tint: Text.Tint = "plain"): ReadonlyArray<Text.Line> =>
  Text.wrap(text, width - 2).map((line) => [Text.span(`  ${line}`, tint)])

const heading = (number: number, title: string, width: number): Text.Line => {
  const start = `${number} ─ ${title} `
  return [Text.span(start, "strong"), Text.span("─".repeat(Math.max(0, width - Text.width(start))), "dim")]
}

const introduction = (width: number): ReadonlyArray<Text.Line> => [
  [Text.span("Perdure", "strong"), Text.span(": three calls go wrong, over real HTTP")],
  ...Text.wrap(
    `This is the retry article's story told ${Scenes.speed} times faster: 2 s there are ${
      Durations.short(2000 / Scenes.speed)
    } here. The policy: ${Retry.describe(Scenes.policy)}.`,
    width
  ).map((line): Text.Line => [Text.span(line, "dim")])
]

const resultLines = (result: Scenes.Result, width: number): ReadonlyArray<Text.Line> => {
  const receipt = Scenes.receiptOf(result)
  return [
    ...(receipt === undefined ? [] : [...Timeline.lines(receipt, width), [], ...Timeline.summary(receipt, width)]),
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
   * What is played.
   * @default Scenes.scenes
   */
  readonly scenes?: ReadonlyArray<Scenes.Scene> | undefined
  /**
   * How this program is called where it runs.
   * @default "perdure"
   */
  readonly name?: string | undefined
}

/**
 * Plays scenes one after another and closes with two lines of summary. It fails when one does not come out as told.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (
  terminal: Terminal.Terminal,
  options: Options = {}
): Effect.Effect<void, Failed> =>
  Effect.gen(function*() {
    const { name = program, scenes = Scenes.scenes } = options
    const started = yield* Clock.currentTimeMillis
    const width = Terminal.widthOf(terminal)
    const receipts: Array<Receipt.Receipt> = []
    const surprises: Array<string> = []
    Terminal.print(terminal, introduction(width))
    for (const [index, scene] of scenes.entries()) {
      Terminal.print(terminal, [
        [],
        heading(index + 1, scene.title, width),
        ...indented(scene.story, width, "dim"),
        []
      ])
      const result = yield* play(terminal, scene)
      Terminal.print(terminal, [...(terminal.live ? [] : [[]]), ...resultLines(result, width)])
      const receipt = Scenes.receiptOf(result)
      if (receipt !== undefined) receipts.push(receipt)
      surprises.push(...Scenes.surprises(scene, result).map((what) => `scene ${index + 1} broke a promise: ${what}`))
    }
    if (surprises.length > 0) return yield* new Failed({ lines: surprises })
    Terminal.print(terminal, conclusion(receipts, (yield* Clock.currentTimeMillis) - started, name))
  })
