/** A provider for tests that fails as told, one step a call, and keeps count. */
import { Clock, Duration, Effect, Exit, Fiber, type Layer, Option, TestClock } from "effect"
import { LlmError, LlmProvider, LlmRequest, LlmResponse, type Receipt } from "perdure"

export const openAi = { provider: "openai", model: "gpt-4o" }
export const anthropic = { provider: "anthropic", model: "claude" }

/** An answer by a dated model name, as providers give it. */
export const answer = (text: string, target: Receipt.Target = openAi): LlmResponse.LlmResponse =>
  new LlmResponse.LlmResponse({
    provider: target.provider,
    model: `${target.model}-2024-08-06`,
    content: [LlmRequest.text(text)],
    finishReason: "stop"
  })

export const rateLimited = (retryAfter?: Duration.DurationInput): LlmError.RateLimited =>
  new LlmError.RateLimited({
    ...openAi,
    status: 429,
    ...(retryAfter === undefined ? {} : { retryAfter: Duration.decode(retryAfter) })
  })

export const unavailable = (): LlmError.ProviderUnavailable =>
  new LlmError.ProviderUnavailable({ ...openAi, status: 500, detail: "boom" })

export type Step =
  | LlmError.LlmError
  | LlmResponse.LlmResponse
  | Effect.Effect<LlmResponse.LlmResponse, LlmError.LlmError>

export interface Scripted {
  readonly service: LlmProvider.Service
  readonly layer: Layer.Layer<LlmProvider.LlmProvider>
  /** When each call came, in milliseconds on the `Clock`. */
  readonly calls: ReadonlyArray<number>
}

/** Plays the steps in order; the last one is repeated. */
export const scripted = (
  steps: readonly [Step, ...Array<Step>],
  target: LlmProvider.TargetInfo = openAi
): Scripted => {
  const calls: Array<number> = []
  const options: LlmProvider.MakeOptions = {
    ...target,
    generate: () =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const step = steps[Math.min(calls.length, steps.length - 1)] ?? steps[0]
        calls.push(now)
        if (step instanceof LlmResponse.LlmResponse) return Effect.succeed(step)
        return LlmError.is(step) ? Effect.fail(step) : step
      })
  }
  return { service: LlmProvider.make(options), layer: LlmProvider.layer(options), calls }
}

/** Runs an effect to its end, with the clock moved on by a limit. */
export const run = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  limit: Duration.DurationInput = "10 minutes"
): Effect.Effect<{ readonly exit: Exit.Exit<A, E>; readonly elapsed: number }, never, R> =>
  Effect.gen(function*() {
    const from = yield* Clock.currentTimeMillis
    const fiber = yield* Effect.fork(Effect.flatMap(Effect.exit(effect), (exit) =>
      Effect.map(Clock.currentTimeMillis, (now) => ({ exit, elapsed: now - from }))))
    yield* TestClock.adjust(limit)
    const result = yield* Fiber.poll(fiber)
    return Option.match(result, {
      onNone: () => ({ exit: Exit.die("still running"), elapsed: Number.NaN }),
      onSome: (done) =>
        Exit.getOrElse(done, () => ({ exit: Exit.die("defect"), elapsed: Number.NaN }))
    })
  })

/** The typed failure of an exit; a test fails here when there is none. */
export const failureOf = <A, E>(exit: Exit.Exit<A, E>): E =>
  Exit.match(exit, {
    onSuccess: () => {
      throw new Error("expected a failure")
    },
    onFailure: (cause) => {
      if (cause._tag !== "Fail") throw new Error(`expected a typed failure, got ${String(cause)}`)
      return cause.error
    }
  })
