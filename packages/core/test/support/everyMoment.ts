/** One call again and again, each time with something happening to it a moment later. */
import { assert } from "@effect/vitest"
import { Cause, Effect, Exit, FiberRef, Option, Stream } from "effect"
import { type LlmError, LlmProvider, LlmRequest, type Policy } from "perdure"
import { OpenedStream } from "../../src/internal/opened.ts"
import { fromRaw, rawOf, targetsOf } from "../../src/internal/provider.ts"
import { setOn, type What, World } from "./world.ts"

/** 100 tokens by the rule of four characters, and 300 for the answer. */
export const request = LlmRequest.make({
  messages: [LlmRequest.user("x".repeat(400))],
  maxOutputTokens: 300
})
export const estimate = 400

/** Pulls a stream to its end; as a `Stream` that takes ten times the operations, which are not ours. */
const drained = (opened: LlmProvider.Opened): Effect.Effect<void, LlmError.LlmError> =>
  opened instanceof OpenedStream
    ? Effect.catchAll(Effect.forever(opened.pull), Option.match({ onNone: () => Effect.void, onSome: Effect.fail }))
    : Stream.runDrain(opened.parts)

const cut = (service: LlmProvider.Service, whenCut: "restart" | "buffer") =>
  Effect.scoped(Effect.flatMap(LlmProvider.open(request, { whenCut }), drained)).pipe(
    Effect.provideService(LlmProvider.LlmProvider, service)
  )

const ways = {
  answer: (service: LlmProvider.Service) => Effect.asVoid(service.generate(request)),
  stream: (service: LlmProvider.Service) => Effect.scoped(Effect.flatMap(service.open(request), drained)),
  restarting: (service: LlmProvider.Service) => cut(service, "restart"),
  buffered: (service: LlmProvider.Service) => cut(service, "buffer")
}

export type Way = keyof typeof ways

/** Makes a call of a service. */
export const call = (service: LlmProvider.Service, way: Way): Effect.Effect<void, LlmError.LlmError> =>
  ways[way](service)

/** A service under a policy, as `LlmProvider.withPolicy` makes it of layers, which takes longer than all the rest here. */
export const under = (
  service: LlmProvider.Service,
  policy: Policy.Policy<LlmError.LlmError, LlmError.LlmError>
): LlmProvider.Service => {
  const raw = rawOf(service)
  const [target, ...targets] = targetsOf(service)
  return fromRaw({
    generate: (request) => policy(raw.generate(request), { target, request, kind: "generate" }),
    open: (request) => policy(raw.open(request), { target, request, kind: "open" })
  }, [target, ...targets])
}

/** How many requests each provider has of twice as many calls at once, a while later and when all of them answer again. */
export const shares = (world: World, service: LlmProvider.Service): ReadonlyArray<number> => {
  world.mend()
  world.run(Effect.sleep("1 minute"))
  const calls = world.open.map(() => call(service, "answer"))
  for (let round = 0; round < 3; round++) world.run(Effect.all(calls, { concurrency: "unbounded" }))
  const fibers = [...calls, ...calls].map((one) => world.start(one))
  world.settle()
  const open = [...world.open]
  for (const fiber of fibers) world.end(fiber)
  return open
}

/** What is made anew for each moment. */
export interface Scene {
  /** What is called. */
  readonly service: LlmProvider.Service
  /** Who calls before that; all of them are served. */
  readonly before?: ReadonlyArray<Effect.Effect<unknown, unknown>> | undefined
  /** Who calls after that. */
  readonly after?: ReadonlyArray<Effect.Effect<unknown, unknown>> | undefined
  /** Looks at what is left when all of them have ended. */
  readonly rest?: ((end: string) => void) | undefined
  /** How the call ends when nothing happens to it. */
  readonly ends?: string | undefined
}

const endOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "answered"
  const failure = Cause.failureOption(exit.cause)
  if (failure._tag === "Some") return String(Reflect.get(Object(failure.value), "_tag"))
  return Cause.isInterruptedOnly(exit.cause) ? "interrupted" : Cause.pretty(exit.cause)
}

/**
 * Plays a scene once for each moment of its call: before the first operation of any fiber, before the second, and so on,
 * and each time that all are waiting, until the call ends first. Whatever happens: nothing is left among the values of its
 * fiber, no request is open, no timer runs, whatever began has ended, who calls meanwhile is served, and so is the next
 * call. It gives the ways in which the call has ended, and how many moments there were.
 */
export const atEveryMoment = (
  scene: (world: World) => Effect.Effect<Scene>,
  way: Way,
  what: What = "interrupted"
) => {
  const ends = new Set<string>()
  for (let moment = 1; moment < 10_000; moment++) {
    const world = new World(moment, what)
    const { after = [], before = [], ends: usual = "answered", rest, service } = world.run(scene(world))
    const others = before.map((one) => world.start(one))
    world.settle()
    let end = "never ended"
    let left: ReadonlyArray<string> = ["everything"]
    const fiber = world.start(
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(
          Effect.exit(restore(world.moment.on(call(service, way)))),
          (exit) =>
            Effect.withFiberRuntime<void>((self) => {
              end = endOf(exit)
              left = setOn(self)
              const isLeaving = !Cause.isEmpty(self.getFiberRef(FiberRef.interruptedCause))
              if (isLeaving && !(world.moment.reached && what === "interrupted")) {
                left = [...left, "an interruption"]
              }
              return Effect.void
            })
        )
      )
    )
    others.push(...after.map((one) => world.start(one)))
    const seen = (what: string) => `moment ${moment}, ${end}: ${what}`
    try {
      world.end(fiber)
      for (const other of others) assert.isTrue(Exit.isSuccess(world.end(other)), "somebody else was not served")
      world.settle()
      assert.deepStrictEqual(left, [], "left on the fiber")
      assert.deepStrictEqual([...world.sleepers], [], "timers")
      assert.isTrue(world.open.every((count) => count === 0), `open requests: ${world.open.join(", ")}`)
      const count = (tag: string) => world.events.filter(({ _tag }) => _tag === tag).length
      assert.strictEqual(count("AttemptEnded"), count("AttemptStarted"), "attempts that ended")
      assert.strictEqual(count("Ended"), count("Started"), "calls that ended")
      rest?.(end)
      world.mend()
      world.run(call(service, "answer"))
      if (!world.moment.reached) assert.strictEqual(end, usual)
      else ends.add(end)
    } catch (error) {
      throw new Error(seen(error instanceof Error ? error.message : String(error)), { cause: error })
    }
    if (!world.moment.reached) return { ends: [...ends].toSorted(), moments: moment - 1 }
  }
  throw new Error("it never ends by itself")
}
