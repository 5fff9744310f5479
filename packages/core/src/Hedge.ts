/**
 * A hedge asks again while the first request is still under way, and takes the answer that comes first: it cuts the slow
 * tail of latencies for a few more requests.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Disposition from "./Disposition.ts"
import * as Call from "./internal/call.ts"
import * as Internal from "./internal/hedge.ts"
import * as Pipeline from "./internal/pipeline.ts"
import { fromRaw, type Raw, rawOf, targetsOf } from "./internal/provider.ts"
import * as Race from "./internal/race.ts"
import * as LlmError from "./LlmError.ts"
import type { Service } from "./LlmProvider.ts"
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
   * What failures deserve: one that is worth another try starts it at once, one that nothing
   * can mend ends the race, any other waits for the tries under way.
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

interface Checked extends Race.Settings {
  readonly most: number
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

/**
 * Asks the same target again when it has not answered in time, and at once when it has failed in a way worth another
 * try. The first answer counts, of a stream its first output; the others are interrupted, and are waited for until they
 * have let go of their connections, before the answer is given.
 *
 * It never asks twice where the request is not idempotent, and starts no try that the budgets around it do not pay for,
 * or that would start at the deadline of the call or past it. When all tries fail, the failure is the last one's; one
 * that no other try can mend, such as a bad request, ends the others, and so does a defect. Interrupting it interrupts all tries. By hand it cannot see whether an
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
      : Race.run(settings, [{ ask: self, target: subject?.target }], settings.most, (_, last) => last)
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
    const way = (service: Service) => ({
      ask: Effect.suspend(() => ask(rawOf(service))),
      target: targetsOf(service)[0]
    })
    if (!idempotent || most === 1) return ask(rawOf(first))
    return Race.run(settings, [way(first), ...rest.map(way)], most, combine)
  }
  return fromRaw({
    generate: (request) => run(request.idempotent, (raw) => raw.generate(request)),
    open: (request) => run(request.idempotent, (raw) => raw.open(request))
  }, [...targetsOf(first), ...rest.flatMap(targetsOf)])
}
