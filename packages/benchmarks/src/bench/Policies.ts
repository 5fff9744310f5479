/** What policies cost when nothing goes wrong, and when three calls fail before one succeeds. */
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import * as Budget from "perdure/Budget"
import * as LlmError from "perdure/LlmError"
import * as LlmProvider from "perdure/LlmProvider"
import * as Policy from "perdure/Policy"
import * as Retry from "perdure/Retry"
import * as Standard from "perdure/Standard"
import * as Measure from "./Measure.ts"
import { callOf, effect, inFiber, inPromises, operation, other, provider } from "./Operation.ts"
import * as Peers from "./Peers.ts"
import * as Report from "./Report.ts"

const Cockatiel = await Peers.cockatiel()
const { default: Opossum } = await Peers.opossum()
const { default: pRetry } = await Peers.pRetry()

/** The newest cockatiel takes much less than the one that an older Node gets. */
const targets = Peers.newest ? { inFiber: 0.45, byPromise: 0.9 } : { inFiber: 0.25, byPromise: 0.35 }

const standard = Policy.retry(Retry.standard)

/** What one writes by hand: a semaphore, a timeout, a breaker in a `Ref`, a retry. */
const usual = Effect.runSync(Effect.gen(function*() {
  const semaphore = yield* Effect.makeSemaphore(100)
  const failures = yield* Ref.make(0)
  return effect.pipe(
    Effect.timeout("30 seconds"),
    Effect.tapErrorCause(() => Ref.update(failures, (n) => n + 1)),
    Effect.tap(() => Ref.set(failures, 0)),
    (self) => Effect.zipRight(Effect.filterOrFail(Ref.get(failures), (n) => n < 5, () => "open" as const), self),
    semaphore.withPermits(1),
    Effect.retry(Schedule.intersect(Schedule.exponential("500 millis"), Schedule.recurs(2)))
  )
}))

const cockatiel = Cockatiel.wrap(
  Cockatiel.retry(Cockatiel.handleAll, { maxAttempts: 3, backoff: new Cockatiel.ExponentialBackoff() }),
  Cockatiel.circuitBreaker(Cockatiel.handleAll, {
    halfOpenAfter: 30_000,
    breaker: new Cockatiel.ConsecutiveBreaker(5)
  }),
  Cockatiel.timeout(30_000, Cockatiel.TimeoutStrategy.Aggressive),
  Cockatiel.bulkhead(100, 1000)
)

const opossum = new Opossum(operation, { timeout: 30_000 })

/** All policies of the standard order but the budget, which cockatiel has nothing like; with a fallback by hand. */
const { guarded, whole } = Effect.runSync(
  Effect.gen(function*() {
    const policy = yield* Policy.standard({ budget: false, bulkhead: { limit: 100 } })
    return {
      guarded: policy(effect),
      whole: Effect.catchAll(policy(effect), () => effect)
    }
  })
)
const standardLayer = Standard.layer([provider, other])

const success = {
  bare: inFiber("the operation alone, as an Effect", effect),
  standard: inFiber("Policy.standard: deadline, retry, breaker, bulkhead, attempt timeout", guarded),
  whole: inFiber("… and a fallback", whole),
  retry: inFiber("Retry.retry(Retry.standard)", Retry.retry(effect, Retry.standard)),
  timeout: inFiber("Policy.timeout", Policy.timeout("30 seconds")(effect)),
  call: inFiber("a provider's call with its receipt", callOf(provider)),
  withRetry: inFiber("… withPolicy(retry)", callOf(LlmProvider.withPolicy(provider, standard))),
  orElse: inFiber(
    "… withPolicy(retry), orElse",
    callOf(LlmProvider.orElse(LlmProvider.withPolicy(provider, standard), provider))
  ),
  layered: inFiber("Standard.layer over two providers, with the budget and the receipt", callOf(standardLayer)),
  effectRetry: inFiber("Effect.retry", Effect.retry(effect, Schedule.recurs(2))),
  effectTimeout: inFiber("Effect.timeout", Effect.timeout(effect, "30 seconds")),
  usual: inFiber("usual Effect stack: semaphore, timeout, breaker in a Ref, retry", usual)
}

const promised = {
  raw: inPromises("the operation alone, awaited", operation),
  runPromise: inPromises("Effect.runPromise of it", () => Effect.runPromise(effect)),
  ours: inPromises("Effect.runPromise of Policy.standard and a fallback", () => Effect.runPromise(whole)),
  pRetry: inPromises("p-retry", () => pRetry(operation, { retries: 2 })),
  cockatiel: inPromises("cockatiel: retry, breaker, timeout, bulkhead", () => cockatiel.execute(operation)),
  opossum: inPromises("opossum: breaker, timeout", () => opossum.fire())
}

class Refused {
  readonly _tag = "Refused"
}

/** Fails three times, then succeeds. */
const fourth = () => {
  let calls = 0
  return () => ++calls % 4 !== 0
}

