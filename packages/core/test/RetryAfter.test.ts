import { assert, describe, it } from "@effect/vitest"
import { Duration, Option } from "effect"
import * as fc from "effect/FastCheck"
import { RetryAfter } from "perdure"

/** 2026-11-15 12:00:00 UTC, a Sunday. */
const now = Date.UTC(2026, 10, 15, 12)
const day = 86_400_000
const maxMillis = 366 * day

/** The hint in milliseconds, or `none`. */
const read = (hint: Option.Option<Duration.Duration>): number | "none" =>
  Option.match(hint, { onNone: () => "none", onSome: Duration.toMillis })

type Rows = ReadonlyArray<readonly [value: string, expected: number | "none"]>

const rows = (parse: (value: string) => Option.Option<Duration.Duration>, table: Rows) => {
  for (const [value, expected] of table) {
    it(`${JSON.stringify(value)} is ${expected === "none" ? "no hint" : `${expected} ms`}`, () => {
      assert.strictEqual(read(parse(value)), expected)
    })
  }
}

describe("seconds", () => {
  rows(RetryAfter.seconds, [
    ["0", 0],
    ["20", 20_000],
    ["007", 7000],
    [" 20 ", 20_000],
    ["1.5", 1500],
    ["0.0001", 1],
    ["1.0004", 1001],
    ["1.001", 1001],
    ["31622400", maxMillis],
    ["31622400.001", "none"],
    ["1795000000", "none"],
    ["9".repeat(400), "none"],
    ["", "none"],
    ["   ", "none"],
    ["-1", "none"],
    ["+1", "none"],
    ["1e3", "none"],
    ["0x10", "none"],
    ["1_000", "none"],
    ["1,5", "none"],
    [".5", "none"],
    ["5.", "none"],
    ["20, 20", "none"],
    ["20s", "none"],
    ["NaN", "none"],
    ["Infinity", "none"],
    ["null", "none"],
    ["٢٠", "none"]
  ])
})

describe("millis", () => {
  rows(RetryAfter.millis, [
    ["0", 0],
    ["1500", 1500],
    ["0.5", 1],
    ["1500.01", 1501],
    ["-1", "none"],
    ["1795000000000", "none"],
    ["soon", "none"]
  ])
})

describe("httpDate", () => {
  rows((value) => RetryAfter.httpDate(value, now), [
    // The three forms of RFC 9110, 5.6.7.
    ["Sun, 15 Nov 2026 12:00:30 GMT", 30_000],
    ["Sunday, 15-Nov-26 12:00:30 GMT", 30_000],
    ["Sun Nov 15 12:00:30 2026", 30_000],
    ["Tue Dec  1 12:00:00 2026", 16 * day],
    [" Sun, 15 Nov 2026 12:00:30 GMT ", 30_000],
    // What is past is no wait.
    ["Sun, 15 Nov 2026 12:00:00 GMT", 0],
    ["Sun, 06 Nov 1994 08:49:37 GMT", 0],
    ["Sunday, 06-Nov-94 08:49:37 GMT", 0],
    ["Sun Nov  6 08:49:37 1994", 0],
    ["Thu, 01 Jan 0000 00:00:00 GMT", 0],
    // Too far ahead is a mistake.
    ["Tue, 16 Nov 2027 12:00:00 GMT", maxMillis],
    ["Tue, 16 Nov 2027 12:00:01 GMT", "none"],
    ["Fri, 31 Dec 9999 23:59:59 GMT", "none"],
    // A leap second is a second.
    ["Thu, 31 Dec 2026 23:59:60 GMT", 46 * day + day / 2],
    ["Thu, 31 Dec 2026 23:59:61 GMT", "none"],
    // Days that never were.
    ["Mon, 30 Feb 2026 00:00:00 GMT", "none"],
    ["Mon, 29 Feb 2027 00:00:00 GMT", "none"],
    ["Mon, 31 Nov 2026 00:00:00 GMT", "none"],
    ["Mon, 00 Dec 2026 00:00:00 GMT", "none"],
    ["Mon Dec  0 00:00:00 2026", "none"],
    ["Mon, 32 Dec 2026 00:00:00 GMT", "none"],
    ["Mon, 16 Nov 2026 24:00:00 GMT", "none"],
    ["Mon, 16 Nov 2026 00:60:00 GMT", "none"],
    // Nearly one of the forms.
    ["Mon, 16 nov 2026 00:00:00 GMT", "none"],
    ["Mon, 16 Foo 2026 00:00:00 GMT", "none"],
    ["Mon, 16 Nov 2026 00:00:00 UTC", "none"],
    ["Mon, 16 Nov 2026 00:00:00", "none"],
    ["Mon, 16 Nov 26 00:00:00 GMT", "none"],
    ["16 Nov 2026 00:00:00 GMT", "none"],
    ["Mon, 16 Nov 2026 00:00:00 GMT, Mon, 16 Nov 2026 00:00:00 GMT", "none"],
    ["2026-11-16", "none"],
    ["120", "none"],
    ["", "none"]
  ])

  it("reads years of two digits as those at most 50 years ahead", () => {
    const at = (year: number) => Date.UTC(year, 11, 31, 23, 59, 59)
    assert.strictEqual(read(RetryAfter.httpDate("Friday, 01-Jan-00 00:00:09 GMT", at(1999))), 10_000)
    assert.strictEqual(read(RetryAfter.httpDate("Friday, 01-Jan-00 00:00:09 GMT", at(2099))), 10_000)
    // 50 years ahead is a date too far to wait for; 51 would be, so it is 49 years past.
    assert.strictEqual(read(RetryAfter.httpDate("Friday, 01-Jan-76 00:00:00 GMT", now)), "none")
    assert.strictEqual(read(RetryAfter.httpDate("Friday, 01-Jan-77 00:00:00 GMT", now)), 0)
  })

  it("reads 29 February in leap years, of which 2000 was one and 1900 was none", () => {
    const eve = (year: number) => Date.UTC(year, 1, 28)
    for (const year of [2000, 2024, 2028]) {
      assert.strictEqual(read(RetryAfter.httpDate(`Mon, 29 Feb ${year} 00:00:00 GMT`, eve(year))), day)
    }
    for (const year of [1900, 2100, 2027]) {
      assert.strictEqual(read(RetryAfter.httpDate(`Mon, 29 Feb ${year} 00:00:00 GMT`, eve(year))), "none")
    }
  })
})

