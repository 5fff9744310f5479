/** Interruption at a moment of the test's choice. */
import { Effect, type Fiber, FiberId, Scheduler } from "effect"

/**
 * Interrupts a fiber, and not those that it starts, before a given one of the operations that it and all others under this
 * scheduler run. Told to by operations, not by time: every moment has its turn.
 */
export class InterruptAt implements Scheduler.Scheduler {
  private victim: Fiber.RuntimeFiber<unknown, unknown> | undefined
  private count = 0
  private readonly step: number
  private readonly turns: Scheduler.Scheduler

  constructor(step: number, turns: Scheduler.Scheduler = new Scheduler.MixedScheduler(2048)) {
    this.step = step
    this.turns = turns
  }

  /** How many moments there were. */
  get passed(): number {
    return this.count
  }

  /** Whether it came to that before the fiber had ended. */
  get reached(): boolean {
    return this.count >= this.step
  }

  /** Runs an effect on the fiber that is to be interrupted. */
  on<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const marked = Effect.withFiberRuntime<A, E, R>((fiber) => {
      this.victim = fiber
      return self
    })
    return Effect.withScheduler(marked, this)
  }

  /** One more moment has come; whether it was the one. */
  pass(): boolean {
    const { victim } = this
    if (victim === undefined || victim.unsafePoll() !== null || ++this.count !== this.step) return false
    this.strike(victim)
    return true
  }

  /** What happens at that moment. */
  protected strike(victim: Fiber.RuntimeFiber<unknown, unknown>): void {
    victim.unsafeInterruptAsFork(FiberId.none)
  }

  shouldYield(): number | false {
    return this.pass() ? 0 : false
  }

  scheduleTask(task: () => void, priority: number, fiber?: Fiber.RuntimeFiber<unknown, unknown>): void {
    this.turns.scheduleTask(task, priority, fiber)
  }
}
