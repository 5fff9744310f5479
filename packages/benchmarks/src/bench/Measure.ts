/** Measuring side by side: all take turns in every round, so that what disturbs one disturbs the others too. */
import * as Process from "../soak/Process.ts"

/** One of those that are compared. */
export interface Contestant {
  readonly name: string
  /** Does its work so many times. */
  readonly run: (times: number) => Promise<void>
}

/** Microseconds for one of what is done: on the clock, and of the processor. */
export interface Sample {
  readonly wall: number
  readonly cpu: number
}

/** All samples of a contestant, one a round. */
export type Samples = ReadonlyMap<string, ReadonlyArray<Sample>>

export interface Effort {
  readonly times: number
  readonly rounds: number
}

const once = async ({ run }: Contestant, times: number): Promise<Sample> => {
  // The garbage of whoever was before is swept meanwhile.
  await run(Math.ceil(times / 4))
  const cpu = process.cpuUsage()
  const start = performance.now()
  await run(times)
  const wall = performance.now() - start
  const { system, user } = process.cpuUsage(cpu)
  return { wall: (wall * 1000) / times, cpu: (user + system) / times }
}

/** Lets each of them run in each round, after a warm-up; the order moves on from round to round. */
export const race = async (contestants: ReadonlyArray<Contestant>, { rounds, times }: Effort): Promise<Samples> => {
  const samples = new Map<string, Array<Sample>>(contestants.map(({ name }) => [name, []]))
  for (const one of contestants) await one.run(Math.ceil(times / 2))
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < contestants.length; i++) {
      const one = contestants[(i + round) % contestants.length]
      if (one !== undefined) samples.get(one.name)?.push(await once(one, times))
    }
  }
  return samples
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

const of = (samples: Samples, name: string): ReadonlyArray<Sample> => {
  const found = samples.get(name)
  if (found === undefined) throw new Error(`nothing was measured of ${name}`)
  return found
}

/** The median of a contestant, in microseconds. */
export const middle = (samples: Samples, name: string, by: keyof Sample): number =>
  median(of(samples, name).map((sample) => sample[by]))

/** How two compare: round by round, so that a slow moment of the machine weighs on both. */
export interface Compared {
  readonly median: number
  readonly least: number
  readonly most: number
}

/** What is counted, and so the same in every round. */
export const exactly = (value: number): Compared => ({ median: value, least: value, most: value })

const compared = (rounds: ReadonlyArray<number>): Compared => ({
  median: median(rounds),
  least: Math.min(...rounds),
  most: Math.max(...rounds)
})

export const ratio = (samples: Samples, name: string, to: string, by: keyof Sample): Compared => {
  const others = of(samples, to)
  return compared(of(samples, name).map((sample, round) => sample[by] / (others[round]?.[by] ?? Number.NaN)))
}

const timed = async ({ run }: Contestant, times: number): Promise<number> => {
  const start = performance.now()
  await run(times)
  return ((performance.now() - start) * 1000) / times
}

/**
 * How many microseconds more the one takes than the other, where that is next to nothing: in short turns, so that both
 * meet the same machine. A round is the median of many turns, which a few that are interrupted do not move.
 */
export const difference = async (one: Contestant, other: Contestant, { rounds, times }: Effort): Promise<Compared> => {
  const turns = 41
  const each = Math.ceil(times / turns)
  for (const { run } of [one, other]) await run(times)
  const all: Array<number> = []
  for (let round = 0; round < rounds; round++) {
    const found: Array<number> = []
    for (let turn = 0; turn < turns; turn++) {
      const first = turn % 2 === 0 ? await timed(one, each) : undefined
      const theirs = await timed(other, each)
      found.push((first ?? await timed(one, each)) - theirs)
    }
    all.push(median(found))
  }
  return compared(all)
}

/** The bytes that are allocated for one of what is done. Batches in which garbage was collected do not count. */
export const bytes = async ({ run }: Contestant): Promise<number> => {
  const times = 50
  const found: Array<number> = []
  await run(1000)
  for (let batch = 0; batch < 40; batch++) {
    if (batch % 10 === 0) Process.collect()
    const before = process.memoryUsage().heapUsed
    await run(times)
    const more = process.memoryUsage().heapUsed - before
    if (more > 0) found.push(more / times)
  }
  return median(found)
}
