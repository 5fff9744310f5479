/** What a call pays for telling of itself. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import * as Call from "perdure/Call"
import * as Measure from "./Measure.ts"
import { callOf, effect, inFiber, provider } from "./Operation.ts"
import * as Report from "./Report.ts"

/** A span that is kept in the memory, with all it is told, until the next one. */
class Kept implements Tracer.Span {
  readonly _tag = "Span"
  readonly spanId = "s"
  readonly traceId = "t"
  readonly sampled = true
  readonly attributes = new Map<string, unknown>()
  readonly links: Array<Tracer.SpanLink>
  readonly name: string
  readonly parent: Option.Option<Tracer.AnySpan>
  readonly context: Tracer.Span["context"]
  readonly kind: Tracer.SpanKind
  status: Tracer.SpanStatus

  constructor(...[name, parent, context, links, startTime, kind]: Parameters<Tracer.Tracer["span"]>) {
    this.name = name
    this.parent = parent
    this.context = context
    this.links = [...links]
    this.kind = kind
    this.status = { _tag: "Started", startTime }
  }

  attribute(name: string, value: unknown): void {
    this.attributes.set(name, value)
  }

  event(): void {}

  addLinks(): void {}

  end(endTime: bigint, exit: Exit.Exit<unknown, unknown>): void {
    this.status = { _tag: "Ended", startTime: this.status.startTime, endTime, exit }
    last = this
  }
}

let last: Kept | undefined

const tracer = Tracer.make({ span: (...about) => new Kept(...about), context: (run) => run() })

const call = callOf(provider)

const contestants = {
  alone: inFiber("the operation alone, as an Effect", effect),
  track: inFiber("Call.track of it: a record without an attempt, so without metrics", Call.track(effect)),
  off: inFiber(
    "a provider's call with its receipt and metrics, spans turned off",
    call,
    Effect.withTracerEnabled(false)
  ),
  unheard: inFiber("… spans turned on, no tracer", call),
  kept: inFiber("… a tracer that keeps its two spans in the memory", call, Effect.withTracer(tracer))
}

export const run = async (effort: Measure.Effort): Promise<Report.Section> => {
  const samples = await Measure.race(Object.values(contestants), effort)
  if (last === undefined) throw new Error("no span was written")
  return {
    title: "What a call pays for telling of itself",
    about: "In one fiber. Spans can be turned off, receipts and metrics cannot.",
    columns: ["", "µs a call"],
    rows: Object.values(contestants).map(({ name }) => [name, Report.number(Measure.middle(samples, name, "wall"))]),
    verdicts: [{
      what: "spans without a tracer, in µs",
      target: 0.1,
      measured: await Measure.difference(contestants.unheard, contestants.off, effort)
    }]
  }
}
