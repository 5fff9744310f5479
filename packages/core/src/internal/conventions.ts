/** How OpenTelemetry's semantic conventions for generative AI call things, in spans and metrics alike. */

/** For labels that would be too many, and for failures without a class: OpenTelemetry's own word. */
export const other = "_OTHER"

/** The short names in use, where the conventions have another one. */
const providers: ReadonlyMap<string, string> = new Map([
  ["azure", "azure.ai.openai"],
  ["bedrock", "aws.bedrock"],
  ["gemini", "gcp.gemini"],
  ["google", "gcp.gemini"],
  ["mistral", "mistral_ai"],
  ["moonshot", "moonshot_ai"],
  ["vertex", "gcp.vertex_ai"],
  ["watsonx", "ibm.watsonx.ai"],
  ["xai", "x_ai"]
])

/** `gen_ai.provider.name` of a provider. */
export const providerName = (provider: string): string => providers.get(provider) ?? provider

/** `perdure.outcome`. */
export const outcomes = { Answered: "answered", Failed: "failed", Interrupted: "interrupted" } as const

export const operation = "chat"
