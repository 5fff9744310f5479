/**
 * The events of all calls of the process, as a stream: to show them, to count them, to send them somewhere. Circuits that
 * change outside of a call are among them.
 *
 * `Call.observe` is told of the calls made inside one effect, in the middle of them. This is for those who watch from
 * outside: events wait in a buffer of their own, so a watcher that is slow or fails harms no call. When the buffer is full
 * the oldest are dropped, and counted.
 *
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Event } from "./Call.ts"
import { watchers } from "./internal/watchers.ts"
import * as Options_ from "./Options.ts"

/**
 * How events are kept.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * How many events may wait to be read.
   * @default 1024
   */
  readonly capacity?: number | undefined
}

/**
 * Events from the moment of subscribing on.
 *
 * @since 0.1.0
 * @category models
 */
export interface Subscription {
  /** Each event goes to one reader. Ends when the subscription does. */
  readonly events: Stream.Stream<Event>
  /** How many events were dropped so far because nobody had read them in time. */
  readonly dropped: Effect.Effect<number>
}

const defaultCapacity = 1024

const droppedEvents = Metric.counter("perdure.events.dropped", {
  description: "Events of calls that a subscriber was too slow for.",
  incremental: true
}).pipe(Metric.tagged("unit", "{event}"))

type Taken = Exit.Exit<Chunk.Chunk<Event>, Option.Option<never>>

/** A ring of events, of which the oldest are lost when it is full. */
class Buffer {
  dropped = 0
  private readonly ring: Array<Event | undefined> = []
  private readonly capacity: number
  private first = 0
  private size = 0
  private closed = false
  private readonly waiting = new Set<(taken: Taken) => void>()

  constructor(capacity: number) {
    this.capacity = capacity
  }

  readonly push = (event: Event): void => {
    for (const resume of this.waiting) {
      this.waiting.delete(resume)
      return resume(Exit.succeed(Chunk.of(event)))
    }
    this.ring[(this.first + this.size) % this.capacity] = event
    if (this.size < this.capacity) {
      this.size += 1
      return
    }
    this.first = (this.first + 1) % this.capacity
    this.dropped += 1
    droppedEvents.unsafeUpdate(1, [])
  }

  /** All that is there, or the next. */
  readonly take: Effect.Effect<Chunk.Chunk<Event>, Option.Option<never>> = Effect.async((resume) => {
    if (this.closed) return resume(Exit.fail(Option.none()))
    if (this.size > 0) return resume(Exit.succeed(this.drain()))
    this.waiting.add(resume)
    return Effect.sync(() => this.waiting.delete(resume))
  })

  close(): void {
    this.closed = true
    for (const resume of this.waiting) resume(Exit.fail(Option.none()))
    this.waiting.clear()
    this.drain()
  }

  private drain(): Chunk.Chunk<Event> {
    const all: Array<Event> = []
    for (; this.size > 0; this.size--) {
      const event = this.ring[this.first]
      this.ring[this.first] = undefined
      this.first = (this.first + 1) % this.capacity
      if (event !== undefined) all.push(event)
    }
    return Chunk.unsafeFromArray(all)
  }
}

const capacityOf = (option: string, { capacity = defaultCapacity }: Options): number =>
  Options_.integer(option, capacity, 1, 1_000_000)

const subscribing = (capacity: number): Effect.Effect<Subscription, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const buffer = new Buffer(capacity)
        watchers.add(buffer.push)
        return buffer
      }),
      (buffer) =>
        Effect.sync(() => {
          watchers.delete(buffer.push)
          buffer.close()
        })
    ),
    (buffer) => ({
      events: Stream.repeatEffectChunkOption(buffer.take),
      dropped: Effect.sync(() => buffer.dropped)
    })
  )

/**
 * Subscribes to the events of all calls until the scope is closed.
 *
 * @since 0.1.0
 * @category constructors
 */
export const subscribe = (options: Options = {}): Effect.Effect<Subscription, never, Scope.Scope> =>
  subscribing(capacityOf("CallEvents.subscribe({ capacity })", options))

/**
 * The events of all calls, from the moment it is run on. It has no end.
 *
 * @since 0.1.0
 * @category constructors
 */
export const stream = (options: Options = {}): Stream.Stream<Event> => {
  const capacity = capacityOf("CallEvents.stream({ capacity })", options)
  return Stream.unwrapScoped(Effect.map(subscribing(capacity), ({ events }) => events))
}

/**
 * Hands every event to an exporter, one after the other, as long as the layer lives. An exporter that fails, or dies, is
 * logged at `Debug` and gets the next event. When the layer is let go of, the one under way is interrupted and those that
 * wait are dropped.
 *
 * @example
 * ```ts
 * import { Console, Effect } from "effect"
 * import { CallEvents } from "perdure"
 *
 * const Exporter = CallEvents.layer((event) =>
 *   event._tag === "FellBack" ? Console.log(`${event.from.model} -> ${event.to.model}: ${event.because}`) : Effect.void
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <E, R>(
  exporter: (event: Event) => Effect.Effect<unknown, E, R>,
  options: Options = {}
): Layer.Layer<never, never, R> => {
  const capacity = capacityOf("CallEvents.layer({ capacity })", options)
  return Layer.scopedDiscard(
    Effect.flatMap(subscribing(capacity), ({ events }) =>
      Effect.forkScoped(
        Stream.runForEach(events, (event) =>
          Effect.suspend(() => exporter(event)).pipe(
            Effect.catchAllCause((cause) => Effect.logDebug("an exporter of call events failed", cause))
          ))
      ))
  )
}
