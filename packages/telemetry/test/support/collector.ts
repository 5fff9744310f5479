/** A stand-in for an OpenTelemetry collector, on a real socket. */
import { Effect } from "effect"
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

export interface Received {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

type Value =
  | { readonly stringValue: string }
  | { readonly boolValue: boolean }
  | { readonly intValue: number | string }
  | { readonly doubleValue: number }
  | { readonly arrayValue: { readonly values: ReadonlyArray<Value> } }

export type Attributes = ReadonlyArray<{ readonly key: string; readonly value: Value }>

export interface Span {
  readonly name: string
  readonly kind: number
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly attributes: Attributes
  readonly events: ReadonlyArray<{ readonly name: string; readonly attributes: Attributes }>
  readonly status: { readonly code: number }
}

export interface Metric {
  readonly name: string
  readonly unit: string
  readonly sum?: {
    readonly isMonotonic: boolean
    readonly dataPoints: ReadonlyArray<{ readonly attributes: Attributes }>
  }
  readonly histogram?: {
    readonly dataPoints: ReadonlyArray<
      { readonly attributes: Attributes; readonly count: number; readonly sum: number }
    >
  }
}

export interface Line {
  readonly severityText: string
  readonly body: Value
  readonly traceId?: string
  readonly attributes: Attributes
}

const plain = (value: Value): unknown =>
  "arrayValue" in value ? value.arrayValue.values.map(plain) : Object.values(value)[0]

export const record = (attributes: Attributes): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]))

const ok = (response: ServerResponse): void => {
  response.writeHead(200, { "content-type": "application/json" }).end("{}")
}

/** Listens on a free port of 127.0.0.1 until the scope is closed, and keeps what comes. */
export const collector = (answer: (response: ServerResponse) => void = ok) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<{ readonly received: Array<Received>; readonly port: number; readonly close: () => void }>(
        (resume) => {
          const received: Array<Received> = []
          const server = createServer((request, response) => {
            const chunks: Array<Buffer> = []
            request.on("data", (chunk: Buffer) => chunks.push(chunk))
            request.on("end", () => {
              const body = Buffer.concat(chunks).toString()
              received.push({ path: request.url ?? "", headers: request.headers, body })
              answer(response)
            })
          })
          server.listen(0, "127.0.0.1", () => {
            const { port } = server.address() as AddressInfo
            const close = () => {
              server.closeAllConnections()
              server.close()
            }
            resume(Effect.succeed({ received, port, close }))
          })
        }
      ),
      ({ close }) => Effect.sync(close)
    ),
    ({ close, port, received }) => {
      const parsed = (path: string) =>
        received.filter((one) => one.path === path).map(({ body }) => JSON.parse(body) as Record<string, Array<Group>>)
      const inside = <A>(path: string, outer: string, middle: string, inner: string): Array<A> =>
        parsed(path).flatMap((one) => one[outer] ?? []).flatMap((group) => group[middle] ?? [])
          .flatMap((scope) => scope[inner] as Array<A>)
      return {
        url: `http://127.0.0.1:${port}`,
        received,
        close,
        spans: () => inside<Span>("/v1/traces", "resourceSpans", "scopeSpans", "spans"),
        metrics: () => inside<Metric>("/v1/metrics", "resourceMetrics", "scopeMetrics", "metrics"),
        lines: () => inside<Line>("/v1/logs", "resourceLogs", "scopeLogs", "logRecords"),
        services: () => received.map(({ body }) => /"service.name","value":\{"stringValue":"([^"]*)"/.exec(body)?.[1])
      }
    }
  )

type Group = Record<string, Array<Record<string, unknown>>>
