/** What a fallback knows of each of its targets. */
import type { Classifier } from "../Disposition.ts"
import { InvalidRequest, is, update } from "../LlmError.ts"
import type { Service, TargetInfo } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import * as Health from "./health.ts"
import type { Ended } from "./opened.ts"
import { type Kind, Pace, Timed } from "./pace.ts"
import { type Raw, rawOf, targetsOf } from "./provider.ts"

/** A target of a chain. */
export interface Target {
  readonly raw: Raw
  /** All the targets that it may ask itself. */
  readonly all: ReadonlyArray<TargetInfo>
  readonly info: TargetInfo
  /** That of the chain it was given to. */
  weight: number
  readonly known: Known
}

/** What is known of a target. What changes in it changes in one synchronous step each. */
export class Known extends Pace {
  health: Health.Health = Health.healthy
}

export const targetOf = (service: Service, known: Known): Target => {
  const all = targetsOf(service)
  return { raw: rawOf(service), all, info: summary(all), weight: 1, known }
}

/** A service stands in a chain as its first target, with the largest window of all it may ask and all that they can do. */
const summary = (targets: ReturnType<typeof targetsOf>): TargetInfo => {
  const [first] = targets
  const windows = targets.flatMap(({ contextWindow }) => contextWindow ?? [])
  return targets.length === 1 ? first : {
    ...first,
    ...(windows.length === 0 ? {} : { contextWindow: Math.max(...windows) }),
    tools: targets.some(({ tools }) => tools !== false),
    images: targets.some(({ images }) => images !== false)
  }
}

/** Whether there is anything that it is known not to do. */
export const isLimited = ({ info }: Target): boolean => info.tools === false || info.images === false

/** What a request needs that not every model can do. */
const needsOf = ({ messages, tools }: LlmRequest) => ({
  tools: tools.length > 0,
  images: messages.some((message) => message._tag === "User" && message.content.some(({ _tag }) => _tag === "Image"))
})

/** Why each target cannot do what a request needs, where that is known before it is asked. */
export const unable = (request: LlmRequest): (target: Target) => InvalidRequest | undefined => {
  const needs = needsOf(request)
  return ({ info: { images, model, provider, tools } }) => {
    const param = needs.tools && tools === false ? "tools" : needs.images && images === false ? "images" : undefined
    return param === undefined
      ? undefined
      : new InvalidRequest({ provider, model, param, detail: `this model does not take ${param}` })
  }
}

/** What a failure says about the target's health. */
const eventOf = (ended: Ended, classify: Classifier): Health.Event => {
  switch (ended._tag) {
    case "Answered":
      return "answered"
    case "Died":
      return "nothing"
    case "Interrupted":
      return ended.streamed ? "answered" : "nothing"
    case "Failed": {
      if (!is(ended.error)) return "nothing"
      // That a retry has given up makes a passing failure no lasting one.
      const error = ended.error.spent ? update(ended.error, { spent: false }) : ended.error
      const { blame, next } = classify(error)
      if (blame !== "key" && blame !== "model" && blame !== "provider") return "nothing"
      return next === "elsewhereOnly" ? "failedForGood" : "failed"
    }
  }
}

/** A request to a target. */
export class Trial extends Timed {
  private readonly known: Known
  private readonly settings: Health.Settings & { readonly classify: Classifier }
  private readonly ticket: Health.Ticket

  constructor(
    { known }: Target,
    kind: Kind,
    settings: Health.Settings & { readonly classify: Classifier },
    startedAt: number
  ) {
    super(known, kind, startedAt)
    const [ticket, health] = Health.ask(settings, known.health, startedAt)
    known.health = health
    this.known = known
    this.settings = settings
    this.ticket = ticket
  }

  override ended(ended: Ended, now: number): void {
    super.ended(ended, now)
    const { known, settings, ticket } = this
    known.health = Health.settle(settings, known.health, ticket, eventOf(ended, settings.classify), now)
  }
}
