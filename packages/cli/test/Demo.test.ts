import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Demo from "../src/Demo.ts"
import * as Scenes from "../src/Scenes.ts"
import * as Text from "../src/Text.ts"
import { screen } from "./screen.ts"

describe("Demo.run", () => {
  it.live("fails and says which scene broke which promise when one does not come out as told", () =>
    Effect.gen(function*() {
      const { terminal, text } = screen()
      const last = Scenes.scenes.slice(-1)
      const broken = last.map((scene): Scenes.Scene => ({
        ...scene,
        script: { [Scenes.primary.model]: [{ _tag: "Answer", text: "the key is fine" }] }
      }))
      const error = yield* Effect.flip(Demo.run(terminal, { scenes: broken, series: [] }))
      assert.deepStrictEqual(error._tag === "Failed" ? error.lines : [], [
        "scene 1 broke a promise: the attempts come out as 401, not openai",
        "scene 1 broke a promise: the call fails as Unauthenticated"
      ])
      assert.notInclude(text(), "All as told")
    }))
  it.live("has costs, by example prices and by prices of one's own", () =>
    Effect.gen(function*() {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "perdure-demo-"))),
        (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
      )
      const file = join(folder, "prices.json")
      const price = { input: 1000, output: 1000 }
      const table = { currency: "EUR", models: { openai: { "gpt-4o": price }, backup: { "gpt-4o-mini": price } } }
      yield* Effect.promise(() => writeFile(file, JSON.stringify(table)))
      const scenes = Scenes.scenes.slice(1, 3).map((scene): Scenes.Scene => ({
        ...scene,
        script: { [Scenes.primary.model]: [{ _tag: "Answer", text: "Well." }] },
        expected: () => []
      }))
      const told = (prices: Option.Option<string>) => {
        const { terminal, text } = screen({ columns: 300 })
        return Effect.map(Demo.run(terminal, { scenes, series: [], prices }), text)
      }
      const [example, own] = [yield* told(Option.none()), yield* told(Option.some(file))]
      assert.include(example, "example prices")
      assert.lengthOf(example.match(/^ {2}cost {7}0\.0\d+ USD$/gm) ?? [], 2, example)
      assert.match(own, /Costs are by\s+\S+prices\.json\./)
      assert.lengthOf(own.match(/^ {2}cost {7}0\.0\d+ EUR$/gm) ?? [], 2, own)
    }).pipe(Effect.scoped))
  for (const columns of [60, 80]) {
    it.live(`keeps to ${columns} columns, cutting nothing`, () =>
      Effect.gen(function*() {
        const { terminal, text } = screen({ columns })
        yield* Demo.run(terminal, { scenes: Scenes.scenes.slice(-1), series: [] })
        for (const line of text().split("\n")) assert.isAtMost(Text.width(line), columns, line)
        assert.notInclude(text(), "…")
      }))
  }
})
