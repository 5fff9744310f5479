/** Limits of a quota as token buckets in whole numbers of any size, and whatever limits there may be. */
import * as fc from "effect/FastCheck"
import * as Quota from "../../src/internal/quota.ts"

export const limitOf = (
  unit: Quota.Unit,
  amount: number,
  span: number,
  burst = amount,
  name = `${unit} per ${span}`
): Quota.Rate => {
  const rate = Quota.rate(name, unit, amount, span, burst)
  if (rate === undefined) throw new Error("no such limit")
  return rate
}

export const cost = (input: number, output: number): Quota.Cost => ({
  requests: 1,
  tokens: input + output,
  inputTokens: input,
  outputTokens: output
})

export const none: Quota.Cost = { requests: 0, tokens: 0, inputTokens: 0, outputTokens: 0 }

/** A token bucket in whole numbers of any size: what is left, refilled at every step. */
export class Model {
  private left: bigint
  private at = 0n
  readonly unit: Quota.Unit
  private readonly amount: bigint
  private readonly span: bigint
  private readonly most: bigint
  constructor(unit: Quota.Unit, amount: number, span: number, burst: number) {
    this.unit = unit
    this.amount = BigInt(amount)
    this.span = BigInt(span)
    this.most = BigInt(burst) * this.span
    this.left = this.most
  }
  private refill(now: number): void {
    if (BigInt(now) <= this.at) return
    const full = this.left + this.amount * (BigInt(now) - this.at)
    this.left = full > this.most ? this.most : full
    this.at = BigInt(now)
  }
  has(cost: Quota.Cost, now: number): boolean {
    const passed = BigInt(now) - this.at
    const full = this.left + this.amount * (passed > 0n ? passed : 0n)
    return (full > this.most ? this.most : full) >= BigInt(cost[this.unit]) * this.span || cost[this.unit] === 0
  }
  take(cost: Quota.Cost, now: number): void {
    this.refill(now)
    this.left -= BigInt(cost[this.unit]) * this.span
  }
  /** Frozen until a time, at which there is no more than so much. */
  block(units: number, until: number): void {
    this.refill(until)
    const room = BigInt(units) * this.span
    if (this.left > room) this.left = room
  }
  /** How much is owed, in units times the span. */
  owed(now: number): bigint {
    this.refill(now)
    return this.most - this.left
  }
  /** Begins with a debt. */
  owing(debt: bigint, now: number): this {
    this.left = this.most - debt
    this.at = BigInt(now)
    return this
  }
  giveBack(units: number, now: number): void {
    this.refill(now)
    const more = this.left + BigInt(units) * this.span
    this.left = more > this.most ? this.most : more
  }
}

export interface Spec {
  readonly unit: Quota.Unit
  readonly amount: number
  readonly span: number
  readonly burst: number
}

const spec: fc.Arbitrary<Spec> = fc.record({
  unit: fc.constantFrom(...Quota.units),
  amount: fc.integer({ min: 1, max: 5000 }),
  span: fc.oneof(fc.constantFrom(1000, 60_000, 86_400_000), fc.integer({ min: 1, max: 100_000 })),
  burst: fc.integer({ min: 1, max: 5000 })
})
export const specs = fc.array(spec, { minLength: 1, maxLength: 4 })

export const settingsOf = (all: ReadonlyArray<Spec>, learn: Quota.Settings["learn"] = "never") =>
  Quota.settings(all.map(({ amount, burst, span, unit }, i) => limitOf(unit, amount, span, burst, `limit ${i}`)), learn)
