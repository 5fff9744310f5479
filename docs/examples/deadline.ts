import { after, always, answer, ScriptedProvider, unavailable } from "@perdure/testing"
import { Duration, Effect, Option } from "effect"
import { Deadline, LlmProvider, Policy, Retry } from "perdure"

const openAi = ScriptedProvider.layer([always(after("10 seconds", unavailable()))], { provider: "openai" })
const anthropic = ScriptedProvider.layer([always(after("20 seconds", answer("In time.")))], { provider: "anthropic" })

const Llm = openAi.pipe(
  LlmProvider.withPolicy(Policy.compose(Policy.retry(Retry.standard), Policy.timeout("15 seconds"))),
  LlmProvider.orElse(anthropic),
  LlmProvider.withPolicy(Deadline.make("1 minute"))
)

export const answered = LlmProvider.generate("Is it worth waiting?").pipe(Effect.provide(Llm))

/** Two questions, one after the other, in the time that a user waits. */
const both = Effect.all([
  LlmProvider.generate("What is asked here?"),
  LlmProvider.generate("And what is the answer?")
]).pipe(Deadline.make("30 seconds"))

export const late = both.pipe(Effect.provide(anthropic))

/** Less is asked for where there is little time. */
const summary = Effect.flatMap(
  Deadline.remaining,
  Option.match({
    onNone: () => LlmProvider.generate("Summarise the book."),
    onSome: (left) =>
      LlmProvider.generate(
        Duration.lessThan(left, "30 seconds") ? "Summarise the book in a sentence." : "Summarise the book."
      )
  })
)

export const hurried = summary.pipe(Deadline.make("25 seconds"), Effect.provide(anthropic))
