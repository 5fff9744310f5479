import { expect, it } from "@effect/vitest"
import { OpenAi } from "@perdure/providers"

/** The time at which the responses come: Monday, 23 November 2026, noon. */
export const now = Date.UTC(2026, 10, 23, 12, 0, 0)

export const failure = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  OpenAi.failure({
    status,
    headers,
    body: typeof body === "string" ? body : JSON.stringify(body),
    model: "m",
    now
  })

/** An error body as OpenAI writes it. */
export const said = (fields: Record<string, unknown>) => ({
  error: { message: "words", type: null, param: null, ...fields }
})
export const code = (code: string, fields: Record<string, unknown> = {}) => said({ code, ...fields })
export const text = (message: string) => said({ message })

/** A fact about the wire: this status and body, with these headers, is that failure with these fields. */
export type Fact = readonly [
  fact: string,
  status: number,
  body: unknown,
  tag: string,
  fields?: Record<string, unknown>,
  headers?: Record<string, string>
]

/** One test for each fact. */
export const rows = (facts: ReadonlyArray<Fact>) => {
  for (const [fact, status, body, tag, fields = {}, headers = {}] of facts) {
    it(`${fact}`, () => {
      const error = failure(status, body, headers)
      expect({ ...error, _tag: error._tag }).toMatchObject({
        _tag: tag,
        provider: "openai",
        model: "m",
        ...(status === 200 ? {} : { status }),
        ...fields
      })
    })
  }
}
