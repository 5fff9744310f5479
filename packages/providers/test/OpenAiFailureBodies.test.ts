import { describe, expect, it } from "@effect/vitest"
import { code, failure, rows, said, text } from "./support/failures.ts"

describe("context length", () => {
  const window = (limit: number, requested?: number) => ({ limit, ...(requested === undefined ? {} : { requested }) })
  const openAi = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
  rows([
    [
      "OpenAI's code, with numbers",
      400,
      code("context_length_exceeded", { message: openAi }),
      "ContextLengthExceeded",
      window(8192, 9000)
    ],
    ["OpenAI's code without numbers", 400, code("context_length_exceeded"), "ContextLengthExceeded", {}],
    [
      "OpenRouter's words",
      400,
      text(
        "This endpoint's maximum context length is 8,192 tokens. However, you requested about 10000 tokens (9000 of text input, 1000 in the output)."
      ),
      "ContextLengthExceeded",
      window(8192, 10000)
    ],
    [
      "vLLM's flat body",
      400,
      {
        object: "error",
        message: "This model's maximum context length is 32768 tokens. However, you requested 40000 tokens",
        type: "BadRequestError",
        code: 400
      },
      "ContextLengthExceeded",
      window(32768, 40000)
    ],
    [
      "vLLM's newer words, prompt and answer together",
      400,
      said({
        message:
          "You passed 31745 input tokens and requested 1024 output tokens. However, the model's context length is only 32768 tokens, resulting in a maximum input length of 31744 tokens.",
        type: "BadRequestError",
        code: 400
      }),
      "ContextLengthExceeded",
      window(32768, 32769)
    ],
    [
      "vLLM, when the room for the answer is what does not fit",
      400,
      text(
        "'max_tokens' is too large: 40000. This model's maximum context length is 32768 tokens and your request has 100 input tokens (40000 > 32768 - 100)."
      ),
      "ContextLengthExceeded",
      window(32768, 40100)
    ],
    [
      "llama.cpp's type, with its own counts",
      400,
      {
        error: {
          code: 400,
          message: "request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it",
          type: "exceed_context_size_error",
          n_prompt_tokens: 9413,
          n_ctx: 8193
        }
      },
      "ContextLengthExceeded",
      window(8193, 9413)
    ],
    [
      "llama.cpp's words alone",
      400,
      text("request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it"),
      "ContextLengthExceeded",
      window(8192, 9412)
    ],
    [
      "a 500 whose words say so",
      500,
      { error: { code: 500, message: "Context size has been exceeded.", type: "server_error" } },
      "ContextLengthExceeded",
      {}
    ],
    [
      "Mistral's words",
      400,
      {
        object: "error",
        message:
          "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        type: "invalid_request_error",
        code: "3051"
      },
      "ContextLengthExceeded",
      window(32768, 40000)
    ],
    [
      "Ollama's words, without a limit",
      400,
      { error: "prompt too long; exceeded max context length by 4096 tokens" },
      "ContextLengthExceeded",
      { detail: "prompt too long; exceeded max context length by 4096 tokens" }
    ],
    [
      "the words of a server behind OpenRouter",
      400,
      { error: { code: 400, message: "Provider returned error", metadata: { raw: JSON.stringify(text(openAi)) } } },
      "ContextLengthExceeded",
      window(8192, 9000)
    ],
    [
      "an error wrapped by a gateway as text",
      400,
      { detail: JSON.stringify({ error: { type: "exceed_context_size_error", message: "too much", n_ctx: 5 } }) },
      "ContextLengthExceeded",
      { limit: 5, detail: "too much" }
    ],

    [
      "a 400 that merely mentions a context",
      400,
      text("Unknown field 'context' in messages[0]: context length must be a number"),
      "InvalidRequest"
    ],
    [
      "a 400 about the most tokens of an answer",
      400,
      text("max_tokens is too large: 50000. This model supports at most 16384 completion tokens"),
      "InvalidRequest"
    ],
    ["a 500 that mentions a context", 500, text("lost the request's context"), "ProviderUnavailable"],
    [
      "a 404 for a model with a context in its name",
      404,
      code("model_not_found", { message: "The model 'm-maximum-context' does not exist" }),
      "ModelNotFound"
    ]
  ])

  it("by how much a limit is passed is not the limit", () => {
    expect(failure(400, { error: "prompt too long; exceeded max context length by 4096 tokens" })).not.toHaveProperty(
      "limit"
    )
  })

  it("a number that is none is left out", () => {
    const error = failure(400, { error: { type: "exceed_context_size_error", message: "x", n_ctx: -1.5 } })
    expect(error._tag).toBe("ContextLengthExceeded")
    expect(error).not.toHaveProperty("limit")
  })
})

