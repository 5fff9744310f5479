/** What is at hand already takes no turn of the runtime. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** `Effect.flatMap`, which goes on at once from an effect that is a value. */
export const flatMap = <A, B, E, E2, R, R2>(
  effect: Effect.Effect<A, E, R>,
  f: (value: A) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E | E2, R | R2> => isSuccess(effect) ? f(effect.value) : Effect.flatMap(effect, f)

const isSuccess = <A, E, R>(effect: Effect.Effect<A, E, R>): effect is Exit.Success<A, E> & Effect.Effect<A, E, R> =>
  Exit.isExit(effect) && Exit.isSuccess(effect)
