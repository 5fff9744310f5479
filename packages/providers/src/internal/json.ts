/** Looking into JSON of which nothing is known. */

export type JsonRecord = Readonly<Record<string, unknown>>

/** The value, when it is a JSON object. */
export const asRecord = (value: unknown): JsonRecord | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? value as JsonRecord : undefined

/** The value, when it is a string that says something. */
export const asText = (value: unknown): string | undefined =>
  typeof value === "string" && value.trim() !== "" ? value : undefined

/** The value, when it can be a number of tokens. */
export const asCount = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined

/** The parsed text, or nothing when it is not JSON. `JSON.parse` does not recurse, so depth does no harm. */
export const parse = (text: string): { readonly value: unknown } | undefined => {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return undefined
  }
}

/** The object without the fields that are `undefined`. */
export const defined = <A extends object>(fields: A): A => {
  const record = fields as JsonRecord
  const present: Record<string, unknown> = {}
  for (const name of Object.keys(record)) {
    const value = record[name]
    if (value === undefined) continue
    // Assigned, this one would be the object's prototype.
    if (name === "__proto__") Object.defineProperty(present, name, { value, enumerable: true })
    else present[name] = value
  }
  return present as A
}

/** Which fields of an object are understood: all of a field, or the named ones inside it, also in each item of a list. */
export interface Known {
  readonly [field: string]: true | Known
}

/**
 * The fields that are not understood, nested as they came; nothing when all are. It goes as deep as `known` and no
 * deeper. Lists keep their places, with an empty object for each item that is understood.
 */
export const leftover = (value: unknown, known: Known): unknown => {
  if (Array.isArray(value)) {
    const items = value.map((item) => leftover(item, known))
    return items.every((item) => item === undefined) ? undefined : items.map((item) => item ?? {})
  }
  const record = asRecord(value)
  if (record === undefined) return value === null ? undefined : value
  const rest: Array<readonly [string, unknown]> = []
  for (const field of Object.keys(record)) {
    const understood = Object.hasOwn(known, field) ? known[field] : undefined
    if (understood === true) continue
    const left = understood === undefined ? record[field] : leftover(record[field], understood)
    if (understood === undefined || left !== undefined) rest.push([field, left])
  }
  return rest.length === 0 ? undefined : Object.fromEntries(rest)
}
