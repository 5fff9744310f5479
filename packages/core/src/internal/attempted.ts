/** Requests that a provider's code has made by itself, as an SDK does that repeats: how they get on the record of a call. */
import * as Effect from "effect/Effect"
import type { Attempted } from "../Call.ts"
import * as Disposition from "../Disposition.ts"
import type { Outcome, Target } from "../Receipt.ts"
import type { Usage } from "../Usage.ts"
import * as Budget from "./budget.ts"
import * as Call from "./call.ts"
import { nowOf } from "./clock.ts"
import { failed } from "./ending.ts"
import type { AnyFiber } from "./gate.ts"
import { isWithin, type Local, localOf } from "./local.ts"
import type { Recorded } from "./recorded.ts"

/** How an attempt ended that is told of late. */
interface End {
  readonly outcome: Outcome
  readonly at: number
  readonly usage: Usage | undefined
}

/** The last ones, which end as the code does that has told of them; how they ended before, if they did. */
const unended = new WeakMap<Recorded, End>()

/** Of the requests that the code of a provider told of, the one that it has not ended yet. */
export const running = (call: Call.Call, { branch }: Local): Recorded | undefined =>
  call.attempts.findLast((one) => unended.has(one) && one.outcome === undefined && isWithin(one.branch, branch))

/** How such a request ended, if the code was interrupted later, while it waited to make another one. */
export const endOf = (attempt: Recorded, { _tag }: Outcome): End | undefined => {
  const end = unended.get(attempt)
  return _tag === "Interrupted" && end?.outcome._tag === "Failed" ? end : undefined
}

/** Records the requests, and has the budgets pay for all but the first: that one was asked for. */
export const tell = (fiber: AnyFiber, requests: ReadonlyArray<Attempted>): Effect.Effect<void> => {
  const call = Call.live(fiber)
  const target = call === undefined ? undefined : record(fiber, call, requests)
  return Effect.uninterruptible(
    Effect.forEach(requests.slice(1), (request, i) => {
      const before = requests[i]?.failure
      return Budget.charge(fiber, request.target ?? target, before && Disposition.classify(before).pace)
    }, { discard: true })
  )
}

/** Puts the requests in the place of the attempt under way, or else beside what is there. Gives whom they asked. */
const record = (fiber: AnyFiber, call: Call.Call, requests: ReadonlyArray<Attempted>): Target => {
  const local = localOf(fiber)
  const now = nowOf(fiber)
  const isInProvider = call.kind === "call"
  const own = isInProvider
    ? call.attempts.findLast(({ branch, outcome }) => outcome === undefined && isWithin(branch, local.branch))
    : undefined
  const target = own?.target ?? named(requests) ?? call.target
  const span = own === undefined ? undefined : Call.spansBeside(fiber, own)
  const progress = own?.progress
  // It is that of the last request.
  if (own !== undefined && requests.length > 1) own.progress = undefined
  let earliest = own?.start ?? call.startedAt
  for (const [i, request] of requests.entries()) {
    const next = requests[i + 1]
    const start = within(earliest, request.startedAt, now)
    const end = within(start, request.endedAt ?? next?.startedAt ?? now, now)
    const attempt = i === 0 && own !== undefined
      ? own
      : call.begin(
        request.target ?? target,
        own?.idempotent ?? true,
        start,
        local,
        next === undefined ? progress : undefined
      )
    if (attempt === own) own.start = start
    else attempt.trace = span?.(attempt, start)
    const outcome = outcomeOf(request, next === undefined, attempt.target)
    if (next === undefined && isInProvider) {
      unended.set(attempt, { outcome, at: end, usage: usageOf(request) })
      attempt.cut ??= own?.cut
    } else {
      call.end(attempt, outcome, end, usageOf(request), "late")
    }
    earliest = start
  }
  call.sort()
  return target
}

/** Whom the failures name, as the code of a service written by hand need not say whom it asks. */
const named = (requests: ReadonlyArray<Attempted>): Target | undefined => {
  const failure = requests.find(({ failure }) => failure !== undefined)?.failure
  return failure && { provider: failure.provider, model: failure.model }
}

const within = (least: number, value: number, most: number): number => Math.max(least, Math.min(value, most))

const outcomeOf = ({ failure }: Attempted, isLast: boolean, { model }: Target): Outcome =>
  failure !== undefined ? failed(failure) : isLast ? { _tag: "Answered", model } : { _tag: "Interrupted" }

const usageOf = ({ failure }: Attempted) => failure !== undefined && "usage" in failure ? failure.usage : undefined