describe("rfc3339", () => {
  rows((value) => RetryAfter.rfc3339(value, now), [
    ["2026-11-15T12:00:30Z", 30_000],
    ["2026-11-15t12:00:30z", 30_000],
    ["2026-11-15 12:00:30Z", 30_000],
    ["2026-11-15T12:00:30.25Z", 30_250],
    ["2026-11-15T12:00:30.123456789Z", 30_124],
    ["2026-11-15T13:00:30+01:00", 30_000],
    ["2026-11-15T06:30:30-05:30", 30_000],
    ["2026-11-16T02:00:30+14:00", 30_000],
    ["2026-11-15T12:00:30-00:00", 30_000],
    ["2026-11-15T12:00:00Z", 0],
    ["2025-01-01T00:00:00Z", 0],
    ["2026-12-31T23:59:60Z", 46 * day + day / 2],
    ["2027-11-16T12:00:00Z", maxMillis],
    ["2027-11-16T12:00:00.001Z", "none"],
    ["2026-02-30T00:00:00Z", "none"],
    ["2026-00-10T00:00:00Z", "none"],
    ["2026-13-05T00:00:00Z", "none"],
    ["2026-11-00T00:00:00Z", "none"],
    ["2026-11-15T24:00:00Z", "none"],
    ["2026-11-15T12:00:30+24:00", "none"],
    ["2026-11-15T12:00:30+01:60", "none"],
    ["2026-11-15T12:00:30+0100", "none"],
    ["2026-11-15T12:00:30", "none"],
    ["2026-11-15T12:00Z", "none"],
    ["2026-11-15", "none"],
    ["20261115T120030Z", "none"],
    ["1795000000", "none"],
    ["", "none"]
  ])
})

