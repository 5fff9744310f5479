/** What a trip policy has seen of the calls, as plain data: `(meter, call, now) => meter`, in bounded memory. */

/** One rule of a trip policy; times are in milliseconds. */
export type Rule =
  | { readonly _tag: "Consecutive"; readonly failures: number }
  | { readonly _tag: "CountWindow"; readonly size: number; readonly rate: number; readonly minimum: number }
  | { readonly _tag: "TimeWindow"; readonly duration: number; readonly rate: number; readonly minimum: number }
  | {
    readonly _tag: "SlowCalls"
    readonly longerThan: number
    readonly duration: number
    readonly rate: number
    readonly minimum: number
  }

/** What one rule has seen. */
export type Meter =
  | { readonly _tag: "Consecutive"; readonly failures: number }
  | {
    readonly _tag: "CountWindow"
    readonly size: number
    readonly calls: number
    readonly failures: number
    /** Where the next call is written. */
    readonly at: number
    /** One bit a call, 32 in a number: whether it failed. */
    readonly bits: ReadonlyArray<number>
  }
  | {
    readonly _tag: "TimeWindow" | "SlowCalls"
    readonly duration: number
    /** Of what is counted: 0 when it is failures. */
    readonly longerThan: number
    /** The number of the newest slice of time; slice `n` has place `n % slices`. */
    readonly newest: number
    /** Two numbers a slice: how many calls, and how many of them count against the target. */
    readonly counts: ReadonlyArray<number>
  }

/** A call that said something about the target. */
export interface Call {
  readonly failed: boolean
  /** In milliseconds. */
  readonly took: number
}

/**
 * How many slices a time window is cut into: what happened is forgotten after at least 9/10 of the window, and before
 * all of it has passed. Statistical windows of other breakers have 10 slices too (Polly, Hystrix).
 */
export const slices = 10

/** Whether a call counts against the target by this rule. */
export const isBad = (rule: Rule, call: Call): boolean =>
  rule._tag === "SlowCalls" ? call.took > rule.longerThan : call.failed

const zeros = (length: number): ReadonlyArray<number> => Array.from({ length }, () => 0)

export const fresh = (rule: Rule): Meter => {
  switch (rule._tag) {
    case "Consecutive":
      return { _tag: "Consecutive", failures: 0 }
    case "CountWindow":
      return {
        _tag: "CountWindow",
        size: rule.size,
        calls: 0,
        failures: 0,
        at: 0,
        bits: zeros(Math.ceil(rule.size / 32))
      }
    case "TimeWindow":
    case "SlowCalls":
      return {
        _tag: rule._tag,
        duration: rule.duration,
        longerThan: rule._tag === "SlowCalls" ? rule.longerThan : 0,
        newest: 0,
        counts: zeros(2 * slices)
      }
  }
}

/** Whether a meter has measured what a rule asks for; its thresholds may be others. */
const fits = (rule: Rule, meter: Meter): boolean => {
  if (rule._tag !== meter._tag) return false
  switch (rule._tag) {
    case "Consecutive":
      return true
    case "CountWindow":
      return "size" in meter && meter.size === rule.size
    case "TimeWindow":
      return "duration" in meter && meter.duration === rule.duration
    case "SlowCalls":
      return "duration" in meter && meter.duration === rule.duration && meter.longerThan === rule.longerThan
  }
}

/** The meter of a rule among those there are; a fresh one where the rule is new. */
export const meterOf = (rule: Rule, meters: ReadonlyArray<Meter>, at: number): Meter => {
  const here = meters[at]
  if (here !== undefined && fits(rule, here)) return here
  return meters.find((meter) => fits(rule, meter)) ?? fresh(rule)
}

/** The same meter when the call changes nothing. */
export const record = (rule: Rule, meter: Meter, call: Call, now: number): Meter => {
  const bad = isBad(rule, call)
  switch (meter._tag) {
    case "Consecutive":
      if (bad) return { _tag: "Consecutive", failures: meter.failures + 1 }
      return meter.failures === 0 ? meter : { _tag: "Consecutive", failures: 0 }
    case "CountWindow": {
      const { at, calls, failures, size } = meter
      const word = at >>> 5
      const mask = 1 << (at & 31)
      const before = meter.bits[word] ?? 0
      // Its bit is 0 where the window is not full yet.
      const was = (before & mask) !== 0
      return {
        _tag: "CountWindow",
        size,
        calls: Math.min(calls + 1, size),
        failures: failures + (bad ? 1 : 0) - (was ? 1 : 0),
        at: at + 1 === size ? 0 : at + 1,
        bits: bad === was ? meter.bits : meter.bits.with(word, before ^ mask)
      }
    }
    case "TimeWindow":
    case "SlowCalls": {
      const { counts, newest } = slid(meter, now)
      const place = 2 * (newest % slices)
      counts[place] = (counts[place] ?? 0) + 1
      if (bad) counts[place + 1] = (counts[place + 1] ?? 0) + 1
      return { _tag: meter._tag, duration: meter.duration, longerThan: meter.longerThan, newest, counts }
    }
  }
}

/** A copy of the counts, moved on to the present: slices that are over are empty. */
const slid = (
  { counts: old, duration, newest }: Extract<Meter, { readonly counts: ReadonlyArray<number> }>,
  now: number
): { readonly counts: Array<number>; readonly newest: number } => {
  const present = Math.floor(now * slices / duration)
  const passed = present - newest
  const counts = old.slice()
  // A clock that was set back by more than the window has no use for what was seen in its future.
  if (passed >= slices || passed <= -slices) return { counts: counts.fill(0), newest: present }
  for (let slice = newest + 1; slice <= present; slice++) {
    const place = 2 * (slice % slices)
    counts[place] = 0
    counts[place + 1] = 0
  }
  return { counts, newest: Math.max(newest, present) }
}

/** Whether the threshold of a rule is reached, by a meter that has just recorded a call. */
export const isReached = (rule: Rule, meter: Meter): boolean => {
  if (rule._tag === "Consecutive") return meter._tag === "Consecutive" && meter.failures >= rule.failures
  const { bad, calls } = totals(meter)
  return calls >= rule.minimum && bad / calls >= rule.rate
}

const totals = (meter: Meter): { readonly calls: number; readonly bad: number } => {
  if (meter._tag === "Consecutive") return { calls: meter.failures, bad: meter.failures }
  if (meter._tag === "CountWindow") return { calls: meter.calls, bad: meter.failures }
  let calls = 0
  let bad = 0
  for (let i = 0; i < meter.counts.length; i += 2) {
    calls += meter.counts[i] ?? 0
    bad += meter.counts[i + 1] ?? 0
  }
  return { calls, bad }
}
