/** Calls under any circumstances: what each target does, what stands around it, and when the caller has had enough. */
import { Clock, Deferred, Effect, Exit, Fiber, Layer, Stream, TestClock } from "effect"
import * as fc from "effect/FastCheck"
import {
  Budget,
  Bulkhead,
  Call,
  CircuitBreaker,
  Deadline,
  Fallback,
  Hedge,
  KeyPool,
  LlmError,
  LlmProvider,
  LlmRequest,
  LlmResponse,
  Policy,
  Retry,
  StreamPart
} from "perdure"

type Way =
  | "answers"
  | "answers together"
  | "repeats by itself"
  | "fails"
  | "limits"
  | "refuses"
  | "times out"
  | "rejects the key"
  | "dies"
  | "hangs"

/** What a target does with one request. */
interface Move {
  readonly way: Way
  /** In milliseconds, on a grid, so that things happen at the same time. */
  readonly after: number
  /** What it tells of its tokens, and when: before its text, after it, or never. */
  readonly told: "before" | "after" | "never"
}

export interface Circumstances {
  readonly targets: ReadonlyArray<ReadonlyArray<Move>>
  readonly join: "fallback" | "fastest" | "hedge"
  readonly inside: ReadonlyArray<"retry" | "hedge" | "breaker" | "bulkhead" | "timeout">
  readonly keys: boolean
  readonly budget: boolean
  readonly deadline: boolean
  /** Whether a retry stands around the whole call. */
  readonly byHand: boolean
  readonly kind: "generate" | "fail" | "restart" | "buffer"
  readonly leavesAt: number | undefined
}

const move: fc.Arbitrary<Move> = fc.record({
  way: fc.oneof(
    { weight: 4, arbitrary: fc.constant<Way>("answers") },
    { weight: 4, arbitrary: fc.constant<Way>("fails") },
    {
      weight: 2,
      arbitrary: fc.constantFrom<Way>("answers together", "repeats by itself")
    },
    {
      weight: 4,
      arbitrary: fc.constantFrom<Way>("limits", "refuses", "times out", "rejects the key", "dies", "hangs")
    }
  ),
  after: fc.integer({ min: 0, max: 4 }).map((n) => n * 50),
  told: fc.constantFrom("before", "after", "never")
})

const sometimes = fc.constantFrom(false, false, true)

export const circumstances: fc.Arbitrary<Circumstances> = fc.record({
  targets: fc.array(fc.array(move, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 3 }),
  join: fc.constantFrom("fallback", "fallback", "fastest", "hedge"),
  inside: fc.subarray(["retry", "hedge", "breaker", "bulkhead", "timeout"]),
  keys: sometimes,
  budget: sometimes,
  deadline: sometimes,
  byHand: fc.boolean(),
  kind: fc.constantFrom("generate", "fail", "restart", "buffer"),
  leavesAt: fc.oneof(
    { weight: 3, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 16 }).map((n) => n * 25) }
  )
})

const plain: Circumstances = {
  targets: [[]],
  join: "fallback",
  inside: [],
  keys: false,
  budget: false,
  deadline: false,
  byHand: false,
  kind: "generate",
  leavesAt: undefined
}
const step = (way: Way, after = 0): Move => ({ way, after, told: "before" })

/** Those that chance seldom comes upon. */
export const examples: ReadonlyArray<[Circumstances]> = [
  // Two answers in the same moment, of which one is not given on.
  [{ ...plain, targets: [[step("answers together")], [step("answers together")]], join: "hedge" }],
  // A wait, and then a circuit that is open.
  [{ ...plain, targets: [[step("fails")], [step("answers", 50)]], inside: ["breaker", "retry"] }],
  // An SDK that repeats, in one of two tries.
  [{ ...plain, targets: [[step("repeats by itself", 200)], [step("answers", 200)]], join: "hedge" }],
  // A stream that is cut and starts again elsewhere.
  [{ ...plain, targets: [[step("fails", 50)], [step("answers", 50)]], kind: "restart" }]
]

const used = new LlmResponse.Usage({ inputTokens: 100, outputTokens: 7, reasoningTokens: 3 })
const usage = StreamPart.UsagePart.make({ usage: used })

/** When those that answer together do, in milliseconds. */
const together = 100

