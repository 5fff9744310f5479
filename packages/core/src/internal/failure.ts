/** What all failures of a target share: their fields, their message and how they print. */
import { NodeInspectSymbol, stringifyCircular } from "effect/Inspectable"
import * as Schema from "effect/Schema"
import { Usage } from "../LlmResponse.ts"
import { RateLimits } from "../RateLimits.ts"
import { Receipt } from "../Receipt.ts"

/** What every failure of a target carries, be it the provider's or the refusal of a policy in front of it. */
export const common = {
  /** The provider's short name, for example `openai`. */
  provider: Schema.String,
  /** The model that was asked for. */
  model: Schema.String,
  /** The HTTP status, where there was one. */
  status: Schema.optional(Schema.Int),
  /** The provider's own code or type for the failure, for example `insufficient_quota`. */
  code: Schema.optional(Schema.String),
  /** The provider's id of the request, for a support ticket. */
  requestId: Schema.optional(Schema.String),
  /** How long the provider asked to wait before another request. */
  retryAfter: Schema.optional(Schema.DurationFromMillis).pipe(Schema.fromKey("retryAfterMs")),
  /** What the provider said about its rate limits. */
  rateLimits: Schema.optional(RateLimits),
  /** The provider's explicit word on whether to retry (`x-should-retry`). */
  shouldRetry: Schema.optional(Schema.Boolean),
  /** The provider's own words, redacted and cut to 2 KiB. Build it with `LlmError.detail`. */
  detail: Schema.optionalWith(Schema.String, { default: () => "" }),
  /** Whether the failed request may be repeated although the provider may have acted on it. */
  idempotent: Schema.optionalWith(Schema.Boolean, { default: () => true }),
  /** The text of the answer that had arrived, of a stream cut after its first output. It is in no message and no log. */
  partial: Schema.optionalWith(Schema.String, { default: () => "" }),
  /** The tokens used until the failure, as far as the provider said. */
  usage: Schema.optional(Usage),
  /** Whether a reader has been given part of the answer; if so, nothing is repeated behind the reader's back. */
  handedOut: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** Whether a retry policy has already given up on this failure, so that no outer one repeats it. */
  spent: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** The story of the call that ended with this failure. */
  receipt: Schema.optional(Receipt)
}

interface Told {
  readonly _tag: string
  readonly provider: string
  readonly model: string
  readonly status?: number | undefined
  readonly detail: string
}

/** A failure's message. */
export const say = (what: string, error: Told): string =>
  `${error.provider}/${error.model} ${what}` +
  (error.status === undefined ? "" : ` (HTTP ${error.status})`) +
  (error.detail === "" ? "" : `: ${error.detail}`)

/** Loggers print a failure by these: with everything but the partial answer, which `Schema.encode` keeps. */
const printing: PropertyDescriptorMap = {
  toJSON: {
    value(this: { readonly partial: string }): object {
      const { partial: _, ...rest } = this
      return rest
    }
  },
  [NodeInspectSymbol]: {
    value(this: Error & { readonly toJSON: () => object }): string {
      return `${this.stack ?? String(this)} ${stringifyCircular(this.toJSON(), 2)}`
    }
  }
}

/** Makes the members of a union print without the partial answer. */
export const printSafely = (members: ReadonlyArray<{ readonly prototype: object }>): void => {
  for (const member of members) Object.defineProperties(member.prototype, printing)
}
