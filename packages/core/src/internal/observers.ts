/** Those who are told what happens, by the fiber or in the whole process. */
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import type { Event, Observer } from "../Call.ts"
import { watchers } from "./watchers.ts"

/** Children share the parent's observers, and what a child sets is not carried back when it is joined. */
export const observers: FiberRef.FiberRef<ReadonlyArray<Observer>> = globalValue(
  Symbol.for("perdure/Call/observers"),
  () => FiberRef.unsafeMake<ReadonlyArray<Observer>>([], { join: (parent) => parent })
)

/** Whether there is anybody to tell: these, or those who watch the process. */
export const areWatched = (observers: ReadonlyArray<Observer>): boolean => observers.length > 0 || watchers.size > 0

/** An observer is a guest: its failure is not the call's. */
const tell = (observer: Observer, event: Event): void => {
  try {
    observer(event)
  } catch {
    // Dropped.
  }
}

/** Tells all of them. */
export const tellAll = (observers: ReadonlyArray<Observer>, event: Event): void => {
  for (const observer of observers) tell(observer, event)
  for (const watcher of watchers) tell(watcher, event)
}
