/** Keeps secrets and long bodies out of anything a person or a log may see. */

/** The most bytes of a provider's own words that an error keeps (2 KiB). */
export const maxDetailBytes = 2048

const redacted = "<redacted>"

/** Shapes of credentials that providers are known to echo: bearer tokens, `sk-…` and friends, Google keys, key parameters. */
const credentials: ReadonlyArray<RegExp> = [
  /\b(bearer|basic)\s+[\w.~+/=*-]{4,}/gi,
  /\b(?:sk|pk|rk|gsk|xai|hf|or)[-_][\w*.-]{6,}/gi,
  /\bAIza[\w-]{10,}/g,
  /\b(?:api[-_ ]?key|authorization|access[-_]?token)\b["']?\s*[=:]\s*["']?[\w.~+/*-]{4,}/gi,
  /[?&](?:key|token)=[^&\s"']+/gi
]

const isContinuation = (byte: number): boolean => (byte & 0xc0) === 0x80

/** Cuts a text to at most `limit` bytes of UTF-8 without splitting a character, and says so when it did. */
export const cut = (text: string, limit: number = maxDetailBytes): string => {
  if (text.length * 3 <= limit) return text
  const bytes = new TextEncoder().encode(text.length > limit ? text.slice(0, limit) : text)
  if (bytes.length <= limit && text.length <= limit) return text
  const mark = "…"
  let end = Math.min(bytes.length, limit - 3)
  while (end > 0 && isContinuation(bytes[end] ?? 0)) end--
  return new TextDecoder().decode(bytes.subarray(0, end)) + mark
}

/** Removes the given secrets and anything shaped like a credential, then cuts. */
export const redact = (text: string, secrets: Iterable<string> = []): string => {
  // Longer than any credential that could straddle the cut, and bounded, so a huge body costs nothing.
  let out = text.slice(0, maxDetailBytes * 4)
  for (const secret of secrets) {
    if (secret.length >= 4) out = out.split(secret).join(redacted)
  }
  for (const pattern of credentials) out = out.replace(pattern, redacted)
  return cut(out)
}
