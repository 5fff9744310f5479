import { assert, describe, it } from "@effect/vitest"
import { Either } from "effect"
import { LlmError, LlmRequest, LlmResponse, type Receipt, Retry, StreamPart } from "perdure"
import * as Scenes from "../src/Scenes.ts"
import { answered, failed, receipt } from "./receipts.ts"

type Four = [Scenes.Scene, Scenes.Scene, Scenes.Scene, Scenes.Scene]
const [rateLimit, outage, silence, badKey] = Scenes.scenes as Four

const answer = (scene: Scenes.Scene, story: Receipt.Receipt, text?: string): Scenes.Result => {
  const replies = Object.values(scene.script).flatMap((replies) => "words" in replies ? [] : replies)
  const scripted = replies.flatMap((reply) => reply._tag === "Answer" ? [reply.text] : [])[0] ?? ""
  return Either.right(
    new LlmResponse.LlmResponse({
      provider: "openai",
      model: "gpt-4o",
      content: [LlmRequest.text(text ?? scripted)],
      finishReason: "stop",
      receipt: story
    })
  )
}

const told = receipt([
  { took: 200, outcome: failed("RateLimited", 429, 2000) },
  { wait: 2000, took: 200, outcome: failed("ProviderUnavailable", 500) },
  { wait: 100, took: 200, outcome: answered }
])

describe("Scenes.surprises", () => {
  it("finds none when a scene comes out as told", () => {
    assert.deepStrictEqual(Scenes.surprises(rateLimit, answer(rateLimit, told)), [])
  })
  it("notices a Retry-After that was cut short", () => {
    const short = receipt([
      { took: 200, outcome: failed("RateLimited", 429, 2000) },
      { wait: 1999, took: 200, outcome: failed("ProviderUnavailable", 500) },
      { took: 200, outcome: answered }
    ])
    assert.deepStrictEqual(Scenes.surprises(rateLimit, answer(rateLimit, short)), [
      "the Retry-After is waited for in full"
    ])
  })
  it("notices another answer, other attempts and a fallback that was not tried", () => {
    assert.deepStrictEqual(Scenes.surprises(rateLimit, answer(rateLimit, told, "else")), [
      "the answer is the one of the script"
    ])
    assert.deepStrictEqual(Scenes.surprises(outage, answer(outage, told)), [
      "the attempts come out as 503, 503, 503, 503, backup, not 429, 500, openai",
      "the fallback is in the receipt"
    ])
  })
  it("notices a stream that was not restarted, or restarted without a word", () => {
    const rescued = answer(
      silence,
      receipt([
        { took: 900, outcome: failed("TimedOut") },
        { provider: "backup", model: "gpt-4o-mini", took: 300, outcome: answered }
      ])
    )
    const words = ["One place ", "for keys, limits, "].map((text) => StreamPart.TextDelta.make({ text }))
    const restarted = StreamPart.Restarted.make({ provider: "backup", model: "gpt-4o-mini" })
    assert.deepStrictEqual(Scenes.surprises(silence, rescued, [...words, restarted]), [])
    assert.deepStrictEqual(Scenes.surprises(silence, rescued, words), [
      "the reader is given the first words before the silence",
      "a Restarted part names the backup"
    ])
    assert.deepStrictEqual(Scenes.surprises(silence, rescued, [restarted]), [
      "the reader is given the first words before the silence"
    ])
  })
  it("notices a bad key that was asked with again", () => {
    const once = receipt([{ took: 200, outcome: failed("Unauthenticated", 401) }])
    const twice = receipt([...Array<0>(2)].map(() => ({ took: 200, outcome: failed("Unauthenticated", 401) })))
    const refused = (story: Receipt.Receipt): Scenes.Result =>
      Either.left(new LlmError.Unauthenticated({ provider: "openai", model: "gpt-4o", receipt: story }))
    assert.deepStrictEqual(Scenes.surprises(badKey, refused(once)), [])
    assert.deepStrictEqual(Scenes.surprises(badKey, refused(twice)), ["the attempts come out as 401, not 401, 401"])
  })
})

describe("Scenes.policy", () => {
  it("is the article's, ten times faster", () => {
    assert.strictEqual(Scenes.speed, 10)
    assert.strictEqual(
      Retry.describe(Scenes.policy),
      "200ms → 400ms → 800ms, cap 3s, full jitter, 4 attempts, within 6s, Retry-After up to 6s"
    )
    assert.strictEqual(
      Retry.describe(Retry.article),
      "2s → 4s → 8s, cap 30s, full jitter, 4 attempts, within 1m, Retry-After up to 1m"
    )
  })
})
