/**
 * One target under several keys: keys that do not work are left out for a while, and keys that share a quota share its
 * limits.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Disposition from "./Disposition.ts"
import { asking } from "./internal/asking.ts"
import { tellBenched } from "./internal/benching.ts"
import { live } from "./internal/call.ts"
import { nowOf } from "./internal/clock.ts"
import { collect } from "./internal/collect.ts"
import type { AnyFiber } from "./internal/gate.ts"
import * as Keys from "./internal/keys.ts"
import { fromRaw, type Raw, rawOf, targetsOf } from "./internal/provider.ts"
import { refuse } from "./internal/refuse.ts"
import * as Selection from "./internal/selection.ts"
import { both, type LlmError, NoHealthyKey, refusal } from "./LlmError.ts"
import type { LlmProvider, Service } from "./LlmProvider.ts"
import * as Check from "./Options.ts"

/**
 * What is known of a key besides the service that uses it.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeyInfo {
  /** What the key is called in receipts. Never the key itself, nor a part of it. */
  readonly label: string
  /**
   * The quota that it draws from, for example an organisation: keys with the same one share rate limits.
   * @default one of its own
   */
  readonly domain?: string | undefined
  /**
   * Its share in the order `"weighted"`; 0 is asked after all others.
   * @default 1
   */
  readonly weight?: number | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Key extends KeyInfo {
  /** The target under this key. */
  readonly service: Service
}

/**
 * @since 0.1.0
 * @category models
 */
export interface KeyLayer<out E = never, out R = never> extends KeyInfo {
  /** The target under this key. */
  readonly layer: Layer.Layer<LlmProvider, E, R>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Which key is asked first: each in turn, at random by weight, or the one with the fewest requests under way.
   * @default "roundRobin"
   */
  readonly order?: "roundRobin" | "weighted" | "leastInFlight" | undefined
  /**
   * How long a key that is not accepted, or a quota that is used up, is left out. After that one call tries it; when that
   * is answered, so do all.
   * @default 30 seconds
   */
  readonly benchedFor?: Duration.DurationInput | undefined
  /**
   * When no key is healthy: `"none"` fails with `NoHealthyKey`, `"soonest"` asks the one that is back first all the same.
   * @default "none"
   */
  readonly lastResort?: "soonest" | "none" | undefined
  /**
   * What failures say about keys and quotas.
   * @default Disposition.classify
   */
  readonly classify?: Disposition.Classifier | undefined
}

