/**
 * One target under several keys: keys that do not work are left out for a while, and keys that share a quota share its
 * limits.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Disposition from "./Disposition.ts"
import { asking } from "./internal/asking.ts"
import { type Settled, tellBenched } from "./internal/benching.ts"
import { live, targetKey } from "./internal/call.ts"
import { nowOf } from "./internal/clock.ts"
import { collect } from "./internal/collect.ts"
import type { AnyFiber } from "./internal/gate.ts"
import * as Keys from "./internal/keys.ts"
import type { Ended } from "./internal/opened.ts"
import { type Kind, Pace, Timed } from "./internal/pace.ts"
import { fromRaw, isGuess, planOf, type Raw, rawOf, targetsOf } from "./internal/provider.ts"
import { refuse } from "./internal/refuse.ts"
import * as Remembered from "./internal/remembered.ts"
import * as Selection from "./internal/selection.ts"
import { both, type LlmError, NoHealthyKey, refusal } from "./LlmError.ts"
import { LlmProvider, type Service } from "./LlmProvider.ts"
import * as Check from "./Options.ts"
import type { Service as Memory } from "./PolicyMemory.ts"

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
   * Its share in the order `"weighted"`; 0 is asked after all others. At least one key has a weight above 0.
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
 * Which healthy key is asked first.
 *
 * - `roundRobin`: each in turn.
 * - `weighted`: at random, each one's chance to be the next in proportion to its weight.
 * - `leastInFlight`: the one with the fewest requests under way.
 * - `fastest`: the one that usually answers soonest, by a moving average of its answers of the last minute (of a stream, of
 *   its first output). One of which nothing is known is asked before the others, by one call at a time.
 *
 * @since 0.1.0
 * @category models
 */
export type Order = "roundRobin" | "weighted" | "leastInFlight" | "fastest"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The order of the healthy keys.
   * @default "roundRobin"
   */
  readonly order?: Order | undefined
  /**
   * How long a key that is not accepted or has not the model, or a quota that is used up, is left out. After that one call tries it; when that
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
  /**
   * Whose keys these are, in a `PolicyMemory`: pools of the same name and target share what they know of each label and
   * each domain.
   * @default "default"
   */
  readonly name?: string | undefined
  /**
   * The `PolicyMemory` to keep in what it knows of its keys: their health, how long they take, and what is under way.
   * @default for a layer the one that it finds, else none: a memory of its own
   */
  readonly memory?: Memory | undefined
}

/**
 * What a pool knows of a key.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeyStatus {
  readonly label: string
  /** Whether it is asked, is `due` to be tried out by one call, or is left out, for itself or with its domain. */
  readonly health: "healthy" | "due" | "unhealthy"
  /** The time until it is tried out or asked; only while `unhealthy`. */
  readonly retryAfter?: Duration.Duration | undefined
  /** How many requests are under way; a stream is until it ends. */
  readonly inFlight: number
  /** How long a complete answer usually takes, where one came in the last minute. */
  readonly answer?: Duration.Duration | undefined
  /** How long the first output of a stream usually takes, where one came in the last minute. */
  readonly firstOutput?: Duration.Duration | undefined
}

/**
 * A pool of keys: a provider, and what can be asked of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Pool extends Service {
  /** What is known of the keys, in the order given. */
  readonly state: Effect.Effect<ReadonlyArray<KeyStatus>>
  /**
   * Replaces all options but the name and the memory, with defaults for those not given. What is known of the keys is
   * kept: who is left out stays so for as long as was said. Requests under way end by the options that they began with.
   */
  readonly reconfigure: (options: Options) => Effect.Effect<void>
}

/**
 * @since 0.1.0
 * @category tags
 */
export class KeyPool extends Context.Tag("perdure/KeyPool")<KeyPool, Pool>() {}

/**
 * How long a key is benched by default. 30 s is how long the gateway of the AICredits article on retries (3
 * April 2026) skips an unhealthy key.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaults = { benchedFor: Duration.seconds(30) } as const

interface Checked extends Keys.Settings {
  readonly order: Order
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
  const weights = keys.map(({ weight = 1 }) => weight)
  Check.check(
    "KeyPool.make([{ weight }])",
    weights,
    weights.some((weight) => weight > 0),
    "at least one weight above 0"
  )
  const { classify = Disposition.classify, lastResort = "none", order = "roundRobin" } = options
  const benchedFor = Check.duration("KeyPool.make({ benchedFor })", options.benchedFor ?? defaults.benchedFor)
  return {
    order: Check.literal("KeyPool.make({ order })", order, ["roundRobin", "weighted", "leastInFlight", "fastest"]),
    lastResort: Check.literal("KeyPool.make({ lastResort })", lastResort, ["soonest", "none"]),
    benchedFor: Duration.toMillis(benchedFor),
    classify
  }
}

/** The options in words. */
const words = ({ benchedFor, lastResort, order }: Checked): string =>
  [
    order,
    `benched for ${Duration.format(Duration.millis(benchedFor))}`,
    ...lastResort === "soonest" ? ["last resort soonest"] : []
  ].join(", ")

