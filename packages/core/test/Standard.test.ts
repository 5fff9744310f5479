// The misuses below are there to be rejected; the Effect diagnostics would reject them a second time.
// @effect-diagnostics missingEffectError:off
import { assert, describe, expect, expectTypeOf, it } from "@effect/vitest"
import { ConfigProvider, type Duration, Effect, Exit, Layer } from "effect"
import {
  Budget,
  Bulkhead,
  Call,
  CircuitBreaker,
  Deadline,
  type Fallback,
  Hedge,
  LlmError,
  LlmProvider,
  Policy,
  Quota,
  Retry,
  Standard
} from "perdure"
import { answer, anthropic, failureOf, openAi, run, type Scripted, scripted, unavailable } from "./support/provider.ts"

const quick = Retry.constant("1 second").pipe(Retry.attempts(3))
const ask = LlmProvider.generate("hello")

type Of<E> = E extends Effect.Effect<Policy.Policy<any, infer Out>, any> ? Out : never
type All =
  | LlmError.DeadlineExceeded
  | LlmError.CircuitOpen
  | LlmError.QuotaExceeded
  | LlmError.BulkheadFull
  | LlmError.TimedOut

describe("Policy.standard", () => {
  it.effect("has its policies in the order that they work in, and says so", () =>
    Effect.gen(function*() {
      const names = (policy: Policy.Policy<never, unknown>) => policy.steps.map(({ name }) => name)
      assert.deepStrictEqual(
        names(yield* Policy.standard({ quota: {} })),
        ["deadline", "budget", "retry", "breaker", "quota", "bulkhead", "timeout"]
      )
      assert.deepStrictEqual(names(yield* Policy.standard({ breaker: false, budget: false })), [
        "deadline",
        "retry",
        "bulkhead",
        "timeout"
      ])
      const none = {
        attempt: false,
        breaker: false,
        budget: false,
        bulkhead: false,
        deadline: false,
        retry: false
      } as const
      assert.strictEqual(Policy.describe(yield* Policy.standard(none)), "no policy")
    }))

  it("adds to the failures exactly the refusals of the policies that are there", () => {
    const all = Policy.standard({ quota: {} })
    expectTypeOf<Of<typeof all>>().toEqualTypeOf<All>()
    const usual = Policy.standard()
    expectTypeOf<Of<typeof usual>>().toEqualTypeOf<
      LlmError.DeadlineExceeded | LlmError.CircuitOpen | LlmError.BulkheadFull | LlmError.TimedOut
    >()
    const few = Policy.standard({ breaker: false, bulkhead: false, attempt: false })
    expectTypeOf<Of<typeof few>>().toEqualTypeOf<LlmError.DeadlineExceeded>()
  })

  it("adds what there may be of options that are not known: only a literal `false` leaves a refusal out", () => {
    const types = (
      options: Standard.Options,
      layered: Standard.LayerOptions,
      spec: Standard.Spec,
      maybe: { readonly quota?: Quota.Options; readonly breaker?: false; readonly attempt: Duration.Duration | false },
      either: { readonly quota: Quota.Options } | { readonly deadline: false },
      unknown: any
    ) => ({
      options: Policy.standard(options),
      layered: Policy.standard(layered),
      spec: Policy.standard(Standard.fromSpec(spec)),
      maybe: Policy.standard(maybe),
      either: Policy.standard(either),
      unknown: Policy.standard(unknown),
      spread: Policy.standard({ ...options, breaker: false }),
      absent: Policy.standard({ quota: undefined, deadline: undefined }),
      configured: Policy.fromConfig()
    })
    type Types = ReturnType<typeof types>
    expectTypeOf<Of<Types["options"]>>().toEqualTypeOf<All>()
    expectTypeOf<Of<Types["layered"]>>().toEqualTypeOf<All>()
    expectTypeOf<Of<Types["spec"]>>().toEqualTypeOf<All>()
    expectTypeOf<Of<Types["maybe"]>>().toEqualTypeOf<All>()
    expectTypeOf<Of<Types["either"]>>().toEqualTypeOf<All>()
    expectTypeOf<Of<Types["unknown"]>>().toEqualTypeOf<All>()
    expectTypeOf<Of<Types["spread"]>>().toEqualTypeOf<Exclude<All, LlmError.CircuitOpen>>()
    expectTypeOf<Of<Types["absent"]>>().toEqualTypeOf<Exclude<All, LlmError.QuotaExceeded>>()
    expectTypeOf<Effect.Effect.Success<Types["configured"]>>().toEqualTypeOf<Standard.Service>()
    expectTypeOf<Of<Types["configured"]>>().toEqualTypeOf<All>()
  })

  it.effect("has the type and the steps of the same policies composed by hand, a hedge adding nothing", () =>
    Effect.gen(function*() {
      const target = Policy.compose(
        Policy.compose(Policy.retry(Retry.standard), yield* CircuitBreaker.make()),
        Policy.compose(
          Policy.compose(yield* Quota.make(), yield* Bulkhead.make()),
          Policy.timeout("2 minutes")
        )
      )
      const byHand = Policy.compose(Policy.compose(Deadline.make("5 minutes"), yield* Budget.make()), target)
      const standard = yield* Policy.standard({ quota: {} })
      expectTypeOf(byHand).toEqualTypeOf<Policy.Policy<LlmError.LlmError, All>>()
      expectTypeOf<Of<Effect.Effect<typeof standard>>>().toEqualTypeOf<All>()
      expectTypeOf(Policy.compose(yield* Hedge.make(), byHand)).toEqualTypeOf(byHand)
      assert.deepStrictEqual(standard.steps, byHand.steps)
    }))

  it("misuses do not compile", () => {
    type WithoutQuota = Exclude<All, LlmError.QuotaExceeded>
    const misuses = (options: Standard.Options) => {
      // @ts-expect-error there is no such policy
      void Policy.standard({ cache: true })
      // @ts-expect-error nor beside others
      void Policy.standard({ deadline: "1 minute", cache: true })
      // @ts-expect-error one provider has no fallback
      void Policy.standard({ deadline: "1 minute", fallback: { order: "fastest" } })
      // @ts-expect-error a limit is set or found
      void Policy.standard({ bulkhead: { limit: 3, adaptive: {} } })
      // @ts-expect-error there is no policy to turn on
      void Policy.standard({ breaker: true })
      const all = Effect.runSync(Policy.standard(options))
      // @ts-expect-error the options may have a quota
      const few: Policy.Policy<LlmError.LlmError, WithoutQuota> = all
      return few
    }
    expect(misuses).toBeTypeOf("function")
  })

  const refused: ReadonlyArray<readonly [option: string, options: Standard.Options]> = [
    ["Deadline.make(limit)", { deadline: -1 }],
    ["Policy.timeout(duration)", { attempt: 0 }],
    ["Budget.make({ target: { capacity } })", { budget: { target: { capacity: 0 } } }],
    ["CircuitBreaker.make({ probes })", { breaker: { probes: 0 } }],
    ["Quota.make({ queue })", { quota: { queue: -1 } }],
    ["Bulkhead.make({ limit })", { bulkhead: { limit: 0 } }],
    ["Bulkhead.adaptive({ min })", { bulkhead: { adaptive: { min: 0 } } }]
  ]
  for (const [option, options] of refused) {
    it(`E1: ${option} out of its range is refused at once`, () => {
      const { layer } = scripted([answer("hi")])
      for (const make of [() => Policy.standard(options), () => Standard.layer([layer], options)]) {
        expect(() => void make()).toThrow(expect.objectContaining({ _tag: "InvalidOption", option }))
      }
    })
  }

  it.effect("has a bulkhead that finds its limit where that is asked for", () =>
    Effect.gen(function*() {
      const policy = yield* Policy.standard({ bulkhead: { adaptive: { min: 2, max: 50, queue: 7 } } })
      assert.deepStrictEqual(policy.steps.find(({ name }) => name === "bulkhead"), {
        name: "bulkhead",
        settings: "gradient 2 to 50 at once, queue 7"
      })
    }))

  it.effect("is one pipeline: an attempt is timed, retried and counted, and the call ends in its time", () =>
    Effect.gen(function*() {
      const policy = yield* Policy.standard({
        attempt: "10 seconds",
        deadline: "25 seconds",
        retry: quick,
        breaker: { tripPolicy: undefined }
      })
      const provider = scripted([Effect.never])
      const layer = LlmProvider.withPolicy(provider.layer, policy)
      const { elapsed, exit } = yield* run(ask.pipe(Effect.provide(layer)))
      assert.strictEqual(failureOf(exit)._tag, "DeadlineExceeded")
      assert.strictEqual(elapsed, 25_000)
      assert.deepStrictEqual(provider.calls, [0, 11_000, 22_000])
    }))

  it.effect("an open breaker rejects without asking, and the receipt tells of it", () =>
    Effect.gen(function*() {
      const policy = yield* Policy.standard({ retry: false })
      const provider = scripted([unavailable()])
      const layer = LlmProvider.withPolicy(provider.layer, policy)
      const { exit } = yield* run(
        Effect.gen(function*() {
          for (let i = 0; i < 5; i++) yield* Effect.exit(ask)
          return yield* ask
        }).pipe(Effect.provide(layer))
      )
      const failure = failureOf(exit)
      assert(failure._tag === "CircuitOpen")
      assert.strictEqual(provider.calls.length, 5)
      expect(failure.receipt).toMatchObject({ attempts: [], refusals: [{ because: "CircuitOpen", target: openAi }] })
    }))

  it.live("E3: runs a call in the caller's own fiber, with all its policies and time limits", () =>
    Effect.gen(function*() {
      const policy = yield* Policy.standard({ quota: {} })
      assert.strictEqual(yield* policy(Effect.fiberId), yield* Effect.fiberId)
      const layer = Standard.layer([
        LlmProvider.layer({ ...openAi, generate: () => Effect.map(Effect.fiberId, (id) => answer(String(id))) })
      ])
      const { text } = yield* Effect.provide(ask, layer)
      assert.strictEqual(text, String(yield* Effect.fiberId))
    }))
})

