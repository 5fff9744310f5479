/** Calls that are interrupted, or whose time is up, at any moment, under the policies that end, repeat and move them. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schedule } from "effect"
import {
  CircuitBreaker,
  Deadline,
  Fallback,
  Hedge,
  KeyPool,
  LlmError,
  LlmProvider,
  Policy,
  Retry,
  Standard
} from "perdure"
import { atEveryMoment, call, estimate, type Scene, shares, under, type Way } from "./support/everyMoment.ts"
import { anthropic, openAi, unavailable } from "./support/provider.ts"
import type { Outcome, What, World } from "./support/world.ts"

const key = "openai/gpt-4o"

type Scenes = Record<string, (world: World, way: Way) => Effect.Effect<Scene>>

const quick = Retry.constant("1 second").pipe(Retry.attempts(3))

const guarded =
  (policy: Policy.Policy<LlmError.LlmError, LlmError.LlmError>, outcomes: readonly [Outcome, ...Array<Outcome>]) =>
  (world: World): Effect.Effect<Scene> => Effect.sync(() => ({ service: under(world.provider(outcomes), policy) }))

const hedged = (options: Hedge.Options, outcomes: readonly [Outcome, ...Array<Outcome>]) => (world: World) =>
  Effect.flatMap(Hedge.make(options), (hedge) => guarded(hedge, outcomes)(world))

/** One whose fiber has a child already, so that its time is told by another fiber. */
const withChild = Policy.make([], (self) => Effect.zipRight(Effect.fork(Effect.never), self))

const limits: Scenes = {
  "a deadline that is met": guarded(Deadline.make("1 minute"), ["answer"]),
  "a deadline that is not": (world) =>
    Effect.map(guarded(Deadline.make("1 second"), ["nothing"])(world), (scene) => ({
      ...scene,
      ends: "DeadlineExceeded"
    })),
  "a timeout around each of two attempts": guarded(
    Policy.compose(Policy.retry(quick), Policy.timeout("1 second")),
    ["nothing", "answer"]
  ),
  "a first output that comes too late": (world) =>
    Effect.sync(() => ({
      service: under(
        world.provider(["nothing", "answer"], { limits: { firstOutput: "1 second", idle: "1 second" } }),
        Policy.compose(Policy.retry(quick), Policy.timeout("1 minute"))
      )
    })),
  "a timeout in a fiber with children": guarded(
    Policy.compose(Policy.retry(quick), Policy.compose(withChild, Policy.timeout("1 second"))),
    ["nothing", "answer"]
  ),
  "a deadline around timeouts around a deadline": (world) =>
    Effect.map(
      guarded(
        Deadline.make("1 minute").pipe(
          Policy.compose(Policy.retry(quick)),
          Policy.compose(Policy.timeout("2 seconds")),
          Policy.compose(Deadline.make("1 second"))
        ),
        ["nothing"]
      )(world),
      (scene) => ({ ...scene, ends: "DeadlineExceeded" })
    )
}

const repeats: Scenes = {
  "a retry that waits": guarded(Policy.retry(quick), [unavailable(), "answer"]),
  "a retry that does not wait": guarded(
    Policy.retry(Retry.fromSchedule(Schedule.forever)),
    [unavailable(), unavailable(), "answer"]
  ),
  "a hedge": hedged({ after: "50 millis" }, ["answer"]),
  "a hedge whose first try hangs": hedged({ after: "50 millis" }, ["nothing", "answer"]),
  "a hedge whose tries fail at once": hedged({ after: "1 second", most: 3 }, [
    unavailable(),
    unavailable(),
    "answer"
  ]),
  "a hedge over services": (world) =>
    Effect.succeed({
      service: Hedge.services([world.provider(["nothing"]), world.provider(["answer"], { target: anthropic })], {
        after: "50 millis"
      })
    })
}

/** A service of two, and whether each has its share of the calls after some time. */
const even = (world: World, service: LlmProvider.Service, after: "1 minute" | "0 seconds"): Scene => ({
  service,
  rest: () => {
    world.run(Effect.sleep(after))
    assert.deepStrictEqual(shares(world, service), [2, 2])
  }
})

const refused = new LlmError.Unauthenticated(openAi)

const moves: Scenes = {
  "a pool of keys, the first of which is refused": (world) =>
    Effect.sync(() =>
      even(
        world,
        KeyPool.make([
          { label: "a", service: world.provider([refused, "answer"]) },
          { label: "b", service: world.provider(["answer"]) }
        ], { order: "leastInFlight" }),
        "1 minute"
      )
    ),
  "a pool of keys, as the one who tries out a key": (world, way) =>
    Effect.gen(function*() {
      const pool = KeyPool.make([
        { label: "a", service: world.provider([refused, "answer"]) },
        { label: "b", service: world.provider(["answer"]) }
      ], { order: "leastInFlight" })
      // The first call finds out, and the second has begun with the other key.
      yield* Effect.repeatN(Effect.exit(call(pool, way)), 1)
      yield* Effect.sleep("30 seconds")
      return even(world, pool, "0 seconds")
    }),
  "a chain whose first target fails": (world) =>
    Effect.sync(() =>
      even(
        world,
        Fallback.make([
          world.provider([unavailable(), "answer"]),
          world.provider(["answer"], { target: anthropic })
        ], { order: "leastInFlight", unhealthyAfter: 1 }),
        "1 minute"
      )
    ),
  "a chain, as the one who tries out a target": (world, way) =>
    Effect.gen(function*() {
      const chain = Fallback.make([
        world.provider([unavailable(), "answer"]),
        world.provider(["answer"], { target: anthropic })
      ], { order: "leastInFlight", unhealthyAfter: 1 })
      yield* Effect.exit(call(chain, way))
      yield* Effect.sleep("30 seconds")
      return even(world, chain, "0 seconds")
    }),
  "a chain whose circuits are all open, at its last resort": (world, way) =>
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({
        tripPolicy: CircuitBreaker.consecutive(1),
        openDuration: "10 seconds"
      })
      const chain = Fallback.make([
        under(world.provider([unavailable(), "answer"]), breaker),
        under(world.provider([unavailable(), "answer"], { target: anthropic }), breaker)
      ], { lastResort: "soonest" })
      yield* Effect.exit(call(chain, way))
      const rest = () => {
        for (const circuit of ["openai/gpt-4o", "anthropic/claude"]) {
          assert.strictEqual(world.run(breaker.state(circuit)).probing, 0)
        }
      }
      return { service: chain, rest }
    })
}

