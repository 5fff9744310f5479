/** What a service is made of, to be told in words. */
import type { TargetInfo } from "../LlmProvider.ts"
import type { Step } from "../Policy.ts"

export type Plan =
  | { readonly _tag: "Target"; readonly target: TargetInfo }
  /** Policies around another plan, read when they are told, as they may change. */
  | { readonly _tag: "Guarded"; readonly steps: () => ReadonlyArray<Step>; readonly inner: Plan }
  /** One that chooses among several, each under a label where it has one. */
  | { readonly _tag: "Choice"; readonly step: () => Step; readonly among: ReadonlyArray<Branch> }

export interface Branch {
  readonly label?: string | undefined
  readonly plan: Plan
}

const row = (steps: ReadonlyArray<Step>): ReadonlyArray<string> => {
  const width = Math.max(...steps.map(({ name }) => name.length))
  return steps.map(({ name, settings }) => `${name.padEnd(width)}  ${settings}`.trimEnd())
}

/** The steps that stand one in the other, and what is inside them. */
const unwrap = (
  plan: Plan
): { readonly steps: ReadonlyArray<Step>; readonly inner: Exclude<Plan, { _tag: "Guarded" }> } => {
  if (plan._tag !== "Guarded") return { steps: plan._tag === "Choice" ? [plan.step()] : [], inner: plan }
  const { inner, steps } = unwrap(plan.inner)
  return { steps: [...plan.steps(), ...steps], inner }
}

/** A line for each policy, the outermost first, and a branch for each that may be asked. */
export const lines = (plan: Plan): ReadonlyArray<string> => {
  const { inner, steps } = unwrap(plan)
  if (inner._tag === "Target") return [...row(steps), `${inner.target.provider}/${inner.target.model}`]
  return [
    ...row(steps),
    ...inner.among.flatMap(({ label, plan }, i) => {
      const isLast = i === inner.among.length - 1
      const all = [...label === undefined ? [] : [`${label}:`], ...lines(plan)]
      return all.map((line, j) => `${j > 0 ? isLast ? "   " : "│  " : isLast ? "└─ " : "├─ "}${line}`)
    })
  ]
}
