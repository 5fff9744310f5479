/** One line a call, in the words of the spans, without a prompt, an answer, a key or a provider's own words. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import * as HashSet from "effect/HashSet"
import * as LogLevel from "effect/LogLevel"
import type { Blame } from "../Disposition.ts"
import type { Receipt, Target } from "../Receipt.ts"
import { outcomes } from "./conventions.ts"
import type { AnyFiber } from "./gate.ts"
import type { Ending } from "./receipt.ts"

/** What became of a call, as far as somebody has to look at it. */
export type Kind = "answered" | "recovered" | "failed" | "refused" | "interrupted"

export type Levels = { readonly [K in Kind]: LogLevel.LogLevel }

/** Levels that let people sleep: a call that was answered is no news, one that had to be rescued is a hint. */
export const defaultLevels: Levels = {
  answered: LogLevel.Debug,
  recovered: LogLevel.Warning,
  failed: LogLevel.Error,
  refused: LogLevel.Warning,
  interrupted: LogLevel.Debug
}

export const levels: FiberRef.FiberRef<Levels> = globalValue(
  Symbol.for("perdure/Telemetry/levels"),
  () => FiberRef.unsafeMake(defaultLevels, { join: (parent) => parent })
)

/** How a call ended, and of its failure what a line says. */
export interface End extends Ending {
  readonly blame: Blame | undefined
  readonly status: number | undefined
}

const needed = ({ attempts, refusals, switches }: Receipt): boolean =>
  switches !== undefined || refusals !== undefined || attempts.some(({ outcome }) => outcome._tag === "Failed")

const kindOf = ({ blame, outcome }: End, receipt: Receipt): Kind => {
  switch (outcome) {
    case "Answered":
      return needed(receipt) ? "recovered" : "answered"
    case "Interrupted":
      return "interrupted"
    case "Failed":
      return blame === "request" ? "refused" : "failed"
  }
}

/** The line for the end of a call, unless nobody would see it; then nothing is built. */
export const line = (
  fiber: AnyFiber,
  levels: Levels,
  end: End,
  receipt: Receipt,
  call: number
): Effect.Effect<void> | undefined => {
  const level = levels[kindOf(end, receipt)]
  if (
    level._tag === "None" || LogLevel.greaterThan(fiber.getFiberRef(FiberRef.currentMinimumLogLevel), level) ||
    HashSet.size(fiber.getFiberRef(FiberRef.currentLoggers)) === 0
  ) {
    return undefined
  }
  return Effect.logWithLevel(level, textOf(end, receipt)).pipe(
    Effect.annotateLogs(facts(end, receipt, call)),
    // A logger that throws is no reason to lose an answer.
    Effect.catchAllCause(() => Effect.void)
  )
}

const nameOf = ({ model, provider }: Target): string => `${provider}/${model}`

const times = (count: number): string => count === 1 ? "1 attempt" : `${count} attempts`

const textOf = ({ error, outcome }: End, { attempts, requested, served }: Receipt): string => {
  const target = nameOf(requested)
  switch (outcome) {
    case "Answered": {
      const last = attempts.findLast(({ discarded, outcome }) => outcome._tag === "Answered" && !discarded)?.target
      const instead = last === undefined || nameOf(last) === target ? "" : ` instead of ${target}`
      const name = last === undefined ? served : last
      return `${nameOf(name ?? requested)} answered${instead}` +
        (attempts.length === 1 ? "" : ` after ${times(attempts.length)}`)
    }
    case "Failed":
      return `${target} failed with ${error ?? "a defect"} after ${times(attempts.length)}`
    case "Interrupted":
      return `${target} was interrupted after ${times(attempts.length)}`
  }
}

/** What is known is told; what is not has no place in the line. */
const facts = ({ error, outcome, status }: End, receipt: Receipt, call: number): Record<string, unknown> => {
  const { attempts, duration, fallback, firstOutput, refusals, requested, served, switches, waited } = receipt
  const { cacheWriteTokens, cachedInputTokens, inputTokens, outputTokens, reasoningTokens } = receipt.usage
  const { cost } = receipt
  const failures = attempts.flatMap(({ outcome }) => outcome._tag === "Failed" ? [outcome.error] : [])
  const keys = new Set(attempts.flatMap(({ key }) => key ?? []))
  const all: Record<string, unknown> = {
    "perdure.call": call,
    "perdure.outcome": outcomes[outcome],
    "perdure.requested.provider": requested.provider,
    "perdure.requested.model": requested.model,
    "perdure.served.provider": served?.provider,
    "perdure.served.model": served?.model,
    "perdure.fallback": fallback,
    "perdure.fallback.reason": switches?.map(({ because }) => because).join(" "),
    "perdure.attempts": attempts.length,
    "perdure.key": keys.size === 0 ? undefined : [...keys].join(" "),
    "perdure.failures": failures.length === 0 ? undefined : failures.join(" "),
    "perdure.refusals": refusals?.map(({ because }) => because).join(" "),
    "perdure.duration": Duration.toSeconds(duration),
    "perdure.waited": Duration.toSeconds(waited),
    "perdure.time_to_first_output": firstOutput === undefined ? undefined : Duration.toSeconds(firstOutput),
    "gen_ai.usage.input_tokens": inputTokens,
    "gen_ai.usage.output_tokens": outputTokens,
    "gen_ai.usage.cache_read.input_tokens": cachedInputTokens,
    "gen_ai.usage.cache_creation.input_tokens": cacheWriteTokens,
    "gen_ai.usage.reasoning.output_tokens": reasoningTokens,
    "perdure.cost": cost?.amount,
    "perdure.currency": cost?.currency,
    "error.type": error,
    "http.response.status_code": status
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}
