/** A circuit and its rules once more, too simple to be wrong, and whatever may happen to them. */
import * as fc from "effect/FastCheck"
import type * as Breaker from "../../src/internal/breaker.ts"
import type * as Meter from "../../src/internal/meter.ts"

/** What a rule has seen, kept whole and counted anew each time: slow, endless, and too simple to be wrong. */
export class Log {
  readonly rule: Meter.Rule
  readonly calls: Array<{ readonly at: number; readonly bad: boolean }>
  constructor(rule: Meter.Rule, calls: ReadonlyArray<{ readonly at: number; readonly bad: boolean }> = []) {
    this.rule = rule
    this.calls = [...calls]
  }

  /** Whether this call trips the rule. */
  see(call: Meter.Call, now: number): boolean {
    const { calls, rule } = this
    const bad = rule._tag === "SlowCalls" ? call.took > rule.longerThan : call.failed
    calls.push({ at: now, bad })
    if (!bad) return false
    switch (rule._tag) {
      case "Consecutive":
        return calls.slice(-rule.failures).every((each) => each.bad) && calls.length >= rule.failures
      case "CountWindow":
        return this.exceeds(calls.slice(-rule.size), rule)
      case "TimeWindow":
      case "SlowCalls": {
        const slice = (at: number) => Math.floor(at * 10 / rule.duration)
        return this.exceeds(calls.filter(({ at }) => slice(at) > slice(now) - 10), rule)
      }
    }
  }

  private exceeds(
    calls: ReadonlyArray<{ readonly bad: boolean }>,
    { minimum, rate }: { readonly minimum: number; readonly rate: number }
  ): boolean {
    return calls.length >= minimum && calls.filter(({ bad }) => bad).length / calls.length >= rate
  }
}

/** What a rule looks at. */
const windowOf = (rule: Meter.Rule): string => {
  switch (rule._tag) {
    case "Consecutive":
      return "consecutive"
    case "CountWindow":
      return `count ${rule.size}`
    case "TimeWindow":
      return `time ${rule.duration}`
    case "SlowCalls":
      return `slow ${rule.duration} ${rule.longerThan}`
  }
}

/** A rule that looks at what another one did goes on with what that has seen. */
const logOf = (rule: Meter.Rule, logs: ReadonlyArray<Log>, at: number): Log => {
  const isSame = (log: Log | undefined) => log !== undefined && windowOf(log.rule) === windowOf(rule)
  return new Log(rule, (isSame(logs[at]) ? logs[at] : logs.find(isSame))?.calls)
}

/** A circuit, written down another way: as what happened to every call. */
export class Model {
  phase: "closed" | "open" | "halfOpen" | "isolated" = "closed"
  logs: ReadonlyArray<Log> = []
  /** The calls that count, by their number. */
  readonly known = new Set<number>()
  reopensAt = 0
  openings = 0
  succeeded = 0
  lastProbe = 0
  settings: Breaker.Settings
  constructor(settings: Breaker.Settings) {
    this.settings = settings
    this.begin()
  }

  private turn(phase: Model["phase"]): void {
    this.phase = phase
    this.known.clear()
    this.succeeded = 0
    this.begin()
  }
  private begin(): void {
    this.logs = this.settings.rules.map((rule) => new Log(rule))
  }
  isolate(): void {
    if (this.phase !== "isolated") this.turn("isolated")
    this.openings = 0
  }
  reset(): void {
    this.turn("closed")
    this.openings = 0
  }

  ask(id: number, now: number, lastResort = false): string {
    if (this.phase === "open" && (now >= this.reopensAt || lastResort)) this.turn("halfOpen")
    // Fewer may be asked for by now.
    if (this.phase === "halfOpen" && this.succeeded >= this.settings.probes) this.reset()
    if (this.phase === "halfOpen" && this.known.size + this.succeeded >= this.settings.probes) {
      if (now - this.lastProbe < this.settings.lease) return "halfOpen"
      this.turn("halfOpen")
    }
    if (this.phase === "open") return `open ${this.reopensAt - now}`
    if (this.phase === "isolated") return "isolated"
    if (this.phase === "halfOpen") this.lastProbe = now
    this.known.add(id)
    return "in"
  }

  end(id: number, result: Breaker.Result, now: number, openFor: number): void {
    if (!this.known.delete(id)) return
    if (result._tag === "Neither") return
    const { call } = result
    if (this.phase === "closed") {
      this.logs = this.settings.rules.map((rule, at) => logOf(rule, this.logs, at))
      if (this.logs.map((log) => log.see(call, now)).some(Boolean)) this.trip(now, openFor)
    } else {
      const slow = this.settings.rules.some((rule) => rule._tag === "SlowCalls" && call.took > rule.longerThan)
      if (call.failed || slow) this.trip(now, openFor)
      else if (++this.succeeded >= this.settings.probes) this.reset()
    }
  }
  private trip(now: number, openFor: number): void {
    this.turn("open")
    this.openings++
    this.reopensAt = now + openFor
  }
}

const rate = fc.oneof(fc.constantFrom(0.1, 0.25, 0.5, 1), fc.double({ min: 0.01, max: 1, noNaN: true }))
const minimum = fc.integer({ min: 1, max: 8 })
const duration = fc.constantFrom(10, 100, 99, 1000)
export const rule: fc.Arbitrary<Meter.Rule> = fc.oneof(
  fc.record({ _tag: fc.constant("Consecutive" as const), failures: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ _tag: fc.constant("CountWindow" as const), size: fc.integer({ min: 1, max: 70 }), rate, minimum }).map(
    (rule) => ({ ...rule, minimum: Math.min(rule.minimum, rule.size) })
  ),
  fc.record({ _tag: fc.constant("TimeWindow" as const), duration, rate, minimum }),
  fc.record({
    _tag: fc.constant("SlowCalls" as const),
    longerThan: fc.constantFrom(1, 50),
    duration,
    rate,
    minimum
  })
)
export const call: fc.Arbitrary<Meter.Call> = fc.record({
  failed: fc.boolean(),
  took: fc.constantFrom(0, 1, 2, 50, 51)
})
/** Mostly a little time, sometimes a gap. */
export const pause = fc.oneof(
  { weight: 8, arbitrary: fc.nat(12) },
  { weight: 2, arbitrary: fc.nat(250) },
  { weight: 1, arbitrary: fc.nat(100_000) }
)

export const result: fc.Arbitrary<Breaker.Result> = fc.oneof(
  { weight: 1, arbitrary: fc.constant({ _tag: "Neither" as const }) },
  { weight: 4, arbitrary: call.map((call) => ({ _tag: "Ended" as const, call })) }
)
export const settings: fc.Arbitrary<Breaker.Settings> = fc.record({
  rules: fc.array(rule, { minLength: 1, maxLength: 3 }),
  probes: fc.integer({ min: 1, max: 4 }),
  lease: fc.constantFrom(50, 1_000_000),
  enforced: fc.constant(true)
})
