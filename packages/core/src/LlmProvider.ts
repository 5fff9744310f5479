/**
 * A provider is a service. Programs ask for {@link LlmProvider}; which model answers, with which policies and fallbacks,
 * is a `Layer`, so it can be changed, stacked and replaced in tests without touching the program.
 *
 * @since 0.1.0
 */
import type * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Fallback from "./Fallback.ts"
import { opening } from "./internal/commit.ts"
import { copy } from "./internal/copy.ts"
import { type Code, leaf } from "./internal/leaf.ts"
import { decode, formatOf, withFormat } from "./internal/object.ts"
import { lines } from "./internal/plan.ts"
import { fromRaw, isGuess, planOf, publicOf, rawOf, targetsOf } from "./internal/provider.ts"
import { around } from "./internal/remembered.ts"
import { ofStream } from "./internal/source.ts"
import { type WhenCut, whenCut as whenCutRef } from "./internal/whenCut.ts"
import { InvalidRequest, type LlmError } from "./LlmError.ts"
import * as LlmRequest from "./LlmRequest.ts"
import type { LlmResponse } from "./LlmResponse.ts"
import * as Options from "./Options.ts"
import type { Policy } from "./Policy.ts"
import type { Target } from "./Receipt.ts"
import { type StreamPart, toResponse } from "./StreamPart.ts"

/**
 * A target with what is known of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface TargetInfo extends Target {
  /** How many tokens the model's context window holds, prompt and answer together. */
  readonly contextWindow?: number | undefined
  /** Whether it can be given tools; unknown counts as yes. */
  readonly tools?: boolean | undefined
  /** Whether it can be shown images; unknown counts as yes. */
  readonly images?: boolean | undefined
}

/**
 * A stream that has given its first output. Its parts can be read once, while the scope it was opened in is open;
 * closing that scope closes the connection.
 *
 * @since 0.1.0
 * @category models
 */
export interface Opened {
  readonly parts: Stream.Stream<StreamPart, LlmError>
}

/**
 * What a provider can do. {@link make} builds one; a hand-written one needs only the two functions. One that wraps
 * another, to change requests or to look at answers, calls the other's functions; the attempts are the other's.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** Asks for a complete answer. Interrupting it abandons the request and closes its connection. */
  readonly generate: (request: LlmRequest.LlmRequest) => Effect.Effect<LlmResponse, LlmError>
  /**
   * Opens a stream and succeeds at its first output (text, reasoning or a tool call), so that whatever fails before may
   * be retried and what fails after never is behind the reader's back.
   */
  readonly open: (request: LlmRequest.LlmRequest) => Effect.Effect<Opened, LlmError, Scope.Scope>
  /** Which targets it may ask, the preferred one first. */
  readonly targets?: ReadonlyArray<TargetInfo> | undefined
}

/**
 * The service that programs ask for.
 *
 * @since 0.1.0
 * @category tags
 */
export class LlmProvider extends Context.Tag("perdure/LlmProvider")<LlmProvider, Service>() {}

/**
 * What a source answers: the next parts, a failure, or nothing more at the end.
 *
 * @since 0.1.0
 * @category models
 */
export type Result = Exit.Exit<Chunk.Chunk<StreamPart>, Option.Option<LlmError>>

/**
 * The parts of a streamed answer, to be asked for. It lives as long as the scope it was made in, and has closed its
 * connection when that scope is closed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Source {
  /**
   * Asks for the next parts, and gets them, all that are there, in one call back: now or later, but once. It is not asked
   * again before it has answered, nor after a failure or the end.
   */
  readonly next: (done: (result: Result) => void) => void
}

/**
 * Where a provider is, for spans.
 *
 * @since 0.1.0
 * @category models
 */
export interface Server {
  /** The name of the host, for example `api.openai.com`. */
  readonly address: string
  readonly port: number
}

/**
 * What {@link make} takes.
 *
 * @since 0.1.0
 * @category models
 */