/** All that there is, where it is narrow: whoever leaks anything keeps the next call out. */
const options = {
  deadline: "10 minutes",
  attempt: "1 second",
  retry: quick,
  quota: { perDay: { requests: 1000, tokens: 1_000_000 } },
  budget: { target: { capacity: 10, ratio: 0, perSecond: 0 }, process: "none" },
  bulkhead: { limit: 1, queue: 0 }
} as const

const whole: Scenes = {
  "the standard policy": (world) =>
    Effect.map(Policy.standard(options), (policy) => ({
      service: under(world.provider([unavailable(), "answer"]), policy),
      rest: (end) => {
        const { phase, probing } = world.run(policy.breaker.state(key))
        assert.deepStrictEqual([phase, probing], ["closed", 0])
        const { inFlight, waiting } = world.run(policy.bulkhead.state(key))
        assert.deepStrictEqual([inFlight, waiting], [0, 0])
        // One repeat is paid for once it is decided, so not before the first answer.
        const { target } = world.run(policy.budget.balance(key))
        assert.include(world.asked === 0 ? [10] : world.asked > 1 ? [9] : [9, 10], target)
        const quota = world.run(policy.quota.status(key))
        assert.deepStrictEqual([quota.underWay, quota.waiting], [0, 0])
        const [requests = 0, tokens = 0] = quota.limits.map(({ available, capacity }) => capacity - available)
        assert.isAtMost(requests, world.asked + 1)
        assert.isAtMost(tokens, requests * estimate)
        // Where all the time has passed, they have come back meanwhile.
        if (end === "interrupted") assert.isAtLeast(requests, world.asked)
      }
    })),
  "the standard layer": (world) =>
    Effect.gen(function*() {
      const layers = [
        Layer.succeed(LlmProvider.LlmProvider, world.provider(["nothing"])),
        Layer.succeed(LlmProvider.LlmProvider, world.provider(["answer"], { target: anthropic }))
      ] as const
      const layer = Standard.layer(layers, options)
      return { service: yield* Effect.provide(LlmProvider.LlmProvider, layer) }
    })
}

/** The ways in which a call has ended that something has happened to at one moment after the other. */
const endsOf = (
  scene: (world: World, way: Way) => Effect.Effect<Scene>,
  way: Way,
  what: What
): ReadonlyArray<string> => {
  const { ends, moments } = atEveryMoment((world) => scene(world, way), way, what)
  assert.isAbove(moments, 100)
  return ends
}

/** Of each kind of policy one; how a stream ends is the same under the others. */
const forStreams = new Set([
  "a deadline that is not",
  "a timeout around each of two attempts",
  "a first output that comes too late",
  "a retry that waits",
  "a hedge whose first try hangs",
  "a pool of keys, the first of which is refused",
  "a chain whose first target fails",
  "the standard policy",
  "the standard layer"
])

for (const way of ["answer", "stream"] as const) {
  const what = way === "answer" ? "a call" : "a stream"
  const chosen = (scenes: Scenes) => Object.entries(scenes).filter(([name]) => way === "answer" || forStreams.has(name))

  describe(`E2: ${what} that is interrupted at any moment leaves nothing behind`, () => {
    for (const [name, scene] of chosen({ ...limits, ...repeats, ...moves, ...whole })) {
      it(`under ${name}`, () => {
        assert.include(endsOf(scene, way, "interrupted"), "interrupted")
      })
    }
  })

  describe(`E2: ${what} whose time is up at any moment leaves nothing behind`, () => {
    for (const [name, scene] of chosen(way === "answer" ? { ...limits, ...whole } : limits)) {
      it(`under ${name}`, () => {
        assert.notInclude(endsOf(scene, way, "late"), "interrupted")
      })
    }
  })
}

describe("E2: a stream that is cut after its first output leaves nothing behind", () => {
  for (const way of ["restarting", "buffered"] as const) {
    it(`when it is interrupted at any moment, ${way}`, () => {
      const chain = (world: World) =>
        Effect.sync(() => ({
          service: Fallback.make([world.provider(["cut"]), world.provider(["answer"], { target: anthropic })])
        }))
      assert.deepStrictEqual(endsOf(chain, way, "interrupted"), ["answered", "interrupted"])
    })
  }
})
