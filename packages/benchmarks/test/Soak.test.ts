import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Chance from "../src/soak/Chance.ts"
import { formats } from "../src/soak/Format.ts"
import * as Plan from "../src/soak/Plan.ts"
import * as Soak from "../src/soak/Soak.ts"

describe("the storm", () => {
  it.live(
    "S1, S2, S3, E2: broken streams are whole answers or typed failures, and leave nothing behind",
    () =>
      Effect.gen(function*() {
        const report = yield* Soak.run({ seed: "test", streams: 90, atOnce: 20, warmUp: 10, patience: 400 })
        expect(report.problems).toEqual([])
        const ended = (how: string) => report.outcomes.filter((outcome) => outcome.ended === how).length
        expect(ended("answered")).toBeGreaterThan(40)
        expect(ended("failed")).toBeGreaterThan(3)
        expect(ended("left")).toBeGreaterThan(3)
        expect(report.figures.how.size).toBeGreaterThan(10)
      }),
    20_000
  )
})

describe("the plans of the server", () => {
  const planned = (seed: string) =>
    Array.from({ length: 300 }, (_, call) => formats.map((format) => Plan.make(seed, call, format, 1))).flat()

  it("are the same for the same seed, and others for another", () => {
    const told = (seed: string) =>
      planned(seed).map(({ at, how, writes }) => [how, at, writes.length, Buffer.concat(writes).toString()].join())
    expect(told("a")).toEqual(told("a"))
    expect(told("a")).not.toEqual(told("b"))
  })

  it("cut characters in the middle of their bytes", () => {
    const broken = planned("a").filter(({ writes }) => writes.some((bytes) => ((bytes[0] ?? 0) & 0xc0) === 0x80))
    expect(broken.length).toBeGreaterThan(50)
  })

  it("draw whole numbers in their range, both ends included", () => {
    const chance = Chance.make("numbers")
    const drawn = new Set(Array.from({ length: 500 }, () => Chance.integer(chance, 2, 5)))
    expect(Array.from(drawn).toSorted()).toEqual([2, 3, 4, 5])
  })
})
