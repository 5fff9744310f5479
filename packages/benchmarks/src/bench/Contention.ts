/**
 * Clients that get in each other's way, as in the simulator behind "Exponential Backoff And Jitter" (AWS Architecture
 * Blog, 2015; aws-samples/aws-arch-backoff-simulator): each reads the version of one row and writes the next, and a write
 * fails when another has come between. All of it in virtual time; the waits are what the policies decide.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Retry from "perdure/Retry"
import * as Chance from "../soak/Chance.ts"
import * as Measure from "./Measure.ts"
import * as Report from "./Report.ts"

/** What contention comes to: how often was written, and when the last client had its answer, in milliseconds. */
interface Outcome {
  readonly calls: number
  readonly millis: number
}

interface Client {
  /** When its next message reaches the server. */
  at: number
  /** The version that it has read and writes after; none on its way to read. */
  read: number | undefined
  /** What its policy remembers. */
  state: unknown
}

/** The time of a message in the network: 10 ms, with a standard deviation of 2. */
const network = (chance: Chance.Chance) => () =>
  Math.abs(10 + 2 * Math.sqrt(-2 * Math.log(1 - chance())) * Math.cos(2 * Math.PI * chance()))

const contend = (policy: Retry.Retry, count: number, delay: () => number): Effect.Effect<Outcome> =>
  Effect.gen(function*() {
    let clients: ReadonlyArray<Client> = Array.from(
      { length: count },
      () => ({ at: delay(), read: undefined, state: policy.initial })
    )
    let version = 0
    let calls = 0
    let millis = 0
    for (let next = earliest(clients); next !== undefined; next = earliest(clients)) {
      const client: Client = next
      if (client.read === undefined) {
        client.read = version
        client.at += delay() + delay()
        continue
      }
      calls++
      const answered = client.at + delay()
      if (client.read === version) {
        version++
        millis = Math.max(millis, answered)
        clients = clients.filter((one) => one !== client)
        continue
      }
      const [state, wait] = yield* policy.step(answered, "conflict", client.state)
      client.state = state
      client.at = answered + Duration.toMillis(wait) + delay()
      client.read = undefined
    }
    return { calls, millis }
  })

const earliest = (clients: ReadonlyArray<Client>): Client | undefined => {
  let first: Client | undefined
  for (const client of clients) if (first === undefined || client.at < first.at) first = client
  return first
}

export const sizes = [100, 190] as const

const capped = Retry.capped("2 seconds")
// The simulator doubles its base of 5 ms before the first wait already, where it is not decorrelated.
const exponential = Retry.exponential("10 millis").pipe(capped)
const ours = Retry.exponential("50 millis").pipe(Retry.capped("1 second"), Retry.jittered("full"))

/** The policies, with what the simulator itself finds for each size: the mean of 100 runs. */
export const contestants: ReadonlyArray<
  { readonly name: string; readonly policy: Retry.Retry; readonly original?: ReadonlyArray<Outcome> }
> = [
  {
    name: "no backoff",
    policy: Retry.constant("1 nanos"),
    original: [{ calls: 2422, millis: 2026 }, { calls: 8008, millis: 3539 }]
  },
  {
    name: "exponential",
    policy: exponential,
    original: [{ calls: 1861, millis: 63_572 }, { calls: 5163, millis: 100_786 }]
  },
  {
    name: "equal jitter",
    policy: exponential.pipe(Retry.jittered("equal")),
    original: [{ calls: 813, millis: 6620 }, { calls: 1759, millis: 9374 }]
  },
  {
    name: "full jitter",
    policy: exponential.pipe(Retry.jittered("full")),
    original: [{ calls: 795, millis: 4925 }, { calls: 1773, millis: 7407 }]
  },
  {
    name: "decorrelated jitter",
    policy: Retry.exponential("5 millis").pipe(capped, Retry.jittered("decorrelated")),
    original: [{ calls: 1000, millis: 4576 }, { calls: 2424, millis: 7937 }]
  },
  { name: "full jitter from 50 ms, cap 1 s", policy: ours }
]

const mean = (values: ReadonlyArray<number>): number => values.reduce((sum, value) => sum + value, 0) / values.length

/** The mean of so many runs; the same chance for every policy and at every time. */
export const measured = (policy: Retry.Retry, clients: number, runs: number): Outcome => {
  const delay = network(Chance.make("network"))
  const all = Effect.runSync(
    Effect.withRandom(
      Effect.replicateEffect(Effect.suspend(() => contend(policy, clients, delay)), runs),
      Random.make("jitter")
    )
  )
  return { calls: mean(all.map(({ calls }) => calls)), millis: mean(all.map(({ millis }) => millis)) }
}

const whole = (value: number | undefined): string => value === undefined ? "" : Math.round(value).toLocaleString("en")

export const run = (runs: number): Report.Section => {
  const found = sizes.flatMap((clients, size) =>
    contestants.map(({ name, original, policy }) => ({
      clients,
      name,
      original: original?.[size],
      ...measured(policy, clients, runs)
    }))
  )
  const judged = found.filter(({ clients, name }) => clients === 100 && name.startsWith("full jitter"))
  return {
    title: "Clients that get in each other's way",
    about:
      `Each writes one row under an optimistic lock: the mean of ${runs} runs of the model behind "Exponential Backoff ` +
      "And Jitter\" (network 10 ± 2 ms, base 5 ms, cap 2 s), in virtual time, with the waits of these `Retry` policies. " +
      "Beside them is what the model's own program finds with its own backoff; its decorrelated waits have no spread " +
      "left at the cap. The last policy is not one of its own: a longer first wait and a shorter cap.",
    columns: ["clients", "", "calls", "of the original", "ms until all are done", "of the original"],
    rows: found.map(({ calls, clients, millis, name, original }) => [
      String(clients),
      name,
      whole(calls),
      whole(original?.calls),
      whole(millis),
      whole(original?.millis)
    ]),
    verdicts: judged.flatMap(({ calls, millis, name }) => [
      { what: `${name}: calls of 100 clients`, target: 795, measured: Measure.exactly(calls) },
      { what: `${name}: seconds of 100 clients`, target: 4.6, measured: Measure.exactly(millis / 1000) }
    ])
  }
}
