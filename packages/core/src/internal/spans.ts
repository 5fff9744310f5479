/**
 * Spans, by OpenTelemetry's semantic conventions for generative AI. An attempt is a client span; the call around it is an
 * internal one without tokens, so that backends that add up what they find do not count twice. Neither has a prompt, an
 * answer, a key or a provider's own words.
 */
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { Server } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import type { FinishReason } from "../LlmResponse.ts"
import type { Cost, Outcome, Receipt, Target } from "../Receipt.ts"
import type { Usage } from "../Usage.ts"
import { operation, other, outcomes, providerName } from "./conventions.ts"
import type { AnyFiber } from "./gate.ts"
import type { Recorded } from "./recorded.ts"

/** The tracer of those who have installed none: its spans go nowhere. */
const nowhere = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/** Whether anybody wants spans of what a fiber does. */
export const wanted = (fiber: AnyFiber): boolean =>
  fiber.currentTracer !== nowhere && fiber.getFiberRef(FiberRef.currentTracerEnabled)

/** The span that spans of a fiber belong to; not one that wants no children. */
const parentOf = (span: Tracer.AnySpan | undefined): Option.Option<Tracer.AnySpan> => {
  let parent = span
  while (parent !== undefined && Context.get(parent.context, Tracer.DisablePropagation)) {
    parent = parent._tag === "Span" ? Option.getOrUndefined(parent.parent) : undefined
  }
  return Option.fromNullable(parent)
}

/** A span with the clock that it is written by. A tracer that throws harms no call. */
export class Trace {
  readonly span: Tracer.Span
  private readonly clock: Clock.Clock
  private readonly timing: boolean

  constructor(span: Tracer.Span, fiber: AnyFiber) {
    this.span = span
    this.clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
    this.timing = fiber.getFiberRef(FiberRef.currentTracerTimingEnabled)
  }

  /** Runs an effect with this span as the parent of all spans in it. */
  readonly within = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withParentSpan(self, this.span) as Effect.Effect<A, E, R>

  attribute(name: string, value: unknown): void {
    if (value !== undefined) this.try(() => this.span.attribute(name, value))
  }

  event(name: string, attributes: Record<string, unknown>): void {
    this.try(() => this.span.event(name, this.now(), attributes))
  }

  /** Ends it; now, unless another time is given, in milliseconds. */
  end(exit: Exit.Exit<unknown, unknown>, at?: number): void {
    this.try(() => this.span.end(at === undefined || !this.timing ? this.now() : nanosAt(at), exit))
  }

  private now(): bigint {
    return this.timing ? this.clock.unsafeCurrentTimeNanos() : 0n
  }

  private try(write: () => void): void {
    try {
      write()
    } catch {
      // Whoever writes spans is a guest.
    }
  }
}

const nanosAt = (millis: number): bigint => BigInt(Math.round(millis)) * 1_000_000n

const start = (
  fiber: AnyFiber,
  name: string,
  kind: Tracer.SpanKind,
  at?: bigint,
  parent = parentOf(fiber.currentSpan)
): Trace | undefined => {
  try {
    const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
    const span = fiber.currentTracer.span(
      name,
      parent,
      Context.empty(),
      Chunk.toReadonlyArray(fiber.getFiberRef(FiberRef.currentTracerSpanLinks)),
      fiber.getFiberRef(FiberRef.currentTracerTimingEnabled) ? at ?? clock.unsafeCurrentTimeNanos() : 0n,
      kind,
      { captureStackTrace: false }
    )
    const trace = new Trace(span, fiber)
    for (const [name, value] of fiber.getFiberRef(FiberRef.currentTracerSpanAnnotations)) trace.attribute(name, value)
    return trace
  } catch {
    return undefined
  }
}

/** A failure, said by its class alone: what a provider says of it may hold anything. */
const failed = (error: string) => Exit.fail(error)

const exitOf = (outcome: Outcome["_tag"], error: string | undefined): Exit.Exit<unknown, unknown> =>
  outcome === "Answered"
    ? Exit.void
    : outcome === "Interrupted"
    ? Exit.interrupt(FiberId.none)
    : failed(error ?? other)

/** The span of a call, when spans are wanted. */
export const callStarted = (
  fiber: AnyFiber,
  requested: Target | undefined,
  number: number,
  track: number | undefined
): Trace | undefined => {
  if (!wanted(fiber)) return undefined
  const trace = start(fiber, "perdure.call", "internal")
  trace?.attribute("perdure.call", number)
  trace?.attribute("perdure.track", track)
  trace?.attribute("perdure.requested.provider", requested?.provider)
  trace?.attribute("perdure.requested.model", requested?.model)
  return trace
}

/** The span that a fiber is in already, for what happens around the calls in it. */
export const around = (fiber: AnyFiber): Trace | undefined => {
  if (!wanted(fiber)) return undefined
  const span = fiber.currentSpan
  return span?._tag === "Span" ? new Trace(span, fiber) : undefined
}

