/**
 * How many calls at once a target bears, learned from how they end.
 *
 * Calls are judged by the window, one round of them, all begun after the last change. A window's mean says how much
 * slower they were than is typical for answers of their length, so neither long nor short answers are taken for overload.
 * It is a mean of logarithms: no single call can carry it away, and no number in it can overflow.
 */

export interface Settings {
  readonly algorithm: "aimd" | "gradient"
  readonly min: number
  readonly max: number
  /** How many times slower than typical is not yet too slow. */
  readonly tolerance: number
  /** What an overload multiplies the limit by. */
  readonly backoff: number
}

/** How fast one answer came, among those of its length. */
export interface Sample {
  readonly length: number
  readonly log: number
}

export interface State {
  /** A real number; `Math.floor` of it is how many may be under way. */
  readonly limit: number
  /** Calls begun by then belong to an overload that has been answered. */
  readonly loweredAt: number | undefined
  /** Calls begun before this are not in the window. */
  readonly since: number
  readonly count: number
  /** The most that were under way when a call of the window began. */
  readonly peak: number
  readonly samples: ReadonlyArray<Sample>
  /** For each class of length, what is typical when the target is not busy, as a logarithm. */
  readonly typical: ReadonlyArray<number | undefined>
}

export type Event =
  | {
    readonly _tag: "Answered"
    readonly startedAt: number
    /** How many were under way when it began, itself included. */
    readonly inFlight: number
    /** Absent where it is not known how much was answered: then it only says that it was not refused. */
    readonly sample: Sample | undefined
  }
  /** Refused for too much load, or too slow to wait for. */
  | { readonly _tag: "Overloaded"; readonly startedAt: number }

/** The fewest and the most calls of a window. Netflix's `WindowedLimit` takes 10. */
const fewest = 10
const most = 100

/** What the time to the first output is worth in output tokens: about 0.5 s at 60 tokens a second. */
const overhead = 32

/** Classes of length for complete answers, as many again for first outputs. Each is twice as long as the one before. */
const lengths = 16

/** How far what is typical moves towards a window. */
const learning = 0.5

const lengthOf = (tokens: number): number =>
  Math.min(lengths - 1, Math.max(0, Math.floor(Math.log2(tokens / overhead))))

const known = (tokens: number | undefined): tokens is number => tokens !== undefined && tokens >= 0 && tokens < Infinity

/** A complete answer: its time for each output token. */
export const answered = (millis: number, outputTokens: number | undefined): Sample | undefined => {
  if (!known(outputTokens) || !Number.isFinite(millis)) return undefined
  const tokens = outputTokens + overhead
  return { length: lengthOf(tokens), log: Math.log(Math.max(1, millis) / tokens) }
}

/** The first output of a stream: what comes after it depends on its reader. The longer the prompt, the longer it takes. */
export const firstOutput = (millis: number, inputTokens: number | undefined): Sample | undefined =>
  Number.isFinite(millis)
    ? {
      length: lengths + lengthOf((known(inputTokens) ? inputTokens : 0) + overhead),
      log: Math.log(Math.max(1, millis))
    }
    : undefined

export const initial = (limit: number, now: number): State => ({
  limit,
  loweredAt: undefined,
  since: now,
  count: 0,
  peak: 0,
  samples: [],
  typical: []
})

const within = ({ max, min }: Settings, limit: number): number => Math.min(max, Math.max(min, limit))

/** Brings a state into the range of other settings. */
export const fit = (settings: Settings, state: State): State => ({ ...state, limit: within(settings, state.limit) })

export const step = (settings: Settings, state: State, event: Event, now: number): State => {
  if (event._tag === "Overloaded") {
    return state.loweredAt !== undefined && event.startedAt <= state.loweredAt
      ? state
      : moved(settings, state, state.limit * settings.backoff, state.typical, now)
  }
  if (event.startedAt < state.since) return state
  const grown: State = {
    ...state,
    count: state.count + 1,
    peak: Math.max(state.peak, event.inFlight),
    samples: event.sample === undefined ? state.samples : [...state.samples, event.sample]
  }
  return grown.count < Math.min(most, Math.max(fewest, grown.peak)) ? grown : judged(settings, grown, now)
}

/** The end of a window. */
const judged = (settings: Settings, state: State, now: number): State => {
  const { slower, typical } = state.samples.length === 0
    ? { slower: 0, typical: state.typical }
    : compare(state.samples, state.typical, state.peak <= settings.min)
  // A limit that nobody comes near says nothing of what the target bears.
  const used = state.peak * 2 >= Math.floor(state.limit)
  const limit = next(settings, state.limit, slower - Math.log(settings.tolerance), used)
  return moved(settings, state, limit, typical, now)
}

/** `excess` is above zero where calls were slower than is tolerated. */
const next = ({ algorithm, backoff }: Settings, limit: number, excess: number, used: boolean): number => {
  switch (algorithm) {
    case "aimd":
      return excess > 0 ? limit * backoff : used ? limit + 1 : limit
    case "gradient":
      return limit * Math.max(0.5, Math.min(1, Math.exp(-excess))) + (used ? Math.sqrt(limit) : 0)
  }
}

const moved = (
  settings: Settings,
  state: State,
  limit: number,
  typical: State["typical"],
  now: number
): State => {
  const to = within(settings, limit)
  return {
    limit: to,
    loweredAt: to < state.limit ? now : state.loweredAt,
    since: Math.floor(to) === Math.floor(state.limit) ? state.since : now,
    count: 0,
    peak: 0,
    samples: [],
    typical
  }
}

/**
 * How much slower than typical the samples are, as a logarithm, and what is typical after them.
 *
 * The classes of length learn from a window how they differ from each other; their shares sum to zero, so that a
 * slowness that all of them have is never taken for typical. That moves only by what is known to be no load: down when
 * calls are faster than thought, up when no fewer can be under way.
 */
const compare = (
  samples: ReadonlyArray<Sample>,
  typical: State["typical"],
  idle: boolean
): { readonly slower: number; readonly typical: State["typical"] } => {
  const sums = new Map<number, { count: number; log: number }>()
  for (const { length, log } of samples) {
    const sum = sums.get(length)
    if (sum === undefined) sums.set(length, { count: 1, log })
    else {
      sum.count++
      sum.log += log
    }
  }
  let count = 0
  let difference = 0
  for (const [length, sum] of sums) {
    const usual = typical[length]
    if (usual === undefined) continue
    count += sum.count
    difference += sum.log - usual * sum.count
  }
  const slower = count === 0 ? 0 : difference / count
  const shift = slower < 0 || idle ? slower * learning : 0
  const after = Array.from({ length: 2 * lengths }, (_, length): number | undefined => {
    const usual = typical[length]
    const sum = sums.get(length)
    if (usual === undefined) return sum === undefined ? undefined : sum.log / sum.count - slower + shift
    if (sum === undefined) return usual + shift
    return usual + shift + learning * (sum.log / sum.count - usual - slower) * sum.count / count
  })
  return { slower, typical: after }
}
