/** What it costs to be turned away by a circuit breaker that is open. */
import * as Effect from "effect/Effect"
import * as CircuitBreaker from "perdure/CircuitBreaker"
import * as Measure from "./Measure.ts"
import { effect, inFiber, inPromises, operation } from "./Operation.ts"
import * as Peers from "./Peers.ts"
import * as Report from "./Report.ts"

const ours = Effect.gen(function*() {
  const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1), openDuration: "1 hour" })
  yield* Effect.ignore(breaker(Effect.fail("down" as const)))
  return inFiber("CircuitBreaker, open", Effect.ignore(breaker(effect)))
})

const cockatiel = async () => {
  const Cockatiel = await Peers.cockatiel()
  const breaker = Cockatiel.circuitBreaker(Cockatiel.handleAll, {
    halfOpenAfter: 3_600_000,
    breaker: new Cockatiel.ConsecutiveBreaker(1)
  })
  await breaker.execute(() => Promise.reject(new Error("down"))).catch(() => {})
  return inPromises("cockatiel, open", () => breaker.execute(operation).catch(() => {}))
}

const opossum = async () => {
  const { default: Opossum } = await Peers.opossum()
  const breaker = new Opossum(operation, { resetTimeout: 3_600_000 })
  breaker.open()
  return inPromises("opossum, open", () => breaker.fire().catch(() => {}))
}

export const run = async (effort: Measure.Effort): Promise<Report.Section> => {
  const contestants = [await Effect.runPromise(ours), await cockatiel(), await opossum()] as const
  const samples = await Measure.race(contestants, effort)
  const [{ name }, ...peers] = contestants
  return {
    title: "Rejected by an open breaker",
    about: "And the refusal caught again.",
    columns: ["", "µs a call"],
    rows: contestants.map(({ name }) => [name, Report.number(Measure.middle(samples, name, "wall"))]),
    verdicts: peers.map((peer) =>
      Report.verdict(`to ${peer.name.replace(", open", "")}`, 0.4, samples, [name, peer.name], "wall")
    )
  }
}
