/**
 * What is wrong when a program and its script do not fit: it asked more often, or less often, than the script has steps.
 * Both are defects, since no program should handle them. Neither holds any of a request's text.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type { Call } from "./ScriptedProvider.ts"

/**
 * The defect of a call for which the script has no step left.
 *
 * @since 0.1.0
 * @category errors
 */
export class RanOut extends Data.TaggedError("RanOut")<{
  readonly provider: string
  readonly model: string
  /** Which call it was, from 1. */
  readonly call: number
  readonly steps: number
  readonly kind: Call["kind"]
  /** How many messages the request had. */
  readonly messages: number
}> {
  override get message(): string {
    return `the script of ${this.provider}/${this.model} has run out: call ${this.call} (${this.kind}, ` +
      `${count(this.messages, "message")}) was made, but there ${are(this.steps)}`
  }
}

/**
 * The defect of a test that succeeds although steps of its script were not played.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotUsedUp extends Data.TaggedError("NotUsedUp")<{
  readonly provider: string
  readonly model: string
  readonly calls: number
  readonly steps: number
  /** The steps that remain, each with its place, for example `2 answer`. */
  readonly left: ReadonlyArray<string>
}> {
  override get message(): string {
    return `the script of ${this.provider}/${this.model} was not used up: ${count(this.calls, "call")} ` +
      `${this.calls === 1 ? "was" : "were"} made, but there ${are(this.steps)}; left: ${this.left.join(", ")}`
  }
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`

const are = (steps: number): string => `${steps === 1 ? "is" : "are"} ${count(steps, "step")}`