describe("Standard.layer", () => {
  it.effect("falls back inside the deadline and guards each target by itself", () =>
    Effect.gen(function*() {
      const first = scripted([unavailable()])
      const second = scripted([answer("hi", anthropic)], anthropic)
      const layer = Standard.layer([first.layer, second.layer], { retry: quick })
      const { elapsed, exit } = yield* run(Effect.replicateEffect(ask, 3).pipe(Effect.provide(layer)))
      assert(Exit.isSuccess(exit))
      // Three attempts, then two, at which the circuit opens; the next is rejected, and so is the third call.
      assert.strictEqual(first.calls.length, 5)
      assert.strictEqual(second.calls.length, 3)
      assert.strictEqual(elapsed, 4000)
      const last = exit.value[2]?.receipt
      expect(last).toMatchObject({ requested: openAi, fallback: true, refusals: [{ because: "CircuitOpen" }] })
      assert.strictEqual(last?.attempts.length, 1)
    }))

  const hung: ReadonlyArray<
    readonly [what: string, options: Standard.Options, second: ReadonlyArray<number>, elapsed: number]
  > = [
    ["by default after 2 minutes", {}, [120_000], 120_000],
    ["with a shorter deadline after 0.4 of it", { deadline: "1 minute" }, [24_000], 24_000],
    ["to the whole millisecond", { deadline: 7001 }, [2800], 2800],
    ["with a longer deadline after 2 minutes", { deadline: "1 hour" }, [120_000], 120_000],
    ["without a deadline after 2 minutes", { deadline: false }, [120_000], 120_000],
    ["with a time for attempts after that", { deadline: "1 minute", attempt: "50 seconds" }, [50_000], 50_000],
    ["without one never", { deadline: "1 minute", attempt: false }, [], 60_000]
  ]
  for (const [what, options, asked, ended] of hung) {
    it.effect(`a target that hangs is given up ${what}`, () =>
      Effect.gen(function*() {
        const first = scripted([Effect.never])
        const second = scripted([answer("hi", anthropic)], anthropic)
        const { elapsed, exit } = yield* run(
          ask.pipe(Effect.provide(Standard.layer([first.layer, second.layer], options)))
        )
        assert.strictEqual(Exit.isSuccess(exit), asked.length > 0)
        assert.deepStrictEqual(first.calls, [0])
        assert.deepStrictEqual(second.calls, asked)
        assert.strictEqual(elapsed, ended)
      }))
  }

  it.effect("a deadline from the configuration alone leaves time for another target as well", () =>
    Effect.gen(function*() {
      const first = scripted([Effect.never])
      const second = scripted([answer("hi", anthropic)], anthropic)
      const { exit } = yield* run(
        ask.pipe(
          Effect.provide(Standard.layerConfig([first.layer, second.layer])),
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["PERDURE_DEADLINE", "30 seconds"]]), {
            pathDelim: "_"
          }))
        )
      )
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(second.calls, [12_000])
    }))

  it.effect("its chain is that of its fallback options", () =>
    Effect.gen(function*() {
      const refusing = () => scripted([new LlmError.ContentFiltered({ ...openAi, stage: "prompt", detail: "no" })])
      const second = () => scripted([answer("hi", anthropic)], anthropic)
      const asked = (first: Scripted, second: Scripted, fallback: Fallback.Options) =>
        Effect.map(
          run(
            Effect.exit(ask).pipe(Effect.provide(Standard.layer([first.layer, second.layer], {
              retry: false,
              fallback
            })))
          ),
          () => [first.calls.length, second.calls.length]
        )
      assert.deepStrictEqual(yield* asked(refusing(), second(), {}), [1, 0])
      assert.deepStrictEqual(yield* asked(refusing(), second(), { contentRefusal: "moveOn" }), [1, 1])
      assert.deepStrictEqual(yield* asked(refusing(), second(), { order: "weighted", weights: [0, 1] }), [0, 1])
      const down = scripted([unavailable()])
      const sick = Standard.layer([down.layer, second().layer], {
        retry: false,
        breaker: false,
        fallback: { unhealthyAfter: 2, unhealthyFor: "2 seconds" }
      })
      yield* run(Effect.provide(Effect.replicateEffect(ask, 4), sick))
      assert.strictEqual(down.calls.length, 2)
      yield* run(Effect.provide(Effect.replicateEffect(Effect.delay(ask, "1 second"), 4), sick))
      assert.strictEqual(down.calls.length, 5)
      expect(() => Standard.layer([down.layer], { fallback: { unhealthyAfter: 0 } })).toThrow(
        expect.objectContaining({ _tag: "InvalidOption", option: "Fallback.make({ unhealthyAfter })" })
      )
    }))

  it.effect("R9: the budget of the whole is asked by every retry", () =>
    Effect.gen(function*() {
      const first = scripted([unavailable()])
      const layer = Standard.layer([first.layer], {
        retry: quick,
        breaker: false,
        budget: { target: { capacity: 1, ratio: 0, perSecond: 0 }, process: "none" }
      })
      yield* run(Effect.forEach([1, 2, 3], () => Effect.exit(ask)).pipe(Effect.provide(layer)))
      assert.strictEqual(first.calls.length, 4)
    }))

  it.effect("its state is made with the layer: two of them share nothing", () =>
    Effect.gen(function*() {
      const provider = scripted([unavailable()])
      const once = Effect.exit(ask).pipe(
        Effect.provide(Layer.fresh(Standard.layer([provider.layer], { retry: false })))
      )
      yield* run(Effect.replicateEffect(once, 8))
      assert.strictEqual(provider.calls.length, 8)
    }))

  it.effect("E2: being interrupted gives everything back", () =>
    Effect.gen(function*() {
      const provider = scripted([Effect.never, Effect.never, answer("hi")])
      const layer = Standard.layer([provider.layer], { bulkhead: { limit: 1, queue: 0 } })
      const { exit } = yield* run(
        Effect.gen(function*() {
          yield* Effect.exit(Effect.timeout(ask, "1 second"))
          yield* Effect.exit(Effect.timeout(ask, "1 second"))
          return yield* Call.track(ask)
        }).pipe(Effect.provide(layer))
      )
      assert.isTrue(Exit.isSuccess(exit))
    }))
})

