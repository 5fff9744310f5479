/**
 * An explanation as a page for people, and all of them as a table.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as LlmError from "perdure/LlmError"
import type * as RateLimits from "perdure/RateLimits"
import * as Durations from "./Durations.ts"
import * as Explanation from "./Explanation.ts"
import * as Text from "./Text.ts"
import * as Timeline from "./Timeline.ts"
import * as Words from "./Words.ts"

type Explained = Explanation.Explanation

const nexts: Readonly<Record<Explained["next"], readonly [short: string, long: string]>> = {
  here: ["here", "Ask the same target again, and another one when its retries are spent."],
  elsewhereFirst: ["elsewhere first", "Ask another target; the same one again where there is no other."],
  elsewhereOnly: ["elsewhere only", "Ask another target; the same one is not asked again."],
  largerContextOnly: ["larger context", "Ask only a target that has a larger context window."],
  stop: ["stop", "Stop: every target would refuse the same request."]
}

const blames: Readonly<Record<Explained["blame"], string>> = {
  request: "the request: no fault of the provider's, the model's or the key's",
  key: "the key, not the provider",
  quota: "the account's quota: no fault that a circuit breaker counts",
  model: "the model",
  provider: "the provider: a fault that a circuit breaker counts",
  none: "nobody: a refusal of a policy on this side"
}

const paces: Readonly<Record<NonNullable<Explained["pace"]>, string>> = {
  rateLimit: "rate limit",
  overload: "overload",
  server: "server",
  connection: "connection",
  timeout: "timeout"
}

const waitWords = ({ pace, wait }: Explained): string => {
  if (wait !== undefined) {
    return `at least ${Durations.short(wait)}, as the provider asks, and by chance a little longer, so that not all ` +
      "who were told the same return at once"
  }
  return pace === undefined
    ? "not at all: waiting does not help"
    : `as the policy's backoff says, with the base for a ${paces[pace]} failure; the provider named no time`
}

const acts = "The provider may have acted on it: a request that is not idempotent is not repeated."

const range = ({ least, most }: typeof Explanation.Wait.Type): string => {
  const [from, to] = [Durations.short(least), Durations.short(most)]
  return from === to ? from : Duration.toMillis(least) === 0 ? `up to ${to}` : `${from} to ${to}`
}

const planWords = (explained: Explained, name: "standard" | "article"): string => {
  const { waits } = explained.retries[name]
  const why = Explanation.stopped(explained, name)
  if (waits.length === 0) return `no retry${why === undefined ? "" : `: ${why}`}`
  const times = waits.length === 1 ? "once" : waits.length === 2 ? "twice" : `${waits.length} times`
  const alone = explained.next === "elsewhereFirst" ? "where there is no other target, " : ""
  return `${alone}retries ${times} at most, after ${waits.map(range).join(", ")}${
    why === undefined ? "" : `; then ${why}`
  }`
}

const fallbackWords = ({ fallback, next }: Explained): string => {
  switch (fallback) {
    case "no":
      return "does not move on, unless the classifier is overridden"
    case "largerContextOnly":
      return "moves on to a target that is known to have a larger context window"
    case "yes":
      return next === "here"
        ? "moves on to the next target when the retries are spent"
        : "moves on to the next target at once"
  }
}

const limitWords = (name: string, { limit, remaining, reset }: RateLimits.Limit): string =>
  [
    remaining !== undefined && limit !== undefined
      ? `${remaining} of ${limit} ${name} left`
      : remaining !== undefined
      ? `${remaining} ${name} left`
      : limit !== undefined
      ? `${limit} ${name} in all`
      : name,
    ...(reset === undefined ? [] : [`full again in ${Durations.short(reset)}`])
  ].join(", ")

const limitLines = (limits: RateLimits.RateLimits, width: number): ReadonlyArray<Text.Line> =>
  ([
    ["requests", limits.requests],
    ["tokens", limits.tokens],
    ["input tokens", limits.inputTokens],
    ["output tokens", limits.outputTokens]
  ] as const)
    .flatMap(([name, limit]) => limit === undefined ? [] : [limitWords(name, limit)])
    .flatMap((words, index) => Timeline.paragraph(index === 0 ? "limits" : "", words, width))

const said = (error: LlmError.ProviderError, width: number): ReadonlyArray<Text.Line> => [
  ...Timeline.paragraph("message", Text.oneLine(error.message), width),
  ...(error.status === undefined ? [] : [Timeline.field("status", Text.span(String(error.status)))]),
  ...(error.code === undefined ? [] : Timeline.paragraph("code", Text.oneLine(error.code), width)),
  ...(error.requestId === undefined ? [] : Timeline.paragraph("request", Text.oneLine(error.requestId), width)),
  ...(error.rateLimits === undefined ? [] : limitLines(error.rateLimits, width))
]

const tintOf = ({ next }: Explained): Text.Tint => next === "here" || next === "elsewhereFirst" ? "busy" : "bad"

/**
 * The lines of one explanation for a width in columns.
 *
 * @since 0.1.0
 * @category rendering
 */
export const lines = (explained: Explained, width: number): ReadonlyArray<Text.Line> => [
  [
    Text.span(explained.failure, "strong"),
    Text.span(": "),
    Text.span(Words.failure(explained.failure), tintOf(explained))
  ],
  ...Text.wrap(explained.meaning, width).map((line): Text.Line => [Text.span(line, "dim")]),
  [],
  ...(explained.error === undefined ? [] : [...said(explained.error, width), []]),
  ...Timeline.paragraph(
    "do",
    nexts[explained.next][1] + (explained.mayHaveActed && explained.next !== "stop" ? ` ${acts}` : ""),
    width
  ),
  ...Timeline.paragraph("wait", waitWords(explained), width),
  ...Timeline.paragraph("against", blames[explained.blame], width),
  [],
  ...Timeline.paragraph("standard", planWords(explained, "standard"), width),
  ...Timeline.paragraph("article", planWords(explained, "article"), width),
  ...Timeline.paragraph("fallback", fallbackWords(explained), width)
]

const columns = [
  ["failure", (explained: Explained) => explained.failure],
  ["do", (explained: Explained) => nexts[explained.next][0]],
  ["wait", ({ pace }: Explained) => pace === undefined ? "never" : paces[pace]],
  ["against", ({ blame }: Explained) => blame]
] as const

/**
 * All explanations, a line for each: what it is, what to do next, the base of the backoff, and whom it counts against.
 *
 * @since 0.1.0
 * @category rendering
 */
export const table = (all: ReadonlyArray<Explained>): ReadonlyArray<Text.Line> => {
  const widths: ReadonlyArray<number> = columns.map(([title, cell]) =>
    Math.max(Text.width(title), ...all.map((one) => Text.width(cell(one))))
  )
  const last = columns.length - 1
  const padded = (text: string, at: number) => at === last ? text : `${Text.pad(text, widths[at] ?? 0)}  `
  return [
    columns.map(([title], at) => Text.span(padded(title, at), "dim")),
    ...all.map((one): Text.Line =>
      columns.map(([title, cell], at) => Text.span(padded(cell(one), at), title === "do" ? tintOf(one) : "plain"))
    )
  ]
}
