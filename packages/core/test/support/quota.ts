/** Calls under a quota, without a provider. */
import { Effect, Exit, Fiber } from "effect"
import { LlmRequest, LlmResponse, type Policy, type RateLimits } from "perdure"
import { openAi } from "./provider.ts"

export const answered = (
  usage: ConstructorParameters<typeof LlmResponse.Usage>[0] = {},
  rateLimits?: RateLimits.RateLimits
): LlmResponse.LlmResponse =>
  new LlmResponse.LlmResponse({
    ...openAi,
    content: [LlmRequest.text("hi")],
    finishReason: "stop",
    usage: new LlmResponse.Usage(usage),
    ...(rateLimits === undefined ? {} : { rateLimits })
  })

/** A request of so many tokens, by the rule of four characters. */
export const subject = (input = 0, output?: number, kind: Policy.Subject["kind"] = "generate"): Policy.Subject => ({
  target: openAi,
  kind,
  request: LlmRequest.make({
    messages: [LlmRequest.user("x".repeat(input * 4))],
    ...(output === undefined ? {} : { maxOutputTokens: output })
  })
})

/** What a fiber has come to by now. */
export const now = <A, E>(
  fiber: Fiber.RuntimeFiber<A, E>
): Effect.Effect<"waits" | "done" | "failed" | "interrupted"> =>
  Effect.map(Fiber.poll(fiber), (exit) =>
    exit._tag === "None"
      ? "waits"
      : Exit.isSuccess(exit.value)
      ? "done"
      : Exit.isInterrupted(exit.value)
      ? "interrupted"
      : "failed")
