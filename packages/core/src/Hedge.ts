/**
 * A hedge asks again while the first request is still under way, and takes the answer that comes first: it cuts the slow
 * tail of latencies for a few more requests.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Disposition from "./Disposition.ts"
import * as Budget from "./internal/budget.ts"
import * as Call from "./internal/call.ts"
import { deadlineOf } from "./internal/deadline.ts"
import { type Gate, through } from "./internal/gate.ts"
import * as Internal from "./internal/hedge.ts"
import { type Branch, localOf } from "./internal/local.ts"
import * as Pipeline from "./internal/pipeline.ts"
import { fromRaw, type Raw, rawOf, targetsOf } from "./internal/provider.ts"
import { after as later } from "./internal/timer.ts"
import * as LlmError from "./LlmError.ts"
import type { Service, TargetInfo } from "./LlmProvider.ts"
import * as Check from "./Options.ts"
import type * as Policy from "./Policy.ts"

/**
 * A delay that is learned from how long answers take, and streams to their first output.
 *
 * @since 0.1.0
 * @category models
 */
export interface Percentile {
  /** Above 0, up to 100: with 95, about one request in twenty is hedged. */
  readonly percentile: number
  /**
   * How many latencies it needs, from 1 to 128; the last 128 are kept.
   * @default 20
   */
  readonly of?: number | undefined
  /**
   * The delay until then.
   * @default 2 seconds
   */
  readonly otherwise?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * How long a try is waited for before the next one starts beside it.
   * @default 2 seconds
   */
  readonly after?: Duration.DurationInput | Percentile | undefined
  /**
   * The most tries, the first included: at least 1. Of services, there are no more tries than services.
   * @default 2; of services, as many as there are
   */
  readonly most?: number | undefined
  /**
   * What failures deserve: one that is worth another try starts it at once, any other ends the race.
   * @default Disposition.classify
   */
  readonly classify?: Disposition.Classifier | undefined
}

/**
 * The defaults of {@link Options}: 2 s is when Polly hedges, two tries are the least that do.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaults = { after: Duration.seconds(2), most: 2, of: 20 } as const

interface Checked {
  readonly delay: () => number
  readonly observe: (millis: number) => void
  readonly most: number
  readonly classify: Disposition.Classifier
  readonly step: Policy.Step
}

const isPercentile = (after: Options["after"]): after is Percentile =>
  typeof after === "object" && after !== null && "percentile" in after

const check = (options: Options, where: string, tries: number): Checked => {
  const { after = defaults.after } = options
  const most = Check.integer(`${where}({ most })`, options.most ?? tries, 1)
  const rest = { most, classify: options.classify ?? Disposition.classify }
  const settings = (delay: string) => ({ name: "hedge", settings: `after ${delay}, at most ${most} tries` })
  if (!isPercentile(after)) {
    const fixed = Check.duration(`${where}({ after })`, after, "zero")
    const millis = Duration.toMillis(fixed)
    return { ...rest, delay: () => millis, observe: () => undefined, step: settings(Duration.format(fixed)) }
  }
  const percent = Check.number(`${where}({ after: { percentile } })`, after.percentile, 0)
  Check.check(`${where}({ after: { percentile } })`, percent, percent > 0 && percent <= 100, "above 0, up to 100")
  const of = Check.integer(`${where}({ after: { of } })`, after.of ?? defaults.of, 1, Internal.kept)
  const otherwise = Duration.toMillis(
    Check.duration(`${where}({ after: { otherwise } })`, after.otherwise ?? defaults.after, "zero")
  )
  let samples = Internal.noSamples
  return {
    ...rest,
    delay: () => Internal.percentile(samples, percent, of) ?? otherwise,
    observe: (millis) => {
      samples = Internal.observe(samples, millis)
    },
    step: settings(`the ${percent}th percentile`)
  }
}

/** One way to ask. */
interface Way<A, E, R> {
  readonly ask: Effect.Effect<A, E, R>
  readonly target: TargetInfo | undefined
}

/** Tells the fiber of a try which one it is. */
const beside = (branch: Branch, extra: boolean): Gate => (fiber) => {
  const local = localOf(fiber)
  const { branch: outer, hedge } = local
  local.branch = branch
  local.hedge = extra || hedge
  return Exit.succeed((exit) => {
    local.branch = outer
    local.hedge = hedge
    return exit
  })
}

