import { assert, describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, TestClock } from "effect"
import { Call, Disposition, Fallback, LlmError, LlmProvider, LlmRequest, Policy, Retry } from "perdure"
import { answer, anthropic, failureOf, openAi, rateLimited, run, scripted, unavailable } from "./support/provider.ts"

const ask = LlmRequest.make("hello")
const mistral = { provider: "mistral", model: "large" }

/** Two targets, the first failing as given, the second answering. */
const pair = (failure: LlmError.ProviderError, options?: Fallback.Options) => {
  const first = scripted([failure])
  const second = scripted([answer("from elsewhere", anthropic)], anthropic)
  return { first, second, chain: Fallback.make([first.service, second.service], options) }
}

describe("F1: which failures move on", () => {
  const moving: ReadonlyArray<LlmError.ProviderError> = [
    rateLimited("10 seconds"),
    unavailable(),
    new LlmError.Overloaded(openAi),
    new LlmError.ConnectionFailed({ ...openAi, sent: true }),
    new LlmError.TimedOut({ ...openAi, phase: "headers" }),
    new LlmError.MalformedResponse(openAi),
    new LlmError.QuotaExhausted(openAi),
    new LlmError.Unauthenticated(openAi),
    new LlmError.PermissionDenied(openAi),
    new LlmError.ModelNotFound(openAi)
  ]
  for (const failure of moving) {
    it.effect(`${failure._tag} moves on at once`, () =>
      Effect.gen(function*() {
        const { chain, second } = pair(failure)
        const { elapsed, exit } = yield* run(chain.generate(ask))
        assert(Exit.isSuccess(exit))
        assert.strictEqual(exit.value.text, "from elsewhere")
        assert.strictEqual(elapsed, 0)
        assert.strictEqual(second.calls.length, 1)
      }))
  }

  const stopping: ReadonlyArray<LlmError.ProviderError> = [
    new LlmError.InvalidRequest(openAi),
    new LlmError.ContentFiltered({ ...openAi, stage: "prompt" }),
    new LlmError.RequestTooLarge(openAi),
    new LlmError.StreamInterrupted({ ...openAi, handedOut: true }),
    new LlmError.ContextLengthExceeded(openAi)
  ]
  for (const failure of stopping) {
    it.effect(`${failure._tag} stops, and is the failure itself`, () =>
      Effect.gen(function*() {
        const { chain, second } = pair(failure)
        const { exit } = yield* run(chain.generate(ask))
        assert.strictEqual(failureOf(exit)._tag, failure._tag)
        assert.strictEqual(second.calls.length, 0)
      }))
  }

  it.effect("R7: a request that is not idempotent does not move on once the provider may have acted", () =>
    Effect.gen(function*() {
      const request = LlmRequest.make({ messages: [LlmRequest.user("pay")], idempotent: false })
      const acted = pair(new LlmError.TimedOut({ ...openAi, phase: "headers" }))
      yield* run(acted.chain.generate(request))
      assert.strictEqual(acted.second.calls.length, 0)
      const refused = pair(rateLimited())
      yield* run(refused.chain.generate(request))
      assert.strictEqual(refused.second.calls.length, 1)
    }))

  it.effect("refused content moves on when the classifier says so", () =>
    Effect.gen(function*() {
      const classify = Disposition.override({ ContentFiltered: { next: "elsewhereOnly" } })
      const { chain, second } = pair(new LlmError.ContentFiltered({ ...openAi, stage: "prompt" }), {
        movesOn: Fallback.movesOn(classify)
      })
      yield* run(chain.generate(ask))
      assert.strictEqual(second.calls.length, 1)
    }))

  describe("a context that is too long moves on only to a larger window", () => {
    const tooLong = (facts: { readonly limit?: number; readonly requested?: number } = {}) =>
      new LlmError.ContextLengthExceeded({ ...openAi, ...facts })
    const cases: ReadonlyArray<
      readonly [string, LlmError.ContextLengthExceeded, number | undefined, number | undefined, boolean]
    > = [
      ["larger by both declared windows", tooLong(), 8000, 8001, true],
      ["equal", tooLong(), 8000, 8000, false],
      ["smaller", tooLong(), 8000, 4000, false],
      ["unknown", tooLong(), 8000, undefined, false],
      ["larger than the limit in the failure", tooLong({ limit: 8000 }), undefined, 9000, true],
      [
        "larger, but not large enough for what was asked",
        tooLong({ limit: 8000, requested: 20_000 }),
        8000,
        16_000,
        false
      ],
      ["large enough for what was asked", tooLong({ limit: 8000, requested: 20_000 }), 8000, 20_000, true]
    ]
    for (const [what, failure, from, to, moves] of cases) {
      it.effect(`${what}: ${moves ? "asked" : "not asked"}`, () =>
        Effect.gen(function*() {
          const first = scripted([failure], { ...openAi, contextWindow: from })
          const second = scripted([answer("hi", anthropic)], { ...anthropic, contextWindow: to })
          yield* run(Fallback.make([first.service, second.service]).generate(ask))
          assert.strictEqual(second.calls.length, moves ? 1 : 0)
        }))
    }

    it.effect("targets in between that are too small are passed over", () =>
      Effect.gen(function*() {
        const first = scripted([tooLong()], { ...openAi, contextWindow: 8000 })
        const small = scripted([answer("hi", mistral)], { ...mistral, contextWindow: 8000 })
        const large = scripted([answer("hi", anthropic)], { ...anthropic, contextWindow: 200_000 })
        const { exit } = yield* run(Fallback.make([first.service, small.service, large.service]).generate(ask))
        assert(Exit.isSuccess(exit) && exit.value.provider === "anthropic")
        assert.strictEqual(small.calls.length, 0)
      }))
  })
})

