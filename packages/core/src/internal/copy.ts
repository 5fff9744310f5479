/** Instances of schema classes, built from fields that are known to be valid. */

/**
 * An instance with the given fields, which are all there are. The class's own constructor would look for defaults and
 * cost several times as much, on the path of every call.
 */
export const instance = <A extends object>(type: { readonly prototype: A }, fields: Partial<A>): A =>
  Object.assign(Object.create(type.prototype) as A, fields)

/**
 * A failure with the given fields, which are all there are, and without a stack: its class's constructor would cost ten
 * times as much, and capturing a stack twice that.
 */
export const failure = <A extends Error>(type: { readonly prototype: A }, fields: object): A => {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    // `Error` itself, since only its constructor makes a real one, for an instance of the class.
    return Object.assign(Reflect.construct(Error, [], type as unknown as new() => A) as A, fields)
  } finally {
    Error.stackTraceLimit = limit
  }
}

/** Another instance of the value's own class, with some fields changed. An error keeps the original's stack. */
export const copy = <A extends object>(self: A, changes: Partial<A>): A => {
  if (!(self instanceof Error)) return Object.assign(Object.create(Object.getPrototypeOf(self)) as A, self, changes)
  const fresh = failure(self.constructor as unknown as { readonly prototype: A & Error }, self)
  fresh.stack = self.stack ?? ""
  return Object.assign(fresh, changes)
}
