/** The tries of a hedge side by side, each on a fiber of its own. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type * as Disposition from "../Disposition.ts"
import * as LlmError from "../LlmError.ts"
import type { TargetInfo } from "../LlmProvider.ts"
import * as Budget from "./budget.ts"
import * as Call from "./call.ts"
import { clockOf } from "./clock.ts"
import { deadlineOf } from "./deadline.ts"
import { type AnyFiber, type Gate, through } from "./gate.ts"
import * as Hedge from "./hedge.ts"
import { type Branch, localOf } from "./local.ts"
import { after as later } from "./timer.ts"

/** One way to ask. */
export interface Way<A, E, R> {
  readonly ask: Effect.Effect<A, E, R>
  readonly target: TargetInfo | undefined
}

/** Tells the fiber of a try which one it is. */
const beside = (branch: Branch, extra: boolean): Gate => ({ local }) => {
  const { branch: outer, hedge } = local
  local.branch = branch
  local.hedge = extra || hedge
  return Exit.succeed((exit) => {
    local.branch = outer
    local.hedge = hedge
    return exit
  })
}

/** What the options say of one race. */
export interface Settings {
  /** The most tries. */
  readonly most: number
  /** How long a try is waited for, in milliseconds. */
  readonly delay: () => number
  /** Is told how long a first try has taken, or has taken until another one answered. */
  readonly observe: (millis: number) => void
  readonly classify: Disposition.Classifier
}

