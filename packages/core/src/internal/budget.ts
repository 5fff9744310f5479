/** Token buckets that repeats are paid from, and the budgets that hold for the current fiber. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Pace } from "../Disposition.ts"
import type { Target } from "../Receipt.ts"
import * as Call from "./call.ts"
import { nowOf } from "./clock.ts"
import type { AnyFiber } from "./gate.ts"
import { isWithin, localOf } from "./local.ts"

/**
 * What a bucket counts in: millionths of a token, always whole, so that nothing drifts. A rate in thousandths of a token
 * a second is a whole number of them each millisecond.
 */
export const unit = 1_000_000

/** The settings of a bucket, in units. */
export interface Bucket {
  readonly capacity: number
  /** For each deposit. */
  readonly deposit: number
  /** For each millisecond, up to `reserve`. */
  readonly perMilli: number
  /** The most that comes from time alone, which is also what it begins with. */
  readonly reserve: number
  /** After how many milliseconds a deposit expires; never when it is 0. */
  readonly ttl: number
  /** Nothing is given at this level or below it. */
  readonly blockedAt: number
  /** Whether it loses also what it does not give. */
  readonly drains: boolean
}

/** What a bucket holds. Plain data. */
export interface State {
  readonly at: number
  /** What does not expire. */
  readonly tokens: number
  /** Deposits that expire, by tenths of their time, the oldest first. */
  readonly earned: ReadonlyArray<number>
}

const slots = 10

export const initial = (bucket: Bucket, now: number): State => ({
  at: Math.floor(now),
  tokens: Math.min(bucket.reserve, bucket.capacity),
  earned: []
})

const sum = (earned: ReadonlyArray<number>): number => earned.reduce((total, one) => total + one, 0)

/** How much there is. */
export const level = (state: State): number => state.tokens + sum(state.earned)

/** Brings a state to a time, and within settings that may have changed since. A clock that was set back stands still. */
export const advance = (bucket: Bucket, state: State, now: number): State => {
  const at = Math.max(state.at, Math.floor(now))
  const refilled = state.tokens >= bucket.reserve
    ? state.tokens
    : Math.min(bucket.reserve, state.tokens + Math.min((at - state.at) * bucket.perMilli, bucket.reserve))
  const earned = bucket.ttl === 0 ? [] : expire(bucket, state, at)
  const kept = bucket.ttl === 0 ? refilled + sum(state.earned) : refilled
  const room = bucket.capacity - sum(earned)
  if (room >= 0) return { at, tokens: Math.min(kept, room), earned }
  return { at, tokens: 0, earned: spend(earned, -room).earned }
}

const expire = (bucket: Bucket, state: State, at: number): ReadonlyArray<number> => {
  if (state.earned.length === 0) return state.earned
  const slot = (time: number) => Math.floor(time / (bucket.ttl / slots))
  const passed = slot(at) - slot(state.at)
  if (passed === 0) return state.earned
  const moved = [...state.earned, ...Array<number>(Math.min(passed, slots)).fill(0)].slice(-slots)
  return moved.some((one) => one > 0) ? moved : []
}

/** Takes from the oldest deposits first; `rest` is what they did not cover. */
const spend = (earned: ReadonlyArray<number>, amount: number) => {
  let rest = amount
  return {
    earned: earned.map((one) => {
      const taken = Math.min(one, rest)
      rest -= taken
      return one - taken
    }),
    rest
  }
}

/** Puts an amount in, as far as there is room. */
export const put = (bucket: Bucket, before: State, amount: number, now: number): State => {
  // What most deposits meet: a bucket that is full, and has nothing to forget.
  if (before.tokens === bucket.capacity && before.earned.length === 0 && bucket.ttl === 0) return before
  const state = advance(bucket, before, now)
  const fits = Math.min(amount, bucket.capacity - level(state))
  if (fits === 0) return state
  if (bucket.ttl === 0) return { ...state, tokens: state.tokens + fits }
  const earned = state.earned.length === 0 ? [0] : [...state.earned]
  earned[earned.length - 1] = (earned.at(-1) ?? 0) + fits
  return { ...state, earned }
}

