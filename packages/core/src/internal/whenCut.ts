/** What the reader of a stream wants when it is cut after its first output. */
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"

export type WhenCut = "fail" | "restart" | "buffer"

/** What the reader of the streams opened by this fiber wants; what a child sets is not carried back when it is joined. */
export const whenCut: FiberRef.FiberRef<WhenCut> = globalValue(
  Symbol.for("perdure/Call/whenCut"),
  () => FiberRef.unsafeMake<WhenCut>("fail", { join: (parent) => parent })
)
