import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
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
