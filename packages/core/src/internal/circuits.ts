/** Circuit breakers at work: the machine of `breaker.ts` over a store, as a gate. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import type * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Counts, Options, Service, Status, Transition } from "../CircuitBreaker.ts"
import type * as CircuitStore from "../CircuitStore.ts"
import * as LlmError from "../LlmError.ts"
import type * as Policy from "../Policy.ts"
import type { Target } from "../Receipt.ts"
import * as Breaker from "./breaker.ts"
import * as Call from "./call.ts"
import { clockOf, nowOf } from "./clock.ts"
import * as Eager from "./eager.ts"
import { type AnyFiber, type Gate, type Leave, type Leaving, stay, through } from "./gate.ts"
import * as Gauges from "./gauges.ts"
import { type LastResort, localOf } from "./local.ts"
import { type Ended, endedOf, OpenedStream } from "./opened.ts"
import { type Driver, next } from "./openings.ts"
import * as Pipeline from "./pipeline.ts"
import { unknown } from "./receipt.ts"
import { refuse } from "./refuse.ts"

/** Options that have been checked. */
export interface Checked extends Breaker.Settings {
  readonly openFor: number | Schedule.Schedule<unknown, number>
  readonly counts: Counts
  readonly key: (subject: Policy.Subject | undefined) => string
  readonly name: string
  /** Whether it matters how long calls take. */
  readonly timed: boolean
  readonly step: Policy.Step
}

/** How many circuits are kept at hand. */
const most = 1000

/** What is at hand of a circuit, so that it need not be made for each call. */
interface Circuit {
  readonly circuit: string
  /** Where the store has it. */
  readonly place: string
  /** Who was asked by the call that it was made for. */
  readonly target: Target | undefined
  /** How a call is left that was let through in a generation. */
  pass: { readonly generation: number; readonly leave: Leave } | undefined
  /** The state that an answer leaves as it is, once that is known. */
  calm: Breaker.State | undefined
}

/** A call that was let through. */
interface Admitted {
  readonly circuit: string
  readonly place: string
  readonly generation: number
  readonly subject: Policy.Subject | undefined
  /** When, where it matters how long calls take. */
  readonly at: number | undefined
}

/** How long a call has taken that was let through at a time: from its first request on, where one is on record. */
const tookOf = ({ call }: By, subject: Policy.Subject | undefined, at: number, now: number): number => {
  let begun: number | undefined
  if (subject !== undefined) {
    const { model, provider } = subject.target
    const attempts = call?.attempts ?? []
    for (let i = attempts.length - 1; i >= 0; i--) {
      const attempt = attempts[i]
      if (attempt === undefined || attempt.start < at) break
      if (attempt.target.provider === provider && attempt.target.model === model) begun = attempt.start
    }
  }
  return now - (begun ?? at)
}

/** Fails with the refusal of a call. */
const reject = (
  fiber: AnyFiber,
  subject: Policy.Subject | undefined,
  circuit: string,
  { retryAfter, state }: Extract<Breaker.Answer, { readonly _tag: "Rejected" }>
): Effect.Effect<never, LlmError.CircuitOpen> => {
  const { model, provider } = subject?.target ?? unknown
  return refuse(
    fiber,
    LlmError.refusal(LlmError.CircuitOpen, {
      provider,
      model,
      circuit,
      state,
      ...(retryAfter === undefined ? {} : { retryAfter: Duration.millis(retryAfter) })
    })
  )
}

/** Leave for the fiber to pass an open circuit, which is used up by the first call that asks. */
const lastResortOf = (fiber: AnyFiber, circuit: string): LastResort | undefined => {
  const { lastResort } = localOf(fiber)
  return lastResort?.circuit === circuit && !lastResort.used ? lastResort : undefined
}

const answeredAtOnce: Breaker.Result = { _tag: "Ended", call: { failed: false, took: 0 } }

const phases = { Closed: "closed", Open: "open", HalfOpen: "halfOpen", Isolated: "isolated" } as const

