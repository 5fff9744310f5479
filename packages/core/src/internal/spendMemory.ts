/** The store of spend limits in this process. */
import * as Store from "./memory.ts"
import type { State } from "./spend.ts"

/** So few are not worth looking through. */
const few = 1000

export class Memory extends Store.Memory<State> {
  private most = few

  protected override keep(key: string, state: State): void {
    super.keep(key, state)
    if (this.states.size > this.most) this.sweep(state.at)
  }

  /** Forgets whose windows are over: users come and go. Each time that so many are new, so that it costs them little. */
  private sweep(now: number): void {
    for (const [key, { until }] of this.states) if (until !== undefined && until <= now) this.states.delete(key)
    this.most = Math.max(few, 2 * this.states.size)
  }

  /** How many keys it keeps. */
  get size(): number {
    return this.states.size
  }
}
