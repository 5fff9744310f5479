import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { LlmError } from "perdure"
import { cut, maxDetailBytes, redact } from "../src/internal/redact.ts"

const bytes = (text: string) => new TextEncoder().encode(text).length

describe("O3: credentials of known shapes are replaced", () => {
  const secrets: ReadonlyArray<readonly [what: string, text: string, secret: string]> = [
    ["OpenAI's key", "Incorrect API key provided: sk-abcDEF1234567890.", "sk-abc"],
    ["OpenAI's key, masked by OpenAI", "Incorrect API key provided: sk-ab***********xyz9. See https://x.io", "xyz9"],
    ["OpenAI's project key", "key sk-proj-abc_DEF-123456 is disabled", "sk-proj"],
    ["Anthropic's key", "invalid x-api-key sk-ant-api03-AbC_dEf-123", "sk-ant"],
    ["OpenRouter's key", "no credits for sk-or-v1-0123456789abcdef", "sk-or-v1"],
    ["Groq's key", "Invalid key gsk_AbCdEf1234567890", "gsk_"],
    ["xAI's key", "Invalid key xai-AbCdEf1234567890", "xai-"],
    ["Hugging Face's key", "Invalid hf_AbCdEfGhIjKlMnOpQr", "hf_Ab"],
    ["Google's key", "API key not valid: AIzaSyA-1234567890_abcdefghijk", "AIzaSy"],
    ["Google's OAuth token", "token ya29.a0AbCdEf_ghij-klmn has expired", "ya29"],
    ["a key in an address", "POST https://g.co/v1beta/models?key=abcd1234&alt=sse failed", "abcd1234"],
    ["a token in an address", "GET https://g.co/x?alt=sse&token=abcd1234", "abcd1234"],
    ["a header", "x-api-key: 0123456789abcdef", "0123456789abcdef"],
    ["a header in JSON", "{\"api-key\": \"0123456789abcdef\"}", "0123456789abcdef"],
    ["an environment variable", "MISTRAL_API_KEY=0123456789abcdef", "0123456789abcdef"],
    ["an access token", "access_token=0123456789abcdef&x=1", "0123456789abcdef"],
    ["a client secret", "client_secret: 0123456789abcdef", "0123456789abcdef"],
    ["a bearer token", "sent Bearer abcdefghijkl to us", "abcdefghijkl"],
    ["a bearer token in small letters", "sent bearer abcdefghijkl", "abcdefghijkl"],
    ["a bearer token on the next line", "Bearer\n  abcdefghijkl", "abcdefghijkl"],
    ["an Authorization header", "Authorization: Bearer supersecretvalue", "supersecretvalue"],
    ["an Authorization header in JSON", "{\"Authorization\":\"Bearer supersecretvalue\"}", "supersecretvalue"],
    ["an Authorization header without a scheme", "authorization=supersecretvalue", "supersecretvalue"],
    ["basic credentials", "Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA"],
    ["a JSON web token", "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl expired", "eyJ"]
  ]
  for (const [what, text, secret] of secrets) {
    it(`${what}`, () => {
      const out = redact(text)
      assert.isFalse(out.includes(secret), out)
      assert.include(out, "<redacted>")
    })
  }

  it("and what stands around them is kept", () => {
    assert.strictEqual(
      redact("POST https://g.co/v1?key=abcd1234&alt=sse gave 400: key sk-proj-abcdef123 is bad"),
      "POST https://g.co/v1<redacted>&alt=sse gave 400: key <redacted> is bad"
    )
  })

  it("also in what LlmError.detail prepares", () => {
    assert.strictEqual(LlmError.detail("bad key sk-abcdefghij, mykey99", ["mykey99"]), "bad key <redacted>, <redacted>")
  })
})

describe("words that only look like credentials are kept", () => {
  const words = [
    "max_tokens: 200",
    "max_completion_tokens=4096 is too large",
    "token limit",
    "the key idea is",
    "key: the idea",
    "Rate limit reached for gpt-4o in organization org-abc on tokens per min (TPM): Limit 30000, Used 29000",
    "prompt is too long: 210000 tokens > 200000 maximum",
    "The input token count (30000) exceeds the maximum number of tokens allowed (8192).",
    "You are on the basic plan",
    "Basic usage of the API",
    "basic authentication is off",
    "Bearer token is missing",
    "uses Bearer authentication",
    "Provide your key in an Authorization header using Bearer auth.",
    "either-or-nothing",
    "a disk-based, task-oriented, risk-averse method",
    "sk-learn",
    "hf_hub_download",
    "api_key is missing",
    "the author's signature",
    "https://x.io/docs?topic=keys&monkey=bananas",
    "claude-3-5-haiku-20241022 does not exist",
    "req_011CSHoEeqs5C35K2UUqR7Fy"
  ]
  for (const text of words) it(`${JSON.stringify(text)}`, () => assert.strictEqual(redact(text), text))

  it("and so is any text of digits, spaces and punctuation", () => {
    fc.assert(
      fc.property(fc.stringOf(fc.constantFrom(..."0123456789 .,:;()[]{}!?'\"-_\n"), { maxLength: 500 }), (text) => {
        assert.strictEqual(redact(text), text)
      }),
      { numRuns: 2000 }
    )
  })
})