describe("refused content", () => {
  const prompt = { stage: "prompt" }
  rows([
    ["content_filter", 400, code("content_filter"), "ContentFiltered", prompt],
    ["content_policy_violation", 400, code("content_policy_violation"), "ContentFiltered", prompt],
    [
      "Azure's innererror alone",
      400,
      {
        error: {
          message: "x",
          code: null,
          status: 400,
          innererror: { code: "ResponsibleAIPolicyViolation", content_filter_result: {} }
        }
      },
      "ContentFiltered",
      prompt
    ],
    [
      "OpenRouter's 403 with a moderator's reasons",
      403,
      { error: { code: 403, message: "Input flagged", metadata: { reasons: ["violence"], flagged_input: "…" } } },
      "ContentFiltered",
      prompt
    ],
    [
      "OpenRouter's 403 that speaks of moderation",
      403,
      { error: { code: 403, message: "requires moderation: your input was flagged" } },
      "ContentFiltered",
      prompt
    ],
    [
      "a prompt flagged for a reasoning model",
      400,
      code("invalid_prompt", {
        message: "Invalid prompt: your prompt was flagged as potentially violating our usage policy."
      }),
      "ContentFiltered",
      prompt
    ],
    [
      "an invalid prompt that was not flagged",
      400,
      code("invalid_prompt", { message: "Invalid prompt: empty." }),
      "InvalidRequest"
    ]
  ])
})

describe("an error inside a 200", () => {
  rows([
    [
      "S2: a number for a code is the status",
      200,
      { error: { code: 502, message: "x", metadata: { error_type: "provider_unavailable" } } },
      "ProviderUnavailable",
      { status: 502 }
    ],
    ["S2: the number as text", 200, { error: { code: "429", message: "x" } }, "RateLimited", { status: 429 }],
    ["S2: a flat error", 200, { object: "error", code: 400, message: "x", type: "BadRequestError" }, "InvalidRequest", {
      status: 400
    }],
    [
      "S2: in a choice",
      200,
      { choices: [{ finish_reason: "error", error: { code: 529, message: "x" } }] },
      "Overloaded",
      { status: 529 }
    ],
    [
      "S2: a choice that ended with an error and says no more",
      200,
      { choices: [{ finish_reason: "error", message: {} }] },
      "ProviderUnavailable",
      { status: 200 }
    ],
    [
      "S2: beside choices",
      200,
      { choices: [{ finish_reason: "stop" }], error: { message: "x" } },
      "ProviderUnavailable"
    ],
    [
      "S2: Azure's nesting, by its words",
      200,
      { type: "error", error: { type: "too_many_requests", code: "rate_limit_exceeded" } },
      "RateLimited",
      { status: 200 }
    ],
    ["S2: billing by its code", 200, code("insufficient_quota"), "QuotaExhausted"],
    ["S2: context length by its words", 200, text("maximum context length is 5 tokens"), "ContextLengthExceeded", {
      limit: 5
    }],
    ["S2: a key by its code", 200, code("invalid_api_key"), "Unauthenticated"],
    ["S2: a timeout by its type", 200, said({ type: "timeout" }), "TimedOut", { phase: "provider" }],
    ["S2: words that nobody knows", 200, text("oh dear"), "ProviderUnavailable", { detail: "oh dear" }],
    ["no error at all", 200, { choices: [] }, "MalformedResponse"],
    ["an error that is null", 200, { error: null }, "MalformedResponse"]
  ])
})

describe("bodies that are not what they should be", () => {
  rows([
    [
      "HTML from a proxy",
      502,
      "<html><head><title>502 Bad Gateway</title><style>x{}</style></head><body><h1>nginx</h1></body></html>",
      "ProviderUnavailable",
      { detail: "502 Bad Gateway nginx" }
    ],
    [
      "half a JSON body still has its code and its words",
      429,
      "{\"error\":{\"type\":\"insufficient_quota\",\"message\":\"You \\u0022exce\\u0",
      "QuotaExhausted",
      { code: "insufficient_quota", detail: "You \"exce" }
    ],
    ["an empty body", 500, "", "ProviderUnavailable", { detail: "" }],
    ["a body of blanks", 500, " \n", "ProviderUnavailable", { detail: "" }],
    ["a number", 500, "7", "ProviderUnavailable"],
    ["null", 500, "null", "ProviderUnavailable"],
    ["an empty list", 500, "[]", "ProviderUnavailable"],
    ["fields of the wrong types", 500, {
      error: { message: 7, code: {}, type: [], param: 3, metadata: "x", innererror: 1 }
    }, "ProviderUnavailable"],
    ["JSON 10,000 deep", 500, `${"[".repeat(10_000)}${"]".repeat(10_000)}`, "ProviderUnavailable"],
    [
      "an error wrapped in itself many times over",
      500,
      Array.from({ length: 9 }).reduce<string>((inner) => JSON.stringify({ message: inner }), "x"),
      "ProviderUnavailable"
    ]
  ])
})