export const callEnded = (
  trace: Trace,
  outcome: Outcome["_tag"],
  error: string | undefined,
  receipt: Receipt
): void => {
  trace.attribute("perdure.outcome", outcomes[outcome])
  // Of some it is not known when they begin.
  trace.attribute("perdure.requested.provider", receipt.requested.provider)
  trace.attribute("perdure.requested.model", receipt.requested.model)
  trace.attribute("perdure.attempts", receipt.attempts.length)
  trace.attribute("perdure.fallback", receipt.fallback)
  trace.attribute("perdure.waited", Duration.toSeconds(receipt.waited))
  trace.attribute("perdure.served.provider", receipt.served?.provider)
  trace.attribute("perdure.served.model", receipt.served?.model)
  if (outcome === "Failed") trace.attribute("error.type", error ?? other)
  trace.end(exitOf(outcome, error))
}

/** The span of an attempt, when spans are wanted. */
export const attemptStarted = (
  fiber: AnyFiber,
  target: Target,
  server: Server | undefined,
  request: LlmRequest,
  kind: "generate" | "open",
  { hedge, key, number }: Pick<Recorded, "hedge" | "key" | "number">,
  at?: bigint
): Trace | undefined => {
  if (!wanted(fiber)) return undefined
  const trace = start(fiber, `${operation} ${target.model}`, "client", at)
  if (trace === undefined) return undefined
  trace.attribute("gen_ai.operation.name", operation)
  trace.attribute("gen_ai.provider.name", providerName(target.provider))
  trace.attribute("gen_ai.request.model", target.model)
  trace.attribute("server.address", server?.address)
  trace.attribute("server.port", server?.port)
  if (kind === "open") trace.attribute("gen_ai.request.stream", true)
  trace.attribute("gen_ai.request.max_tokens", request.maxOutputTokens)
  trace.attribute("gen_ai.request.temperature", request.temperature)
  trace.attribute("gen_ai.request.top_p", request.topP)
  trace.attribute("gen_ai.request.top_k", request.topK)
  trace.attribute("gen_ai.request.frequency_penalty", request.frequencyPenalty)
  trace.attribute("gen_ai.request.presence_penalty", request.presencePenalty)
  trace.attribute("gen_ai.request.seed", request.seed)
  if (request.responseFormat !== undefined) {
    trace.attribute("gen_ai.output.type", request.responseFormat._tag === "Text" ? "text" : "json")
  }
  trace.attribute("perdure.attempt", number)
  trace.attribute("perdure.key", key)
  if (hedge) trace.attribute("perdure.hedge", true)
  return trace
}

/** Starts spans beside that of an attempt under way, for requests that the same code has made; from a time in milliseconds. */
export const siblings = (fiber: AnyFiber, { span }: Trace) => {
  const attributes = new Map(span.attributes)
  return ({ number, target }: Pick<Recorded, "number" | "target">, at: number): Trace | undefined => {
    const trace = start(fiber, `${operation} ${target.model}`, "client", nanosAt(at), span.parent)
    for (const [name, value] of attributes) trace?.attribute(name, value)
    trace?.attribute("gen_ai.provider.name", providerName(target.provider))
    trace?.attribute("gen_ai.request.model", target.model)
    trace?.attribute("perdure.attempt", number)
    return trace
  }
}

/** The start of a span that is written when it is over. */
export const nanosOf = (fiber: AnyFiber): bigint | undefined =>
  wanted(fiber) ? Context.get(fiber.currentDefaultServices, Clock.Clock).unsafeCurrentTimeNanos() : undefined

const finishReasons = {
  stop: "stop",
  length: "length",
  toolCalls: "tool_calls",
  other: "other"
} as const satisfies { readonly [K in FinishReason]: string }

/** Why the model stopped. */
export const finished = (trace: Trace | undefined, reason: FinishReason): void =>
  trace?.attribute("gen_ai.response.finish_reasons", [finishReasons[reason]])

export const firstOutput = (trace: Trace | undefined, millis: number): void =>
  trace?.attribute("gen_ai.response.time_to_first_chunk", millis / 1000)

export const attemptEnded = (
  trace: Trace,
  outcome: Outcome,
  usage: Usage | undefined,
  cost: Cost | undefined,
  at?: number
): void => {
  trace.attribute("gen_ai.usage.input_tokens", usage?.inputTokens)
  trace.attribute("gen_ai.usage.output_tokens", usage?.outputTokens)
  trace.attribute("gen_ai.usage.cache_read.input_tokens", usage?.cachedInputTokens)
  trace.attribute("gen_ai.usage.cache_creation.input_tokens", usage?.cacheWriteTokens)
  trace.attribute("gen_ai.usage.reasoning.output_tokens", usage?.reasoningTokens)
  trace.attribute("perdure.cost", cost?.amount)
  trace.attribute("perdure.currency", cost?.currency)
  if (outcome._tag === "Answered") trace.attribute("gen_ai.response.model", outcome.model)
  if (outcome._tag !== "Failed") return trace.end(exitOf(outcome._tag, undefined), at)
  trace.attribute("error.type", outcome.error)
  trace.attribute("http.response.status_code", outcome.status)
  trace.attribute(
    "perdure.retry_after",
    outcome.retryAfter === undefined ? undefined : Duration.toSeconds(outcome.retryAfter)
  )
  trace.end(failed(outcome.error), at)
}
