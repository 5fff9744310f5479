/** The store of quotas in this process. */
import * as Effect from "effect/Effect"
import type { State } from "./quota.ts"

type Change<A> = (state: State | undefined) => readonly [A, State]

export class Memory {
  private readonly states = new Map<string, State>()

  /** `modify` without an effect around it: nothing comes between it and what its caller does next. */
  step<A>(key: string, f: Change<A>): A {
    const before = this.states.get(key)
    const [result, after] = f(before)
    if (after !== before) this.states.set(key, after)
    return result
  }

  readonly get = (key: string): Effect.Effect<State | undefined> => Effect.sync(() => this.states.get(key))

  readonly modify = <A>(key: string, f: Change<A>): Effect.Effect<A> => Effect.sync(() => this.step(key, f))
}
