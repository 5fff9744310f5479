/** Circuit breakers for tests, the calls that they guard, and what is to be seen of them. */
import { Effect, Layer, Ref, Stream, TestClock } from "effect"
import { CircuitBreaker, CircuitStore } from "perdure"
import { unavailable } from "./provider.ts"

export const ok = Effect.succeed("ok")
export const down = Effect.fail(unavailable())

/** A store that takes its time, as one that several processes share does. */
export const slowCircuits = Layer.effect(
  CircuitStore.CircuitStore,
  Effect.map(CircuitStore.memory, ({ modify, peek }) => ({
    peek,
    modify: <A>(key: string, change: CircuitStore.Change<A>) =>
      Effect.yieldNow().pipe(Effect.zipRight(modify(key, change)), Effect.zipLeft(Effect.yieldNow()))
  }))
)

/** A breaker that opens at the first failure, for 10 s. */
export const touchy = (options: CircuitBreaker.Options = {}) =>
  CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1), openDuration: "10 seconds", ...options })

/** The same, when its open time is over. */
export const halfOpen = (options: CircuitBreaker.Options = {}) =>
  Effect.gen(function*() {
    const breaker = yield* touchy(options)
    yield* Effect.exit(breaker(down))
    yield* TestClock.adjust("10 seconds")
    return breaker
  })

export const phaseOf = (breaker: CircuitBreaker.Service, circuit = "default") =>
  Effect.map(breaker.state(circuit), ({ phase }) => phase)

/** What a reader of the transitions has seen by the end. */
export const watching = (breaker: CircuitBreaker.Service) =>
  Effect.gen(function*() {
    const seen = yield* Ref.make<ReadonlyArray<CircuitBreaker.Transition>>([])
    const reading = Stream.runForEach(breaker.transitions, (each) => Ref.update(seen, (all) => [...all, each]))
    yield* Effect.forkScoped(reading)
    yield* Effect.repeatN(Effect.yieldNow(), 20)
    return Effect.zipRight(Effect.repeatN(Effect.yieldNow(), 20), Ref.get(seen))
  })
