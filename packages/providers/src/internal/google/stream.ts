/**
 * Reads the events of `streamGenerateContent`: pieces of an answer in the shape of a whole one. There is no mark for the
 * end; the answer is complete when the connection ends and a finish reason had come.
 */
import * as Either from "effect/Either"
import type * as LlmError from "perdure/LlmError"
import { type FinishReason, Usage } from "perdure/LlmResponse"
import * as StreamPart from "perdure/StreamPart"
import { parse } from "../json.ts"
import type { Context, EventReader } from "../wire.ts"
import { malformed } from "./failure.ts"
import { contentOf, endOf, firstOf, replyOf, usageOf } from "./response.ts"

export const events = (context: Context): EventReader => {
  let calls = 0
  let empty = true
  let usage = new Usage({})
  let model = context.model
  let responseId: string | undefined
  let finishReason: FinishReason | undefined

  const read = (json: unknown): Either.Either<ReadonlyArray<StreamPart.StreamPart>, LlmError.ProviderError> =>
    Either.gen(function*() {
      const reply = yield* replyOf(json, context)
      const parts: Array<StreamPart.StreamPart> = []
      model = reply.modelVersion || model
      responseId = reply.responseId || responseId
      if (reply.usageMetadata) usage = usageOf(reply.usageMetadata)
      const candidate = firstOf(reply)
      if (candidate !== undefined) {
        const content = yield* contentOf(candidate, responseId, calls, context)
        calls += content.filter(({ _tag }) => _tag === "ToolCall").length
        empty = empty && content.length === 0
        parts.push(...StreamPart.fromContent(content))
        if (candidate.finishReason) {
          finishReason = yield* endOf(candidate, { calls: calls > 0, empty }, usage, context)
        }
      }
      if (reply.usageMetadata) parts.push({ _tag: "Usage", usage })
      return parts
    })

  return {
    event: ({ data }) => {
      // Some gateways close the stream as others do.
      if (data.trim() === "[DONE]") return Either.right([])
      const json = parse(data)
      return json === undefined ? Either.left(malformed("an event is not JSON", context)) : read(json.value)
    },
    end: () => Either.right(finishReason === undefined ? [] : [StreamPart.finish({ finishReason, model })])
  }
}
