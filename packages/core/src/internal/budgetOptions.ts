/** The options of a budget, checked. */
import * as Duration from "effect/Duration"
import type { Cost, Kind, Options, Rule } from "../Budget.ts"
import type { Pace } from "../Disposition.ts"
import * as Check from "../Options.ts"
import type * as Policy from "../Policy.ts"
import type { Target } from "../Receipt.ts"
import * as Budget from "./budget.ts"
import * as Call from "./call.ts"

export const defaults = {
  target: { capacity: 35, ratio: 0.1, perSecond: 0.02 },
  process: { capacity: 100, ratio: 0.1, perSecond: 0.1 },
  costs: { retry: 1, hedge: 1, fallback: 0 }
} as const satisfies Options

export interface Bucket extends Budget.Bucket {
  readonly onServed: boolean
  readonly refunds: boolean
}

export interface Checked {
  readonly target: Bucket | undefined
  readonly process: Bucket | undefined
  readonly costOf: (repeat: Budget.Repeat) => number
  /** Whether there is a bucket in which all calls deposit. */
  readonly counting: boolean
  readonly key: (target: Target | undefined) => string
  readonly name: string
  readonly step: Policy.Step
}

const paces = ["rateLimit", "overload", "server", "connection", "timeout"] as const

const units = (tokens: number): number => Math.round(tokens * Budget.unit)

const tokens = (option: string, value: number, max = 1_000_000): number => {
  Check.number(option, value, 0)
  Check.check(option, value, value <= max, `a number from 0 to ${max}`)
  return units(value)
}

const bucketOf = (
  which: "target" | "process",
  rule: Rule | "none" = defaults[which]
): Bucket | undefined => {
  if (rule === "none") return undefined
  const { capacity, perSecond, ratio } = { ...defaults[which], ...definedIn(rule) }
  const at = (name: keyof Rule) => `Budget.make({ ${which}: { ${name} } })`
  const ttl = rule.ttl === undefined ? 0 : Duration.toMillis(Check.duration(at("ttl"), rule.ttl))
  Check.check(at("ttl"), rule.ttl, ttl === 0 || ttl >= 10, "a duration of at least 10 milliseconds")
  const most = tokens(at("capacity"), capacity)
  Check.check(at("capacity"), capacity, most > 0, "more than 0")
  tokens(at("perSecond"), perSecond)
  const perMilli = Math.round(perSecond * 1000)
  Check.check(at("perSecond"), perSecond, perMilli > 0 || perSecond === 0, "0, or at least 0.001")
  const blockedAt = tokens(at("blockedAt"), rule.blockedAt ?? 0)
  Check.check(at("blockedAt"), rule.blockedAt, blockedAt < most, `less than the capacity, ${capacity}`)
  return {
    capacity: most,
    deposit: tokens(at("ratio"), ratio),
    perMilli,
    reserve: ttl === 0 ? most : Math.min(most, Math.round(perMilli * ttl)),
    ttl,
    blockedAt,
    drains: rule.drains ?? false,
    onServed: Check.literal(at("deposits"), rule.deposits ?? "served", ["served", "all"]) === "served",
    refunds: rule.refunds ?? false
  }
}

const definedIn = ({ capacity, perSecond, ratio }: Rule) => ({
  ...(capacity === undefined ? {} : { capacity }),
  ...(perSecond === undefined ? {} : { perSecond }),
  ...(ratio === undefined ? {} : { ratio })
})

const costsOf = (kind: Kind, cost: Cost = defaults.costs[kind]): (pace: Pace | undefined) => number => {
  const option = `Budget.make({ costs: { ${kind} } })`
  if (typeof cost === "number") {
    const fixed = tokens(option, cost)
    return () => fixed
  }
  const otherwise = tokens(option, cost.otherwise)
  const own = new Map<Pace | undefined, number>()
  for (const pace of paces) {
    const value = cost[pace]
    if (value !== undefined) own.set(pace, tokens(`Budget.make({ costs: { ${kind}: { ${pace} } } })`, value))
  }
  return (pace) => own.get(pace) ?? otherwise
}

const keyOf = (target: Target | undefined): string => target === undefined ? "default" : Call.targetKey(target)

export const check = (options: Options): Checked => {
  const target = bucketOf("target", options.target)
  const process = bucketOf("process", options.process)
  const costs = {
    retry: costsOf("retry", options.costs?.retry),
    hedge: costsOf("hedge", options.costs?.hedge),
    fallback: costsOf("fallback", options.costs?.fallback)
  }
  const say = (which: string, bucket: Bucket | undefined) =>
    bucket === undefined ? [] : [
      `${bucket.capacity / Budget.unit} tokens a ${which} and ${bucket.deposit / Budget.unit} for each call`
    ]
  return {
    target,
    process,
    costOf: ({ kind, pace }) => costs[kind](pace),
    counting: target?.onServed === false || process?.onServed === false,
    key: options.key ?? keyOf,
    name: Check.text("Budget.make({ name })", options.name ?? "default"),
    step: { name: "budget", settings: [...say("target", target), ...say("process", process)].join(", ") }
  }
}
