/** What policies with state tell in metrics. */
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Metric, MetricState, TestClock } from "effect"
import { Budget, CircuitBreaker, LlmError, Policy, Quota, Retry } from "perdure"

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

it.effect("O2: a quota tells how long calls waited, of those that did", () =>
  Effect.gen(function*() {
    const quota = yield* Quota.make({ perMinute: { requests: 1 }, key: () => "gauged quota", maxWait: "3 minutes" })
    const waits = () => read("perdure.quota.wait.duration", "default/gauged quota")
    yield* quota(Effect.void)
    assert.isUndefined(waits())
    const waiter = yield* Effect.fork(quota(Effect.void))
    yield* TestClock.adjust("1 minute")
    yield* Fiber.join(waiter)
    const state = waits()
    assert(state !== undefined && MetricState.isHistogramState(state))
    assert.deepStrictEqual([state.count, state.sum], [1, 60])
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