export interface MakeOptions extends TargetInfo {
  /** Where the requests go; it is on the spans of the attempts. */
  readonly server?: Server | undefined
  /** One attempt at a complete answer, with failures already turned into `LlmError`s. */
  readonly generate: (request: LlmRequest.LlmRequest) => Effect.Effect<LlmResponse, LlmError>
  /**
   * One attempt at a streamed answer, from the request on; the last part must be a `Finish`. Without it, streams are
   * refused with `InvalidRequest`.
   */
  readonly stream?: ((request: LlmRequest.LlmRequest) => Stream.Stream<StreamPart, LlmError>) | undefined
  /**
   * The same, for those to whom every microsecond counts: a source of parts instead of a `Stream`. It takes the place of
   * `stream`.
   */
  readonly source?: ((request: LlmRequest.LlmRequest) => Effect.Effect<Source, LlmError, Scope.Scope>) | undefined
  /** The time limits of its streams. */
  readonly limits?: StreamLimits | undefined
}

/**
 * The time limits of a stream. Only output feeds them: text, reasoning and tool calls, not pings, comments and usage; and
 * only the time in which the reader waits counts. When one is passed, the stream fails with `TimedOut`.
 *
 * @since 0.1.0
 * @category models
 */
export interface StreamLimits {
  /**
   * From the request to the first output: phase `firstOutput`.
   * @default no limit
   */
  readonly firstOutput?: Duration.DurationInput | undefined
  /**
   * From one output to the next: phase `idle`.
   * @default no limit
   */
  readonly idle?: Duration.DurationInput | undefined
}

/**
 * A provider from the code that talks to one model. Every use is recorded as an attempt; streams are opened up to their
 * first output, and one that ends without a `Finish` fails with `StreamInterrupted`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { LlmProvider, LlmRequest, LlmResponse } from "perdure"
 *
 * const echo = LlmProvider.make({
 *   provider: "local",
 *   model: "echo",
 *   generate: (request) =>
 *     Effect.succeed(
 *       new LlmResponse.LlmResponse({
 *         provider: "local",
 *         model: "echo",
 *         content: [LlmRequest.text(JSON.stringify(request.messages))],
 *         finishReason: "stop"
 *       })
 *     )
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: MakeOptions): Service => {
  const target: TargetInfo = {
    provider: Options.text("LlmProvider.make({ provider })", options.provider),
    model: Options.text("LlmProvider.make({ model })", options.model),
    ...(options.contextWindow === undefined
      ? {}
      : { contextWindow: Options.integer("LlmProvider.make({ contextWindow })", options.contextWindow, 1) }),
    ...(options.tools === undefined ? {} : { tools: options.tools }),
    ...(options.images === undefined ? {} : { images: options.images })
  }
  const { generate, limits = {}, server, source, stream } = options
  const limit = (name: keyof StreamLimits) =>
    limits[name] === undefined ? undefined : Options.duration(`LlmProvider.make({ limits: { ${name} } })`, limits[name])
  const checked = { firstOutput: limit("firstOutput"), idle: limit("idle") }
  const parts = source ??
    (stream === undefined ? undefined : (request: LlmRequest.LlmRequest) => ofStream(stream(request)))
  const open: Code["open"] = parts === undefined
    ? () =>
      Effect.fail(
        new InvalidRequest({ provider: target.provider, model: target.model, detail: "this provider does not stream" })
      )
    : (request, progress) =>
      Effect.flatMap(parts(request), (source) => opening(source, checked, target, request.idempotent, progress))
  return fromRaw(leaf(target, { generate, open }, "make", server), [target])
}

/**
 * A layer of {@link make}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: MakeOptions): Layer.Layer<LlmProvider> => Layer.succeed(LlmProvider, make(options))

/**
 * How {@link generate} asks.
 *
 * @since 0.1.0
 * @category models
 */
export interface GenerateOptions {
  /**
   * `"stream"` asks for a stream and puts the answer together from it, so that a stall is noticed by the stream's limits
   * long before a whole answer is overdue, and a cut stream is a failure that policies repeat as any other.
   * @default "request"
   */
  readonly via?: "request" | "stream" | undefined
}

/**
 * Asks the provider for a complete answer. The response, or the failure, carries the receipt of the call.
 *
 * A prompt is text for the user's one message; give a request, or its fields, for anything else. A field out of range
 * throws a `ParseError` here, where the request is built.
 *
 * @since 0.1.0
 * @category calling
 */
