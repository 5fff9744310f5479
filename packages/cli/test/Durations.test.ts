import { assert, describe, it } from "@effect/vitest"
import { Duration, Option } from "effect"
import * as Durations from "../src/Durations.ts"

describe("Durations.parse", () => {
  const good: ReadonlyArray<readonly [string, number]> = [
    ["500ms", 500],
    ["2s", 2000],
    ["2 seconds", 2000],
    ["1 second", 1000],
    ["1.5 s", 1500],
    ["1m", 60_000],
    ["2 Minutes", 120_000],
    ["250 millis", 250],
    ["1h", 3_600_000],
    [" 3sec ", 3000],
    ["0s", 0]
  ]
  for (const [text, millis] of good) {
    it(`reads ${JSON.stringify(text)} as ${millis} ms`, () => {
      assert.strictEqual(Option.getOrUndefined(Option.map(Durations.parse(text), Duration.toMillis)), millis)
    })
  }
  for (const text of ["", "2", "s", "-2s", "2 fortnights", "1e3s", "2s 5ms", "infinity", "NaN s", ".5s"]) {
    it(`does not read ${JSON.stringify(text)}`, () => {
      assert.isTrue(Option.isNone(Durations.parse(text)))
    })
  }
})

describe("Durations.short", () => {
  const table: ReadonlyArray<readonly [number, string]> = [
    [0, "0ms"],
    [999, "999ms"],
    [999.6, "1.00s"],
    [9994, "9.99s"],
    [9995, "10.0s"],
    [59_949, "59.9s"],
    [59_950, "1m 00s"],
    [125_000, "2m 05s"],
    [3_599_600, "1h 00m"],
    [7_500_000, "2h 05m"]
  ]
  for (const [millis, text] of table) {
    it(`prints ${millis} ms as ${text}`, () => {
      assert.strictEqual(Durations.short(millis), text)
    })
  }
})