describe("F2: timeouts", () => {
  const timedOut = new LlmError.TimedOut({ ...openAi, phase: "attempt" })
  const patient = Policy.retry(Retry.exponential("2 seconds").pipe(Retry.attempts(3)))

  it.effect("a timed-out attempt prefers another target over the same one again", () =>
    Effect.gen(function*() {
      const first = scripted([timedOut])
      const second = scripted([answer("hi", anthropic)], anthropic)
      const llm = first.layer.pipe(LlmProvider.withPolicy(patient), LlmProvider.orElse(second.layer))
      const { elapsed } = yield* run(LlmProvider.generate("hello").pipe(Effect.provide(llm)))
      assert.strictEqual(first.calls.length, 1)
      assert.strictEqual(elapsed, 0)
    }))

  it.effect("it is retried where there is no other target, also at the end of a chain", () =>
    Effect.gen(function*() {
      const first = scripted([timedOut])
      const last = scripted([timedOut, answer("hi", anthropic)], anthropic)
      const llm = first.layer.pipe(
        LlmProvider.withPolicy(patient),
        LlmProvider.orElse(last.layer.pipe(LlmProvider.withPolicy(patient)))
      )
      const { exit } = yield* run(LlmProvider.generate("hello").pipe(Effect.provide(llm)))
      assert(Exit.isSuccess(exit))
      assert.strictEqual(first.calls.length, 1)
      assert.strictEqual(last.calls.length, 2)
    }))

  it.effect("a chain that has ended leaves no trace in the retry around it", () =>
    Effect.gen(function*() {
      const first = scripted([timedOut, answer("hi")])
      const second = scripted([answer("no", anthropic)], anthropic)
      const llm = first.layer.pipe(
        LlmProvider.orElse(second.layer, { movesOn: () => false }),
        LlmProvider.withPolicy(patient)
      )
      yield* run(LlmProvider.generate("hello").pipe(Effect.provide(llm)))
      assert.strictEqual(first.calls.length, 2)
    }))
})

describe("F2: a chain that would not move on", () => {
  const timedOut = new LlmError.TimedOut({ ...openAi, phase: "attempt" })
  const patient = Policy.retry(Retry.exponential("2 seconds").pipe(Retry.attempts(3)))

  it.effect("does not keep a retry inside from repeating a timeout", () =>
    Effect.gen(function*() {
      const first = scripted([timedOut, answer("hi")])
      const second = scripted([answer("no", anthropic)], anthropic)
      const llm = first.layer.pipe(
        LlmProvider.withPolicy(patient),
        LlmProvider.orElse(second.layer, { movesOn: ({ _tag }) => _tag === "QuotaExhausted" })
      )
      const { exit } = yield* run(LlmProvider.generate("hello").pipe(Effect.provide(llm)))
      assert(Exit.isSuccess(exit))
      assert.strictEqual(first.calls.length, 2)
    }))

  it.effect("a timeout that moved on was not spent: a retry around the chain may start it again", () =>
    Effect.gen(function*() {
      const first = scripted([timedOut, answer("hi")])
      const second = scripted([new LlmError.Overloaded(anthropic)], anthropic)
      const llm = first.layer.pipe(
        LlmProvider.withPolicy(patient),
        LlmProvider.orElse(second.layer),
        LlmProvider.withPolicy(patient)
      )
      const { exit } = yield* run(LlmProvider.generate("hello").pipe(Effect.provide(llm)))
      assert(Exit.isSuccess(exit))
    }))

  it.effect("two runs of one chain side by side do not confuse each other", () =>
    Effect.gen(function*() {
      const first = scripted([timedOut])
      const last = scripted([timedOut, timedOut, answer("hi", anthropic)], anthropic)
      const llm = first.layer.pipe(LlmProvider.orElse(last.layer.pipe(LlmProvider.withPolicy(patient))))
      const hedged = Policy.make([], (self) => Effect.race(self, Effect.delay(self, "1 second")))
      const { exit } = yield* run(
        LlmProvider.generate("hello").pipe(Effect.provide(llm.pipe(LlmProvider.withPolicy(hedged))))
      )
      assert(Exit.isSuccess(exit))
    }))
})