/** Runs the tries; `ways` has one for each, the last of which is repeated. */
const hedge = <A, E, R>(
  settings: Checked,
  ways: readonly [Way<A, E, R>, ...Array<Way<A, E, R>>],
  most: number,
  combine: (failures: ReadonlyArray<E>, last: E) => E
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime<A, E, R>((parent) => {
    const clock = Call.clockOf(parent)
    const outer = Context.getOption(parent.currentContext as Context.Context<Scope.Scope>, Scope.Scope)
    const limit = deadlineOf(parent)
    const wayOf = (number: number) => ways[number] ?? ways[ways.length - 1] ?? ways[0]

    return Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        interface Try {
          readonly fiber: Fiber.RuntimeFiber<A, E>
          readonly scope: Scope.CloseableScope | undefined
          readonly branch: Branch
        }
        const tries = new Map<number, Try>()
        const failures: Array<E> = []
        const startedAt = clock.unsafeCurrentTimeMillis()
        let race = Internal.race(most)
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
              const run = through([beside(branch, number > 0)], scoped, undefined)
              return Effect.flatMap(Effect.forkDaemon(Effect.interruptible(run)), (fiber) =>
                Effect.zipRight(
                  Effect.sync(() => {
                    tries.set(number, { fiber, scope, branch })
                    fiber.addObserver((exit) => tell({ try: number, exit }))
                  }),
                  arm
                ))
            }
          )

        /** Closes what a try that did not win has opened. */
        const discard = ({ branch, scope }: Try, exit: Exit.Exit<unknown, unknown>) => {
          if (Exit.isSuccess(exit)) Call.live(parent)?.lose(branch)
          return scope === undefined ? Effect.void : Scope.close(scope, exit)
        }

        /** Interrupts all that still run, and waits until they have let go. */
        const leave = Effect.suspend(() => {
          cancel()
          const others = [...tries.values()]
          tries.clear()
          for (const { fiber } of others) fiber.unsafeInterruptAsFork(parent.id())
          return Effect.forEach(
            others,
            (one) => Effect.flatMap(Fiber.await(one.fiber), (exit) => Effect.as(discard(one, exit), exit))
          )
        })

        /** Ends the race, and loses no defect of those that were interrupted. */
        const end = (exit: Exit.Exit<A, E>): Effect.Effect<A, E> =>
          Effect.flatMap(leave, (exits) => {
            const lost = defectsIn(exits)
            if (Cause.isEmpty(lost)) return exit
            return Exit.isFailure(exit)
              ? Exit.failCause(Cause.parallel(exit.cause, lost))
              : Effect.as(Effect.logDebug("a try beside the one that has answered died", lost), exit.value)
          })

        const allowed = (number: number, last: E | undefined): Effect.Effect<boolean> => {
          if (limit !== undefined && clock.unsafeCurrentTimeMillis() >= limit.at) return Effect.succeed(false)
          const pace = LlmError.is(last) ? settings.classify(last).pace : undefined
          return Budget.withdraw(parent, "hedge", wayOf(number).target, pace)
        }

        const follow = (next: Internal.Next, last: E | undefined): Effect.Effect<A, E, R> => {
          switch (next) {
            case "wait":
              return listen
            case "fail":
              return last === undefined ? listen : end(Exit.fail(combine(failures, last)))
            case "start": {
              const number = race.started - 1
              return Effect.flatMap(allowed(number, last), (ok) => {
                if (ok) return Effect.zipRight(start(number), listen)
                const [after, state] = Internal.step(race, { _tag: "Refused" })
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
              const then = LlmError.is(failure.value)
                ? Internal.verdict(settings.classify, failure.value, elsewhere)
                : "another"
              const [next, state] = Internal.step(race, { _tag: "Failed", try: number, then })
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
          const [next, state] = Internal.step(race, { _tag: "Waited" })
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

/**
 * Asks the same target again when it has not answered in time, and at once when it has failed in a way worth another
 * try. The first answer counts, of a stream its first output; the others are interrupted, and are waited for until they
 * have let go of their connections, before the answer is given.
 *
 * It never asks twice where the request is not idempotent, and starts no try that the budgets around it do not pay for,
 * or that would start at the deadline of the call or past it. When all tries fail, the failure is the last one's; one
 * that is not worth another try ends the others. Interrupting it interrupts all tries. By hand it cannot see whether an
 * effect may run twice at once: put it only around one that may.
 *
 * @example
 * ```ts
 * import { Hedge, LlmProvider } from "perdure"
 *
 * const hedged = LlmProvider.withPolicy(Hedge.make({ after: { percentile: 95, otherwise: "2 seconds" } }))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Policy.Policy => {
  const settings = check(options, "Hedge.make", defaults.most)
  const around: Pipeline.Apply = (self, subject) =>
    settings.most === 1 || subject?.request.idempotent === false
      ? self
      : hedge(settings, [{ ask: self, target: subject?.target }], settings.most, (_, last) => last)
  return Pipeline.policy([settings.step], [Pipeline.gate(Call.track), Pipeline.around(around)])
}

/**
 * A provider that asks the first of the given ones, and each time that it waits too long or one fails, the next as well.
 * The first answer counts. It behaves as {@link make} does, except that each try goes to a target of its own, and that
 * the failure holds those of all tries in order when there were several.
 *
 * @since 0.1.0
 * @category constructors
 */
export const services = (services: readonly [Service, ...Array<Service>], options: Options = {}): Service => {
  const settings = check(options, "Hedge.services", services.length)
  const [first, ...rest] = services
  const most = Math.min(settings.most, services.length)
  const combine = (failures: ReadonlyArray<LlmError.LlmError>, last: LlmError.LlmError): LlmError.LlmError =>
    failures.length < 2 ? last : failures.slice(1).reduce((all, one) => LlmError.both(all, one), failures[0] ?? last)
  const run = <A, R>(idempotent: boolean, ask: (raw: Raw) => Effect.Effect<A, LlmError.LlmError, R>) => {
    const way = (service: Service) => ({ ask: ask(rawOf(service)), target: targetsOf(service)[0] })
    if (!idempotent || most === 1) return ask(rawOf(first))
    return hedge(settings, [way(first), ...rest.map(way)], most, combine)
  }
  return fromRaw({
    generate: (request) => run(request.idempotent, (raw) => raw.generate(request)),
    open: (request) => run(request.idempotent, (raw) => raw.open(request))
  }, [...targetsOf(first), ...rest.flatMap(targetsOf)])
}
