/** The health of the keys of a pool and of the quota domains they draw from: `(state, event, now) => state`. */
import * as Duration from "effect/Duration"
import type { Classifier, Disposition } from "../Disposition.ts"
import { is } from "../LlmError.ts"
import * as Health from "./health.ts"
import type { Ended } from "./opened.ts"

export interface Settings {
  /** In milliseconds. */
  readonly benchedFor: number
}

export interface Domain {
  readonly health: Health.Health
  /** Until when the provider has said that it takes no more; 0 when it has not. */
  readonly limitedUntil: number
}

/** Keys and domains by name; those of which nothing is known are well. Plain data, so that it can be kept anywhere. */
export interface Pool {
  readonly keys: Readonly<Record<string, Health.Health>>
  readonly domains: Readonly<Record<string, Domain>>
}

export const empty: Pool = { keys: {}, domains: {} }

export interface Key {
  readonly label: string
  readonly domain: string
}

const well: Domain = { health: Health.healthy, limitedUntil: 0 }

// Labels are anybody's words, `constructor` among them.
const of = <A>(all: Readonly<Record<string, A>>, name: string): A | undefined =>
  Object.hasOwn(all, name) ? all[name] : undefined

const keyOf = (self: Pool, { label }: Key): Health.Health => of(self.keys, label) ?? Health.healthy

const domainOf = (self: Pool, { domain }: Key): Domain => of(self.domains, domain) ?? well

/** How a key stands, with its domain. */
export const status = (self: Pool, key: Key, now: number): Health.Status => {
  const { health, limitedUntil } = domainOf(self, key)
  const untils = [keyOf(self, key).until, health.until, limitedUntil > now ? limitedUntil : undefined]
  const known = untils.filter((until) => until !== undefined)
  return Health.status(known.length === 0 ? undefined : Math.max(...known), now)
}

/** From when on a key may be asked; that is now or earlier when it may. */
export const backAt = (self: Pool, key: Key, now: number): number => {
  const { health, limitedUntil } = domainOf(self, key)
  return Math.max(keyOf(self, key).until ?? now, health.until ?? now, limitedUntil)
}

export interface Ticket {
  readonly key: Health.Ticket
  readonly domain: Health.Ticket
}

const change = (self: Pool, key: Key, health: Health.Health, domain: Domain): Pool => {
  const before = domainOf(self, key)
  const isDomainSame = before.health === domain.health && before.limitedUntil === domain.limitedUntil
  if (isDomainSame && health === keyOf(self, key)) return self
  return {
    keys: { ...self.keys, [key.label]: health },
    domains: isDomainSame ? self.domains : { ...self.domains, [key.domain]: domain }
  }
}

const rules = ({ benchedFor }: Settings): Health.Settings => ({ after: 1, benchedFor })

/** A key is asked. One that comes back, or whose domain does, is tried out with that. */
export const ask = (settings: Settings, self: Pool, key: Key, now: number): readonly [Ticket, Pool] => {
  const domain = domainOf(self, key)
  const [keyTicket, health] = Health.ask(rules(settings), keyOf(self, key), now)
  const [domainTicket, domainHealth] = Health.ask(rules(settings), domain.health, now)
  return [{ key: keyTicket, domain: domainTicket }, change(self, key, health, { ...domain, health: domainHealth })]
}

/** How a call ended; times in milliseconds. */
export type Event =
  | { readonly _tag: "Answered" }
  /** The key is not accepted. */
  | { readonly _tag: "KeyRefused" }
  /** Too much for now, and until when, where the provider said it. */
  | { readonly _tag: "Limited"; readonly wait: number }
  | { readonly _tag: "Exhausted"; readonly wait: number }
  /** It says nothing about the key. */
  | { readonly _tag: "Nothing" }

export const eventOf = (ended: Ended, classify: Classifier): Event => {
  if (ended._tag === "Answered" || (ended._tag === "Interrupted" && ended.streamed)) return { _tag: "Answered" }
  if (ended._tag !== "Failed" || !is(ended.error)) return { _tag: "Nothing" }
  const { blame, pace } = classify(ended.error)
  const { retryAfter } = ended.error
  const wait = retryAfter === undefined || !Duration.isFinite(retryAfter) ? 0 : Duration.toMillis(retryAfter)
  // A quota for which no wait has a pace is one that waiting does not fill.
  if (blame === "quota") return { _tag: pace === undefined ? "Exhausted" : "Limited", wait }
  return blame === "key" ? { _tag: "KeyRefused" } : { _tag: "Nothing" }
}

/** A call with a key has ended. */
export const settle = (
  settings: Settings,
  self: Pool,
  key: Key,
  ticket: Ticket,
  event: Event,
  now: number
): Pool => {
  const domain = domainOf(self, key)
  const toKey: Health.Event = event._tag === "Answered"
    ? "answered"
    : event._tag === "KeyRefused"
    ? "failedForGood"
    : "nothing"
  const toDomain: Health.Event = event._tag === "Answered"
    ? "answered"
    : event._tag === "Exhausted"
    ? "failedForGood"
    : "nothing"
  const wait = "wait" in event ? event.wait : 0
  return change(
    self,
    key,
    Health.settle(rules(settings), keyOf(self, key), ticket.key, toKey, now),
    {
      health: Health.settle(rules(settings), domain.health, ticket.domain, toDomain, now, wait),
      // The provider's word holds, whichever call brings it; a shorter one does not take back a longer one.
      limitedUntil: event._tag === "Limited" && wait > 0
        ? Math.max(domain.limitedUntil, now + wait)
        : domain.limitedUntil
    }
  )
}

/** A key has not what another one has, so it is left out as one that is not accepted. */
export const lack = (settings: Settings, self: Pool, key: Key, now: number): Pool =>
  change(self, key, Health.bench(rules(settings), keyOf(self, key), now), domainOf(self, key))

/** What becomes of a call after a failure. */
export interface After {
  /** Whether another key is worth asking. */
  readonly next: boolean
  /** Whether none of the same domain is. */
  readonly domainToo: boolean
  /** Whether the key is to blame if another one is answered. */
  readonly lacks: boolean
}

export const after = ({ blame, next }: Disposition): After => {
  // Other keys may have access to the model, as those of another project.
  const lacks = blame === "model" && next === "elsewhereOnly"
  return {
    next: blame === "key" || blame === "quota"
      ? next === "here" || next === "elsewhereFirst" || next === "elsewhereOnly"
      // Or kept back on this side by a policy around this key alone.
      : lacks || (blame === "none" && next === "elsewhereFirst"),
    domainToo: blame === "quota",
    lacks
  }
}
