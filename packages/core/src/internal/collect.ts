/** From layers of providers to one layer with all their services, in order. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { LlmProvider, type Service } from "../LlmProvider.ts"
import type { Service as Memory } from "../PolicyMemory.ts"
import { around } from "./remembered.ts"

class Services extends Context.Tag("perdure/internal/Services")<Services, ReadonlyArray<Service>>() {}

const none: Layer.Layer<Services> = Layer.succeed(Services, [])

/** A layer of what is made of the services of other layers. What these share is built once. */
export const collect = <I, E, R>(
  layers: ReadonlyArray<Layer.Layer<LlmProvider, E, R>>,
  make: (services: ReadonlyArray<Service>, memory: Memory | undefined) => Context.Context<LlmProvider | I>
): Layer.Layer<LlmProvider | I, E, R> =>
  layers.reduceRight<Layer.Layer<Services, E, R>>(
    (rest, layer) =>
      Layer.flatMap(layer, (one) =>
        Layer.map(rest, (others) =>
          Context.make(Services, [Context.get(one, LlmProvider), ...Context.get(others, Services)]))),
    none
  ).pipe(
    Layer.flatMap((context) =>
      Layer.effectContext(Effect.map(around, (memory) =>
        make(Context.get(context, Services), memory)))
    )
  )
