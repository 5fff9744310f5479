import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import * as fc from "effect/FastCheck"
import { Disposition, LlmError } from "perdure"
import * as Keys from "../src/internal/keys.ts"
import { plain } from "./support/errors.ts"

const settings: Keys.Settings = { benchedFor: 30 }
const keys: ReadonlyArray<Keys.Key> = [
  { label: "a", domain: "one" },
  { label: "b", domain: "one" },
  { label: "c", domain: "two" },
  { label: "d", domain: "two" }
]
const keyAt = (i: number) => keys[i % keys.length] as Keys.Key

const longest = 70
const event: fc.Arbitrary<Keys.Event> = fc.oneof(
  fc.constantFrom<Keys.Event>({ _tag: "Answered" }, { _tag: "KeyRefused" }, { _tag: "Nothing" }),
  fc.record({ _tag: fc.constantFrom("Limited" as const, "Exhausted" as const), wait: fc.constantFrom(0, 10, longest) })
)

type Step =
  | { readonly _tag: "wait"; readonly millis: number }
  | { readonly _tag: "ask"; readonly key: number }
  | { readonly _tag: "lack"; readonly key: number }
  | { readonly _tag: "end"; readonly which: number; readonly event: Keys.Event }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ _tag: fc.constant("wait" as const), millis: fc.integer({ min: 0, max: 60 }) }) },
  { weight: 3, arbitrary: fc.record({ _tag: fc.constant("ask" as const), key: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("lack" as const), key: fc.nat(3) }) },
  { weight: 4, arbitrary: fc.record({ _tag: fc.constant("end" as const), which: fc.nat(1000), event }) }
)
const story = fc.array(step, { maxLength: 60, size: "max" })
const runs = { numRuns: 10_000 }

interface Call {
  readonly key: Keys.Key
  readonly ticket: Keys.Ticket
}

/** A model of one key, or of one domain: benched until, and the calls whose end still says something. */
class Bench {
  until = 0
  on = false
  valid = new Set<Call>()

  ask(call: Call, now: number): void {
    if (this.on && this.until <= now) {
      this.until = now + 30
      this.probe = call
      this.valid.clear()
    }
    this.valid.add(call)
  }

  probe: Call | undefined

  lack(now: number): void {
    if (this.on && this.until > now) return
    this.valid.clear()
    this.probe = undefined
    this.on = true
    this.until = now + 30
  }

  end(call: Call, how: "well" | "ill" | "nothing", now: number, wait: number): void {
    if (!this.valid.has(call)) return
    if (how === "nothing") {
      if (this.probe === call && this.on) this.until = Math.min(this.until, now)
      return
    }
    if (how === "well" && !this.on) return
    this.valid.clear()
    this.probe = undefined
    this.on = how === "ill"
    this.until = now + Math.max(30, wait)
  }

  backAt(now: number): number {
    return this.on ? this.until : now
  }
}

class Model {
  readonly keys = new Map(keys.map(({ label }) => [label, new Bench()]))
  readonly domains = new Map(["one", "two"].map((name) => [name, new Bench()]))
  readonly limits = new Map([["one", 0], ["two", 0]])

  private of({ domain, label }: Keys.Key): { readonly key: Bench; readonly domain: Bench } {
    return { key: this.keys.get(label) as Bench, domain: this.domains.get(domain) as Bench }
  }

  ask(call: Call, now: number): void {
    const { domain, key } = this.of(call.key)
    key.ask(call, now)
    domain.ask(call, now)
  }

  end(call: Call, event: Keys.Event, now: number): void {
    const { domain, key } = this.of(call.key)
    const isWell = event._tag === "Answered"
    key.end(call, isWell ? "well" : event._tag === "KeyRefused" ? "ill" : "nothing", now, 0)
    domain.end(
      call,
      isWell ? "well" : event._tag === "Exhausted" ? "ill" : "nothing",
      now,
      "wait" in event ? event.wait : 0
    )
    if (event._tag === "Limited" && event.wait > 0) {
      this.limits.set(call.key.domain, Math.max(this.limits.get(call.key.domain) ?? 0, now + event.wait))
    }
  }

  lack(key: Keys.Key, now: number): void {
    this.of(key).key.lack(now)
  }

