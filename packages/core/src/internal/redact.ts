/** Keeps secrets and long bodies out of anything a person or a log may see. */

/** The most bytes of a provider's own words that an error keeps (2 KiB). */
export const maxDetailBytes = 2048

const redacted = "<redacted>"

/**
 * Shapes of credentials that providers are known to echo: `sk-…` and friends, Google's and Hugging Face's keys, JSON web
 * tokens, and whatever stands where a credential belongs. Each asks for more than a word, since error texts speak of
 * bearer tokens, basic plans and key ideas too.
 */
const credentials: ReadonlyArray<RegExp> = [
  /\b(?:sk|pk|rk|gsk|xai)[-_][\w*.-]{6,}/gi,
  /\bhf_[a-z0-9*]{10,}/gi,
  /\b(?:AIza[\w-]{10,}|ya29\.[\w.-]{10,}|eyJ[\w-]{8,}\.[\w.-]+)/g,
  /\bauthorization["']?\s*[=:]\s*["']?(?:[a-z]+\s+)?[\w.~+/=*-]{4,}/gi,
  /(?:\b|_)(?:api[-_ ]?key|(?:access|refresh|auth)[-_]?token|client[-_]?secret)["']?\s*[=:]\s*["']?[\w.~+/=*-]{4,}/gi,
  /\bbearer\s+(?!(?:auth\w*|tokens?|scheme|header|format|credentials?|keys?|is|was|or|and|in|not|must|may|from)\b)[\w.~+/=*-]{4,}/gi,
  /\b[Bb](?:asic|ASIC)\s+(?=[\w+/]+[A-Z\d=+/])[\w+/]{6,}=*/g,
  /[?&](?:key|token)=[^&\s"']+/gi
]

const isContinuation = (byte: number): boolean => (byte & 0xc0) === 0x80

/**
 * Cuts a text to at most 2 KiB of UTF-8 without splitting a character, and says so when it did.
 *
 * @param more whether the text is only the beginning of one that was longer
 */
export const cut = (text: string, more = false): string => {
  if (!more && text.length * 3 <= maxDetailBytes) return text
  const bytes = new TextEncoder().encode(text.slice(0, maxDetailBytes))
  if (!more && bytes.length <= maxDetailBytes && text.length <= maxDetailBytes) return text
  const mark = "…"
  let end = Math.min(bytes.length, maxDetailBytes - 3)
  while (end > 0 && isContinuation(bytes[end] ?? 0)) end--
  return new TextDecoder().decode(bytes.subarray(0, end)) + mark
}

/** How much of a text is looked at, so that a huge body costs nothing. */
const window = maxDetailBytes * 4

/** The least that is dropped at the window's end, where a credential or a character may be cut in two. */
const seam = 64

/** Removes the given secrets and anything shaped like a credential, then cuts. */
export const redact = (text: string, secrets: Iterable<string> = []): string => {
  // The longest first, or the rest of a secret would be left where another one is its beginning.
  const known = Array.from(secrets).filter((secret) => secret.length >= 4).toSorted((a, b) => b.length - a.length)
  let out = text.slice(0, window)
  for (const secret of known) out = out.split(secret).join(redacted)
  for (const pattern of credentials) out = out.replace(pattern, redacted)
  if (text.length <= window) return cut(out)
  const head = out.slice(0, Math.max(0, out.length - Math.max(seam, known[0]?.length ?? 0)))
  return cut(head.replace(/[\ud800-\udbff]$/, ""), true)
}
