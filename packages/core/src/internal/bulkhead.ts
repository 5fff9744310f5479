/**
 * Who may go in: so many at once, and a queue for the others. It neither waits nor knows the time, and each of its steps
 * is synchronous and takes the same time however many wait.
 */

/** A place in the queue, once its owner has joined one. A link of a list, so that leaving from the middle costs nothing. */
export class Place {
  /** `waiting` is in the queue, `granted` holds a permit, `out` is neither. */
  place: "out" | "waiting" | "granted" = "out"
  before: Place | undefined = undefined
  behind: Place | undefined = undefined
}

/** While there is a permit to give, nobody waits: every step that could free one gives it to the first in the queue. */
export class Permits<W extends Place> {
  inFlight = 0
  waiting = 0
  /** How many may be in at once. Lowering it takes no permit away. */
  limit: number
  private first: Place | undefined = undefined
  private last: Place | undefined = undefined

  constructor(limit: number) {
    this.limit = limit
  }

  /** Takes a permit if there is one. */
  enter(): boolean {
    if (this.inFlight >= this.limit) return false
    this.inFlight++
    return true
  }

  /** Joins the queue at its end. */
  join(waiter: W): void {
    waiter.place = "waiting"
    waiter.before = this.last
    if (this.last === undefined) this.first = waiter
    else this.last.behind = waiter
    this.last = waiter
    this.waiting++
  }

  /** Leaves the queue from anywhere; false when the waiter is not in it. */
  withdraw(waiter: W): boolean {
    if (waiter.place !== "waiting") return false
    this.unlink(waiter, "out")
    return true
  }

  /** Gives a permit back. The one who got it from the queue, if any, is to be told. */
  leave(): W | undefined {
    this.inFlight--
    return this.admit()
  }

  /** Gives a permit to the first in the queue, if there is one to give. The one who got it is to be told. */
  admit(): W | undefined {
    const { first } = this
    if (first === undefined || this.inFlight >= this.limit) return undefined
    this.inFlight++
    this.unlink(first, "granted")
    return first as W
  }

  private unlink(waiter: Place, to: "out" | "granted"): void {
    if (waiter.before === undefined) this.first = waiter.behind
    else waiter.before.behind = waiter.behind
    if (waiter.behind === undefined) this.last = waiter.before
    else waiter.behind.before = waiter.before
    waiter.before = undefined
    waiter.behind = undefined
    waiter.place = to
    this.waiting--
  }
}
