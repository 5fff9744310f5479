/**
 * Reasoning with the name of whoever signed it. A signature is worth something only to its author, and may be refused by
 * anybody else, so it goes back to the provider of that name and to no other. Layers that share a name are taken to accept
 * one another's signatures; a signature without a name is everybody's.
 */
import type { ReasoningPart } from "perdure/LlmRequest"

/** Reasoning as a provider tells it, with the provider's name where there is a signature. */
export const reasoning = (text: string, signature: string | null | undefined, provider: string) =>
  signature ? { _tag: "Reasoning" as const, text, signature, provider } : { _tag: "Reasoning" as const, text }

/** The signature that a provider is sent back. */
export const signatureFor = (
  provider: string,
  { provider: author, signature }: typeof ReasoningPart.Type
): string | undefined => author === undefined || author === provider ? signature : undefined
