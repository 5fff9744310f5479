/** What the server does with one request: drawn from the seed, the call and the number of the attempt. */
import * as Chance from "./Chance.ts"
import { type Format, type Pieces, pieces } from "./Format.ts"

/**
 * How an answer goes.
 *
 * - `whole`: as it should. All others are cut or broken before their terminal marker:
 * - `status`: an error status instead of a stream.
 * - `reset`, `close`, `stall`: at the point that `at` names; a close in the middle leaves the body without its end.
 * - `eof`: the body ends as a body should, but the answer is not complete.
 * - `error`: an error in the stream.
 */
export type How = "whole" | "status" | "reset" | "close" | "stall" | "eof" | "error"

export interface Plan {
  readonly format: Format
  readonly how: How
  /** Where it breaks: before the head of the reply, before the first output, or after some. */
  readonly at: "head" | "preamble" | "middle"
  /** The whole text that is meant. */
  readonly text: string
  /** The status and the body, instead of a stream. */
  readonly status: number
  /** What is written, each piece a chunk of its own. */
  readonly writes: ReadonlyArray<Uint8Array>
  /** Milliseconds between two writes. */
  readonly pause: number
  /** Whether the connection is kept after a whole body. */
  readonly keepAlive: boolean
}

const alphabet = Array.from(
  "the quick brown fox jumps over a lazy dog, again and again. \"\\/\n\tæøåßéñ→…—αβγдлж日本語中文字한국어🦊🐕👩‍🚀🇵🇪e\u0301\u2028\u00a0"
)

const words = (chance: Chance.Chance, length: number): Array<string> =>
  Array.from({ length }, () => alphabet[Chance.integer(chance, 0, alphabet.length - 1)] ?? "")

/** Cuts characters (never a half one: no provider sends these) into the texts of deltas. */
const deltas = (chance: Chance.Chance, characters: ReadonlyArray<string>): Array<string> => {
  const texts: Array<string> = []
  for (let at = 0; at < characters.length;) {
    const size = Chance.integer(chance, 1, 24)
    texts.push(characters.slice(at, at + size).join(""))
    at += size
  }
  return texts
}

/** Cuts bytes anywhere, in the middle of characters too. */
const cut = (chance: Chance.Chance, bytes: Uint8Array, count: number): Array<Uint8Array> => {
  const at = Array.from({ length: count - 1 }, () => Chance.integer(chance, 1, bytes.length - 1))
  const places = [0, ...at.toSorted((a, b) => a - b), bytes.length]
  return places.slice(1).flatMap((end, i) => {
    const start = places[i] ?? 0
    return end > start ? [bytes.subarray(start, end)] : []
  })
}

const encoder = new TextEncoder()

const withNoise = (chance: Chance.Chance, frames: ReadonlyArray<string>, noise: string): string =>
  frames.map((frame) => chance() < 0.1 ? noise + frame : frame).join("")

const written = (
  chance: Chance.Chance,
  { deltas, end, error, noise, preamble }: Pieces,
  plan: Pick<Plan, "how" | "at">
) => {
  if (plan.how === "whole") return withNoise(chance, [preamble, ...deltas, end], noise)
  const some = plan.at === "middle" ? deltas.slice(0, Chance.integer(chance, 1, deltas.length)) : []
  return withNoise(chance, [preamble, ...some], noise) + (plan.how === "error" ? error : "")
}

/** The plan for an attempt. */
export const make = (seed: string, call: number, format: Format, attempt: number): Plan => {
  const chance = Chance.make(`${seed}/server/${call}/${format}/${attempt}`)
  const [how, at] = Chance.weighted<readonly [How, Plan["at"]]>(chance, [
    [["whole", "middle"], 52],
    [["status", "head"], 9],
    [["reset", "head"], 5],
    [["close", "head"], 4],
    [["stall", "head"], 0.7],
    [["reset", "preamble"], 2],
    [["stall", "preamble"], 0.7],
    [["eof", "preamble"], 2],
    [["error", "preamble"], 4],
    [["reset", "middle"], 5],
    [["close", "middle"], 3],
    [["eof", "middle"], 4],
    [["stall", "middle"], 1.2],
    [["error", "middle"], 5]
  ])
  const name = `call ${call} of ${format}, attempt ${attempt}: `
  const characters = [...Array.from(name), ...words(chance, Math.floor(1 + 1500 * chance() ** 2))]
  const bytes = encoder.encode(written(chance, pieces(format, deltas(chance, characters)), { how, at }))
  const pace = Chance.weighted(chance, [["burst", 5], ["pieces", 3], ["trickle", 2]] as const)
  const count = pace === "burst" ? 1 : Chance.integer(chance, 2, pace === "pieces" ? 80 : 25)
  return {
    format,
    how,
    at,
    text: characters.join(""),
    status: Chance.weighted(chance, [[429, 3], [500, 3], [503, 3], [529, 1], [400, 1], [401, 0.3]]),
    writes: cut(chance, bytes, count),
    pause: pace === "trickle" ? Chance.integer(chance, 1, 6) : 0,
    keepAlive: chance() < 0.9
  }
}
