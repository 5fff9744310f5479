/** An assertion for the insides of properties, which are run by the hundred thousand. */
import { assert } from "@effect/vitest"

/** Fails where two are not the same; an assertion of Chai's takes longer than a whole run, also where they are. */
export const same = <A extends string | number | bigint | boolean | object | undefined>(
  ours: A,
  models: NoInfer<A>,
  what?: string
): void => {
  if (ours !== models) assert.strictEqual(ours, models, what)
}

/** The same for two lists. */
export const sameList = (ours: ReadonlyArray<number>, models: ReadonlyArray<number>, what?: string): void => {
  if (ours.length !== models.length || ours.some((one, i) => one !== models[i])) {
    assert.deepStrictEqual(ours, models, what)
  }
}
