/** What policies with state tell in metrics. */
import { assert, it, vi } from "@effect/vitest"
import { Duration, Effect, Fiber, Metric, MetricState, TestClock } from "effect"
import { Budget, Bulkhead, CircuitBreaker, LlmError, Policy, Quota, Retry } from "perdure"
import * as Gauges from "../src/internal/gauges.ts"

/** The state of the series of a name that has a label of this value. */
const read = (name: string, value: string) =>
  Metric.unsafeSnapshot().find(({ metricKey }) =>
    metricKey.name === name && metricKey.tags.some((tag) => tag.value === value)
  )?.metricState

const gauge = (name: string, value: string): number | bigint | undefined => {
  const state = read(name, value)
  return state !== undefined && MetricState.isGaugeState(state) ? state.value : undefined
}

const down = Effect.fail(new LlmError.ProviderUnavailable({ provider: "p", model: "m" }))

it.effect("O2: a breaker tells where its circuit is", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({
      tripPolicy: CircuitBreaker.consecutive(1),
      key: () => "gauged",
      openDuration: "1 second"
    })
    const state = () => gauge("perdure.breaker.state", "default:gauged")
    yield* Effect.ignore(breaker(down))
    assert.strictEqual(state(), 2)
    yield* TestClock.adjust("1 second")
    const probe = yield* Effect.fork(breaker(Effect.never))
    yield* Effect.yieldNow()
    assert.strictEqual(state(), 1)
    yield* Fiber.interrupt(probe)
    yield* breaker(Effect.void)
    assert.strictEqual(state(), 0)
    yield* breaker.isolate("gauged")
    assert.strictEqual(state(), 3)
  }))

/** How often and how long calls were in a line, by how they left it. */
const waits = (policy: "quota" | "bulkhead", name: string) =>
  Object.fromEntries(
    Metric.unsafeSnapshot().flatMap(({ metricKey: { name: metric, tags }, metricState }) =>
      metric === `perdure.${policy}.wait.duration` && MetricState.isHistogramState(metricState) &&
        tags.some(({ key, value }) => key === `perdure.${policy}` && value === name)
        ? [[tags.find(({ key }) => key === "perdure.queue.outcome")?.value, [metricState.count, metricState.sum]]]
        : []
    )
  )

it.effect("O2: a quota tells how long calls waited, of those that did, however that ended", () =>
  Effect.gen(function*() {
    const quota = yield* Quota.make({ perMinute: { requests: 1 }, key: () => "gauged quota", maxWait: "3 minutes" })
    yield* quota(Effect.void)
    assert.deepStrictEqual(waits("quota", "default/gauged quota"), {})
    const blocked = new LlmError.RateLimited({ provider: "p", model: "m", retryAfter: Duration.minutes(10) })
    const waiter = yield* Effect.fork(Effect.exit(quota(Effect.delay(Effect.fail(blocked), "5 seconds"))))
    const leaves = yield* Effect.fork(quota(Effect.void))
    const refused = yield* Effect.fork(Effect.exit(quota(Effect.void)))
    yield* TestClock.adjust("1 minute")
    yield* Fiber.interrupt(leaves)
    // It was to have its permit in time, until the provider asked to be left alone.
    yield* TestClock.adjust("5 seconds")
    yield* Fiber.join(waiter)
    yield* Fiber.join(refused)
    assert.deepStrictEqual(waits("quota", "default/gauged quota"), {
      granted: [1, 60],
      interrupted: [1, 60],
      refused: [1, 65]
    })
  }))

it.effect("O2: a bulkhead tells how long calls waited, of those that did, however that ended", () =>
  Effect.gen(function*() {
    const bulkhead = yield* Bulkhead.make({ limit: 1, key: () => "gauged bulkhead", maxWait: "5 seconds" })
    yield* Effect.fork(bulkhead(Effect.sleep("3 seconds")))
    yield* Effect.yieldNow()
    const waiter = yield* Effect.fork(bulkhead(Effect.never))
    const leaves = yield* Effect.fork(bulkhead(Effect.void))
    const refused = yield* Effect.fork(Effect.exit(bulkhead(Effect.void)))
    yield* TestClock.adjust("4 seconds")
    yield* Fiber.interrupt(leaves)
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(refused)
    yield* Fiber.interrupt(waiter)
    assert.deepStrictEqual(waits("bulkhead", "gauged bulkhead"), {
      granted: [1, 3],
      interrupted: [1, 4],
      refused: [1, 5]
    })
  }))

