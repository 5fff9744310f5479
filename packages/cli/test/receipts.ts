import { Duration } from "effect"
import { type ModelPrices, Receipt, Usage } from "perdure"

interface Told {
  readonly provider?: string
  readonly model?: string
  readonly wait?: number
  readonly took: number
  readonly outcome: Receipt.Outcome
}

export const answered: Receipt.Outcome = { _tag: "Answered", model: "gpt-4o" }

export const failed = (error: string, status?: number, retryAfterMs?: number): Receipt.Outcome => ({
  _tag: "Failed",
  error,
  detail: "",
  ...(status === undefined ? {} : { status }),
  ...(retryAfterMs === undefined ? {} : { retryAfter: Duration.millis(retryAfterMs) })
})

/** The receipt of a call whose attempts came one after another. */
export const receipt = (told: ReadonlyArray<Told>): Receipt.Receipt => {
  let at = 0
  const attempts = told.map(({ model = "gpt-4o", outcome, provider = "openai", took, wait = 0 }) => {
    const start = at + wait
    at = start + took
    return new Receipt.Attempt({
      target: { provider, model },
      start: Duration.millis(start),
      wait: Duration.millis(wait),
      duration: Duration.millis(took),
      outcome
    })
  })
  const last = attempts.at(-1)
  return new Receipt.Receipt({
    requested: { provider: "openai", model: "gpt-4o" },
    ...(last?.outcome._tag === "Answered"
      ? { served: { provider: last.target.provider, model: last.outcome.model } }
      : {}),
    fallback: attempts.some(({ target }) => target.provider !== "openai"),
    attempts,
    startedAt: 0,
    duration: Duration.millis(at)
  })
}

/** An answer that read 10 tokens and wrote 5, by a model that names itself more exactly where it is given. */
export const used = (model: string, { cost, served = model }: { cost?: ModelPrices.Cost; served?: string } = {}) => {
  const one = receipt([{ model, took: 5, outcome: { _tag: "Answered", model: served } }])
  const usage = new Usage.Usage({ inputTokens: 10, outputTokens: 5 })
  const attempts = one.attempts.map((attempt) => new Receipt.Attempt({ ...attempt, usage, cost }))
  return new Receipt.Receipt({ ...one, attempts })
}

/** The demo's second scene, with round numbers. */
export const story = receipt([
  { took: 200, outcome: failed("Overloaded", 503) },
  { wait: 100, took: 200, outcome: failed("RateLimited", 429, 400) },
  { wait: 500, took: 200, outcome: failed("ProviderUnavailable", 500) },
  { provider: "backup", model: "gpt-4o-mini", took: 400, outcome: { _tag: "Answered", model: "gpt-4o-mini-2024" } }
])
