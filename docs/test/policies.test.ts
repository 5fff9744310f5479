import { assert, describe, it } from "@effect/vitest"
import { TestTime } from "@perdure/testing"
import { ConfigProvider, Effect, Exit } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { PolicyMemory, Standard } from "perdure"
import * as deadline from "../examples/deadline.ts"
import * as fallbacks from "../examples/fallbacks.ts"
import * as keyPool from "../examples/key-pool.ts"
import * as policies from "../examples/policies.ts"
import * as reconfigure from "../examples/reconfigure.ts"

/** What an example gives when the clock is moved on until it ends, and how long that takes. */
const ended = <A, E, R>(example: Effect.Effect<A, E, R>) =>
  Effect.map(TestTime.run(example), ({ elapsed, exit }) => {
    assert(Exit.isSuccess(exit), String(exit))
    return { elapsed, value: exit.value }
  })

describe("the examples", () => {
  it.effect("key pool: each bad key is tried once, and its label is in the receipt", () =>
    Effect.gen(function*() {
      const { value } = yield* ended(keyPool.labels(3))
      assert.deepStrictEqual(value, [["revoked", "used up", "good"], ["good"], ["good"]])
    }))

  it.effect("fallbacks: by weight, by speed, by health, by what a target takes, by who refuses", () =>
    Effect.gen(function*() {
      const { value: { quickest, spread } } = yield* ended(fallbacks.answerers(20))
      assert.isAbove(spread.filter((one) => one === "fast").length, 10)
      assert.deepStrictEqual(quickest.slice(0, 4), ["large", "fast", "fast", "fast"])
      const { value } = yield* ended(fallbacks.recovery)
      assert.deepStrictEqual(value, ["steady", "steady", "steady", "steady", "steady", "flaky"])
      assert.strictEqual((yield* ended(fallbacks.seen)).value.receipt.served?.provider, "steady")
      assert.strictEqual((yield* ended(fallbacks.lenient)).value.receipt.served?.provider, "steady")
    }))

  it.effect("deadline: around a chain, around two calls, and read by the program", () =>
    Effect.gen(function*() {
      const { elapsed, value } = yield* ended(deadline.answered)
      assert.strictEqual(value.receipt.attempts.length, 4)
      assert.isBelow(elapsed, 60_000)
      const late = yield* ended(Effect.flip(deadline.late))
      assert.strictEqual(late.value._tag, "DeadlineExceeded")
      assert.strictEqual(late.elapsed, 30_000)
      assert.strictEqual((yield* ended(deadline.hurried)).value.text, "In time.")
    }))

  it.effect("reconfigure: a layer and a policy follow a reference, and one that replaces another goes on from it", () =>
    Effect.gen(function*() {
      const { value: [before, after] } = yield* ended(reconfigure.followed)
      assert.match(before ?? "", /deadline +1m[^]*fallback +given/)
      assert.match(after ?? "", /deadline +2m[^]*fallback +fastest/)
      assert.strictEqual((yield* ended(reconfigure.limit)).value, 8)
      const kept = yield* ended(reconfigure.swapped(PolicyMemory.layer))
      assert.deepStrictEqual(kept.value, ["anthropic"])
      const forgotten = yield* ended(reconfigure.swapped(undefined))
      assert.deepStrictEqual(forgotten.value, ["openai", "openai", "openai", "anthropic"])
    }))

  it.effect("policies: by hand, standard, from the configuration", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* ended(policies.failing)).value.receipt?.attempts.length, 3)
      assert.strictEqual((yield* ended(policies.succeeding)).value.text, "Here.")
      assert.deepStrictEqual(policies.described[1], "timeout 30s")
      assert.strictEqual((yield* ended(policies.standard)).value.receipt.served?.provider, "anthropic")
      assert.strictEqual((yield* ended(policies.alone)).value._tag, "ProviderUnavailable")
      const withSettings = (settings: ReadonlyArray<readonly [string, string]>) =>
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map(settings), { pathDelim: "_" }))
      const some = withSettings([["PERDURE_DEADLINE", "30 seconds"], ["PERDURE_RETRY", "off"]])
      assert.strictEqual((yield* ended(some(policies.fromConfig))).value.text, "Here.")
      const { receipt } = (yield* ended(some(policies.layerConfig))).value
      assert.deepStrictEqual(receipt.attempts.map(({ target }) => target.provider), ["openai", "anthropic"])
      const wrong = withSettings([["PERDURE_DEADLINE", "soon"]])(policies.fromConfig)
      assert.include(String((yield* ended(Effect.flip(wrong))).value), "PERDURE")
    }))

  it.effect("policies: the page's JSON is read, and what is misspelt is not", () =>
    Effect.gen(function*() {
      const page = readFileSync(join(import.meta.dirname, "../policies.md"), "utf8")
      const [, json = ""] = /^```json\n([^]*?)^```$/m.exec(page) ?? []
      assert.strictEqual((yield* ended(policies.decoded(JSON.parse(json)))).value.text, "Here.")
      const error = yield* Effect.flip(policies.decoded({ retry: { atempts: 9 } }))
      assert.include(String(error), "atempts")
    }))

  it.effect("policies: the page has every variable, and no other", () =>
    Effect.gen(function*() {
      const page = readFileSync(join(import.meta.dirname, "../policies.md"), "utf8")
      const names = (cell: string) => Array.from(cell.matchAll(/`([A-Z_]+)`/g), ([, name = ""]) => name)
      const shown = Array.from(page.matchAll(/^\| (`[A-Z_`, ]+_`)? +\| (`[A-Z].*?) +\|$/gm)).flatMap((
        [, left, right]
      ) =>
        (left === undefined ? [""] : names(left)).flatMap((prefix) => names(right ?? "").map((name) => prefix + name))
      )
      const asked = new Set<string>()
      const { flattened } = ConfigProvider.fromMap(new Map())
      const spy = ConfigProvider.fromFlat({
        ...flattened,
        load: (path, config, split) => {
          asked.add(path.slice(1).join("_"))
          return flattened.load(path, config, split)
        }
      })
      yield* Effect.withConfigProvider(Standard.config(), spy)
      // What groups others is named by them.
      const ends = (all: Iterable<string>) =>
        [...new Set(all)].filter((name) => ![...asked].some((other) => other.startsWith(`${name}_`)))
      assert.sameMembers(ends(shown), ends(asked))
    }))

  it.effect("policies: the page shows what the standard layer is made of", () =>
    Effect.gen(function*() {
      const page = readFileSync(join(import.meta.dirname, "../policies.md"), "utf8")
      assert.include(page, `\`\`\`text\n${yield* policies.lines}\n\`\`\``)
      assert.include(page, policies.described[0] ?? "?")
    }))

  it.effect("policies: each page says the place of its policy in the standard order, as that is", () =>
    Effect.gen(function*() {
      const places = new Map([
        ["budget", []],
        ["bulkhead", []],
        ["circuit-breaker", []],
        ["deadline", []],
        ["fallbacks", []],
        ["hedge", ["fallback", "hedge"]],
        ["key-pool", ["timeout", "key pool"]],
        ["quota", []]
      ])
      const names = [...(yield* policies.lines).matchAll(/^(?:├─ |│ {2})?(\w+) {2}/gm)].map(([, name]) => name ?? "")
      assert.strictEqual(names.length, 8)
      for (const [page, [behind, own]] of places) {
        const order = own === undefined ? names : names.flatMap((name) => name === behind ? [name, own] : [name])
        const text = readFileSync(join(import.meta.dirname, `../${page}.md`), "utf8")
        assert.include(text, `\`${order.join(" › ")}\``, page)
      }
    }))

  it.effect("policies: one breaker for all calls sees the failures, one for each call sees none", () =>
    Effect.gen(function*() {
      const { value } = yield* ended(policies.requests(8))
      assert.deepStrictEqual(value, { right: 5, wrong: 8 })
    }))

  it.effect("policies: a cache around a call asks once for all who ask the same", () =>
    Effect.gen(function*() {
      const { elapsed, value } = yield* ended(policies.shared)
      assert.deepStrictEqual(value, { texts: new Set(["Forty-two."]), asked: 1 })
      assert.strictEqual(elapsed, 5_000)
    }))

  it.effect("policies: requests that are the same are one call", () =>
    Effect.gen(function*() {
      const { elapsed, value } = yield* ended(policies.deduplicated)
      assert.deepStrictEqual(value, { texts: new Set(["Forty-two."]), asked: 1 })
      assert.strictEqual(elapsed, 5_000)
    }))
})