export const generate = (
  input: LlmRequest.Input,
  options: GenerateOptions = {}
): Effect.Effect<LlmResponse, LlmError, LlmProvider> => {
  const request = LlmRequest.make(input)
  const via = Options.literal("LlmProvider.generate({ via })", options.via ?? "request", ["request", "stream"])
  if (via === "request") return Effect.flatMap(LlmProvider, (provider) => publicOf(provider).generate(request))
  return Effect.flatMap(LlmProvider, (provider) =>
    Effect.map(
      Stream.runCollect(stream(request, { whenCut: "buffer" })),
      (parts) => toResponse(parts, targetsOf(provider)[0])
    )).pipe(
      Effect.map((response) => copy(response, { provider: response.receipt.served?.provider ?? response.provider }))
    )
}

/**
 * A value, and the answer that it was in.
 *
 * @since 0.1.0
 * @category models
 */
export interface Decoded<out A> {
  readonly value: A
  readonly response: LlmResponse
}

/**
 * Asks for an answer that fits a schema, in the provider's own structured mode where it has one, and decodes it.
 *
 * An answer that does not fit is a `MalformedResponse`, worth another try: put a retry around this effect. (A policy on
 * the layer is done by then.) Its `detail` names the places that do not fit, not what was there.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { LlmProvider, Policy, Retry } from "perdure"
 *
 * const Capital = Schema.Struct({ city: Schema.String, inhabitants: Schema.Number })
 *
 * const capital = LlmProvider.generateObject("What is the capital of Peru?", { schema: Capital, name: "capital" }).pipe(
 *   Policy.retry(Retry.standard)
 * )
 * ```
 *
 * @since 0.1.0
 * @category calling
 */
export const generateObject = <A, I, R>(
  input: LlmRequest.Input,
  options: GenerateOptions & {
    readonly schema: Schema.Schema<A, I, R>
    /**
     * What providers call the schema.
     * @default "answer"
     */
    readonly name?: string | undefined
  }
): Effect.Effect<Decoded<A>, LlmError, LlmProvider | R> => {
  const name = Options.text("LlmProvider.generateObject({ name })", options.name ?? "answer")
  const request = withFormat(LlmRequest.make(input), formatOf(options.schema, name))
  return Effect.flatMap(
    generate(request, options),
    (response) => Effect.map(decode(response, request, options.schema), (value) => ({ value, response }))
  )
}

/**
 * How a stream is read.
 *
 * @since 0.1.0
 * @category models
 */
export interface StreamOptions {
  /**
   * What to do when the stream is cut after its first output.
   *
   * - `fail`: fail with what had arrived, `partial` and `usage`, in the failure.
   * - `restart`: ask another target (the same one once more where there is no other), and announce it with a `Restarted`
   *   part, which tells the reader to discard what came before. Not after a tool call was handed out.
   * - `buffer`: hand out nothing before the answer is complete, so that a cut is repeated unseen.
   *
   * @default "fail"
   */
  readonly whenCut?: WhenCut | undefined
}

/**
 * Opens a stream: succeeds at its first output, fails as `generate` would when it fails before. The connection is closed
 * with the scope. The parts can be read once.
 *
 * @since 0.1.0
 * @category calling
 */
export const open = (
  input: LlmRequest.Input,
  options: StreamOptions = {}
): Effect.Effect<Opened, LlmError, LlmProvider | Scope.Scope> => {
  const request = LlmRequest.make(input)
  const whenCut = Options.literal("LlmProvider.stream({ whenCut })", options.whenCut ?? "fail", [
    "fail",
    "restart",
    "buffer"
  ])
  return Effect.locally(
    Effect.flatMap(LlmProvider, (provider) => publicOf(provider).open(request)),
    whenCutRef,
    whenCut
  )
}

/**
 * The parts of a streamed answer, the last of which is a `Finish` with the receipt. What fails before the first output
 * is retried and falls back as the layer's policies say; what fails after it is up to {@link StreamOptions}. Not reading
 * to the end, or being interrupted, closes the connection at once.
 *
 * @since 0.1.0
 * @category calling
 */
export const stream = (
  input: LlmRequest.Input,
  options: StreamOptions = {}
): Stream.Stream<StreamPart, LlmError, LlmProvider> =>
  Stream.unwrapScoped(Effect.map(open(input, options), ({ parts }) => parts))

const mapService = <ROut, E, R>(
  self: Layer.Layer<LlmProvider | ROut, E, R>,
  f: (service: Service) => Service
): Layer.Layer<LlmProvider | ROut, E, R> =>
  Layer.map(self, (context) => Context.add(context, LlmProvider, f(Context.get(context, LlmProvider))))

