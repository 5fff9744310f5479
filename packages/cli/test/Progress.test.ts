import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, TestClock } from "effect"
import { LlmError, LlmProvider, LlmRequest, LlmResponse, Policy, Retry } from "perdure"
import type { Call } from "perdure"
import * as Progress from "../src/Progress.ts"
import * as Terminal from "../src/Terminal.ts"
import * as Text from "../src/Text.ts"
import { failed } from "./receipts.ts"

const target = { provider: "openai", model: "gpt-4o" }
const frame = (state: Progress.State, now: number) => Text.render(Progress.frame(state, now), false)
const line = (event: Call.Event) => {
  const shown = Progress.line(event)
  return shown && Text.render(shown, false)
}

/** Keeps what is written. */
const screen = (isTTY: boolean, columns = 80) => {
  const written: Array<string> = []
  const terminal = Terminal.of({ isTTY, columns, write: (text) => written.push(text) }, {})
  return { terminal, written }
}

/** Fails once with a rate limit, after 300 ms, and answers after another 300. */
const provider = () => {
  let calls = 0
  const answer = new LlmResponse.LlmResponse({ ...target, content: [LlmRequest.text("ok")], finishReason: "stop" })
  const limited = new LlmError.RateLimited({ ...target, status: 429, retryAfter: Duration.millis(1000) })
  return LlmProvider.layer({
    ...target,
    generate: () =>
      Effect.delay(Effect.suspend(() => calls++ === 0 ? Effect.fail(limited) : Effect.succeed(answer)), "300 millis")
  }).pipe(LlmProvider.withPolicy(Policy.retry(Retry.constant("1 millis"))))
}

const call = (terminal: Terminal.Terminal) =>
  LlmProvider.generate("hi").pipe(Progress.show(terminal), Effect.provide(provider()))

describe("Progress.frame", () => {
  it("says whom it asks, for which time, and for how long now", () => {
    const state = Progress.next(Progress.idle, {
      _tag: "AttemptStarted",
      at: 1000,
      call: 1,
      attempt: 2,
      target,
      hedge: false
    })
    assert.include(frame(state, 2500), "asking openai/gpt-4o  attempt 2, 1.5s")
  })
  it("counts a wait down to zero and no further", () => {
    const wait = Duration.millis(2000)
    const state = Progress.next(Progress.idle, {
      _tag: "Waiting",
      at: 1000,
      call: 1,
      target,
      wait,
      because: "RateLimited"
    })
    assert.include(frame(state, 1000), "waiting 2.0s ")
    assert.include(frame(state, 2500), "waiting 0.5s ")
    assert.include(frame(state, 9000), "waiting 0.0s ")
    assert.include(frame(state, 1000), "rate limited")
  })
  it("fills the meter as the wait goes by, and keeps its length", () => {
    const wait = Duration.millis(1600)
    const state = Progress.next(Progress.idle, { _tag: "Waiting", at: 0, call: 1, target, wait, because: "Overloaded" })
    const filled = (now: number) =>
      Progress.frame(state, now).filter(({ text }) => text.startsWith("━")).map(({ text, tint }) => [tint, text.length])
    assert.deepStrictEqual(filled(400), [["accent", 4], ["dim", 12]])
    assert.deepStrictEqual(filled(1600), [["accent", 16]])
    assert.strictEqual(Text.lineWidth(Progress.frame(state, 0)), Text.lineWidth(Progress.frame(state, 1599)))
  })
  it("is empty when nothing goes on", () => {
    assert.strictEqual(frame(Progress.idle, 0), "")
  })
})

describe("Progress.line", () => {
  it("tells the end of an attempt and what the provider asks for", () => {
    const ended = {
      _tag: "AttemptEnded",
      at: 0,
      call: 1,
      attempt: 1,
      target,
      duration: Duration.zero,
      usage: undefined,
      cost: undefined,
      hedge: false
    } as const
    assert.strictEqual(
      line({ ...ended, outcome: failed("RateLimited", 429, 2000) }),
      "  attempt 1: openai/gpt-4o 429 rate limited, asks for 2.00s"
    )
    assert.strictEqual(
      line({ ...ended, outcome: { _tag: "Answered", model: "x" } }),
      "  attempt 1: openai/gpt-4o answered"
    )
  })
  it("tells a wait and a fallback", () => {
    const to = { provider: "backup", model: "b" }
    assert.strictEqual(
      line({ _tag: "Waiting", at: 0, call: 1, target, wait: Duration.millis(250), because: "Overloaded" }),
      "  waiting 250ms"
    )
    assert.strictEqual(
      line({ _tag: "FellBack", at: 0, call: 1, from: target, to, because: "Overloaded" }),
      "  falling back to backup/b"
    )
  })
  it("tells where a circuit is now, and for how long it is open", () => {
    const changed = { _tag: "CircuitChanged", at: 0, call: 1, breaker: "default", circuit: "openai/gpt-4o" } as const
    assert.strictEqual(
      line({ ...changed, from: "closed", to: "open", openFor: Duration.seconds(30) }),
      "  circuit openai/gpt-4o: open for 30.0s"
    )
    assert.strictEqual(line({ ...changed, from: "open", to: "halfOpen" }), "  circuit openai/gpt-4o: half open")
  })
})

describe("Progress.show", () => {
  it.effect("writes plain lines and no codes where nothing may be drawn over", () =>
    Effect.gen(function*() {
      const { terminal, written } = screen(false)
      const fiber = yield* Effect.fork(call(terminal))
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(fiber)
      assert.strictEqual(
        written.join(""),
        "  attempt 1: openai/gpt-4o 429 rate limited, asks for 1.00s\n  waiting 1.00s\n" +
          "  attempt 2: openai/gpt-4o answered\n"
      )
    }))
  it.effect("draws over one line on a terminal, and leaves it clean with the cursor back", () =>
    Effect.gen(function*() {
      const { terminal, written } = screen(true)
      const fiber = yield* Effect.fork(call(terminal))
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(fiber)
      assert.strictEqual(written[0], Terminal.cursor.hide)
      assert.strictEqual(written.at(-1), Terminal.cursor.clearLine + Terminal.cursor.show)
      const text = written.join("")
      assert.notInclude(text, "\n")
      for (const shown of ["attempt 1, 0.2s", "waiting 1.0s", "waiting 0.5s", "attempt 2"]) assert.include(text, shown)
    }))
  it.effect("never draws to the last column", () =>
    Effect.gen(function*() {
      const { terminal, written } = screen(true, 20)
      const fiber = yield* Effect.fork(call(terminal))
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(fiber)
      const longest = Math.max(...written.map((text) => Text.width(text.replace(codes, ""))))
      assert.strictEqual(longest, 19)
    }))
  it.effect("restores the cursor when it is interrupted in a wait, and draws no more", () =>
    Effect.gen(function*() {
      const { terminal, written } = screen(true)
      const fiber = yield* Effect.fork(call(terminal))
      yield* TestClock.adjust("800 millis")
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(written.at(-1), Terminal.cursor.clearLine + Terminal.cursor.show)
      const before = written.length
      yield* TestClock.adjust("5 seconds")
      assert.lengthOf(written, before)
    }))
})

// oxlint-disable-next-line eslint/no-control-regex
const codes = /\u001b\[[0-9;?]*[a-zA-Z]|\r/g
