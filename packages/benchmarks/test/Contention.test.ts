import { describe, expect, it } from "@effect/vitest"
import * as Contention from "../src/bench/Contention.ts"

describe("the contention model", () => {
  for (const { name, original = [], policy } of Contention.contestants) {
    // The original's decorrelated waits have no spread left at the cap, ours do.
    if (name === "decorrelated jitter") continue
    original.forEach((outcome, i) => {
      const clients = Contention.sizes[i] ?? Number.NaN
      it(`takes ${clients} clients with ${name} as many calls and as long as in the original`, () => {
        const { calls, millis } = Contention.measured(policy, clients, 20)
        // As near as a mean of so few runs is.
        expect(Math.abs(calls / outcome.calls - 1)).toBeLessThan(0.02)
        expect(Math.abs(millis / outcome.millis - 1)).toBeLessThan(0.06)
      })
    })
  }

  it("comes to the same every time", () => {
    for (const { policy } of Contention.contestants) {
      expect(Contention.measured(policy, 100, 2)).toEqual(Contention.measured(policy, 100, 2))
    }
  })
})
