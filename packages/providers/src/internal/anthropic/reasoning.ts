/**
 * Reasoning that the provider keeps to itself comes encrypted and is to be sent back as it came. It travels as reasoning
 * without a text, its data in place of a signature; the colon in the mark is in no signature, since these are base64.
 */
const mark = "redacted_thinking:"

/** What stands for encrypted reasoning. */
export const redacted = (data: string): string => `${mark}${data}`

/** The encrypted reasoning that a signature stands for; nothing when it is a signature. */
export const redactedData = (signature: string): string | undefined =>
  signature.startsWith(mark) ? signature.slice(mark.length) : undefined
