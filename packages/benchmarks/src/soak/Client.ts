/** One call through the real layers, left to its end or not, and checked against what the server meant. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Anthropic from "@perdure/providers/anthropic"
import * as Google from "@perdure/providers/google"
import * as OpenAi from "@perdure/providers/openai"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Call from "perdure/Call"
import * as LlmError from "perdure/LlmError"
import * as LlmProvider from "perdure/LlmProvider"
import * as Policy from "perdure/Policy"
import type * as Receipt from "perdure/Receipt"
import * as Retry from "perdure/Retry"
import * as Chance from "./Chance.ts"
import type { Format } from "./Format.ts"
import type { Plan } from "./Plan.ts"

const quick = Retry.exponential("5 millis").pipe(
  Retry.capped("40 millis"),
  Retry.jittered("full"),
  Retry.attempts(3),
  Retry.whileRetryable
)

const policies = (patience: number) => [
  Policy.retry(quick),
  Policy.compose(Policy.retry(quick), Policy.timeout(patience * 1.5)),
  Policy.compose(Policy.timeout(patience * 3), Policy.retry(quick))
]

const apiKey = Redacted.make("sk-soak-0123456789")
const target = (url: string, format: Format, patience: number) => {
  const timeouts = { headers: patience, firstOutput: patience, idle: patience }
  const options = { model: `${format}-model`, apiKey, timeouts, baseUrl: `${url}/${format}` }
  switch (format) {
    case "openai":
      return OpenAi.layer(options)
    case "anthropic":
      return Anthropic.layer(options)
    case "google":
      return Google.layer(options)
  }
}

/**
 * Every chain of targets that the calls go through: alone and with fallbacks, with one policy or another. `patience`
 * is how many milliseconds of silence are a failure.
 */
export const services = (url: string, patience: number) => {
  const chains: ReadonlyArray<readonly [Format, ...Array<Format>]> = [
    ["openai"],
    ["anthropic"],
    ["google"],
    ["openai", "anthropic"],
    ["anthropic", "google"],
    ["google", "openai", "anthropic"]
  ]
  return Effect.flatMap(Effect.context<HttpClient.HttpClient>(), (client) =>
    Effect.forEach(
      chains.flatMap((chain) => policies(patience).map((policy) => ({ chain, policy }))),
      ({ chain: [first, ...others], policy }) => {
        const one = (format: Format) => LlmProvider.withPolicy(target(url, format, patience), policy)
        const layer = others.reduce((before, format) => LlmProvider.orElse(before, one(format)), one(first))
        return Effect.map(
          Layer.build(Layer.orDie(Layer.provide(layer, Layer.succeedContext(client)))),
          (context) => Context.get(context, LlmProvider.LlmProvider)
        )
      }
    ))
}

/** What came of a call. */
export interface Outcome {
  readonly ended: "answered" | "failed" | "left"
  /** The failure's tag, of a failed one. */
  readonly failure: string | undefined
  readonly whenCut: string
  readonly attempts: number
  readonly restarts: number
  readonly characters: number
  /** What must not be; empty when all is well. */
  readonly problems: ReadonlyArray<string>
}

interface Seen {
  text: string
  characters: number
  restarts: number
  finished: boolean
  receipt: Receipt.Receipt | undefined
  started: number
  ended: number
  over: number
}

/** The failure that ended it: of a chain the last one. */
const last = (error: LlmError.LlmError): LlmError.TargetError => error._tag === "AllTargetsFailed" ? error.last : error

/** The plans of a target whose text begins with what was read. */
const beginsWith = (plans: ReadonlyArray<Plan>, text: string) => plans.some((plan) => plan.text.startsWith(text))

const answered = (seen: Seen, plans: ReadonlyArray<Plan>): Array<string> => {
  const { receipt } = seen
  const problems: Array<string> = []
  if (!seen.finished) problems.push("a stream succeeded without a Finish")
  const meant = plans.find((plan) => plan.how === "whole" && plan.text === seen.text)
  if (meant === undefined) problems.push("an answer is not the text that was meant")
  else if (receipt?.served?.provider !== meant.format) problems.push("the receipt names another target than answered")
  if (receipt?.attempts.length !== seen.started) {
    problems.push("the receipt has another number of attempts than were made")
  }
  return problems
}