describe("the standard policy as data", () => {
  const steps = (env: Record<string, string>, name?: string) =>
    Policy.fromConfig(name).pipe(
      Effect.map(({ steps }) => Object.fromEntries(steps.map(({ name, settings }) => [name, settings]))),
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env)), { pathDelim: "_" }))
    )

  it.effect("comes from the configuration, each field by its name in capitals", () =>
    Effect.gen(function*() {
      const all = yield* steps({
        PERDURE_DEADLINE: "30 seconds",
        PERDURE_ATTEMPT: "5000",
        PERDURE_RETRY_ATTEMPTS: "4",
        PERDURE_RETRY_BASE: "2 seconds",
        PERDURE_RETRY_CAP: "30 seconds",
        PERDURE_BREAKER_FAILURES: "7",
        PERDURE_BREAKER_OPEN_FOR: "1 minute",
        PERDURE_BULKHEAD_LIMIT: "3",
        PERDURE_QUOTA_REQUESTS_PER_MINUTE: "60",
        PERDURE_BUDGET: "off"
      })
      assert.strictEqual(all["deadline"], "30s")
      assert.strictEqual(all["timeout"], "5s")
      assert.match(all["retry"] ?? "", /^2s → 4s → 8s, cap 30s, full jitter, 4 attempts/)
      assert.match(all["breaker"] ?? "", /7 .*1m/)
      assert.match(all["bulkhead"] ?? "", /3/)
      assert.match(all["quota"] ?? "", /60 requests/)
      assert.notProperty(all, "budget")
    }))

  it.effect("without any is the standard one; `off` leaves a policy out; the name is the caller's", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(
        Object.keys(yield* steps({})),
        ["deadline", "budget", "retry", "breaker", "bulkhead", "timeout"]
      )
      assert.deepStrictEqual(
        Object.keys(
          yield* steps({ LLM_RETRY: "off", LLM_BREAKER: "off", LLM_DEADLINE: "off", PERDURE_BULKHEAD: "off" }, "LLM")
        ),
        ["budget", "bulkhead", "timeout"]
      )
    }))

  it.effect("a layer comes from it, too, with its fallback; what does not fit its providers is refused by its name", () =>
    Effect.gen(function*() {
      const first = scripted([answer("hi")])
      const second = scripted([answer("ho", anthropic)], anthropic)
      const layer = Standard.layerConfig([first.layer, second.layer], "LLM")
      const withSettings = (settings: Record<string, string>) =>
        Effect.withConfigProvider(
          Effect.provide(ask, layer),
          ConfigProvider.fromMap(new Map(Object.entries(settings)), { pathDelim: "_" })
        )
      const { text } = yield* withSettings({ LLM_FALLBACK_ORDER: "weighted", LLM_FALLBACK_WEIGHTS: "[0,1]" })
      assert.strictEqual(text, "ho")
      const error = yield* Effect.flip(withSettings({ LLM_FALLBACK_WEIGHTS: "[1,2,3]" }))
      assert(error._tag === "ConfigError" && error._op === "InvalidData")
      assert.deepStrictEqual(error.path, ["LLM", "FALLBACK", "WEIGHTS"])
    }))
})