it.effect("O2: a budget tells what it has left", () =>
  Effect.gen(function*() {
    const budget = yield* Budget.make({
      name: "gauged budget",
      target: { capacity: 5, ratio: 0, perSecond: 0 },
      process: "none"
    })
    const policy = Policy.compose(budget, Policy.retry(Retry.constant("1 nanos").pipe(Retry.attempts(3))))
    yield* Effect.ignore(policy(down))
    assert.strictEqual(gauge("perdure.budget.left", "gauged budget:target:p/m"), 3)
  }))

it.effect("O2: a circuit is there from its first call on, closed, and is written again only when it changes", () =>
  Effect.gen(function*() {
    const breaker = yield* CircuitBreaker.make({ key: () => "healthy" })
    assert.isUndefined(gauge("perdure.breaker.state", "default:healthy"))
    yield* breaker(Effect.void)
    assert.strictEqual(gauge("perdure.breaker.state", "default:healthy"), 0)
    Gauges.breaker("default:healthy", "isolated", undefined)
    yield* breaker(Effect.void)
    assert.strictEqual(gauge("perdure.breaker.state", "default:healthy"), 3)
  }))

/** What circuits there are in the metrics. */
const circuits = () =>
  new Set(
    Metric.unsafeSnapshot().flatMap(({ metricKey }) =>
      metricKey.name === "perdure.breaker.state"
        ? metricKey.tags.filter(({ key }) => key === "perdure.circuit").map(({ value }) => value)
        : []
    )
  )

it("have so many names and no more: those that come after share one, and those that came first keep their own", () => {
  const before = circuits().size
  const nameOf = (n: number) => `circuit ${n}`
  for (let n = before; n < Gauges.most; n++) Gauges.breaker(nameOf(n), "open", undefined)
  assert.strictEqual(circuits().size, Gauges.most)
  assert.isFalse(circuits().has("_OTHER"))
  assert.isTrue(circuits().has(nameOf(Gauges.most - 1)))

  for (let n = 0; n < 10; n++) Gauges.breaker(nameOf(Gauges.most + n), n === 9 ? "isolated" : "closed", undefined)
  assert.strictEqual(circuits().size, Gauges.most + 1)
  assert.strictEqual(gauge("perdure.breaker.state", "_OTHER"), 3)

  Gauges.breaker(nameOf(before), "halfOpen", undefined)
  assert.strictEqual(gauge("perdure.breaker.state", nameOf(before)), 1)
  assert.strictEqual(gauge("perdure.breaker.state", "_OTHER"), 3)
})

it("two copies of the library count names, targets and calls together", async () => {
  const load = async () => {
    vi.resetModules()
    const [gauges, metrics, perdure] = await Promise.all([
      import("../src/internal/gauges.ts"),
      import("../src/internal/metrics.ts"),
      import("perdure")
    ])
    return { gauges, metrics, ...perdure }
  }
  const copies = [await load(), await load()] as const
  const [one, two] = copies
  assert.notStrictEqual(one.gauges.queueWait, two.gauges.queueWait)
  assert.notStrictEqual(one.metrics.refused, two.metrics.refused)
  assert.notStrictEqual(one.LlmProvider.make, two.LlmProvider.make)

  const calls: Array<number | undefined> = []
  for (const { Call, LlmError, LlmProvider, LlmRequest } of copies) {
    const generate = () => Effect.fail(new LlmError.Overloaded({ provider: "copy 0", model: "0" }))
    const { generate: ask } = LlmProvider.make({ provider: "copy 0", model: "0", generate })
    const observed = Call.observe(({ _tag, call }) => {
      if (_tag === "Ended") calls.push(call)
    })
    await Effect.runPromise(Effect.ignore(observed(ask(LlmRequest.make("hello")))))
  }
  assert.strictEqual(calls[1], (calls[0] ?? Number.NaN) + 1)

  for (const [half, copy] of copies.entries()) {
    for (let n = 0; n < 300; n++) {
      copy.gauges.queueWait("quota", `copy ${half} ${n}`, "granted", 1, undefined)
      copy.metrics.refused({ provider: `copy ${half}`, model: `${n}` }, "BulkheadFull", [])
    }
  }
  const own = (name: string, label: string) =>
    new Set(
      Metric.unsafeSnapshot().flatMap(({ metricKey: { name: metric, tags } }) =>
        metric === name && tags.some(({ key, value }) => key === label && value !== "_OTHER")
          ? [tags.flatMap(({ key, value }) => key === "perdure.queue.outcome" ? [] : [value]).join()]
          : []
      )
    ).size
  assert.strictEqual(own("perdure.quota.wait.duration", "perdure.quota"), Gauges.most)
  assert.strictEqual(own("perdure.refusals", "gen_ai.request.model"), one.metrics.mostTargets)
})
