/** Instances of schema classes, built from fields that are known to be valid. */

/**
 * An instance with the given fields, which are all there are. The class's own constructor would look for defaults and
 * cost several times as much, on the path of every call.
 */
export const instance = <A extends object>(type: { readonly prototype: A }, fields: Partial<A>): A =>
  Object.assign(Object.create(type.prototype) as A, fields)

/**
 * Another instance of the value's own class, with some fields changed. An error is built by its constructor, as only that
 * makes a real one, without validation, and keeps the original's stack, since capturing one costs more than the copy.
 */
export const copy = <A extends object>(self: A, changes: Partial<A>): A => {
  if (!(self instanceof Error)) return Object.assign(Object.create(Object.getPrototypeOf(self)) as A, self, changes)
  const make = self.constructor as new(fields: A, skipValidation: boolean) => A
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    const fresh = new make({ ...self, ...changes }, true)
    Object.defineProperty(fresh, "stack", { value: self.stack, configurable: true, writable: true })
    return fresh
  } finally {
    Error.stackTraceLimit = limit
  }
}
