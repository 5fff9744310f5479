/** A reader of Prometheus's text format 0.0.4 that accepts nothing else. */

export interface Family {
  readonly type: string
  readonly help: string | undefined
  /** By `name{label="value",…}`, the labels in order and unescaped. */
  readonly samples: Map<string, number>
}

const unescape = (text: string): string =>
  text.replaceAll(/\\(.)/gs, (_, char: string) => {
    if (char === "n") return "\n"
    if (char === "\\" || char === "\"") return char
    throw new Error(`unknown escape \\${char}`)
  })

const numberOf = (text: string): number => {
  const named: Record<string, number> = { "+Inf": Infinity, "-Inf": -Infinity, NaN }
  if (text in named) return named[text] ?? NaN
  if (!/^-?\d+(\.\d+)?(e[+-]?\d+)?$/.test(text)) throw new Error(`no number: ${text}`)
  return Number(text)
}

const labelsOf = (text: string): Array<readonly [string, string]> => {
  const labels: Array<readonly [string, string]> = []
  let rest = text
  while (rest !== "") {
    const [all, name = "", value = ""] =
      /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"(?:,(?=[a-zA-Z_])|$)/s.exec(rest) ?? []
    if (all === undefined) throw new Error(`no labels: ${rest}`)
    labels.push([name, unescape(value)])
    rest = rest.slice(all.length)
  }
  const names = labels.map(([name]) => name)
  if (new Set(names).size < names.length) throw new Error(`a label twice: ${text}`)
  return labels
}

const suffixes: Record<string, ReadonlyArray<string>> = {
  counter: [""],
  gauge: [""],
  histogram: ["_bucket", "_sum", "_count"],
  summary: ["", "_sum", "_count"]
}

/** Throws at the first thing that a scraper would stumble over. */
export const parse = (text: string): Map<string, Family> => {
  const families = new Map<string, Family>()
  if (text !== "" && !text.endsWith("\n")) throw new Error("the last line has no end")
  let help: readonly [string, string] | undefined
  let now: readonly [string, Family] | undefined
  for (const line of text.split("\n").slice(0, -1)) {
    const [, kind, name = "", rest = ""] = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/s.exec(line) ?? []
    if (kind === "HELP") {
      help = [name, unescape(rest)]
      continue
    }
    if (kind === "TYPE") {
      if (families.has(name)) throw new Error(`a family twice: ${name}`)
      if (!(rest in suffixes) || (help !== undefined && help[0] !== name)) throw new Error(line)
      now = [name, { type: rest, help: help?.[1], samples: new Map() }]
      help = undefined
      families.set(...now)
      continue
    }
    const [, sample = "", labels = "", value = ""] = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/s.exec(line) ?? []
    if (now === undefined || !(suffixes[now[1].type] ?? []).some((suffix) => sample === now?.[0] + suffix)) {
      throw new Error(`not where it belongs: ${line}`)
    }
    const shown = labelsOf(labels).map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    const series = shown.length === 0 ? sample : `${sample}{${shown.toSorted().join(",")}}`
    if (now[1].samples.has(series)) throw new Error(`a series twice: ${series}`)
    now[1].samples.set(series, numberOf(value))
  }
  return families
}