/** Runs the tries; `ways` has one for each, the last of which is repeated. What the options say is asked once, at the start. */
export const run = <A, E, R>(
  settingsFor: (fiber: AnyFiber) => Settings,
  ways: readonly [Way<A, E, R>, ...Array<Way<A, E, R>>],
  combine: (failures: ReadonlyArray<E>, last: E) => E
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime<A, E, R>((parent) => {
    const settings = settingsFor(parent)
    if (settings.most === 1) return ways[0].ask
    const clock = clockOf(parent)
    const outer = Context.getOption(parent.currentContext as Context.Context<Scope.Scope>, Scope.Scope)
    const limit = deadlineOf(parent)
    const wayOf = (number: number) => ways[number] ?? ways[ways.length - 1] ?? ways[0]

    return Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        interface Try {
          readonly fiber: Fiber.RuntimeFiber<Exit.Exit<A, E>>
          readonly scope: Scope.CloseableScope | undefined
          readonly branch: Branch
        }
        const tries = new Map<number, Try>()
        const failures: Array<E> = []
        const startedAt = clock.unsafeCurrentTimeMillis()
        let race = Hedge.race(settings.most)
        /** What has happened and was not looked at yet. */
        const mail: Array<{ readonly try: number; readonly exit: Exit.Exit<A, E> } | "waited"> = []
        let wake: (() => void) | undefined
        let cancel: () => void = () => undefined
        const tell = (one: (typeof mail)[number]) => {
          mail.push(one)
          wake?.()
        }

        const arm = Effect.sync(() => {
          cancel()
          cancel = () => undefined
          if (!race.open || race.started >= race.most) return
          const wait = settings.delay()
          // A try that would start with no time left does nobody any good.
          if (limit !== undefined && clock.unsafeCurrentTimeMillis() + wait >= limit.at) return
          cancel = later(clock, wait, () => tell("waited"))
        })

        const start = (number: number): Effect.Effect<void, never, R> =>
          Effect.flatMap(
            Option.isNone(outer)
              ? Effect.succeed(undefined)
              : Scope.fork(outer.value, ExecutionStrategy.sequential),
            (scope) => {
              const { ask } = wayOf(number)
              const scoped = scope === undefined
                ? ask
                : Effect.mapInputContext(ask, (context: Context.Context<R>) => Context.add(context, Scope.Scope, scope))
              const branch = { parent: localOf(parent).branch }
              // A failure is no end of the fiber, which Effect would log as unhandled.
              const trying = Effect.exit(through([beside(branch, number > 0)], scoped, undefined))
              return Effect.flatMap(Effect.forkDaemon(Effect.interruptible(trying)), (fiber) =>
                Effect.zipRight(
                  Effect.sync(() => {
                    tries.set(number, { fiber, scope, branch })
                    fiber.addObserver((exit) => tell({ try: number, exit: Exit.flatten(exit) }))
                  }),
                  arm
                ))
            }
          )

        /** Closes what a try that did not win has opened. */
        const discard = ({ branch, scope }: Try, exit: Exit.Exit<unknown, unknown>) => {
          if (Exit.isSuccess(exit)) Call.live(parent)?.lose(branch, clock.unsafeCurrentTimeMillis())
          return scope === undefined ? Effect.void : Scope.close(scope, exit)
        }

        /** Interrupts all that still run, and waits until they have let go. */
        const leave = Effect.suspend(() => {
          cancel()
          const others = [...tries.values()]
          tries.clear()
          for (const { fiber } of others) fiber.unsafeInterruptAsFork(parent.id())
          return Effect.forEach(others, (one) =>
            Effect.flatMap(Fiber.await(one.fiber), (ended) => {
              const exit = Exit.flatten(ended)
              return Effect.as(discard(one, exit), exit)
            }))
        })

        /** Ends the race. Defects of those that were interrupted are part of a failure; beside an answer, Effect logs them. */
        const end = (exit: Exit.Exit<A, E>): Effect.Effect<A, E> =>
          Effect.flatMap(leave, (exits) => {
            const lost = Exit.isFailure(exit) ? defectsIn(exits) : Cause.empty
            return Cause.isEmpty(lost) ? exit : Exit.mapErrorCause(exit, (cause) => Cause.parallel(cause, lost))
          })

        const allowed = (number: number, last: E | undefined): Effect.Effect<boolean> => {
          if (limit !== undefined && clock.unsafeCurrentTimeMillis() >= limit.at) return Effect.succeed(false)
          const pace = LlmError.is(last) ? settings.classify(last).pace : undefined
          return Budget.withdraw(parent, "hedge", wayOf(number).target, pace)
        }

        const follow = (next: Hedge.Next, last: E | undefined): Effect.Effect<A, E, R> => {
          switch (next) {
            case "wait":
              return listen
            case "fail":
              return last === undefined ? listen : end(Exit.fail(combine(failures, last)))
            case "start": {
              const number = race.started - 1
              return Effect.flatMap(allowed(number, last), (ok) => {
                if (ok) return Effect.zipRight(start(number), listen)
                const [after, state] = Hedge.step(race, { _tag: "Refused" })
                race = state
                return follow(after, last)
              })
            }
          }
        }

        const settle = (number: number, exit: Exit.Exit<A, E>): Effect.Effect<A, E, R> => {
          const done = tries.get(number)
          if (done === undefined) return listen
          tries.delete(number)
          if (Exit.isSuccess(exit)) {
            // Of the first tries alone, also where another one was sooner: the extra ones are seen only when they are fast.
            if (number === 0 || tries.has(0)) settings.observe(clock.unsafeCurrentTimeMillis() - startedAt)
            const kept = done.scope !== undefined && isEmpty(done.scope) ? Scope.close(done.scope, exit) : Effect.void
            return Effect.zipRight(Effect.zipRight(Fiber.inheritAll(done.fiber), kept), end(exit))
          }
          return Effect.zipRight(
            discard(done, exit),
            Effect.suspend(() => {
              const failure = Cause.failureOption(exit.cause)
              // A defect, or an interruption from within, is nothing that another try makes good.
              if (Option.isNone(failure)) return end(exit)
              failures.push(failure.value)
              const target = wayOf(number).target
              const elsewhere = race.started < ways.length && wayOf(race.started).target !== target
              const verdict = LlmError.is(failure.value)
                ? Hedge.verdictOf(settings.classify, failure.value, elsewhere)
                : "another"
              const [next, state] = Hedge.step(race, { _tag: "Failed", try: number, verdict })
              race = state
              return follow(next, failure.value)
            })
          )
        }

        const listen: Effect.Effect<A, E, R> = Effect.suspend(() => {
          const one = mail.shift()
          if (one === undefined) {
            const waiting = Effect.async<void>((resume) => {
              wake = () => {
                wake = undefined
                resume(Effect.void)
              }
              if (mail.length > 0) wake()
              return Effect.sync(() => {
                wake = undefined
              })
            })
            return Effect.matchCauseEffect(restore(waiting), {
              onFailure: (cause) => end(Exit.failCause(cause)),
              onSuccess: () => listen
            })
          }
          if (one !== "waited") return settle(one.try, one.exit)
          const [next, state] = Hedge.step(race, { _tag: "Waited" })
          race = state
          return follow(next, undefined)
        })
        return Effect.zipRight(start(0), listen)
      })
    )
  })

const defectsIn = (exits: ReadonlyArray<Exit.Exit<unknown, unknown>>): Cause.Cause<never> =>
  exits.reduce<Cause.Cause<never>>((all, exit) => {
    const defects = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.keepDefects(exit.cause)) : undefined
    return defects === undefined ? all : Cause.isEmpty(all) ? defects : Cause.parallel(all, defects)
  }, Cause.empty)

/** Whether nothing was opened in a scope, so that it need not be kept. The field is not public; without it, it is kept. */
const isEmpty = (scope: Scope.Scope): boolean => {
  const { state } = scope as unknown as {
    readonly state?: { readonly _tag: string; readonly finalizers?: { readonly size: number } }
  }
  return state?._tag === "Open" && state.finalizers?.size === 0
}