describe("O3: given secrets are replaced", () => {
  const secret = fc.stringOf(fc.constantFrom(..."abcXYZ0189+/=.$&\\^*-_"), { minLength: 4, maxLength: 60 })

  it("wherever and however often they stand", () => {
    fc.assert(
      fc.property(secret, fc.array(fc.stringOf(fc.constantFrom("é", " ", "|", "\n"))), (secret, around) => {
        const out = redact(around.join(secret), [secret])
        assert.isFalse(out.includes(secret), out)
      }),
      { numRuns: 2000 }
    )
  })

  it("also when one is the beginning of another, in either order", () => {
    for (const secrets of [["tick", "ticktock"], ["ticktock", "tick"]]) {
      assert.strictEqual(redact("ticktock tick", secrets), "<redacted> <redacted>")
    }
  })

  it("with every sign of theirs taken as it is", () => {
    assert.strictEqual(redact("a $&.* b", ["$&.*"]), "a <redacted> b")
    assert.strictEqual(redact("axyz.*", ["x.*z"]), "axyz.*")
  })

  it("from any iterable, and an empty or tiny one harms nothing", () => {
    assert.strictEqual(redact("a value of mine", new Set(["value"])), "a <redacted> of mine")
    assert.strictEqual(redact("a value of mine", ["", "a", "of"]), "a value of mine")
  })

  it("and no part of one is left where a long text is cut", () => {
    fc.assert(
      fc.property(fc.integer({ min: 8, max: 3000 }), fc.nat(300), fc.boolean(), (length, offset, spaced) => {
        const alphabet = "QWERTZUIOPASDFGHJKLYXCVBNM"
        const secret = Array.from({ length }, (_, i) => alphabet[(i * 7 + length) % 26]).join("")
        const text = " ".repeat(offset) + `${secret}${spaced ? " " : ""}`.repeat(Math.ceil(20_000 / length))
        const out = redact(text, [secret])
        assert.isFalse(/[A-Z]/.test(out), out.slice(-80))
        assert.isAtMost(bytes(out), maxDetailBytes)
        assert.isTrue(out.endsWith("…"))
      }),
      { numRuns: 500 }
    )
  })
})

describe("O3: a long text is cut to 2 KiB of UTF-8", () => {
  const cases = [
    { name: "2048 bytes stay as they are", text: "a".repeat(2048), out: "a".repeat(2048) },
    { name: "2049 bytes are cut, and say so", text: "a".repeat(2049), out: `${"a".repeat(2045)}…` },
    { name: "1024 letters of two bytes stay", text: "é".repeat(1024), out: "é".repeat(1024) },
    { name: "1025 letters of two bytes are cut between two", text: "é".repeat(1025), out: `${"é".repeat(1022)}…` },
    { name: "512 signs of four bytes stay", text: "😀".repeat(512), out: "😀".repeat(512) },
    { name: "513 signs of four bytes are cut between two", text: "😀".repeat(513), out: `${"😀".repeat(511)}…` },
    { name: "a sign over the edge is left out whole", text: `${"a".repeat(2043)}😀😀`, out: `${"a".repeat(2043)}…` },
    { name: "an empty text stays empty", text: "", out: "" }
  ]
  for (const { name, out, text } of cases) {
    it(`${name}`, () => {
      assert.strictEqual(cut(text), out)
      assert.strictEqual(redact(text), out)
    })
  }

  /** Texts around the limit, of signs of one to four bytes. */
  const text = fc.array(fc.tuple(fc.fullUnicode(), fc.integer({ min: 1, max: 900 })), { maxLength: 8 })
    .map((runs) => runs.map(([sign, times]) => sign.repeat(times)).join(""))

  it("never more, never splitting a character, never losing one that fits, always saying so", () => {
    fc.assert(
      fc.property(text, (text) => {
        const out = cut(text)
        assert.isAtMost(bytes(out), maxDetailBytes)
        assert.isFalse(out.includes("\ufffd") && !text.includes("\ufffd"))
        if (bytes(text) <= maxDetailBytes) assert.strictEqual(out, text)
        else {
          assert.isTrue(out.endsWith("…") && text.startsWith(out.slice(0, -1)))
          assert.isAtLeast(bytes(out), maxDetailBytes - 3)
        }
      }),
      { numRuns: 3000 }
    )
  })

  it("never splitting a character where much of a long text was replaced", () => {
    fc.assert(
      fc.property(fc.nat(3), fc.integer({ min: 90, max: 200 }), (shift, length) => {
        const secret = "s".repeat(length)
        const out = redact(" ".repeat(shift) + `${secret}😀`.repeat(200), [secret])
        assert.isFalse(/\ufffd|[\ud800-\udbff](?![\udc00-\udfff])/.test(out), out.slice(-20))
      }),
      { numRuns: 500 }
    )
  })

  it("of a text of a hundred million characters, of which it reads the beginning", () => {
    const huge = ["a", "é", "Bearer ", "sk-abcdef ", "key=", " ", "authorization: "]
    for (const piece of huge) {
      const text = piece.repeat(100_000_000 / piece.length)
      const out = redact(text, ["abcdefgh"])
      assert.isAtMost(bytes(out), maxDetailBytes)
    }
  })
})
