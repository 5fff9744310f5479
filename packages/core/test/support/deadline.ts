/** A deadline that policies see, without the policy that ends what is inside. */
import { type Duration, Effect, Exit } from "effect"
import { through } from "../../src/internal/gate.ts"
import { localOf } from "../../src/internal/local.ts"

export const withDeadline = (at: number, limit: Duration.Duration) => <A, E, R>(self: Effect.Effect<A, E, R>) =>
  through(
    [({ fiber }) => {
      const local = localOf(fiber)
      const before = local.deadline
      local.deadline = { at, limit, fiber, isOver: false }
      return Exit.succeed((exit) => {
        local.deadline = before
        return exit
      })
    }],
    Effect.suspend(() => self),
    undefined
  )