/**
 * How long a key is benched by default. 30 s is how long the gateway of the AICredits article on retries (3
 * April 2026) skips an unhealthy key.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaults = { benchedFor: Duration.seconds(30) } as const

interface Checked extends Keys.Settings {
  readonly order: "roundRobin" | "weighted" | "leastInFlight"
  readonly lastResort: "soonest" | "none"
  readonly classify: Disposition.Classifier
}

const check = (keys: ReadonlyArray<KeyInfo>, options: Options): Checked => {
  const labels = new Set<string>()
  for (const { domain, label, weight } of keys) {
    Check.text("KeyPool.make([{ label }])", label)
    Check.check("KeyPool.make([{ label }])", label, !labels.has(label), "a label that no other key has")
    labels.add(label)
    if (domain !== undefined) Check.text("KeyPool.make([{ domain }])", domain)
    if (weight !== undefined) Check.number("KeyPool.make([{ weight }])", weight, 0)
  }
  Check.check("KeyPool.make(keys)", keys.length, keys.length > 0, "at least one key")
  const { classify = Disposition.classify, lastResort = "none", order = "roundRobin" } = options
  const benchedFor = Check.duration("KeyPool.make({ benchedFor })", options.benchedFor ?? defaults.benchedFor)
  return {
    order: Check.literal("KeyPool.make({ order })", order, ["roundRobin", "weighted", "leastInFlight"]),
    lastResort: Check.literal("KeyPool.make({ lastResort })", lastResort, ["soonest", "none"]),
    benchedFor: Duration.toMillis(benchedFor),
    classify
  }
}

interface Slot {
  readonly label: string
  readonly domain: string
  readonly weight: number
  readonly raw: Raw
  inFlight: number
}

/**
 * A provider that asks one target under one of several keys, each healthy key at most once a call.
 *
 * A key that is not accepted (401, 403) is left out for `benchedFor`; the call goes on with the next one. A used-up quota
 * leaves out all keys of its domain for as long, a rate limit with a `Retry-After` until then; the call goes on with a key
 * of another domain. Failures of the provider, 5xx and timeouts, are no key's fault: they end the call as they are. When
 * several keys have failed, the failure is `AllTargetsFailed` with each in order; when none may be asked, `NoHealthyKey`.
 *
 * For a stream the first output says that the key works; a failure later is judged as any other. Interrupting a call asks
 * no other key, and one that was trying a key out leaves that to the next call. The health of keys is kept in the value.
 *
 * @example
 * ```ts
 * import { KeyPool, type LlmProvider } from "perdure"
 *
 * declare const withKey: (name: string) => LlmProvider.Service
 *
 * const pool = KeyPool.make([
 *   { label: "team-a", service: withKey("OPENAI_KEY_A"), domain: "org-1" },
 *   { label: "team-b", service: withKey("OPENAI_KEY_B"), domain: "org-2" }
 * ])
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (keys: readonly [Key, ...Array<Key>], options: Options = {}): Service => {
  const settings = check(keys, options)
  const targets = targetsOf(keys[0].service)
  const [{ model, provider }] = targets
  const slots: ReadonlyArray<Slot> = keys.map(({ domain, label, service, weight = 1 }) => ({
    label,
    // A domain of its own must not have the name of another's.
    domain: domain === undefined ? `key ${label}` : `domain ${domain}`,
    weight,
    raw: rawOf(service),
    inFlight: 0
  }))
  let pool = Keys.empty
  let turn = 0

  /** The keys in the order in which this call asks them. */
  const inOrder = (u: number): ReadonlyArray<Slot> => {
    const start = turn
    turn = (turn + 1) % slots.length
    const facts = () => slots.map(({ inFlight, weight }) => ({ inFlight, weight, usual: undefined }))
    const indexes = settings.order === "roundRobin"
      ? Selection.rotated(slots.length, start)
      : settings.order === "weighted"
      ? Selection.byWeight(facts(), u)
      : Selection.byInFlight(facts(), start)
    return indexes.flatMap((i) => slots[i] ?? [])
  }

  /** Asks with one key. */
  const use = <A, R>(fiber: AnyFiber, slot: Slot, ask: Ask<A, R>) =>
    asking(ask(slot.raw), { key: slot.label }, (now) => {
      const call = live(fiber)
      const [ticket, asked] = Keys.ask(settings, pool, slot, now)
      pool = asked
      slot.inFlight += 1
      return {
        answered: (now) => {
          pool = Keys.settle(settings, pool, slot, ticket, { _tag: "Answered" }, now)
        },
        ended: (ended, now) => {
          slot.inFlight -= 1
          const before = pool
          pool = Keys.settle(settings, pool, slot, ticket, Keys.eventOf(ended, settings.classify), now)
          tellBenched(call, { provider, model }, slots, { before, after: pool, ended }, now)
        }
      }
    })

  const round = <A, R>(
    fiber: AnyFiber,
    rest: ReadonlyArray<Slot>,
    ask: Ask<A, R>,
    before: LlmError | undefined
  ): Effect.Effect<A, LlmError, R> => {
    const now = nowOf(fiber)
    const slot = rest.find((slot) => Keys.backAt(pool, slot, now) <= now)
    if (slot === undefined) return before === undefined ? none(fiber, rest, ask, now) : Effect.fail(before)
    return Effect.catchAll(use(fiber, slot, ask), (failure) => {
      const all = before === undefined ? failure : both(before, failure)
      const { domainToo, next } = Keys.after(settings.classify(failure))
      return next
        ? round(
          fiber,
          rest.filter((other) => other !== slot && !(domainToo && other.domain === slot.domain)),
          ask,
          all
        )
        : Effect.fail(all)
    })
  }

  /** No key may be asked. */
  const none = <A, R>(
    fiber: AnyFiber,
    rest: ReadonlyArray<Slot>,
    ask: Ask<A, R>,
    now: number
  ): Effect.Effect<A, LlmError, R> => {
    const [first, ...others] = rest
    if (first === undefined) return Effect.dieMessage("a pool has at least one key")
    const backAt = (slot: Slot) => Keys.backAt(pool, slot, now)
    const soonest = others.reduce((best, slot) => backAt(slot) < backAt(best) ? slot : best, first)
    if (settings.lastResort === "soonest") return use(fiber, soonest, ask)
    const retryAfter = Duration.millis(backAt(soonest) - now)
    return refuse(fiber, refusal(NoHealthyKey, { provider, model, keys: slots.length, retryAfter }))
  }

  const run = <A, R>(ask: Ask<A, R>): Effect.Effect<A, LlmError, R> => {
    const begin = (u: number) =>
      Effect.withFiberRuntime<A, LlmError, R>((fiber) => round(fiber, inOrder(u), ask, undefined))
    return settings.order === "weighted" ? Effect.flatMap(Random.next, begin) : begin(0)
  }

  return fromRaw(
    {
      generate: (request) => run((raw) => raw.generate(request)),
      open: (request) => run<Opened, Scope.Scope>((raw) => raw.open(request))
    },
    targets
  )
}

type Opened = Effect.Effect.Success<ReturnType<Raw["open"]>>

type Ask<A, R> = (raw: Raw) => Effect.Effect<A, LlmError, R>

/**
 * {@link make} over layers, one for each key.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <E = never, R = never>(
  keys: readonly [KeyLayer<E, R>, ...Array<KeyLayer<E, R>>],
  options: Options = {}
): Layer.Layer<LlmProvider, E, R> => {
  check(keys, options)
  return collect(keys.map(({ layer }) => layer), (services) => {
    const [first, ...others] = keys.map(({ domain, label, weight }, i) => ({
      label,
      domain,
      weight,
      service: services[i]!
    }))
    return make([first!, ...others], options)
  })
}
