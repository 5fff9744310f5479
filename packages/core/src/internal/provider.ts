/**
 * What stands between a provider's code and the service that programs see.
 *
 * A service has a raw side, which must run inside a call and adds to it, and a public side, where each use is a call.
 * Layers that wrap layers build on the raw side, so however many policies are stacked, there is one call and one receipt.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as LlmError from "../LlmError.ts"
import type { Service, TargetInfo } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import type { LlmResponse } from "../LlmResponse.ts"
import { called, inCall } from "./calling.ts"
import { commit } from "./commit.ts"
import { follow } from "./follow.ts"
import { leaf } from "./leaf.ts"
import { OpenedStream } from "./opened.ts"
import type { Plan } from "./plan.ts"
import { unknown } from "./receipt.ts"
import { reporters } from "./reporters.ts"
import { reportTo } from "./teller.ts"

reportTo(reporters)

/** The raw side. */
export interface Raw {
  readonly generate: (request: LlmRequest) => Effect.Effect<LlmResponse, LlmError.LlmError>
  readonly open: (request: LlmRequest) => Effect.Effect<OpenedStream, LlmError.LlmError, Scope.Scope>
}

/**
 * The raw sides of the services made here. Kept outside of them, so that a service built from one of ours by hand, even
 * with a spread, is a service of its own, and what it adds is not passed over.
 */
const raws = new WeakMap<Service, Raw>()

/** The services whose first target is a guess. */
const guesses = new WeakMap<Service, () => boolean>()

/** Whether it is not known which target a service asks first. */
export const isGuess = (service: Service): boolean => guesses.get(service)?.() ?? service.targets?.[0] === undefined

const plans = new WeakMap<Service, Plan>()

/** What a service is made of; a hand-written one is a target. */
export const planOf = (service: Service): Plan =>
  plans.get(service) ?? { _tag: "Target", target: targetsOf(service)[0] }

/** The targets of a service; a hand-written one need not say. */
export const targetsOf = (service: Service): readonly [TargetInfo, ...Array<TargetInfo>] => {
  const [first = unknown, ...rest] = service.targets ?? []
  return [first, ...rest]
}

/** The raw side of a service. A hand-written one is taken for a provider, whose streams are opened with the same care. */
export const rawOf = (service: Service): Raw =>
  raws.get(service) ?? leaf(targetsOf(service)[0], {
    generate: (request) => service.generate(request),
    open: (request, progress) =>
      Effect.flatMap(service.open(request), (opened) =>
        Effect.flatMap(
          opened instanceof OpenedStream ? Effect.succeed(opened.pull) : Stream.toPull(opened.parts),
          (pull) => commit(pull, targetsOf(service)[0], request.idempotent, progress)
        ))
  }, "by hand")

/** The public side: each use of it is one call. */
export const fromRaw = (
  raw: Raw,
  targets: readonly [TargetInfo, ...Array<TargetInfo>],
  /** Whether the first target is a guess; then the first that is asked counts as the requested one. */
  guessed: () => boolean = () => false,
  plan: Plan = { _tag: "Target", target: targets[0] }
): Service => {
  const first = { provider: targets[0].provider, model: targets[0].model }
  const requested = () => guessed() ? undefined : first
  const service: Service = {
    targets,
    generate: (request) => called(raw.generate(request), requested()),
    open: (request) =>
      inCall(
        raw.open(request),
        requested(),
        (opened, call) => follow(opened, call, raw.open(request), targets.length)
      )
  }
  raws.set(service, raw)
  plans.set(service, plan)
  guesses.set(service, guessed)
  return service
}

/** A service whose uses are calls; ours are already. */
export const publicOf = (service: Service): Service =>
  raws.has(service)
    ? service
    : fromRaw(rawOf(service), targetsOf(service), () => isGuess(service))