describe("F4: when all fail", () => {
  it.effect("the error holds every failure in order, and its receipt every attempt", () =>
    Effect.gen(function*() {
      const first = scripted([unavailable()])
      const second = scripted([
        new LlmError.Overloaded({ ...anthropic, retryAfter: rateLimited("9 seconds").retryAfter })
      ], anthropic)
      const third = scripted([new LlmError.Unauthenticated(mistral)], mistral)
      const llm = first.layer.pipe(LlmProvider.orElse(second.layer), LlmProvider.orElse(third.layer))
      const { exit } = yield* run(LlmProvider.generate("hello").pipe(Effect.provide(llm)))
      const failure = failureOf(exit)
      assert(failure._tag === "AllTargetsFailed")
      assert.deepStrictEqual(
        failure.failures.map(({ _tag, provider }) => `${provider} ${_tag}`),
        ["openai ProviderUnavailable", "anthropic Overloaded", "mistral Unauthenticated"]
      )
      assert.strictEqual(failure.untried, 0)
      assert.strictEqual(failure.receipt?.attempts.length, 3)
      assert.isTrue(failure.receipt?.fallback)
      assert.isUndefined(failure.receipt?.served)
      assert.strictEqual(failure.receipt?.requested.provider, "openai")
    }))

  it.effect("a failure that stops further down still keeps the ones before, and counts the untried", () =>
    Effect.gen(function*() {
      const chain = Fallback.make([
        scripted([unavailable()]).service,
        scripted([new LlmError.InvalidRequest(anthropic)], anthropic).service,
        scripted([answer("hi", mistral)], mistral).service
      ])
      const failure = failureOf((yield* run(chain.generate(ask))).exit)
      assert(failure._tag === "AllTargetsFailed")
      assert.deepStrictEqual(failure.failures.map(({ _tag }) => _tag), ["ProviderUnavailable", "InvalidRequest"])
      assert.strictEqual(failure.untried, 1)
    }))

  it.effect("a retry around the chain starts it again, unless a retry inside has given up", () =>
    Effect.gen(function*() {
      const outer = Policy.retry(Retry.exponential("1 second").pipe(Retry.attempts(3)))
      const inner = Policy.retry(Retry.exponential("1 second").pipe(Retry.attempts(2)))
      const bare = [scripted([unavailable()]), scripted([unavailable()], anthropic)] as const
      const around = bare[0].layer.pipe(LlmProvider.orElse(bare[1].layer), LlmProvider.withPolicy(outer))
      yield* run(LlmProvider.generate("hello").pipe(Effect.provide(around)))
      assert.deepStrictEqual(bare.map(({ calls }) => calls.length), [3, 3])

      const spent = [scripted([unavailable()]), scripted([unavailable()], anthropic)] as const
      const both = spent[0].layer.pipe(
        LlmProvider.withPolicy(inner),
        LlmProvider.orElse(spent[1].layer),
        LlmProvider.withPolicy(outer)
      )
      yield* run(LlmProvider.generate("hello").pipe(Effect.provide(both)))
      assert.deepStrictEqual(spent.map(({ calls }) => calls.length), [2, 1])
    }))
})

describe("the untried", () => {
  it.effect("are counted across chains in chains, and with those passed over", () =>
    Effect.gen(function*() {
      const tooLong = new LlmError.ContextLengthExceeded(openAi)
      const small = scripted([tooLong], { ...openAi, contextWindow: 8000 })
      const same = scripted([answer("no", mistral)], { ...mistral, contextWindow: 8000 })
      const large = scripted([new LlmError.InvalidRequest(anthropic)], { ...anthropic, contextWindow: 200_000 })
      const spare = scripted([answer("no", mistral)], mistral)
      const llm = small.layer.pipe(
        LlmProvider.orElse(same.layer),
        LlmProvider.orElse(large.layer),
        LlmProvider.orElse(spare.layer)
      )
      const { exit } = yield* run(LlmProvider.generate("hello").pipe(Effect.provide(llm)))
      const failure = failureOf(exit)
      assert(failure._tag === "AllTargetsFailed")
      assert.deepStrictEqual([failure.failures.length, failure.untried], [2, 2])
    }))
})