describe("goDuration", () => {
  rows(RetryAfter.goDuration, [
    ["0", 0],
    ["0s", 0],
    ["1s", 1000],
    ["28ms", 28],
    ["6m0s", 360_000],
    ["1h2m3.5s", 3_723_500],
    ["1m30.951s", 90_951],
    ["1.5h", 5_400_000],
    [".5s", 500],
    ["1.s", 1000],
    ["1s1s", 2000],
    ["100us", 1],
    ["100µs", 1],
    ["100μs", 1],
    ["1ns", 0],
    ["1500000ns", 2],
    [" 1s ", 1000],
    ["8784h", maxMillis],
    ["8784h1ms", "none"],
    [`${"9".repeat(400)}s`, "none"],
    ["", "none"],
    ["1", "none"],
    ["s", "none"],
    [".s", "none"],
    ["-1s", "none"],
    ["+1s", "none"],
    ["1S", "none"],
    ["1d", "none"],
    ["1 s", "none"],
    ["1s ago", "none"],
    ["1m 1s", "none"],
    ["1..5s", "none"],
    ["1e3s", "none"],
    ["1toString", "none"],
    ["1constructor", "none"]
  ])
})

describe("retryDelay", () => {
  rows(RetryAfter.retryDelay, [
    ["34s", 34_000],
    ["1.5s", 1500],
    ["0s", 0],
    ["34.074824224s", 34_075],
    ["-1s", "none"],
    ["34", "none"],
    ["s", "none"],
    ["34 s", 34_000],
    ["5ms", "none"],
    ["1m5s", "none"],
    ["1795000000s", "none"],
    ["", "none"]
  ])
})

describe("header", () => {
  rows((value) => RetryAfter.header(value, now), [
    ["20", 20_000],
    ["0.25", 250],
    ["Sun, 15 Nov 2026 12:00:30 GMT", 30_000],
    ["Sun, 06 Nov 1994 08:49:37 GMT", 0],
    ["1795000000", "none"],
    ["1795000000000", "none"],
    ["soon", "none"]
  ])
})

describe("fromHeaders", () => {
  const table: ReadonlyArray<readonly [Record<string, string | undefined>, number | "none"]> = [
    [{}, "none"],
    [{ "retry-after": "20" }, 20_000],
    [{ "retry-after-ms": "1500" }, 1500],
    [{ "retry-after-ms": "1500", "retry-after": "2" }, 1500],
    [{ "retry-after-ms": "90000", "retry-after": "2" }, 90_000],
    [{ "retry-after-ms": "0", "retry-after": "2" }, 0],
    [{ "retry-after-ms": "soon", "retry-after": "2" }, 2000],
    [{ "retry-after-ms": "-1", "retry-after": "2" }, 2000],
    [{ "retry-after-ms": "", "retry-after": "2" }, 2000],
    [{ "retry-after-ms": undefined, "retry-after": "2" }, 2000],
    [{ "retry-after-ms": "1795000000000", "retry-after": "Sun, 15 Nov 2026 12:00:02 GMT" }, 2000],
    [{ "retry-after-ms": "1500", "retry-after": "soon" }, 1500],
    [{ "retry-after": undefined }, "none"],
    [{ "x-ratelimit-reset-requests": "6m0s" }, "none"]
  ]
  for (const [headers, expected] of table) {
    it(`R3: ${JSON.stringify(headers)} asks for ${expected === "none" ? "nothing" : `${expected} ms`}`, () => {
      assert.strictEqual(read(RetryAfter.fromHeaders(headers, now)), expected)
    })
  }
})

const parsers = {
  seconds: RetryAfter.seconds,
  millis: RetryAfter.millis,
  httpDate: (value: string) => RetryAfter.httpDate(value, now),
  rfc3339: (value: string) => RetryAfter.rfc3339(value, now),
  goDuration: RetryAfter.goDuration,
  retryDelay: RetryAfter.retryDelay,
  header: (value: string) => RetryAfter.header(value, now),
  fromHeaders: (value: string) => RetryAfter.fromHeaders({ "retry-after-ms": value, "retry-after": value }, now)
}

const pad = (n: number, width = 2) => String(n).padStart(width, "0")
const names = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

const forms: Record<string, (at: Date) => string> = {
  "an IMF-fixdate": (at) => at.toUTCString(),
  "an RFC 850 date": (at) =>
    `${names[at.getUTCDay()]}, ${pad(at.getUTCDate())}-${months[at.getUTCMonth()]}-${pad(at.getUTCFullYear() % 100)} ` +
    at.toUTCString().slice(17),
  "an asctime date": (at) =>
    `${names[at.getUTCDay()]?.slice(0, 3)} ${months[at.getUTCMonth()]} ${String(at.getUTCDate()).padStart(2)} ` +
    `${at.toUTCString().slice(17, 25)} ${at.getUTCFullYear()}`
}

