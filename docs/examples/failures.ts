import type { Layer } from "effect"
import { Disposition, Fallback, LlmProvider, Policy, Retry } from "perdure"

const classify = Disposition.override({ ContentFiltered: { next: "elsewhereOnly" } })

const retry = Retry.standard.pipe(Retry.classifiedBy(classify))

/** Lets the second provider answer what the first one refuses for its content. */
export const lenient = (
  primary: Layer.Layer<LlmProvider.LlmProvider>,
  secondary: Layer.Layer<LlmProvider.LlmProvider>
) =>
  primary.pipe(
    LlmProvider.withPolicy(Policy.retry(retry)),
    LlmProvider.orElse(secondary, { movesOn: Fallback.movesOn(classify) })
  )
