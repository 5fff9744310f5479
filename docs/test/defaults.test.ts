/** The page of defaults is made of the constants that the code has; `vitest -u` writes it anew. */
import { describe, expect, it } from "@effect/vitest"
import { Duration } from "effect"
import { Budget, Bulkhead, CircuitBreaker, Fallback, Hedge, KeyPool, Quota, Retry, Standard } from "perdure"

type Row = readonly [option: string, value: unknown, source: string]

const chosen = "chosen"
const sdks = "the SDKs of OpenAI and Anthropic"

const { spec } = Retry.standard
const { backoff } = spec
const exponential = backoff._tag === "Exponential" ? backoff : undefined
const { process, target } = Budget.defaults

const sections: ReadonlyArray<readonly [title: string, page: string, rows: ReadonlyArray<Row>]> = [
  ["Policy.standard", "policies.md", [
    ["deadline", Standard.defaults.deadline, `${chosen}: a model that reasons takes a minute and more`],
    [
      "attempt, at most",
      Standard.defaults.attempt,
      `${chosen}: the ten minutes of ${sdks} are longer than people wait`
    ],
    [
      "attempt, of the deadline",
      Standard.defaults.attemptShare,
      `${chosen}: time for a second attempt, and for the waits`
    ]
  ]],
  ["Retry.standard", "retries.md", [
    ["base", exponential?.base, sdks],
    ["factor", exponential?.factor, sdks],
    ["base after a rate limit", spec.bases.rateLimit, "AWS's retry specification, for throttling"],
    ["cap", spec.cap, sdks],
    ["jitter", spec.jitter, "AWS, Exponential Backoff And Jitter"],
    ["attempts", spec.attempts, `${sdks}: two retries`],
    ["the longest Retry-After", Retry.defaultMaxRetryAfter, chosen]
  ]],
  ["CircuitBreaker.make", "circuit-breaker.md", [
    ["tripPolicy", CircuitBreaker.describeTripPolicy(CircuitBreaker.defaults.tripPolicy), "Envoy's outlier detection"],
    ["openDuration", CircuitBreaker.defaults.openDuration, "Envoy's base ejection time; the retry article"],
    ["probes", CircuitBreaker.defaults.probes, "Polly"],
    ["probeLease", CircuitBreaker.defaults.probeLease, `the longest that ${sdks} wait`],
    ["duration of slowCalls", CircuitBreaker.defaultSlowWindow, `${chosen}: few calls are slow`]
  ]],
  ["Budget.make", "budget.md", [
    ["capacity of a target", target.capacity, "AWS: 500 tokens at 14 a retry"],
    ["ratio of a target", target.ratio, "gRPC A6"],
    ["perSecond of a target", target.perSecond, `${chosen}: one repeat in 50 seconds where there is little traffic`],
    ["capacity of the process", process.capacity, "Finagle's reserve: 10 a second for 10 seconds"],
    ["ratio of the process", process.ratio, "gRPC A6"],
    ["perSecond of the process", process.perSecond, `${chosen}: one repeat in 10 seconds`],
    ["costs", Budget.defaults.costs, `${chosen}: a fallback asks a target that has had no load yet`]
  ]],
  ["Quota.make", "quota.md", [
    ["learn", Quota.defaults.learn, `${chosen}: what the provider tells is at most what it takes`],
    ["countCached", Quota.defaults.countCached, "OpenAI's limits; most models of Anthropic differ"],
    ["maxWait", Quota.defaults.maxWait, "the longest Retry-After, and the time in which a limit per minute fills up"],
    ["queue", Quota.defaults.queue, `${chosen}: a bound for the memory`],
    ["output of an answer of which nothing is known", Quota.defaults.outputTokens, `${chosen}: a page of text`]
  ]],
  ["Bulkhead.make, Bulkhead.adaptive", "bulkhead.md", [
    ["limit", Bulkhead.defaults.limit, "resilience4j's bulkhead"],
    ["queue", Bulkhead.defaults.queue, "resilience4j's bulkhead with a queue"],
    ["algorithm", Bulkhead.defaults.algorithm, chosen],
    ["initial", Bulkhead.defaults.initial, "AIMDLimit of Netflix's concurrency-limits"],
    ["min", Bulkhead.defaults.min, "Envoy's gradient controller"],
    ["max", Bulkhead.defaults.max, "Gradient2Limit of Netflix's concurrency-limits"],
    ["tolerance", Bulkhead.defaults.tolerance, "Envoy's gradient controller; GradientLimit"],
    ["backoff", Bulkhead.defaults.backoff, "AIMDLimit of Netflix's concurrency-limits"]
  ]],
  ["Hedge.make", "hedge.md", [
    ["after", Hedge.defaults.after, "Polly"],
    ["most", Hedge.defaults.most, "the fewest that are more than one"],
    ["of", Hedge.defaults.of, "the fewest of which one can be in the slowest twentieth"]
  ]],
  ["KeyPool.make", "key-pool.md", [["benchedFor", KeyPool.defaults.benchedFor, "the retry article's gateway"]]],
  ["Fallback.make", "fallbacks.md", [
    ["unhealthyAfter", Fallback.defaults.unhealthyAfter, "Envoy's outlier detection"],
    ["unhealthyFor", Fallback.defaults.unhealthyFor, "Envoy's base ejection time"]
  ]]
]

const said = (value: unknown): string =>
  Duration.isDuration(value)
    ? Duration.format(value)
    : typeof value === "object"
    ? Object.entries(value ?? {}).map(([name, one]) => `${name} ${said(one)}`).join(", ")
    : String(value)

const table = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const [head = [], ...rest] = rows
  const widths = head.map((_, i) => Math.max(3, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: ReadonlyArray<string>) => `| ${widths.map((n, i) => (cells[i] ?? "").padEnd(n)).join(" | ")} |`
  return [line(head), line(widths.map((n) => "-".repeat(n))), ...rest.map(line)]
}

const page = [
  "# Defaults",
  "",
  "What holds where nothing is said, and where it is from. The constants are in the code, as `CircuitBreaker.defaults`;",
  "this page is made of them. The pages of the policies say what the options do.",
  ...sections.flatMap(([title, page, rows]) => [
    "",
    `## [${title}](${page})`,
    "",
    ...table([["option", "default", "source"], ...rows.map(([option, value, source]) => [option, said(value), source])])
  ]),
  ""
].join("\n")

describe("the page of defaults", () => {
  it("is what the code has", async () => {
    await expect(page).toMatchFileSnapshot("../defaults.md")
  })

  it("has every constant of every policy", () => {
    const constants = { Standard, CircuitBreaker, Budget, Quota, Bulkhead, Hedge, KeyPool, Fallback }
    for (const [name, { defaults }] of Object.entries(constants)) {
      const [, , rows] = sections.find(([title]) => title.startsWith(name === "Standard" ? "Policy" : name)) ?? []
      const values = rows?.map(([, value]) => value) ?? []
      for (const [key, value] of Object.entries(defaults)) {
        const parts = name === "Budget" && key !== "costs" ? Object.values(value) : [value]
        for (const part of parts) {
          const shown = key === "tripPolicy"
            ? CircuitBreaker.describeTripPolicy(CircuitBreaker.defaults.tripPolicy)
            : part
          expect(values, `${name}.defaults.${key}`).toContainEqual(shown)
        }
      }
    }
  })
})