describe("a chain", () => {
  it.effect("asks nobody else when the first target answers", () =>
    Effect.gen(function*() {
      const first = scripted([answer("hi")])
      const second = scripted([answer("no", anthropic)], anthropic)
      const { exit } = yield* run(Fallback.make([first.service, second.service]).generate(ask))
      assert(Exit.isSuccess(exit))
      assert.strictEqual(second.calls.length, 0)
      assert.isFalse(exit.value.receipt.fallback)
      expect(exit.value.receipt.served).toEqual({ provider: "openai", model: "gpt-4o-2024-08-06" })
    }))

  it.effect("starts with the first target again for the next call", () =>
    Effect.gen(function*() {
      const first = scripted([unavailable(), answer("recovered")])
      const chain = Fallback.make([first.service, scripted([answer("no", anthropic)], anthropic).service])
      yield* chain.generate(ask)
      assert.strictEqual((yield* chain.generate(ask)).text, "recovered")
    }))

  it.effect("does not hide a defect behind another target", () =>
    Effect.gen(function*() {
      const second = scripted([answer("no", anthropic)], anthropic)
      const chain = Fallback.make([scripted([Effect.die("bug")]).service, second.service])
      const { exit } = yield* run(chain.generate(ask))
      assert.deepStrictEqual(exit, Exit.die("bug"))
      assert.strictEqual(second.calls.length, 0)
    }))

  it.effect("E2: being interrupted at one target asks no other", () =>
    Effect.gen(function*() {
      const second = scripted([answer("no", anthropic)], anthropic)
      const fiber = yield* Effect.fork(
        Fallback.make([scripted([Effect.never]).service, second.service]).generate(ask)
      )
      yield* TestClock.adjust("1 second")
      const exit = yield* Fiber.interrupt(fiber)
      assert(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause))
      assert.strictEqual(second.calls.length, 0)
    }))

  it.effect("tells of the step from one target to the next, and why", () =>
    Effect.gen(function*() {
      const told: Array<Call.Event> = []
      const { chain } = pair(unavailable())
      yield* chain.generate(ask).pipe(Call.observe((event) => {
        if (event._tag === "FellBack") told.push(event)
      }))
      expect(told).toMatchObject([
        { _tag: "FellBack", at: 0, from: openAi, to: anthropic, because: "ProviderUnavailable" }
      ])
    }))

  it.effect("opens a stream elsewhere when the first target fails before its first output", () =>
    Effect.gen(function*() {
      const { chain } = pair(unavailable())
      const failure = yield* Effect.flip(Effect.scoped(chain.open(ask)))
      // Neither test provider streams; the point is that both were asked to.
      assert.strictEqual(failure._tag, "InvalidRequest")
    }))

  it.effect("shares layers that both sides build from", () =>
    Effect.gen(function*() {
      let built = 0
      const shared = Layer.effectDiscard(Effect.sync(() => built++))
      const first = scripted([unavailable()]).layer.pipe(Layer.provide(shared))
      const second = scripted([answer("hi", anthropic)], anthropic).layer.pipe(Layer.provide(shared))
      yield* LlmProvider.generate("hello").pipe(Effect.provide(LlmProvider.orElse(first, second)))
      assert.strictEqual(built, 1)
    }))
})

describe("the plain form, Effect.orElse over layers", () => {
  it.effect("works by hand, with one receipt where the program is tracked", () =>
    Effect.gen(function*() {
      const first = scripted([unavailable()])
      const second = scripted([answer("hi", anthropic)], anthropic)
      const program = LlmProvider.generate("hello")
      const { exit } = yield* run(
        program.pipe(
          Effect.provide(first.layer),
          Effect.orElse(() => program.pipe(Effect.provide(second.layer))),
          Call.track
        )
      )
      assert(Exit.isSuccess(exit))
      assert.isTrue(exit.value.receipt.fallback)
      assert.deepStrictEqual(exit.value.receipt.attempts.map(({ target }) => target.provider), ["openai", "anthropic"])
      expect(exit.value.receipt.requested).toEqual(openAi)
    }))
})
