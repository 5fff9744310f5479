/** What the stores of this process have in common. */
import * as Effect from "effect/Effect"

/** From a state, if there is one, to what it is from now on, and what is to be told of that. */
export type Change<S, A> = (state: S | undefined) => readonly [result: A, state: S]

export class Memory<S> {
  protected readonly states = new Map<string, S>()

  /** `modify` without an effect around it: nothing comes between it and what its caller does next. */
  step<A>(key: string, f: Change<S, A>): A {
    const before = this.states.get(key)
    const [result, after] = f(before)
    if (after !== before) this.keep(key, after)
    return result
  }

  protected keep(key: string, state: S): void {
    this.states.set(key, state)
  }

  /** What is kept of a key, without an effect. */
  readonly peek = (key: string): S | undefined => this.states.get(key)

  readonly get = (key: string): Effect.Effect<S | undefined> => Effect.sync(() => this.peek(key))

  readonly modify = <A>(key: string, f: Change<S, A>): Effect.Effect<A> => Effect.sync(() => this.step(key, f))
}