interface Slot {
  readonly label: string
  readonly domain: string
  readonly weight: number
  readonly raw: Raw
  readonly pace: Pace
}

/** What pools of one name and target share. */
class Known {
  pool = Keys.empty
  /** How many calls there were. */
  turn = 0
  private readonly paces = new Map<string, Pace>()

  paceOf(label: string): Pace {
    const pace = this.paces.get(label) ?? new Pace()
    this.paces.set(label, pace)
    return pace
  }
}

const memoryOf = new Remembered.Kind(() => new Known())

/** Tells what the end of a request has changed. */
type Tell = (settled: Settled, now: number) => void

/** A request with a key. */
class Trial extends Timed {
  private readonly known: Known
  private readonly settings: Checked
  private readonly slot: Slot
  private readonly ticket: Keys.Ticket
  private readonly tell: Tell

  constructor(known: Known, settings: Checked, slot: Slot, kind: Kind, startedAt: number, tell: Tell) {
    super(slot.pace, kind, startedAt)
    const [ticket, asked] = Keys.ask(settings, known.pool, slot, startedAt)
    known.pool = asked
    this.known = known
    this.settings = settings
    this.slot = slot
    this.ticket = ticket
    this.tell = tell
  }

  override answered(now: number): void {
    super.answered(now)
    this.settle({ _tag: "Answered" }, now)
  }

  override ended(ended: Ended, now: number): void {
    super.ended(ended, now)
    const before = this.known.pool
    this.settle(Keys.eventOf(ended, this.settings.classify), now)
    this.tell({ before, after: this.known.pool, ended }, now)
  }

  private settle(event: Keys.Event, now: number): void {
    const { known, settings, slot, ticket } = this
    known.pool = Keys.settle(settings, known.pool, slot, ticket, event, now)
  }
}

