/** As much of JSON Schema as the schemas of options are made of. A keyword that is not known here is an error. */
export interface Node {
  readonly [keyword: string]: unknown
}

const isObject = (value: unknown): value is Node => typeof value === "object" && value !== null && !Array.isArray(value)

const typeOf = (value: unknown): ReadonlyArray<string> =>
  value === null
    ? ["null"]
    : Array.isArray(value)
    ? ["array"]
    : typeof value === "number"
    ? Number.isInteger(value) ? ["number", "integer"] : ["number"]
    : [typeof value]

const told = new Set(["$schema", "$defs", "title", "description", "examples", "default"])

/** What a node stands for, without references. */
export const resolved = (root: Node, node: Node): Node =>
  typeof node["$ref"] === "string"
    ? resolved(root, (root["$defs"] as Record<string, Node>)[node["$ref"].replace("#/$defs/", "")] ?? {})
    : node

/** The alternatives of a node. */
export const members = (root: Node, node: Node): ReadonlyArray<Node> => {
  const { anyOf } = resolved(root, node)
  return Array.isArray(anyOf)
    ? anyOf.flatMap((one: Node) => members(root, one))
    : [resolved(root, node)]
}

export const isValid = (root: Node, value: unknown, node: Node = root): boolean =>
  Object.entries(node).every(([keyword, of]) => {
    switch (keyword) {
      case "$ref":
        return isValid(root, value, resolved(root, node))
      case "anyOf":
        return (of as ReadonlyArray<Node>).some((one) => isValid(root, value, one))
      case "type":
        return typeOf(value).includes(of as string)
      case "enum":
        return (of as ReadonlyArray<unknown>).includes(value)
      case "minimum":
        return typeof value !== "number" || value >= (of as number)
      case "maximum":
        return typeof value !== "number" || value <= (of as number)
      case "exclusiveMinimum":
        return typeof value !== "number" || value > (of as number)
      case "exclusiveMaximum":
        return typeof value !== "number" || value < (of as number)
      case "pattern":
        return typeof value !== "string" || new RegExp(of as string).test(value)
      case "minItems":
        return !Array.isArray(value) || value.length >= (of as number)
      case "items":
        return !Array.isArray(value) || value.every((item) => isValid(root, item, of as Node))
      case "required":
        return !isObject(value) || (of as ReadonlyArray<string>).every((key) => key in value)
      case "properties":
        return !isObject(value) ||
          Object.entries(of as Record<string, Node>).every(([key, one]) =>
            !(key in value) || isValid(root, value[key], one)
          )
      case "additionalProperties":
        return of !== false || !isObject(value) ||
          Object.keys(value).every((key) => key in (node["properties"] as object))
      default:
        if (told.has(keyword)) return true
        throw new Error(`the keyword ${keyword} is not known`)
    }
  })