/** Go's `Duration.String`, of whole milliseconds. */
const goString = (millis: number): string => {
  if (millis === 0) return "0s"
  if (millis < 1000) return `${millis}ms`
  const minutes = Math.floor(millis / 60_000)
  const rest = `${(millis % 60_000) / 1000}s`
  if (minutes === 0) return rest
  return minutes < 60 ? `${minutes}m${rest}` : `${Math.floor(minutes / 60)}h${minutes % 60}m${rest}`
}

const wait = fc.integer({ min: 0, max: maxMillis })

describe("whatever comes", () => {
  const mess = fc.oneof(
    fc.string(),
    fc.fullUnicodeString(),
    fc.stringOf(fc.constantFrom(..."0123456789.-+: ,TZsmhnuGMNovSun"), { maxLength: 40 }),
    fc.stringMatching(/^\d{1,4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,12})?([+-]\d{2}:\d{2}|Z)$/),
    fc.stringMatching(/^[A-Z][a-z]{2}, \d{2} (Jan|Feb|Dec) \d{4} \d{2}:\d{2}:\d{2} GMT$/),
    fc.double().map(String),
    fc.double().map((n) => `${n}s`)
  )
  for (const [name, parse] of Object.entries(parsers)) {
    it(`${name} gives no hint or one of whole milliseconds from 0 to 366 days`, () => {
      fc.assert(
        fc.property(mess, (value) => {
          const hint = read(parse(value))
          if (hint === "none") return
          assert.isTrue(Number.isSafeInteger(hint) && hint >= 0 && hint <= maxMillis, `${value}: ${hint}`)
          assert.isFalse(Object.is(hint, -0))
        }),
        { numRuns: 3000 }
      )
    })
  }

  for (const [name, parse] of Object.entries(parsers)) {
    it(`${name} does not read what is too long for a hint`, () => {
      for (const piece of ["1", "0", " ", "1m"]) assert.strictEqual(read(parse(piece.repeat(1_000_000))), "none", piece)
      assert.strictEqual(read(parse("1".repeat(257))), "none")
    })
  }
})

describe("what was printed is read back", () => {
  const check = (property: (millis: number) => void) => fc.assert(fc.property(wait, property), { numRuns: 3000 })

  it("as seconds", () => check((ms) => assert.strictEqual(read(RetryAfter.seconds(String(ms / 1000))), ms)))
  it("as milliseconds", () => check((ms) => assert.strictEqual(read(RetryAfter.millis(String(ms))), ms)))
  it("as a Go duration", () => check((ms) => assert.strictEqual(read(RetryAfter.goDuration(goString(ms))), ms)))
  it("as a protobuf duration", () =>
    check((ms) => assert.strictEqual(read(RetryAfter.retryDelay(`${ms / 1000}s`)), ms)))
  it("as an RFC 3339 timestamp", () =>
    check((ms) => assert.strictEqual(read(RetryAfter.rfc3339(new Date(now + ms).toISOString(), now)), ms)))

  it("as an RFC 3339 timestamp with an offset", () => {
    fc.assert(
      fc.property(wait, fc.integer({ min: -23 * 60 - 59, max: 23 * 60 + 59 }), (ms, minutes) => {
        const local = new Date(now + ms + minutes * 60_000).toISOString().slice(0, -1)
        const size = Math.abs(minutes)
        const offset = `${minutes < 0 ? "-" : "+"}${pad(Math.floor(size / 60))}:${pad(size % 60)}`
        assert.strictEqual(read(RetryAfter.rfc3339(local + offset, now)), ms)
      }),
      { numRuns: 3000 }
    )
  })

  for (const [name, print] of Object.entries(forms)) {
    it(`as ${name}, to the second`, () => {
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 366 * 86_400 }), (seconds) => {
          assert.strictEqual(read(RetryAfter.httpDate(print(new Date(now + seconds * 1000)), now)), seconds * 1000)
        }),
        { numRuns: 3000 }
      )
    })
  }

  it("R3: any decimal is rounded up, by less than a millisecond", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 366 * 86_400 - 1 }), fc.integer({ min: 0, max: 999_999 }), (s, micros) => {
        const hint = read(RetryAfter.seconds(`${s}.${pad(micros, 6)}`))
        assert.strictEqual(hint, s * 1000 + Math.ceil(micros / 1000))
      }),
      { numRuns: 3000 }
    )
  })
})