  backAt(one: Keys.Key, now: number): number {
    const { domain, key } = this.of(one)
    return Math.max(key.backAt(now), domain.backAt(now), this.limits.get(one.domain) ?? 0)
  }
}

interface World {
  readonly pool: Keys.Pool
  readonly model: Model
  readonly now: number
}

/** Plays a story, and looks at the world after each step; whether it was right after all of them. */
const play = (
  steps: ReadonlyArray<Step>,
  see: (world: World, before: Keys.Pool, call: Call | undefined, asked: boolean) => boolean = () => true
) => {
  const model = new Model()
  const underWay: Array<Call> = []
  let pool = Keys.empty
  let now = 1_000
  let right = true
  for (const step of steps) {
    const before = pool
    let touched: Call | undefined
    if (step._tag === "wait") now += step.millis
    else if (step._tag === "lack") {
      pool = Keys.lack(settings, pool, keyAt(step.key), now)
      model.lack(keyAt(step.key), now)
    } else if (step._tag === "ask") {
      const key = keyAt(step.key)
      const [ticket, asked] = Keys.ask(settings, pool, key, now)
      pool = asked
      touched = { key, ticket }
      model.ask(touched, now)
      underWay.push(touched)
    } else {
      ;[touched] = underWay.splice(step.which % Math.max(1, underWay.length), 1)
      if (touched === undefined) continue
      pool = Keys.settle(settings, pool, touched.key, touched.ticket, step.event, now)
      model.end(touched, step.event, now)
    }
    right &&= see({ pool, model, now }, before, touched, step._tag === "ask")
  }
  return { pool, now, right }
}

const isHealthy = (pool: Keys.Pool, key: Keys.Key, now: number) => Keys.backAt(pool, key, now) <= now

describe("F5: the health of the keys of a pool", { timeout: 20_000 }, () => {
  it("is what a simple model says, whatever happens in whatever order", () => {
    fc.assert(
      fc.property(story, (steps) => {
        const { right } = play(
          steps,
          ({ model, now, pool }) =>
            keys.every((key) => Math.max(now, Keys.backAt(pool, key, now)) === Math.max(now, model.backAt(key, now)))
        )
        assert.isTrue(right)
      }),
      runs
    )
  })

  it("is told to people as it is", () => {
    fc.assert(
      fc.property(story, (steps) => {
        const { right } = play(
          steps,
          ({ now, pool }) =>
            keys.every((key) => {
              const { health, retryAfter } = Keys.status(pool, key, now)
              const back = Keys.backAt(pool, key, now)
              const [ticket] = Keys.ask(settings, pool, key, now)
              return back > now
                ? health === "unhealthy" && retryAfter !== undefined && Duration.toMillis(retryAfter) === back - now
                : retryAfter === undefined && health === (ticket.key.probe || ticket.domain.probe ? "due" : "healthy")
            })
        )
        assert.isTrue(right)
      }),
      runs
    )
  })

  it("one call at a time tries out a key, or a domain, until it has ended or has taken too long", () => {
    fc.assert(
      fc.property(story, (steps) => {
        const last = new Map<string, { readonly call: Call; readonly at: number }>()
        const { right } = play(steps, ({ now }, _, call, asked) => {
          if (call === undefined) return true
          return ([[call.key.label, call.ticket.key], [call.key.domain, call.ticket.domain]] as const)
            .every(([name, { probe }]) => {
              const before = last.get(name)
              if (!asked && before?.call === call) last.delete(name)
              if (asked && probe) last.set(name, { call, at: now })
              return !asked || !probe || before === undefined || now - before.at >= 30
            })
        })
        assert.isTrue(right)
      }),
      runs
    )
  })

  it("a call says nothing of keys of other domains, and of those of its own only that their quota is used up", () => {
    fc.assert(
      fc.property(story, (steps) => {
        const { right } = play(
          steps,
          ({ now, pool }, before, call) =>
            keys.every((other) =>
              call === undefined || other === call.key ||
              (pool.keys[other.label] === before.keys[other.label] &&
                (other.domain === call.key.domain || Keys.backAt(pool, other, now) === Keys.backAt(before, other, now)))
            )
        )
        assert.isTrue(right)
      }),
      runs
    )
  })

  it("never sticks: each key is back when the longest wait has passed, and one answer brings it back for all", () => {
    fc.assert(
      fc.property(story, (steps) => {
        const { now, pool } = play(steps)
        const later = now + longest
        const right = keys.every((key) => {
          const [ticket, asked] = Keys.ask(settings, pool, key, later)
          const well = Keys.settle(settings, asked, key, ticket, { _tag: "Answered" }, later)
          const [again] = Keys.ask(settings, well, key, later)
          return isHealthy(pool, key, later) && isHealthy(well, key, later) && !again.key.probe && !again.domain.probe
        })
        assert.isTrue(right)
      }),
      runs
    )
  })

  it("is the same after it was written down and read again, but for what is undefined", () => {
    fc.assert(fc.property(story, (steps) => {
      const { now, pool } = play(steps)
      const again: Keys.Pool = JSON.parse(JSON.stringify(pool))
      assert.isTrue(keys.every((key) => Keys.backAt(again, key, now) === Keys.backAt(pool, key, now)))
    }))
  })

  it("costs nothing where nothing changes", () => {
    const key = keyAt(0)
    const [ticket, asked] = Keys.ask(settings, Keys.empty, key, 0)
    assert.strictEqual(asked, Keys.empty)
    assert.strictEqual(Keys.settle(settings, asked, key, ticket, { _tag: "Answered" }, 5), Keys.empty)
  })
})

