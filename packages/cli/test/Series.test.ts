import { assert, describe, it } from "@effect/vitest"
import { Duration, Either } from "effect"
import { CircuitBreaker, KeyPool, LlmError, Receipt } from "perdure"
import type * as Scenes from "../src/Scenes.ts"
import * as Series from "../src/Series.ts"
import { answered, failed, receipt } from "./receipts.ts"

const [breaker, pool] = Series.series as [Series.Series, Series.Series]

const ended = (story: Receipt.Receipt): Scenes.Result =>
  Either.left(new LlmError.Unauthenticated({ provider: "openai", model: "gpt-4o", receipt: story }))

const down = ended(receipt([
  { took: 1, outcome: failed("Overloaded", 503) },
  { provider: "backup", took: 1, outcome: answered }
]))
const refused = ended(
  new Receipt.Receipt({
    ...receipt([{ provider: "backup", took: 1, outcome: answered }]),
    refusals: [{ at: Duration.zero, target: { provider: "openai", model: "gpt-4o" }, because: "CircuitOpen" }]
  })
)
const up = ended(receipt([{ took: 1, outcome: answered }]))

const byKey = (...keys: ReadonlyArray<readonly [key: string, outcome: Receipt.Outcome]>): Scenes.Result => {
  const story = receipt(keys.map(([, outcome]) => ({ took: 1, outcome })))
  const attempts = story.attempts.map((attempt, index) =>
    new Receipt.Attempt({ ...attempt, key: keys[index]?.[0] ?? "" })
  )
  return ended(new Receipt.Receipt({ ...story, attempts }))
}

describe("Series.surprises", () => {
  it("finds none when a breaker opens, rejects, probes and closes while a fallback serves", () => {
    const calls = [down, down, refused, refused, up, up]
    assert.deepStrictEqual(Series.surprises(breaker, calls, ["open", "halfOpen", "closed"]), [])
    assert.deepStrictEqual(Series.surprises(breaker, calls.with(2, down), ["open", "halfOpen", "closed"]), [
      "call 3 comes out as CircuitOpen, backup, not 503, backup"
    ])
    assert.deepStrictEqual(Series.surprises(breaker, calls.slice(0, 5), ["open"]), [
      "call 6 comes out as openai, not nothing",
      "the circuit goes through open, halfOpen, closed, not open"
    ])
  })
  it("finds none when a pool leaves a bad key out until its time is over", () => {
    const [a, b] = Series.keys
    const calls = [
      byKey([a, failed("Unauthenticated", 401)], [b, answered]),
      byKey([b, answered]),
      byKey([b, answered]),
      byKey([b, answered]),
      byKey([a, answered])
    ]
    assert.deepStrictEqual(Series.surprises(pool, calls, []), [])
    assert.deepStrictEqual(Series.surprises(pool, calls.with(2, byKey([a, answered])), []), [
      "call 3 comes out as team-b, not team-a"
    ])
  })
})

describe("Series", () => {
  it("forgets thirty times faster than the defaults", () => {
    assert.deepStrictEqual(Duration.times(Series.openFor, 30), CircuitBreaker.defaults.openDuration)
    assert.deepStrictEqual(Duration.times(Series.benchedFor, 30), KeyPool.defaults.benchedFor)
  })
})
