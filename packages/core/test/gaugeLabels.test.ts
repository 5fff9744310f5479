/** Whose the metrics of policies with state are. */
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, type Layer, Metric, TestClock } from "effect"
import { Budget, Bulkhead, CircuitBreaker, LlmError, LlmProvider, Policy, Quota, Retry } from "perdure"
import { scripted } from "./support/provider.ts"

/** The labels of the series of a name that has a label of this value, without the unit. */
const labels = (name: string, value: string) => {
  const tags = Metric.unsafeSnapshot().find(({ metricKey }) =>
    metricKey.name === name && metricKey.tags.some((tag) => tag.value === value)
  )?.metricKey.tags
  return Object.fromEntries((tags ?? []).flatMap(({ key, value }) => key === "unit" ? [] : [[key, value]]))
}

it.effect("O2: those of a target have its provider and model, and those that are nobody's in particular do not", () =>
  Effect.gen(function*() {
    const target = { provider: "google", model: "labelled" }
    const about = { "gen_ai.provider.name": "gcp.gemini", "gen_ai.request.model": "labelled" }
    const down = new LlmError.ProviderUnavailable(target)
    const guarded = (name: string, key?: () => string) =>
      scripted([down, Effect.never], target).layer.pipe(
        LlmProvider.withPolicy(CircuitBreaker.make({ name, key })),
        LlmProvider.withPolicy(Quota.make({ name, key, perMinute: { requests: 1 } })),
        LlmProvider.withPolicy(Bulkhead.make({ key, limit: 1 })),
        LlmProvider.withPolicy(Policy.retry(Retry.constant("1 second").pipe(Retry.attempts(2)))),
        LlmProvider.withPolicy(Budget.make({ name, process: "none", key }))
      )
    const ask = (layer: Layer.Layer<LlmProvider.LlmProvider>) =>
      Effect.gen(function*() {
        const both = Effect.all([LlmProvider.generate("a"), LlmProvider.generate("b")], { concurrency: 2 })
        const fiber = yield* Effect.fork(both.pipe(Effect.provide(layer)))
        yield* TestClock.adjust("5 minutes")
        yield* Fiber.interrupt(fiber)
      })
    yield* ask(guarded("own"))
    yield* ask(guarded("shared", () => "everybody"))
    const key = "google/labelled"
    assert.deepStrictEqual(labels("perdure.breaker.state", `own:${key}`), {
      "perdure.circuit": `own:${key}`,
      ...about
    })
    assert.include(labels("perdure.quota.wait.duration", `own/${key}`), about)
    assert.include(labels("perdure.bulkhead.wait.duration", key), about)
    assert.include(labels("perdure.budget.left", `own:target:${key}`), about)
    assert.deepStrictEqual(labels("perdure.breaker.state", "shared:everybody"), {
      "perdure.circuit": "shared:everybody"
    })
    for (const metric of ["quota.wait.duration", "bulkhead.wait.duration", "budget.left"]) {
      const name = metric.startsWith("bulkhead") ? "everybody" : metric.startsWith("quota")
        ? "shared/everybody"
        : "shared:target:everybody"
      const all = labels(`perdure.${metric}`, name)
      assert.isNotEmpty(all)
      assert.notProperty(all, "gen_ai.provider.name")
    }
  }))