const failing = () => {
  const fails = fourth()
  return Effect.suspend(() => fails() ? Effect.fail(new Refused()) : Effect.succeed(1))
}

const failures = {
  ours: inFiber("Retry.retry", Retry.retry(failing(), Retry.constant("1 nanos").pipe(Retry.attempts(4)))),
  effect: inFiber("Effect.retry", Effect.retry(failing(), Schedule.recurs(3))),
  pRetry: (() => {
    const fails = fourth()
    const error = new Error("refused")
    return inPromises("p-retry", () =>
      pRetry(() => {
        if (fails()) throw error
        return 1
      }, { retries: 3, minTimeout: 0, factor: 1 }))
  })()
}

/** How many requests a dead provider gets for each call, with three retries each and what the budget leaves of them. */
const loadOn = async (budget: Budget.Options | false, calls = 2000): Promise<number> => {
  let requests = 0
  const dead = Effect.suspend(() => {
    requests++
    return Effect.fail(new LlmError.ProviderUnavailable({ provider: "p", model: "m" }))
  })
  const policy = await Effect.runPromise(
    Policy.standard({
      budget,
      retry: Retry.constant("1 nanos").pipe(Retry.attempts(4), Retry.whileRetryable),
      breaker: false
    })
  )
  await Effect.runPromise(Effect.replicateEffect(Effect.ignore(policy(dead)), calls, { discard: true }))
  return requests / calls
}

export const run = async (effort: Measure.Effort): Promise<ReadonlyArray<Report.Section>> => {
  const all = [...Object.values(success), ...Object.values(promised)]
  const samples = await Measure.race(all, effort)
  const bytes = new Map<string, number>()
  for (const contestant of all) bytes.set(contestant.name, await Measure.bytes(contestant))
  const failed = await Measure.race(Object.values(failures), { ...effort, times: Math.ceil(effort.times / 4) })
  const naive = await loadOn(false)
  const loads = [["default", {}], ["finagle", Budget.finagle], ["grpc", Budget.grpc], ["aws", Budget.aws]] as const
  const dead = await Promise.all(loads.map(async ([name, options]) => [name, await loadOn(options)] as const))

  const { cockatiel, ours, runPromise } = promised
  const compare = (what: string, target: number, a: Measure.Contestant, b: Measure.Contestant, note?: string) =>
    Report.verdict(what, target, samples, [a.name, b.name], "wall", note)
  const of = (contestant: Measure.Contestant) => bytes.get(contestant.name) ?? Number.NaN
  const receipt = await Measure.difference(success.call, success.bare, effort)

  return [{
    title: "What a policy costs when the first call succeeds",
    about:
      "Around an operation that resolves at once. The upper rows run in one fiber, the lower ones make a promise for " +
      "each call. Those that name a provider write a receipt and metrics as well. A promise is a fiber of its own, which " +
      "the first policy on it gives its own values; a [decision](decisions/0009-a-promise-for-each-call.md) has what that " +
      "costs and what was tried.",
    columns: ["", "µs a call", "bytes a call"],
    rows: all.map(({ name }) => [
      name,
      Report.number(Measure.middle(samples, name, "wall")),
      Report.number(bytes.get(name) ?? Number.NaN)
    ]),
    verdicts: [
      compare(
        "the standard policy and a fallback, in a fiber, to cockatiel's wrap",
        targets.inFiber,
        success.whole,
        cockatiel
      ),
      compare("the same to the usual Effect stack", 0.12, success.whole, success.usual),
      compare("the same by runPromise, to cockatiel's wrap", targets.byPromise, ours, cockatiel),
      compare("the same by runPromise, to a bare runPromise", 1.8, ours, runPromise),
      {
        what: "bytes a call, to cockatiel's wrap",
        target: 0.7,
        measured: Measure.exactly(of(success.whole) / of(cockatiel))
      },
      { what: "receipt and metrics on top of the operation, in µs", target: 3, measured: receipt }
    ]
  }, {
    title: "Three failures, then success",
    about: "Without a delay between them.",
    columns: ["", "µs a call"],
    rows: Object.values(failures).map(({ name }) => [name, Report.number(Measure.middle(failed, name, "wall"))]),
    verdicts: [
      Report.verdict("to p-retry", 2, failed, [failures.ours.name, failures.pRetry.name], "wall"),
      Report.verdict("to Effect.retry", 0.35, failed, [failures.ours.name, failures.effect.name], "wall")
    ]
  }, {
    title: "The load on a dead provider",
    about: "2,000 calls with up to three retries each, of which none is answered: requests for each call, by budget.",
    columns: ["", "requests a call"],
    rows: [["no budget", Report.number(naive)], ...dead.map(([name, load]) => [name, Report.number(load)])],
    verdicts: [{
      what: "requests a call, default budget",
      target: 1.1,
      measured: Measure.exactly(dead[0]?.[1] ?? Number.NaN)
    }]
  }]
}