/** A provider that makes its moves one after the other, the last of them again and again. */
const moving = (provider: string, moves: ReadonlyArray<Move>, gate: Deferred.Deferred<void>): LlmProvider.Service => {
  const target = { provider, model: "m" }
  let made = 0
  const failures = {
    fails: new LlmError.ProviderUnavailable({ ...target, status: 500, detail: "down" }),
    limits: new LlmError.RateLimited({ ...target, status: 429 }),
    refuses: new LlmError.InvalidRequest({ ...target, status: 400 }),
    "times out": new LlmError.TimedOut({ ...target, phase: "provider" }),
    "rejects the key": new LlmError.Unauthenticated({ ...target, status: 401 })
  }
  const next = () => moves[Math.min(made++, moves.length - 1)]!
  const end = <A>(way: Way, answer: Effect.Effect<A, LlmError.LlmError>): Effect.Effect<A, LlmError.LlmError> => {
    if (way === "answers") return answer
    if (way === "repeats by itself") {
      return Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Effect.zipRight(
          Call.attempted([
            { startedAt: now - 50, endedAt: now - 25, failure: failures.fails },
            { startedAt: now - 10, endedAt: now }
          ]),
          answer
        ))
    }
    if (way === "answers together") return Effect.zipRight(Deferred.await(gate), answer)
    if (way === "hangs") return Effect.never
    return way === "dies" ? Effect.die("a bug") : Effect.fail(failures[way])
  }
  return LlmProvider.make({
    ...target,
    generate: () =>
      Effect.suspend(() => {
        const { after, told, way } = next()
        const response = new LlmResponse.LlmResponse({
          ...target,
          model: "m-dated",
          content: [LlmRequest.text("hi")],
          finishReason: "stop",
          ...(told === "never" ? {} : { usage: used })
        })
        return Effect.delay(end(way, Effect.succeed(response)), after)
      }),
    stream: () =>
      Stream.suspend(() => {
        const { after, told, way } = next()
        const wait = Stream.drain(Stream.fromEffect(Effect.sleep(after)))
        const finish = StreamPart.Finish.make({ finishReason: "stop", model: "m-dated" })
        return Stream.make(usage).pipe(
          Stream.filter(() => told === "before"),
          Stream.concat(wait),
          Stream.concat(Stream.make(StreamPart.TextDelta.make({ text: "hi" }))),
          Stream.concat(told === "after" ? Stream.make(usage) : Stream.empty),
          Stream.concat(wait),
          Stream.concat(Stream.fromEffect(end(way, Effect.succeed(finish))))
        )
      })
  })
}

const policies = {
  retry: Effect.succeed(Policy.retry(Retry.constant("50 millis").pipe(Retry.attempts(2)))),
  hedge: Hedge.make({ after: "50 millis" }),
  breaker: CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1) }),
  bulkhead: Bulkhead.make({ limit: 1, queue: 0 }),
  timeout: Effect.succeed(Policy.timeout("150 millis"))
}

/** What is asked for. */
const asking = ({ kind }: Circumstances): Effect.Effect<unknown, LlmError.LlmError, LlmProvider.LlmProvider> =>
  kind === "generate" ? LlmProvider.generate("hello") : Stream.runDrain(LlmProvider.stream("hello", { whenCut: kind }))

/** Makes the call, and gives all that was told of it. The providers are named as given, with their numbers. */
export const play = (
  all: Circumstances,
  name: string
): Effect.Effect<ReadonlyArray<Call.Event>, never, never> =>
  Effect.gen(function*() {
    const services: Array<LlmProvider.Service> = []
    const gate = yield* Deferred.make<void>()
    yield* Effect.fork(Effect.delay(Deferred.succeed(gate, undefined), together))
    for (const [number, moves] of all.targets.entries()) {
      const one = moving(`${name} ${number}`, moves, gate)
      const pooled = all.keys
        ? KeyPool.make([{ label: "a", service: one }, { label: "b", service: one }])
        : one
      let layer = Layer.succeed(LlmProvider.LlmProvider, pooled)
      for (const inside of all.inside) layer = LlmProvider.withPolicy(layer, yield* policies[inside])
      services.push(yield* Effect.provide(LlmProvider.LlmProvider, layer))
    }
    const [first, ...others] = services
    const joined: LlmProvider.Service = all.join === "hedge"
      ? Hedge.services([first!, ...others], { after: "50 millis" })
      : Fallback.make([first!, ...others], { order: all.join === "fastest" ? "fastest" : "given" })
    let layer = Layer.succeed(LlmProvider.LlmProvider, joined)
    if (all.deadline) layer = LlmProvider.withPolicy(layer, Deadline.make("275 millis"))
    if (all.budget) layer = LlmProvider.withPolicy(layer, yield* Budget.make({ target: { capacity: 1, perSecond: 0 } }))
    const events: Array<Call.Event> = []
    const call = Effect.provide(asking(all), layer)
    const around = all.byHand ? Policy.retry(Retry.constant("25 millis").pipe(Retry.attempts(2)))(call) : call
    const fiber = yield* around.pipe(Call.observe((event) => events.push(event)), Effect.exit, Effect.fork)
    yield* TestClock.adjust(all.leavesAt ?? "10 minutes")
    const exit = yield* Fiber.interrupt(fiber)
    if (Exit.isSuccess(exit) && all.leavesAt === undefined) yield* TestClock.adjust("1 minute")
    return events
  })

/** The events of each call that ended, and the end. */
export const calls = (events: ReadonlyArray<Call.Event>) =>
  events.flatMap((ended) =>
    ended._tag === "Ended" ? [{ ended, events: events.filter(({ call }) => call === ended.call) }] : []
  )
