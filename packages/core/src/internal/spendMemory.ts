/** The store of spend limits in this process. */
import * as Effect from "effect/Effect"
import type { State } from "./spend.ts"

type Change<A> = (state: State | undefined) => readonly [A, State]

/** So few are not worth looking through. */
const few = 1000

export class Memory {
  private readonly states = new Map<string, State>()
  private most = few

  /** `modify` without an effect around it: nothing comes between it and what its caller does next. */
  step<A>(key: string, f: Change<A>): A {
    const before = this.states.get(key)
    const [result, after] = f(before)
    if (after !== before) {
      this.states.set(key, after)
      if (this.states.size > this.most) this.sweep(after.at)
    }
    return result
  }

  /** Forgets whose windows are over: users come and go. Each time that so many are new, so that it costs them little. */
  private sweep(now: number): void {
    for (const [key, { until }] of this.states) if (until !== undefined && until <= now) this.states.delete(key)
    this.most = Math.max(few, 2 * this.states.size)
  }

  readonly get = (key: string): Effect.Effect<State | undefined> => Effect.sync(() => this.states.get(key))

  readonly modify = <A>(key: string, f: Change<A>): Effect.Effect<A> => Effect.sync(() => this.step(key, f))

  /** How many keys it keeps. */
  get size(): number {
    return this.states.size
  }
}