/** Takes an amount, all of it or nothing; nothing costs nothing, whatever there is. */
export const take = (
  bucket: Bucket,
  before: State,
  amount: number,
  now: number
): readonly [granted: boolean, state: State] => {
  const state = advance(bucket, before, now)
  if (amount === 0) return [true, state]
  const there = level(state)
  const granted = there >= amount && there > bucket.blockedAt
  const taken = granted ? amount : bucket.drains ? Math.min(there, amount) : 0
  if (taken === 0) return [granted, state]
  const { earned, rest } = spend(state.earned, taken)
  return [granted, { ...state, earned, tokens: state.tokens - rest }]
}

/** Takes an amount, or what there is of it where that is less. */
export const drain = (
  bucket: Bucket,
  before: State,
  amount: number,
  now: number
): readonly [all: boolean, state: State] => {
  const state = advance(bucket, before, now)
  const there = level(state)
  const { earned, rest } = spend(state.earned, Math.min(there, amount))
  return [there >= amount, { ...state, earned, tokens: state.tokens - rest }]
}

/** What is paid for. */
export type Kind = "retry" | "hedge" | "fallback"

/** One thing to pay for. */
export interface Repeat {
  readonly kind: Kind
  readonly target: Target | undefined
  /** The pace of the failure before it; there is none where a hedge starts only for the time that passed. */
  readonly pace: Pace | undefined
  readonly now: number
}

/** A budget, as it is asked on behalf of one use of it. */
export interface Account {
  readonly withdraw: (use: Ambient, repeat: Repeat) => Effect.Effect<boolean>
  /** Takes what a repeat costs that was made without asking, as far as it is there. */
  readonly charge: (use: Ambient, repeat: Repeat) => Effect.Effect<void>
  /** Gives back what was withdrawn for nothing. */
  readonly giveBack: (use: Ambient, repeat: Repeat) => Effect.Effect<void>
}

/** One use of a budget, by what runs inside it. */
export interface Ambient {
  readonly of: Account
  readonly outer: Ambient | undefined
  /** What the last repeat has cost, in units. */
  paid: number
  /** Whether the deposit that all calls make was made. */
  counted: boolean
}

const granted = Exit.succeed(true)

/**
 * Asks every budget around a fiber for one repeat, the innermost first: all must grant it, and what some have given is
 * given back where another refuses. Where there is no budget it is granted at no cost.
 *
 * `target` is the one that will be asked; where the caller does not know, it is the one that was asked last.
 */
export const withdraw = (
  fiber: AnyFiber,
  kind: Kind,
  target: Target | undefined,
  pace?: Pace
): Effect.Effect<boolean> => {
  const { branch, budget: ambient } = localOf(fiber)
  if (ambient === undefined) return granted
  const known = target ?? Call.live(fiber)?.attempts.findLast((attempt) => isWithin(attempt.branch, branch))?.target
  const now = nowOf(fiber)
  const asked = Effect.uninterruptible(ask(ambient, { kind, target: known, pace, now }))
  return Effect.tap(asked, (ok) => ok ? Effect.void : Effect.sync(() => Call.live(fiber)?.unpaid(kind, known, now)))
}

/** Has every budget around a fiber pay for a retry that was made already. */
export const charge = (fiber: AnyFiber, target: Target | undefined, pace: Pace | undefined): Effect.Effect<void> => {
  const repeat: Repeat = { kind: "retry", target, pace, now: nowOf(fiber) }
  let charged: Effect.Effect<void> = Exit.void
  for (let one = localOf(fiber).budget; one !== undefined; one = one.outer) {
    charged = Effect.zipRight(charged, one.of.charge(one, repeat))
  }
  return charged
}

const ask = (ambient: Ambient, repeat: Repeat): Effect.Effect<boolean> => {
  const { of, outer } = ambient
  const asked = of.withdraw(ambient, repeat)
  if (outer === undefined) return asked
  return Effect.flatMap(asked, (ok) => {
    if (!ok) return Effect.succeed(false)
    return Effect.flatMap(ask(outer, repeat), (ok) => ok ? granted : Effect.as(of.giveBack(ambient, repeat), false))
  })
}