/**
 * Puts a policy around every call of a provider, complete or streamed. Of several, the last one added is the outermost.
 *
 * A policy's state (when it has any) belongs to the policy value, so the same value around two layers shares it, keyed by
 * target. An effect that makes a policy, such as `CircuitBreaker.make()`, is run when the layer is built.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withPolicy: {
  <E2 = never, R2 = never>(policy: PolicyOrEffect<E2, R2>): <ROut, E, R>(
    self: Layer.Layer<LlmProvider | ROut, E, R>
  ) => Layer.Layer<LlmProvider | ROut, E | E2, R | R2>
  <ROut, E, R, E2 = never, R2 = never>(
    self: Layer.Layer<LlmProvider | ROut, E, R>,
    policy: PolicyOrEffect<E2, R2>
  ): Layer.Layer<LlmProvider | ROut, E | E2, R | R2>
} = dual(
  2,
  <ROut, E, R, E2, R2>(self: Layer.Layer<LlmProvider | ROut, E, R>, policy: PolicyOrEffect<E2, R2>) =>
    // A tag is an effect, and a function too.
    !Effect.isEffect(policy)
      ? mapService(self, guarded(policy))
      : Layer.flatMap(self, (context) =>
        Layer.effectContext(
          Effect.map(policy, (made) =>
            Context.add(context, LlmProvider, guarded(made)(Context.get(context, LlmProvider))))
        ))
)

/**
 * A policy, or an effect that makes one.
 *
 * @since 0.1.0
 * @category models
 */
export type PolicyOrEffect<E = never, R = never> =
  | Policy<LlmError, LlmError>
  | Effect.Effect<Policy<LlmError, LlmError>, E, R>

/** A service with a policy around each of its uses. */
const guarded = (policy: Policy<LlmError, LlmError>) => (service: Service): Service => {
  const raw = rawOf(service)
  const targets = targetsOf(service)
  const [target] = targets
  return fromRaw(
    {
      generate: (request) => policy(raw.generate(request), { target, request, kind: "generate" }),
      open: (request) => policy(raw.open(request), { target, request, kind: "open" })
    },
    targets,
    () => isGuess(service),
    { _tag: "Guarded", steps: () => policy.steps, inner: planOf(service) }
  )
}

/**
 * What a provider is made of, in lines: its policies from the outermost in, and a branch for each target that a fallback, a
 * key pool or a hedge may ask. A service written by hand is its first target.
 *
 * @since 0.1.0
 * @category reading
 */
export const describe = (self: Service): string => lines(planOf(self)).join("\n")

/**
 * Asks another provider when this one fails in a way that another may not: see `Fallback.movesOn`. When none answers,
 * the failure is `AllTargetsFailed`, with the failure of each in order; when the first one's failure ends the call, it is
 * that failure.
 *
 * Both layers are built; only the first is asked until it fails. Policies added before belong to one provider, policies
 * added after to the chain.
 *
 * @since 0.1.0
 * @category combinators
 */
export const orElse: {
  <ROut2, E2, R2>(that: Layer.Layer<LlmProvider | ROut2, E2, R2>, options?: Fallback.Options): <ROut, E, R>(
    self: Layer.Layer<LlmProvider | ROut, E, R>
  ) => Layer.Layer<LlmProvider | ROut | ROut2, E | E2, R | R2>
  <ROut, E, R, ROut2, E2, R2>(
    self: Layer.Layer<LlmProvider | ROut, E, R>,
    that: Layer.Layer<LlmProvider | ROut2, E2, R2>,
    options?: Fallback.Options
  ): Layer.Layer<LlmProvider | ROut | ROut2, E | E2, R | R2>
} = dual(
  (args) => Layer.isLayer(args[1]),
  <ROut, E, R, ROut2, E2, R2>(
    self: Layer.Layer<LlmProvider | ROut, E, R>,
    that: Layer.Layer<LlmProvider | ROut2, E2, R2>,
    options?: Fallback.Options
  ) =>
    Layer.flatMap(
      self,
      (first) =>
        Layer.flatMap(that, (second) =>
          Layer.effectContext(Effect.map(around, (found) =>
            Context.add(
              Context.merge(second, first),
              LlmProvider,
              Fallback.make([Context.get(first, LlmProvider), Context.get(second, LlmProvider)], {
                ...options,
                memory: options?.memory ?? found
              })
            ))))
    )
)