/**
 * A provider that asks one target under one of several keys, each healthy key at most once a call.
 *
 * A key that is not accepted (401, 403) is left out for `benchedFor`; the call goes on with the next one. So it does when
 * the model is not there (404), and the key is left out only once another one has been answered. A used-up quota
 * leaves out all keys of its domain for as long, a rate limit with a `Retry-After` until then; the call goes on with a key
 * of another domain. Failures of the provider, 5xx and timeouts, are no key's fault: they end the call as they are. When
 * several keys have failed, the failure is `AllTargetsFailed` with each in order; when none may be asked, `NoHealthyKey`.
 *
 * For a stream the first output says that the key works; a failure later is judged as any other. Interrupting a call asks
 * no other key, and one that was trying a key out leaves that to the next call. The health of keys is kept in the value, or
 * in a `PolicyMemory`.
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
export const make = (keys: readonly [Key, ...Array<Key>], options: Options = {}): Pool => {
  let settings = check(keys, options)
  const targets = targetsOf(keys[0].service)
  const [{ model, provider }] = targets
  const name = Check.text("KeyPool.make({ name })", options.name ?? "default")
  const known = Remembered.at(options.memory, memoryOf, `${name}/${targetKey(targets[0])}`)
  const slots: ReadonlyArray<Slot> = keys.map(({ domain, label, service, weight = 1 }) => ({
    label,
    // A domain of its own must not have the name of another's.
    domain: domain === undefined ? `key ${label}` : `domain ${domain}`,
    weight,
    raw: rawOf(service),
    pace: known.paceOf(label)
  }))

  /** The keys in the order in which this call asks them. */
  const inOrder = ({ order }: Checked, kind: Kind, u: number, now: number): ReadonlyArray<Slot> => {
    const start = known.turn % slots.length
    known.turn = start + 1
    const facts = () => slots.map(({ pace, weight }) => pace.facts(weight, kind, now))
    return indexes(order, start, u, facts).flatMap((i) => slots[i] ?? [])
  }

  const indexes = (
    order: Order,
    start: number,
    u: number,
    facts: () => ReadonlyArray<Selection.Facts>
  ): ReadonlyArray<number> => {
    switch (order) {
      case "roundRobin":
        return Selection.rotated(slots.length, start)
      case "weighted":
        return Selection.byWeight(facts(), u)
      case "leastInFlight":
        return Selection.byInFlight(facts(), start)
      case "fastest":
        return Selection.byLatency(facts())
    }
  }

  /** Asks with one key. */
  const use = <A, R>(fiber: AnyFiber, slot: Slot, kind: Kind, ask: Ask<A, R>, settings: Checked) =>
    asking(ask(slot.raw), { key: slot.label }, (now) => {
      // A stream ends when the fiber has left the call.
      const call = live(fiber)
      const tell: Tell = (settled, now) => tellBenched(call, { provider, model }, slots, settled, now)
      return new Trial(known, settings, slot, kind, now, tell)
    })

  const round = <A, R>(
    fiber: AnyFiber,
    rest: ReadonlyArray<Slot>,
    kind: Kind,
    ask: Ask<A, R>,
    settings: Checked,
    before: LlmError | undefined
  ): Effect.Effect<A, LlmError, R> => {
    const now = nowOf(fiber)
    const slot = rest.find((slot) => Keys.backAt(known.pool, slot, now) <= now)
    if (slot === undefined) {
      return before === undefined
        ? none(fiber, rest, kind, ask, settings, now)
        : Effect.fail(before)
    }
    return Effect.catchAll(use(fiber, slot, kind, ask, settings), (failure) => {
      const all = before === undefined ? failure : both(before, failure)
      const { domainToo, lacks, next } = Keys.after(settings.classify(failure))
      if (!next) return Effect.fail(all)
      const left = rest.filter((other) => other !== slot && !(domainToo && other.domain === slot.domain))
      const others = round(fiber, left, kind, ask, settings, all)
      return lacks
        ? Effect.map(others, (answer) => {
          const before = known.pool
          const now = nowOf(fiber)
          known.pool = Keys.lack(settings, before, slot, now)
          const ended = { _tag: "Failed", error: failure, usage: undefined } as const
          tellBenched(live(fiber), { provider, model }, slots, { before, after: known.pool, ended }, now)
          return answer
        })
        : others
    })
  }

  /** No key may be asked. */
  const none = <A, R>(
    fiber: AnyFiber,
    rest: ReadonlyArray<Slot>,
    kind: Kind,
    ask: Ask<A, R>,
    settings: Checked,
    now: number
  ): Effect.Effect<A, LlmError, R> => {
    const [first, ...others] = rest
    if (first === undefined) return Effect.dieMessage("a pool has at least one key")
    const backAt = (slot: Slot) => Keys.backAt(known.pool, slot, now)
    const soonest = others.reduce((best, slot) => backAt(slot) < backAt(best) ? slot : best, first)
    if (settings.lastResort === "soonest") return use(fiber, soonest, kind, ask, settings)
    const retryAfter = Duration.millis(backAt(soonest) - now)
    return refuse(fiber, refusal(NoHealthyKey, { provider, model, keys: slots.length, retryAfter }))
  }

  const run = <A, R>(kind: Kind, ask: Ask<A, R>): Effect.Effect<A, LlmError, R> =>
    Effect.withFiberRuntime<A, LlmError, R>((fiber) => {
      // A call ends by the options that it began with.
      const own = settings
      const begin = (u: number) => round(fiber, inOrder(own, kind, u, nowOf(fiber)), kind, ask, own, undefined)
      return own.order === "weighted" ? Effect.flatMap(Random.next, begin) : begin(0)
    })

  return Object.assign(
    fromRaw(
      {
        generate: (request) => run("generate", (raw) => raw.generate(request)),
        open: (request) => run<Opened, Scope.Scope>("open", (raw) => raw.open(request))
      },
      targets,
      () => isGuess(keys[0].service),
      {
        _tag: "Choice",
        step: () => ({ name: "key pool", settings: words(settings) }),
        among: keys.map(({ label, service }) => ({ label, plan: planOf(service) }))
      }
    ),
    {
      state: Effect.withFiberRuntime<ReadonlyArray<KeyStatus>>((fiber) => {
        const now = nowOf(fiber)
        return Effect.succeed(slots.map((slot) => ({
          label: slot.label,
          ...Keys.status(known.pool, slot, now),
          ...slot.pace.status(now)
        })))
      }),
      reconfigure: (options: Options) => {
        const checked = check(keys, options)
        return Effect.sync(() => {
          settings = checked
        })
      }
    }
  )
}

type Opened = Effect.Effect.Success<ReturnType<Raw["open"]>>

type Ask<A, R> = (raw: Raw) => Effect.Effect<A, LlmError, R>

/**
 * {@link make} over layers, one for each key. The pool is there as the provider, and under the tag {@link KeyPool} for what
 * else can be asked of it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <E = never, R = never>(
  keys: readonly [KeyLayer<E, R>, ...Array<KeyLayer<E, R>>],
  options: Options = {}
): Layer.Layer<LlmProvider | KeyPool, E, R> => {
  check(keys, options)
  return collect(keys.map(({ layer }) => layer), (services, found) => {
    const [first, ...others] = keys.map(({ domain, label, weight }, i) => ({
      label,
      domain,
      weight,
      service: services[i]!
    }))
    const pool = make([first!, ...others], { ...options, memory: options.memory ?? found })
    return Context.add(Context.make(LlmProvider, pool), KeyPool, pool)
  })
}