describe("F5: what an end says of a key", () => {
  const said = (error: LlmError.LlmError) =>
    Keys.eventOf({ _tag: "Failed", error, usage: undefined }, Disposition.classify)

  it("is for every failure what its row in the table says", () => {
    const refused = ["Unauthenticated", "PermissionDenied"]
    for (const error of Object.values(plain)) {
      const wait = error.retryAfter === undefined ? 0 : Duration.toMillis(error.retryAfter)
      assert.deepStrictEqual(
        said(error),
        error._tag === "RateLimited"
          ? { _tag: "Limited", wait }
          : error._tag === "QuotaExhausted"
          ? { _tag: "Exhausted", wait }
          : { _tag: refused.includes(error._tag) ? "KeyRefused" : "Nothing" },
        error._tag
      )
    }
  })

  it("is an answer where a stream had begun, and nothing where it was interrupted before, or broke", () => {
    const tag = (ended: Parameters<typeof Keys.eventOf>[0]) => Keys.eventOf(ended, Disposition.classify)._tag
    assert.strictEqual(tag({ _tag: "Answered", usage: undefined }), "Answered")
    assert.strictEqual(tag({ _tag: "Interrupted", streamed: true }), "Answered")
    assert.strictEqual(tag({ _tag: "Interrupted", streamed: false }), "Nothing")
    assert.strictEqual(tag({ _tag: "Died" }), "Nothing")
    assert.strictEqual(tag({ _tag: "Failed", error: "not ours", usage: undefined }), "Nothing")
  })
})

describe("F5: whether another key is worth asking after a failure", () => {
  it("is, after those of the key, of its quota or of its model, and then not of the same quota", () => {
    const after = (error: LlmError.LlmError) => Keys.after(Disposition.classify(error))
    const elsewhere = Object.values(plain).filter((error) => after(error).next).map(({ _tag }) => _tag)
    assert.sameMembers(elsewhere, [
      "RateLimited",
      "QuotaExhausted",
      "Unauthenticated",
      "PermissionDenied",
      "ModelNotFound",
      "CircuitOpen",
      "QuotaExceeded",
      "BulkheadFull",
      "NoHealthyKey",
      "SpendLimitExceeded"
    ])
    const domainToo = Object.values(plain).filter((error) => after(error).domainToo).map(({ _tag }) => _tag)
    assert.sameMembers(domainToo, ["RateLimited", "QuotaExhausted"])
    const lacks = Object.values(plain).filter((error) => after(error).lacks).map(({ _tag }) => _tag)
    assert.deepStrictEqual(lacks, ["ModelNotFound"])
  })

  it("is not, where the provider may have acted on a request that must not be repeated", () => {
    const timedOut = new LlmError.TimedOut({ provider: "p", model: "m", phase: "headers", idempotent: false })
    assert.isFalse(Keys.after(Disposition.classify(timedOut)).next)
  })
})