const failed = (error: LlmError.LlmError, whenCut: string, seen: Seen, plans: ReadonlyArray<Plan>): Array<string> => {
  const problems: Array<string> = []
  const { handedOut, partial } = last(error)
  if (error.receipt === undefined) problems.push("a failure has no receipt")
  else if (error.receipt.attempts.length !== seen.started) problems.push("a failure's receipt lacks attempts")
  if (whenCut === "buffer" && (seen.characters > 0 || handedOut)) problems.push("a buffered stream handed out text")
  if (whenCut === "fail" && seen.text !== partial) problems.push("the text handed out is not the failure's partial")
  if (handedOut && !beginsWith(plans, partial)) problems.push("a partial text was never meant")
  const end = plans.at(-1)
  const late = last(error)._tag === "TimedOut"
  if (end?.how === "whole" && !late) problems.push(`a whole answer became a ${last(error)._tag}: ${error.message}`)
  return problems
}

/** Makes one call. */
export const call = (
  seed: string,
  number: number,
  list: ReadonlyArray<LlmProvider.Service>,
  plansOf: (call: number) => ReadonlyArray<Plan>
): Effect.Effect<Outcome> =>
  Effect.gen(function*() {
    const chance = Chance.make(`${seed}/client/${number}`)
    const service = list[Chance.integer(chance, 0, list.length - 1)]
    if (service === undefined) return yield* Effect.dieMessage("no service")
    const whenCut = Chance.weighted(chance, [["fail", 1], ["restart", 1], ["buffer", 1]] as const)
    const leaves = Chance.weighted(chance, [["no", 8], ["interrupted", 1.5], ["reads less", 0.5]] as const)
    const slow = chance() < 0.1
    const patience = Math.floor(200 * chance() ** 2)
    const few = Chance.integer(chance, 1, 10)

    const seen: Seen = {
      text: "",
      characters: 0,
      restarts: 0,
      finished: false,
      receipt: undefined,
      started: 0,
      ended: 0,
      over: 0
    }
    const parts = LlmProvider.stream(`call ${number}`, { whenCut })
    const reading = Stream.runForEach(leaves === "reads less" ? Stream.take(parts, few) : parts, (part) => {
      if (part._tag === "TextDelta") {
        seen.text += part.text
        seen.characters += part.text.length
      } else if (part._tag === "Restarted") {
        seen.text = ""
        seen.restarts++
      } else if (part._tag === "Finish") {
        seen.finished = true
        seen.receipt = part.receipt
      }
      return slow ? Effect.sleep(2) : Effect.void
    }).pipe(
      Effect.provideService(LlmProvider.LlmProvider, service),
      Call.observe((event) => {
        if (event._tag === "AttemptStarted") seen.started++
        if (event._tag === "AttemptEnded") seen.ended++
        if (event._tag === "Ended") seen.over++
      }),
      Effect.withRandom(Random.make(`${seed}/${number}`))
    )
    const fiber = yield* Effect.fork(reading)
    if (leaves === "interrupted") {
      yield* Effect.sleep(patience)
      yield* Fiber.interruptFork(fiber)
    }
    const exit = yield* Fiber.await(fiber)
    const plans = plansOf(number)
    const common = { whenCut, attempts: seen.started, restarts: seen.restarts, characters: seen.characters }

    const problems: Array<string> = []
    if (seen.started !== seen.ended) problems.push("an attempt was begun and never ended")
    if (seen.over !== 1) problems.push(`a call ended ${seen.over} times`)
    if (seen.restarts > 0 && whenCut !== "restart") problems.push("a stream was restarted and nobody asked for it")
    if (Exit.isSuccess(exit)) {
      if (leaves === "reads less" && !seen.finished) {
        if (!beginsWith(plans, seen.text)) problems.push("what was read was never meant")
        return { ...common, ended: "left", failure: undefined, problems }
      }
      return { ...common, ended: "answered", failure: undefined, problems: [...problems, ...answered(seen, plans)] }
    }
    if (Cause.isInterruptedOnly(exit.cause)) {
      if (leaves !== "interrupted") problems.push("a call was interrupted and nobody had asked for it")
      if (!beginsWith(plans, seen.text) && seen.text !== "") problems.push("what was read was never meant")
      return { ...common, ended: "left", failure: undefined, problems }
    }
    const error = Cause.squash(exit.cause)
    if (!LlmError.is(error)) problems.push(`a failure is none of ours: ${Cause.pretty(exit.cause)}`)
    else problems.push(...failed(error, whenCut, seen, plans))
    return { ...common, ended: "failed", failure: LlmError.is(error) ? error._tag : "none of ours", problems }
  })
