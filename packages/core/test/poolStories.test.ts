/** What happens to whole pools and chains, in whatever order: one fiber a call, and time and turns in the hand of the test. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber, Logger, LogLevel, Scheduler } from "effect"
import * as fc from "effect/FastCheck"
import { Fallback, KeyPool, LlmError, LlmProvider, LlmRequest, type LlmResponse } from "perdure"
import { answer, openAi } from "./support/provider.ts"

const ask = LlmRequest.make("hello")
type Resume = (how: Effect.Effect<LlmResponse.LlmResponse, LlmError.LlmError>) => void

/** The ways in which a request can end, but for its call's interruption. */
const ways = {
  answered: Effect.succeed(answer("hi")),
  refused: Effect.fail(new LlmError.Unauthenticated(openAi)),
  exhausted: Effect.fail(new LlmError.QuotaExhausted(openAi)),
  limited: Effect.fail(new LlmError.RateLimited({ ...openAi, retryAfter: Duration.seconds(7) })),
  down: Effect.fail(new LlmError.ProviderUnavailable(openAi)),
  broken: Effect.die("bug")
} as const

type Step =
  | { readonly _tag: "wait"; readonly millis: number }
  | { readonly _tag: "call" }
  | { readonly _tag: "end"; readonly which: number; readonly how: keyof typeof ways }
  | { readonly _tag: "interrupt"; readonly which: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({ _tag: fc.constant("wait" as const), millis: fc.constantFrom(1, 6_999, 15_000, 30_000) })
  },
  { weight: 4, arbitrary: fc.record({ _tag: fc.constant("call" as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      _tag: fc.constant("end" as const),
      which: fc.nat(1000),
      how: fc.constantFrom(...Object.keys(ways) as Array<keyof typeof ways>)
    })
  },
  { weight: 2, arbitrary: fc.record({ _tag: fc.constant("interrupt" as const), which: fc.nat(1000) }) }
)
const story = fc.array(step, { maxLength: 30, size: "max" })

/** Three targets under one service, in a world without time of its own. */
const world = (
  make: (services: readonly [LlmProvider.Service, LlmProvider.Service, LlmProvider.Service]) => LlmProvider.Service
) => {
  const tasks: Array<() => void> = []
  const scheduler = Scheduler.make((task) => tasks.push(task))
  const flush = () => {
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) task()
  }
  let now = 0
  const clock: Clock.Clock = {
    ...Clock.make(),
    unsafeCurrentTimeMillis: () => now,
    currentTimeMillis: Effect.sync(() => now),
    sleep: () => Effect.dieMessage("nobody sleeps here")
  }
  const inFlight: Array<number> = [0, 0, 0]
  const waiting: Array<Resume> = []
  const target = (i: number) =>
    LlmProvider.make({
      ...openAi,
      generate: () =>
        Effect.async<LlmResponse.LlmResponse, LlmError.LlmError>((resume) => {
          const count = (by: number) => inFlight[i] = (inFlight[i] ?? 0) + by
          const one: Resume = (how) => {
            count(-1)
            resume(how)
          }
          count(1)
          waiting.push(one)
          return Effect.sync(() => {
            count(-1)
            waiting.splice(waiting.indexOf(one), 1)
          })
        })
    })
  const service = make([target(0), target(1), target(2)])
  const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
  const take = (step: Step): void => {
    switch (step._tag) {
      case "wait":
        now += step.millis
        break
      case "call":
        fibers.push(
          Effect.runFork(
            service.generate(ask).pipe(Effect.withClock(clock), Logger.withMinimumLogLevel(LogLevel.None)),
            { scheduler }
          )
        )
        break
      case "end":
        waiting.splice(step.which % Math.max(1, waiting.length), 1)[0]?.(ways[step.how])
        break
      case "interrupt":
        fibers.splice(step.which % Math.max(1, fibers.length), 1)[0]?.unsafeInterruptAsFork(
          Fiber.id(Effect.runFork(Effect.void))
        )
    }
    flush()
  }
  const endAll = (how: keyof typeof ways) => {
    while (waiting.length > 0) take({ _tag: "end", which: 0, how })
  }
  return { take, endAll, inFlight, waiting, fibers }
}

const isWellAfter = (
  make: Parameters<typeof world>[0],
  steps: ReadonlyArray<Step>
): boolean => {
  const { endAll, fibers, inFlight, take } = world(make)
  for (const step of steps) take(step)
  while (fibers.length > 0) take({ _tag: "interrupt", which: 0 })
  const isIdle = Math.max(...inFlight) === 0
  // Whatever has happened, a while later a few answers bring everybody back.
  take({ _tag: "wait", millis: 30_000 })
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 3; i++) take({ _tag: "call" })
    endAll("answered")
  }
  for (let i = 0; i < 6; i++) take({ _tag: "call" })
  // Who has leaked a request, is benched for ever, or waits for a probe that nobody makes, has fewer.
  return isIdle && inFlight.every((n) => n === 2)
}

describe("E2: after whatever has happened", () => {
  it("a pool of keys has nothing under way, leaves out nobody, and shares requests evenly", () => {
    fc.assert(
      fc.property(story, (steps) => {
        const pool: Parameters<typeof world>[0] = ([a, b, c]) =>
          KeyPool.make([
            { label: "a", service: a, domain: "one" },
            { label: "b", service: b, domain: "one" },
            { label: "c", service: c }
          ], { order: "leastInFlight" })
        assert.isTrue(isWellAfter(pool, steps))
      }),
      { numRuns: 1_000 }
    )
  }, 20_000)

  it("a chain has nothing under way, puts nobody last, and shares requests evenly", () => {
    fc.assert(
      fc.property(story, (steps) => {
        const chain: Parameters<typeof world>[0] = (services) =>
          Fallback.make(services, { order: "leastInFlight", unhealthyAfter: 2 })
        assert.isTrue(isWellAfter(chain, steps))
      }),
      { numRuns: 1_000 }
    )
  }, 20_000)
})