export const make = (
  first: Checked,
  store: CircuitStore.Service,
  changes: PubSub.PubSub<Transition>,
  check: (options: Options) => Checked
): Service => {
  let settings = first
  /** How far the schedules of open circuits have come; recomputed from the number of openings where that is not known. */
  const drivers = new Map<string, Driver>()

  const placeOf = (circuit: string) => `${settings.name}:${circuit}`

  const stateOf = (place: string): Breaker.State => store.peek(place) ?? Breaker.initial

  const circuits = new Map<string, Circuit>()

  const circuitOf = (circuit: string, subject: Policy.Subject | undefined): Circuit => {
    const known = circuits.get(circuit)
    if (known !== undefined) return known
    // It can all be made again.
    if (circuits.size >= most) circuits.clear()
    const place = placeOf(circuit)
    const target = subject?.target
    const fresh = { circuit, place, target, pass: undefined, calm: undefined }
    circuits.set(circuit, fresh)
    // A store elsewhere may have more to say of it.
    const isKnown = store.unsafeModify !== undefined || store.peek(place) !== undefined
    if (isKnown) Gauges.breaker(place, phases[stateOf(place)._tag], target)
    return fresh
  }

  /** Tells of a change of phase. */
  const tell = (
    { call, fiber }: By,
    circuit: string,
    { after, before }: Change,
    at: number
  ): Effect.Effect<unknown> => {
    if (before._tag === after._tag) return Exit.void
    if (after._tag === "Closed" || after._tag === "Isolated") drivers.delete(circuit)
    const transition: Transition = {
      circuit,
      at,
      from: phases[before._tag],
      to: phases[after._tag],
      ...(after._tag === "Open" ? { openFor: Duration.millis(after.until - after.at) } : {})
    }
    Gauges.breaker(placeOf(circuit), transition.to, circuits.get(circuit)?.target)
    Call.circuitChanged(fiber, call, settings.name, transition)
    return PubSub.publish(changes, transition)
  }

  const modify = <A>(place: string, change: CircuitStore.Change<A>): Effect.Effect<A> =>
    store.unsafeModify === undefined
      ? store.modify(place, change)
      : Exit.succeed(store.unsafeModify(place, change))

  /** Takes a permit for a probe, if there is one. */
  const ask = (
    fiber: AnyFiber,
    subject: Policy.Subject | undefined,
    known: Circuit,
    now: number
  ): Effect.Effect<Leave, LlmError.CircuitOpen> => {
    const { circuit, place } = known
    const last = lastResortOf(fiber, circuit)
    if (last !== undefined) last.used = true
    const asked = modify(place, (before = Breaker.initial) => {
      const [answer, after] = Breaker.ask(settings, before, now, last !== undefined)
      return [{ answer, before, after }, after]
    })
    return Eager.flatMap(asked, (change) =>
      Eager.flatMap(
        tell({ fiber, call: Call.live(fiber) }, circuit, change, now),
        () =>
          change.answer._tag === "Rejected"
            ? reject(fiber, subject, circuit, change.answer)
            : Exit.succeed(admit(fiber, subject, known, change.answer.generation))
      ))
  }

  /** What becomes of a call that was let through. */
  const leave = (admitted: Admitted): Leave => (exit, { fiber, local, now }) => {
    const by = { fiber, call: Call.liveIn(local) }
    const took = admitted.at === undefined ? 0 : tookOf(by, admitted.subject, admitted.at, now)
    const { value } = exit as { readonly value?: unknown }
    if (value instanceof OpenedStream) return Eager.flatMap(atEnd(value, by, admitted, took), () => exit)
    const settled = settle(by, admitted, took, endedOf(exit), now)
    return settled === Exit.void ? exit : Eager.flatMap(settled, () => exit)
  }

  /** Settles with the end of a stream. By then the fiber has left the call. */
  const atEnd = (stream: OpenedStream, by: By, admitted: Admitted, took: number) =>
    stream.onEnd((ended) => settle(by, admitted, took, ended, nowOf(by.fiber)))

  const admit = (
    fiber: AnyFiber,
    subject: Policy.Subject | undefined,
    { circuit, place }: Circuit,
    generation: number
  ): Leave => leave({ circuit, place, generation, subject, at: settings.timed ? nowOf(fiber) : undefined })

  /** The same for a closed circuit. Where nothing is different from call to call, it is made once. */
  const pass = (fiber: AnyFiber, subject: Policy.Subject | undefined, circuit: Circuit, generation: number): Leave => {
    if (settings.timed) return admit(fiber, subject, circuit, generation)
    if (circuit.pass?.generation !== generation) {
      const { place } = circuit
      const admitted = { circuit: circuit.circuit, place, generation, subject: undefined, at: undefined }
      circuit.pass = { generation, leave: passed(circuit, generation, leave(admitted)) }
    }
    return circuit.pass.leave
  }

  /** Of a target that has not failed lately an answer says nothing new. */
  const passed = (circuit: Circuit, generation: number, leave: Leave): Leave => (exit, leaving) => {
    if (Exit.isFailure(exit) || exit.value instanceof OpenedStream) return leave(exit, leaving)
    const state = stateOf(circuit.place)
    if (state === circuit.calm) return exit
    const left = leave(exit, leaving)
    // It was settled at once, and nothing has come of it. One of another generation says nothing of this one's.
    if (left === exit && state.generation === generation && stateOf(circuit.place) === state) circuit.calm = state
    return left
  }

  const settle = (by: By, admitted: Admitted, took: number, ended: Ended, now: number): Effect.Effect<void> => {
    let result = Breaker.neither
    let defect: Effect.Effect<void> = Exit.void
    if (ended._tag === "Answered") {
      result = took === 0
        ? answeredAtOnce
        : { _tag: "Ended", call: { failed: false, took } }
    }
    if (ended._tag === "Failed") {
      try {
        if (settings.counts(ended.error)) result = { _tag: "Ended", call: { failed: true, took } }
      } catch (thrown) {
        // It is not known what the failure is, but a probe gives its permit back all the same.
        defect = Exit.die(thrown)
      }
    }
    const recorded = record(by, admitted, result, now, undefined)
    return recorded === Exit.void ? defect : Eager.flatMap(recorded, () => defect)
  }

  const record = (
    by: By,
    admitted: Admitted,
    result: Breaker.Result,
    now: number,
    openFor: number | undefined
  ): Effect.Effect<void> => {
    const { generation, place } = admitted
    if (store.unsafeModify === undefined) return recordElsewhere(by, admitted, result, now, openFor)
    const before = stateOf(place)
    const after = Breaker.settle(settings, before, generation, result, now, openFor)
    // As nearly always.
    if (after === before) return Exit.void
    if (after === undefined) return recorded(by, admitted, before, result, now)
    put(place, after)
    return after._tag === before._tag ? Exit.void : recorded(by, admitted, { before, after }, result, now)
  }

  const put = (place: string, state: Breaker.State) => store.unsafeModify?.(place, () => [undefined, state])

  /** The same where the store takes its time. */
  const recordElsewhere = (
    by: By,
    admitted: Admitted,
    result: Breaker.Result,
    now: number,
    openFor: number | undefined
  ): Effect.Effect<void> => {
    const change: CircuitStore.Change<Breaker.State | Change> = (before = Breaker.initial) => {
      const after = Breaker.settle(settings, before, admitted.generation, result, now, openFor)
      return [after === undefined ? before : { before, after }, after ?? before]
    }
    return Eager.flatMap(store.modify(admitted.place, change), (change) => recorded(by, admitted, change, result, now))
  }

  const recorded = (
    by: By,
    admitted: Admitted,
    change: Breaker.State | Change,
    result: Breaker.Result,
    now: number
  ): Effect.Effect<void> =>
    "before" in change
      ? Effect.asVoid(tell(by, admitted.circuit, change, now))
      : Eager.flatMap(
        durationOf(admitted.circuit, Breaker.openingsOf(change) + 1, now),
        (openFor) => record(by, admitted, result, now, openFor)
      )

  const durationOf = (circuit: string, openings: number, now: number): Effect.Effect<number> => {
    const { openFor } = settings
    if (typeof openFor === "number") return Exit.succeed(openFor)
    return Effect.map(next(openFor, drivers.get(circuit), openings, now), (driver) => {
      drivers.set(circuit, driver)
      return driver.delay
    })
  }

  /** What needs no permit: a call that a closed circuit lets through holds nothing. Undefined when it is to ask for one. */
  const quick = (
    fiber: AnyFiber,
    subject: Policy.Subject | undefined,
    circuit: Circuit
  ): ReturnType<Gate> | undefined => {
    const state = stateOf(circuit.place)
    if (state._tag === "Closed") return pass(fiber, subject, circuit, state.generation)
    if (state._tag === "Open" && lastResortOf(fiber, circuit.circuit) !== undefined) return undefined
    const [answer, after] = Breaker.ask(settings, state, nowOf(fiber))
    if (after !== state) return undefined
    return answer._tag === "Rejected" ? reject(fiber, subject, circuit.circuit, answer) : stay
  }

  const gate: Gate = ({ fiber, subject }) => {
    const circuit = circuitOf(settings.key(subject), subject)
    return quick(fiber, subject, circuit) ?? ask(fiber, subject, circuit, nowOf(fiber))
  }

  /** The gate by itself: when a call is interrupted that holds no permit, there is nothing to record. */
  const alone = <A, E, R>(self: Effect.Effect<A, E, R>, subject: Policy.Subject | undefined): Effect.Effect<A, E, R> =>
    Effect.withFiberRuntime((fiber) => {
      const entered = quick(fiber, subject, circuitOf(settings.key(subject), subject))
      if (entered === undefined) return through([gate], self, subject)
      if (typeof entered !== "function") return entered as Effect.Effect<never, E>
      const leave = (exit: Exit.Exit<A, E>) => entered(exit, leavingOf(fiber)) as Effect.Effect<A, E>
      return Effect.matchCauseEffect(self, {
        onFailure: (cause): Effect.Effect<A, E> => whole(() => leave(Exit.failCause(cause))),
        onSuccess: (value): Effect.Effect<A, E> =>
          settings.timed ? whole(() => leave(Exit.succeed(value))) : leave(Exit.succeed(value))
      })
    })

  const change = (circuit: string, f: (state: Breaker.State) => Breaker.State): Effect.Effect<void> =>
    Effect.withFiberRuntime((fiber) => {
      const now = nowOf(fiber)
      const changed = Effect.suspend(() =>
        modify(placeOf(circuit), (before = Breaker.initial) => {
          const after = f(before)
          return [{ before, after }, after]
        })
      )
      return Effect.uninterruptible(
        Effect.asVoid(
          Effect.flatMap(changed, (change) => tell({ fiber, call: Call.live(fiber) }, circuit, change, now))
        )
      )
    })

  const methods: Omit<Service, keyof Policy.Policy> = {
    state: (circuit) => Effect.map(Clock.currentTimeMillis, (now) => statusOf(stateOf(placeOf(circuit)), now)),
    isolate: (circuit) => change(circuit, Breaker.isolate),
    reset: (circuit) => change(circuit, Breaker.reset),
    transitions: Stream.fromPubSub(changes),
    reconfigure: (options) => {
      const checked = check({ ...options, name: first.name })
      return Effect.sync(() => {
        if (checked.openFor !== settings.openFor) drivers.clear()
        for (const circuit of circuits.values()) circuit.calm = undefined
        settings = checked
      })
    }
  }
  const steps = () => [settings.step]
  return Object.assign(Pipeline.policy<unknown, LlmError.CircuitOpen>(steps, [Pipeline.gate(gate, alone)]), methods)
}

/** On which fiber a circuit changes, and in which call. */
interface By {
  readonly fiber: AnyFiber
  readonly call: Call.Call | undefined
}

interface Change {
  readonly before: Breaker.State
  readonly after: Breaker.State
}

/** Who leaves a gate that was passed alone. */
const leavingOf = (fiber: AnyFiber): Leaving => {
  const clock = clockOf(fiber)
  return { fiber, local: localOf(fiber), clock, now: clock.unsafeCurrentTimeMillis(), restore: Effect.interruptible }
}

/** Opens a circuit and tells of it, or neither. */
const whole = <A, E>(effect: () => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.uninterruptible(Effect.suspend(effect))

const statusOf = (state: Breaker.State, now: number): Status => {
  const openings = Breaker.openingsOf(state)
  if (state._tag === "HalfOpen") return { phase: "halfOpen", openings, probing: state.out }
  if (state._tag !== "Open") return { phase: phases[state._tag], openings, probing: 0 }
  return now >= state.until
    ? { phase: "halfOpen", openings, probing: 0 }
    : { phase: "open", openings, probing: 0, retryAfter: Duration.millis(state.until - now) }
}
