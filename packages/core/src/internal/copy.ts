/** Copies of schema-class instances with some fields changed. */

/**
 * Builds another instance of the value's own class. The fields were validated when the original was built, so they are
 * not validated again; an error keeps the original's stack, since capturing one costs more than the copy.
 */
export const copy = <A extends object>(self: A, changes: Partial<A>): A => {
  const make = self.constructor as new(fields: A, skipValidation: boolean) => A
  if (!(self instanceof Error)) return new make({ ...self, ...changes }, true)
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
