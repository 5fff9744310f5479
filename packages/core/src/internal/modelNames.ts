/** Which name in a table stands for a model that a provider names more exactly. */

/** A version: dates as providers write them, a build of three or four digits, `latest`, and Bedrock's `-v2:0` behind it. */
const version = /^[-@:](?:\d{4}-\d\d-\d\d|\d\d-\d{4}|\d{8}|\d{6}|\d{3,4}|latest)(?:-v\d+(?::\d+)?)?$/

/** No version is longer, so a name of any length is looked at in no time. */
const longest = 24

/** The names that a model may be listed by without its version, the longest first. */
export const withoutVersion = (model: string): ReadonlyArray<string> => {
  const names: Array<string> = []
  for (let i = model.length - 1; i > 0 && i >= model.length - longest; i--) {
    const border = model[i]
    if ((border === "-" || border === "@" || border === ":") && version.test(model.slice(i))) {
      names.push(model.slice(0, i))
    }
  }
  return names
}

/** Something for each model of a provider: by its exact name, else without its version, else by the longest `name*`. */
export class ByModel<A> {
  private readonly exact: ReadonlyMap<string, A>
  private readonly prefixes: ReadonlyArray<readonly [prefix: string, value: A]>

  constructor(entries: ReadonlyArray<readonly [name: string, value: A]>) {
    this.exact = new Map(entries)
    this.prefixes = entries
      .flatMap(([name, value]): ReadonlyArray<readonly [string, A]> =>
        name.endsWith("*") ? [[name.slice(0, -1), value]] : []
      )
      .toSorted(([a], [b]) => b.length - a.length)
  }

  find(model: string): A | undefined {
    const found = this.exact.get(model)
    if (found !== undefined) return found
    for (const name of withoutVersion(model)) {
      const undated = this.exact.get(name)
      if (undated !== undefined) return undated
    }
    return this.prefixes.find(([prefix]) => model.startsWith(prefix))?.[1]
  }
}
